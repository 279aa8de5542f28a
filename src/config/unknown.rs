//! Keys that nobody knows: where they belong, or what was meant.

use super::problem::{Place, Problem};
use super::schema::{TOP, Table};
use super::suggest::did_you_mean;

pub(super) fn unknown_top(key: &str, place: &Place) -> Problem {
    let problem = Problem::new(place, format!("unknown key `{key}`"));
    let home = Table::ALL.into_iter().find(|t| t.key(key).is_some());
    match (home, did_you_mean(key, TOP)) {
        (Some(home), _) => problem.cure(format!("it belongs in {}", home.shown())),
        (None, Some(near)) => problem.cure(format!("did you mean `{near}`?")),
        (None, None) => problem.cure(format!("there is {}", TOP.join(", "))),
    }
}

pub(super) fn unknown_key(
    key: &str,
    place: &Place,
    is_table: bool,
    kind: Table,
    shown: &str,
) -> Problem {
    let problem = Problem::new(place, format!("unknown key `{key}` in {shown}"));
    if let Some(topic) = shown
        .strip_prefix("[topics.\"")
        .and_then(|s| s.strip_suffix("\"]"))
        && is_table
    {
        return problem.cure(format!(
            "a topic name with dots needs quotes: [topics.\"{topic}.{key}\"]"
        ));
    }
    if let Some(home) = Table::ALL
        .into_iter()
        .find(|t| *t != kind && t.key(key).is_some())
    {
        return problem.cure(format!("it belongs in {}", home.shown()));
    }
    let known = kind.keys().iter().map(|k| k.name);
    if let Some(near) = did_you_mean(key, known) {
        return problem.cure(format!("did you mean `{near}`?"));
    }
    if kind == Table::Kafka {
        return problem.cure("properties of librdkafka belong in [kafka.properties]");
    }
    problem.cure(format!("there is {}", built_names(kind)))
}

/// The keys that are there to be used, with commas between.
pub(super) fn built_names(kind: Table) -> String {
    let names: Vec<&str> = kind
        .keys()
        .iter()
        .filter(|k| k.built)
        .map(|k| k.name)
        .collect();
    names.join(", ")
}
