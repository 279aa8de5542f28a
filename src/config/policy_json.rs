//! Policies as JSON: what the HTTP API shows and takes, and what the state topic keeps.
//!
//! Each key is parsed for itself; what two keys get wrong together shows only on the policy that results:
//! [`validate`](super::policy_keys::validate) it after laying the patch over.

use serde_json::{Map, Value};

use crate::core::{Policy, PolicyPatch};

use super::policy_keys::{POLICY_KEYS, PolicyKey, policy_key};
use super::scalar::Scalar;
use super::suggest::did_you_mean;

/// A patch from a JSON object such as `{"timeout": "45s"}`. `{topic}` in `dead_letter` is filled with `topic_name`.
///
/// # Errors
/// (key, what is wrong with it), for every key that is unknown, not to be changed at runtime, or bad.
pub fn patch_from_json(
    object: &Map<String, Value>,
    topic_name: &str,
) -> Result<PolicyPatch, Vec<(String, String)>> {
    let mut patch = PolicyPatch::default();
    let mut problems = Vec::new();
    for (name, value) in object {
        let outcome = match policy_key(name) {
            Some(key) => set(key, &mut patch, value, topic_name),
            None => Err(unknown(name)),
        };
        if let Err(problem) = outcome {
            problems.push((name.clone(), problem));
        }
    }
    if problems.is_empty() {
        Ok(patch)
    } else {
        Err(problems)
    }
}

/// The keys that the patch sets, as [`patch_from_json`] reads them back.
#[must_use]
pub fn patch_to_json(patch: &PolicyPatch) -> Map<String, Value> {
    POLICY_KEYS
        .iter()
        .filter_map(|key| Some((key.name.to_owned(), to_json(key.show_patch(patch)?))))
        .collect()
}

/// Every key of the policy with its value, in the contract's text: durations such as `"45s"`, no dead-letter topic `""`.
#[must_use]
pub fn show(policy: &Policy) -> Vec<(&'static str, Value)> {
    POLICY_KEYS
        .iter()
        .map(|key| (key.name, to_json(key.show(policy))))
        .collect()
}

fn set(
    key: &PolicyKey,
    patch: &mut PolicyPatch,
    value: &Value,
    topic_name: &str,
) -> Result<(), String> {
    if key.is_patchable() && value.is_null() {
        return Err(
            "is null: give a value, or DELETE the topic's overrides to go back to the file"
                .to_owned(),
        );
    }
    key.set_patch(patch, &from_json(value), topic_name)
}

fn unknown(name: &str) -> String {
    let patchable = || {
        POLICY_KEYS
            .iter()
            .filter(|k| k.is_patchable())
            .map(|k| k.name)
    };
    match did_you_mean(name, patchable()) {
        Some(near) => format!("is unknown; did you mean `{near}`?"),
        None => {
            let all: Vec<&str> = patchable().collect();
            format!("is unknown; there is {}", all.join(", "))
        }
    }
}

fn from_json(value: &Value) -> Scalar {
    match value {
        Value::String(text) => Scalar::Text(text.clone()),
        Value::Bool(on) => Scalar::Bool(*on),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => Scalar::Integer(n),
            (None, Some(x)) => Scalar::Float(x),
            (None, None) => Scalar::Other("number"),
        },
        Value::Null => Scalar::Other("null"),
        Value::Array(_) => Scalar::Other("array"),
        Value::Object(_) => Scalar::Other("object"),
    }
}

fn to_json(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Text(text) => Value::String(text),
        Scalar::Integer(n) => n.into(),
        Scalar::Float(x) => serde_json::Number::from_f64(x).map_or(Value::Null, Value::Number),
        Scalar::Bool(on) => Value::Bool(on),
        Scalar::Other(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::core::OnLostRange;

    use super::*;

    fn patch(value: Value) -> Result<PolicyPatch, Vec<(String, String)>> {
        let Value::Object(object) = value else {
            panic!("an object");
        };
        patch_from_json(&object, "orders")
    }

    #[test]
    fn every_patchable_key_makes_the_round_through_json() {
        let whole = json!({
            "on_lost_range": "report-and-continue", "timeout": "45s", "backoff": 1.5, "timeout_max": "5m",
            "jitter": 0.25, "max_attempts": 9, "nack_delay": "2s", "delay_max": "30m",
            "dead_letter": "{topic}-dead", "retry_rate": 50,
        });
        let first = patch(whole).unwrap();
        assert_eq!(first.timeout_ms, Some(45_000));
        assert_eq!(first.on_lost_range, Some(OnLostRange::ReportAndContinue));
        assert_eq!(first.dead_letter, Some(Some("orders-dead".into())));
        let stored = patch_to_json(&first);
        let patchable = POLICY_KEYS.iter().filter(|k| k.is_patchable()).count();
        assert_eq!(stored.len(), patchable, "one of the keys is not stored");
        assert_eq!(patch_from_json(&stored, "orders").unwrap(), first);
    }

    #[test]
    fn an_empty_dead_letter_means_none_and_makes_the_round_too() {
        let none = patch(json!({"dead_letter": ""})).unwrap();
        assert_eq!(none.dead_letter, Some(None));
        assert_eq!(
            patch_from_json(&patch_to_json(&none), "orders").unwrap(),
            none
        );
    }

    #[test]
    fn every_bad_key_is_reported_at_once() {
        let problems = patch(json!({
            "timeout": 45, "backoff": 0.5, "time_out": "1s", "same_id": "keep", "jitter": null,
            "dead_letter": "orders", "max_attempts": -1, "retry_rate": "fast", "delay_max": "1h",
        }))
        .unwrap_err();
        let shown: Vec<String> = problems.iter().map(|(k, p)| format!("{k} {p}")).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        timeout has no unit; "45s" or "45ms"?
        backoff is out of bounds: 1.0 (each wait is as long as the first) to 1000
        time_out is unknown; did you mean `timeout`?
        same_id cannot be changed while the service runs: set it in the configuration and restart
        jitter is null: give a value, or DELETE the topic's overrides to go back to the file
        dead_letter is the source topic itself: dead letters would be tracked again; name another topic
        max_attempts is out of bounds: 0 to 1000000; 0 is without end
        retry_rate is a string, wanted is a whole number; retries a second, 0 is unlimited
        "#);
    }

    #[test]
    fn the_default_policy_is_shown_in_the_contracts_words() {
        let shown: Map<String, Value> = show(&Policy::default())
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect();
        insta::assert_snapshot!(
            Value::Object(shown),
            @r#"{"on_lost_range":"stop","timeout":"30s","backoff":2.0,"timeout_max":"10m","jitter":0.1,"max_attempts":5,"nack_delay":"1s","delay_max":"1h","dead_letter":"","retry_rate":1000,"same_id":"keep","observe_only":false}"#
        );
    }

    #[test]
    fn numbers_that_json_can_write_and_the_policy_cannot_hold_are_refused() {
        for value in [
            json!(18_446_744_073_709_551_615_u64),
            json!(1e300),
            json!(4_294_967_296_u64),
        ] {
            assert!(patch(json!({ "max_attempts": value.clone() })).is_err());
            assert!(patch(json!({ "backoff": value })).is_err());
        }
    }
}
