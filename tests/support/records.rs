//! The observer: reads whole topics, and a group's offsets, straight from Kafka. It trusts nothing that a service says.

use std::collections::BTreeSet;
use std::time::Duration;

use ::ackwarden::clock;
use ::ackwarden::kafka::lifeline::Lifeline;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

pub use super::raw_headers::Header;
use super::raw_headers::headers_of;

/// How long a broker may stay silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// A record as it stands on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
    /// The broker's (test topics append their own time), ms since the epoch; −1 where there is none.
    pub timestamp_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    ReadUncommitted,
}

impl SeenRecord {
    /// `topic/partition/offset`.
    pub fn position(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }

    /// The last value of that header, as text; `None` where it is missing, null, or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .rev()
            .find(|(n, _)| n == name.as_bytes())?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// `ackwarden-attempt`, of a copy or a dead letter.
    pub fn attempt(&self) -> Option<u32> {
        self.header("ackwarden-attempt")?.parse().ok()
    }

    /// `ackwarden-origin`: set on copies and dead letters.
    pub fn origin(&self) -> Option<&str> {
        self.header("ackwarden-origin")
    }

    pub fn key_text(&self) -> Option<&str> {
        std::str::from_utf8(self.key.as_deref()?).ok()
    }

    /// Key, value and headers.
    pub fn size_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
            + self
                .headers
                .iter()
                .map(|(n, v)| n.len() + v.as_ref().map_or(0, Vec::len))
                .sum::<usize>()
    }
}

/// Everything on the topic up to its end, in order within a partition, partition by partition.
pub fn read_all(brokers: &str, topic: &str) -> Vec<SeenRecord> {
    read_all_as(brokers, topic, Isolation::ReadUncommitted)
}

/// [`read_all`] with a choice: `ReadCommitted` leaves out what was aborted, and ends at the last stable offset.
pub fn read_all_as(brokers: &str, topic: &str, isolation: Isolation) -> Vec<SeenRecord> {
    let consumer = observer(brokers, isolation, "ackwarden-tests-observer");
    let lifeline = Lifeline::of(brokers);
    let mut pending = partitions_of(&consumer, topic);
    let mut list = TopicPartitionList::new();
    for &partition in &pending {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("an offset");
    }
    consumer.assign(&list).expect("the assignment");
    let mut records = Vec::new();
    let mut progress = clock::instant();
    while !pending.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            None => {
                lifeline.look(consumer.client(), topic);
                assert!(
                    progress.elapsed() < PATIENCE,
                    "reading {topic} stands still: {} records, no end of partitions {pending:?}",
                    records.len()
                );
            }
            Some(Ok(message)) => {
                progress = clock::instant();
                records.push(SeenRecord {
                    topic: topic.to_owned(),
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: headers_of(&message),
                    timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
                });
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                pending.remove(&partition);
            }
            Some(Err(e)) if is_passing(&e) => {}
            Some(Err(e)) => panic!("reading {topic}: {e}"),
        }
    }
    records.sort_by_key(|r| (r.partition, r.offset));
    records
}

/// The group's committed offset and its metadata; `None` where it has none.
pub fn committed(brokers: &str, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
    let consumer = observer(brokers, Isolation::ReadUncommitted, group);
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let answer = consumer
        .committed_offsets(list, PATIENCE)
        .unwrap_or_else(|e| panic!("committed offset of {group} on {topic}/{partition}: {e}"));
    let element = answer.find_partition(topic, partition)?;
    match element.offset() {
        Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
        _ => None,
    }
}

/// Where each partition begins and ends, by partition number.
pub fn watermarks(brokers: &str, topic: &str) -> Vec<(i64, i64)> {
    let consumer = observer(
        brokers,
        Isolation::ReadUncommitted,
        "ackwarden-tests-observer",
    );
    partitions_of(&consumer, topic)
        .into_iter()
        .map(|p| {
            consumer
                .fetch_watermarks(topic, p, PATIENCE)
                .unwrap_or_else(|e| panic!("watermarks of {topic}/{p}: {e}"))
        })
        .collect()
}

/// Records that the topic has room for: the sum of its partitions' lengths, markers and gaps included.
pub fn length(brokers: &str, topic: &str) -> u64 {
    watermarks(brokers, topic)
        .into_iter()
        .map(|(start, end)| u64::try_from(end - start).unwrap_or(0))
        .sum()
}

fn observer(brokers: &str, isolation: Isolation, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set(
            "isolation.level",
            match isolation {
                Isolation::ReadCommitted => "read_committed",
                Isolation::ReadUncommitted => "read_uncommitted",
            },
        )
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.queue.backoff.ms", "5")
        // Tests send records of many megabytes, too.
        .set("receive.message.max.bytes", "200000000")
        .set("fetch.message.max.bytes", "20000000")
        .set("log_level", "3")
        .create()
        .expect("a consumer")
}

fn partitions_of(consumer: &BaseConsumer, topic: &str) -> BTreeSet<i32> {
    let metadata = consumer
        .fetch_metadata(Some(topic), PATIENCE)
        .unwrap_or_else(|e| panic!("metadata of {topic}: {e}"));
    let found = &metadata.topics()[0];
    assert!(
        found.error().is_none(),
        "metadata of {topic}: {:?}",
        found.error()
    );
    found
        .partitions()
        .iter()
        .map(rdkafka::metadata::MetadataPartition::id)
        .collect()
}

/// librdkafka reports these and goes on by itself: a broker that was restarted a moment ago.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
        )
    )
}
