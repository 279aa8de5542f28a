//! JSON bodies: bounded in size and time, one object, or nothing at all.

use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::problem::{Code, FieldError, Problem};

/// Far more than any body of this API needs.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// A body of that size needs no longer, on any network.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The members of the body; none where there is no body.
#[derive(Debug, Default)]
pub struct Body {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = declares_json(request.headers());
        let bytes = match timeout(BODY_WITHIN, Bytes::from_request(request, state)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(rejection)) => return Err(unread(&rejection)),
            Err(_) => {
                return Err(Problem::new(
                    Code::BodyTooSlow,
                    format!(
                        "the body was not complete after {}",
                        humantime::format_duration(BODY_WITHIN)
                    ),
                ));
            }
        };
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if !is_json {
            return Err(Problem::new(
                Code::NotJson,
                "there is a body, but no `Content-Type: application/json`",
            ));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(members)) => match twice(&bytes) {
                Some(name) => Err(Problem::new(
                    Code::BadBody,
                    format!("the member `{}` is there more than once", shown(&name)),
                )),
                None => Ok(Self {
                    members,
                    errors: Vec::new(),
                }),
            },
            Ok(_) => Err(Problem::new(
                Code::BadBody,
                "the body must be a JSON object, such as {\"reason\": \"…\"}",
            )),
            Err(e) => Err(Problem::new(
                Code::BadBody,
                format!(
                    "the body is not JSON, at line {} column {}",
                    e.line(),
                    e.column()
                ),
            )),
        }
    }
}

impl Body {
    /// All members at once, for who checks them himself.
    #[must_use]
    pub fn into_members(self) -> Map<String, Value> {
        self.members
    }

    /// A text member as `parse` makes it; `None` where it is not there, null, or wrong (which is noted).
    pub fn take<T>(
        &mut self,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let outcome = match self.members.shift_remove(field)? {
            Value::Null => return None,
            Value::String(text) => parse(&text),
            _ => Err("must be a string".to_owned()),
        };
        match outcome {
            Ok(value) => Some(value),
            Err(detail) => {
                self.errors.push(FieldError::new(field, detail));
                None
            }
        }
    }

    /// To be called when all are taken; what is left over is a mistake.
    ///
    /// # Errors
    /// `bad-field`, with every mistake.
    pub fn finish(mut self, allowed: &[&str]) -> Result<(), Problem> {
        let detail = if allowed.is_empty() {
            "no such field; this call takes none".to_owned()
        } else {
            format!("no such field; allowed are {}", allowed.join(", "))
        };
        for name in self.members.keys() {
            self.errors
                .push(FieldError::new(shown(name), detail.clone()));
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::fields(Code::BadField, self.errors))
        }
    }
}

fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}

/// A member that the object has more than once: of two values none is what was meant.
fn twice(object: &[u8]) -> Option<String> {
    let Names(mut names) = serde_json::from_slice(object).ok()?;
    names.sort();
    let pair = names.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(pair[0].clone())
}

/// The names of an object's members, as often as they are there.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Names(Vec::new()))
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Self;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
        while let Some((name, IgnoredAny)) = members.next_entry()? {
            self.0.push(name);
        }
        Ok(self)
    }
}

/// `application/json`, `application/merge-patch+json` and their like.
fn declares_json(headers: &HeaderMap) -> bool {
    let Some(Ok(declared)) = headers.get(header::CONTENT_TYPE).map(|v| v.to_str()) else {
        return false;
    };
    let essence = declared.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn unread(rejection: &BytesRejection) -> Problem {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::new(
                Code::BodyTooLarge,
                format!("a body may have {BODY_BYTES_MAX} bytes at most"),
            )
        }
        _ => Problem::new(Code::BadBody, "the body broke off"),
    }
}
