//! `GET /metrics`: OpenMetrics text over one snapshot; every series is there from the start.
//!
//! Labels are names of topics and words of the contract, never an id or a key: the number of series is bounded by
//! the configuration. Histograms are in seconds, with the core's buckets.

mod family;
mod process;
mod topic;

use std::fmt;

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::ApiState;
use super::params::Params;
use super::problem::{Code, Problem};
use crate::core::view::{Counters, TopicView};
use crate::ports::Stats;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub async fn metrics(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    Params::none(&uri)?;
    let stats = state.backend.stats().await?;
    let mut views = state.backend.topics().await?;
    let topics = state
        .directory
        .topics()
        .iter()
        .enumerate()
        .map(|(ix, entry)| Row {
            name: entry.name.clone(),
            view: views
                .iter()
                .position(|v| usize::from(v.topic.0) == ix)
                .map(|at| views.swap_remove(at)),
        })
        .collect();
    match exposition(Snapshot {
        topics,
        stats,
        zeros: Counters::default(),
    }) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()),
        Err(fmt::Error) => Err(Problem::new(
            Code::Internal,
            "the metrics could not be written; please report it",
        )),
    }
}

/// What one scrape shows.
#[derive(Debug)]
struct Snapshot {
    topics: Vec<Row>,
    stats: Stats,
    /// What a topic counts that the coordinator does not know yet.
    zeros: Counters,
}

impl Snapshot {
    fn counters<'a>(&'a self, row: &'a Row) -> &'a Counters {
        row.view.as_ref().map_or(&self.zeros, |view| &view.counters)
    }
}

/// A configured topic; no view while the coordinator does not know it yet, which counts as zeros.
#[derive(Debug)]
struct Row {
    name: String,
    view: Option<TopicView>,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        topic::encode(self, &mut encoder)?;
        process::encode(&self.stats, &mut encoder)
    }
}

fn exposition(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("ackwarden");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}
