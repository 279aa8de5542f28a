//! `POST /messages/{topic}/{partition}/{offset}/{ack|nack|retry|dead-letter|extend}`: an operator's decision on one
//! message. 200 only when the decision record is durable on the ACK topic, or what was asked for already holds.

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde_json::json;

use super::ApiState;
use super::body::Body;
use super::envelope::Change;
use super::params::Params;
use super::path::At;
use super::problem::{Code, Problem};
use super::text;
use crate::config::duration::parse_duration_ms;
use crate::core::view::{OperatorAction, OperatorReply, State as MessageState};
use crate::ports::ApiRequest;

/// Who decided, where the caller does not say: there are no tokens yet that would.
const ACTOR_DEFAULT: &str = "anonymous";
/// They travel in headers of the decision record, and are kept with the message.
const ACTOR_BYTES_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 1024;
/// More than any policy's `delay_max` is for; keeps sums of times far from the end of their range.
const DELAY_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// The last part of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Ack,
    Nack,
    Retry,
    DeadLetter,
    Extend,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Retry => "retry",
            Self::DeadLetter => "dead-letter",
            Self::Extend => "extend",
        }
    }

    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Ack | Self::Retry | Self::DeadLetter => &["reason", "actor"],
            Self::Nack | Self::Extend => &["reason", "actor", "delay"],
        }
    }

    const fn action(self, delay_ms: Option<u64>) -> OperatorAction {
        match self {
            Self::Ack => OperatorAction::Ack,
            Self::Nack => OperatorAction::Nack { delay_ms },
            Self::Retry => OperatorAction::Retry,
            Self::DeadLetter => OperatorAction::DeadLetter,
            Self::Extend => OperatorAction::Extend { delay_ms },
        }
    }
}

/// The route of a verb.
pub fn action(verb: Verb) -> MethodRouter<ApiState> {
    post(
        move |State(state): State<ApiState>, at: At, uri: Uri, body: Body| async move {
            Params::none(&uri)?;
            act(&state, at, verb, body).await
        },
    )
}

async fn act(
    state: &ApiState,
    At { topic, at }: At,
    verb: Verb,
    mut body: Body,
) -> Result<Response, Problem> {
    let actor = body
        .take("actor", actor)
        .unwrap_or_else(|| ACTOR_DEFAULT.to_owned());
    let reason = body.take("reason", reason);
    let delay_ms = match verb {
        Verb::Nack => body.take("delay", |text| delay(text, 0)),
        Verb::Extend => body.take("delay", |text| delay(text, 1)),
        Verb::Ack | Verb::Retry | Verb::DeadLetter => None,
    };
    body.finish(verb.fields())?;

    let reply = state
        .backend
        .change(|reply| ApiRequest::Act {
            topic,
            at,
            action: verb.action(delay_ms),
            actor: actor.clone(),
            reason,
            reply,
        })
        .await?;
    let name = state.directory.name(topic);
    let position = text::position(name, at);
    let change = Extension(Change {
        verb: verb.as_str(),
        topic: name.to_owned(),
        position: Some(position.clone()),
        actor: Some(actor),
    });
    match reply {
        OperatorReply::Durable(decision) => {
            let ack_topic = state.directory.ack_topic_of(topic);
            let decided = Json(json!({
                "position": position,
                "decision": text::position(ack_topic, decision),
            }));
            Ok((change, decided).into_response())
        }
        OperatorReply::AlreadyHolds(holds) => {
            let held = Json(json!({
                "position": position,
                "decision": null,
                "state": holds.as_str(),
            }));
            Ok((change, held).into_response())
        }
        OperatorReply::NotAllowed { state: now, detail } => Err(not_allowed(now, detail)),
        OperatorReply::NotFound(detail) => Err(Problem::new(Code::UnknownMessage, detail)),
        OperatorReply::UnknownOutcome(why) => Err(Problem::unknown_outcome(&why)),
        OperatorReply::Refused(why) => Err(Problem::new(
            Code::Kafka,
            format!("the decision is not in Kafka, and nothing was changed: {why}"),
        )),
        OperatorReply::Recovering => {
            let progress = state.backend.stats().await.ok().and_then(|s| s.recovering);
            Err(Problem::recovering(progress))
        }
        OperatorReply::ReadOnly(detail) => Err(Problem::new(Code::ReadOnly, detail)),
    }
}

fn not_allowed(now: MessageState, detail: &str) -> Problem {
    Problem::new(
        Code::NotAllowed,
        format!("the message is {}: {detail}", now.as_str()),
    )
    .with("state", now.as_str().into())
}

fn actor(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > ACTOR_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "must have 1 to {ACTOR_BYTES_MAX} bytes, and no control characters"
        ));
    }
    Ok(text.to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    if text.len() > REASON_BYTES_MAX {
        return Err(format!("may have {REASON_BYTES_MAX} bytes at most"));
    }
    Ok(text.to_owned())
}

fn delay(text: &str, ms_min: u64) -> Result<u64, String> {
    let ms = parse_duration_ms(text)?;
    if !(ms_min..=DELAY_MS_MAX).contains(&ms) {
        return Err(format!(
            "must be from {} to 366days",
            humantime::format_duration(std::time::Duration::from_millis(ms_min))
        ));
    }
    Ok(ms)
}
