//! A million messages due at once, `retry_rate` unlimited: how fast their copies are in the topic, against a bare producer
//! of records of the same size with as many headers.

use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};

use super::arguments::Arguments;
use super::procfs;
use super::serve::{self, Serve, Setup};
use super::support::kafka::{Kafka, KafkaOptions};
use super::support::say_loudly;
use super::support::topics::{self, TopicSpec};
use super::table::Table;
use super::workload::{self, Codec, Ids, SOURCE, Shape};

const DONE_WITHIN: Duration = Duration::from_secs(300);
const BARE: &str = "bare";

pub fn run(records: u64, arguments: &Arguments) {
    for round in 0..arguments.rounds.min(3) {
        // A topic that has been retried once is not the same any more: each round has a broker of its own.
        let Some(kafka) = Kafka::start(KafkaOptions::default().measured()) else {
            return;
        };
        let mut table = Table::new("storm");
        one(&kafka, records, &mut table);
        table.write(&arguments.out.join(format!("storm-{round}")));
        table.print_all();
    }
}

fn one(kafka: &Kafka, records: u64, table: &mut Table) {
    let brokers = kafka.brokers();
    let shape = Shape {
        records,
        partitions: 4,
        value_bytes: 200,
        ids: Ids::Positions,
        codec: Codec::None,
    };
    say_loudly(&format!("storm: writing {shape:?}"));
    workload::write_source(&brokers, shape);
    topics::create(&brokers, &TopicSpec::new(BARE, shape.partitions));
    let took = produce_bare(&brokers, shape);
    table.add("bare-producer", records, took, &[]);

    let more = "[defaults]\nretry_rate = 0\nbackoff = 100.0\n";
    let mut serve = Serve::start(
        serve::built(),
        &brokers,
        Setup {
            more,
            ..Setup::of(shape.ids)
        },
    );
    serve.wait_ready();
    assert_eq!(serve.stats()["outstanding"], records);
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("log_level", "3")
        .create()
        .expect("a client");
    // All were read longer ago than that, so that they are due at once.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(end_of(&client, shape), records, "nothing was retried yet");
    let cpu = procfs::cpu_of(serve.pid());
    let start = clock::instant();
    let timeout = serde_json::json!({"timeout": "1s"});
    serve.patch(&format!("/topics/{SOURCE}?apply=pending"), &timeout);
    while end_of(&client, shape) < 2 * records {
        assert!(
            start.elapsed() < DONE_WITHIN,
            "{}\n{}",
            serve.stats(),
            serve.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    table.add(
        "ackwarden",
        records,
        start.elapsed(),
        &[
            (
                "cpu_us",
                (procfs::cpu_of(serve.pid()) - cpu).as_secs_f64() * 1e6 / records as f64,
            ),
            ("peak_mb", procfs::peak_memory_of(serve.pid()) as f64 / 1e6),
        ],
    );
}

/// Records of the whole topic.
fn end_of(client: &BaseConsumer, shape: Shape) -> u64 {
    let ends = (0..shape.partitions).map(|partition| {
        let timeout = Duration::from_secs(10);
        let (_, end) = client
            .fetch_watermarks(SOURCE, partition, timeout)
            .expect("an end");
        u64::try_from(end).expect("an end")
    });
    ends.sum()
}

fn produce_bare(brokers: &str, shape: Shape) -> Duration {
    let producer = workload::producer(brokers, shape.codec);
    let value = vec![b'x'; shape.value_bytes];
    let start = clock::instant();
    for i in 0..shape.records {
        let partition = i32::try_from(i % 4).expect("a partition");
        let origin = format!("{SOURCE}/{partition}/{i}");
        let mut headers = OwnedHeaders::new_with_capacity(6);
        for (key, text) in [
            ("ackwarden-message-id", origin.as_str()),
            ("ackwarden-attempt", "2"),
            ("ackwarden-origin", origin.as_str()),
            ("ackwarden-origin-timestamp", "1700000000000"),
            ("ackwarden-cause", "timeout"),
            ("ackwarden-group", "QWNrd2FyZGVuVGVzdHNfXw/compare-1234-0"),
        ] {
            headers = headers.insert(Header {
                key,
                value: Some(text),
            });
        }
        let record = BaseRecord::<[u8], [u8]>::to(BARE)
            .partition(partition)
            .payload(&value)
            .headers(headers);
        workload::send(&producer, record);
    }
    producer.flush(Duration::from_secs(120)).expect("flushed");
    start.elapsed()
}
