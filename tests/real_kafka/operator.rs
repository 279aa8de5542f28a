//! What an operator does over HTTP, and that it is in Kafka before the answer is.

use serde_json::{Value, json};

use crate::require_kafka;
use crate::scene::{LONG_SESSION, Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::eventually;
use crate::support::produce::NewRecord;

#[test]
fn an_operators_ack_is_a_record_on_the_ack_topic_and_settles() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "op-ack", 2);
    let config = scene.config("timeout = \"10s\"\njitter = 0.0\n");
    let mut service = Ackwarden::start(config.section(LONG_SESSION));
    let origin = scene.send_one("by hand");
    service.wait_state(&origin, "outstanding", secs(60));
    let act = format!("/messages/{origin}/ack");
    let (status, body) = service.post(&act, &json!({"reason": "done by phone"}));
    assert_eq!(status, 200, "{body}");
    // Durable before the 200: it is there now, not eventually.
    let acks = scene.acks();
    assert_eq!(acks.len(), 1);
    assert_eq!(acks[0].header("ackwarden-verdict"), Some("operator-ack"));
    assert_eq!(acks[0].key_text(), Some(origin.as_str()));
    assert_eq!(acks[0].header("ackwarden-reason"), Some("done by phone"));
    service.wait_state(&origin, "operator-acked", secs(60));
    let (again, body) = service.post(&act, &json!({}));
    assert_eq!(again, 200, "what already holds is 200 again: {body}");
    service.kill9_and_start_again();
    // Past its deadline.
    let_pass(10.5);
    assert_eq!(
        scene.source().len(),
        1,
        "sent again after the operator's ACK"
    );
    assert_eq!(service.unsettled(&scene.topic), 0);
}

#[test]
fn an_operator_retries_and_dead_letters() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "op-retry", 1);
    let config = scene.config("timeout = \"10m\"\n");
    let service = Ackwarden::start(config.section(LONG_SESSION));
    let origin = scene.send_one("now, please");
    service.wait_state(&origin, "outstanding", secs(60));
    let (status, body) = service.post(&format!("/messages/{origin}/retry"), &json!({}));
    assert_eq!(status, 200, "{body}");
    let copy = scene.wait_copies(&origin, 1, secs(60)).remove(0);
    assert_eq!(copy.attempt(), Some(2));
    let cause = copy.header("ackwarden-cause").expect("a cause");
    assert!(cause.starts_with("operator"), "{cause}");
    // Any delivery's position finds it.
    service.wait_state(&copy.position(), "retrying", secs(60));
    let (status, body) = service.post(
        &format!("/messages/{}/dead-letter", copy.position()),
        &json!({"reason": "enough"}),
    );
    assert_eq!(status, 200, "{body}");
    let dead = scene.wait_dead_letters(1, secs(60)).remove(0);
    assert_eq!(dead.header("ackwarden-cause"), Some("operator"));
    assert_eq!(dead.attempt(), Some(2));
    service.wait_state(&origin, "dead", secs(60));
    let (status, problem) = service.post(&format!("/messages/{origin}/retry"), &json!({}));
    assert_eq!(status, 409, "{problem}");
    assert!(
        problem["code"].is_string() && problem["detail"].is_string(),
        "{problem}"
    );
}

#[test]
fn what_an_operator_decides_does_not_wait_behind_a_storm_of_retries() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "op-storm", 1);
    let config = scene.config("timeout = \"1s\"\nbackoff = 1.0\nretry_rate = 2\n");
    let service = Ackwarden::start(config.section(LONG_SESSION));
    let orders: Vec<NewRecord> = (0..400)
        .map(|n: u32| NewRecord::new(n.to_string()).partition(0))
        .collect();
    let places = scene.send(&orders);
    let position = |n: usize| places[n].position();
    // The first is sent again, and the last will be in three minutes.
    scene.wait_copies(&position(0), 1, secs(60));
    let act = |n: usize, what: &str| {
        let path = format!("/messages/{}/{what}", position(n));
        let (status, body) = service.post(&path, &json!({}));
        assert_eq!(status, 200, "{body}");
    };
    act(380, "dead-letter");
    act(390, "retry");
    let dead = scene.wait_dead_letters(1, secs(20)).remove(0);
    assert_eq!(
        dead.header("ackwarden-origin"),
        Some(position(380).as_str())
    );
    scene.wait_copies(&position(390), 1, secs(20));
    assert_eq!(scene.copies_of(&position(389)), []);
}

#[test]
fn a_payload_is_shown_as_it_stands_in_kafka() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "payload", 1);
    let service = Ackwarden::start(scene.config("timeout = \"10m\"\n"));
    let origin = scene.send_one("what it says");
    service.wait_state(&origin, "outstanding", secs(60));
    let payload = service.get(&format!("/messages/{origin}/payload"));
    assert_eq!(
        payload["value"],
        json!({"encoding": "utf8", "data": "what it says"})
    );
    assert_eq!(payload["key"], json!({"encoding": "utf8", "data": "k"}));
    assert_eq!(payload["headers"], json!([]));
}

#[test]
fn a_timeout_changed_over_http_takes_effect_and_survives_restart_and_store() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "policy", 1);
    let mut service = Ackwarden::start(scene.config("timeout = \"10m\"\njitter = 0.0\n"));
    let before = scene.send_one("under the file's timeout");
    service.wait_state(&before, "outstanding", secs(60));
    let path = format!("/topics/{}", scene.topic);
    assert_eq!(
        timeout(&service, &path),
        json!({"value": "10m", "source": "file"})
    );
    let (status, body) = service.patch(&path, &json!({"timeout": "2s"}));
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        timeout(&service, &path),
        json!({"value": "2s", "source": "runtime"})
    );
    let after = scene.send_one("under the new one");
    scene.wait_copies(&after, 1, secs(60));
    assert_eq!(
        scene.copies_of(&before),
        [],
        "what is outstanding is re-timed only when asked"
    );

    let (status, body) = service.patch(&path, &json!({"timeout": "soon"}));
    assert_eq!(status, 422, "{body}");
    assert!(body.to_string().contains("timeout"), "{body}");

    service.kill9_and_start_again();
    assert_eq!(
        timeout(&service, &path),
        json!({"value": "2s", "source": "runtime"})
    );
    service.terminate();
    service.delete_store();
    service.start_again();
    assert_eq!(
        timeout(&service, &path),
        json!({"value": "2s", "source": "runtime"})
    );
    let third = scene.send_one("after two restarts");
    scene.wait_copies(&third, 1, secs(60));

    let (status, body) = service.delete(&format!("{path}/overrides"));
    assert!((200..300).contains(&status), "{body}");
    assert_eq!(
        timeout(&service, &path),
        json!({"value": "10m", "source": "file"})
    );
}

#[test]
fn what_is_outstanding_is_re_timed_when_asked() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "pending", 1);
    let service = Ackwarden::start(scene.config("timeout = \"10m\"\njitter = 0.0\n"));
    let origin = scene.send_one("hurry up");
    service.wait_state(&origin, "outstanding", secs(60));
    let path = format!("/topics/{}?apply=pending", scene.topic);
    let (status, body) = service.patch(&path, &json!({"timeout": "1s"}));
    assert_eq!(status, 200, "{body}");
    scene.wait_copies(&origin, 1, secs(60));
}

#[test]
fn changes_at_the_same_time_all_hold_and_one_that_the_file_contradicts_later_does_not() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "changes", 1);
    let mut service = Ackwarden::start(scene.config("timeout = \"10m\"\n"));
    let path = format!("/topics/{}", scene.topic);
    let changes = [
        json!({"timeout_max": "15m"}),
        json!({"max_attempts": 9}),
        json!({"backoff": 3.0}),
        json!({"nack_delay": "5s"}),
    ];
    std::thread::scope(|scope| {
        for change in &changes {
            let (service, path) = (&service, &path);
            scope.spawn(move || {
                let (status, body) = service.patch(path, change);
                assert_eq!(status, 200, "{body}");
            });
        }
    });
    let shown = |service: &Ackwarden, key: &str| service.get(&path)["policy"][key].clone();
    let at_runtime = |value: Value| json!({"value": value, "source": "runtime"});
    let kept = [
        ("max_attempts", json!(9)),
        ("backoff", json!(3.0)),
        ("nack_delay", json!("5s")),
    ];
    for (key, value) in kept.iter().chain(&[("timeout_max", json!("15m"))]) {
        assert_eq!(shown(&service, key), at_runtime(value.clone()), "{key}");
    }
    service.terminate();
    let file = std::fs::read_to_string(service.config_path()).expect("the file");
    let changed = file.replace(
        "timeout = \"10m\"",
        "timeout = \"20m\"\ntimeout_max = \"30m\"",
    );
    assert_ne!(file, changed);
    std::fs::write(service.config_path(), changed).expect("the file");
    service.start_again();
    for (key, value) in &kept {
        assert_eq!(shown(&service, key), at_runtime(value.clone()), "{key}");
    }
    let of_file = json!({"value": "30m", "source": "file"});
    assert_eq!(shown(&service, "timeout_max"), of_file);
    let log = service.log();
    assert!(log.contains("does not go with the configuration"), "{log}");
}

#[test]
fn a_paused_topic_is_tracked_and_not_retried_until_it_is_resumed() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "paused", 1);
    let config = scene.config("timeout = \"1s\"\njitter = 0.0\n");
    let mut service = Ackwarden::start(config.section(LONG_SESSION));
    let topic = format!("/topics/{}", scene.topic);
    let (status, body) = service.post(&format!("{topic}/pause"), &json!({}));
    assert!((200..300).contains(&status), "{body}");
    let origin = scene.send_one("held");
    service.kill9_and_start_again();
    let_pass(3.0);
    assert_eq!(scene.copies_of(&origin), []);
    assert_eq!(service.unsettled(&scene.topic), 1);
    assert_eq!(service.get(&topic)["frozen"]["why"], "paused");
    let (status, body) = service.post(&format!("{topic}/resume"), &json!({}));
    assert!((200..300).contains(&status), "{body}");
    scene.wait_copies(&origin, 1, secs(60));
    eventually("nothing is said to be frozen", secs(60), || {
        service.get(&topic)["frozen"].is_null().then_some(())
    });
}

fn timeout(service: &Ackwarden, path: &str) -> Value {
    service.get(path)["policy"]["timeout"].clone()
}
