//! Topics as an administrator makes and changes them.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{block_on, eventually};

/// How long a broker may take for what it is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// A topic to be created. The broker appends its own time, so that the judges can compare records of two topics.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    name: String,
    partitions: i32,
    replication: i32,
    /// The brokers that have each partition, the preferred leader first; empty: as Kafka likes.
    brokers: Vec<i32>,
    config: Vec<(String, String)>,
}

impl TopicSpec {
    pub fn new(name: &str, partitions: i32) -> Self {
        Self {
            name: name.to_owned(),
            partitions,
            replication: 1,
            brokers: Vec::new(),
            config: vec![("message.timestamp.type".into(), "LogAppendTime".into())],
        }
    }

    /// On three brokers, of which two have to have a record before it counts.
    pub fn replicated(mut self) -> Self {
        self.replication = 3;
        self.config("min.insync.replicas", "2")
    }

    /// On these brokers, the preferred leader first.
    pub fn on_brokers(mut self, ids: &[i32]) -> Self {
        self.brokers = ids.to_vec();
        self
    }

    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.config.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Creates it, and waits until clients see all of its partitions with a leader.
pub fn create(brokers: &str, spec: &TopicSpec) {
    let placed = vec![spec.brokers.as_slice(); spec.partitions as usize];
    let replication = if spec.brokers.is_empty() {
        TopicReplication::Fixed(spec.replication)
    } else {
        TopicReplication::Variable(&placed)
    };
    let mut topic = NewTopic::new(&spec.name, spec.partitions, replication);
    for (name, value) in &spec.config {
        topic = topic.set(name, value);
    }
    let results = block_on(admin(brokers).create_topics([&topic], &options()));
    check("create", &spec.name, results);
    wait_for_partitions(brokers, &spec.name, spec.partitions);
}

/// The topics of a source: itself, `-acks`, and `-dlq`, as many partitions each.
pub fn create_set(brokers: &str, source: &str, partitions: i32) {
    for name in [source.to_owned(), acks_of(source), dead_letters_of(source)] {
        create(brokers, &TopicSpec::new(&name, partitions));
    }
}

/// The default ACK topic of a source.
pub fn acks_of(source: &str) -> String {
    format!("{source}-acks")
}

/// The default dead-letter topic of a source.
pub fn dead_letters_of(source: &str) -> String {
    format!("{source}-dlq")
}

pub fn add_partitions(brokers: &str, topic: &str, total: i32) {
    let count = usize::try_from(total).expect("a number of partitions");
    let results =
        block_on(admin(brokers).create_partitions([&NewPartitions::new(topic, count)], &options()));
    check("add partitions to", topic, results);
    wait_for_partitions(brokers, topic, total);
}

pub fn delete(brokers: &str, topic: &str) {
    let results = block_on(admin(brokers).delete_topics(&[topic], &options()));
    check("delete", topic, results);
    let client = client(brokers);
    eventually(&format!("{topic} is gone"), PATIENCE, || {
        partitions_with_leader(&client, topic)
            .is_none()
            .then_some(())
    });
}

/// Deletes all records of the partition before `offset`.
pub fn delete_records(brokers: &str, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))
        .expect("an offset");
    let answer = block_on(admin(brokers).delete_records(&list, &options()))
        .unwrap_or_else(|e| panic!("delete records of {topic}/{partition}: {e}"));
    for element in answer.elements() {
        if let Err(e) = element.error() {
            panic!("delete records of {topic}/{partition}: {e}");
        }
    }
}

/// Sets the topic's configuration to exactly this, and `LogAppendTime`.
pub fn alter_config(brokers: &str, topic: &str, config: &[(&str, &str)]) {
    let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic))
        .set("message.timestamp.type", "LogAppendTime");
    for (name, value) in config {
        alter = alter.set(name, value);
    }
    let results = block_on(admin(brokers).alter_configs([&alter], &options()))
        .unwrap_or_else(|e| panic!("alter the configuration of {topic}: {e}"));
    for result in results {
        if let Err((_, e)) = result {
            panic!("alter the configuration of {topic}: {e}");
        }
    }
}

/// The broker that leads the partition, where there is one.
pub fn leader_of(brokers: &str, topic: &str, partition: i32) -> Option<i32> {
    let metadata = client(brokers)
        .fetch_metadata(Some(topic), Duration::from_secs(10))
        .ok()?;
    let partitions = metadata.topics().first()?.partitions();
    let found = partitions.iter().find(|p| p.id() == partition)?;
    Some(found.leader()).filter(|id| *id >= 0)
}

/// Whether the topic is there.
pub fn exists(brokers: &str, topic: &str) -> bool {
    partitions_with_leader(&client(brokers), topic).is_some()
}

fn check(
    what: &str,
    topic: &str,
    results: rdkafka::error::KafkaResult<Vec<rdkafka::admin::TopicResult>>,
) {
    for result in results.unwrap_or_else(|e| panic!("{what} {topic}: {e}")) {
        if let Err((_, e)) = result {
            panic!("{what} {topic}: {e}");
        }
    }
}

fn wait_for_partitions(brokers: &str, topic: &str, partitions: i32) {
    let client = client(brokers);
    let wanted = usize::try_from(partitions).expect("a number of partitions");
    eventually(
        &format!("{topic} has {partitions} partitions with a leader"),
        PATIENCE,
        || (partitions_with_leader(&client, topic)? == wanted).then_some(()),
    );
}

fn partitions_with_leader(client: &BaseConsumer, topic: &str) -> Option<usize> {
    let metadata = client.fetch_metadata(None, Duration::from_secs(10)).ok()?;
    let found = metadata.topics().iter().find(|t| t.name() == topic)?;
    Some(
        found
            .partitions()
            .iter()
            .filter(|p| p.leader() >= 0)
            .count(),
    )
}

fn client(brokers: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("log_level", "3")
        .create()
        .expect("a client")
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("log_level", "3")
        .create()
        .expect("an admin client")
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}
