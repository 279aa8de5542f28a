//! Ackwarden beside what it is compared with, on a real Kafka, in one run: the table of docs/performance.md.
//!
//! ```console
//! $ cargo bench --bench compare -- all            # every row, at its default size
//! $ cargo bench --bench compare -- positions ids --rounds 7 --records 4000000
//! ```
//!
//! Each row starts a broker of its own, writes its records, and measures baseline and Ackwarden in turn, so that
//! whatever else slows the machine slows both. The figure is the ratio of the medians. The raw table goes to the
//! directory in `--out` as one TSV a row, and to standard output as markdown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_macros,
    reason = "a bench: a panic is the report"
)]

#[path = "../../tests/support/mod.rs"]
#[macro_use]
mod support;

mod arguments;
mod bare_reader;
mod checkpoints;
mod flow;
mod growing;
mod idle;
mod lateness;
mod lifecycle;
mod loaded;
mod outstanding;
mod procfs;
mod serve;
mod store_size;
mod storm;
mod table;
mod whole;
mod workload;

use arguments::Arguments;

fn main() {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1)) else {
        return;
    };
    for row in &arguments.rows {
        lifecycle::run(row, &arguments);
    }
    for (size, run) in &arguments.others {
        run(*size, &arguments);
    }
}
