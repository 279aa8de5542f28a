//! Probes. Alive: this process answers. Ready: its partitions are assigned and rebuilt (a frozen topic is no reason
//! not to be: restarting would not help).

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::ApiState;
use super::problem::Problem;

pub async fn livez() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

pub async fn readyz(State(state): State<ApiState>) -> Result<Json<Value>, Problem> {
    let stats = state.backend.stats().await?;
    if stats.ready {
        return Ok(Json(json!({"status": "ready"})));
    }
    let problem = Problem::recovering(stats.recovering);
    Err(match stats.kafka_trouble {
        Some(trouble) => problem.with("kafka", trouble.into()),
        None => problem,
    })
}
