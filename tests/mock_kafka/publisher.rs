//! What is handed over is reported, once, for what it is.

use std::time::Duration;

use ackwarden::core::LogPosition;
use ackwarden::core::event::PublishOutcome;

use crate::{PATIENCE, Scene, record};

#[test]
fn a_record_is_durable_at_its_place() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    for offset in 0..3 {
        let outcome = publishing.publish(7, &record(1, "v"));
        let at = LogPosition::new(1, offset);
        assert_eq!(outcome, PublishOutcome::Durable(at));
    }
}

#[test]
fn without_a_partition_it_is_spread_by_the_source_partition() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    for (spread, partition) in [(0, 0), (5, 1), (6, 0)] {
        let mut out = record(0, "v");
        out.partition = None;
        out.spread = spread;
        let PublishOutcome::Durable(at) = publishing.publish(1, &out) else {
            panic!("not durable");
        };
        assert_eq!(at.partition, partition);
    }
}

#[test]
fn a_topic_that_is_not_there_is_refused_and_not_ambiguous() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    let mut out = record(0, "v");
    out.topic = "nowhere".into();
    out.partition = None;
    let outcome = publishing.publish(1, &out);
    assert!(
        matches!(&outcome, PublishOutcome::Refused(why) if why.contains("nowhere")),
        "{outcome:?}"
    );
}

#[test]
fn a_partition_that_is_not_there_is_refused() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    let outcome = publishing.publish(1, &record(77, "v"));
    assert!(matches!(outcome, PublishOutcome::Refused(_)), "{outcome:?}");
}

#[test]
fn what_is_purged_counts_as_dropped_only_if_it_was_never_sent() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.publish(1, &record(0, "the connection is there"));
    // It is in the log, but its answer does not come, and it waits to be sent again.
    let round_trip = Duration::from_secs(1);
    let cluster = &scene.cluster;
    cluster
        .broker_round_trip_time(1, round_trip)
        .expect("a round trip");
    publishing
        .publisher
        .publish(2, &record(0, "sent"))
        .expect("handed over");
    std::thread::sleep(round_trip / 2);
    cluster.broker_down(1).expect("down");
    std::thread::sleep(round_trip);
    publishing
        .publisher
        .publish(3, &record(1, "not sent"))
        .expect("handed over");
    publishing.publisher.purge_queue();
    let mut outcomes: Vec<_> = (0..2)
        .map(|_| {
            publishing
                .reported
                .recv_timeout(PATIENCE)
                .expect("a report")
        })
        .collect();
    outcomes.sort_by_key(|(token, _)| *token);
    assert!(
        matches!(
            outcomes.as_slice(),
            [
                (2, PublishOutcome::Ambiguous(_)),
                (3, PublishOutcome::Dropped)
            ]
        ),
        "{outcomes:?}"
    );
}

#[test]
fn after_a_fatal_error_another_producer_takes_over() {
    let scene = Scene::start();
    let publishing = scene.publisher();
    publishing.publish(1, &record(0, "before"));
    publishing.publisher.provoke_fatal_error();
    // The one that meets the error is told so; soon the next one is durable.
    for token in 2..3_000 {
        if let PublishOutcome::Durable(_) = publishing.publish(token, &record(0, "after")) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("nothing was durable any more");
}
