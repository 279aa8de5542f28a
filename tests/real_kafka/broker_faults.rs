//! The broker is killed, stands still, comes back: nothing is lost, and nothing acknowledged is sent again.

use ackwarden::demo::service_a::{ServiceA, ServiceAOptions};

use crate::crash_of_b::orders;
use crate::scene::{IN_FLIGHT_MS, PERSISTENT, Scene, let_pass, secs};
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
    // By hand: a group may take a member of before an outage for somebody else of its name.
    let mut b = ServiceB::new(&scene.brokers, &scene.topic)
        .with("--assign", "4")
        .with("--work-us", "2000")
        .with("--fill-ms", "100")
        .started();
    let a = ServiceA::start(ServiceAOptions {
        count: None,
        ..orders(&scene, 0, 300)
    })
    .expect("service A");
    b.kill_in_mid_work(2, 200);
    kafka.kill9();
    let_pass(2.0);
    kafka.start_again();
    b.kill9();
    b.start();
    b.kill_in_mid_work(1, 200);
    let sent = a.stop().expect("service A").numbers();
    b.wait_processed(&sent, secs(300));
    service.wait_settled(&scene.topic, secs(120));
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
    let service = Ackwarden::start(scene.config(PERSISTENT));
    let origin = scene.send_one("during the standstill it becomes due");
    kafka.pause();
    let_pass(8.0);
    kafka.resume();
    scene.wait_copies(&origin, 1, secs(60));
    scene.ack(&origin);
    service.wait_state(&origin, "acked", secs(60));
    judge::attempts_without_gaps(&scene.source(), &[], 100, 2);
}
