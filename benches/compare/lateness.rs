//! How late a retry is while the topic is busy: from the deadline of the original to the copy in the log.
//!
//! The broker stamps both (`LogAppendTime`), so that what is called late here includes the time that Ackwarden took to
//! read the original: it counts the timeout from there.

use std::fs;
use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::arguments::Arguments;
use super::flow::{Flow, Pace};
use super::serve::{self, Serve, Setup};
use super::support::kafka::{Kafka, KafkaOptions};
use super::table::{Table, ms, spread_ms};
use super::workload::{self, Codec, Ids, SOURCE, Shape};

/// Service B's work.
const ACKED_AFTER: Duration = Duration::from_millis(100);
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
    let pace = Pace {
        per_second,
        acked_after: ACKED_AFTER,
        lost_one_in: Some(LOST_ONE_IN),
    };
    let sent = Flow::behind(&brokers, shape, pace).run_while(|elapsed| elapsed < LASTS);
    let copies = read_copies(&brokers, shape, sent.records / LOST_ONE_IN);
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
    let [p50, p99, max] = spread_ms(&mut late);
    table.add(
        "retry",
        count,
        sent.took,
        &[
            ("sent_per_second", sent.per_second()),
            p50,
            p99,
            max,
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
