//! `/metrics`: every series from the start, in the names of the contract.

use std::collections::BTreeSet;

use ackwarden::ports::ApiRequest;

use crate::fake::{Api, answer};

async fn scrape(api: &Api) -> String {
    let answer = api.get("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    answer.text
}

/// Name and labels of each sample.
fn series(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|l| !l.starts_with('#'));
    samples
        .filter_map(|l| Some(l.rsplit_once(' ')?.0))
        .collect()
}

#[tokio::test]
async fn the_exposition_is_as_it_was() {
    insta::assert_snapshot!(scrape(&Api::usual()).await);
}

#[tokio::test]
async fn every_series_is_there_before_the_coordinator_knows_a_topic() {
    let unknown = Api::answering(|request| match request {
        ApiRequest::Topics { reply } => drop(reply.send(vec![])),
        ApiRequest::Stats { reply } => drop(reply.send(ackwarden::ports::Stats::default())),
        other => answer(other),
    });
    let before = scrape(&unknown).await;
    let after = scrape(&Api::usual()).await;
    assert_eq!(series(&before), series(&after));
    for sample in [
        "ackwarden_messages_tracked_total{topic=\"orders\"} 0",
        "ackwarden_messages_acked_total{topic=\"orders\"} 0",
        "ackwarden_messages_republished_total{topic=\"orders\",cause=\"timeout\"} 0",
        "ackwarden_messages_dead_lettered_total{topic=\"orders\",cause=\"payload-lost\"} 0",
        "ackwarden_verdicts_total{topic=\"orders\",verdict=\"other\",result=\"other_group\"} 0",
        "ackwarden_ids_reused_total{topic=\"orders\"} 0",
        "ackwarden_outstanding_messages{topic=\"orders\",state=\"waiting\"} 0",
        "ackwarden_frozen{topic=\"orders\",why=\"paused\"} 0",
        "ackwarden_consumer_lag_messages{topic=\"orders\"} 0",
        "ackwarden_retention_left_seconds{topic=\"orders\"} NaN",
        "ackwarden_store_size_bytes 0",
        "ackwarden_checkpoint_seconds_count 0",
    ] {
        assert!(before.lines().any(|l| l == sample), "{sample}");
    }
}

#[tokio::test]
async fn every_metric_of_the_contract_is_there() {
    let text = scrape(&Api::usual()).await;
    for name in [
        "messages_tracked_total",
        "messages_acked_total",
        "messages_republished_total",
        "messages_dead_lettered_total",
        "verdicts_total",
        "ids_reused_total",
        "outstanding_messages",
        "oldest_outstanding_age_seconds",
        "ack_latency_seconds_bucket",
        "retry_lateness_seconds_bucket",
        "frozen",
        "low_water_mark_age_seconds",
        "retention_left_seconds",
        "consumer_lag_messages",
        "store_size_bytes",
        "checkpoint_seconds_sum",
        "build_info",
    ] {
        let name = format!("ackwarden_{name}");
        let there = series(&text)
            .iter()
            .any(|s| s.split('{').next() == Some(name.as_str()));
        assert!(there, "{name}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn buckets_grow_up_to_the_count() {
    let text = scrape(&Api::usual()).await;
    let buckets: Vec<(&str, u64)> = text
        .lines()
        .filter_map(|l| l.strip_prefix("ackwarden_ack_latency_seconds_bucket{le=\""))
        .filter(|l| l.contains("topic=\"orders\""))
        .map(|l| {
            let (le, _) = l.split_once('"').unwrap();
            (le, l.rsplit_once(' ').unwrap().1.parse().unwrap())
        })
        .collect();
    assert_eq!(buckets.len(), 28);
    assert!(buckets.is_sorted_by_key(|(_, n)| *n));
    assert_eq!(buckets[0], ("0.001", 1));
    assert_eq!(buckets[2], ("0.004", 2));
    assert_eq!(buckets[27], ("+Inf", 3));
}
