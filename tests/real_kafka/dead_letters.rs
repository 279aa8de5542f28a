//! The end of the road: after the last attempt, and where there is nothing to put a dead letter on.

use crate::require_kafka;
use crate::scene::{EVERY_SECOND, LONG_SESSION, Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::eventually;
use crate::support::judge;
use crate::support::topics::{self, TopicSpec};

#[test]
fn without_an_ack_it_is_delivered_to_the_limit_and_then_dead_lettered() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "limit", 1);
    let config = scene.config(&format!("{EVERY_SECOND}max_attempts = 4\n"));
    let service = Ackwarden::start(config.section(LONG_SESSION));
    let origin = scene.send_one("nobody answers");
    let dead = scene.wait_dead_letters(1, secs(60)).remove(0);
    let source = scene.source();
    let copies = scene.copies_of(&origin);
    assert_eq!(
        copies.iter().map(|c| c.attempt()).collect::<Vec<_>>(),
        [Some(2), Some(3), Some(4)]
    );
    judge::attempts_without_gaps(&source, std::slice::from_ref(&dead), 4, 1);
    judge::copies_identical(&source);
    judge::dead_letters_identical(&source, std::slice::from_ref(&dead));

    for copy in &copies {
        assert_eq!(copy.header("ackwarden-message-id"), Some(origin.as_str()));
        assert_eq!(copy.header("ackwarden-cause"), Some("timeout"));
        let original_ms = source[0].timestamp_ms.to_string();
        assert_eq!(
            copy.header("ackwarden-origin-timestamp"),
            Some(original_ms.as_str())
        );
        let group = copy.header("ackwarden-group").expect("a group");
        assert!(group.ends_with(&format!("/{}", scene.group())), "{group}");
    }
    let earlier = format!("{},{}", copies[0].position(), copies[1].position());
    assert_eq!(
        copies[2].header("ackwarden-deliveries"),
        Some(earlier.as_str())
    );
    assert_eq!(dead.header("ackwarden-cause"), Some("attempts-exhausted"));
    assert_eq!(dead.attempt(), Some(4), "the last delivery's");

    let message = service.wait_state(&origin, "dead", secs(60));
    assert_eq!(
        message["attempts"].as_array().map(Vec::len),
        Some(4),
        "{message}"
    );
    let acks = scene.acks();
    assert_eq!(acks.len(), 1, "one settlement");
    assert_eq!(acks[0].header("ackwarden-verdict"), Some("dead-lettered"));
    assert_eq!(
        acks[0].key_text(),
        Some(copies[2].position().as_str()),
        "the newest delivery"
    );
    assert_eq!(acks[0].attempt(), Some(4));
    // Settled is settled.
    let_pass(3.0);
    assert_eq!((scene.source().len(), scene.dead_letters().len()), (4, 1));
}

#[test]
fn the_wait_grows_with_each_attempt() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "backoff", 1);
    let config = scene.config("timeout = \"1s\"\nbackoff = 2.0\njitter = 0.0\nmax_attempts = 4\n");
    let _service = Ackwarden::start(config.section(LONG_SESSION));
    scene.send_one("slower and slower");
    scene.wait_dead_letters(1, secs(60));
    let times: Vec<i64> = scene.source().iter().map(|r| r.timestamp_ms).collect();
    let waits: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    for (wait, expected) in waits.iter().zip([1_000, 2_000, 4_000]) {
        // How late it is says more about the machine.
        assert!(
            (expected - 50..expected + 10_000).contains(wait),
            "waits of {waits:?} ms"
        );
    }
}

#[test]
fn where_the_dead_letter_topic_is_missing_the_message_stays_and_others_go_on() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "no-dlq");
    topics::create(&scene.brokers, &TopicSpec::new(&scene.topic, 1));
    topics::create(&scene.brokers, &TopicSpec::new(&scene.acks_topic(), 1));
    let other = Scene::new(kafka, "with-dlq", 1);
    let lines = format!("{EVERY_SECOND}max_attempts = 2\n");
    let service = Ackwarden::start(scene.config(&lines).topic(&other.topic, &lines));
    let origin = scene.send_one("nowhere to go");
    other.send_one("has somewhere to go");
    other.wait_dead_letters(1, secs(60));
    eventually("it says why", secs(60), || {
        let view = service.get(&format!("/topics/{}", scene.topic));
        (view["frozen"]["why"] == "dead-letter-topic").then_some(())
    });
    assert_eq!(service.unsettled(&scene.topic), 1);
    topics::create(
        &scene.brokers,
        &TopicSpec::new(&scene.dead_letters_topic(), 1),
    );
    let dead = scene.wait_dead_letters(1, secs(120));
    assert_eq!(dead[0].origin(), Some(origin.as_str()));
    service.wait_state(&origin, "dead", secs(60));
}

#[test]
fn with_no_dead_letter_topic_configured_it_is_parked_visible_and_not_dropped() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "parked", 1);
    let mut service = Ackwarden::start(scene.config(&format!(
        "{EVERY_SECOND}max_attempts = 2\ndead_letter = \"\"\n"
    )));
    let origin = scene.send_one("parked");
    service.wait_state(&origin, "parked", secs(60));
    service.kill9_and_start_again();
    service.wait_state(&origin, "parked", secs(60));
    assert_eq!(scene.dead_letters(), []);
    scene.ack(&origin);
    service.wait_state(&origin, "acked", secs(60));
}

#[test]
fn what_was_parked_is_dead_lettered_at_the_next_start_if_there_is_a_topic_for_it() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "unparked", 1);
    let nowhere = "dead_letter = \"\"\n";
    let config = scene.config(&format!("{EVERY_SECOND}max_attempts = 2\n{nowhere}"));
    let mut service = Ackwarden::start(config);
    let origin = scene.send_one("parked");
    service.wait_state(&origin, "parked", secs(60));
    assert!(service.terminate().success());
    let path = service.config_path();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, text.replace(nowhere, "")).expect("the configuration");
    service.start_again();
    let dead = scene.wait_dead_letters(1, secs(60)).remove(0);
    assert_eq!(dead.header("ackwarden-origin"), Some(origin.as_str()));
    assert_eq!(dead.header("ackwarden-reason"), None);
    service.wait_state(&origin, "dead", secs(60));
}
