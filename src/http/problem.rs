//! RFC 9457 problem documents: the one shape in which the API says no.
//!
//! The codes are stable and listed in `docs/api.md` (a test holds the two together); details are for people and may
//! change. A handler only says what is wrong: [`envelope`](super::envelope) renders it, because it alone knows the
//! request's id. No detail repeats an id, a key or a payload: it may end up in a log.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::core::view::Progress;
use crate::ports::Refusal;

/// What every client may match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    BadParameter,
    BadPosition,
    BadBody,
    HostNotAllowed,
    OriginNotAllowed,
    UnknownRoute,
    UnknownTopic,
    UnknownPartition,
    UnknownMessage,
    WrongMethod,
    BodyTooSlow,
    NotAllowed,
    ReadOnly,
    PayloadGone,
    BodyTooLarge,
    NotJson,
    BadField,
    BadPolicy,
    Internal,
    NotBuiltYet,
    Kafka,
    Recovering,
    Busy,
    Stopping,
    UnknownOutcome,
    NoAnswer,
}

impl Code {
    pub const ALL: [Self; 26] = [
        Self::BadParameter,
        Self::BadPosition,
        Self::BadBody,
        Self::HostNotAllowed,
        Self::OriginNotAllowed,
        Self::UnknownRoute,
        Self::UnknownTopic,
        Self::UnknownPartition,
        Self::UnknownMessage,
        Self::WrongMethod,
        Self::BodyTooSlow,
        Self::NotAllowed,
        Self::ReadOnly,
        Self::PayloadGone,
        Self::BodyTooLarge,
        Self::NotJson,
        Self::BadField,
        Self::BadPolicy,
        Self::Internal,
        Self::NotBuiltYet,
        Self::Kafka,
        Self::Recovering,
        Self::Busy,
        Self::Stopping,
        Self::UnknownOutcome,
        Self::NoAnswer,
    ];

    /// The `code` member.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// The `title` member: the same for every problem of this code.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadParameter => (
                "bad-parameter",
                S::BAD_REQUEST,
                "A query parameter is wrong",
            ),
            Self::BadPosition => ("bad-position", S::BAD_REQUEST, "That is not a position"),
            Self::BadBody => ("bad-body", S::BAD_REQUEST, "The body cannot be read"),
            Self::HostNotAllowed => (
                "host-not-allowed",
                S::FORBIDDEN,
                "The Host header names another host",
            ),
            Self::OriginNotAllowed => (
                "origin-not-allowed",
                S::FORBIDDEN,
                "A page of another origin may not change anything",
            ),
            Self::UnknownRoute => ("unknown-route", S::NOT_FOUND, "There is no such call"),
            Self::UnknownTopic => ("unknown-topic", S::NOT_FOUND, "The topic is not tracked"),
            Self::UnknownPartition => (
                "unknown-partition",
                S::NOT_FOUND,
                "The topic has no such partition",
            ),
            Self::UnknownMessage => (
                "unknown-message",
                S::NOT_FOUND,
                "No message to act upon at this position",
            ),
            Self::WrongMethod => (
                "wrong-method",
                S::METHOD_NOT_ALLOWED,
                "The call exists, but not with this method",
            ),
            Self::BodyTooSlow => (
                "body-too-slow",
                S::REQUEST_TIMEOUT,
                "The body did not arrive in time",
            ),
            Self::NotAllowed => (
                "not-allowed",
                S::CONFLICT,
                "The message's state does not allow it",
            ),
            Self::ReadOnly => (
                "read-only",
                S::CONFLICT,
                "Nothing is written for this topic",
            ),
            Self::PayloadGone => (
                "payload-gone",
                S::GONE,
                "The record is not in Kafka any more",
            ),
            Self::BodyTooLarge => (
                "body-too-large",
                S::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Self::NotJson => (
                "not-json",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body is not declared as JSON",
            ),
            Self::BadField => (
                "bad-field",
                S::UNPROCESSABLE_ENTITY,
                "A field of the body is wrong",
            ),
            Self::BadPolicy => (
                "bad-policy",
                S::UNPROCESSABLE_ENTITY,
                "The policy cannot be changed like that",
            ),
            Self::Internal => (
                "internal",
                S::INTERNAL_SERVER_ERROR,
                "Ackwarden made a mistake",
            ),
            Self::NotBuiltYet => ("not-built-yet", S::NOT_IMPLEMENTED, "Not built yet"),
            Self::Kafka => (
                "kafka",
                S::BAD_GATEWAY,
                "Kafka refused it or did not answer",
            ),
            Self::Recovering => (
                "recovering",
                S::SERVICE_UNAVAILABLE,
                "State is being rebuilt from Kafka",
            ),
            Self::Busy => (
                "busy",
                S::SERVICE_UNAVAILABLE,
                "Too many calls are under way",
            ),
            Self::Stopping => ("stopping", S::SERVICE_UNAVAILABLE, "Ackwarden is stopping"),
            Self::UnknownOutcome => (
                "unknown-outcome",
                S::GATEWAY_TIMEOUT,
                "Whether the change is durable is not known",
            ),
            Self::NoAnswer => (
                "no-answer",
                S::GATEWAY_TIMEOUT,
                "The coordinator did not answer in time",
            ),
        }
    }
}

/// What is wrong with one parameter or field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub field: String,
    pub detail: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            detail: detail.into(),
        }
    }
}

/// One refusal, still without the request's id.
#[derive(Clone, Debug)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    extra: Map<String, Value>,
    retry_after_s: Option<u32>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            extra: Map::new(),
            retry_after_s: None,
        }))
    }

    /// Several wrong parameters or fields; the detail is made of them.
    #[must_use]
    pub fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|e| format!("{}: {}", e.field, e.detail))
            .collect::<Vec<_>>()
            .join("; ");
        let mut problem = Self::new(code, detail);
        problem.0.errors = errors;
        problem
    }

    /// State is being rebuilt.
    #[must_use]
    pub fn recovering(progress: Option<Progress>) -> Self {
        let how_far = progress.map_or_else(String::new, |p| {
            format!(" ({} of {} records read)", p.done, p.total)
        });
        let problem = Self::new(
            Code::Recovering,
            format!("state is being rebuilt from Kafka{how_far}: ask again in a moment"),
        )
        .retry_after(1);
        match progress {
            Some(p) => problem.with("progress", json!({"done": p.done, "total": p.total})),
            None => problem,
        }
    }

    /// An extension member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.extra.insert(name.to_owned(), value);
        self
    }

    /// Sets `Retry-After`, seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.retry_after_s
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self, request_id: &str) -> Value {
        let code = self.0.code;
        let mut document = json!({
            "type": format!("urn:ackwarden:problem:{}", code.as_str()),
            "title": code.title(),
            "status": code.status().as_u16(),
            "detail": self.0.detail,
            "code": code.as_str(),
            "request_id": request_id,
        });
        if let Value::Object(members) = &mut document {
            if !self.0.errors.is_empty() {
                let errors = self.0.errors.iter();
                members.insert(
                    "errors".to_owned(),
                    errors
                        .map(|e| json!({"field": e.field, "detail": e.detail}))
                        .collect(),
                );
            }
            members.extend(self.0.extra.clone());
        }
        document
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Recovering(progress) => Self::recovering(Some(progress)),
            Refusal::PayloadGone(detail) => Self::new(Code::PayloadGone, detail),
            Refusal::UnknownOutcome(detail) => Self::unknown_outcome(&detail),
            Refusal::Kafka(detail) => Self::new(Code::Kafka, detail),
            Refusal::BadPolicy(errors) => Self::fields(
                Code::BadPolicy,
                errors
                    .into_iter()
                    .map(|(key, detail)| FieldError::new(key, detail))
                    .collect(),
            ),
        }
    }
}

impl Problem {
    /// Asking again is safe: what already holds is answered with 200.
    #[must_use]
    pub fn unknown_outcome(why: &str) -> Self {
        Self::new(
            Code::UnknownOutcome,
            format!(
                "{why}: it may hold or not; look at it, or send it again (what holds already is 200 again)"
            ),
        )
    }
}

/// Carries the problem to the envelope, which renders it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
