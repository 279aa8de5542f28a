//! What users change at runtime, as the state topic has it: overrides and pauses, by topic.
//!
//! Nothing here holds before it is durable: a change is a record first, and takes effect when Kafka has it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::names::Names;
use crate::config::policy_json::{patch_from_json, patch_to_json};
use crate::config::{TopicConfig, dead_letter_conflict, policy_keys};
use crate::core::{Event, PolicyPatch, TopicIx};
use crate::ports::{Outgoing, Refusal};
use crate::wire::state::{Birth, Pause, PolicyOverrides, StateError, StateRecord};

/// A change that was asked for.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    /// All overrides in force from now on; and whether what is outstanding is re-timed.
    Policy(PolicyPatch, bool),
    Pause(bool),
}

/// A change on its way to the state topic.
#[derive(Debug)]
pub(super) struct StateWrite {
    pub topic: TopicIx,
    pub wish: Wish,
    pub reply: oneshot::Sender<Result<(), Refusal>>,
}

/// What is in force.
#[derive(Debug, Default, Clone)]
pub struct KnownState {
    overrides: BTreeMap<TopicIx, PolicyPatch>,
    paused: BTreeMap<TopicIx, bool>,
    births: BTreeMap<String, Birth>,
    /// Where on the state topic stands what holds, of what came while we run.
    newest: BTreeMap<(TopicIx, Kind), i64>,
}

/// What a change is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Policy,
    Pause,
}

impl KnownState {
    /// A record of the state topic, in order. What concerns no tracked topic is passed over.
    ///
    /// # Errors
    /// A record that cannot be read: what it says may matter, so the service must not start.
    pub fn apply(
        &mut self,
        names: &Names,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), StateError> {
        match StateRecord::decode(key, value) {
            Ok(StateRecord::Birth { topic, birth }) => {
                match birth {
                    Some(birth) => self.births.insert(topic, birth),
                    None => self.births.remove(&topic),
                };
            }
            Ok(StateRecord::Policy { topic, policy }) => {
                let Some(ix) = names.topic_ix(&topic) else {
                    return Ok(());
                };
                let json = policy.map(|p| p.overrides).unwrap_or_default();
                match patch_from_json(&json, &topic) {
                    Ok(patch) => {
                        self.overrides.insert(ix, patch);
                    }
                    Err(problems) => {
                        for (key, problem) in problems {
                            tracing::warn!(%topic, %key, %problem, "an override on the state topic does not hold");
                        }
                    }
                }
            }
            Ok(StateRecord::Pause { topic, pause }) => {
                if let Some(ix) = names.topic_ix(&topic) {
                    self.paused.insert(ix, pause.is_some_and(|p| p.paused));
                }
            }
            Ok(StateRecord::Job { .. }) => {}
            Err(StateError::UnknownKey { key }) => {
                tracing::warn!(%key, "the state topic has a record that is not ours");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A record that came while we run, and stands at `offset`: what the core is to be told of it. What is in force already is
    /// not told again. Our own come once more here, before or after their reports; whichever is first counts.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn hear(
        &mut self,
        names: &Names,
        offset: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Option<Event>, StateError> {
        let (topic, kind, apply_pending) = match StateRecord::decode(key, value) {
            Ok(StateRecord::Policy { topic, policy }) => {
                (topic, Kind::Policy, policy.is_some_and(|p| p.apply_pending))
            }
            Ok(StateRecord::Pause { topic, .. }) => (topic, Kind::Pause, false),
            _ => (String::new(), Kind::Pause, false),
        };
        let Some(topic) = names.topic_ix(&topic) else {
            return self.apply(names, key, value).map(|()| None);
        };
        if !self.is_news(topic, kind, offset) {
            return Ok(None);
        }
        let paused = |state: &Self| state.paused.get(&topic).copied().unwrap_or(false);
        let before = (self.overrides(topic), paused(self));
        self.apply(names, key, value)?;
        let after = (self.overrides(topic), paused(self));
        Ok(if after.0 != before.0 || apply_pending {
            Some(Event::PolicyChanged {
                topic,
                overrides: after.0,
                apply_pending,
            })
        } else if after.1 != before.1 {
            Some(Event::Paused {
                topic,
                paused: after.1,
            })
        } else {
            None
        })
    }

    /// What is wrong with these overrides of a topic beside the file, and beside the other topics as they are now: (key,
    /// problem).
    #[must_use]
    pub fn problems(
        &self,
        names: &Names,
        topic: TopicIx,
        patch: &PolicyPatch,
    ) -> Vec<(String, String)> {
        let config = &names.config.topics[usize::from(topic.0)];
        let policy = config.policy.patched(patch);
        let mut problems: Vec<(String, String)> = policy_keys::validate(&policy)
            .into_iter()
            .map(|(key, problem)| (key.to_owned(), problem))
            .collect();
        if let Some(dead_letter) = &policy.dead_letter
            && let Some(problem) = dead_letter_conflict(
                &names.config,
                |of| self.dead_letter_of(names, of),
                &config.name,
                dead_letter,
            )
        {
            problems.push(("dead_letter".to_owned(), problem));
        }
        problems
    }

    /// Where the topic's dead letters go now.
    fn dead_letter_of<'a>(&'a self, names: &Names, topic: &'a TopicConfig) -> Option<&'a str> {
        let overrides = names
            .topic_ix(&topic.name)
            .and_then(|ix| self.overrides.get(&ix));
        match overrides.and_then(|patch| patch.dead_letter.as_ref()) {
            Some(overridden) => overridden.as_deref(),
            None => topic.policy.dead_letter.as_deref(),
        }
    }

    /// Overrides that were made when the file said something else, and that do not go with what it says now, do not hold.
    pub fn keep_what_fits(&mut self, names: &Names) {
        let topics: Vec<TopicIx> = self.overrides.keys().copied().collect();
        for topic in topics {
            let name = names.topic(topic);
            let mut json = patch_to_json(&self.overrides(topic));
            let problems_of = |json: &Map<String, Value>| {
                let patch = patch_from_json(json, name).unwrap_or_default();
                self.problems(names, topic, &patch)
            };
            while let Some((_, problem)) = problems_of(&json).first() {
                // Of two keys that contradict each other, one may be the file's.
                let count = problems_of(&json).len();
                let helps = |key: &&String| {
                    let mut without = json.clone();
                    without.remove(key.as_str());
                    problems_of(&without).len() < count
                };
                let Some(key) = json.keys().find(helps).or(json.keys().next()).cloned() else {
                    break;
                };
                tracing::warn!(
                    topic = name,
                    %key,
                    value = %json[&key],
                    %problem,
                    "an override that was set at runtime does not go with the configuration as it is now: it does not hold, \
                     and the file's value does"
                );
                json.remove(&key);
            }
            let patch = patch_from_json(&json, name).unwrap_or_default();
            self.overrides.insert(topic, patch);
        }
    }

    #[must_use]
    pub fn birth(&self, topic: &str) -> Option<&Birth> {
        self.births.get(topic)
    }

    pub fn set_birth(&mut self, topic: &str, birth: Birth) {
        self.births.insert(topic.to_owned(), birth);
    }

    #[must_use]
    pub fn overrides(&self, topic: TopicIx) -> PolicyPatch {
        self.overrides.get(&topic).cloned().unwrap_or_default()
    }

    /// What the core is told before anything else.
    #[must_use]
    pub fn initial_events(&self) -> Vec<Event> {
        let policies = self
            .overrides
            .iter()
            .map(|(topic, patch)| Event::PolicyChanged {
                topic: *topic,
                overrides: patch.clone(),
                apply_pending: false,
            });
        let pauses = self.paused.iter().map(|(topic, paused)| Event::Paused {
            topic: *topic,
            paused: *paused,
        });
        policies.chain(pauses).collect()
    }

    /// Whether nothing later is known: of a reader and a report, either may be first, and another instance's change may stand
    /// behind ours.
    fn is_news(&mut self, topic: TopicIx, kind: Kind, offset: i64) -> bool {
        let newest = self.newest.entry((topic, kind)).or_insert(-1);
        let is_news = offset > *newest;
        *newest = offset.max(*newest);
        is_news
    }

    /// It is durable, at `offset`: it holds, unless it was heard by now, or something later. What the core is to be told.
    pub(super) fn accept(&mut self, topic: TopicIx, wish: Wish, offset: i64) -> Option<Event> {
        let kind = match wish {
            Wish::Policy(..) => Kind::Policy,
            Wish::Pause(_) => Kind::Pause,
        };
        // Where Kafka does not say where it stands, it counts until it is read.
        if offset >= 0 && !self.is_news(topic, kind, offset) {
            return None;
        }
        Some(match wish {
            Wish::Policy(overrides, apply_pending) => {
                self.overrides.insert(topic, overrides.clone());
                Event::PolicyChanged {
                    topic,
                    overrides,
                    apply_pending,
                }
            }
            Wish::Pause(paused) => {
                self.paused.insert(topic, paused);
                Event::Paused { topic, paused }
            }
        })
    }

    /// The record that makes a wish durable.
    pub(super) fn record(&self, names: &Names, topic: &str, wish: &Wish, at_ms: i64) -> Outgoing {
        let topic = topic.to_owned();
        let record = match wish {
            Wish::Policy(overrides, apply_pending) => StateRecord::Policy {
                topic,
                policy: (!overrides.is_empty() || *apply_pending).then(|| PolicyOverrides {
                    overrides: patch_to_json(overrides),
                    apply_pending: *apply_pending,
                    actor: None,
                    at_ms,
                }),
            },
            Wish::Pause(paused) => StateRecord::Pause {
                topic,
                pause: paused.then_some(Pause {
                    paused: true,
                    actor: None,
                    at_ms,
                }),
            },
        };
        state_record(names, &record)
    }
}

/// A record for the state topic's one partition.
#[must_use]
pub fn state_record(names: &Names, record: &StateRecord) -> Outgoing {
    let (key, value) = record.encode();
    Outgoing {
        topic: names.config.kafka.state_topic.clone(),
        partition: Some(0),
        spread: 0,
        key: Some(key),
        value,
        headers: Vec::new(),
    }
}
