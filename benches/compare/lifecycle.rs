//! Lifecycles a second: messages and their ACKs read, tracked, settled and committed, against a bare reader of the same
//! records. In two ways:
//!
//! - *live*: the coordinator follows its partitions, and is stopped (SIGSTOP, for less than its session) while the records
//!   are written; then it goes on. It reads both topics at once.
//! - *rebuild*: a fresh group and store, from the beginning of the log, measured from when the group's partitions are its
//!   own. It reads the source to its end first, as a rebuild has to.
//!
//! All clients are connected when the clock starts. It ends when the group's committed offsets are the ends of the source,
//! and besides when everything is settled.

use std::path::Path;
use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::arguments::{Arguments, Row};
use super::procfs;
use super::serve::{self, Serve, Setup};
use super::support::kafka::{Kafka, KafkaOptions};
use super::support::process::Signal;
use super::support::say_loudly;
use super::table::Table;
use super::workload::{self, SOURCE, Shape};
use crate::bare_reader;

/// A row that takes longer is broken.
const DONE_WITHIN: Duration = Duration::from_secs(180);

pub fn run(row: &Row, arguments: &Arguments) {
    let Some(kafka) = Kafka::start(KafkaOptions::default().measured()) else {
        return;
    };
    let shape = row.shape;
    say_loudly(&format!("{}: writing {shape:?}", row.name));
    workload::write(&kafka.brokers(), shape);
    let mut table = Table::new(row.name);
    if let Some(command) = &arguments.beside {
        let command = Some(command.as_str());
        serve_once(
            &kafka,
            shape,
            "rebuild",
            serve::built(),
            command,
            &mut table,
        );
        return;
    }
    // The broker's code is compiled as it runs, and the page cache fills.
    for _ in 0..2 {
        bare_reader::read_both(&kafka.brokers(), shape);
    }
    for _ in 0..arguments.rounds {
        bare_once(&kafka, shape, "bare", bare_reader::read_both, &mut table);
        bare_once(
            &kafka,
            shape,
            "bare-in-turn",
            bare_reader::read_in_turn,
            &mut table,
        );
        serve_once(&kafka, shape, "rebuild", serve::built(), None, &mut table);
        for other in &arguments.against {
            let name = other.file_name().and_then(|n| n.to_str()).expect("a name");
            serve_once(&kafka, shape, name, other, None, &mut table);
        }
    }
    live(&kafka, shape, arguments, &mut table);
    table.write(&arguments.out);
    table.print(row);
}

/// Behind what is there already.
fn live(kafka: &Kafka, shape: Shape, arguments: &Arguments, table: &mut Table) {
    let brokers = kafka.brokers();
    let mut serve = Serve::start(
        serve::built(),
        &brokers,
        Setup {
            start: "now",
            ..Setup::of(shape.ids)
        },
    );
    serve.wait_ready();
    let each = i64::try_from(shape.records).expect("a number") / i64::from(shape.partitions);
    for round in 1..=arguments.rounds {
        let first = each * i64::try_from(round).expect("a number");
        serve.signal(Signal::Stop);
        workload::write_more(&brokers, first, shape);
        workload::write_acks(&brokers, first, shape);
        bare_once(
            kafka,
            shape,
            "bare-live",
            |brokers, shape| bare_reader::read_both_from(brokers, first, first, shape),
            table,
        );
        let committed = Committed::of(&brokers, &serve.group, shape);
        assert!(!committed.is_all(), "nothing is to be done");
        let before = (procfs::cpu_of(serve.pid()), procfs::cpu_of(kafka.pid()));
        let start = clock::instant();
        serve.signal(Signal::Cont);
        let wanted = shape.records * round as u64;
        let mut stats = serve.stats();
        while stats["topics"][0]["acked"] != wanted || stats["outstanding"] != 0 {
            assert!(start.elapsed() < DONE_WITHIN, "{stats}\n{}", serve.log());
            std::thread::sleep(Duration::from_millis(20));
            stats = serve.stats();
        }
        let settled = start.elapsed();
        let cpu = procfs::cpu_of(serve.pid()) - before.0;
        let broker_cpu = procfs::cpu_of(kafka.pid()) - before.1;
        while !committed.is_all() {
            assert!(start.elapsed() < DONE_WITHIN, "{stats}\n{}", serve.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = start.elapsed();
        let more = [
            ("cpu_us", per(cpu, shape.records)),
            ("broker_cpu_us", per(broker_cpu, shape.records)),
            (
                "checkpoints",
                stats["store"]["checkpoints"].as_f64().unwrap_or(-1.0),
            ),
        ];
        table.add("settled-live", shape.records, settled, &more);
        table.add("committed-live", shape.records, took, &more);
    }
}

fn bare_once(
    kafka: &Kafka,
    shape: Shape,
    who: &str,
    read: impl Fn(&str, Shape) -> Duration,
    table: &mut Table,
) {
    let us = std::process::id();
    let before = (procfs::cpu_of(us), procfs::cpu_of(kafka.pid()));
    let took = read(&kafka.brokers(), shape);
    table.add(
        who,
        shape.records,
        took,
        &[
            ("cpu_us", per(procfs::cpu_of(us) - before.0, shape.records)),
            (
                "broker_cpu_us",
                per(procfs::cpu_of(kafka.pid()) - before.1, shape.records),
            ),
        ],
    );
}

fn serve_once(
    kafka: &Kafka,
    shape: Shape,
    who: &str,
    binary: &Path,
    beside: Option<&str>,
    table: &mut Table,
) {
    let brokers = kafka.brokers();
    let mut serve = Serve::start(binary, &brokers, Setup::of(shape.ids));
    serve.wait_said("partitions are ours");
    let start = clock::instant();
    let cpu = procfs::cpu_of(serve.pid());
    let broker_cpu = procfs::cpu_of(kafka.pid());
    let mut profiler = beside.map(|command| {
        std::process::Command::new("sh")
            .args(["-c", &format!("{command} {}", serve.pid())])
            .spawn()
            .expect("the command beside it")
    });
    // Connected before anything is done, so that its own start is not measured.
    let committed = Committed::of(&brokers, &serve.group, shape);
    while !committed.is_all() {
        assert!(
            start.elapsed() < DONE_WITHIN,
            "not committed: {}\n{}",
            serve.stats(),
            serve.log()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = start.elapsed();
    let settled = serve.stats();
    for (thread, spent) in procfs::cpu_by_thread(serve.pid()).iter().take(8) {
        say_loudly(&format!("    {thread}: {:.2} s", spent.as_secs_f64()));
    }
    for what in ["tracked", "acked"] {
        assert_eq!(settled["topics"][0][what], shape.records, "{settled}");
    }
    assert_eq!(settled["outstanding"], 0, "{settled}");
    table.add(
        who,
        shape.records,
        took,
        &[
            (
                "cpu_us",
                per(procfs::cpu_of(serve.pid()) - cpu, shape.records),
            ),
            (
                "broker_cpu_us",
                per(procfs::cpu_of(kafka.pid()) - broker_cpu, shape.records),
            ),
            (
                "checkpoints",
                settled["store"]["checkpoints"].as_f64().unwrap_or(-1.0),
            ),
            ("peak_mb", procfs::peak_memory_of(serve.pid()) as f64 / 1e6),
        ],
    );
    if let Some(profiler) = &mut profiler {
        profiler.wait().expect("the command beside it");
    }
}

/// CPU microseconds for each message.
fn per(spent: Duration, records: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / records as f64
}

/// What the group has committed, and what it is to commit.
struct Committed {
    client: BaseConsumer,
    wanted: TopicPartitionList,
}

impl Committed {
    fn of(brokers: &str, group: &str, shape: Shape) -> Self {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", group)
            .set("log_level", "3")
            .create()
            .expect("a client");
        let mut wanted = TopicPartitionList::new();
        for partition in 0..shape.partitions {
            let timeout = Duration::from_secs(10);
            let (_, end) = client
                .fetch_watermarks(SOURCE, partition, timeout)
                .expect("the end of the source");
            wanted
                .add_partition_offset(SOURCE, partition, Offset::Offset(end))
                .expect("an offset");
        }
        Self { client, wanted }
    }

    fn is_all(&self) -> bool {
        let found = self
            .client
            .committed_offsets(self.wanted.clone(), Duration::from_secs(10))
            .expect("committed offsets");
        let wanted = self.wanted.elements();
        found
            .elements()
            .iter()
            .zip(&wanted)
            .all(|(found, wanted)| found.offset() == wanted.offset())
    }
}
