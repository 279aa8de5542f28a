//! Single values, from wherever they come, and what the policy's keys take of them.
//!
//! An error is a fragment that follows the key's name and says what is wanted.

use super::duration::{parse_duration_ms, show_duration_ms};
use super::names::{check_topic_name, fill_template};
use super::policy_keys::POLICY_DURATION_MAX_MS;

/// A value as TOML, JSON or an environment variable can have it.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Something that no policy key takes; its name: `array`, `table`, `null`.
    Other(&'static str),
}

impl Scalar {
    /// The name of its type, as TOML and JSON users say it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Integer(_) => "integer",
            Self::Float(_) => "float",
            Self::Bool(_) => "boolean",
            Self::Other(name) => name,
        }
    }
}

pub(super) fn wrong_type(value: &Scalar, wanted: &str) -> String {
    format!("is {}, wanted is {wanted}", with_article(value.type_name()))
}

/// "a string", "an integer".
#[must_use]
pub fn with_article(noun: &str) -> String {
    match noun.as_bytes().first() {
        _ if noun == "null" => noun.to_owned(),
        Some(b'a' | b'e' | b'i' | b'o') => format!("an {noun}"),
        _ => format!("a {noun}"),
    }
}

pub(super) fn bounded_duration(value: &Scalar, min_ms: u64) -> Result<u64, String> {
    let ms = match value {
        Scalar::Text(text) => parse_duration_ms(text)?,
        Scalar::Integer(n) => {
            return Err(format!("has no unit; \"{n}s\" or \"{n}ms\"?"));
        }
        other => return Err(wrong_type(other, "a duration such as \"30s\"")),
    };
    if (min_ms..=POLICY_DURATION_MAX_MS).contains(&ms) {
        return Ok(ms);
    }
    Err(format!(
        "is out of bounds: {} to {}",
        show_duration_ms(min_ms),
        show_duration_ms(POLICY_DURATION_MAX_MS)
    ))
}

pub(super) fn number(value: &Scalar) -> Result<f64, String> {
    match value {
        Scalar::Float(x) => Ok(*x),
        Scalar::Integer(n) => i32::try_from(*n)
            .map(f64::from)
            .map_err(|_| "is out of bounds".to_owned()),
        other => Err(wrong_type(other, "a number")),
    }
}

pub(super) fn bounded_integer(value: &Scalar, max: u32) -> Result<u32, String> {
    match value {
        Scalar::Integer(n) => match u32::try_from(*n) {
            Ok(n) if n <= max => Ok(n),
            _ => Err(format!("is out of bounds: 0 to {max}")),
        },
        other => Err(wrong_type(other, "a whole number")),
    }
}

pub(super) fn one_of<T: Copy>(value: &Scalar, names: &[(&str, T)]) -> Result<T, String> {
    let wanted = || {
        let names: Vec<String> = names.iter().map(|(n, _)| format!("\"{n}\"")).collect();
        names.join(" or ")
    };
    match value {
        Scalar::Text(text) => names
            .iter()
            .find(|(name, _)| name == text)
            .map(|(_, v)| *v)
            .ok_or_else(|| format!("is unknown; there is {}", wanted())),
        other => Err(wrong_type(other, &wanted())),
    }
}

pub(super) fn named<T: Copy + PartialEq>(value: T, names: &[(&'static str, T)]) -> Scalar {
    let name = names.iter().find(|(_, v)| *v == value).map_or("", |n| n.0);
    Scalar::Text(name.to_owned())
}

pub(super) fn dead_letter(value: &Scalar, topic: &str) -> Result<Option<Box<str>>, String> {
    let Scalar::Text(text) = value else {
        return Err(wrong_type(value, "a topic name, or \"\" for none"));
    };
    if text.is_empty() {
        return Ok(None);
    }
    let name = fill_template(text, &[("topic", topic)])?;
    check_topic_name(&name)?;
    if name == topic {
        return Err(
            "is the source topic itself: dead letters would be tracked again; name another topic"
                .to_owned(),
        );
    }
    Ok(Some(name.into()))
}
