//! Changes to a topic: `PATCH /topics/{topic}`, `DELETE …/overrides`, `POST …/pause`, `…/resume`.
//!
//! Each is answered when it is durable in the state topic, with the topic as it then is; with 204 where it is durable
//! but cannot be shown.

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::ApiState;
use super::body::Body;
use super::envelope::Change;
use super::params::Params;
use super::path::Topic;
use super::problem::{Code, FieldError, Problem};
use super::topics;
use crate::config::policy_json::patch_from_json;
use crate::core::TopicIx;
use crate::ports::{ApiRequest, Refusal};

pub async fn patch(
    State(state): State<ApiState>,
    Topic(topic): Topic,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let mut params = Params::of(&uri, &["apply"])?;
    let apply_pending = params.take("apply", |apply| match apply {
        "pending" => Ok(true),
        _ => Err("must be pending, or not there (only new deliveries)".to_owned()),
    });
    params.finish()?;

    let members = body.into_members();
    if members.is_empty() {
        return Err(Problem::new(
            Code::BadPolicy,
            "the body names nothing to change; write for example {\"timeout\": \"45s\"}",
        ));
    }
    let patch = patch_from_json(&members, state.directory.name(topic)).map_err(bad_policy)?;
    change(&state, "patch", topic, |reply| ApiRequest::PatchPolicy {
        topic,
        patch,
        apply_pending: apply_pending.unwrap_or(false),
        reply,
    })
    .await
}

pub async fn reset(
    State(state): State<ApiState>,
    Topic(topic): Topic,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    Params::none(&uri)?;
    body.finish(&[])?;
    change(&state, "reset", topic, |reply| ApiRequest::ResetPolicy {
        topic,
        reply,
    })
    .await
}

pub async fn pause(
    state: State<ApiState>,
    topic: Topic,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    set_paused(state, topic, uri, body, true).await
}

pub async fn resume(
    state: State<ApiState>,
    topic: Topic,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    set_paused(state, topic, uri, body, false).await
}

async fn set_paused(
    State(state): State<ApiState>,
    Topic(topic): Topic,
    uri: Uri,
    body: Body,
    paused: bool,
) -> Result<Response, Problem> {
    Params::none(&uri)?;
    body.finish(&[])?;
    let verb = if paused { "pause" } else { "resume" };
    change(&state, verb, topic, |reply| ApiRequest::Pause {
        topic,
        paused,
        reply,
    })
    .await
}

async fn change(
    state: &ApiState,
    verb: &'static str,
    topic: TopicIx,
    make: impl FnOnce(oneshot::Sender<Result<(), Refusal>>) -> ApiRequest,
) -> Result<Response, Problem> {
    state.backend.change(make).await??;
    // From here on the change is durable: nothing may turn the answer into an error.
    let change = Extension(Change {
        verb,
        topic: state.directory.name(topic).to_owned(),
        position: None,
        actor: None,
    });
    Ok(match topics::shown(state, topic).await {
        Ok(shown) => (change, shown).into_response(),
        Err(_) => (change, StatusCode::NO_CONTENT).into_response(),
    })
}

fn bad_policy(errors: Vec<(String, String)>) -> Problem {
    Problem::fields(
        Code::BadPolicy,
        errors
            .into_iter()
            .map(|(key, detail)| FieldError::new(key.chars().take(40).collect::<String>(), detail))
            .collect(),
    )
}
