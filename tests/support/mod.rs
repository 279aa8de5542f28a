//! What the integration tests stand on: a real Apache Kafka, an observer that reads topics itself, the built binary as a
//! child process, a Service B that can be killed, and judges that believe nothing but the topics.
//!
//! Included by a test crate with `#[path = "../support/mod.rs"] mod support;`. Everything here may panic: it is test
//! code, and a panic is how it says what is wrong. Every child process ends with the test process, however that ends.

#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is the report"
)]

pub mod ackwarden;
pub mod cluster;
pub mod commits;
pub mod damage;
pub mod dice;
pub mod judge;
pub mod judge_dead;
pub mod judge_time;
pub mod judge_twins;
pub mod kafka;
pub mod kafka_fetch;
pub mod kafka_security;
pub mod leaders;
pub mod machine;
pub mod process;
pub mod produce;
pub mod raw_headers;
pub mod records;
pub mod service_b;
pub mod small_disk;
pub mod topics;
pub mod transaction;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use ::ackwarden::clock;

/// A name that no other test, nor another run of this one on a broker that still stands, has used.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{n}", std::process::id())
}

/// A line that is seen in any case: the test harness keeps back what `eprintln!` writes in a test that passes.
pub fn say_loudly(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A new directory below the target directory; the caller's to remove.
pub fn scratch_dir(prefix: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique(prefix));
    std::fs::create_dir_all(&dir)
        .unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
    dir
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Below those that the system gives to connections: one of them could take it before its server does. Each process
    // begins somewhere else.
    let next = NEXT
        .get_or_init(|| AtomicU16::new((std::process::id().wrapping_mul(7_919) % 20_000) as u16));
    (0..20_000)
        .map(|_| 10_000 + next.fetch_add(1, Ordering::Relaxed) % 20_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port on 127.0.0.1")
}

/// Asks again and again, until the answer is `Some` or `limit` is over; then panics with `what`.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = clock::instant();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a future of rdkafka's admin client to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a tokio runtime")
        })
        .block_on(future)
}

/// The last `lines` lines of a file, for a report.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map_or_else(
        |e| format!("(cannot read {}: {e})", path.display()),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    );
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The shared broker, or: leave the test, which has said loudly why.
#[macro_export]
macro_rules! require_kafka {
    () => {
        match $crate::support::kafka::Kafka::shared() {
            Some(kafka) => kafka,
            None => return,
        }
    };
}
