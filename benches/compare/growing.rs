//! What is outstanding grows, to ten million: what a message takes in memory, and how fast what comes on top is settled.
//!
//! For that, the coordinator is stopped (SIGSTOP, for less than its session) while messages and their ACKs are written, and
//! goes on: it follows its partitions live and reads both topics at once, where a rebuild reads the source first. The
//! baseline reads the same records.

use std::time::Duration;

use ::ackwarden::clock;

use super::arguments::Arguments;
use super::bare_reader;
use super::procfs;
use super::serve::{self, Serve, Setup};
use super::support::kafka::{Kafka, KafkaOptions};
use super::support::process::Signal;
use super::support::say_loudly;
use super::table::Table;
use super::workload::{self, Codec, Ids, Shape};

/// Of the largest number of outstanding messages, in hundredths.
const STEPS: [u64; 6] = [0, 5, 10, 25, 50, 100];
/// Written while it stands still, in well under a session.
const ON_TOP: u64 = 2_000_000;
const PARTITIONS: i32 = 4;
const DONE_WITHIN: Duration = Duration::from_secs(180);

pub fn run(records: u64, arguments: &Arguments) {
    let Some(kafka) = Kafka::start(KafkaOptions::default().measured()) else {
        return;
    };
    let shape = Shape {
        records: ON_TOP,
        partitions: PARTITIONS,
        value_bytes: 200,
        ids: Ids::Positions,
        codec: Codec::None,
    };
    let brokers = kafka.brokers();
    workload::create(&brokers, shape);
    let more = "[limits]\nmax_outstanding = 100_000_000\n";
    let mut serve = Serve::start(
        serve::built(),
        &brokers,
        Setup {
            more,
            ..Setup::of(shape.ids)
        },
    );
    serve.wait_ready();
    let memory_before = procfs::memory_of(serve.pid());
    let mut table = Table::new("growing");
    // Of the source and of the ACK topic, in each partition.
    let (mut source, mut acks, mut outstanding) = (0, 0, 0);
    for (nth, step) in STEPS.into_iter().enumerate() {
        let more = Shape {
            records: records * step / 100 - outstanding,
            ..shape
        };
        say_loudly(&format!("growing: {} more outstanding", more.records));
        workload::write_more(&brokers, source, more);
        outstanding += more.records;
        source += each(more);
        wait(&serve, |tracked, _| {
            tracked == outstanding + ON_TOP * nth as u64
        });
        // As much as allocators hold back they hold back by now.
        std::thread::sleep(Duration::from_secs(2));
        let grown = procfs::memory_of(serve.pid()).saturating_sub(memory_before);

        serve.signal(Signal::Stop);
        workload::write_more(&brokers, source, shape);
        workload::write_acks(&brokers, source, shape);
        let bare = bare_reader::read_both_from(&brokers, source, acks, shape);
        let before = procfs::cpu_of(serve.pid());
        let start = clock::instant();
        serve.signal(Signal::Cont);
        wait(&serve, |_, acked| acked == ON_TOP * (nth as u64 + 1));
        let took = start.elapsed();
        let cpu = procfs::cpu_of(serve.pid()) - before;
        (source, acks) = (source + each(shape), acks + each(shape));
        let outstanding = outstanding as f64;
        table.add("bare", ON_TOP, bare, &[("outstanding", outstanding)]);
        table.add(
            "ackwarden",
            ON_TOP,
            took,
            &[
                ("outstanding", outstanding),
                ("grown_mb", grown as f64 / 1e6),
                ("cpu_us", cpu.as_secs_f64() * 1e6 / ON_TOP as f64),
            ],
        );
    }
    table.write(&arguments.out);
}

/// Records in each partition.
fn each(shape: Shape) -> i64 {
    i64::try_from(shape.records).expect("a number of records") / i64::from(shape.partitions)
}

/// Waits until it has tracked and settled as many.
fn wait(serve: &Serve, is_done: impl Fn(u64, u64) -> bool) {
    let start = clock::instant();
    loop {
        let stats = serve.stats();
        let of = |what: &str| stats["topics"][0][what].as_u64().expect("a number");
        if is_done(of("tracked"), of("acked")) {
            return;
        }
        assert!(start.elapsed() < DONE_WITHIN, "{stats}\n{}", serve.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}
