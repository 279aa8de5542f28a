//! Which Kafka properties are secrets, and the configuration without their values.

use std::collections::BTreeMap;

use super::model::KafkaConfig;

/// What stands in a secret's place. It says nothing about the secret, not even its length.
pub(super) const MASK: &str = "***";

/// Whether the value of a property of that name must never show: in a log, an error, an API answer.
///
/// By words in the name, so that properties that are not known yet are covered as well. Names of files are no secret.
#[must_use]
pub fn is_secret(property: &str) -> bool {
    let is_file = [".location", ".file"]
        .iter()
        .any(|end| property.ends_with(end));
    looks_secret(property) && !is_file
}

/// The same for a piece of text that may be a key with quotes and blanks around it.
pub(super) fn looks_secret(key: &str) -> bool {
    const WORDS: [&str; 12] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "jaas",
        "key",
        "pem",
        "bearer.config",
        "bearer_config",
        "signature",
    ];
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// The same configuration with every secret masked: fit to be shown.
#[must_use]
pub fn redacted(kafka: &KafkaConfig) -> KafkaConfig {
    KafkaConfig {
        properties: redacted_properties(&kafka.properties),
        consumer: redacted_properties(&kafka.consumer),
        producer: redacted_properties(&kafka.producer),
        ..kafka.clone()
    }
}

/// The properties with every secret masked.
#[must_use]
pub fn redacted_properties(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let show = |name: &str, value: &str| if is_secret(name) { MASK } else { value }.to_owned();
    properties
        .iter()
        .map(|(name, value)| (name.clone(), show(name, value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafkas_secret_properties_are_known_as_such() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.jaas.config",
            "SASL.PASSWORD",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "sasl.username",
            "sasl.mechanism",
            "security.protocol",
            "ssl.ca.location",
            "ssl.key.location",
            "ssl.keystore.location",
            "socket.keepalive.enable",
            "session.timeout.ms",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
