//! Decisions on one message.

use ackwarden::core::types::LogPosition;
use ackwarden::core::view::{OperatorReply, Progress, State};
use ackwarden::ports::{ApiRequest, Stats};
use insta::assert_snapshot;

use crate::fake::{Answer, Api, answer};
use crate::samples::stats;

const MESSAGE: &str = "/api/v1/messages/orders/3/1042";

#[tokio::test]
async fn each_verb_reaches_the_coordinator_with_actor_reason_and_delay() {
    let api = Api::usual();
    for verb in ["ack", "nack", "retry", "dead-letter", "extend"] {
        let answer = api.call("POST", &format!("{MESSAGE}/{verb}"), "").await;
        assert_eq!(answer.status, 200, "{verb}");
    }
    for verb in ["nack", "extend"] {
        let body = r#"{"delay": "1m 30s", "actor": "eve", "reason": "no stock"}"#;
        let answer = api.call("POST", &format!("{MESSAGE}/{verb}"), body).await;
        assert_eq!(answer.status, 200, "{verb}");
    }
    assert_snapshot!(api.asked(), @r#"
    Act 0 3/1042 Ack "anonymous" None
    Act 0 3/1042 Nack { delay_ms: None } "anonymous" None
    Act 0 3/1042 Retry "anonymous" None
    Act 0 3/1042 DeadLetter "anonymous" None
    Act 0 3/1042 Extend { delay_ms: None } "anonymous" None
    Act 0 3/1042 Nack { delay_ms: Some(90000) } "eve" Some("no stock")
    Act 0 3/1042 Extend { delay_ms: Some(90000) } "eve" Some("no stock")
    "#);
}

async fn told(reply: OperatorReply) -> Answer {
    let api = Api::answering(move |request| match request {
        ApiRequest::Act { reply: tell, .. } => drop(tell.send(reply.clone())),
        ApiRequest::Stats { reply } => drop(reply.send(Stats {
            ready: false,
            recovering: Some(Progress {
                done: 40,
                total: 100,
            }),
            ..stats()
        })),
        other => answer(other),
    });
    api.call("POST", &format!("{MESSAGE}/retry"), "").await
}

#[tokio::test]
async fn a_durable_decision_names_its_record() {
    let answer = told(OperatorReply::Durable(LogPosition::new(2, 881))).await;
    assert_snapshot!(answer.show(), @r#"
    200 OK
    {
      "position": "orders/3/1042",
      "decision": "orders-acks/2/881"
    }
    "#);
}

#[tokio::test]
async fn what_already_holds_is_200_again() {
    let answer = told(OperatorReply::AlreadyHolds(State::OperatorAcked)).await;
    assert_snapshot!(answer.show(), @r#"
    200 OK
    {
      "position": "orders/3/1042",
      "decision": null,
      "state": "operator-acked"
    }
    "#);
}

#[tokio::test]
async fn a_state_that_does_not_allow_it_is_a_conflict_that_names_the_state() {
    let answer = told(OperatorReply::NotAllowed {
        state: State::Dead,
        detail: "a dead letter can be redriven, not retried",
    })
    .await;
    assert_snapshot!(answer.show(), @r#"
    409 Conflict
    {
      "type": "urn:ackwarden:problem:not-allowed",
      "title": "The message's state does not allow it",
      "status": 409,
      "detail": "the message is dead: a dead letter can be redriven, not retried",
      "code": "not-allowed",
      "request_id": "test",
      "state": "dead"
    }
    "#);
}

#[tokio::test]
async fn every_other_reply_has_its_code() {
    let cases = [
        (
            OperatorReply::NotFound("settled long ago"),
            "404 unknown-message",
        ),
        (
            OperatorReply::UnknownOutcome("timed out".into()),
            "504 unknown-outcome",
        ),
        (OperatorReply::Refused("not authorized".into()), "502 kafka"),
        (OperatorReply::Recovering, "503 recovering"),
        (
            OperatorReply::ReadOnly("observe_only is on"),
            "409 read-only",
        ),
    ];
    for (reply, problem) in cases {
        assert_eq!(told(reply).await.problem(), problem);
    }
}

#[tokio::test]
async fn a_refusal_while_recovering_says_how_far_it_is_and_when_to_come_back() {
    let answer = told(OperatorReply::Recovering).await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json()["progress"]["done"], 40);
    assert_eq!(answer.json()["progress"]["total"], 100);
}

#[tokio::test]
async fn silence_after_a_change_was_handed_over_is_an_unknown_outcome() {
    let late = Api::silent();
    let answer = late.call("POST", &format!("{MESSAGE}/ack"), "").await;
    assert_eq!(answer.problem(), "504 unknown-outcome");
    let dropped = Api::answering(drop);
    let answer = dropped.call("POST", &format!("{MESSAGE}/ack"), "").await;
    assert_eq!(answer.problem(), "504 unknown-outcome");
}

#[tokio::test]
async fn a_change_that_was_never_handed_over_was_not_done() {
    let (stuck, inbox) = Api::stuck();
    let answer = stuck.call("POST", &format!("{MESSAGE}/ack"), "").await;
    assert_eq!(answer.problem(), "504 no-answer");
    drop(inbox);
    let answer = stuck.call("POST", &format!("{MESSAGE}/ack"), "").await;
    assert_eq!(answer.problem(), "503 stopping");
}

#[tokio::test]
async fn every_wrong_field_is_told_and_nothing_is_done() {
    let api = Api::usual();
    let body = r#"{"delay": "soon", "actor": "", "reason": 5, "force": true}"#;
    let answer = api.call("POST", &format!("{MESSAGE}/nack"), body).await;
    assert_snapshot!(answer.show(), @r#"
    422 Unprocessable Entity
    {
      "type": "urn:ackwarden:problem:bad-field",
      "title": "A field of the body is wrong",
      "status": 422,
      "detail": "actor: must have 1 to 128 bytes, and no control characters; reason: must be a string; delay: is no duration; write a number and a unit, such as \"30s\", \"1m 30s\" or \"500ms\"; force: no such field; allowed are reason, actor, delay",
      "code": "bad-field",
      "request_id": "test",
      "errors": [
        {
          "field": "actor",
          "detail": "must have 1 to 128 bytes, and no control characters"
        },
        {
          "field": "reason",
          "detail": "must be a string"
        },
        {
          "field": "delay",
          "detail": "is no duration; write a number and a unit, such as \"30s\", \"1m 30s\" or \"500ms\""
        },
        {
          "field": "force",
          "detail": "no such field; allowed are reason, actor, delay"
        }
      ]
    }
    "#);
    assert_eq!(api.asked(), "");
}

#[tokio::test]
async fn fields_are_bounded() {
    let api = Api::usual();
    let long = "x".repeat(1025);
    for (verb, body) in [
        ("ack", r#"{"delay": "1s"}"#.to_owned()),
        ("extend", r#"{"delay": "0s"}"#.to_owned()),
        ("nack", r#"{"delay": "2years"}"#.to_owned()),
        ("ack", format!(r#"{{"reason": "{long}"}}"#)),
        ("ack", format!(r#"{{"actor": "{}"}}"#, &long[..129])),
        ("ack", r#"{"actor": "a\u001b[31m"}"#.to_owned()),
    ] {
        let answer = api.call("POST", &format!("{MESSAGE}/{verb}"), &body).await;
        assert_eq!(answer.problem(), "422 bad-field", "{verb} {body}");
    }
    let answer = api
        .call(
            "POST",
            &format!("{MESSAGE}/nack"),
            r#"{"delay": "0s", "reason": null}"#,
        )
        .await;
    assert_eq!(answer.status, 200);
}
