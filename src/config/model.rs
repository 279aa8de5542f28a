//! The checked configuration: what the rest of the program sees. Nothing in here can be contradictory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::Policy;

use super::secrets::redacted_properties;

#[derive(Debug, Clone)]
pub struct Config {
    pub kafka: KafkaConfig,
    pub store: StoreConfig,
    pub http: HttpConfig,
    pub limits: Limits,
    /// In the order of the file; a topic's place is its `TopicIx`.
    pub topics: Vec<TopicConfig>,
}

/// Its `Debug` masks the secrets among the properties.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `bootstrap.servers`.
    pub brokers: String,
    pub group_id: String,
    /// `None`: a random one, kept in the store.
    pub instance_id: Option<String>,
    /// Resolved.
    pub state_topic: String,
    /// librdkafka properties for every client, flattened; checked against what would undo a promise.
    pub properties: BTreeMap<String, String>,
    /// For consumers alone.
    pub consumer: BTreeMap<String, String>,
    /// For producers alone.
    pub producer: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("group_id", &self.group_id)
            .field("instance_id", &self.instance_id)
            .field("state_topic", &self.state_topic)
            .field("properties", &redacted_properties(&self.properties))
            .field("consumer", &redacted_properties(&self.consumer))
            .field("producer", &redacted_properties(&self.producer))
            .finish()
    }
}

#[derive(Debug, Clone)]
pub struct StoreConfig {
    pub path: PathBuf,
    pub checkpoint_interval: Duration,
}

#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Loopback only, until tokens are built.
    pub listen: SocketAddr,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_outstanding: u64,
    pub settled_max: u64,
    pub settled_retention: Duration,
}

#[derive(Debug, Clone)]
pub struct TopicConfig {
    pub name: String,
    pub ack_topic: String,
    pub start: Start,
    /// How a source record is named; first that yields a value. Never empty: the last is `Position`.
    pub id: Vec<IdSource>,
    /// How an ACK record names its message. Never empty; the same for all topics that share an ACK topic.
    pub ack_id: Vec<IdSource>,
    pub policy: Policy,
    /// Keys that `[topics.NAME]`, `[defaults]` or the environment set, by their contract names; the rest are defaults.
    pub set_by_file: BTreeSet<String>,
}

/// Where tracking begins, once per topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Now,
    Earliest,
    /// ms since the epoch.
    At(i64),
}

/// One entry of `id` or `ack_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSource {
    /// `header:NAME`.
    Header(String),
    /// `cloudevents`: `ce_source`, a space, `ce_id`.
    CloudEvents,
    /// `json:/pointer` into the value (RFC 6901).
    Json(String),
    /// `key`.
    Key,
    /// `position`. In `id` only.
    Position,
}
