//! Query parameters: each known by name, all mistakes told at once, none ignored.

use axum::extract::Query;
use axum::http::Uri;

use super::problem::{Code, FieldError, Problem};

/// The parameters of one call, being taken.
pub struct Params {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Params {
    /// `allowed` names every parameter of the call. A name outside of it, or one that is there twice, is a mistake.
    ///
    /// # Errors
    /// Only where the query cannot be taken apart; the rest is told by [`finish`](Self::finish).
    pub fn of(uri: &Uri, allowed: &[&str]) -> Result<Self, Problem> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Problem::new(
                Code::BadParameter,
                "the query cannot be read: write it as name=value&name=value, percent-encoded UTF-8",
            ));
        };
        let mut errors = Vec::new();
        for (at, (name, value)) in pairs.iter().enumerate() {
            let before = &pairs[..at];
            if !allowed.contains(&name.as_str()) {
                errors.push(FieldError::new(shown(name), not_known(allowed)));
            } else if value.contains(char::REPLACEMENT_CHARACTER) {
                // What is not UTF-8 was decoded to this character.
                errors.push(FieldError::new(name, "is not UTF-8"));
            } else if before.iter().any(|(n, _)| n == name) {
                errors.push(FieldError::new(name, "given more than once"));
            }
        }
        Ok(Self { pairs, errors })
    }

    /// For calls that take none.
    ///
    /// # Errors
    /// `bad-parameter`.
    pub fn none(uri: &Uri) -> Result<(), Problem> {
        Self::of(uri, &[])?.finish()
    }

    /// The parameter's value as `parse` makes it; `None` where it is not there or wrong (which is noted).
    pub fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, value) = self.pairs.iter().find(|(n, _)| n == name)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(detail) => {
                self.errors.push(FieldError::new(name, detail));
                None
            }
        }
    }

    /// No mistake up to now.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// To be called when all are taken, before anything is done.
    ///
    /// # Errors
    /// `bad-parameter`, with every mistake.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::fields(Code::BadParameter, self.errors))
        }
    }
}

/// A page's length: 1 to `max`.
///
/// # Errors
/// Words for the user.
pub fn limit(text: &str, max: usize) -> Result<usize, String> {
    Some(text)
        .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|t| t.parse().ok())
        .filter(|n| (1..=max).contains(n))
        .ok_or_else(|| format!("must be a number from 1 to {max}"))
}

fn not_known(allowed: &[&str]) -> String {
    if allowed.is_empty() {
        "no such parameter; this call takes none".to_owned()
    } else {
        format!("no such parameter; allowed are {}", allowed.join(", "))
    }
}

/// A name that the user made up, made harmless: it goes into an error.
fn shown(name: &str) -> String {
    name.chars()
        .take(40)
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}
