//! The lists `id` and `ack_id`: where a message's name is looked for.

use super::model::IdSource;
use super::problem::{Findings, Place, Problem};
use super::scalar::{Scalar, with_article};

/// Entries of one list; each is tried for every record.
const SOURCES_MAX: usize = 16;

/// Which record is to be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// `id`: a source record. Ends with `position`, written or not: every message has one.
    Message,
    /// `ack_id`: the message that an ACK is about. Never `position`: that of an ACK names no message.
    Ack,
}

impl Naming {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Message => "id",
            Self::Ack => "ack_id",
        }
    }

    pub fn default_sources(self) -> Vec<IdSource> {
        match self {
            Self::Message => vec![
                IdSource::Header("message-id".to_owned()),
                IdSource::Position,
            ],
            Self::Ack => vec![
                IdSource::Header("ackwarden-message-id".to_owned()),
                IdSource::Key,
            ],
        }
    }
}

/// Parses a list, with everything that is wrong in it.
pub(super) fn parse_sources(
    naming: Naming,
    list: &[(Scalar, Place)],
    list_place: &Place,
    found: &mut Findings,
) -> Vec<IdSource> {
    let key = naming.key();
    if list.is_empty() || list.len() > SOURCES_MAX {
        found.problem(
            Problem::new(
                list_place,
                format!(
                    "`{key}` has {} entries, wanted are 1 to {SOURCES_MAX}",
                    list.len()
                ),
            )
            .cure("remove it, and the default holds"),
        );
        return naming.default_sources();
    }
    let mut sources: Vec<IdSource> = Vec::new();
    for (item, place) in list {
        let source = match parse_source(item) {
            Ok(source) => source,
            Err(problem) => {
                found.problem(
                    Problem::new(place, format!("an entry of `{key}` {problem}")).cure(
                        "there is \"header:NAME\", \"cloudevents\", \"json:/pointer/into/value\", \"key\", \"position\"",
                    ),
                );
                continue;
            }
        };
        if sources.contains(&source) {
            found.problem(Problem::new(
                place,
                format!("an entry of `{key}` stands there twice: remove one"),
            ));
        } else if sources.last() == Some(&IdSource::Position) {
            found.problem(Problem::new(
                place,
                format!("an entry of `{key}` is never reached: every message has a position, put that last"),
            ));
        }
        if source == IdSource::Position && naming == Naming::Ack {
            found.problem(
                Problem::new(place, "`ack_id` cannot be the position of the ACK record: that names no message")
                    .cure("remove it; a key or header whose text is a delivery's position is always understood"),
            );
        }
        if source == IdSource::Key && naming == Naming::Message {
            found.warn(
                Problem::new(place, "`key` in `id`: records of one key are told apart only if each key is used once")
                    .cure("use a header or a field that is unique, or leave it to \"position\""),
            );
        }
        sources.push(source);
    }
    if naming == Naming::Message && sources.last() != Some(&IdSource::Position) {
        sources.push(IdSource::Position);
    }
    sources
}

fn parse_source(item: &Scalar) -> Result<IdSource, String> {
    let Scalar::Text(text) = item else {
        let what = with_article(item.type_name());
        return Err(format!("is {what}, wanted is a string"));
    };
    match text.split_once(':') {
        None if text == "cloudevents" => Ok(IdSource::CloudEvents),
        None if text == "key" => Ok(IdSource::Key),
        None if text == "position" => Ok(IdSource::Position),
        Some(("header", "")) => Err("names no header".to_owned()),
        Some(("header", name)) if name.contains('\0') => Err("has a NUL in it".to_owned()),
        Some(("header", name)) => Ok(IdSource::Header(name.to_owned())),
        Some(("json", pointer)) => {
            check_pointer(pointer).map(|()| IdSource::Json(pointer.to_owned()))
        }
        _ => Err("is unknown".to_owned()),
    }
}

/// RFC 6901, the whole document excepted: that is no id.
fn check_pointer(pointer: &str) -> Result<(), String> {
    if !pointer.starts_with('/') {
        return Err("has a JSON pointer that does not begin with `/`".to_owned());
    }
    let bad_escape = pointer
        .split('~')
        .skip(1)
        .any(|rest| !rest.starts_with(['0', '1']));
    if bad_escape {
        return Err("has a `~` in its JSON pointer that is neither `~0` nor `~1`".to_owned());
    }
    Ok(())
}
