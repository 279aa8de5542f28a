//! librdkafka's settings for each kind of client: what the design needs, then what the user set.
//!
//! The user's own cannot undo a promise: the configuration refuses those keys.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::KafkaProblem;
use crate::config::KafkaConfig;

/// librdkafka's default, and the broker's.
const SESSION_TIMEOUT_MS: u64 = 45_000;
/// The group coordinator may take that long for an answer.
const SOCKET_TIMEOUT_MS_MIN: u64 = 5_000;
/// The uncompressed size that a producer may hand over: librdkafka checks it before it compresses, so that a record that
/// a broker took compressed would be refused here at its 1 MB default. The broker's own limit is the one that counts.
const MESSAGE_BYTES_MAX: &str = "1000000000";

/// Why these settings make no client, with the file that cannot be read: librdkafka names none.
#[must_use]
pub fn refused(settings: &ClientConfig, error: &KafkaError) -> KafkaProblem {
    let mut why = error.to_string();
    for (key, path) in settings.config_map() {
        if key.ends_with(".location")
            && why.contains(key)
            && let Err(error) = std::fs::File::open(path)
        {
            why = format!("{key} = {path:?}: {error}");
        }
    }
    KafkaProblem::Settings(why)
}

/// Builds the settings of every client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    config: KafkaConfig,
}

impl ClientSettings {
    #[must_use]
    pub fn new(config: &KafkaConfig) -> Self {
        Self {
            config: config.clone(),
        }
    }

    /// `session.timeout.ms` of the group member.
    #[must_use]
    pub fn session_timeout_ms(&self) -> u64 {
        let of = |map: &std::collections::BTreeMap<String, String>| {
            map.get("session.timeout.ms")?.parse().ok()
        };
        of(&self.config.consumer)
            .or_else(|| of(&self.config.properties))
            .unwrap_or(SESSION_TIMEOUT_MS)
    }

    fn base(&self, role: &str) -> ClientConfig {
        let mut c = ClientConfig::new();
        c.set("bootstrap.servers", &self.config.brokers)
            .set("client.id", format!("ackwarden-{role}"))
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true")
            // Where closed connections are told of, and little else.
            .set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in &self.config.properties {
            if key != "session.timeout.ms" {
                c.set(key, value);
            }
        }
        c
    }

    /// What we set unless the user has set it for every client.
    fn prefer(&self, c: &mut ClientConfig, ours: &[(&str, &str)]) {
        for (key, value) in ours {
            if !self.config.properties.contains_key(*key) {
                c.set(*key, *value);
            }
        }
    }

    fn consumer(&self, role: &str) -> ClientConfig {
        let mut c = self.base(role);
        c.set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true");
        self.prefer(
            &mut c,
            &[
                // 1000 by default, which makes a reader that is faster than its queue sleep most of the time.
                ("fetch.queue.backoff.ms", "5"),
                // What an idle reader costs, and for how long one that waits does not hear of a partition more.
                ("fetch.wait.max.ms", "200"),
                ("queued.max.messages.kbytes", "65536"),
                // 100,000 by default: what waits that long is out of the processor's caches when it is worked on.
                ("queued.min.messages", "30000"),
            ],
        );
        for (key, value) in &self.config.consumer {
            if key != "session.timeout.ms" {
                c.set(key, value);
            }
        }
        c
    }

    /// The subscribed client.
    #[must_use]
    pub fn member(&self, instance_id: &str) -> ClientConfig {
        let mut c = self.consumer("member");
        c.set("group.id", &self.config.group_id)
            .set("group.instance.id", instance_id)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", self.session_timeout_ms().to_string())
            .set("enable.partition.eof", "false")
            .set("queued.max.messages.kbytes", "1024");
        // 60 s by default: commits to a broker that stands still would be waited for until the lease has long lapsed, and no
        // rebalance be heard of meanwhile.
        if !self.config.consumer.contains_key("socket.timeout.ms") {
            let quarter = (self.session_timeout_ms() / 4).max(SOCKET_TIMEOUT_MS_MIN);
            self.prefer(&mut c, &[("socket.timeout.ms", &quarter.to_string())]);
        }
        c
    }

    /// A reader: never subscribes, commits nothing.
    #[must_use]
    pub fn reader(&self, role: &str) -> ClientConfig {
        let mut c = self.consumer(role);
        // librdkafka wants one; it is never joined.
        c.set("group.id", format!("{}-{role}", self.config.group_id));
        c
    }

    /// Of single records. It fetches nothing while nothing is wanted, so that it need not spare the broker: what it waits
    /// for longest is the answer to the question before, which is of no use any more.
    #[must_use]
    pub fn fetcher(&self) -> ClientConfig {
        let mut c = self.reader("fetcher");
        let ours = [
            ("fetch.wait.max.ms", "5"),
            // 1 MB by default, thousands of records for the one that is wanted. At least one always comes, however large.
            ("fetch.message.max.bytes", "65536"),
            // What is read ahead and not wanted is thrown away.
            ("queued.min.messages", "1000"),
        ];
        for (key, value) in ours {
            if !self.config.consumer.contains_key(key) && !self.config.properties.contains_key(key)
            {
                c.set(key, value);
            }
        }
        c
    }

    /// Look-ups only.
    #[must_use]
    pub fn admin(&self) -> ClientConfig {
        self.reader("admin")
    }

    #[must_use]
    pub fn publisher(&self) -> ClientConfig {
        let mut c = self.base("publisher");
        c.set("enable.idempotence", "true").set("acks", "all").set(
            "message.timeout.ms",
            (self.session_timeout_ms() / 4).to_string(),
        );
        self.prefer(
            &mut c,
            &[
                ("message.max.bytes", MESSAGE_BYTES_MAX),
                ("linger.ms", "2"),
                ("queue.buffering.max.messages", "200000"),
                ("queue.buffering.max.kbytes", "524288"),
            ],
        );
        for (key, value) in &self.config.producer {
            c.set(key, value);
        }
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_sets_for_every_client_holds_for_every_client() {
        let own = [("linger.ms", "50"), ("fetch.wait.max.ms", "500")];
        let properties = own.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let config = KafkaConfig {
            brokers: "b:1".into(),
            group_id: "g".into(),
            instance_id: None,
            state_topic: "g-state".into(),
            properties: properties.into(),
            consumer: [("queued.min.messages".to_owned(), "7".to_owned())].into(),
            producer: Default::default(),
        };
        let settings = ClientSettings::new(&config);
        let publisher = settings.publisher();
        assert_eq!(publisher.get("linger.ms"), Some("50"));
        assert_eq!(publisher.get("message.max.bytes"), Some(MESSAGE_BYTES_MAX));
        for reader in [settings.reader("source"), settings.fetcher()] {
            assert_eq!(reader.get("fetch.wait.max.ms"), Some("500"));
            assert_eq!(reader.get("queued.min.messages"), Some("7"));
            assert_eq!(reader.get("fetch.queue.backoff.ms"), Some("5"));
        }
    }
}
