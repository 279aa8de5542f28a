//! What most tests begin with: a topic of their own with its ACK and dead-letter topics, and words for what is done to it.

use std::time::Duration;

use crate::support::ackwarden::ServeConfig;
use crate::support::kafka::Kafka;
use crate::support::produce::{NewRecord, Place, produce};
use crate::support::records::{SeenRecord, read_all};
use crate::support::topics::{self, acks_of, dead_letters_of};
use crate::support::{eventually, unique};

/// How late the broker may append a copy after an ACK: the ACK's way to the coordinator, and the way of a copy that was
/// submitted just before it came, on a machine with more tests than cores.
pub const IN_FLIGHT_MS: i64 = 1_000;

/// Deliveries one second apart, as exactly as can be.
pub const EVERY_SECOND: &str = "timeout = \"1s\"\nbackoff = 1.0\njitter = 0.0\n";

/// Deliveries one second apart, more of them than a test lasts.
pub const PERSISTENT: &str = "timeout = \"1s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 100\n";

/// What was not confirmed within a quarter of the session is sent again, and of an operator's word it is not known what
/// became of it. So the session is long where each record is to be there once, or nobody is to be taken for dead; and
/// short where one waits for its end: when a store is lost, or a partition moves.
pub const LONG_SESSION: &str = "[kafka.consumer]\n\"session.timeout.ms\" = 45000\n";

/// One source topic, and what belongs to it.
pub struct Scene {
    pub brokers: String,
    /// The source topic.
    pub topic: String,
}

impl Scene {
    /// With all three topics.
    pub fn new(kafka: &Kafka, name: &str, partitions: i32) -> Self {
        let scene = Self::bare(kafka, name);
        topics::create_set(&scene.brokers, &scene.topic, partitions);
        scene
    }

    /// With a name, and no topic yet.
    pub fn bare(kafka: &Kafka, name: &str) -> Self {
        Self {
            brokers: kafka.brokers(),
            topic: unique(name),
        }
    }

    /// The coordinator's group.
    pub fn group(&self) -> String {
        format!("{}-ackwarden", self.topic)
    }

    /// A configuration that tracks the topic, with these keys.
    pub fn config(&self, lines: &str) -> ServeConfig {
        ServeConfig::new(&self.brokers, &self.group()).topic(&self.topic, lines)
    }

    pub fn acks_topic(&self) -> String {
        acks_of(&self.topic)
    }

    pub fn dead_letters_topic(&self) -> String {
        dead_letters_of(&self.topic)
    }

    /// All three topics.
    pub fn topics(&self) -> [String; 3] {
        let source = self.topic.clone();
        [source, self.acks_topic(), self.dead_letters_topic()]
    }

    pub fn send(&self, records: &[NewRecord]) -> Vec<Place> {
        produce(&self.brokers, &self.topic, records)
    }

    /// Sends one record to partition 0; answers with its position.
    pub fn send_one(&self, value: &str) -> String {
        self.send(&[NewRecord::new(value).key("k").partition(0)])[0].position()
    }

    /// Puts records on the ACK topic.
    pub fn say(&self, records: &[NewRecord]) -> Vec<Place> {
        produce(&self.brokers, &self.acks_topic(), records)
    }

    pub fn ack(&self, position: &str) {
        self.say(&[NewRecord::ack(position)]);
    }

    pub fn source(&self) -> Vec<SeenRecord> {
        read_all(&self.brokers, &self.topic)
    }

    pub fn acks(&self) -> Vec<SeenRecord> {
        read_all(&self.brokers, &self.acks_topic())
    }

    pub fn dead_letters(&self) -> Vec<SeenRecord> {
        read_all(&self.brokers, &self.dead_letters_topic())
    }

    /// The copies of that original.
    pub fn copies_of(&self, position: &str) -> Vec<SeenRecord> {
        let source = self.source();
        source
            .into_iter()
            .filter(|r| r.origin() == Some(position))
            .collect()
    }

    /// Waits until the original has `count` copies; answers with them.
    pub fn wait_copies(&self, position: &str, count: usize, limit: Duration) -> Vec<SeenRecord> {
        eventually(&format!("{count} copies of {position}"), limit, || {
            let copies = self.copies_of(position);
            (copies.len() >= count).then_some(copies)
        })
    }

    /// Waits until there are `count` dead letters; answers with them.
    pub fn wait_dead_letters(&self, count: usize, limit: Duration) -> Vec<SeenRecord> {
        eventually(
            &format!("{count} dead letters of {}", self.topic),
            limit,
            || {
                let dead = self.dead_letters();
                (dead.len() >= count).then_some(dead)
            },
        )
    }
}

/// For what is not to happen: long enough that it would have.
pub fn let_pass(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
