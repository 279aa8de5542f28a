//! Service B in Rust, and Ackwarden beside it.

#![allow(unsafe_code, reason = "librdkafka's batch call is C")]

use std::fmt::Write as _;
use std::ptr;
use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::ClientConfig;
use rdkafka::bindings as ffi;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{DONE_WITHIN, Done, PARTITIONS, Stopwatch, send_all};
use crate::serve::{self, Serve, Setup};
use crate::support::kafka::Kafka;
use crate::support::topics::{self, TopicSpec, acks_of};
use crate::support::unique;
use crate::workload::{self, Codec, Ids};

const BATCH: usize = 1_000;

/// Settled when the coordinator counts it so.
pub fn run(kafka: &Kafka, records: u64) -> Option<Done> {
    let (brokers, topic) = (kafka.brokers(), new_topic(kafka));
    let more = format!("[topics.{topic:?}]\nstart = \"earliest\"\ntimeout = \"10m\"\n");
    let mut serve = Serve::start(
        serve::built(),
        &brokers,
        Setup {
            more: &more,
            ..Setup::of(Ids::Positions)
        },
    );
    serve.wait_ready();
    let watch = Stopwatch::start(&[kafka.pid(), serve.pid()]);
    send_and_work(&brokers, &topic, records);
    let start = clock::instant();
    while !is_settled(&serve, &topic, records) {
        assert!(
            start.elapsed() < DONE_WITHIN,
            "{}\n{}",
            serve.stats(),
            serve.log()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(watch.done())
}

/// The same without a coordinator, until all ACKs are in their topic: what nobody who works that way can be faster than.
pub fn unguarded(kafka: &Kafka, records: u64) -> Option<Done> {
    let topic = new_topic(kafka);
    let watch = Stopwatch::start(&[kafka.pid()]);
    send_and_work(&kafka.brokers(), &topic, records);
    Some(watch.done())
}

/// With the one for its ACKs.
fn new_topic(kafka: &Kafka) -> String {
    let topic = unique("whole");
    for name in [&topic, &acks_of(&topic)] {
        topics::create(&kafka.brokers(), &TopicSpec::new(name, PARTITIONS));
    }
    topic
}

/// Ends when all is sent, and all ACKs are.
fn send_and_work(brokers: &str, topic: &str, records: u64) {
    std::thread::scope(|scope| {
        scope.spawn(|| work(brokers, topic, records));
        send_all(brokers, topic, records);
    });
}

fn is_settled(serve: &Serve, topic: &str, records: u64) -> bool {
    let stats = serve.stats();
    let topics = stats["topics"].as_array().expect("topics");
    let acked = topics
        .iter()
        .filter(|t| t["topic"] == topic)
        .map(|t| t["acked"].as_u64());
    acked.flatten().next() == Some(records) && stats["outstanding"] == 0
}

/// Reads, and acknowledges by position.
fn work(brokers: &str, topic: &str, records: u64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", unique("whole-service-b"))
        // What becomes of commits would come through the queue that is read in batches, which takes messages alone.
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "100")
        .set("log_level", "3")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let producer = workload::producer(brokers, Codec::None);
    let acks = acks_of(topic);
    let mut key = String::new();
    let mut acknowledge = |partition: i32, offset: i64| {
        key.clear();
        write!(key, "{topic}/{partition}/{offset}").expect("memory");
        let record = BaseRecord::<[u8], [u8]>::to(&acks);
        workload::send(&producer, record.partition(partition).key(key.as_bytes()));
    };
    let mut messages = vec![ptr::null_mut(); BATCH];
    let mut left = records;
    // SAFETY: the client outlives the queue, which is given back below; each message is destroyed once.
    unsafe {
        let queue = ffi::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        while left > 0 {
            let mut count = ffi::rd_kafka_consume_batch_queue(queue, 100, messages.as_mut_ptr(), 1);
            if count > 0 {
                let rest = messages[1..].as_mut_ptr();
                count += ffi::rd_kafka_consume_batch_queue(queue, 0, rest, BATCH - 1);
            }
            for message in &messages[..usize::try_from(count).expect("a count")] {
                if (**message).err == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    acknowledge((**message).partition, (**message).offset);
                    left -= 1;
                }
                ffi::rd_kafka_message_destroy(*message);
            }
            producer.poll(Duration::ZERO);
        }
        ffi::rd_kafka_queue_destroy(queue);
    }
    producer.flush(DONE_WITHIN).expect("flushed");
}
