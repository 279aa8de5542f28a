//! What the service refuses, and what it waits for instead.

use std::net::TcpListener;

use crate::require_kafka;
use crate::scene::{EVERY_SECOND, PERSISTENT, Scene, let_pass, secs};
use crate::support::ackwarden::{Ackwarden, ServeConfig};
use crate::support::kafka::{Kafka, KafkaOptions};
use crate::support::topics::{self, TopicSpec};
use crate::support::{eventually, free_port, scratch_dir, unique};

#[test]
fn observe_only_tracks_and_writes_nothing() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "observed", 1);
    // For as long it is shown as overdue, and the ACK may take twice as long.
    let service = Ackwarden::start(scene.config(
        "timeout = \"8s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 2\nobserve_only = true\n",
    ));
    let forgotten = scene.send_one("forgotten");
    let acknowledged = scene.send_one("acknowledged");
    scene.ack(&acknowledged);
    service.wait_state(&forgotten, "overdue", secs(60));
    service.wait_state(&acknowledged, "acked", secs(60));
    service.wait_state(&forgotten, "missed", secs(60));
    let_pass(1.0);
    assert_eq!(scene.source().len(), 2);
    assert_eq!(scene.acks().len(), 1);
    assert_eq!(scene.dead_letters(), []);
    let (status, _) = service.post(
        &format!("/messages/{forgotten}/ack"),
        &serde_json::json!({}),
    );
    assert_eq!(status, 409);
    assert_eq!(scene.acks().len(), 1);
}

#[test]
fn a_compacted_ack_topic_is_refused() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "compacted-acks");
    topics::create(&scene.brokers, &TopicSpec::new(&scene.topic, 1));
    let acks = TopicSpec::new(&scene.acks_topic(), 1).config("cleanup.policy", "compact");
    topics::create(&scene.brokers, &acks);
    let mut service = Ackwarden::spawn(scene.config(EVERY_SECOND));
    service.expect_refusal(&[&scene.acks_topic(), "compact"]);
}

#[test]
fn retries_in_place_on_a_compacted_source_are_refused() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "compacted");
    let source = TopicSpec::new(&scene.topic, 1).config("cleanup.policy", "compact,delete");
    topics::create(&scene.brokers, &source);
    topics::create(&scene.brokers, &TopicSpec::new(&scene.acks_topic(), 1));
    let mut service = Ackwarden::spawn(scene.config(EVERY_SECOND));
    service.expect_refusal(&[&scene.topic, "compact"]);
}

#[test]
fn of_two_processes_with_one_instance_id_one_ends_and_says_why() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "twins", 2);
    let config = scene.config("timeout = \"1m\"\n").instance_id("twin");
    let mut first = Ackwarden::start(config.clone());
    let mut second = Ackwarden::spawn(config);
    let words = "another process uses instance_id twin";
    let fenced = eventually("one of the two ends", secs(180), || {
        for service in [&mut first, &mut second] {
            if let Some(status) = service.wait_exit(secs(0)) {
                return Some((status, service.log()));
            }
        }
        None
    });
    assert!(!fenced.0.success(), "{}", fenced.1);
    assert!(fenced.1.contains(words), "{}", fenced.1);
    let left = if first.wait_exit(secs(0)).is_none() {
        &mut first
    } else {
        &mut second
    };
    left.wait_ready();
    let_pass(3.0);
    assert!(
        left.wait_exit(secs(0)).is_none(),
        "the other one ended, too:\n{}",
        left.log()
    );
}

#[test]
fn a_port_in_use_is_refused() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "port", 1);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port();
    let mut service = Ackwarden::spawn(scene.config(EVERY_SECOND).port(port));
    service.expect_refusal(&[&format!("127.0.0.1:{port}"), "in use"]);
}

#[test]
fn a_store_in_use_is_refused() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "store", 1);
    let dir = scratch_dir("shared-store");
    let store = dir.join("store");
    let _first = Ackwarden::start(scene.config(EVERY_SECOND).store(&store));
    let other = ServeConfig::new(&scene.brokers, &unique("other"))
        .topic(&scene.topic, EVERY_SECOND)
        .store(&store);
    let mut second = Ackwarden::spawn(other);
    second.expect_refusal(&["store", "in use"]);
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "newer-store", 1);
    let mut service = Ackwarden::start(scene.config(EVERY_SECOND));
    service.terminate();
    let current = service.store_path().join("CURRENT");
    std::fs::write(&current, "ackwarden-store 7 of next year\n").expect("written");
    service.start_again_unready();
    service.expect_refusal(&["version 7", "newer"]);
    let left = std::fs::read_to_string(&current).expect("read");
    assert_eq!(left, "ackwarden-store 7 of next year\n");
}

#[test]
fn an_ack_topic_that_keeps_its_records_for_a_shorter_time_than_the_source_is_a_warning() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "short-acks");
    topics::create(&scene.brokers, &TopicSpec::new(&scene.topic, 1));
    let acks = TopicSpec::new(&scene.acks_topic(), 1).config("retention.ms", "3600000");
    topics::create(&scene.brokers, &acks);
    let service = Ackwarden::start(scene.config(PERSISTENT));
    let log = service.log();
    let warned = log.lines().any(|line| {
        line.contains("WARN") && line.contains(&scene.acks_topic()) && line.contains("retention.ms")
    });
    assert!(warned, "{log}");
    let origin = scene.send_one("it works all the same");
    scene.ack(&origin);
    service.wait_state(&origin, "acked", secs(60));
}

#[test]
fn a_broker_that_is_not_up_yet_is_waited_for() {
    let Some(kafka) = Kafka::start(KafkaOptions::default().stopped()) else {
        return;
    };
    let scene = Scene::bare(&kafka, "early-bird");
    let mut service = Ackwarden::spawn(scene.config(EVERY_SECOND));
    assert!(
        service.wait_exit(secs(5)).is_none(),
        "it gave up:\n{}",
        service.log()
    );
    assert!(!service.is_ready(), "ready without a broker");
    kafka.start_again();
    topics::create_set(&scene.brokers, &scene.topic, 2);
    service.wait_ready();
    let origin = scene.send_one("tracked");
    scene.wait_copies(&origin, 1, secs(60));
}

#[test]
fn a_wrong_broker_is_named_and_an_end_in_order_is_still_possible() {
    let _kafka = require_kafka!();
    let nobody = format!("127.0.0.1:{}", free_port());
    let config = ServeConfig::new(&nobody, &unique("nobody")).topic("orders", EVERY_SECOND);
    let mut service = Ackwarden::spawn(config);
    eventually("it says which broker does not answer", secs(60), || {
        service.log().contains(&nobody).then_some(())
    });
    assert!(
        service.wait_exit(secs(3)).is_none(),
        "it gave up:\n{}",
        service.log()
    );
    assert!(!service.is_ready());
    let status = service.terminate();
    assert_eq!(
        status.code(),
        Some(0),
        "SIGTERM while it waits:\n{}",
        service.log()
    );
}
