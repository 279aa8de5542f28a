//! `GET /messages` and what belongs to one message.

use ackwarden::core::effect::DeadLetterCause;
use ackwarden::core::types::{LogPosition, TopicIx};
use ackwarden::core::view::{
    Cursor, Lookup, MessageDetail, MessagePage, MessageView, ShownCause, State,
};
use ackwarden::ports::ApiRequest;
use insta::assert_snapshot;

use crate::fake::{Api, answer};
use crate::samples::{THEN_MS, detail, retrying};

#[tokio::test]
async fn a_page_has_the_contracts_shape() {
    let api = Api::usual();
    assert_snapshot!(api.get("/api/v1/messages").await.show(), @r#"
    200 OK
    {
      "messages": [
        {
          "position": "orders/3/1042",
          "id": "A-7",
          "topic": "orders",
          "partition": 3,
          "offset": 1042,
          "state": "retrying",
          "attempt": 2,
          "max_attempts": 5,
          "seen_at": "2023-11-14T22:13:20.000Z",
          "deadline": "2023-11-14T22:14:21.250Z",
          "age_ms": 41250,
          "newest_delivery": "orders/3/2001",
          "cause": "timeout",
          "reason": null,
          "size_bytes": 214
        },
        {
          "position": "payments/0/7",
          "id": "payments/0/7",
          "topic": "payments",
          "partition": 0,
          "offset": 7,
          "state": "outstanding",
          "attempt": 1,
          "max_attempts": 0,
          "seen_at": "2023-11-14T22:13:20.000Z",
          "deadline": null,
          "age_ms": 41250,
          "newest_delivery": "payments/0/7",
          "cause": null,
          "reason": null,
          "size_bytes": 214
        }
      ],
      "next_cursor": null,
      "partial": false
    }
    "#);
    assert_snapshot!(api.asked(), @r#"Messages MessageFilter { topic: None, states: [], id: None, min_attempt: 0, older_than_ms: None, due_within_ms: None, newest_first: false, limit: 50, cursor: None }"#);
}

#[tokio::test]
async fn every_filter_reaches_the_coordinator() {
    let api = Api::usual();
    let answer = api
        .get("/api/v1/messages?topic=payments&state=parked,outstanding,parked&id=A%207&min_attempt=2&older_than=1m%2030s&due_within=500ms&order=newest&limit=500")
        .await;
    assert_eq!(answer.status, 200);
    assert_snapshot!(api.asked(), @r#"Messages MessageFilter { topic: Some(TopicIx(1)), states: [Outstanding, Parked], id: Some("A 7"), min_attempt: 2, older_than_ms: Some(90000), due_within_ms: Some(500), newest_first: true, limit: 500, cursor: None }"#);
}

fn paging() -> Api {
    Api::answering(|request| match request {
        ApiRequest::Messages { filter, reply } => {
            let next = filter.cursor.is_none().then_some(Cursor {
                seen_wall_ms: THEN_MS,
                topic: TopicIx(1),
                partition: 2,
                origin: 99,
                shelf: 0,
            });
            let page = MessagePage {
                messages: vec![],
                next,
                partial: false,
            };
            drop(reply.send(Ok(page)));
        }
        other => answer(other),
    })
}

#[tokio::test]
async fn a_cursor_leads_to_the_next_page_and_the_last_page_has_none() {
    let api = paging();
    let first = api
        .get("/api/v1/messages?state=parked&limit=1")
        .await
        .json();
    let cursor = first["next_cursor"].as_str().unwrap();
    // The limit may change between pages, and the states may be written in another way.
    let next = api
        .get(&format!(
            "/api/v1/messages?state=parked,parked&limit=2&cursor={cursor}"
        ))
        .await;
    assert_eq!(next.json()["next_cursor"], serde_json::Value::Null);
    assert!(
        api.asked().ends_with(
            "cursor: Some(Cursor { seen_wall_ms: 1700000000000, topic: TopicIx(1), partition: 2, origin: 99, shelf: 0 }) }"
        ),
        "{}",
        api.asked()
    );
}

#[tokio::test]
async fn a_cursor_with_another_filter_is_refused() {
    let api = paging();
    let first = api.get("/api/v1/messages?state=parked").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    for query in [
        "",
        "state=dead&",
        "state=parked&topic=orders&",
        "state=parked&order=newest&",
    ] {
        let answer = api
            .get(&format!("/api/v1/messages?{query}cursor={cursor}"))
            .await;
        assert_eq!(answer.problem(), "400 bad-parameter", "{query}");
        assert_eq!(answer.json()["errors"][0]["field"], "cursor");
    }
}

#[tokio::test]
async fn one_message_brings_its_attempts() {
    let api = Api::usual();
    let answer = api.get("/api/v1/messages/orders/3/1042").await;
    assert_snapshot!(answer.show(), @r#"
    200 OK
    {
      "position": "orders/3/1042",
      "id": "A-7",
      "topic": "orders",
      "partition": 3,
      "offset": 1042,
      "state": "retrying",
      "attempt": 2,
      "max_attempts": 5,
      "seen_at": "2023-11-14T22:13:20.000Z",
      "deadline": "2023-11-14T22:14:21.250Z",
      "age_ms": 41250,
      "newest_delivery": "orders/3/2001",
      "cause": "nack orders-acks/2/881",
      "reason": "no stock",
      "size_bytes": 214,
      "attempts": [
        {
          "attempt": 1,
          "position": "orders/3/1042",
          "at": "2023-11-14T22:13:20.000Z",
          "cause": null,
          "outcome": "nacked"
        },
        {
          "attempt": 2,
          "position": "orders/3/2001",
          "at": "2023-11-14T22:13:40.000Z",
          "cause": "nack orders-acks/2/881",
          "outcome": "under-way"
        }
      ]
    }
    "#);
    assert_eq!(api.asked(), "Message 0 3/1042");
}

#[tokio::test]
async fn a_dead_message_says_why_and_when_and_whether_an_ack_came_late() {
    let api = Api::answering(|request| match request {
        ApiRequest::Message { reply, .. } => {
            let detail = MessageDetail {
                message: MessageView {
                    state: State::Dead,
                    deadline_wall_ms: None,
                    cause: Some(ShownCause::DeadLetter(DeadLetterCause::AttemptsExhausted)),
                    late_ack: true,
                    settled_wall_ms: Some(THEN_MS + 90_000),
                    ..retrying()
                },
                attempts: vec![],
            };
            drop(reply.send(Ok(Lookup::Found(Box::new(detail)))));
        }
        other => answer(other),
    });
    let shown = api.get("/api/v1/messages/orders/3/1042").await.json();
    assert_eq!(shown["state"], "dead");
    assert_eq!(shown["cause"], "attempts-exhausted");
    assert_eq!(shown["settled_at"], "2023-11-14T22:14:50.000Z");
    assert_eq!(shown["late_ack"], true);
    assert_eq!(shown["deadline"], serde_json::Value::Null);
}

#[tokio::test]
async fn what_is_not_kept_has_position_and_state_alone() {
    for (lookup, shown) in [
        (
            Lookup::Settled,
            r#"{"position":"orders/3/1","state":"settled"}"#,
        ),
        (
            Lookup::Untracked,
            r#"{"position":"orders/3/1","state":"untracked"}"#,
        ),
    ] {
        let api = Api::answering(move |request| match request {
            ApiRequest::Message { reply, .. } => drop(reply.send(Ok(lookup.clone()))),
            other => answer(other),
        });
        let answer = api.get("/api/v1/messages/orders/3/1").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, shown));
    }
}

#[tokio::test]
async fn an_id_that_is_a_position_is_looked_up_and_the_other_filters_still_hold() {
    let api = Api::usual();
    let hits = async |query: &str| {
        let answer = api
            .get(&format!("/api/v1/messages?id=orders/3/1042{query}"))
            .await;
        answer.json()["messages"].as_array().unwrap().len()
    };
    assert_eq!(hits("").await, 1);
    assert_eq!(api.asked(), "Message 0 3/1042");
    assert_eq!(
        hits("&topic=orders&state=retrying&min_attempt=2&older_than=41250ms").await,
        1
    );
    assert_eq!(hits("&due_within=1s").await, 1);
    assert_eq!(hits("&topic=payments").await, 0);
    assert_eq!(hits("&state=parked").await, 0);
    assert_eq!(hits("&min_attempt=3").await, 0);
    assert_eq!(hits("&older_than=41251ms").await, 0);
}

#[tokio::test]
async fn an_id_that_only_looks_like_a_position_is_an_id() {
    let api = Api::usual();
    api.get("/api/v1/messages?id=invoices/3/1042").await;
    assert!(api.asked().starts_with("Messages"), "{}", api.asked());
}

#[tokio::test]
async fn a_settled_message_is_not_listed_by_its_position_unless_its_state_is_asked_for() {
    let api = Api::answering(|request| match request {
        ApiRequest::Message { reply, .. } => {
            let mut detail = detail();
            detail.message.state = State::Acked;
            drop(reply.send(Ok(Lookup::Found(Box::new(detail)))));
        }
        other => answer(other),
    });
    let unsettled = api.get("/api/v1/messages?id=orders/3/1042").await.json();
    assert_eq!(unsettled["messages"].as_array().unwrap().len(), 0);
    let acked = api
        .get("/api/v1/messages?id=orders/3/1042&state=acked")
        .await
        .json();
    assert_eq!(acked["messages"][0]["state"], "acked");
}

#[tokio::test]
async fn a_payload_is_shown_byte_for_byte() {
    let api = Api::usual();
    let answer = api.get("/api/v1/messages/orders/3/1042/payload").await;
    assert_snapshot!(answer.text, @r#"{"key":null,"value":{"encoding":"utf8","data":"{\"n\":1}"},"headers":[{"name":"trace","value":{"encoding":"base64","data":"//4="}},{"name":"trace","value":null}]}"#);
    let at = LogPosition::new(3, 1042);
    assert_eq!(api.asked(), format!("Message 0 {at}\nPayload 0 {at}"));
}

#[tokio::test]
async fn of_a_partition_that_is_elsewhere_or_being_rebuilt_nothing_is_said_that_only_its_owner_knows()
 {
    for (lookup, status, code, listed) in [
        (Lookup::Elsewhere, 404, "other-instance", Some(true)),
        (Lookup::Rebuilding, 503, "recovering", None),
        (
            Lookup::NoSuchPartition,
            404,
            "unknown-partition",
            Some(false),
        ),
    ] {
        let told = lookup.clone();
        let api = Api::answering(move |request| match request {
            ApiRequest::Message { reply, .. } => drop(reply.send(Ok(told.clone()))),
            other => answer(other),
        });
        for path in ["", "/payload"] {
            let answer = api
                .get(&format!("/api/v1/messages/orders/3/1042{path}"))
                .await;
            assert_eq!(answer.status, status, "{lookup:?} {path}");
            assert_eq!(answer.json()["code"], code);
        }
        let list = api.get("/api/v1/messages?id=orders/3/1042").await;
        match listed {
            None => assert_eq!(list.json()["code"], "recovering"),
            Some(partial) => assert_eq!(list.json()["partial"], partial, "{lookup:?}"),
        }
    }
}
