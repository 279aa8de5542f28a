//! librdkafka's own properties: what would undo a promise is refused, with the reason; the rest librdkafka judges.
//!
//! No message quotes a value: by its name alone nobody can tell every secret.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::problem::{Findings, Problem};
use super::raw::{Properties, Property, RawConfig};
use super::secrets::is_secret;

type Checked = BTreeMap<String, String>;

/// Below, a static member that restarts is fenced; above, a dead one is waited for too long.
const SESSION_TIMEOUT_MS: (i64, i64) = (1_000, 3_600_000);
/// librdkafka's defaults, against which a changed session is checked.
const SESSION_TIMEOUT_DEFAULT_MS: i64 = 45_000;
const HEARTBEAT_DEFAULT_MS: i64 = 3_000;
const MAX_POLL_INTERVAL_DEFAULT_MS: i64 = 300_000;

/// `[kafka.properties]`, `[kafka.consumer]`, `[kafka.producer]`, checked.
pub(super) fn check_properties(
    raw: &RawConfig,
    found: &mut Findings,
) -> (Checked, Checked, Checked) {
    let checked = [
        ("properties", &raw.properties),
        ("consumer", &raw.consumer),
        ("producer", &raw.producer),
    ]
    .map(|(section, properties)| {
        for (name, property) in properties {
            let (what, cure) = match refusal(name, &property.value) {
                Some(reason) => (
                    format!("`{name}` is refused: {reason}"),
                    format!("remove it from [kafka.{section}]"),
                ),
                None => match ask_librdkafka(name, &property.value) {
                    Answer::Taken => {
                        warn_of_lowered_guard(name, property, found);
                        continue;
                    }
                    Answer::BadValue => (
                        format!("librdkafka does not take this value for `{name}`"),
                        "see its type and bounds in librdkafka's CONFIGURATION.md".to_owned(),
                    ),
                    Answer::Unknown => (
                        format!("librdkafka has no property `{name}`"),
                        "see their names in librdkafka's CONFIGURATION.md".to_owned(),
                    ),
                },
            };
            found.problem(Problem::new(&property.key, what).cure(cure));
        }
        properties
            .iter()
            .map(|(name, p)| (name.clone(), p.value.clone()))
            .collect()
    });
    check_session(raw, found);
    let [properties, consumer, producer] = checked;
    (properties, consumer, producer)
}

/// Whether an error may show the value: what librdkafka does not know may be a misspelt password.
pub(super) fn may_show(name: &str, value: &str) -> bool {
    let known = || {
        refusal(name, value).is_some() || !matches!(ask_librdkafka(name, value), Answer::Unknown)
    };
    !is_secret(name) && known()
}

/// Why a property cannot be set, if so.
fn refusal(name: &str, value: &str) -> Option<&'static str> {
    let number = || value.trim().parse::<i64>().ok();
    let is = |word: &str| value.trim().eq_ignore_ascii_case(word);
    Some(match name {
        "bootstrap.servers" | "metadata.broker.list" => "the brokers are kafka.brokers",
        "group.id" => "the group is kafka.group_id",
        "group.instance.id" => "the static member's name is kafka.instance_id",
        "isolation.level" => {
            "aborted records must never be tracked, and each question to the log needs its own isolation: \
             Ackwarden sets it"
        }
        "auto.offset.reset" => {
            "an offset that is gone is a decision (on_lost_range), never a silent skip"
        }
        "enable.auto.commit" | "auto.commit.enable" | "auto.commit.interval.ms" => {
            "an offset is committed only when everything below it is settled"
        }
        "enable.auto.offset.store"
        | "offset.store.method"
        | "offset.store.path"
        | "offset.store.sync.interval.ms" => {
            "the low-water mark is the only offset that is stored, and it is stored in Kafka"
        }
        "group.protocol" | "group.protocol.type" | "group.remote.assignor" => {
            "static membership and the lease rest on the classic protocol"
        }
        "partition.assignment.strategy" => {
            "partitions move by cooperative-sticky, so that those that stay are not interrupted"
        }
        "enable.partition.eof" => {
            "the end of a partition tells how far it is applied; without it nothing is retried"
        }
        "acks" | "request.required.acks" => {
            "a retry or dead letter counts only when every in-sync replica has it"
        }
        "enable.idempotence" | "enable.gapless.guarantee" => {
            "the producer is idempotent, so that its own retries make no duplicates"
        }
        "transactional.id" | "transaction.timeout.ms" => {
            "an open transaction on the source topic would stall every read_committed consumer"
        }
        "message.timeout.ms" | "delivery.timeout.ms" => {
            "a publish must be over within the lease: it is a quarter of session.timeout.ms, which may be set"
        }
        "retries" | "message.send.max.retries" => {
            "what Kafka did not confirm is published again by Ackwarden, as the same attempt"
        }
        "delivery.report.only.error" | "produce.offset.report" => {
            "a success must be reported with its offset: it is the proof that a copy is ours"
        }
        "queuing.strategy" => "copies keep their order",
        "max.in.flight" | "max.in.flight.requests.per.connection"
            if !matches!(number(), Some(1..=5)) =>
        {
            "an idempotent producer has 1 to 5 requests in flight"
        }
        "allow.auto.create.topics" if !is("false") => {
            "a misspelt or missing topic must be reported, not created"
        }
        "api.version.request" | "api.version.fallback.ms" | "broker.version.fallback"
            if !is("true") =>
        {
            "the barrier needs requests that only a known broker version promises"
        }
        "topic.metadata.refresh.interval.ms" if !matches!(number(), Some(1..=10_000)) => {
            "an added ACK partition must be seen within ten seconds: 1 to 10000"
        }
        "topic.blacklist" => "a hidden topic could be neither tracked nor reported as missing",
        "enabled_events" => "rebalances and errors reach Ackwarden as events",
        "plugin.library.paths" | "interceptors" => {
            "foreign code could change what is read and sent"
        }
        "test.mock.num.brokers" => "it puts an empty mock cluster in the place of the brokers",
        _ => return None,
    })
}

/// What librdkafka says to a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken,
    BadValue,
    Unknown,
}

/// Asks librdkafka itself. Not for what is refused: setting some of it has effects. Its own text quotes the value, so
/// that is dropped.
fn ask_librdkafka(name: &str, value: &str) -> Answer {
    if name.contains('\0') {
        return Answer::Unknown;
    }
    if value.contains('\0') {
        return Answer::BadValue;
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Answer::Taken,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Answer::Unknown,
        Err(_) => Answer::BadValue,
    }
}

fn warn_of_lowered_guard(name: &str, property: &Property, found: &mut Findings) {
    let value = property.value.trim();
    let lowered = match name {
        "enable.ssl.certificate.verification" => value.eq_ignore_ascii_case("false"),
        "ssl.endpoint.identification.algorithm" => value.eq_ignore_ascii_case("none"),
        _ => false,
    };
    if lowered {
        found.warn(Problem::new(
            &property.key,
            format!("`{name}` = \"{value}\": anyone in between can pose as the broker"),
        ));
    }
}

/// The three timeouts of membership must fit each other; librdkafka would only say so when the client is made, or never.
fn check_session(raw: &RawConfig, found: &mut Findings) {
    let lookup = |name: &str| {
        let layers: [&Properties; 2] = [&raw.consumer, &raw.properties];
        let property = layers.into_iter().find_map(|layer| layer.get(name))?;
        Some((property.value.trim().parse::<i64>().ok()?, &property.key))
    };
    let session = lookup("session.timeout.ms");
    let heartbeat = lookup("heartbeat.interval.ms");
    let max_poll = lookup("max.poll.interval.ms");
    let session_ms = session.map_or(SESSION_TIMEOUT_DEFAULT_MS, |s| s.0);
    let heartbeat_ms = heartbeat.map_or(HEARTBEAT_DEFAULT_MS, |h| h.0);
    let max_poll_ms = max_poll.map_or(MAX_POLL_INTERVAL_DEFAULT_MS, |m| m.0);

    if let Some((ms, place)) = session {
        let (min, max) = SESSION_TIMEOUT_MS;
        if !(min..=max).contains(&ms) {
            found.problem(Problem::new(
                place,
                format!("`session.timeout.ms` is out of bounds: {min} to {max}"),
            ));
            return;
        }
    }
    if let Some((_, place)) = session.or(heartbeat)
        && heartbeat_ms >= session_ms
    {
        found.problem(
            Problem::new(
                place,
                format!(
                    "heartbeat.interval.ms is {heartbeat_ms}, not below session.timeout.ms, {session_ms}: \
                     the member would be thrown out"
                ),
            )
            .cure("set heartbeat.interval.ms to a third of session.timeout.ms or less"),
        );
    }
    if let Some((_, place)) = session.or(max_poll)
        && max_poll_ms < session_ms
    {
        found.problem(
            Problem::new(
                place,
                format!(
                    "max.poll.interval.ms is {max_poll_ms}, below session.timeout.ms, {session_ms}"
                ),
            )
            .cure("set max.poll.interval.ms to session.timeout.ms or more"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_undo_a_promise_is_refused_whatever_its_value() {
        for name in [
            "isolation.level",
            "acks",
            "request.required.acks",
            "auto.offset.reset",
            "enable.auto.commit",
            "auto.commit.enable",
            "enable.auto.offset.store",
            "group.protocol",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "enable.idempotence",
            "transactional.id",
            "group.id",
            "group.instance.id",
            "bootstrap.servers",
            "metadata.broker.list",
            "partition.assignment.strategy",
            "enable.partition.eof",
            "plugin.library.paths",
            "retries",
            "message.send.max.retries",
            "delivery.report.only.error",
            "enabled_events",
        ] {
            assert!(refusal(name, "true").is_some(), "{name}");
            assert!(refusal(name, "1").is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_harmless_within_bounds_is_taken_within_them() {
        for (name, good, bad) in [
            ("max.in.flight", "5", "6"),
            ("max.in.flight.requests.per.connection", "1", "1000000"),
            ("allow.auto.create.topics", "false", "true"),
            ("topic.metadata.refresh.interval.ms", "1000", "-1"),
            ("api.version.request", "true", "false"),
        ] {
            assert_eq!(refusal(name, good), None, "{name}");
            assert!(refusal(name, bad).is_some(), "{name}");
        }
        for name in [
            "session.timeout.ms",
            "check.crcs",
            "client.id",
            "linger.ms",
            "sasl.mechanism",
            "client.rack",
        ] {
            assert_eq!(refusal(name, "1"), None, "{name}");
        }
    }

    #[test]
    fn every_refused_property_is_one_that_librdkafka_has() {
        // A misspelt name in the list above would let the real one through.
        for (name, value) in [
            ("isolation.level", "read_committed"),
            ("auto.commit.enable", "true"),
            ("offset.store.method", "broker"),
            ("group.remote.assignor", "uniform"),
            ("enable.gapless.guarantee", "false"),
            ("message.send.max.retries", "3"),
            ("delivery.report.only.error", "false"),
            ("queuing.strategy", "fifo"),
            ("topic.blacklist", "x"),
            ("enabled_events", "0"),
            ("test.mock.num.brokers", "0"),
            ("topic.metadata.refresh.interval.ms", "1"),
            ("broker.version.fallback", "0.10.0"),
        ] {
            assert_eq!(ask_librdkafka(name, value), Answer::Taken, "{name}");
            assert!(refusal(name, "other").is_some(), "{name}");
        }
    }

    #[test]
    fn librdkafka_judges_the_rest() {
        for (name, value, answer) in [
            ("session.timeout.ms", "10000", Answer::Taken),
            ("sasl.mechanism", "SCRAM-SHA-512", Answer::Taken),
            ("session.timeout.ms", "soon", Answer::BadValue),
            ("client.id", "a\0b", Answer::BadValue),
            ("security.protocl", "SSL", Answer::Unknown),
            ("a\0b", "", Answer::Unknown),
        ] {
            assert_eq!(ask_librdkafka(name, value), answer, "{name:?}");
        }
    }

    #[test]
    fn only_what_is_known_and_no_secret_may_show() {
        assert!(may_show("client.id", "x"));
        assert!(may_show("acks", "1"));
        assert!(!may_show("sasl.password", "x"));
        assert!(!may_show("sasl.passwrd", "x"));
    }
}
