//! Ten million outstanding messages: what one costs in memory, how long a restart takes (from the store, after a kill,
//! from Kafka alone), and how soon the API answers a page meanwhile.

use std::time::Duration;

use ::ackwarden::clock;

use super::arguments::Arguments;
use super::bare_reader;
use super::procfs;
use super::serve::{self, Serve, Setup};
use super::support::kafka::{Kafka, KafkaOptions};
use super::support::say_loudly;
use super::table::{Table, quantile};
use super::workload::{self, Codec, Ids, SOURCE, Shape};

const PAGES: usize = 400;
/// What a page may be asked for: all, by state, the newest, the old, in the middle.
const FILTERS: [&str; 6] = [
    "",
    "&state=outstanding",
    "&state=retrying",
    "&order=newest",
    "&older_than=1s",
    "&due_within=1m",
];

pub fn run(records: u64, arguments: &Arguments) {
    let Some(kafka) = Kafka::start(KafkaOptions::default().measured()) else {
        return;
    };
    let brokers = kafka.brokers();
    let shape = Shape {
        records,
        partitions: 4,
        value_bytes: 40,
        ids: Ids::Positions,
        codec: Codec::None,
    };
    say_loudly(&format!("outstanding: writing {shape:?}"));
    workload::write_source(&brokers, shape);
    let mut table = Table::new("outstanding");
    bare_reader::read_source(&brokers, shape);
    let setup = Setup {
        more: "[limits]\nmax_outstanding = 100_000_000\n",
        ..Setup::of(shape.ids)
    };
    let mut last = None;
    for _ in 0..arguments.rounds.min(3) {
        let took = bare_reader::read_source(&brokers, shape);
        table.add("bare-source", records, took, &[]);
        // A group and a store of its own: it has no former owner to wait for.
        drop(last.take());
        let mut serve = Serve::start(serve::built(), &brokers, setup);
        serve.wait_said("partitions are ours");
        let start = clock::instant();
        let before = procfs::memory_of(serve.pid());
        serve.wait_ready();
        let took = start.elapsed();
        let grown = procfs::memory_of(serve.pid()).saturating_sub(before);
        assert_eq!(serve.stats()["outstanding"], records);
        table.add(
            "from-kafka-alone",
            records,
            took,
            &[("bytes_each", grown as f64 / records as f64)],
        );
        last = Some(serve);
    }
    let mut serve = last.expect("a round");
    pages(&serve, &mut table);
    // Until a checkpoint holds everything.
    serve.wait_checkpoints(3);
    for who in ["after-sigterm", "after-kill-9"] {
        for _ in 0..arguments.rounds.min(3) {
            if who == "after-kill-9" {
                serve.kill9();
            } else {
                serve.terminate();
            }
            let start = clock::instant();
            serve.start_again();
            serve.wait_said("the API listens");
            let listens = start.elapsed();
            serve.wait_ready();
            let took = start.elapsed();
            assert_eq!(serve.stats()["outstanding"], records);
            let memory = procfs::memory_of(serve.pid()) as f64 / 1e6;
            table.add(
                who,
                records,
                took,
                &[("listens_s", listens.as_secs_f64()), ("memory_mb", memory)],
            );
            serve.wait_checkpoints(1);
        }
    }
    table.write(&arguments.out);
    table.print_all();
}

/// Pages of 50, one after the other, each filter in turn; every second one goes on where the last one of it ended.
fn pages(serve: &Serve, table: &mut Table) {
    for filter in FILTERS {
        let mut taken = Vec::with_capacity(PAGES);
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let after = cursor.map_or_else(String::new, |c| format!("&cursor={c}"));
            let start = clock::instant();
            let page = serve.get(&format!("/messages?topic={SOURCE}&limit=50{filter}{after}"));
            taken.push(start.elapsed());
            cursor = page["next_cursor"].as_str().map(str::to_owned);
        }
        let sum: Duration = taken.iter().sum();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        table.add(
            &format!("page {filter}"),
            PAGES as u64,
            sum,
            &[
                ("p50_ms", ms(quantile(&mut taken, 0.5))),
                ("p99_ms", ms(quantile(&mut taken, 0.99))),
                ("max_ms", ms(quantile(&mut taken, 1.0))),
            ],
        );
    }
}
