//! Several instances in one group: they share the partitions; one that dies, stands still or comes is made up for, and the
//! others go on meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use ackwarden::demo::service_a::{ServiceA, ServiceAOptions};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;

use crate::require_kafka;
use crate::scene::{EVERY_SECOND, IN_FLIGHT_MS, PERSISTENT, Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::eventually;
use crate::support::judge;
use crate::support::process::Signal;
use crate::support::produce::NewRecord;
use crate::support::records::read_all;
use crate::support::service_b::ServiceB;

/// Past the session of the tests' configuration, and the wait of who takes over.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(120);

/// Enough for each publish, and for a process that is killed and started again; who takes over waits for most of it.
const LONGER_SESSION: &str =
    "[kafka.consumer]\n\"session.timeout.ms\" = 20000\n\"heartbeat.interval.ms\" = 500\n";

/// The partitions that it tracks.
fn tracked(service: &Ackwarden, scene: &Scene) -> BTreeSet<u64> {
    let view = service.get(&format!("/topics/{}", scene.topic));
    let partitions = view["partitions"].as_array().expect("partitions");
    let number = |p: &serde_json::Value| p["partition"].as_u64().expect("a number");
    partitions.iter().map(number).collect()
}

/// Waits until each has some of the partitions, and together they have all.
fn wait_shared(services: &[&Ackwarden], scene: &Scene, partitions: u64) {
    eventually("the partitions are shared", TAKEN_OVER_WITHIN, || {
        let each: Vec<BTreeSet<u64>> = services.iter().map(|s| tracked(s, scene)).collect();
        let all: BTreeSet<u64> = each.iter().flatten().copied().collect();
        let count: usize = each.iter().map(BTreeSet::len).sum();
        let shared = each.iter().all(|e| !e.is_empty());
        (shared && count as u64 == partitions && all.len() == count).then_some(())
    });
}

fn one_on_each_partition(scene: &Scene, partitions: i32, what: &str) -> Vec<String> {
    let records: Vec<NewRecord> = (0..partitions)
        .map(|p| NewRecord::new(what).key("k").partition(p))
        .collect();
    let places = scene.send(&records);
    places.iter().map(|place| place.position()).collect()
}

#[test]
fn two_share_the_partitions_and_each_retries_its_own() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "shared", 4);
    let config = scene.config(PERSISTENT).section(LONGER_SESSION);
    let mut first = Ackwarden::start(config.clone());
    let mut second = Ackwarden::start(config);
    wait_shared(&[&first, &second], &scene, 4);
    let positions = one_on_each_partition(&scene, 4, "each is retried once a second");
    for position in &positions {
        scene.wait_copies(position, 2, secs(60));
        scene.ack(position);
    }
    for service in [&first, &second] {
        service.wait_settled(&scene.topic, secs(60));
    }
    judge::attempts_without_gaps(&scene.source(), &scene.dead_letters(), 100, 1);
    judge::none_republished_after_ack(&scene.source(), &scene.acks(), IN_FLIGHT_MS);
    assert_eq!(first.terminate().code(), Some(0));
    assert_eq!(second.terminate().code(), Some(0));
}

#[test]
fn of_one_that_dies_the_messages_are_retried_by_the_other() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "dies", 4);
    let config =
        scene.config("timeout = \"3s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 100\n");
    let first = Ackwarden::start(config.clone());
    let mut second = Ackwarden::start(config);
    wait_shared(&[&first, &second], &scene, 4);
    let positions = one_on_each_partition(&scene, 4, "outstanding");
    for position in &positions {
        scene.wait_copies(position, 1, secs(60));
    }
    // Acknowledged while nobody listens for them: half of them are the second one's.
    second.kill9();
    scene.ack(&positions[0]);
    scene.ack(&positions[1]);
    for position in &positions[2..] {
        let copies = scene.copies_of(position).len();
        scene.wait_copies(position, copies + 1, TAKEN_OVER_WITHIN);
        scene.ack(position);
    }
    eventually(
        "all partitions are the first one's",
        TAKEN_OVER_WITHIN,
        || (tracked(&first, &scene).len() == 4).then_some(()),
    );
    first.wait_settled(&scene.topic, secs(60));
    judge::attempts_without_gaps(&scene.source(), &scene.dead_letters(), 100, 2);
    judge::none_republished_after_ack(&scene.source(), &scene.acks(), IN_FLIGHT_MS);
}

#[test]
fn the_same_one_back_at_once_has_its_partitions_again_and_nothing_moves() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "back", 4);
    let config = scene.config(EVERY_SECOND).section(LONGER_SESSION);
    let first = Ackwarden::start(config.clone());
    let mut second = Ackwarden::start(config);
    wait_shared(&[&first, &second], &scene, 4);
    let (of_first, of_second) = (tracked(&first, &scene), tracked(&second, &scene));
    second.kill9_and_start_again();
    eventually("it has them again", secs(60), || {
        (tracked(&second, &scene) == of_second).then_some(())
    });
    assert_eq!(tracked(&first, &scene), of_first);
    assert!(
        !first.log().contains("not ours any more") || of_first.len() < 4,
        "{}",
        first.log()
    );
}

#[test]
fn while_a_partition_moves_the_others_go_on_and_every_order_is_processed() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "moves", 6);
    let config = scene.config("timeout = \"3s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 20\n");
    let mut first = Ackwarden::start(config.clone());
    let mut b = ServiceB::new(&scene.brokers, &scene.topic)
        .with("--assign", "6")
        .with("--work-us", "500")
        .with("--batch", "100")
        .started();
    let options = ServiceAOptions {
        brokers: scene.brokers.clone(),
        topic: scene.topic.clone(),
        rate: 500,
        count: None,
        first: 0,
        id_header: false,
    };
    let a = ServiceA::start(options).expect("service A");
    let mut second = Ackwarden::start(config.clone());
    b.kill_in_mid_work(1, 300);
    // Killed and back, gone for good, and a third one that comes: partitions move each time.
    first.kill9_and_start_again_unready();
    b.kill_in_mid_work(1, 300);
    second.kill9();
    let third = Ackwarden::start(config);
    b.kill_in_mid_work(1, 300);
    let sent = a.stop().expect("service A").numbers();
    b.wait_processed(&sent, secs(300));
    for service in [&first, &third] {
        service.wait_settled(&scene.topic, secs(180));
    }
    judge::all_processed(&sent, &b.processed());
    let source = scene.source();
    judge::none_republished_after_ack(&source, &scene.acks(), IN_FLIGHT_MS);
    judge::copies_identical(&source);
    // Two kills, and a few changes of owner.
    judge::attempts_without_gaps(&source, &scene.dead_letters(), 20, 6);
}

#[test]
fn one_that_stands_still_past_its_session_publishes_nothing_when_it_goes_on() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "still", 4);
    let config = scene.config("timeout = \"2s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 0\n");
    let first = Ackwarden::start(config.clone());
    let mut second = Ackwarden::start(config);
    wait_shared(&[&first, &second], &scene, 4);
    let positions = one_on_each_partition(&scene, 4, "retried by whoever has it");
    for position in &positions {
        scene.wait_copies(position, 1, secs(60));
    }
    // It stands still while its messages become due, and the other one takes over.
    second.signal(Signal::Stop);
    eventually(
        "all partitions are the first one's",
        TAKEN_OVER_WITHIN,
        || (tracked(&first, &scene).len() == 4).then_some(()),
    );
    for position in &positions {
        let copies = scene.copies_of(position).len();
        scene.wait_copies(position, copies + 1, TAKEN_OVER_WITHIN);
        scene.ack(position);
    }
    second.signal(Signal::Cont);
    let_pass(5.0);
    for service in [&first, &second] {
        service.wait_settled(&scene.topic, secs(120));
    }
    let source = scene.source();
    judge::none_republished_after_ack(&source, &scene.acks(), IN_FLIGHT_MS);
    judge::attempts_without_gaps(&source, &scene.dead_letters(), u32::MAX, 2);
}

#[test]
fn what_an_operator_changes_at_one_holds_at_the_others() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "everywhere", 2);
    let first = Ackwarden::start(scene.config("timeout = \"10m\"\n"));
    let second = Ackwarden::start(scene.config("timeout = \"10m\"\n"));
    wait_shared(&[&first, &second], &scene, 2);
    let positions = one_on_each_partition(&scene, 2, "re-timed by a word to one of them");
    let topic = format!("/topics/{}", scene.topic);
    let (status, body) = first.patch(&format!("{topic}?apply=pending"), &json!({"timeout": "1s"}));
    assert_eq!(status, 200, "{body}");
    eventually("it holds at the other", secs(60), || {
        let view = second.get(&topic);
        let timeout = &view["policy"]["timeout"];
        (timeout["value"] == "1s" && timeout["source"] == "runtime").then_some(())
    });
    for position in &positions {
        scene.wait_copies(position, 1, secs(60));
    }
    // A busy broker may not say in time what became of it: paused twice is paused.
    let (status, body) = eventually("it is said what became of it", secs(60), || {
        Some(second.post(&format!("{topic}/pause"), &json!({})))
            .filter(|(status, _)| *status != 504)
    });
    assert_eq!(status, 200, "{body}");
    eventually("it is paused at the other", secs(60), || {
        (first.get(&topic)["frozen"]["why"] == "paused").then_some(())
    });
}

#[test]
fn a_topic_is_born_once_however_many_start_together() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "born", 4);
    let old = scene.send_one("before the first look");
    let mut both: Vec<Ackwarden> = (0..2)
        .map(|_| Ackwarden::spawn(scene.config(EVERY_SECOND)))
        .collect();
    both.iter_mut().for_each(Ackwarden::wait_ready);
    let positions = one_on_each_partition(&scene, 4, "after it");
    for position in &positions {
        scene.wait_copies(position, 1, TAKEN_OVER_WITHIN);
    }
    assert_eq!(scene.copies_of(&old).len(), 0);
    let state = read_all(&scene.brokers, &format!("{}-state", scene.group()));
    // One that was not confirmed in time is written again, and says the same.
    let births: BTreeSet<_> = state
        .iter()
        .filter(|r| r.key_text().is_some_and(|k| k.starts_with("birth/")))
        .map(|r| &r.value)
        .collect();
    assert_eq!(births.len(), 1);
}

#[test]
fn one_without_a_partition_stands_by_and_takes_over() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "standby", 1);
    let mut services: Vec<Ackwarden> = (0..2)
        .map(|_| Ackwarden::start(scene.config(PERSISTENT)))
        .collect();
    let position = scene.send_one("whoever has it");
    scene.wait_copies(&position, 1, TAKEN_OVER_WITHIN);
    let busy = services
        .iter()
        .position(|s| tracked(s, &scene).len() == 1)
        .expect("one has it");
    let mut dying = services.remove(busy);
    dying.kill9();
    let copies = scene.copies_of(&position).len();
    scene.wait_copies(&position, copies + 1, TAKEN_OVER_WITHIN);
    scene.ack(&position);
    services[0].wait_state(&position, "acked", secs(60));
}

/// A broker answers a request to join when the process that sent it is gone, and its successor has joined; and a broker
/// goes on calling a member by the first process's client id.
#[test]
fn one_that_is_taken_for_a_dead_process_of_its_name_goes_on() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "late-join", 2);
    let mut service = Ackwarden::start(scene.config(EVERY_SECOND).instance_id("it"));
    service.kill9_and_start_again();
    for _ in 1..=2 {
        let joined = service.log().matches("joining anew").count();
        join_and_fall_silent(&scene, "it");
        eventually("it joins anew", secs(120), || {
            if let Some(status) = service.wait_exit(Duration::ZERO) {
                panic!("it ended with {status}:\n{}", service.log());
            }
            (service.log().matches("joining anew").count() > joined).then_some(())
        });
        let position = scene.send_one("retried afterwards");
        scene.wait_copies(&position, 1, TAKEN_OVER_WITHIN);
    }
}

/// Becomes the member of that name, and is never heard of again.
fn join_and_fall_silent(scene: &Scene, instance_id: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &scene.brokers)
        .set("group.id", scene.group())
        .set("group.instance.id", instance_id)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .create()
        .expect("a client");
    consumer.subscribe(&[&scene.topic]).expect("subscribed");
    eventually("it is the member", secs(60), || {
        let _ = consumer.poll(Duration::from_millis(50));
        let assigned = consumer.assignment().is_ok_and(|a| a.count() > 0);
        // It was, where the other one has the name again already.
        let fenced = consumer.client().fatal_error().is_some();
        (assigned || fenced).then_some(())
    });
}
