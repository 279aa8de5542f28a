//! `GET /stats`, `/acks/unmatched`, `/config` and `/version`: what belongs to no message.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::ApiState;
use super::directory::Directory;
use super::params::{Params, limit};
use super::problem::Problem;
use super::text;
use super::topics::is_partial;
use crate::core::Verdict;
use crate::core::effect::DeadLetterCause;
use crate::core::view::{Counters, TopicView, UnmatchedAck, VerdictResult};
use crate::core::{CauseKind, TopicIx};
use crate::ports::{ApiRequest, Stats};

/// ACKs shown, unless asked otherwise, and at most.
const UNMATCHED_LIMIT_DEFAULT: usize = 50;
const UNMATCHED_LIMIT_MAX: usize = 500;

pub async fn stats(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    Params::none(&uri)?;
    let stats = state
        .backend
        .read(|reply| ApiRequest::Stats { reply })
        .await?;
    let views = state.backend.topics().await?;
    let topics: Vec<Value> = views
        .iter()
        .map(|view| topic_json(view, &stats, &state.directory))
        .collect();
    let mean_ms = if stats.checkpoints == 0 {
        None
    } else {
        Some(whole_ms(
            stats.checkpoint_seconds_sum / stats.checkpoints as f64,
        ))
    };
    Ok(Json(json!({
        "ready": stats.ready,
        "recovering": stats.recovering.map(|p| json!({"done": p.done, "total": p.total})),
        "outstanding": stats.outstanding,
        "max_outstanding": stats.max_outstanding,
        "store": {
            "size_bytes": stats.store_size_bytes,
            "trouble": stats.store_trouble,
            "checkpoints": stats.checkpoints,
            "checkpoint_last_ms": (stats.checkpoints > 0).then(|| whole_ms(stats.checkpoint_seconds_last)),
            "checkpoint_mean_ms": mean_ms,
        },
        "kafka": {"trouble": stats.kafka_trouble},
        "topics": topics,
        "partial": is_partial(&views),
    })))
}

/// Counted since the process started, but for lag and retention, which are as of now.
fn topic_json(view: &TopicView, stats: &Stats, directory: &Directory) -> Value {
    let TopicIx(ix) = view.topic;
    let ix = usize::from(ix);
    let Counters {
        tracked,
        acked,
        dead_lettered,
        verdicts,
        ids_reused,
        ids_fell_back,
        bad_timeouts,
        unfaithful,
        lost_ranges,
        ..
    } = &view.counters;
    let republished = |kind| view.counters.republished_by(kind);
    let dead_lettered: Map<String, Value> = DeadLetterCause::ALL
        .iter()
        .zip(dead_lettered)
        .map(|(cause, n)| (cause.as_str().to_owned(), (*n).into()))
        .collect();
    let retention_left = stats.retention_left_seconds.get(ix).copied().flatten();
    json!({
        "topic": directory.name(view.topic),
        "tracked": tracked,
        "acked": acked,
        "republished": {
            "timeout": republished(CauseKind::Timeout),
            "nack": republished(CauseKind::Nack),
            "operator": republished(CauseKind::Operator),
        },
        "dead_lettered": dead_lettered,
        "verdicts": verdicts_json(verdicts),
        "ids_reused": ids_reused,
        "ids_fell_back": ids_fell_back,
        "bad_timeouts": bad_timeouts,
        "unfaithful": unfaithful,
        "lost_ranges": lost_ranges,
        "consumer_lag": stats.consumer_lag.get(ix),
        "retention_left_ms": retention_left.map(whole_ms),
    })
}

/// By result, all verdicts together; `/metrics` has them apart.
fn verdicts_json(verdicts: &[[u64; VerdictResult::ALL.len()]; Verdict::ALL.len() + 1]) -> Value {
    VerdictResult::ALL
        .iter()
        .enumerate()
        .map(|(i, result)| {
            let n: u64 = verdicts.iter().map(|by_result| by_result[i]).sum();
            (result.as_str().to_owned(), n.into())
        })
        .collect::<Map<String, Value>>()
        .into()
}

fn whole_ms(seconds: f64) -> u64 {
    // `as` saturates: no value is an error here.
    (seconds * 1000.0).round() as u64
}

pub async fn unmatched(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri, &["limit"])?;
    let limit = params
        .take("limit", |n| limit(n, UNMATCHED_LIMIT_MAX))
        .unwrap_or(UNMATCHED_LIMIT_DEFAULT);
    params.finish()?;
    let (unmatched, partial) = state
        .backend
        .read(|reply| ApiRequest::Unmatched { limit, reply })
        .await?;
    if unmatched.is_empty() {
        // None that are known of, or nobody yet who knows?
        state.backend.known_topics().await?;
    }
    let acks: Vec<Value> = unmatched
        .iter()
        .map(|ack| unmatched_json(ack, &state.directory))
        .collect();
    Ok(Json(json!({"acks": acks, "partial": partial})))
}

fn unmatched_json(ack: &UnmatchedAck, directory: &Directory) -> Value {
    json!({
        "position": text::position(directory.ack_topic(ack.ack), ack.at),
        "seen_at": text::time(ack.seen_wall_ms),
        "target": ack.target,
        "verdict": ack.verdict.as_str(),
        "result": ack.result.as_str(),
        "detail": ack.detail,
    })
}

pub async fn config(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    Params::none(&uri)?;
    Ok(Json(state.directory.settings().clone()))
}

pub async fn version(uri: Uri) -> Result<Json<Value>, Problem> {
    Params::none(&uri)?;
    Ok(Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "api": "v1",
    })))
}
