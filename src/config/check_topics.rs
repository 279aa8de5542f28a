//! `[defaults]` and `[topics.NAME]` → the checked topics.
//!
//! Each topic is checked with the defaults laid under it; a mistake in the defaults is reported once. Defaults that every
//! topic overrides are checked all the same.

use crate::clock;
use crate::core::Policy;

use super::check::{bad, place_of, text, wrong_type};
use super::ids::{Naming, parse_sources};
use super::model::{IdSource, KafkaConfig, Start, TopicConfig};
use super::names::{check_topic_name, fill_template};
use super::policy_keys::{Contradiction, POLICY_KEYS, contradictions};
use super::problem::{Findings, Place, Problem};
use super::raw::{RawConfig, RawTopic, RawValue, Section};
use super::roles::check_roles;
use super::scalar::Scalar;
use super::start::parse_start;

/// Each topic has readers' and barrier's work of its own; more are to be spread over several groups.
pub const TOPICS_MAX: usize = 1_000;

const ACK_TOPIC_DEFAULT: &str = "{topic}-acks";
const DEAD_LETTER_DEFAULT: &str = "{topic}-dlq";
/// Stands for a topic where the defaults are checked alone; too long and too odd to be anyone's.
const ANY_TOPIC: &str = "any-topic-that-has-no-name-of-its-own";

/// A topic, and where what it is made of stands.
pub(super) struct CheckedTopic<'r> {
    pub config: TopicConfig,
    pub place: &'r Place,
    /// The topic's own keys over the defaults.
    pub keys: Section,
}

pub(super) fn check_topics(
    raw: &RawConfig,
    kafka: &KafkaConfig,
    found: &mut Findings,
) -> Vec<TopicConfig> {
    if raw.topics.is_empty() {
        found.problem(
            Problem::new(&Place::Nowhere, "no topics")
                .cure("name the topics to track: add [topics.\"NAME\"] to the file"),
        );
    }
    if let Some(topic) = raw.topics.get(TOPICS_MAX) {
        found.problem(Problem::new(
            &topic.place,
            format!("more than {TOPICS_MAX} topics: spread them over several groups"),
        ));
    }
    check_defaults_alone(&raw.defaults, found);

    let mut topics = Vec::new();
    for topic in &raw.topics {
        if let Some(problem) = name_problem(topic) {
            found.problem(problem);
        } else {
            topics.push(check_topic(topic, &raw.defaults, found));
        }
    }
    check_roles(&topics, kafka, raw.kafka.get("state_topic"), found);
    topics.into_iter().map(|topic| topic.config).collect()
}

/// Each default for itself; whether they contradict each other is asked where a topic inherits them.
fn check_defaults_alone(defaults: &Section, found: &mut Findings) {
    let unnamed = RawTopic {
        name: ANY_TOPIC.to_owned(),
        place: Place::Nowhere,
        entries: Section::new(),
    };
    let mut alone = Findings::default();
    ack_topic(&unnamed, defaults, &mut alone);
    start(defaults, &mut alone);
    sources(Naming::Message, defaults, &mut alone);
    sources(Naming::Ack, defaults, &mut alone);
    policy_values(&unnamed, defaults, &mut alone);
    found.problems.extend(alone.problems);
}

fn name_problem(topic: &RawTopic) -> Option<Problem> {
    if topic.name.contains(['*', '?']) {
        let problem = Problem::new(&topic.place, "topic patterns are not built yet");
        return Some(
            problem.cure("name each topic in a table of its own; [defaults] holds what they share"),
        );
    }
    let problem = check_topic_name(&topic.name).err()?;
    Some(Problem::new(
        &topic.place,
        format!("the topic name \"{}\" {problem}", topic.name),
    ))
}

fn check_topic<'r>(
    topic: &'r RawTopic,
    defaults: &Section,
    found: &mut Findings,
) -> CheckedTopic<'r> {
    let mut keys = defaults.clone();
    keys.extend(topic.entries.clone());
    let config = TopicConfig {
        name: topic.name.clone(),
        ack_topic: ack_topic(topic, &keys, found),
        start: start(&keys, found),
        id: sources(Naming::Message, &keys, found),
        ack_id: sources(Naming::Ack, &keys, found),
        policy: policy(topic, &keys, found),
        set_by_file: keys.keys().map(|key| (*key).to_owned()).collect(),
    };
    CheckedTopic {
        config,
        place: &topic.place,
        keys,
    }
}

fn policy(topic: &RawTopic, keys: &Section, found: &mut Findings) -> Policy {
    let problems_before = found.problems.len();
    let policy = policy_values(topic, keys, found);
    // With a value missing, a contradiction might be about a default that nobody meant.
    if found.problems.len() == problems_before {
        for contradiction in contradictions(&policy) {
            found.problem(contradicting(topic, keys, &contradiction));
        }
    }
    policy
}

fn policy_values(topic: &RawTopic, keys: &Section, found: &mut Findings) -> Policy {
    let mut policy = Policy::default();
    for key in POLICY_KEYS {
        let value = match keys.get(key.name).map(|e| &e.value) {
            Some(RawValue::Scalar(value)) => value.clone(),
            Some(RawValue::List(_)) => Scalar::Other("array"),
            None if key.name == "dead_letter" => Scalar::Text(DEAD_LETTER_DEFAULT.to_owned()),
            None => continue,
        };
        let mut next = policy.clone();
        match key.set(&mut next, &value, &topic.name) {
            Ok(()) => policy = next,
            Err(problem) => found.problem(at_key_or_topic(topic, keys, key.name, &problem)),
        }
    }
    policy
}

fn contradicting(topic: &RawTopic, keys: &Section, contradiction: &Contradiction) -> Problem {
    // What the topic itself says is what was written last, and most likely what is wrong.
    let rank = |key: &&str| (!topic.entries.contains_key(key), !keys.contains_key(key));
    let mut pair = contradiction.keys;
    pair.sort_by_key(rank);
    let [at, other] = pair;
    let place = place_of(keys.get(at), &topic.place);
    let problem = Problem::new(place, contradiction.problem.clone());
    match keys.get(other) {
        Some(entry) => problem.also(format!("`{other}` is set"), &entry.at),
        None => problem.cure(format!("`{other}` is not set: that is its default")),
    }
}

fn ack_topic(topic: &RawTopic, keys: &Section, found: &mut Findings) -> String {
    let template = text(keys, "ack_topic", ACK_TOPIC_DEFAULT, found);
    let filled = fill_template(&template, &[("topic", &topic.name)]);
    match filled.and_then(|name| check_topic_name(&name).map(|()| name)) {
        Ok(name) => name,
        Err(problem) => {
            found.problem(at_key_or_topic(topic, keys, "ack_topic", &problem));
            template
        }
    }
}

/// A problem with a key; where the key is not set, its default made of the topic's name is the problem.
fn at_key_or_topic(topic: &RawTopic, keys: &Section, key: &str, fragment: &str) -> Problem {
    if keys.contains_key(key) {
        return bad(keys, key, fragment);
    }
    Problem::new(
        &topic.place,
        format!("the default `{key}` of this topic {fragment}"),
    )
    .cure(format!("set `{key}`"))
}

fn start(keys: &Section, found: &mut Findings) -> Start {
    let parsed = match keys.get("start").map(|e| &e.value) {
        None => return Start::Now,
        Some(RawValue::Scalar(value)) => parse_start(value),
        Some(RawValue::List(_)) => parse_start(&Scalar::Other("array")),
    };
    match parsed {
        Ok(start) => {
            if matches!(start, Start::At(ms) if ms > clock::wall_ms()) {
                found.warn(
                    bad(keys, "start", "lies in the future")
                        .cure("tracking begins at once, as with \"now\""),
                );
            }
            start
        }
        Err(problem) => {
            found.problem(bad(keys, "start", &problem));
            Start::Now
        }
    }
}

fn sources(naming: Naming, keys: &Section, found: &mut Findings) -> Vec<IdSource> {
    let Some(entry) = keys.get(naming.key()) else {
        return naming.default_sources();
    };
    match &entry.value {
        RawValue::List(list) => parse_sources(naming, list, &entry.at, found),
        other @ RawValue::Scalar(_) => {
            found.problem(wrong_type(
                keys,
                naming.key(),
                other,
                "a list such as [\"header:message-id\"]",
            ));
            naming.default_sources()
        }
    }
}
