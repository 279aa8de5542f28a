//! What the tests of this folder share: configurations and records, small and by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::rules::DecodeRules;
use crate::config::{
    Config, HttpConfig, IdSource, KafkaConfig, Limits, Start, StoreConfig, TopicConfig,
};
use crate::core::{OnLostRange, Policy, SameId};
use crate::ports::{OwnedHeader, RawRecord};

pub fn topic(name: &str, ack_topic: &str) -> TopicConfig {
    TopicConfig {
        name: name.into(),
        ack_topic: ack_topic.into(),
        start: Start::Now,
        id: vec![IdSource::Header("message-id".into()), IdSource::Position],
        ack_id: vec![
            IdSource::Header(super::names::MESSAGE_ID.into()),
            IdSource::Key,
        ],
        policy: Policy {
            timeout_ms: 30_000,
            backoff: 2.0,
            timeout_max_ms: 600_000,
            jitter: 0.1,
            max_attempts: 5,
            nack_delay_ms: 1_000,
            delay_max_ms: 3_600_000,
            dead_letter: Some(format!("{name}-dlq").into()),
            retry_rate: 1_000,
            same_id: SameId::Keep,
            on_lost_range: OnLostRange::Stop,
            observe_only: false,
        },
        set_by_file: BTreeSet::new(),
    }
}

pub fn config(topics: Vec<TopicConfig>) -> Config {
    Config {
        kafka: KafkaConfig {
            brokers: "127.0.0.1:9092".into(),
            group_id: "ackwarden".into(),
            instance_id: None,
            state_topic: "ackwarden-state".into(),
            properties: BTreeMap::new(),
            consumer: BTreeMap::new(),
            producer: BTreeMap::new(),
        },
        store: StoreConfig {
            path: "ackwarden-data".into(),
            checkpoint_interval: Duration::from_secs(1),
        },
        http: HttpConfig {
            listen: ([127, 0, 0, 1], 8080).into(),
        },
        limits: Limits {
            max_outstanding: 10_000_000,
            settled_max: 1_000_000,
            settled_retention: Duration::from_secs(3_600),
        },
        topics,
    }
}

/// The group of these rules is `c1/ackwarden`.
pub fn rules(topics: Vec<TopicConfig>) -> Arc<DecodeRules> {
    Arc::new(DecodeRules::new(&config(topics), "c1"))
}

pub fn headers(pairs: &[(&str, &str)]) -> Vec<OwnedHeader> {
    pairs
        .iter()
        .map(|(n, v)| (n.as_bytes().to_vec(), Some(v.as_bytes().to_vec())))
        .collect()
}

pub fn raw<'a>(
    topic: &'a str,
    partition: i32,
    offset: i64,
    key: Option<&'a [u8]>,
    headers: &'a Vec<OwnedHeader>,
) -> RawRecord<'a> {
    RawRecord {
        topic,
        partition,
        offset,
        timestamp_ms: 1_700_000_000_000,
        key,
        value: Some(b"value"),
        headers,
    }
}
