//! The broker is killed, stands still, comes back: nothing is lost, and nothing acknowledged is sent again.

use std::collections::BTreeSet;

use ackwarden::demo::service_a::ServiceA;

use crate::crash_of_b::orders;
use crate::scene::{EVERY_SECOND, IN_FLIGHT_MS, Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::judge;
use crate::support::kafka::{Kafka, KafkaOptions};
use crate::support::service_b::ServiceB;

#[test]
fn the_broker_is_killed_in_mid_traffic_and_comes_back() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else {
        return;
    };
    let scene = Scene::new(&kafka, "orders", 4);
    let service = Ackwarden::start(
        scene.config("timeout = \"5s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 20\n"),
    );
    let mut b = ServiceB::new(&scene.brokers, &scene.topic)
        .with("--instance-id", "b")
        .with("--work-us", "2000")
        .with("--fill-ms", "100")
        .started();
    let a = ServiceA::start(orders(&scene, 3_000, 300)).expect("service A");
    b.kill_in_mid_work(2, 200);
    kafka.kill9();
    let_pass(2.0);
    kafka.start_again();
    let sent = a.finish().expect("service A").numbers();
    b.wait_for("all orders are processed", secs(120), |work| {
        let done: BTreeSet<u64> = work
            .iter()
            .filter(|w| w.what == 'P')
            .filter_map(|w| w.order)
            .collect();
        sent.is_subset(&done)
    });
    service.wait_settled(&scene.topic, secs(60));
    let source = scene.source();
    judge::all_processed(&sent, &b.processed());
    judge::none_republished_after_ack(&source, &scene.acks(), IN_FLIGHT_MS);
    judge::attempts_without_gaps(&source, &[], 20, 2);
}

#[test]
fn while_the_broker_stands_still_nothing_fires_and_then_it_goes_on() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else {
        return;
    };
    let scene = Scene::new(&kafka, "orders", 1);
    let service = Ackwarden::start(scene.config(EVERY_SECOND));
    let origin = scene.send_one("during the standstill it becomes due");
    kafka.pause();
    let_pass(8.0);
    kafka.resume();
    scene.wait_copies(&origin, 1, secs(60));
    scene.ack(&origin);
    service.wait_state(&origin, "acked", secs(30));
    judge::attempts_without_gaps(&scene.source(), &[], 5, 2);
}
