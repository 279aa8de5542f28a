//! Every key of the configuration: its name, what its value is made of, its default, and whether it is built.
//!
//! The file's reader, the environment's and the test of `config.example.toml` all go by this list.

/// What a key's value is made of. The environment has only text, and is read by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Text such as `"1m 30s"`.
    Duration,
    /// Text such as `"now"`, or a TOML date-time.
    Start,
    Integer,
    Number,
    Bool,
    /// A list of texts; in the environment with commas between.
    List,
    /// Of a shape that this release does not look at.
    Opaque,
}

/// One key.
#[derive(Debug)]
pub struct KeySpec {
    pub name: &'static str,
    pub kind: Kind,
    /// As TOML writes it; empty: not set.
    pub default: &'static str,
    /// `false`: the contract has it, this release has not. Only its default is accepted.
    pub built: bool,
}

/// The tables that have a fixed list of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Kafka,
    Store,
    Http,
    Limits,
    /// `[defaults]` and every `[topics.NAME]`.
    Topic,
}

impl Table {
    pub const ALL: [Self; 5] = [
        Self::Kafka,
        Self::Store,
        Self::Http,
        Self::Limits,
        Self::Topic,
    ];

    /// Its keys, in the order of the contract.
    #[must_use]
    pub const fn keys(self) -> &'static [KeySpec] {
        match self {
            Self::Kafka => KAFKA,
            Self::Store => STORE,
            Self::Http => HTTP,
            Self::Limits => LIMITS,
            Self::Topic => TOPIC,
        }
    }

    #[must_use]
    pub fn key(self, name: &str) -> Option<&'static KeySpec> {
        self.keys().iter().find(|key| key.name == name)
    }

    /// Where its keys belong, for people.
    #[must_use]
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Kafka => "[kafka]",
            Self::Store => "[store]",
            Self::Http => "[http]",
            Self::Limits => "[limits]",
            Self::Topic => "[defaults] or [topics.\"NAME\"]",
        }
    }
}

/// The tables at the top of the file.
pub const TOP: [&str; 6] = ["kafka", "store", "http", "limits", "defaults", "topics"];

/// The tables in `[kafka]` that hold librdkafka's own properties.
pub const PROPERTIES: [&str; 3] = ["properties", "consumer", "producer"];

const fn built(name: &'static str, kind: Kind, default: &'static str) -> KeySpec {
    KeySpec {
        name,
        kind,
        default,
        built: true,
    }
}

const fn not_built(name: &'static str, kind: Kind, default: &'static str) -> KeySpec {
    KeySpec {
        name,
        kind,
        default,
        built: false,
    }
}

const KAFKA: &[KeySpec] = &[
    built("brokers", Kind::Text, "\"127.0.0.1:9092\""),
    built("group_id", Kind::Text, "\"ackwarden\""),
    built("instance_id", Kind::Text, ""),
    built("state_topic", Kind::Text, "\"{group_id}-state\""),
];

const STORE: &[KeySpec] = &[
    built("path", Kind::Text, "\"ackwarden-data\""),
    built("checkpoint_interval", Kind::Duration, "\"1s\""),
];

const HTTP: &[KeySpec] = &[
    built("listen", Kind::Text, "\"127.0.0.1:8080\""),
    not_built("insecure", Kind::Bool, "false"),
    not_built("open_metrics", Kind::Bool, "false"),
    not_built("tls_cert", Kind::Text, ""),
    not_built("tls_key", Kind::Text, ""),
    not_built("tokens", Kind::Opaque, ""),
];

const LIMITS: &[KeySpec] = &[
    built("max_outstanding", Kind::Integer, "10000000"),
    built("settled_max", Kind::Integer, "1000000"),
    built("settled_retention", Kind::Duration, "\"1h\""),
];

const TOPIC: &[KeySpec] = &[
    built("start", Kind::Start, "\"now\""),
    built("on_lost_range", Kind::Text, "\"stop\""),
    built("timeout", Kind::Duration, "\"30s\""),
    built("backoff", Kind::Number, "2.0"),
    built("timeout_max", Kind::Duration, "\"10m\""),
    built("jitter", Kind::Number, "0.1"),
    built("max_attempts", Kind::Integer, "5"),
    built("nack_delay", Kind::Duration, "\"1s\""),
    built("delay_max", Kind::Duration, "\"1h\""),
    built("dead_letter", Kind::Text, "\"{topic}-dlq\""),
    not_built("retry_topic", Kind::Text, "\"{topic}\""),
    built("retry_rate", Kind::Integer, "1000"),
    built("id", Kind::List, "[\"header:message-id\", \"position\"]"),
    built("same_id", Kind::Text, "\"keep\""),
    built("ack_topic", Kind::Text, "\"{topic}-acks\""),
    built(
        "ack_id",
        Kind::List,
        "[\"header:ackwarden-message-id\", \"key\"]",
    ),
    not_built("consumer_group", Kind::Text, ""),
    not_built("max_hold", Kind::Duration, "\"1h\""),
    built("observe_only", Kind::Bool, "false"),
    not_built("acks_from", Kind::List, "[]"),
    not_built("dead_letter_headers", Kind::Text, ""),
    not_built("signing_keys", Kind::Opaque, ""),
    not_built("breaker.enabled", Kind::Bool, "false"),
];

#[cfg(test)]
mod tests {
    use super::super::policy_keys::POLICY_KEYS;
    use super::*;

    #[test]
    fn every_key_of_the_policy_is_a_key_of_a_topic() {
        for key in POLICY_KEYS {
            let spec = Table::Topic.key(key.name).unwrap();
            assert!(spec.built, "{}", key.name);
        }
    }

    #[test]
    fn a_key_stands_once_in_its_table() {
        for table in Table::ALL {
            for key in table.keys() {
                let same = table.keys().iter().filter(|k| k.name == key.name);
                assert_eq!(same.count(), 1, "{}", key.name);
            }
        }
    }
}
