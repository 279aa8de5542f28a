//! The coordinator itself is killed, ended, and robbed of its store: what was acknowledged is not sent again, what was not
//! still is.

use std::collections::BTreeSet;

use ackwarden::demo::service_a::{ServiceA, ServiceAOptions};

use crate::crash_of_b::orders;
use crate::require_kafka;
use crate::scene::{IN_FLIGHT_MS, Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::judge;
use crate::support::produce::NewRecord;
use crate::support::service_b::ServiceB;

const KILLS: usize = 5;

#[test]
fn the_coordinator_is_killed_in_mid_traffic_and_goes_on_with_its_store() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "killed", 4);
    let mut service = Ackwarden::start(
        scene.config("timeout = \"3s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 20\n"),
    );
    let mut b = ServiceB::new(&scene.brokers, &scene.topic)
        .with("--assign", "4")
        .with("--work-us", "1000")
        .with("--fill-ms", "100")
        .with("--batch", "100")
        .started();
    // For as long as it takes: with a fixed number, a slow machine has nothing left for B to be killed in.
    let a = ServiceA::start(ServiceAOptions {
        count: None,
        ..orders(&scene, 0, 500)
    })
    .expect("service A");
    for _ in 0..KILLS {
        b.kill_in_mid_work(1, 500);
        service.kill9();
        // B goes on: these ACKs have to be found later.
        let_pass(0.7);
        service.start_again();
    }
    let sent = a.stop().expect("service A").numbers();
    b.wait_processed(&sent, secs(300));
    service.wait_settled(&scene.topic, secs(120));
    judge::all_processed(&sent, &b.processed());
    let source = scene.source();
    judge::none_republished_after_ack(&source, &scene.acks(), IN_FLIGHT_MS);
    judge::copies_identical(&source);
    judge::attempts_without_gaps(&source, &scene.dead_letters(), 20, 1 + KILLS);
}

#[test]
fn an_orderly_end_is_exit_0_and_quick() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "term", 1);
    let mut service = Ackwarden::start(scene.config("timeout = \"1m\"\n"));
    scene.send_one("outstanding");
    let status = service.terminate();
    assert_eq!(status.code(), Some(0), "{}", service.log());
}

#[test]
fn without_its_store_it_is_rebuilt_from_the_topics() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "storeless", 4);
    let mut service = Ackwarden::start(
        scene.config("timeout = \"4s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 20\n"),
    );
    // Every second order is left without an ACK, by a first B.
    let mut careless = ServiceB::new(&scene.brokers, &scene.topic)
        .with("--assign", "4")
        .with("--work-us", "0")
        .with("--ignore-every", "2")
        .started();
    let sent = ServiceA::start(orders(&scene, 1_000, 0))
        .and_then(ServiceA::finish)
        .expect("service A")
        .numbers();
    careless.wait_for("all orders were seen", secs(180), |work| {
        work.iter()
            .filter_map(|w| w.order)
            .collect::<BTreeSet<_>>()
            .len()
            == 1_000
    });
    service.kill9();
    let_pass(0.5);
    careless.kill9();
    service.delete_store();
    service.start_again();
    let mut careful = ServiceB::new(&scene.brokers, &scene.topic)
        .with("--assign", "4")
        .with("--work-us", "0")
        .started();
    careful.wait_for("the other half is processed", secs(180), |work| {
        let done: BTreeSet<u64> = work.iter().filter_map(|w| w.order).collect();
        (1..=500).all(|n| done.contains(&(2 * n)))
    });
    service.wait_settled(&scene.topic, secs(120));
    let processed = [careless.processed(), careful.processed()].concat();
    judge::all_processed(&sent, &processed);
    let source = scene.source();
    judge::none_republished_after_ack(&source, &scene.acks(), IN_FLIGHT_MS);
    judge::copies_identical(&source);
    judge::attempts_without_gaps(&source, &[], 20, 2);
}

#[test]
fn attempts_go_on_counting_without_the_store_and_a_late_ack_of_an_old_delivery_settles() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "counting", 1);
    let mut service = Ackwarden::start(
        scene.config("timeout = \"2s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 50\n"),
    );
    let origin = scene.send_one("slow work");
    scene.wait_copies(&origin, 2, secs(60));
    service.kill9();
    service.delete_store();
    service.start_again();
    let copies = scene.wait_copies(&origin, 3, secs(60));
    judge::attempts_without_gaps(&scene.source(), &[], 50, 2);
    scene.ack(&copies[0].position());
    service.wait_settled(&scene.topic, secs(60));
    // A copy that was in flight when the ACK came has landed by then.
    let_pass(2.0);
    let after = scene.copies_of(&origin).len();
    let_pass(3.0);
    assert_eq!(
        scene.copies_of(&origin).len(),
        after,
        "sent again after its ACK"
    );
    judge::none_republished_after_ack(&scene.source(), &scene.acks(), IN_FLIGHT_MS);
}

#[test]
fn what_became_due_while_it_was_down_fires_only_if_no_ack_came_meanwhile() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "due", 1);
    let mut service = Ackwarden::start(scene.config("timeout = \"10s\"\njitter = 0.0\n"));
    let places = scene.send(&[
        NewRecord::new("acknowledged").partition(0),
        NewRecord::new("forgotten").partition(0),
    ]);
    let_pass(0.5);
    service.kill9();
    scene.ack(&places[0].position());
    let_pass(10.0);
    service.start_again();
    scene.wait_copies(&places[1].position(), 1, secs(60));
    assert_eq!(scene.copies_of(&places[0].position()), []);
}
