//! What the API is to know before there is an engine: the topics, and the settings by allow-list.

use std::time::Duration;

use crate::config::{self, Config};
use crate::http::{Directory, TopicEntry};

pub(super) fn directory(config: &Config) -> Directory {
    let mut ack_topics: Vec<String> = Vec::new();
    for topic in &config.topics {
        if !ack_topics.contains(&topic.ack_topic) {
            ack_topics.push(topic.ack_topic.clone());
        }
    }
    let topics = config
        .topics
        .iter()
        .map(|t| TopicEntry {
            name: t.name.clone(),
            ack_topic: t.ack_topic.clone(),
            set_by_file: t.set_by_file.clone(),
        })
        .collect();
    Directory::new(topics, ack_topics, settings_shown(config))
}

/// `GET /config`: by allow-list, secrets masked.
fn settings_shown(config: &Config) -> serde_json::Value {
    let kafka = config::redacted(&config.kafka);
    let text = |d: Duration| humantime::format_duration(d).to_string();
    serde_json::json!({
        "kafka": {
            "brokers": kafka.brokers,
            "group_id": kafka.group_id,
            "instance_id": kafka.instance_id,
            "state_topic": kafka.state_topic,
            "properties": kafka.properties,
            "consumer": kafka.consumer,
            "producer": kafka.producer,
        },
        "store": {
            "path": config.store.path.display().to_string(),
            "checkpoint_interval": text(config.store.checkpoint_interval),
        },
        "http": { "listen": config.http.listen.to_string() },
        "limits": {
            "max_outstanding": config.limits.max_outstanding,
            "settled_max": config.limits.settled_max,
            "settled_retention": text(config.limits.settled_retention),
        },
        "topics": config.topics.iter().map(|t| {
            let policy: serde_json::Map<String, serde_json::Value> =
                config::policy_json::show(&t.policy)
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect();
            (t.name.clone(), serde_json::json!({"ack_topic": t.ack_topic, "policy": policy}))
        }).collect::<serde_json::Map<_, _>>(),
    })
}
