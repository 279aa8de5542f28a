//! The policy keys: one list that the file, the HTTP API's PATCH and `config.example.toml` share.
//!
//! A key knows how it is parsed, checked, shown, and whether it may be changed while the service runs. What one value
//! alone can get wrong is a key's own check; what two values get wrong together is [`validate`].

use crate::core::{OnLostRange, Policy, PolicyPatch, SameId};

use super::duration::show_duration_ms;
use super::scalar::{
    Scalar, bounded_duration, bounded_integer, dead_letter, named, number, one_of, wrong_type,
};

/// Longest of the policy's durations: 30 days. Kafka rarely keeps records longer, and it fits into 32 bits of ms.
pub const POLICY_DURATION_MAX_MS: u64 = 30 * 24 * 3_600_000;
pub const BACKOFF_MAX: f64 = 1_000.0;
/// Past this, `0` ("without end") is what is meant.
pub const MAX_ATTEMPTS_MAX: u32 = 1_000_000;
pub const RETRY_RATE_MAX: u32 = 1_000_000;

/// One key of the policy.
pub struct PolicyKey {
    pub name: &'static str,
    /// Parses, checks and sets it. The error is a fragment that follows the value.
    set: fn(&mut Policy, &Scalar, topic: &str) -> Result<(), String>,
    show: fn(&Policy) -> Scalar,
    /// `None`: only in the file.
    patch: Option<PatchField>,
}

/// How a key gets into a patch and is found there.
struct PatchField {
    lift: fn(&Policy, &mut PolicyPatch),
    is_set: fn(&PolicyPatch) -> bool,
}

impl PolicyKey {
    /// Parses the value and lays it into the policy, checked for itself. `topic` fills `{topic}`.
    ///
    /// # Errors
    /// What is wrong with the value, with the cure.
    pub fn set(&self, policy: &mut Policy, value: &Scalar, topic: &str) -> Result<(), String> {
        (self.set)(policy, value, topic)
    }

    /// The value as the contract writes it.
    #[must_use]
    pub fn show(&self, policy: &Policy) -> Scalar {
        (self.show)(policy)
    }

    /// May be changed while the service runs.
    #[must_use]
    pub const fn is_patchable(&self) -> bool {
        self.patch.is_some()
    }

    /// Parses the value into the patch. Not for keys that are not patchable: these are refused.
    ///
    /// # Errors
    /// What is wrong with the value, with the cure.
    pub fn set_patch(
        &self,
        patch: &mut PolicyPatch,
        value: &Scalar,
        topic: &str,
    ) -> Result<(), String> {
        let Some(field) = &self.patch else {
            return Err(
                "cannot be changed while the service runs: set it in the configuration and restart"
                    .to_owned(),
            );
        };
        let mut scratch = Policy::default();
        self.set(&mut scratch, value, topic)?;
        (field.lift)(&scratch, patch);
        Ok(())
    }

    /// The value in the patch, if it is there.
    #[must_use]
    pub fn show_patch(&self, patch: &PolicyPatch) -> Option<Scalar> {
        let field = self.patch.as_ref()?;
        (field.is_set)(patch).then(|| self.show(&Policy::default().patched(patch)))
    }
}

/// The key of that name.
#[must_use]
pub fn policy_key(name: &str) -> Option<&'static PolicyKey> {
    POLICY_KEYS.iter().find(|key| key.name == name)
}

macro_rules! in_patch {
    ($field:ident) => {
        Some(PatchField {
            lift: |policy, patch| patch.$field = Some(policy.$field.clone()),
            is_set: |patch| patch.$field.is_some(),
        })
    };
}

macro_rules! duration_key {
    ($name:literal, $field:ident, min_ms: $min:expr) => {
        PolicyKey {
            name: $name,
            set: |policy, value, _| {
                policy.$field = bounded_duration(value, $min)?;
                Ok(())
            },
            show: |policy| Scalar::Text(show_duration_ms(policy.$field)),
            patch: in_patch!($field),
        }
    };
}

/// In the order of the contract.
pub static POLICY_KEYS: &[PolicyKey] = &[
    PolicyKey {
        name: "on_lost_range",
        set: |policy, value, _| {
            policy.on_lost_range = one_of(value, &ON_LOST_RANGE)?;
            Ok(())
        },
        show: |policy| named(policy.on_lost_range, &ON_LOST_RANGE),
        patch: in_patch!(on_lost_range),
    },
    duration_key!("timeout", timeout_ms, min_ms: 1),
    PolicyKey {
        name: "backoff",
        set: |policy, value, _| {
            policy.backoff = number(value)?;
            match policy.backoff {
                b if (1.0..=BACKOFF_MAX).contains(&b) => Ok(()),
                _ => Err(format!(
                    "is out of bounds: 1.0 (each wait is as long as the first) to {BACKOFF_MAX}"
                )),
            }
        },
        show: |policy| Scalar::Float(policy.backoff),
        patch: in_patch!(backoff),
    },
    duration_key!("timeout_max", timeout_max_ms, min_ms: 1),
    PolicyKey {
        name: "jitter",
        set: |policy, value, _| {
            policy.jitter = number(value)?;
            match policy.jitter {
                j if (0.0..1.0).contains(&j) => Ok(()),
                _ => Err(
                    "is out of bounds: 0.0 to below 1.0, a share of the wait (0.1 is ± 10 %)"
                        .to_owned(),
                ),
            }
        },
        show: |policy| Scalar::Float(policy.jitter),
        patch: in_patch!(jitter),
    },
    PolicyKey {
        name: "max_attempts",
        set: |policy, value, _| {
            policy.max_attempts = bounded_integer(value, MAX_ATTEMPTS_MAX)
                .map_err(|e| format!("{e}; 0 is without end"))?;
            Ok(())
        },
        show: |policy| Scalar::Integer(policy.max_attempts.into()),
        patch: in_patch!(max_attempts),
    },
    duration_key!("nack_delay", nack_delay_ms, min_ms: 0),
    duration_key!("delay_max", delay_max_ms, min_ms: 1),
    PolicyKey {
        name: "dead_letter",
        set: |policy, value, topic| {
            policy.dead_letter = dead_letter(value, topic)?;
            Ok(())
        },
        show: |policy| Scalar::Text(policy.dead_letter.as_deref().unwrap_or("").to_owned()),
        patch: in_patch!(dead_letter),
    },
    PolicyKey {
        name: "retry_rate",
        set: |policy, value, _| {
            policy.retry_rate = bounded_integer(value, RETRY_RATE_MAX)
                .map_err(|e| format!("{e}; retries a second, 0 is unlimited"))?;
            Ok(())
        },
        show: |policy| Scalar::Integer(policy.retry_rate.into()),
        patch: in_patch!(retry_rate),
    },
    PolicyKey {
        name: "same_id",
        set: |policy, value, _| {
            policy.same_id = one_of(value, &SAME_ID)?;
            Ok(())
        },
        show: |policy| named(policy.same_id, &SAME_ID),
        patch: None,
    },
    PolicyKey {
        name: "observe_only",
        set: |policy, value, _| match value {
            Scalar::Bool(on) => {
                policy.observe_only = *on;
                Ok(())
            }
            other => Err(wrong_type(other, "true or false")),
        },
        show: |policy| Scalar::Bool(policy.observe_only),
        patch: None,
    },
];

const ON_LOST_RANGE: [(&str, OnLostRange); 2] = [
    ("stop", OnLostRange::Stop),
    ("report-and-continue", OnLostRange::ReportAndContinue),
];
const SAME_ID: [(&str, SameId); 2] = [("keep", SameId::Keep), ("one-message", SameId::OneMessage)];

/// Two values that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The key to point at, and the other one.
    pub keys: [&'static str; 2],
    /// What is wrong and what to do; a whole sentence.
    pub problem: String,
}

/// What the values of a policy get wrong together. Empty: nothing.
#[must_use]
pub fn contradictions(policy: &Policy) -> Vec<Contradiction> {
    let mut found = Vec::new();
    if policy.timeout_ms > policy.timeout_max_ms {
        found.push(Contradiction {
            keys: ["timeout", "timeout_max"],
            problem: format!(
                "timeout is {}, longer than timeout_max, {}: raise timeout_max or lower timeout",
                show_duration_ms(policy.timeout_ms),
                show_duration_ms(policy.timeout_max_ms)
            ),
        });
    }
    if policy.nack_delay_ms > policy.delay_max_ms {
        found.push(Contradiction {
            keys: ["nack_delay", "delay_max"],
            problem: format!(
                "nack_delay is {}, longer than delay_max, {}: raise delay_max or lower nack_delay",
                show_duration_ms(policy.nack_delay_ms),
                show_duration_ms(policy.delay_max_ms)
            ),
        });
    }
    if policy.nack_delay_ms == 0 && policy.max_attempts == 0 && policy.retry_rate == 0 {
        found.push(Contradiction {
            keys: ["nack_delay", "max_attempts"],
            problem: "nack_delay, max_attempts and retry_rate are all 0: a message that is always \
                      NACKed would be resent without pause or end; bound one of them"
                .to_owned(),
        });
    }
    found
}

/// Everything that is wrong with a policy: each value for itself, then together. (key, problem.)
///
/// What a dead-letter topic must not be depends on the other topics: ask
/// [`dead_letter_conflict`](super::dead_letter_conflict).
#[must_use]
pub fn validate(policy: &Policy) -> Vec<(&'static str, String)> {
    // No topic has an empty name, so that no dead-letter topic is taken for the source.
    const NO_TOPIC: &str = "";
    let mut scratch = policy.clone();
    let mut found: Vec<(&'static str, String)> = POLICY_KEYS
        .iter()
        .filter_map(|key| {
            let problem = key.set(&mut scratch, &key.show(policy), NO_TOPIC).err()?;
            Some((key.name, problem))
        })
        .collect();
    if found.is_empty() {
        found.extend(
            contradictions(policy)
                .into_iter()
                .map(|c| (c.keys[0], c.problem)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_sound() {
        assert_eq!(validate(&Policy::default()), []);
    }

    #[test]
    fn every_bad_value_is_reported_by_its_key() {
        let policy = Policy {
            timeout_ms: 0,
            backoff: f64::NAN,
            timeout_max_ms: POLICY_DURATION_MAX_MS + 1,
            jitter: 1.0,
            max_attempts: u32::MAX,
            delay_max_ms: 0,
            dead_letter: Some("a/b".into()),
            retry_rate: u32::MAX,
            ..Policy::default()
        };
        let keys: Vec<&str> = validate(&policy).into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "timeout",
                "backoff",
                "timeout_max",
                "jitter",
                "max_attempts",
                "delay_max",
                "dead_letter",
                "retry_rate"
            ]
        );
    }

    #[test]
    fn values_that_contradict_each_other_are_reported() {
        let policy = Policy {
            timeout_ms: 2_000,
            timeout_max_ms: 1_000,
            nack_delay_ms: 2_000,
            delay_max_ms: 1_000,
            ..Policy::default()
        };
        let keys: Vec<&str> = validate(&policy).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["timeout", "nack_delay"]);

        let endless = Policy {
            nack_delay_ms: 0,
            max_attempts: 0,
            retry_rate: 0,
            ..Policy::default()
        };
        assert_eq!(validate(&endless).len(), 1);
    }
}
