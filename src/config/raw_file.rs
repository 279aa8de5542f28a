//! The TOML file → raw values. Knows which keys there are, not what their values mean.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};
use super::properties::may_show;
use super::raw::{Entry, Properties, Property, RawConfig, RawTopic, RawValue, Section};
use super::scalar::{Scalar, with_article};
use super::schema::{Kind, PROPERTIES, TOP, Table};
use super::unknown::{unknown_key, unknown_top};

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;
type Value<'i> = Spanned<DeValue<'i>>;

/// What reading a file gave.
#[derive(Debug, Default)]
pub(super) struct FileRead {
    pub raw: RawConfig,
    pub notes: Notes,
    /// It is no TOML: the problems say where, and nothing else is known.
    pub unparsed: bool,
}

/// What is found by the way.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub problems: Vec<Problem>,
    /// Values that must not show, as they are secrets or may be; start and end, bytes.
    pub hidden: Vec<(usize, usize)>,
}

impl Notes {
    fn hide(&mut self, value: &Value<'_>) {
        let span = value.span();
        self.hidden.push((span.start, span.end));
    }
}

/// Reads the file's text.
pub(super) fn read_file(text: &str) -> FileRead {
    let mut out = FileRead::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        out.unparsed = true;
        out.notes.problems = errors.iter().map(|e| syntax_problem(e, text)).collect();
        return out;
    }
    for (name, value) in in_file_order(document.get_ref()) {
        let key = name.get_ref().as_ref();
        let Some(section) = TOP.iter().find(|top| **top == key) else {
            out.notes.hide(value);
            out.notes
                .problems
                .push(unknown_top(key, &name.span().into()));
            continue;
        };
        let Some(table) = table_of(value, name, &format!("[{section}]"), &mut out.notes) else {
            continue;
        };
        match *section {
            "kafka" => read_kafka(text, table, &mut out),
            "topics" => read_topics(table, &mut out),
            "store" => out.raw.store = read_section(table, Table::Store, "[store]", &mut out.notes),
            "http" => out.raw.http = read_section(table, Table::Http, "[http]", &mut out.notes),
            "limits" => {
                out.raw.limits = read_section(table, Table::Limits, "[limits]", &mut out.notes);
            }
            _ => {
                out.raw.defaults = read_section(table, Table::Topic, "[defaults]", &mut out.notes);
            }
        }
    }
    out
}

fn syntax_problem(error: &toml::de::Error, text: &str) -> Problem {
    let place = error
        .span()
        .map_or(Place::File(text.len(), text.len()), Place::from);
    Problem::new(&place, format!("not TOML: {}", error.message()))
}

/// The crate's tables are sorted by name; people think in the order of the file.
fn in_file_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Key<'i>, &'t Value<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn table_of<'t, 'i>(
    value: &'t Value<'i>,
    name: &Key<'_>,
    shown: &str,
    notes: &mut Notes,
) -> Option<&'t DeTable<'i>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        let found = with_article(value.get_ref().type_str());
        notes.problems.push(
            Problem::new(
                &name.span().into(),
                format!("`{}` is {found}, wanted is a table", name.get_ref()),
            )
            .cure(format!("write {shown} and its keys below")),
        );
    }
    table
}

fn read_kafka(text: &str, table: &DeTable<'_>, out: &mut FileRead) {
    for (name, value) in in_file_order(table) {
        let key = name.get_ref().as_ref();
        let Some(section) = PROPERTIES.iter().find(|p| **p == key) else {
            read_key(
                name,
                value,
                Table::Kafka,
                "[kafka]",
                &mut out.raw.kafka,
                &mut out.notes,
            );
            continue;
        };
        let shown = format!("[kafka.{section}]");
        let Some(table) = table_of(value, name, &shown, &mut out.notes) else {
            continue;
        };
        let mut properties = Properties::new();
        read_properties(text, table, "", &mut properties, out);
        if let Some(slot) = out.raw.properties_mut(section) {
            *slot = properties;
        }
    }
}

/// Flattens nested tables with dots between.
fn read_properties(
    file: &str,
    table: &DeTable<'_>,
    prefix: &str,
    properties: &mut Properties,
    out: &mut FileRead,
) {
    for (name, value) in in_file_order(table) {
        let property = format!("{prefix}{}", name.get_ref());
        let key = dotted_key(file, name);
        // Until it is known to be harmless.
        out.notes.hide(value);
        let text = match value.get_ref() {
            DeValue::Table(inner) => {
                out.notes.hidden.pop();
                read_properties(file, inner, &format!("{property}."), properties, out);
                continue;
            }
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(on) => on.to_string(),
            DeValue::Float(x) => x.as_str().to_owned(),
            DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => n.to_string(),
                Err(_) => {
                    out.notes
                        .problems
                        .push(Problem::new(&key, format!("`{property}` is out of bounds")));
                    continue;
                }
            },
            other => {
                let what = with_article(other.type_str());
                out.notes.problems.push(
                    Problem::new(&key, format!("`{property}` is {what}, wanted is a string"))
                        .cure("librdkafka takes lists as one string with commas between"),
                );
                continue;
            }
        };
        if may_show(&property, &text) {
            out.notes.hidden.pop();
        }
        let entry = Property {
            value: text,
            key: key.clone(),
        };
        if let Some(first) = properties.insert(property.clone(), entry) {
            out.notes.problems.push(
                Problem::new(&key, format!("`{property}` is set twice"))
                    .also("the other", &first.key)
                    .cure("keep one of them"),
            );
        }
    }
}

/// The place of a key with all that is before it in the line: `sasl.mechanism`, not `mechanism` alone.
fn dotted_key(file: &str, name: &Key<'_>) -> Place {
    let span = name.span();
    let of_a_key = |c: char| c.is_ascii_alphanumeric() || "_-.\"'".contains(c);
    let before = file.get(..span.start).unwrap_or("");
    let start = before.trim_end_matches(of_a_key).len();
    Place::File(start, span.end)
}

fn read_topics(table: &DeTable<'_>, out: &mut FileRead) {
    for (name, value) in in_file_order(table) {
        let topic = name.get_ref().as_ref();
        let shown = format!("[topics.\"{topic}\"]");
        let Some(table) = table_of(value, name, &shown, &mut out.notes) else {
            continue;
        };
        let entries = read_section(table, Table::Topic, &shown, &mut out.notes);
        out.raw.topics.push(RawTopic {
            name: topic.to_owned(),
            place: name.span().into(),
            entries,
        });
    }
}

fn read_section(table: &DeTable<'_>, kind: Table, shown: &str, notes: &mut Notes) -> Section {
    let mut section = Section::new();
    for (name, value) in in_file_order(table) {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("breaker", DeValue::Table(inner)) if kind == Table::Topic => {
                read_breaker(inner, shown, &mut section, notes);
            }
            _ => read_key(name, value, kind, shown, &mut section, notes),
        }
    }
    section
}

fn read_breaker(table: &DeTable<'_>, shown: &str, section: &mut Section, notes: &mut Notes) {
    for (name, value) in in_file_order(table) {
        match Table::Topic.key(&format!("breaker.{}", name.get_ref())) {
            Some(spec) => {
                section.insert(spec.name, entry(name, value, spec.kind));
            }
            None => notes.problems.push(
                Problem::new(
                    &name.span().into(),
                    format!("unknown key `{}` in the breaker of {shown}", name.get_ref()),
                )
                .cure("there is `enabled`"),
            ),
        }
    }
}

fn read_key(
    name: &Key<'_>,
    value: &Value<'_>,
    kind: Table,
    shown: &str,
    section: &mut Section,
    notes: &mut Notes,
) {
    match kind.key(name.get_ref()) {
        Some(spec) => {
            section.insert(spec.name, entry(name, value, spec.kind));
        }
        None => {
            // A password that was put into the wrong table is one all the same.
            if matches!(kind, Table::Kafka | Table::Http) {
                notes.hide(value);
            }
            let is_table = value.get_ref().is_table();
            let place = name.span().into();
            notes
                .problems
                .push(unknown_key(name.get_ref(), &place, is_table, kind, shown));
        }
    }
}

fn entry(name: &Key<'_>, value: &Value<'_>, kind: Kind) -> Entry {
    let value_of = |value: &Value<'_>| scalar(value.get_ref(), kind);
    Entry {
        value: match value.get_ref() {
            DeValue::Array(items) if kind != Kind::Opaque => RawValue::List(
                items
                    .iter()
                    .map(|item| (value_of(item), item.span().into()))
                    .collect(),
            ),
            _ => RawValue::Scalar(value_of(value)),
        },
        key: name.span().into(),
        at: value.span().into(),
    }
}

fn scalar(value: &DeValue<'_>, kind: Kind) -> Scalar {
    match value {
        DeValue::String(text) => Scalar::Text(text.to_string()),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .map_or(Scalar::Other("integer beyond 64 bits"), Scalar::Integer),
        DeValue::Float(x) => x
            .as_str()
            .parse()
            .map_or(Scalar::Other("float"), Scalar::Float),
        DeValue::Boolean(on) => Scalar::Bool(*on),
        DeValue::Datetime(at) if kind == Kind::Start => Scalar::Text(at.to_string()),
        DeValue::Datetime(_) => Scalar::Other("date-time"),
        DeValue::Array(_) => Scalar::Other("array"),
        DeValue::Table(_) => Scalar::Other("table"),
    }
}
