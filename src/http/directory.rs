//! What the API knows from the start and never asks for: the names behind the indices, and the settings to show.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::core::TopicIx;
use crate::core::types::AckIx;

/// How many tracked topics an error names before it says how many more there are.
const NAMED_MAX: usize = 10;

/// Names and settings, fixed while the process lives.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    topics: Vec<TopicEntry>,
    ack_topics: Vec<String>,
    settings: Value,
}

/// One tracked topic; its place in the list is its [`TopicIx`].
#[derive(Debug, Clone, Default)]
pub struct TopicEntry {
    pub name: String,
    pub ack_topic: String,
    /// Keys of the policy that the file (or the environment) sets, by their contract names.
    pub set_by_file: BTreeSet<String>,
}

impl Directory {
    /// `ack_topics` in the order of [`AckIx`]. `settings` is what `GET /config` shows: the caller makes it by
    /// allow-list, without secrets.
    #[must_use]
    pub fn new(topics: Vec<TopicEntry>, ack_topics: Vec<String>, settings: Value) -> Self {
        Self {
            topics,
            ack_topics,
            settings,
        }
    }

    #[must_use]
    pub fn topics(&self) -> &[TopicEntry] {
        &self.topics
    }

    /// The index of a tracked topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicIx> {
        let place = self.topics.iter().position(|t| t.name == name)?;
        u16::try_from(place).ok().map(TopicIx)
    }

    #[must_use]
    pub fn entry(&self, topic: TopicIx) -> Option<&TopicEntry> {
        self.topics.get(usize::from(topic.0))
    }

    /// The name; `?` for an index that the configuration has not got.
    #[must_use]
    pub fn name(&self, topic: TopicIx) -> &str {
        self.entry(topic).map_or("?", |t| &t.name)
    }

    /// The ACK topic of a source topic.
    #[must_use]
    pub fn ack_topic_of(&self, topic: TopicIx) -> &str {
        self.entry(topic).map_or("?", |t| &t.ack_topic)
    }

    #[must_use]
    pub fn ack_topic(&self, ack: AckIx) -> &str {
        self.ack_topics
            .get(usize::from(ack.0))
            .map_or("?", String::as_str)
    }

    #[must_use]
    pub fn settings(&self) -> &Value {
        &self.settings
    }

    /// `tracked are: orders, payments`, for error details.
    #[must_use]
    pub fn tracked(&self) -> String {
        if self.topics.is_empty() {
            return "no topic is tracked".to_owned();
        }
        let names: Vec<&str> = self
            .topics
            .iter()
            .take(NAMED_MAX)
            .map(|t| t.name.as_str())
            .collect();
        let more = self.topics.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 {
            format!(" and {more} more (GET /api/v1/topics)")
        } else {
            String::new()
        };
        format!("tracked are: {}{more}", names.join(", "))
    }
}
