//! How late a retry is while the topic is busy: from the deadline of the original to the copy in the log.
//!
//! The broker stamps both (`LogAppendTime`), so that what is called late here includes the time that Ackwarden took to
//! read the original: it counts the timeout from there.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::arguments::Arguments;
use super::serve::{self, Serve, Setup};
use super::support::kafka::{Kafka, KafkaOptions};
use super::support::topics::acks_of;
use super::table::{Table, quantile};
use super::workload::{self, Codec, Ids, SOURCE, Shape};

const TICK: Duration = Duration::from_millis(5);
/// Service B's work.
const ACKED_AFTER: usize = 20;
const TIMEOUT_MS: i64 = 2_000;
const LASTS: Duration = Duration::from_secs(20);
/// The first retries wait for clients that connect only then: they are shown apart.
const COLD_MS: i64 = 3_000;
/// One of so many is never acknowledged on its first delivery.
const LOST_ONE_IN: u64 = 2_000;

pub fn run(per_second: u64, arguments: &Arguments) {
    let mut table = Table::new("lateness");
    let mut each = String::from("round\tsent_after_ms\tlate_ms\n");
    for round in 0..arguments.rounds.min(3) {
        let Some(kafka) = Kafka::start(KafkaOptions::default().measured()) else {
            return;
        };
        for (after_ms, late) in one(&kafka, per_second, &mut table) {
            each.push_str(&format!("{round}\t{after_ms}\t{}\n", late.as_millis()));
        }
    }
    table.write(&arguments.out);
    // What the plot is made of.
    fs::write(arguments.out.join("lateness-each.tsv"), each).expect("results");
    table.print_all();
}

/// When each original was sent (ms), and how late its copy was; the first ones aside.
fn one(kafka: &Kafka, per_second: u64, table: &mut Table) -> Vec<(i64, Duration)> {
    let brokers = kafka.brokers();
    let shape = Shape {
        records: 0,
        partitions: 4,
        value_bytes: 200,
        ids: Ids::Positions,
        codec: Codec::None,
    };
    workload::create(&brokers, shape);
    let more = "[defaults]\nmax_attempts = 2\nretry_rate = 0\n";
    let mut serve = Serve::start(
        serve::built(),
        &brokers,
        Setup {
            more,
            timeout: "2s",
            ..Setup::of(shape.ids)
        },
    );
    serve.wait_ready();
    let (sent, took) = drive(&brokers, shape, per_second);
    let copies = read_copies(&brokers, shape, sent / LOST_ONE_IN);
    let first = copies.iter().map(|(origin, _)| *origin).min().unwrap_or(0);
    let (cold, warm): (Vec<_>, Vec<_>) = copies
        .into_iter()
        .partition(|(origin, _)| *origin < first + COLD_MS);
    let mut late: Vec<Duration> = warm.iter().map(|(_, late)| *late).collect();
    let cold_max = cold
        .into_iter()
        .map(|(_, late)| late)
        .max()
        .unwrap_or_default();
    let count = late.len() as u64;
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    table.add(
        "retry",
        count,
        took,
        &[
            ("sent_per_second", sent as f64 / took.as_secs_f64()),
            ("p50_ms", ms(quantile(&mut late, 0.5))),
            ("p99_ms", ms(quantile(&mut late, 0.99))),
            ("max_ms", ms(quantile(&mut late, 1.0))),
            ("first_3_s_max_ms", ms(cold_max)),
        ],
    );
    let after = warm
        .into_iter()
        .map(|(origin, late)| (origin - first, late));
    let mut after: Vec<_> = after.collect();
    after.sort_unstable();
    after
}

/// Sends for a while, and acknowledges a little later; says how many it sent.
fn drive(brokers: &str, shape: Shape, per_second: u64) -> (u64, Duration) {
    let producer = workload::producer(brokers, shape.codec);
    let acks = acks_of(SOURCE);
    let mut value = Vec::new();
    let mut waiting: VecDeque<std::ops::Range<u64>> = VecDeque::new();
    let place = |i: u64| (i32::try_from(i % 4).expect("a partition"), i / 4);
    let acknowledge = |numbers: &mut dyn Iterator<Item = u64>| {
        for i in numbers.filter(|i| i % LOST_ONE_IN != 0) {
            let (partition, offset) = place(i);
            let key = format!("{SOURCE}/{partition}/{offset}");
            let record = BaseRecord::<[u8], [u8]>::to(&acks);
            workload::send(&producer, record.partition(partition).key(key.as_bytes()));
        }
    };
    let start = clock::instant();
    let mut sent = 0;
    while start.elapsed() < LASTS {
        let due = (start.elapsed().as_secs_f64() * per_second as f64) as u64;
        for i in sent..due {
            let (partition, offset) = place(i);
            workload::fill(&mut value, shape.value_bytes, partition, offset as i64);
            let record = BaseRecord::<[u8], [u8]>::to(SOURCE);
            workload::send(&producer, record.partition(partition).payload(&value));
        }
        waiting.push_back(sent..due);
        sent = due;
        if waiting.len() > ACKED_AFTER {
            acknowledge(&mut waiting.pop_front().into_iter().flatten());
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(TICK);
    }
    let took = start.elapsed();
    // Else these, too, come due, all at once.
    acknowledge(&mut waiting.into_iter().flatten());
    producer.flush(Duration::from_secs(60)).expect("flushed");
    (sent, took)
}

/// When the original of each copy was appended, and how late the copy is.
fn read_copies(brokers: &str, shape: Shape, wanted: u64) -> Vec<(i64, Duration)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "judge")
        .set("fetch.queue.backoff.ms", "5")
        .set("log_level", "3")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..shape.partitions {
        list.add_partition_offset(SOURCE, partition, Offset::Beginning)
            .expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let start = clock::instant();
    let mut late = Vec::new();
    while (late.len() as u64) < wanted {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "only {} copies",
            late.len()
        );
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let Some(headers) = message.headers() else {
            continue;
        };
        let origin: Option<i64> = headers.iter().find_map(|h| {
            let text = std::str::from_utf8(h.value?).ok()?;
            (h.key == "ackwarden-origin-timestamp").then(|| text.parse().ok())?
        });
        if let (Some(origin), Some(at)) = (origin, message.timestamp().to_millis()) {
            let late_ms = at - origin - TIMEOUT_MS;
            assert!(late_ms >= -1, "a copy {} ms before its time", -late_ms);
            let late_ms = u64::try_from(late_ms.max(0)).expect("ms");
            late.push((origin, Duration::from_millis(late_ms)));
        }
    }
    late
}
