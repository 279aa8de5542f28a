//! What the contract promises and this release has not got: answered 501, with what to do instead; never ignored.

use axum::extract::Request;
use axum::http::{HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::{Code, Problem};

/// Request headers of the contract that would change what a change means, each with the way without it.
const PROMISED_HEADERS: [(HeaderName, &str); 2] = [
    (
        HeaderName::from_static("idempotency-key"),
        "send the change without it: what already holds is answered with 200 again",
    ),
    (
        header::IF_MATCH,
        "send the change without it: the last write wins, key by key; look at GET /api/v1/topics/{topic} first",
    ),
];

/// The problem for a call that is not built yet.
#[must_use]
pub fn not_built(call: &str) -> Problem {
    let instead = match call {
        "/messages/bulk" | "/jobs" | "/jobs/{id}" => {
            "list with GET /api/v1/messages, and act on each with POST /api/v1/messages/{topic}/{partition}/{offset}/{ack|nack|retry|dead-letter|extend}"
        }
        "/topics/{topic}/dead-letters" => {
            "GET /api/v1/messages?state=dead lists those that died lately; any Kafka client reads the dead-letter topic"
        }
        "/topics/{topic}/dead-letters/redrive" => {
            "produce the dead letter to its topic again with any Kafka client, without the ackwarden-* headers"
        }
        "/topics/{topic}/breaker/reset" => {
            "there is no breaker in this release; POST /api/v1/topics/{topic}/pause and /resume stop and start retries"
        }
        "/topics/{topic}/advice" => {
            "GET /api/v1/topics/{topic} shows the ACK latency's quantiles beside the timeout"
        }
        "/audit" => {
            "every decision of an operator is a record on the ACK topic, with actor and reason"
        }
        "/events" => "poll GET /api/v1/messages and GET /api/v1/stats, or scrape /metrics",
        "/openapi.json" => "docs/api.md describes every call",
        _ => {
            "there is no dashboard in this release; GET /api/v1/topics and /api/v1/messages show what it would"
        }
    };
    Problem::new(
        Code::NotBuiltYet,
        format!("this release does not have it; {instead}"),
    )
}

/// Refuses a change that relies on a promised header: done without it, it would not be what was asked for.
pub async fn promised_headers(request: Request, next: Next) -> Result<Response, Problem> {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !reads {
        for (name, instead) in &PROMISED_HEADERS {
            if request.headers().contains_key(name) {
                return Err(Problem::new(
                    Code::NotBuiltYet,
                    format!(
                        "this release does not know the header {name}, and nothing was changed; {instead}"
                    ),
                ));
            }
        }
    }
    Ok(next.run(request).await)
}
