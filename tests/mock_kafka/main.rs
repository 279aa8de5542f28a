//! The Kafka adapters on librdkafka's mock cluster: quick, and without a JDK. What the mock lacks (topic configurations,
//! transactions, ListOffsets by time, fencing) is tested on a real broker in `tests/real_kafka`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod lifeline;
mod member;
mod publisher;
mod reader;
mod service_b;
#[path = "../support/mod.rs"]
mod support;
mod trouble;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ackwarden::config::KafkaConfig;
use ackwarden::core::event::PublishOutcome;
use ackwarden::kafka::publisher::{PartitionCounts, Publisher};
use ackwarden::kafka::settings::ClientSettings;
use ackwarden::kafka::trouble::Trouble;
use ackwarden::ports::{Outgoing, OwnedHeader};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration of a group on these brokers.
pub fn config(brokers: String) -> KafkaConfig {
    KafkaConfig {
        brokers,
        group_id: "g".into(),
        instance_id: None,
        state_topic: "g-state".into(),
        properties: BTreeMap::new(),
        // The mock holds an empty fetch for that long even if data comes.
        consumer: BTreeMap::from([("fetch.wait.max.ms".into(), "20".into())]),
        producer: BTreeMap::new(),
    }
}

/// Brokers of the test's own, with `orders` (2 partitions) and `others` (1).
pub struct Scene {
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    pub settings: ClientSettings,
    pub trouble: Trouble,
}

impl Scene {
    pub fn start() -> Self {
        Self::of_brokers(1)
    }

    pub fn of_brokers(count: i32) -> Self {
        let cluster = MockCluster::new(count).expect("a mock cluster");
        cluster.create_topic("orders", 2, 1).expect("a topic");
        cluster.create_topic("others", 1, 1).expect("a topic");
        Self {
            settings: ClientSettings::new(&config(cluster.bootstrap_servers())),
            cluster,
            trouble: Trouble::default(),
        }
    }

    pub fn publisher(&self) -> Publishing {
        let (reports, reported): (Sender<(u64, PublishOutcome)>, _) = channel();
        let reports = std::sync::Mutex::new(reports);
        let counts = PartitionCounts::default();
        counts.write().expect("counts").insert("orders".into(), 2);
        let publisher = Publisher::spawn(
            &self.settings.publisher(),
            &self.trouble,
            counts,
            std::sync::Arc::new(move |token, outcome| {
                let _ = reports.lock().expect("reports").send((token, outcome));
            }),
        )
        .expect("a publisher");
        Publishing {
            publisher,
            reported,
        }
    }
}

pub struct Publishing {
    pub publisher: Publisher,
    pub reported: Receiver<(u64, PublishOutcome)>,
}

impl Publishing {
    /// Publishes one record and waits for its report.
    pub fn publish(&self, token: u64, record: &Outgoing) -> PublishOutcome {
        if let Err(outcome) = self.publisher.publish(token, record) {
            return outcome;
        }
        let (reported, outcome) = self.reported.recv_timeout(PATIENCE).expect("a report");
        assert_eq!(reported, token);
        outcome
    }

    /// `count` plain records onto a partition.
    pub fn fill(&self, partition: i32, count: u64) {
        for token in 0..count {
            let outcome = self.publish(token, &record(partition, &token.to_string()));
            assert!(matches!(outcome, PublishOutcome::Durable(_)), "{outcome:?}");
        }
    }
}

pub fn record(partition: i32, value: &str) -> Outgoing {
    Outgoing {
        topic: "orders".into(),
        partition: Some(partition),
        spread: 0,
        key: Some(b"k".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

pub fn header(name: &str, value: Option<&[u8]>) -> OwnedHeader {
    (name.as_bytes().to_vec(), value.map(<[u8]>::to_vec))
}
