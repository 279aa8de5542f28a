//! Stats, unmatched ACKs, settings, version, probes.

use ackwarden::core::view::Progress;
use ackwarden::ports::{ApiRequest, Stats};
use insta::assert_snapshot;

use crate::fake::{Api, answer};
use crate::samples::stats;

#[tokio::test]
async fn stats_hold_what_is_no_topics_and_the_totals_of_each() {
    let api = Api::usual();
    assert_snapshot!(api.get("/api/v1/stats").await.show(), @r#"
    200 OK
    {
      "ready": true,
      "recovering": null,
      "outstanding": 13,
      "max_outstanding": 10000000,
      "store": {
        "size_bytes": 4096,
        "trouble": null,
        "checkpoints": 4,
        "checkpoint_last_ms": 4,
        "checkpoint_mean_ms": 5
      },
      "kafka": {
        "trouble": null
      },
      "topics": [
        {
          "topic": "orders",
          "tracked": 1000,
          "acked": 980,
          "republished": {
            "timeout": 0,
            "nack": 3,
            "operator": 0
          },
          "dead_lettered": {
            "attempts-exhausted": 0,
            "rejected": 2,
            "operator": 0,
            "too-large": 0,
            "payload-lost": 0
          },
          "verdicts": {
            "matched": 980,
            "late": 0,
            "duplicate": 0,
            "stale": 0,
            "ambiguous": 0,
            "early": 0,
            "unknown": 0,
            "invalid": 1,
            "other_group": 0
          },
          "ids_reused": 0,
          "ids_fell_back": 0,
          "bad_timeouts": 0,
          "unfaithful": 0,
          "lost_ranges": 0,
          "consumer_lag": 7,
          "retention_left_ms": 86400000
        },
        {
          "topic": "payments",
          "tracked": 0,
          "acked": 0,
          "republished": {
            "timeout": 0,
            "nack": 0,
            "operator": 0
          },
          "dead_lettered": {
            "attempts-exhausted": 0,
            "rejected": 0,
            "operator": 0,
            "too-large": 0,
            "payload-lost": 0
          },
          "verdicts": {
            "matched": 0,
            "late": 0,
            "duplicate": 0,
            "stale": 0,
            "ambiguous": 0,
            "early": 0,
            "unknown": 0,
            "invalid": 0,
            "other_group": 0
          },
          "ids_reused": 0,
          "ids_fell_back": 0,
          "bad_timeouts": 0,
          "unfaithful": 0,
          "lost_ranges": 0,
          "consumer_lag": 0,
          "retention_left_ms": null
        }
      ],
      "partial": true
    }
    "#);
}

#[tokio::test]
async fn unmatched_acks_say_where_they_stand_and_what_they_named() {
    let api = Api::usual();
    let answer = api.get("/api/v1/acks/unmatched?limit=7").await;
    assert_snapshot!(answer.text, @r#"{"acks":[{"position":"payments-acks/0/5","seen_at":"2023-11-14T22:13:20.000Z","target":"B-12","verdict":"ack","result":"unknown","detail":"no message has this id"}],"partial":false}"#);
    assert_eq!(api.asked(), "Unmatched 7");
}

#[tokio::test]
async fn the_settings_are_those_that_the_caller_allowed() {
    let api = Api::usual();
    let answer = api.get("/api/v1/config").await;
    assert_eq!(
        answer.json()["kafka"]["properties"]["sasl.password"],
        "[redacted]"
    );
}

#[tokio::test]
async fn the_version_is_the_crates() {
    let api = Api::usual();
    let answer = api.get("/api/v1/version").await.json();
    assert_eq!(answer["name"], "ackwarden");
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer["api"], "v1");
}

#[tokio::test]
async fn alive_needs_no_coordinator_and_ready_does() {
    let api = Api::silent();
    assert_eq!(api.get("/livez").await.status, 200);
    assert_eq!(api.get("/readyz").await.problem(), "504 no-answer");
    assert_eq!(
        Api::usual().get("/readyz").await.text,
        r#"{"status":"ready"}"#
    );
}

#[tokio::test]
async fn not_ready_says_how_far_it_is_and_what_kafka_complains_about() {
    let api = Api::answering(|request| match request {
        ApiRequest::Stats { reply } => drop(reply.send(Stats {
            ready: false,
            recovering: Some(Progress {
                done: 40,
                total: 100,
            }),
            kafka_trouble: Some("all brokers are down".into()),
            ..stats()
        })),
        other => answer(other),
    });
    assert_snapshot!(api.get("/readyz").await.show(), @r#"
    503 Service Unavailable
    {
      "type": "urn:ackwarden:problem:recovering",
      "title": "State is being rebuilt from Kafka",
      "status": 503,
      "detail": "state is being rebuilt from Kafka (40 of 100 records read): ask again in a moment",
      "code": "recovering",
      "request_id": "test",
      "progress": {
        "done": 40,
        "total": 100
      },
      "kafka": "all brokers are down"
    }
    "#);
}
