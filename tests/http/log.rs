//! The log: one line a call, with its id, and never an id, key, payload or query of the users.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use crate::fake::Api;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn each_call_is_one_line_without_anything_of_the_users() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(lines.clone())
        .finish();
    // For all tests of this binary: with one for a thread alone, others would decide what it may see.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let silent = Api::silent();
    let usual = Api::usual();
    let id = ("x-request-id", "of-the-log-test");
    let json = [id, ("content-type", "application/json")];
    for path in [
        "/api/v1/messages?id=SECRET",
        "/api/v1/messages?id=SECRET&SECRET=1&limit=SECRET",
        "/api/v1/messages/SECRET/3/1042",
        "/SECRET",
    ] {
        usual.send("GET", path, &[id], "").await;
    }
    let act = "/api/v1/messages/orders/3/1042/ack";
    for body in [r#"{"reason": "SECRET"}"#, r#"{"SECRET": "SECRET"}"#] {
        usual.send("POST", act, &json, body).await;
    }
    silent.send("GET", "/api/v1/topics", &[id], "").await;
    let pause = "/api/v1/topics/orders/pause";
    usual.send("POST", pause, &[id], "").await;

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("SECRET"), "{log}");
    let calls: Vec<&str> = log
        .lines()
        .filter(|l| l.contains("request_id=\"of-the-log-test\""))
        .collect();
    assert_eq!(calls.len(), 8, "{log}");
    assert!(
        calls[0].contains("DEBUG") && calls[0].contains("route=\"/api/v1/messages\""),
        "{log}"
    );
    assert!(
        calls[1].contains("INFO") && calls[1].contains("code=\"bad-parameter\""),
        "{log}"
    );
    for part in [
        "INFO",
        "verb=\"ack\"",
        "topic=\"orders\"",
        "position=\"orders/3/1042\"",
        "actor=\"anonymous\"",
    ] {
        assert!(calls[4].contains(part), "{part}: {log}");
    }
    assert!(calls[5].contains("bad-field"), "{log}");
    assert!(
        calls[6].contains("WARN") && calls[6].contains("code=\"no-answer\""),
        "{log}"
    );
    assert!(
        calls[7].contains("INFO") && calls[7].contains("verb=\"pause\""),
        "{log}"
    );
    assert!(!calls[7].contains("actor"), "{log}");
}
