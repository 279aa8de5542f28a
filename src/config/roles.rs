//! What one topic may be at once: source, ACK topic, dead-letter topic, state topic.
//!
//! A dead-letter topic may be tracked itself (somebody works through the dead letters, and crashes too), as long as
//! dead letters do not come back to where they were. Every other mixture would read one kind of record as another.

use super::check::place_of;
use super::check_topics::CheckedTopic;
use super::model::{Config, KafkaConfig, TopicConfig};
use super::problem::{Findings, Place, Problem};
use super::raw::Entry;

/// Why a topic's dead letters cannot go to `dead_letter`; for a change at runtime, which no file's check sees. `in_force`
/// gives where those of each topic go.
#[must_use]
pub fn dead_letter_conflict<'c>(
    config: &'c Config,
    in_force: impl Fn(&'c TopicConfig) -> Option<&'c str>,
    topic: &str,
    dead_letter: &str,
) -> Option<String> {
    let roles = Roles {
        state_topic: &config.kafka.state_topic,
        topics: config
            .topics
            .iter()
            .map(|t| Role {
                source: &t.name,
                ack: &t.ack_topic,
                dead_letter: in_force(t),
            })
            .collect(),
    };
    roles.dead_letter_conflict(topic, dead_letter)
}

struct Roles<'c> {
    state_topic: &'c str,
    topics: Vec<Role<'c>>,
}

struct Role<'c> {
    source: &'c str,
    ack: &'c str,
    dead_letter: Option<&'c str>,
}

impl Roles<'_> {
    fn dead_letter_conflict(&self, topic: &str, dead_letter: &str) -> Option<String> {
        if dead_letter == topic {
            return Some(
                "is the source topic itself: dead letters would be tracked again".to_owned(),
            );
        }
        if dead_letter == self.state_topic {
            return Some(
                "is the state topic, which is compacted: dead letters would vanish".to_owned(),
            );
        }
        if let Some(role) = self.topics.iter().find(|role| role.ack == dead_letter) {
            return Some(format!(
                "is the ACK topic of \"{}\": dead letters would be read as ACKs",
                role.source
            ));
        }
        let mut way = vec![topic, dead_letter];
        let mut at = dead_letter;
        while way.len() <= self.topics.len() + 1 {
            let tracked = self.topics.iter().find(|role| role.source == at);
            at = tracked?.dead_letter?;
            way.push(at);
            if at == topic {
                return Some(format!("lets dead letters go round: {}", way.join(" → ")));
            }
        }
        None
    }

    fn ack_conflict(&self, topic: &str, ack: &str) -> Option<String> {
        if ack == topic {
            return Some("is the source topic itself: messages would be read as ACKs".to_owned());
        }
        if ack == self.state_topic {
            return Some("is the state topic, which is Ackwarden's own".to_owned());
        }
        let other = self.topics.iter().find(|role| role.source == ack)?;
        Some(format!(
            "is the tracked topic \"{}\": its messages would be read as ACKs",
            other.source
        ))
    }
}

/// Checks the roles of all topics against each other.
pub(super) fn check_roles(
    topics: &[CheckedTopic<'_>],
    kafka: &KafkaConfig,
    state_topic: Option<&Entry>,
    found: &mut Findings,
) {
    let roles = Roles {
        state_topic: &kafka.state_topic,
        topics: topics
            .iter()
            .map(|topic| Role {
                source: &topic.config.name,
                ack: &topic.config.ack_topic,
                dead_letter: topic.config.policy.dead_letter.as_deref(),
            })
            .collect(),
    };
    for (index, topic) in topics.iter().enumerate() {
        let name = &topic.config.name;
        let ack = &topic.config.ack_topic;
        if name == roles.state_topic {
            let place = place_of(state_topic, topic.place);
            found.problem(
                Problem::new(
                    place,
                    format!("\"{name}\" is the state topic and a tracked topic"),
                )
                .also("it is tracked", topic.place)
                .cure("set kafka.state_topic to a topic of its own"),
            );
            continue;
        }
        if let Some(conflict) = roles.ack_conflict(name, ack) {
            found.problem(
                Problem::new(
                    topic.place_of("ack_topic"),
                    format!("the ACK topic \"{ack}\" of \"{name}\" {conflict}"),
                )
                .cure("name another topic"),
            );
        }
        if let Some(dead_letter) = topic.config.policy.dead_letter.as_deref()
            && let Some(conflict) = roles.dead_letter_conflict(name, dead_letter)
        {
            found.problem(
                Problem::new(
                    topic.place_of("dead_letter"),
                    format!("the dead-letter topic \"{dead_letter}\" of \"{name}\" {conflict}"),
                )
                .cure("name another topic, or none: \"\""),
            );
        }
        let earlier = topics
            .iter()
            .take(index)
            .find(|other| other.config.ack_topic == *ack);
        if let Some(other) = earlier.filter(|other| other.config.ack_id != topic.config.ack_id) {
            found.problem(
                Problem::new(
                    topic.place_of("ack_id"),
                    format!(
                        "\"{name}\" and \"{}\" share the ACK topic \"{ack}\", but not `ack_id`",
                        other.config.name
                    ),
                )
                .also("the other topic", other.place)
                .cure("an ACK record is read once, by one list: give both the same `ack_id`, or two ACK topics"),
            );
        }
    }
}

impl CheckedTopic<'_> {
    fn place_of(&self, key: &str) -> &Place {
        place_of(self.keys.get(key), self.place)
    }
}
