//! RFC 9457 problem documents: the one shape in which the API says no.
//!
//! Details are for people and may change; what stays is the [`Code`]. A handler only says what is wrong: [`envelope`](super::envelope) renders it, because it alone knows the
//! request's id. No detail repeats an id, a key or a payload: it may end up in a log.

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

pub use super::code::Code;
use crate::core::view::Progress;
use crate::ports::Refusal;

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
        let detail = match progress {
            Some(Progress { total: 0, .. }) => {
                "waiting for Kafka, to see what there is to read: ask again in a moment".to_owned()
            }
            Some(Progress { done, total }) => format!(
                "state is being rebuilt from Kafka ({done} of {total} records read): ask again in a moment"
            ),
            None => "state is being rebuilt from Kafka: ask again in a moment".to_owned(),
        };
        let problem = Self::new(Code::Recovering, detail).retry_after(1);
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
