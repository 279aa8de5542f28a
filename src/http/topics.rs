//! `GET /topics` and `GET /topics/{topic}`: how a topic does, and by which policy.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::ApiState;
use super::directory::Directory;
use super::params::Params;
use super::path::Topic;
use super::problem::Problem;
use super::text;
use crate::config::policy_json;
use crate::core::TopicIx;
use crate::core::view::{Frozen, FrozenWhy, Histogram, State as MessageState, TopicView};

pub async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    Params::none(&uri)?;
    let views = state.backend.known_topics().await?;
    let topics: Vec<Value> = views
        .iter()
        .map(|view| Value::Object(topic_json(view, &state.directory)))
        .collect();
    Ok(Json(
        json!({"topics": topics, "partial": is_partial(&views)}),
    ))
}

/// Whether other instances track partitions of one of these topics.
pub fn is_partial(views: &[TopicView]) -> bool {
    let is_missing = |view: &TopicView| {
        let mut reasons = view.frozen.iter();
        reasons.any(|frozen| frozen.why == FrozenWhy::SourceMissing)
    };
    views
        .iter()
        .any(|view| !view.elsewhere.is_empty() || (view.partitions.is_empty() && !is_missing(view)))
}

pub async fn one(
    State(state): State<ApiState>,
    Topic(topic): Topic,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::none(&uri)?;
    shown(&state, topic).await
}

/// One topic as it is now, with its partitions.
pub async fn shown(state: &ApiState, topic: TopicIx) -> Result<Json<Value>, Problem> {
    let topics = state.backend.known_topics().await?;
    let Some(view) = topics.iter().find(|t| t.topic == topic) else {
        return Err(Problem::recovering(None));
    };
    let mut members = topic_json(view, &state.directory);
    members.insert("partitions".to_owned(), partitions_json(view));
    members.insert(
        "partitions_elsewhere".to_owned(),
        view.elsewhere.clone().into(),
    );
    Ok(Json(Value::Object(members)))
}

fn topic_json(view: &TopicView, directory: &Directory) -> Map<String, Value> {
    let counts: Map<String, Value> = MessageState::UNSETTLED
        .iter()
        .zip(view.counts)
        .map(|(state, n)| (state.as_str().to_owned(), n.into()))
        .collect();
    let mut members = Map::new();
    let mut put = |key: &str, value: Value| {
        members.insert(key.to_owned(), value);
    };
    put("topic", directory.name(view.topic).into());
    put("ack_topic", directory.ack_topic_of(view.topic).into());
    put("policy", policy_json(view, directory));
    put("counts", counts.into());
    put("oldest_age_ms", view.oldest_age_ms.into());
    put("frozen", view.frozen.first().map(frozen_json).into());
    put(
        "frozen_reasons",
        view.frozen.iter().map(frozen_json).collect(),
    );
    put(
        "ack_latency_ms",
        quantiles_json(&view.counters.ack_latency_ms),
    );
    put("retries_per_second", view.retries_per_second.into());
    put(
        "recovering",
        view.recovering
            .map(|p| json!({"done": p.done, "total": p.total}))
            .into(),
    );
    members
}

/// Each value in force, and who set it last.
fn policy_json(view: &TopicView, directory: &Directory) -> Value {
    let overrides = policy_json::patch_to_json(&view.overrides);
    let set_by_file = directory.entry(view.topic).map(|t| &t.set_by_file);
    policy_json::show(&view.policy)
        .into_iter()
        .map(|(key, value)| {
            let source = if overrides.contains_key(key) {
                "runtime"
            } else if set_by_file.is_some_and(|keys| keys.contains(key)) {
                "file"
            } else {
                "default"
            };
            (key.to_owned(), json!({"value": value, "source": source}))
        })
        .collect::<Map<_, _>>()
        .into()
}

fn frozen_json(frozen: &Frozen) -> Value {
    json!({
        "why": frozen.why.as_str(),
        "since": text::time(frozen.since_wall_ms),
        "detail": frozen.detail,
        "cure": frozen.cure,
    })
}

/// Upper bounds: the histogram's buckets are powers of two.
fn quantiles_json(latency: &Histogram) -> Value {
    json!({
        "p50": latency.quantile_ms(0.5),
        "p90": latency.quantile_ms(0.9),
        "p99": latency.quantile_ms(0.99),
    })
}

fn partitions_json(view: &TopicView) -> Value {
    view.partitions
        .iter()
        .map(|p| {
            json!({
                "partition": p.partition,
                "outstanding": p.outstanding,
                "source_applied": p.source_applied,
                "low_water_mark": p.low,
                "low_water_mark_age_ms": p.low_age_ms,
                "paused": p.paused,
            })
        })
        .collect()
}
