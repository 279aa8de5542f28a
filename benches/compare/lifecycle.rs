//! Lifecycles a second: all there is of a source topic and its ACKs, read, tracked, settled and committed, against a bare
//! reader of the same two topics.
//!
//! Both are measured from the moment at which they know what to read: the bare reader from before its clients are made,
//! Ackwarden from when the group's partitions are its own. It ends when the group's committed offsets are the ends of the
//! source. (What Ackwarden does before, once in its life, takes seconds: the group, the births, the state topic.)

use std::path::Path;
use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::arguments::{Arguments, Row};
use super::procfs;
use super::serve::{self, Serve};
use super::support::kafka::{Kafka, KafkaOptions};
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
            "ackwarden",
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
        serve_once(&kafka, shape, "ackwarden", serve::built(), None, &mut table);
        for other in &arguments.against {
            let name = other.file_name().and_then(|n| n.to_str()).expect("a name");
            serve_once(&kafka, shape, name, other, None, &mut table);
        }
    }
    table.write(&arguments.out);
    table.print(row);
}

fn bare_once(
    kafka: &Kafka,
    shape: Shape,
    who: &str,
    read: fn(&str, Shape) -> Duration,
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
    let mut serve = Serve::start(binary, &brokers, shape.ids);
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
    let settled = wait_settled(&serve, shape.records);
    let settled_after = start.elapsed();
    let committed = Committed::of(&brokers, &serve.group, shape);
    while !committed.is_all() {
        assert!(
            start.elapsed() < DONE_WITHIN,
            "not committed; {}",
            serve.log()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = start.elapsed();
    for (thread, spent) in procfs::cpu_by_thread(serve.pid()).iter().take(8) {
        say_loudly(&format!("    {thread}: {:.2} s", spent.as_secs_f64()));
    }
    assert_eq!(settled["topics"][0]["tracked"], shape.records, "{settled}");
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
            ("settled_s", settled_after.as_secs_f64()),
            (
                "checkpoints",
                serve.stats()["store"]["checkpoints"]
                    .as_f64()
                    .unwrap_or(-1.0),
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

/// Asks every 20 ms, which costs less than a thousandth of a core.
fn wait_settled(serve: &Serve, records: u64) -> serde_json::Value {
    let start = clock::instant();
    loop {
        let stats = serve.stats();
        // The two are not counted at the same moment.
        if stats["topics"][0]["acked"] == records && stats["outstanding"] == 0 {
            return stats;
        }
        assert!(
            start.elapsed() < DONE_WITHIN,
            "not settled: {stats}\n{}",
            serve.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
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
