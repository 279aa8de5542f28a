//! Environment variables (`ACKWARDEN__HTTP__LISTEN=…`) → raw values, laid over the file's.
//!
//! Two underscores go one level down; case does not matter. A topic is one that the file names, with `-` and `.` in its
//! name written as `_`. In Kafka properties `_` stands for `.`. What begins with `ACKWARDEN__` and is not understood is
//! an error: a setting that is silently not in force is worse than none.

use std::collections::BTreeMap;

use super::problem::{Place, Problem};
use super::properties::may_show;
use super::raw::{Entry, Property, RawConfig, RawValue, Section};
use super::scalar::Scalar;
use super::schema::{KeySpec, Kind, PROPERTIES, TOP, Table};
use super::suggest::did_you_mean;
use super::unknown::built_names;

const PREFIX: &str = "ACKWARDEN__";
const SEPARATOR: &str = "__";
/// Topics that a cure names.
const TOPICS_LISTED: usize = 10;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct EnvRead {
    /// What is wrong with names.
    pub problems: Vec<Problem>,
    /// Of the variables that set something.
    pub names: Vec<String>,
}

/// Lays the variables over `raw`.
pub(super) fn read_env(
    vars: impl Iterator<Item = (String, String)>,
    raw: &mut RawConfig,
) -> EnvRead {
    let mut read = EnvRead::default();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in vars {
        let upper = name.to_ascii_uppercase();
        let Some(path) = upper.strip_prefix(PREFIX) else {
            continue;
        };
        let place = Place::Env {
            name: name.clone(),
            value: Some(value.clone()),
        };
        if let Some(other) = seen.insert(upper.clone(), name.clone()) {
            read.problems.push(*refused(
                place,
                &format!("the same as {other}"),
                "case does not matter in these names: keep one of them",
            ));
            continue;
        }
        match set(path, value, place, raw) {
            Ok(()) => read.names.push(name),
            Err(problem) => read.problems.push(*problem),
        }
    }
    read
}

fn set(path: &str, value: String, place: Place, raw: &mut RawConfig) -> Result<(), Box<Problem>> {
    let Some((section, rest)) = path.split_once(SEPARATOR) else {
        let section = path.to_ascii_lowercase();
        let cure = if TOP.contains(&section.as_str()) {
            format!("a table needs a key: {PREFIX}{path}__KEY")
        } else {
            first_segment_cure(&section)
        };
        return Err(refused(place, "no setting has that name", &cure));
    };
    let section = section.to_ascii_lowercase();
    let (table, kind) = match section.as_str() {
        "kafka" => match rest.split_once(SEPARATOR) {
            Some((inner, property)) => {
                let inner = inner.to_ascii_lowercase();
                return set_property(&inner, property, value, place, raw);
            }
            None => (&mut raw.kafka, Table::Kafka),
        },
        "store" => (&mut raw.store, Table::Store),
        "http" => (&mut raw.http, Table::Http),
        "limits" => (&mut raw.limits, Table::Limits),
        "defaults" => (&mut raw.defaults, Table::Topic),
        "topics" => {
            let (topic, key) = find_topic(rest, &place, raw)?;
            return set_key(key, value, place, topic, Table::Topic);
        }
        _ => {
            return Err(refused(
                place,
                "no setting has that name",
                &first_segment_cure(&section),
            ));
        }
    };
    set_key(rest, value, place, table, kind)
}

fn first_segment_cure(section: &str) -> String {
    match did_you_mean(section, TOP) {
        Some(near) => format!("did you mean {PREFIX}{}__…?", near.to_ascii_uppercase()),
        None => format!("after {PREFIX} comes one of {}", TOP.join(", ")),
    }
}

fn set_key(
    path: &str,
    value: String,
    place: Place,
    section: &mut Section,
    table: Table,
) -> Result<(), Box<Problem>> {
    let key = path.to_ascii_lowercase().replace(SEPARATOR, ".");
    let Some(spec) = table.key(&key) else {
        let cure = match did_you_mean(&key, table.keys().iter().map(|k| k.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there is {}", built_names(table)),
        };
        return Err(refused(place, &format!("no setting `{key}`"), &cure));
    };
    // What it would be is not known, and may be a secret.
    let place = match spec.kind {
        Kind::Opaque => hide_value(place),
        _ => place,
    };
    section.insert(
        spec.name,
        Entry {
            value: typed(spec, value, &place),
            key: place.clone(),
            at: place,
        },
    );
    Ok(())
}

/// The text as the key's kind wants it; as text where it does not fit, for the check to refuse it.
fn typed(spec: &KeySpec, value: String, place: &Place) -> RawValue {
    let text = value.trim();
    let scalar = match spec.kind {
        Kind::List => {
            let items = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
            return RawValue::List(
                items
                    .unwrap_or(text)
                    .split(',')
                    .map(|item| item.trim().trim_matches(['"', '\'']))
                    .filter(|item| !item.is_empty())
                    .map(|item| (Scalar::Text(item.to_owned()), place.clone()))
                    .collect(),
            );
        }
        Kind::Integer => text.replace('_', "").parse().ok().map(Scalar::Integer),
        Kind::Number => text.parse().ok().map(Scalar::Float),
        Kind::Bool => text.to_ascii_lowercase().parse().ok().map(Scalar::Bool),
        Kind::Text | Kind::Duration | Kind::Start | Kind::Opaque => None,
    };
    RawValue::Scalar(scalar.unwrap_or(Scalar::Text(value)))
}

fn set_property(
    inner: &str,
    property: &str,
    value: String,
    place: Place,
    raw: &mut RawConfig,
) -> Result<(), Box<Problem>> {
    let name = property.to_ascii_lowercase().replace('_', ".");
    // Two underscores became two dots; both spellings mean one.
    let name = name.replace("..", ".");
    let Some(properties) = raw.properties_mut(inner) else {
        let there_is = PROPERTIES.join(", ");
        return Err(refused(
            place,
            "no setting has that name",
            &format!("below {PREFIX}KAFKA__ there is {there_is}"),
        ));
    };
    let place = if may_show(&name, &value) {
        place
    } else {
        hide_value(place)
    };
    properties.insert(name, Property { value, key: place });
    Ok(())
}

/// The topic of the file that the path begins with, and the rest of the path.
fn find_topic<'p, 'r>(
    path: &'p str,
    place: &Place,
    raw: &'r mut RawConfig,
) -> Result<(&'r mut Section, &'p str), Box<Problem>> {
    let spelled = |name: &str| name.to_ascii_uppercase().replace(['-', '.'], "_");
    let matches: Vec<(usize, &str)> = raw
        .topics
        .iter()
        .enumerate()
        .filter_map(|(i, topic)| {
            let key = path.strip_prefix(&spelled(&topic.name))?;
            Some((i, key.strip_prefix(SEPARATOR)?))
        })
        .collect();
    // A name may begin with another one ("orders" and "orders__eu"): the longest is meant.
    let shortest_key = matches.iter().map(|(_, key)| key.len()).min().unwrap_or(0);
    let longest: Vec<(usize, &str)> = matches
        .into_iter()
        .filter(|(_, key)| key.len() == shortest_key)
        .collect();
    let names = |indices: &mut dyn Iterator<Item = usize>| {
        let names: Vec<String> = indices
            .filter_map(|i| raw.topics.get(i))
            .map(|t| format!("\"{}\"", t.name))
            .collect();
        names.join(", ")
    };
    let refused = |what: &str, cure: &str| Err(refused(place.clone(), what, cure));
    let unknown = "names no topic of the file";
    match *longest.as_slice() {
        [(index, key)] => match raw.topics.get_mut(index) {
            Some(topic) => Ok((&mut topic.entries, key)),
            None => refused(unknown, ""),
        },
        [] if raw.topics.is_empty() => {
            refused(unknown, "topics are named in the file; it has none")
        }
        [] => {
            let there_is = names(&mut (0..raw.topics.len().min(TOPICS_LISTED)));
            refused(
                unknown,
                &format!(
                    "topics are named in the file, here with `-` and `.` as `_`; there is {there_is}"
                ),
            )
        }
        _ => {
            let meant = names(&mut longest.iter().map(|(i, _)| *i));
            refused(
                &format!("may mean each of {meant}"),
                "set it in the file, where names are exact",
            )
        }
    }
}

/// A variable that cannot be understood. What it was meant to be is not known, so its value may be a secret.
fn refused(place: Place, what: &str, cure: &str) -> Box<Problem> {
    Box::new(Problem::new(&hide_value(place), what).cure(cure))
}

fn hide_value(place: Place) -> Place {
    match place {
        Place::Env { name, .. } => Place::Env { name, value: None },
        other => other,
    }
}
