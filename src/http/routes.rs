//! Every call, in one table.
//!
//! The order of the layers, outermost first: envelope (request id, problems, log line), host, then for `/api/v1`:
//! origin, promised headers, calls in flight. Probes and metrics are not counted among the calls in flight: they must
//! answer when everything else is busy.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, any, delete, get, post};

use super::actions::{Verb, action};
use super::not_built::not_built;
use super::problem::{Code, Problem};
use super::{
    ApiState, body, envelope, guard, health, messages, metrics, not_built, payload, policy, topics,
    totals,
};

/// The whole API.
pub fn router(state: ApiState) -> Router {
    let api = api()
        .method_not_allowed_fallback(wrong_method)
        .route_layer(from_fn_with_state(state.clone(), guard::in_flight))
        .route_layer(from_fn(not_built::promised_headers))
        .route_layer(from_fn(guard::origin));
    Router::new()
        .nest("/api/v1", api)
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", later("/openapi.json"))
        .route("/", later("/"))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .layer(from_fn_with_state(state.clone(), guard::host))
        .layer(from_fn(envelope::envelope))
        .with_state(state)
}

fn api() -> Router<ApiState> {
    const MESSAGE: &str = "/messages/{topic}/{partition}/{offset}";
    let of_message = |verb: &str| format!("{MESSAGE}/{verb}");
    Router::new()
        .route("/topics", get(topics::list))
        .route("/topics/{topic}", get(topics::one).patch(policy::patch))
        .route("/topics/{topic}/overrides", delete(policy::reset))
        .route("/topics/{topic}/pause", post(policy::pause))
        .route("/topics/{topic}/resume", post(policy::resume))
        .route("/messages", get(messages::list))
        .route(MESSAGE, get(messages::one))
        .route(&of_message("payload"), get(payload::payload))
        .route(&of_message("ack"), action(Verb::Ack))
        .route(&of_message("nack"), action(Verb::Nack))
        .route(&of_message("retry"), action(Verb::Retry))
        .route(&of_message("dead-letter"), action(Verb::DeadLetter))
        .route(&of_message("extend"), action(Verb::Extend))
        .route("/stats", get(totals::stats))
        .route("/acks/unmatched", get(totals::unmatched))
        .route("/config", get(totals::config))
        .route("/version", get(totals::version))
        .route("/messages/bulk", later("/messages/bulk"))
        .route("/jobs", later("/jobs"))
        .route("/jobs/{id}", later("/jobs/{id}"))
        .route(
            "/topics/{topic}/dead-letters",
            later("/topics/{topic}/dead-letters"),
        )
        .route(
            "/topics/{topic}/dead-letters/redrive",
            later("/topics/{topic}/dead-letters/redrive"),
        )
        .route(
            "/topics/{topic}/breaker/reset",
            later("/topics/{topic}/breaker/reset"),
        )
        .route("/topics/{topic}/advice", later("/topics/{topic}/advice"))
        .route("/audit", later("/audit"))
        .route("/events", later("/events"))
}

fn later(call: &'static str) -> MethodRouter<ApiState> {
    any(move || async move { not_built(call) })
}

async fn unknown_route() -> Problem {
    Problem::new(
        Code::UnknownRoute,
        "there is no such call; probes are /livez and /readyz, metrics are /metrics, the API is below /api/v1, and \
         docs/api.md lists it",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(
        Code::WrongMethod,
        "the call exists, but not with this method; the Allow header names those that it has",
    )
}
