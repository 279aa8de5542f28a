//! Who may call, and what every answer carries.

use insta::assert_snapshot;

use crate::fake::Api;

#[tokio::test]
async fn every_answer_has_safe_headers_and_a_request_id() {
    let api = Api::usual();
    for path in ["/livez", "/metrics", "/api/v1/topics", "/nothing"] {
        let answer = api.get(path).await;
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-request-id"), Some("test"), "{path}");
        assert!(answer.header("content-security-policy").is_some(), "{path}");
    }
}

#[tokio::test]
async fn an_insane_request_id_is_replaced_by_one_of_ours() {
    let api = Api::usual();
    let long = "x".repeat(65);
    for theirs in ["", "a b", "<script>", &long] {
        let answer = api
            .send("GET", "/nothing", &[("x-request-id", theirs)], "")
            .await;
        let ours = answer.header("x-request-id").unwrap();
        assert_ne!(ours, theirs);
        assert_eq!(ours.len(), 16);
        assert_eq!(answer.json()["request_id"], ours);
    }
    let first = api.send("GET", "/livez", &[("x-request-id", "")], "").await;
    let second = api.send("GET", "/livez", &[("x-request-id", "")], "").await;
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn another_host_is_refused_on_every_route() {
    let api = Api::usual();
    for path in ["/livez", "/metrics", "/api/v1/topics", "/nothing"] {
        let answer = api
            .send("GET", path, &[("host", "evil.example:8080")], "")
            .await;
        assert_eq!(answer.problem(), "403 host-not-allowed", "{path}");
    }
    let answer = api
        .send("GET", "/livez", &[("host", "evil.example")], "")
        .await;
    assert_snapshot!(answer.json()["detail"], @r#""the Host header must be one of localhost, 127.0.0.1, [::1], with any port""#);
    for host in ["localhost:18080", "[::1]:8080", "127.0.0.1"] {
        let answer = api.send("GET", "/livez", &[("host", host)], "").await;
        assert_eq!(answer.status, 200, "{host}");
    }
    assert_eq!(api.asked(), "");
}

#[tokio::test]
async fn a_request_line_that_names_another_host_is_refused_whatever_the_header_says() {
    let api = Api::usual();
    let answer = api.get("http://evil.example/livez").await;
    assert_eq!(answer.problem(), "403 host-not-allowed");
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let api = Api::usual();
    for (method, path) in [
        ("POST", "/api/v1/messages/orders/3/1042/ack"),
        ("PATCH", "/api/v1/topics/orders"),
        ("DELETE", "/api/v1/topics/orders/overrides"),
        ("POST", "/api/v1/topics/orders/pause"),
    ] {
        for header in [
            ("origin", "http://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let answer = api.send(method, path, &[header], "").await;
            assert_eq!(
                answer.problem(),
                "403 origin-not-allowed",
                "{method} {path}"
            );
        }
    }
    assert_eq!(api.asked(), "");
    let own = [
        ("origin", "http://127.0.0.1:8080"),
        ("sec-fetch-site", "same-origin"),
    ];
    let answer = api
        .send("POST", "/api/v1/messages/orders/3/1042/ack", &own, "")
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn past_the_bound_a_call_is_told_to_come_back_and_probes_still_answer() {
    let mut kept = Vec::new();
    let api = Api::answering(move |request| match request {
        ackwarden::ports::ApiRequest::Topics { .. } => kept.push(request),
        other => crate::fake::answer(other),
    });
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let router = api.router.clone();
        let asked = std::sync::Arc::clone(&api.asked);
        let call = async move {
            let api = Api { router, asked };
            api.get("/api/v1/topics").await
        };
        waiting.push(tokio::spawn(call));
    }
    while api.asked.lock().unwrap().len() < 64 {
        tokio::task::yield_now().await;
    }
    let answer = api.get("/api/v1/version").await;
    assert_eq!(answer.problem(), "503 busy");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(api.get("/livez").await.status, 200);
    assert_eq!(api.get("/readyz").await.status, 200);

    // Whoever hangs up gives the place back.
    for call in waiting {
        call.abort();
        let _ = call.await;
    }
    assert_eq!(api.get("/api/v1/version").await.status, 200);
}
