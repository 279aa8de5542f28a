//! The names behind the core's indices, and who we are.

use std::sync::Arc;

use crate::config::Config;
use crate::core::types::AckIx;
use crate::core::{CoreLimits, TopicIx, TopicSettings};
use crate::kafka::settings::ClientSettings;
use crate::wire::rules::DecodeRules;

/// Low-water marks that moved are committed that often, ms: all of a group in one request. As often as Kafka Streams commits
/// under exactly-once.
const COMMIT_EVERY_MS: u64 = 100;

/// ACKs of a topic that came before their messages take at most about 30 MB: some two hundred million plain ones, or as many
/// as this that are by id or more than plain.
const EARLY_WEIGHT_MAX: usize = 200_000;

/// Fixed while the process lives, shared by all threads.
#[derive(Clone)]
pub struct Names {
    pub config: Arc<Config>,
    pub rules: Arc<DecodeRules>,
    pub cluster_id: String,
    /// Of our store, which only one process can have open.
    pub owner: String,
}

impl Names {
    #[must_use]
    pub fn new(config: Arc<Config>, cluster_id: String, owner: String) -> Self {
        let rules = Arc::new(DecodeRules::new(&config, &cluster_id));
        Self {
            config,
            rules,
            cluster_id,
            owner,
        }
    }

    #[must_use]
    pub fn topic(&self, ix: TopicIx) -> &str {
        self.config
            .topics
            .get(usize::from(ix.0))
            .map_or("", |t| &t.name)
    }

    #[must_use]
    pub fn ack_topic_of(&self, ix: TopicIx) -> &str {
        self.config
            .topics
            .get(usize::from(ix.0))
            .map_or("", |t| &t.ack_topic)
    }

    #[must_use]
    pub fn ack_topic(&self, ix: AckIx) -> &str {
        self.ack_names()
            .get(usize::from(ix.0))
            .copied()
            .unwrap_or("")
    }

    /// The distinct ACK topics, in the order of [`AckIx`]: by first mention.
    #[must_use]
    pub fn ack_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for topic in &self.config.topics {
            if !names.contains(&topic.ack_topic.as_str()) {
                names.push(&topic.ack_topic);
            }
        }
        names
    }

    #[must_use]
    pub fn ack_ix(&self, topic: TopicIx) -> AckIx {
        let name = self.ack_topic_of(topic);
        let place = self.ack_names().iter().position(|n| *n == name);
        AckIx(place.unwrap_or(0) as u16)
    }

    #[must_use]
    pub fn topic_ix(&self, name: &str) -> Option<TopicIx> {
        let place = self.config.topics.iter().position(|t| t.name == name)?;
        u16::try_from(place).ok().map(TopicIx)
    }

    #[must_use]
    pub fn topic_settings(&self) -> Vec<TopicSettings> {
        self.config
            .topics
            .iter()
            .enumerate()
            .map(|(i, topic)| TopicSettings {
                name: topic.name.as_str().into(),
                ack: self.ack_ix(TopicIx(i as u16)),
                ack_name: topic.ack_topic.as_str().into(),
                policy: topic.policy.clone(),
            })
            .collect()
    }

    /// The group's session, ms.
    #[must_use]
    pub fn session_ms(&self) -> u64 {
        ClientSettings::new(&self.config.kafka).session_timeout_ms()
    }

    #[must_use]
    pub fn core_limits(&self) -> CoreLimits {
        let limits = &self.config.limits;
        CoreLimits {
            max_outstanding: limits.max_outstanding,
            early_weight_max: EARLY_WEIGHT_MAX,
            settled_max: limits.settled_max,
            settled_retention_ms: u64::try_from(limits.settled_retention.as_millis())
                .unwrap_or(u64::MAX),
            commit_every_ms: COMMIT_EVERY_MS,
            lease_ms: self.session_ms() / 2,
        }
    }
}
