//! The main promise: Service B is killed in mid-work, again and again, and not one message is lost.

use std::collections::BTreeSet;

use ackwarden::demo::service_a::{ServiceA, ServiceAOptions};

use crate::require_kafka;
use crate::scene::{IN_FLIGHT_MS, LONG_SESSION, Scene, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::records::{committed, watermarks};
use crate::support::service_b::ServiceB;
use crate::support::{eventually, judge};

/// A sends so many whenever B has less than half as many left to do: what only waits for B must not come near its timeout,
/// on a busy machine either.
const LOT: u64 = 1_000;
const PARTITIONS: i32 = 4;
const KILLS: u32 = 10;
/// What B gets done before it is killed: no multiple of the batch, so that it dies in the middle of one.
const DONE: usize = 2_130;
const BATCH: u64 = 200;

#[test]
fn b_is_killed_in_mid_work_and_no_message_is_lost() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "main", PARTITIONS);
    let config = scene.config(
        // Far longer than B takes for what A has sent.
        "timeout = \"45s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 20\nretry_rate = 0\n",
    );
    let service = Ackwarden::start(config.section(LONG_SESSION));
    // By hand, so that a successor is at work at once; what the dead one had pulled is gone all the same.
    let mut b = ServiceB::new(&scene.brokers, &scene.topic)
        .with("--assign", &PARTITIONS.to_string())
        .with("--work-us", "450")
        .with("--fill-ms", "50")
        .with("--batch", &BATCH.to_string())
        .started();
    let mut lots: Vec<ServiceA> = Vec::new();
    b.kill_in_mid_work_of(KILLS, DONE, |done, idle| {
        let ordered = lots.len() as u64 * LOT;
        if idle || done as u64 + LOT / 2 > ordered {
            let options = ServiceAOptions {
                first: ordered + 1,
                ..orders(&scene, LOT, 0)
            };
            lots.push(ServiceA::start(options).expect("service A"));
        }
    });
    let sent: BTreeSet<u64> = lots
        .into_iter()
        .flat_map(|a| a.finish().expect("service A").numbers())
        .collect();
    assert!(sent.len() >= KILLS as usize * DONE / 2);
    b.wait_processed(&sent, secs(300));
    // What was processed when B died and not acknowledged is sent again a timeout later.
    service.wait_settled(&scene.topic, secs(180));

    let duplicates = judge::all_processed(&sent, &b.processed());
    let (source, acks) = (scene.source(), scene.acks());
    let copies = judge::copies_identical(&source) as u64;
    assert!(
        copies > 0,
        "B was killed {KILLS} times, and nothing had to be sent again"
    );
    judge::none_republished_after_ack(&source, &acks, IN_FLIGHT_MS);
    judge::attempts_without_gaps(&source, &scene.dead_letters(), 20, 1);
    assert_eq!(scene.dead_letters(), []);
    // A duplicate is a message that was processed and not yet acknowledged when B was killed; a copy of each was sent.
    assert!(
        duplicates <= copies && duplicates <= u64::from(KILLS) * BATCH,
        "{duplicates} duplicates, {copies} copies, {KILLS} kills, {} sent",
        sent.len()
    );
    outstanding_is_back_to_none(&service, &scene);
}

#[test]
fn what_b_never_pulled_because_it_was_down_is_processed_when_it_comes_back() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "down", 2);
    let service =
        Ackwarden::start(scene.config("timeout = \"2s\"\nbackoff = 2.0\nmax_attempts = 20\n"));
    let sent = ServiceA::start(orders(&scene, 200, 0))
        .and_then(ServiceA::finish)
        .expect("service A")
        .numbers();
    let first = format!("{}/0/0", scene.topic);
    scene.wait_copies(&first, 1, secs(60));
    let mut b = ServiceB::new(&scene.brokers, &scene.topic)
        .with("--work-us", "0")
        .started();
    b.wait_for("all orders are processed", secs(180), |work| {
        work.iter()
            .filter_map(|w| w.order)
            .collect::<BTreeSet<_>>()
            .len()
            == 200
    });
    service.wait_settled(&scene.topic, secs(120));
    judge::all_processed(&sent, &b.processed());
    judge::none_republished_after_ack(&scene.source(), &scene.acks(), IN_FLIGHT_MS);
}

/// By what the service shows, and by what Kafka keeps for its group.
fn outstanding_is_back_to_none(service: &Ackwarden, scene: &Scene) {
    let topic = scene.topic.as_str();
    assert_eq!(
        service.metric("ackwarden_outstanding_messages", &[("topic", topic)]),
        0.0
    );
    assert_eq!(
        service.metric("ackwarden_messages_tracked_total", &[("topic", topic)]),
        service.metric("ackwarden_messages_acked_total", &[("topic", topic)])
    );
    eventually(
        "the low-water mark is at the end of the topic",
        secs(60),
        || {
            let ends = watermarks(&scene.brokers, topic);
            (0..)
                .zip(&ends)
                .all(|(p, (_, end))| {
                    committed(&scene.brokers, &scene.group(), topic, p)
                        .is_some_and(|(low, _)| low == *end)
                })
                .then_some(())
        },
    );
}

pub fn orders(scene: &Scene, count: u64, rate: u32) -> ServiceAOptions {
    ServiceAOptions {
        brokers: scene.brokers.clone(),
        topic: scene.topic.clone(),
        rate,
        count: Some(count),
        first: 1,
        id_header: false,
    }
}
