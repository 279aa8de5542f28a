//! Records of the state topic: what users change, and where topics were born. Compacted, so that the last one of a key wins.
//!
//! Keys are `birth/TOPIC`, `policy/TOPIC`, `pause/TOPIC`, `job/ID`; values are JSON objects with `"v": 1`; a null value
//! means that there is none any more. Fields that this version does not know are passed over: a version that adds one
//! that may not be passed over writes `"v": 2`. What cannot be read is an error and never "there is none": a birth that is
//! overlooked would be a second birth, and what lies between the two would be lost.
//!
//! The overrides of a policy and the state of a job are JSON objects here; `config` and the runtime know what they mean.

use serde_json::{Map, Value, json};

/// The version that is written.
pub const VERSION: u64 = 1;

/// A record of the state topic.
#[derive(Debug, Clone, PartialEq)]
pub enum StateRecord {
    Birth {
        topic: String,
        birth: Option<Birth>,
    },
    Policy {
        topic: String,
        policy: Option<PolicyOverrides>,
    },
    Pause {
        topic: String,
        pause: Option<Pause>,
    },
    Job {
        id: String,
        job: Option<Map<String, Value>>,
    },
}

/// Where tracking of a topic began, once for all instances: (S0, E0).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Birth {
    /// S0 by source partition, ascending.
    pub source: Vec<(i32, i64)>,
    /// E0 by ACK partition, ascending; empty where the ACK topic was missing.
    pub acks: Vec<(i32, i64)>,
    pub cluster_id: String,
    /// `None`: the broker has no topic ids.
    pub source_topic_id: Option<String>,
    /// `None`: the same, or the ACK topic was missing.
    pub ack_topic_id: Option<String>,
    /// ms since the epoch.
    pub at_ms: i64,
}

/// What is changed of a topic's policy: all overrides in force, not only what is new.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyOverrides {
    /// By the contract's names: `{"timeout": "45s"}`.
    pub overrides: Map<String, Value>,
    /// What is outstanding was re-timed, too.
    pub apply_pending: bool,
    pub actor: Option<String>,
    /// ms since the epoch.
    pub at_ms: i64,
}

/// Whether retrying of a topic is paused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pause {
    pub paused: bool,
    pub actor: Option<String>,
    /// ms since the epoch.
    pub at_ms: i64,
}

/// Why a record cannot be read. The key is shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Somebody else's record, or of a kind that a later version added: say so, and go on without it.
    #[error("the state topic has a record with an unknown key {key:?}")]
    UnknownKey { key: String },
    /// Do not start the topic: what it says may matter.
    #[error(
        "the record {key:?} of the state topic has version {found}, this program knows up to {VERSION}: use a newer ackwarden"
    )]
    Newer { key: String, found: u64 },
    /// Do not start the topic.
    #[error(
        "the record {key:?} of the state topic cannot be read ({detail}): write it again through the API, or delete it with a null value if it is no birth"
    )]
    Damaged { key: String, detail: &'static str },
}

impl StateRecord {
    /// Key and value for Kafka.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let (kind, name, value) = match self {
            Self::Birth { topic, birth } => ("birth", topic, birth.as_ref().map(birth_value)),
            Self::Policy { topic, policy } => ("policy", topic, policy.as_ref().map(policy_value)),
            Self::Pause { topic, pause } => ("pause", topic, pause.as_ref().map(pause_value)),
            Self::Job { id, job } => (
                "job",
                id,
                job.as_ref().map(|job| json!({"v": VERSION, "job": job})),
            ),
        };
        (
            format!("{kind}/{name}").into_bytes(),
            value.map(|v| v.to_string().into_bytes()),
        )
    }

    /// # Errors
    /// [`StateError`]; none of them means that there is no such record.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, StateError> {
        let shown = String::from(super::text::shortened(key.unwrap_or_default(), 300));
        let Some((kind, name)) = key
            .and_then(|k| std::str::from_utf8(k).ok())
            .and_then(|k| k.split_once('/'))
            .filter(|(_, name)| !name.is_empty())
        else {
            return Err(StateError::UnknownKey { key: shown });
        };
        let name = name.to_owned();
        let damaged = |detail| StateError::Damaged {
            key: shown.clone(),
            detail,
        };
        let object = || -> Result<Option<Map<String, Value>>, StateError> {
            let Some(value) = value else {
                return Ok(None);
            };
            let object: Map<String, Value> =
                serde_json::from_slice(value).map_err(|_| damaged("not a JSON object"))?;
            match object.get("v").and_then(Value::as_u64) {
                Some(VERSION) => Ok(Some(object)),
                Some(found) if found > VERSION => Err(StateError::Newer {
                    key: shown.clone(),
                    found,
                }),
                _ => Err(damaged("no version")),
            }
        };
        Ok(match kind {
            "birth" => Self::Birth {
                topic: name,
                birth: object()?.map(|o| birth(&o)).transpose().map_err(damaged)?,
            },
            "policy" => Self::Policy {
                topic: name,
                policy: object()?.map(|o| policy(&o)).transpose().map_err(damaged)?,
            },
            "pause" => Self::Pause {
                topic: name,
                pause: object()?.map(|o| pause(&o)).transpose().map_err(damaged)?,
            },
            "job" => Self::Job {
                id: name,
                job: object()?
                    .map(|o| map(&o, "job"))
                    .transpose()
                    .map_err(damaged)?,
            },
            _ => return Err(StateError::UnknownKey { key: shown }),
        })
    }
}

fn birth_value(birth: &Birth) -> Value {
    json!({
        "v": VERSION,
        "source": birth.source,
        "acks": birth.acks,
        "cluster_id": birth.cluster_id,
        "source_topic_id": birth.source_topic_id,
        "ack_topic_id": birth.ack_topic_id,
        "at_ms": birth.at_ms,
    })
}

fn birth(object: &Map<String, Value>) -> Result<Birth, &'static str> {
    Ok(Birth {
        source: positions(object, "source").ok_or("source")?,
        acks: positions(object, "acks").ok_or("acks")?,
        cluster_id: text(object, "cluster_id")?.ok_or("cluster_id")?,
        source_topic_id: text(object, "source_topic_id")?,
        ack_topic_id: text(object, "ack_topic_id")?,
        at_ms: at_ms(object)?,
    })
}

fn policy_value(policy: &PolicyOverrides) -> Value {
    json!({
        "v": VERSION,
        "overrides": policy.overrides,
        "apply_pending": policy.apply_pending,
        "actor": policy.actor,
        "at_ms": policy.at_ms,
    })
}

fn policy(object: &Map<String, Value>) -> Result<PolicyOverrides, &'static str> {
    Ok(PolicyOverrides {
        overrides: map(object, "overrides")?,
        apply_pending: flag(object, "apply_pending")?,
        actor: text(object, "actor")?,
        at_ms: at_ms(object)?,
    })
}

fn pause_value(pause: &Pause) -> Value {
    json!({
        "v": VERSION,
        "paused": pause.paused,
        "actor": pause.actor,
        "at_ms": pause.at_ms,
    })
}

fn pause(object: &Map<String, Value>) -> Result<Pause, &'static str> {
    Ok(Pause {
        paused: flag(object, "paused")?,
        actor: text(object, "actor")?,
        at_ms: at_ms(object)?,
    })
}

/// Pairs of partition and offset, ascending, each partition once.
fn positions(object: &Map<String, Value>, name: &str) -> Option<Vec<(i32, i64)>> {
    let mut positions: Vec<(i32, i64)> = Vec::new();
    for pair in object.get(name)?.as_array()? {
        let [partition, offset] = &pair.as_array()?[..] else {
            return None;
        };
        let partition = i32::try_from(partition.as_i64()?).ok()?;
        let offset = offset.as_i64().filter(|o| *o >= 0)?;
        let before = positions.last().map_or(-1, |(last, _)| *last);
        if partition <= before {
            return None;
        }
        positions.push((partition, offset));
    }
    Some(positions)
}

/// `None` where it is missing or null.
fn text(object: &Map<String, Value>, name: &'static str) -> Result<Option<String>, &'static str> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(name),
    }
}

fn flag(object: &Map<String, Value>, name: &'static str) -> Result<bool, &'static str> {
    object.get(name).and_then(Value::as_bool).ok_or(name)
}

fn map(
    object: &Map<String, Value>,
    name: &'static str,
) -> Result<Map<String, Value>, &'static str> {
    object
        .get(name)
        .and_then(Value::as_object)
        .cloned()
        .ok_or(name)
}

fn at_ms(object: &Map<String, Value>) -> Result<i64, &'static str> {
    object.get("at_ms").and_then(Value::as_i64).ok_or("at_ms")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(key: &str, value: Option<&str>) -> Result<StateRecord, StateError> {
        StateRecord::decode(Some(key.as_bytes()), value.map(str::as_bytes))
    }

    const BIRTH: &str = r#"{"v":1,"source":[[0,5],[1,7]],"acks":[],"cluster_id":"c1","at_ms":9}"#;

    #[test]
    fn a_null_value_means_that_there_is_none() {
        assert_eq!(
            decode("pause/orders", None),
            Ok(StateRecord::Pause {
                topic: "orders".into(),
                pause: None
            })
        );
        assert_eq!(
            decode("job/a/b", None),
            Ok(StateRecord::Job {
                id: "a/b".into(),
                job: None
            })
        );
    }

    #[test]
    fn an_unknown_key_is_told() {
        for key in [
            "",
            "birth",
            "birth/",
            "/orders",
            "births/orders",
            "Birth/orders",
        ] {
            assert!(
                matches!(decode(key, None), Err(StateError::UnknownKey { .. })),
                "{key}"
            );
        }
        for key in [None, Some(&b"birth/\xff"[..])] {
            assert!(matches!(
                StateRecord::decode(key, None),
                Err(StateError::UnknownKey { .. })
            ));
        }
    }

    #[test]
    fn fields_that_are_not_known_are_passed_over() {
        let more = BIRTH.replace("\"at_ms\"", "\"later\":[1],\"at_ms\"");
        assert_eq!(
            decode("birth/t", Some(&more)),
            decode("birth/t", Some(BIRTH))
        );
    }

    #[test]
    fn a_newer_version_is_never_taken_for_none() {
        let newer = BIRTH.replace("\"v\":1", "\"v\":2");
        assert_eq!(
            decode("birth/t", Some(&newer)),
            Err(StateError::Newer {
                key: "birth/t".into(),
                found: 2
            })
        );
    }

    #[test]
    fn damage_is_told() {
        assert!(decode("birth/t", Some(BIRTH)).is_ok());
        for (part, damage) in [
            ("\"v\":1", "\"v\":0"),
            ("\"v\":1", "\"v\":-1"),
            ("\"v\":1,", ""),
            ("[0,5],[1,7]", "[1,7],[0,5]"),
            ("[0,5],[1,7]", "[0,5],[0,7]"),
            ("[0,5],[1,7]", "[0,-1]"),
            ("[0,5],[1,7]", "[-1,0]"),
            ("[0,5],[1,7]", "[0]"),
            ("[0,5],[1,7]", "[2147483647,1],[2147483647,1]"),
            ("[0,5],[1,7]", "[2147483648,1]"),
            ("[0,5],[1,7]", "0,5"),
            ("\"acks\":[],", ""),
            ("\"c1\"", "1"),
            ("\"at_ms\":9", "\"at_ms\":1e99"),
            ("}", "}}"),
            (BIRTH, "[]"),
            (BIRTH, ""),
        ] {
            let damaged = BIRTH.replace(part, damage);
            assert!(
                matches!(
                    decode("birth/t", Some(&damaged)),
                    Err(StateError::Damaged { .. })
                ),
                "{damaged}"
            );
        }
    }

    fn positions() -> impl Strategy<Value = Vec<(i32, i64)>> {
        prop::collection::btree_map(0..=i32::MAX, 0..=i64::MAX, 0..5)
            .prop_map(|m| m.into_iter().collect())
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::vec((".{0,6}", ".{0,6}"), 0..4)
            .prop_map(|all| all.into_iter().map(|(k, v)| (k, json!(v))).collect())
    }

    fn any_record() -> impl Strategy<Value = StateRecord> {
        let actor = || prop::option::of(".{0,8}");
        let birth = (
            positions(),
            positions(),
            ".{0,8}",
            actor(),
            actor(),
            any::<i64>(),
        )
            .prop_map(
                |(source, acks, cluster_id, source_topic_id, ack_topic_id, at_ms)| Birth {
                    source,
                    acks,
                    cluster_id,
                    source_topic_id,
                    ack_topic_id,
                    at_ms,
                },
            );
        let policy = (object(), any::<bool>(), actor(), any::<i64>()).prop_map(
            |(overrides, apply_pending, actor, at_ms)| PolicyOverrides {
                overrides,
                apply_pending,
                actor,
                at_ms,
            },
        );
        let pause =
            (any::<bool>(), actor(), any::<i64>()).prop_map(|(paused, actor, at_ms)| Pause {
                paused,
                actor,
                at_ms,
            });
        prop_oneof![
            ("[a-z./]{1,9}", prop::option::of(birth))
                .prop_map(|(topic, birth)| StateRecord::Birth { topic, birth }),
            ("[a-z./]{1,9}", prop::option::of(policy))
                .prop_map(|(topic, policy)| StateRecord::Policy { topic, policy }),
            ("[a-z./]{1,9}", prop::option::of(pause))
                .prop_map(|(topic, pause)| StateRecord::Pause { topic, pause }),
            ("[a-z./]{1,9}", prop::option::of(object()))
                .prop_map(|(id, job)| StateRecord::Job { id, job }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(record in any_record()) {
            let (key, value) = record.encode();
            prop_assert_eq!(StateRecord::decode(Some(&key), value.as_deref()), Ok(record));
        }

        #[test]
        fn no_bytes_make_it_panic(
            kind in prop::sample::select(vec!["birth/t", "policy/t", "pause/t", "job/t", ""]),
            key in prop::collection::vec(any::<u8>(), 0..12),
            value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = StateRecord::decode(Some(kind.as_bytes()), Some(&value));
            let _ = StateRecord::decode(Some(&key), Some(&value));
        }

        #[test]
        fn no_cut_or_changed_record_makes_it_panic(record in any_record(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let (key, value) = record.encode();
            if let Some(mut value) = value {
                let at = at.index(value.len());
                let _ = StateRecord::decode(Some(&key), Some(&value[..at]));
                value[at] = to;
                let _ = StateRecord::decode(Some(&key), Some(&value));
            }
        }
    }
}
