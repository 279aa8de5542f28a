//! What is refused, and how: one stable code for each, an id in each, nothing ignored in silence.

use ackwarden::core::view::{Lookup, Progress};
use ackwarden::http::Code;
use ackwarden::ports::{ApiRequest, Refusal, Stats};
use insta::assert_snapshot;

use crate::fake::{Api, answer};

#[tokio::test]
async fn a_problem_has_the_shape_of_rfc_9457() {
    let api = Api::usual();
    let answer = api
        .get("/api/v1/messages?limit=501&stat=dead&order=up&min_attempt=0")
        .await;
    assert_snapshot!(answer.show(), @r#"
    400 Bad Request
    {
      "type": "urn:ackwarden:problem:bad-parameter",
      "title": "A query parameter is wrong",
      "status": 400,
      "detail": "stat: no such parameter; allowed are topic, state, id, min_attempt, older_than, due_within, order, limit, cursor; min_attempt: must be a number from 1 to 4294967295; order: must be oldest or newest; limit: must be a number from 1 to 500",
      "code": "bad-parameter",
      "request_id": "test",
      "errors": [
        {
          "field": "stat",
          "detail": "no such parameter; allowed are topic, state, id, min_attempt, older_than, due_within, order, limit, cursor"
        },
        {
          "field": "min_attempt",
          "detail": "must be a number from 1 to 4294967295"
        },
        {
          "field": "order",
          "detail": "must be oldest or newest"
        },
        {
          "field": "limit",
          "detail": "must be a number from 1 to 500"
        }
      ]
    }
    "#);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(api.asked(), "");
}

#[tokio::test]
async fn wrong_parameters_are_told_by_name() {
    let api = Api::usual();
    for query in [
        "limit=0",
        "limit=501",
        "limit=ten",
        "limit=1&limit=2",
        "state=",
        "state=settled",
        "state=dead,,parked",
        "id=",
        "older_than=5",
        "due_within=99999999999999999999s",
        "due_within=290000000years",
        "older_than=36601days",
        "cursor=nonsense",
        "unknown=1",
        "Topic=orders",
        "min_attempt=-1",
    ] {
        let answer = api.get(&format!("/api/v1/messages?{query}")).await;
        assert_eq!(answer.problem(), "400 bad-parameter", "{query}");
        let field = query.split('=').next().unwrap();
        assert_eq!(answer.json()["errors"][0]["field"], field, "{query}");
    }
    let long_id = format!("/api/v1/messages?id={}", "x".repeat(513));
    assert_eq!(api.get(&long_id).await.problem(), "400 bad-parameter");
    assert_eq!(
        api.get("/api/v1/messages?id=%FF").await.problem(),
        "400 bad-parameter"
    );
    for path in [
        "/api/v1/topics?x=1",
        "/api/v1/topics/orders?x=1",
        "/api/v1/messages/orders/3/1042?x=1",
        "/api/v1/messages/orders/3/1042/payload?x=1",
        "/api/v1/stats?x=1",
        "/api/v1/acks/unmatched?x=1",
        "/api/v1/config?x=1",
        "/api/v1/version?x=1",
        "/metrics?x=1",
    ] {
        assert_eq!(api.get(path).await.problem(), "400 bad-parameter", "{path}");
    }
    let act = "/api/v1/messages/orders/3/1042/ack?x=1";
    assert_eq!(
        api.call("POST", act, "").await.problem(),
        "400 bad-parameter"
    );
    assert_eq!(api.asked(), "");
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let api = Api::answering(|request| match request {
        ApiRequest::Message { reply, .. } => drop(reply.send(Ok(Lookup::NoSuchPartition))),
        other => answer(other),
    });
    for (path, problem) in [
        ("/api/v1/nothing", "404 unknown-route"),
        ("/nothing", "404 unknown-route"),
        ("/api/v1/messages/orders/3", "404 unknown-route"),
        ("/api/v1/messages/orders/3/1042/frob", "404 unknown-route"),
        ("/api/v1/topics/invoices", "404 unknown-topic"),
        ("/api/v1/topics/%FF", "404 unknown-topic"),
        ("/api/v1/messages?topic=invoices", "404 unknown-topic"),
        ("/api/v1/messages/invoices/3/1042", "404 unknown-topic"),
        ("/api/v1/messages/orders/99/1042", "404 unknown-partition"),
        ("/api/v1/messages/orders/x/1042", "400 bad-position"),
        ("/api/v1/messages/orders/-1/1042", "400 bad-position"),
        ("/api/v1/messages/orders/3/-2", "400 bad-position"),
        ("/api/v1/messages/orders/3/01", "400 bad-position"),
        ("/api/v1/messages/orders/2147483648/1", "400 bad-position"),
        (
            "/api/v1/messages/orders/3/9223372036854775808",
            "400 bad-position",
        ),
    ] {
        assert_eq!(api.get(path).await.problem(), problem, "{path}");
    }
}

#[tokio::test]
async fn who_looks_for_a_probe_by_another_name_is_told_the_name() {
    let api = Api::usual();
    for path in ["/healthz", "/health", "/ready", "/live"] {
        let answer = api.get(path).await;
        assert_eq!(answer.problem(), "404 unknown-route", "{path}");
        let detail = answer.json()["detail"].to_string();
        for name in ["/livez", "/readyz", "/metrics"] {
            assert!(detail.contains(name), "{detail}");
        }
    }
}

#[tokio::test]
async fn an_unknown_topic_among_other_mistakes_is_one_of_them() {
    let api = Api::usual();
    let answer = api.get("/api/v1/messages?topic=invoices&limit=0").await;
    assert_eq!(answer.problem(), "400 bad-parameter");
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_wrong_method_is_told_with_those_that_there_are() {
    let api = Api::usual();
    let answer = api.call("DELETE", "/api/v1/topics/orders", "").await;
    assert_eq!(answer.problem(), "405 wrong-method");
    assert_eq!(answer.header("allow"), Some("GET,HEAD,PATCH"));
    assert_eq!(
        api.get("/api/v1/messages/orders/3/1042/ack")
            .await
            .problem(),
        "405 wrong-method"
    );
    assert_eq!(
        api.call("POST", "/livez", "").await.problem(),
        "405 wrong-method"
    );
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json_objects() {
    let api = Api::usual();
    let path = "/api/v1/messages/orders/3/1042/ack";
    let json = [("content-type", "application/json")];
    let most = format!(r#"{{"reason": "{}"}}"#, "x".repeat(64 * 1024));
    for (headers, body, problem) in [
        (&json[..], "{", "400 bad-body"),
        (&json[..], "[]", "400 bad-body"),
        (&json[..], "{} {}", "400 bad-body"),
        (
            &json[..],
            r#"{"reason": "a", "reason": "b"}"#,
            "400 bad-body",
        ),
        (
            &json[..],
            r#"{"reason": "a", "re\u0061son": "a"}"#,
            "400 bad-body",
        ),
        (&json[..], &most, "413 body-too-large"),
        (&[], "{}", "415 not-json"),
        (&[("content-type", "text/plain")], "{}", "415 not-json"),
    ] {
        let answer = api.send("POST", path, headers, body.to_owned()).await;
        assert_eq!(answer.problem(), problem, "{}", &body[..body.len().min(10)]);
    }
    assert_eq!(api.asked(), "");
}

#[tokio::test]
async fn while_recovering_message_calls_say_how_far_it_is() {
    let progress = Progress { done: 7, total: 9 };
    let api = Api::answering(move |request| match request {
        ApiRequest::Messages { reply, .. } => {
            drop(reply.send(Err(Refusal::Recovering(progress))));
        }
        ApiRequest::Message { reply, .. } => drop(reply.send(Err(Refusal::Recovering(progress)))),
        other => answer(other),
    });
    let answer = api.get("/api/v1/messages").await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_snapshot!(answer.show(), @r#"
    503 Service Unavailable
    {
      "type": "urn:ackwarden:problem:recovering",
      "title": "State is being rebuilt from Kafka",
      "status": 503,
      "detail": "state is being rebuilt from Kafka (7 of 9 records read): ask again in a moment",
      "code": "recovering",
      "request_id": "test",
      "progress": {
        "done": 7,
        "total": 9
      }
    }
    "#);
    let answer = api.get("/api/v1/messages/orders/3/1042").await;
    assert_eq!(answer.problem(), "503 recovering");
}

#[tokio::test]
async fn without_a_coordinator_no_list_is_taken_for_empty() {
    let api = Api::answering(|request| match request {
        ApiRequest::Topics { reply } => drop(reply.send(Vec::new())),
        ApiRequest::Unmatched { reply, .. } => drop(reply.send((Vec::new(), false))),
        ApiRequest::Stats { reply } => drop(reply.send(Stats {
            recovering: Some(Progress::default()),
            max_outstanding: 7,
            ..Stats::default()
        })),
        other => answer(other),
    });
    for path in ["/topics", "/topics/orders", "/acks/unmatched"] {
        let answer = api.get(&format!("/api/v1{path}")).await;
        assert_eq!(answer.problem(), "503 recovering", "{path}");
        assert_eq!(answer.json()["progress"]["total"], 0, "{path}");
    }
    let stats = api.get("/api/v1/stats").await.json();
    assert_eq!(
        (&stats["ready"], &stats["max_outstanding"]),
        (&false.into(), &7.into())
    );
    assert_eq!(api.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_payload_that_kafka_has_not_got_is_gone_and_one_that_it_does_not_give_is_kafkas() {
    for (refusal, problem) in [
        (
            Refusal::PayloadGone("the log begins at 2000".into()),
            "410 payload-gone",
        ),
        (Refusal::Kafka("timed out".into()), "502 kafka"),
    ] {
        let api = Api::answering(move |request| match request {
            ApiRequest::Payload { reply, .. } => drop(reply.send(Err(refusal.clone()))),
            other => answer(other),
        });
        let answer = api.get("/api/v1/messages/orders/3/1042/payload").await;
        assert_eq!(answer.problem(), problem);
    }
}

#[tokio::test]
async fn a_coordinator_that_is_silent_or_gone_is_told_apart() {
    let silent = Api::silent();
    assert_eq!(
        silent.get("/api/v1/topics").await.problem(),
        "504 no-answer"
    );
    let gone = Api::answering(drop);
    assert_eq!(gone.get("/api/v1/topics").await.problem(), "503 stopping");
}

#[tokio::test]
async fn what_is_promised_and_not_built_is_501_and_says_what_to_do_instead() {
    let api = Api::usual();
    for (method, path) in [
        ("POST", "/api/v1/messages/bulk"),
        ("GET", "/api/v1/jobs"),
        ("DELETE", "/api/v1/jobs/7"),
        ("GET", "/api/v1/topics/orders/dead-letters"),
        ("POST", "/api/v1/topics/orders/dead-letters/redrive"),
        ("POST", "/api/v1/topics/orders/breaker/reset"),
        ("GET", "/api/v1/topics/orders/advice"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/events"),
        ("GET", "/openapi.json"),
        ("GET", "/"),
    ] {
        let answer = api.call(method, path, "").await;
        assert_eq!(answer.problem(), "501 not-built-yet", "{path}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.len() > 60, "{path}: {detail}");
    }
}

#[tokio::test]
async fn a_change_that_relies_on_a_promised_header_is_refused_and_not_done() {
    let api = Api::usual();
    for header in ["idempotency-key", "if-match"] {
        let answer = api
            .send(
                "POST",
                "/api/v1/messages/orders/3/1042/ack",
                &[(header, "x")],
                "",
            )
            .await;
        assert_eq!(answer.problem(), "501 not-built-yet", "{header}");
    }
    assert_eq!(api.asked(), "");
    let read = api
        .send("GET", "/api/v1/topics", &[("if-match", "x")], "")
        .await;
    assert_eq!(read.status, 200);
}

#[test]
fn the_docs_list_every_code_with_its_status_and_title() {
    let docs = include_str!("../../docs/api.md");
    for code in Code::ALL {
        let row = format!(
            "| `{}` | {} | {} ",
            code.as_str(),
            code.status().as_u16(),
            code.title()
        );
        assert!(docs.contains(&row), "missing in docs/api.md: {row}");
    }
    let errors = docs
        .split("\n## ")
        .find(|s| s.starts_with("Errors"))
        .unwrap();
    let rows = errors.lines().filter(|l| l.starts_with("| `"));
    assert_eq!(
        rows.count(),
        Code::ALL.len(),
        "docs/api.md lists a code that there is not"
    );
}
