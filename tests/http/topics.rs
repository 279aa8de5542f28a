//! Topics and changes to them.

use ackwarden::ports::{ApiRequest, Refusal};
use insta::assert_snapshot;

use crate::fake::{Api, answer};
use crate::samples::topics;

#[tokio::test]
async fn topics_are_listed_with_policy_counts_and_trouble() {
    let api = Api::usual();
    let answer = api.get("/api/v1/topics").await;
    let second = &answer.json()["topics"][1];
    assert_eq!(second["topic"], "payments");
    assert_eq!(second["frozen"], second["frozen_reasons"][0]);
    assert_snapshot!(second["frozen"], @r#"{"why":"ack-topic-missing","since":"2023-11-14T22:13:20.000Z","detail":"payments-acks is not there","cure":"create it"}"#);
    assert_eq!(answer.json()["topics"][0].get("partitions"), None);
}

#[tokio::test]
async fn counts_of_one_instance_among_several_are_partial() {
    for (elsewhere, partial) in [(vec![], false), (vec![1], true)] {
        let api = Api::answering(move |request| match request {
            ApiRequest::Topics { reply } => {
                let mut orders = topics().swap_remove(0);
                orders.elsewhere = elsewhere.clone();
                drop(reply.send(vec![orders]));
            }
            other => answer(other),
        });
        for path in ["/api/v1/topics", "/api/v1/stats"] {
            assert_eq!(api.get(path).await.json()["partial"], partial, "{path}");
        }
    }
}

#[tokio::test]
async fn one_topic_has_the_contracts_shape_and_its_partitions() {
    let api = Api::usual();
    assert_snapshot!(api.get("/api/v1/topics/orders").await.show(), @r#"
    200 OK
    {
      "topic": "orders",
      "ack_topic": "orders-acks",
      "policy": {
        "on_lost_range": {
          "value": "stop",
          "source": "default"
        },
        "timeout": {
          "value": "45s",
          "source": "runtime"
        },
        "backoff": {
          "value": 2.0,
          "source": "default"
        },
        "timeout_max": {
          "value": "10m",
          "source": "default"
        },
        "jitter": {
          "value": 0.1,
          "source": "default"
        },
        "max_attempts": {
          "value": 5,
          "source": "file"
        },
        "nack_delay": {
          "value": "1s",
          "source": "default"
        },
        "delay_max": {
          "value": "1h",
          "source": "default"
        },
        "dead_letter": {
          "value": "",
          "source": "default"
        },
        "retry_rate": {
          "value": 1000,
          "source": "default"
        },
        "same_id": {
          "value": "keep",
          "source": "default"
        },
        "observe_only": {
          "value": false,
          "source": "default"
        }
      },
      "counts": {
        "outstanding": 12,
        "retrying": 1,
        "waiting": 0,
        "overdue": 0,
        "parked": 0
      },
      "oldest_age_ms": 41250,
      "frozen": null,
      "frozen_reasons": [],
      "ack_latency_ms": {
        "p50": 4,
        "p90": 1024,
        "p99": 1024
      },
      "retries_per_second": 0.5,
      "recovering": null,
      "partitions": [
        {
          "partition": 3,
          "outstanding": 13,
          "source_applied": 2002,
          "low_water_mark": 1042,
          "low_water_mark_age_ms": 41250,
          "paused": false
        }
      ],
      "partitions_elsewhere": []
    }
    "#);
}

#[tokio::test]
async fn a_patch_is_handed_over_and_answered_with_the_topic() {
    let api = Api::usual();
    let path = "/api/v1/topics/orders";
    let answer = api
        .call(
            "PATCH",
            path,
            r#"{"timeout": "45s", "dead_letter": "{topic}-dead"}"#,
        )
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["policy"]["timeout"]["source"], "runtime");
    let pending = format!("{path}?apply=pending");
    api.call("PATCH", &pending, r#"{"max_attempts": 3}"#).await;
    assert_snapshot!(api.asked(), @r#"
    PatchPolicy 0 {"timeout":"45s","dead_letter":"orders-dead"} pending=false
    Topics
    PatchPolicy 0 {"max_attempts":3} pending=true
    Topics
    "#);
}

#[tokio::test]
async fn a_merge_patch_media_type_is_json_too() {
    let api = Api::usual();
    let headers = [(
        "content-type",
        "application/merge-patch+json; charset=utf-8",
    )];
    let answer = api
        .send(
            "PATCH",
            "/api/v1/topics/orders",
            &headers,
            r#"{"timeout": "45s"}"#,
        )
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn null_does_not_mean_back_to_the_file() {
    let api = Api::usual();
    let answer = api
        .call(
            "PATCH",
            "/api/v1/topics/orders",
            r#"{"timeout": null, "nonsense": 1}"#,
        )
        .await;
    assert_snapshot!(answer.show(), @r#"
    422 Unprocessable Entity
    {
      "type": "urn:ackwarden:problem:bad-policy",
      "title": "The policy cannot be changed like that",
      "status": 422,
      "detail": "timeout: is null: give a value, or DELETE the topic's overrides to go back to the file; nonsense: is unknown; there is on_lost_range, timeout, backoff, timeout_max, jitter, max_attempts, nack_delay, delay_max, dead_letter, retry_rate",
      "code": "bad-policy",
      "request_id": "test",
      "errors": [
        {
          "field": "timeout",
          "detail": "is null: give a value, or DELETE the topic's overrides to go back to the file"
        },
        {
          "field": "nonsense",
          "detail": "is unknown; there is on_lost_range, timeout, backoff, timeout_max, jitter, max_attempts, nack_delay, delay_max, dead_letter, retry_rate"
        }
      ]
    }
    "#);
    assert_eq!(api.asked(), "");
}

#[tokio::test]
async fn a_patch_that_says_nothing_is_refused() {
    let api = Api::usual();
    for body in ["", "{}"] {
        let answer = api.call("PATCH", "/api/v1/topics/orders", body).await;
        assert_eq!(answer.problem(), "422 bad-policy");
    }
    let answer = api
        .call(
            "PATCH",
            "/api/v1/topics/orders?apply=all",
            r#"{"timeout": "1s"}"#,
        )
        .await;
    assert_eq!(answer.problem(), "400 bad-parameter");
    assert_eq!(api.asked(), "");
}

#[tokio::test]
async fn reset_pause_and_resume_are_handed_over() {
    let api = Api::usual();
    assert_eq!(
        api.call("DELETE", "/api/v1/topics/orders/overrides", "")
            .await
            .status,
        200
    );
    assert_eq!(
        api.call("POST", "/api/v1/topics/orders/pause", "")
            .await
            .status,
        200
    );
    assert_eq!(
        api.call("POST", "/api/v1/topics/payments/resume", "{}")
            .await
            .status,
        200
    );
    assert_snapshot!(api.asked(), @r#"
    ResetPolicy 0
    Topics
    Pause 0 true
    Topics
    Pause 1 false
    Topics
    "#);
    let answer = api
        .call("POST", "/api/v1/topics/orders/pause", r#"{"for": "1h"}"#)
        .await;
    assert_eq!(answer.problem(), "422 bad-field");
}

#[tokio::test]
async fn every_refusal_of_a_change_has_its_code() {
    let cases = [
        (
            Refusal::BadPolicy(vec![(
                "timeout".into(),
                "is longer than timeout_max".into(),
            )]),
            "422 bad-policy",
        ),
        (Refusal::Kafka("not authorized".into()), "502 kafka"),
        (
            Refusal::UnknownOutcome("timed out".into()),
            "504 unknown-outcome",
        ),
    ];
    for (refusal, problem) in cases {
        let api = Api::answering(move |request| match request {
            ApiRequest::PatchPolicy { reply, .. } => drop(reply.send(Err(refusal.clone()))),
            other => answer(other),
        });
        let answer = api
            .call("PATCH", "/api/v1/topics/orders", r#"{"timeout": "1h"}"#)
            .await;
        assert_eq!(answer.problem(), problem);
    }
}

#[tokio::test]
async fn a_durable_change_stays_a_success_when_the_topic_cannot_be_shown() {
    let api = Api::answering(|request| match request {
        ApiRequest::Topics { reply } => drop(reply),
        other => answer(other),
    });
    let answer = api.call("POST", "/api/v1/topics/orders/pause", "").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
}
