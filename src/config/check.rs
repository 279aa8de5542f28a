//! Raw values → the checked configuration, or everything that is wrong with them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::check_topics::check_topics;
use super::duration::{parse_duration_ms, show_duration_ms};
use super::model::{Config, HttpConfig, KafkaConfig, Limits, StoreConfig};
use super::names::{check_topic_name, fill_template};
use super::problem::{Findings, Place, Problem};
use super::properties::check_properties;
use super::raw::{Entry, RawConfig, RawValue, Section};
use super::scalar::{Scalar, with_article};
use super::schema::Table;

/// Outstanding messages cost about 20 bytes each: this bound is some 20 GB.
pub const MAX_OUTSTANDING_MAX: i64 = 1_000_000_000;
pub const SETTLED_MAX_MAX: i64 = 100_000_000;
const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600_000;
/// Kafka keeps group ids in its own records; longer ones are mistakes.
const GROUP_ID_MAX: usize = 255;

/// Checks everything. The configuration counts only if no problem was found.
pub(super) fn check(raw: &RawConfig) -> (Config, Findings) {
    let mut found = Findings::default();
    let tables = [
        (Table::Kafka, &raw.kafka),
        (Table::Store, &raw.store),
        (Table::Http, &raw.http),
        (Table::Limits, &raw.limits),
        (Table::Topic, &raw.defaults),
    ];
    let topics = raw.topics.iter().map(|t| (Table::Topic, &t.entries));
    for (table, section) in tables.into_iter().chain(topics) {
        refuse_not_built(table, section, &mut found);
    }
    let kafka = check_kafka(raw, &mut found);
    let config = Config {
        store: check_store(&raw.store, &mut found),
        http: check_http(&raw.http, &mut found),
        limits: check_limits(&raw.limits, &mut found),
        topics: check_topics(raw, &kafka, &mut found),
        kafka,
    };
    (config, found)
}

/// What the contract has and this release has not may stand in the file with its default only.
fn refuse_not_built(table: Table, section: &Section, found: &mut Findings) {
    for (name, entry) in section {
        let Some(spec) = table.key(name) else {
            continue;
        };
        if spec.built || entry.value.literal() == spec.default {
            continue;
        }
        let default = match spec.default {
            "" => "not set",
            default => default,
        };
        let what = match (*name, default) {
            ("retry_topic", _) => {
                "a `retry_topic` other than \"{topic}\" is not built yet".to_owned()
            }
            _ => format!("`{name}` is not built yet"),
        };
        found.problem(
            Problem::new(&entry.key, what).cure(format!("remove it (default: {default})")),
        );
    }
}

fn check_kafka(raw: &RawConfig, found: &mut Findings) -> KafkaConfig {
    let section = &raw.kafka;
    let brokers = text(section, "brokers", "127.0.0.1:9092", found);
    if let Err(problem) = check_brokers(&brokers) {
        found.problem(bad(section, "brokers", &problem));
    }
    let group_id = text(section, "group_id", "ackwarden", found);
    if group_id.is_empty() || group_id.len() > GROUP_ID_MAX {
        found.problem(bad(
            section,
            "group_id",
            &format!("is out of bounds: 1 to {GROUP_ID_MAX} bytes"),
        ));
    } else if group_id.chars().any(char::is_control) {
        found.problem(bad(section, "group_id", "has a control character in it"));
    }
    let instance_id = section.get("instance_id").map(|_| {
        let id = text(section, "instance_id", "", found);
        if let Err(problem) = check_topic_name(&id) {
            found.problem(
                bad(section, "instance_id", &problem)
                    .cure("remove it, and a random one is made and kept in the store"),
            );
        }
        id
    });
    let state_topic = check_state_topic(section, &group_id, found);
    let (properties, consumer, producer) = check_properties(raw, found);
    KafkaConfig {
        brokers,
        group_id,
        instance_id,
        state_topic,
        properties,
        consumer,
        producer,
    }
}

fn check_state_topic(section: &Section, group_id: &str, found: &mut Findings) -> String {
    let template = text(section, "state_topic", "{group_id}-state", found);
    let filled = fill_template(&template, &[("group_id", group_id)]);
    match filled.and_then(|name| {
        check_topic_name(&name)
            .map(|()| name.clone())
            .map_err(|e| format!("\"{name}\" {e}"))
    }) {
        Ok(name) => name,
        Err(problem) if section.contains_key("state_topic") => {
            found.problem(bad(section, "state_topic", &problem));
            template
        }
        Err(problem) => {
            // Made of the group id: that is where it went wrong, and where the caret belongs.
            found.problem(
                bad(
                    section,
                    "group_id",
                    &format!("makes no legal state topic: {problem}"),
                )
                .cure("set kafka.state_topic, or choose another group_id"),
            );
            template
        }
    }
}

fn check_brokers(brokers: &str) -> Result<(), String> {
    const CURE: &str = "write host:port, several with commas between";
    for broker in brokers.split(',').map(str::trim) {
        // librdkafka takes a protocol in front, as Kafka's listeners have it.
        let address = broker.split_once("://").map_or(broker, |(_, rest)| rest);
        if address.is_empty() {
            return Err(format!("has an empty entry; {CURE}"));
        }
        let bare_v6 = address.matches(':').count() > 1 && !address.starts_with('[');
        if address.contains(char::is_whitespace) || address.contains('/') || bare_v6 {
            return Err(format!(
                "has a bad entry \"{broker}\"; {CURE} ([::1]:9092 for IPv6)"
            ));
        }
        let after_v6 = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
        if let Some((_, port)) = after_v6.split_once(':')
            && !matches!(port.parse::<u16>(), Ok(1..))
        {
            return Err(format!("has a bad port \"{port}\"; {CURE}"));
        }
    }
    Ok(())
}

fn check_store(section: &Section, found: &mut Findings) -> StoreConfig {
    let path = text(section, "path", "ackwarden-data", found);
    if path.is_empty() {
        found.problem(bad(section, "path", "is empty; name a directory"));
    }
    StoreConfig {
        path: PathBuf::from(path),
        checkpoint_interval: Duration::from_millis(duration(
            section,
            "checkpoint_interval",
            SECOND_MS,
            (100, HOUR_MS),
            found,
        )),
    }
}

fn check_http(section: &Section, found: &mut Findings) -> HttpConfig {
    const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
    let listen = text(section, "listen", "127.0.0.1:8080", found);
    let address = match listen.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => listen,
    };
    match address.parse::<SocketAddr>() {
        Ok(listen) if listen.ip().is_loopback() => HttpConfig { listen },
        Ok(listen) => {
            let loopback = SocketAddr::new(DEFAULT.ip(), listen.port());
            found.problem(
                bad(
                    section,
                    "listen",
                    "is no loopback address: that needs tokens, which are not built yet",
                )
                .cure(format!(
                    "listen on loopback, \"{loopback}\", and put a proxy in front that authenticates, and sets \
                     the Host header to localhost"
                )),
            );
            HttpConfig { listen: loopback }
        }
        Err(_) => {
            found.problem(
                bad(section, "listen", "is no address and port")
                    .cure("such as \"127.0.0.1:8080\" or \"[::1]:8080\""),
            );
            HttpConfig { listen: DEFAULT }
        }
    }
}

fn check_limits(section: &Section, found: &mut Findings) -> Limits {
    Limits {
        max_outstanding: integer(
            section,
            "max_outstanding",
            10_000_000,
            (1, MAX_OUTSTANDING_MAX),
            found,
        ),
        settled_max: integer(
            section,
            "settled_max",
            1_000_000,
            (0, SETTLED_MAX_MAX),
            found,
        ),
        settled_retention: Duration::from_millis(duration(
            section,
            "settled_retention",
            HOUR_MS,
            (SECOND_MS, 30 * 24 * HOUR_MS),
            found,
        )),
    }
}

// --------------------------------------------------------------------------------------------- values by type

/// A problem with the value of a key; `fragment` goes on after the key's name.
pub(super) fn bad(section: &Section, key: &str, fragment: &str) -> Problem {
    let place = section.get(key).map_or(Place::Nowhere, |e| e.at.clone());
    Problem::new(&place, format!("`{key}` {fragment}"))
}

pub(super) fn text(section: &Section, key: &str, default: &str, found: &mut Findings) -> String {
    match section.get(key).map(|e| &e.value) {
        None => default.to_owned(),
        Some(RawValue::Scalar(Scalar::Text(text))) => text.clone(),
        Some(other) => {
            found.problem(wrong_type(section, key, other, "a string"));
            default.to_owned()
        }
    }
}

fn duration(
    section: &Section,
    key: &str,
    default: u64,
    (min, max): (u64, u64),
    found: &mut Findings,
) -> u64 {
    let parsed = match section.get(key).map(|e| &e.value) {
        None => return default,
        Some(RawValue::Scalar(Scalar::Text(text))) => parse_duration_ms(text),
        Some(RawValue::Scalar(Scalar::Integer(n))) => {
            Err(format!("has no unit; \"{n}s\" or \"{n}ms\"?"))
        }
        Some(other) => {
            found.problem(wrong_type(
                section,
                key,
                other,
                "a duration such as \"30s\"",
            ));
            return default;
        }
    };
    match parsed {
        Ok(ms) if (min..=max).contains(&ms) => ms,
        Ok(_) => {
            let (min, max) = (show_duration_ms(min), show_duration_ms(max));
            found.problem(bad(
                section,
                key,
                &format!("is out of bounds: {min} to {max}"),
            ));
            default
        }
        Err(problem) => {
            found.problem(bad(section, key, &problem));
            default
        }
    }
}

fn integer(
    section: &Section,
    key: &str,
    default: u64,
    (min, max): (i64, i64),
    found: &mut Findings,
) -> u64 {
    match section.get(key).map(|e| &e.value) {
        None => default,
        Some(RawValue::Scalar(Scalar::Integer(n))) => match u64::try_from(*n) {
            Ok(value) if (min..=max).contains(n) => value,
            _ => {
                found.problem(bad(
                    section,
                    key,
                    &format!("is out of bounds: {min} to {max}"),
                ));
                default
            }
        },
        Some(other) => {
            found.problem(wrong_type(section, key, other, "a whole number"));
            default
        }
    }
}

pub(super) fn wrong_type(section: &Section, key: &str, found: &RawValue, wanted: &str) -> Problem {
    let what = with_article(found.type_name());
    bad(section, key, &format!("is {what}, wanted is {wanted}"))
}

/// Where the key of an entry stands, or `otherwise`.
pub(super) fn place_of<'e>(entry: Option<&'e Entry>, otherwise: &'e Place) -> &'e Place {
    entry.map_or(otherwise, |e| &e.at)
}
