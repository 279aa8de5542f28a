//! What every answer has in common: a request id, safe headers, problems as JSON, one line in the log.
//!
//! The log names the route's pattern, never the path or the query: those may hold ids. What was changed, and by whom, is
//! named by its topic and position. A problem's detail is logged for failures of the service (5xx) alone.

use axum::Json;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Code, Problem};
use crate::clock;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// An id of the client's own is kept up to this length.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Set on every answer. The policy holds for JSON and text; pages would bring their own.
const SAFE_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// What a call changed, for the log. Put into the answer's extensions.
#[derive(Debug, Clone)]
pub struct Change {
    pub verb: &'static str,
    pub topic: String,
    /// Of the message, if it is about one.
    pub position: Option<String>,
    pub actor: Option<String>,
}

/// The outermost layer.
pub async fn envelope(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let started = clock::instant();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();

    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    let change = response.extensions_mut().remove::<Change>();
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    log(
        &id,
        method.as_str(),
        route,
        response.status(),
        problem.as_ref(),
        change.as_ref(),
        elapsed_ms,
    );

    if let Some(problem) = problem {
        response = render(&problem, &id, response);
    }
    let headers = response.headers_mut();
    for (name, value) in SAFE_HEADERS {
        headers.entry(name).or_insert(value);
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// Gives the problem its body; headers that came with it (`Allow`) stay.
fn render(problem: &Problem, id: &str, before: Response) -> Response {
    let mut response = (problem.code().status(), Json(problem.to_json(id))).into_response();
    for (name, value) in before.headers() {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value.clone());
        }
    }
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(seconds) = problem.retry_after_seconds() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// One line a call. What was only read is for debugging. What the service could not do is a warning; a rebuild is not: it
/// says so itself, elsewhere.
fn log(
    id: &str,
    method: &str,
    route: &str,
    status: StatusCode,
    problem: Option<&Problem>,
    change: Option<&Change>,
    elapsed_ms: u64,
) {
    let status = status.as_u16();
    if let Some(change) = change {
        tracing::info!(
            request_id = id,
            verb = change.verb,
            topic = change.topic,
            position = change.position.as_deref(),
            actor = change.actor.as_deref(),
            status,
            elapsed_ms,
            "changed"
        );
        return;
    }
    let Some(problem) = problem else {
        tracing::debug!(request_id = id, method, route, status, elapsed_ms, "call");
        return;
    };
    let code = problem.code().as_str();
    match problem.code() {
        Code::Recovering | Code::NotBuiltYet => {
            tracing::debug!(
                request_id = id,
                method,
                route,
                status,
                code,
                elapsed_ms,
                "call refused"
            );
        }
        _ if status >= 500 => {
            let detail = problem.detail();
            tracing::warn!(
                request_id = id,
                method,
                route,
                status,
                code,
                elapsed_ms,
                detail,
                "call failed"
            );
        }
        _ => tracing::info!(
            request_id = id,
            method,
            route,
            status,
            code,
            elapsed_ms,
            "call refused"
        ),
    }
}

/// The client's own id if it is sane, else a random one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|v| v.to_str().ok())
        .filter(|id| is_sane(id))
        .map_or_else(random_id, str::to_owned)
}

fn is_sane(id: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn random_id() -> String {
    let mut bytes = [0; 8];
    // Without randomness the id is 0: a call is answered all the same.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}
