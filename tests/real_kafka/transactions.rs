//! Transactions of others on the source and ACK topics: what was aborted never was, markers at the tail stop nothing, and
//! while one is open nothing is sent again that it might acknowledge.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::require_kafka;
use crate::scene::{EVERY_SECOND, IN_FLIGHT_MS, LONG_SESSION, PERSISTENT, Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::eventually;
use crate::support::judge;
use crate::support::produce::{NewRecord, Place};
use crate::support::records::{SeenRecord, committed, watermarks};
use crate::support::topics;
use crate::support::transaction::Transaction;

#[test]
fn records_of_an_aborted_transaction_are_never_tracked_and_those_of_a_committed_one_are() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "aborted", 1);
    let mut service = Ackwarden::start(scene.config(PERSISTENT));
    let before = scene.send_one("before");
    let aborted = Transaction::begin(&scene.brokers, &scene.topic);
    aborted.send(&scene.topic, &numbered(3));
    aborted.abort();
    let done = Transaction::begin(&scene.brokers, &scene.topic);
    let sent = done.send(&scene.topic, &numbered(2));
    done.commit();
    let mut tracked = vec![before];
    tracked.extend(sent.iter().map(Place::position));
    for position in &tracked {
        scene.wait_copies(position, 1, secs(60));
    }
    // Once more without what it remembers.
    service.kill9_and_start_again();
    for position in &tracked {
        scene.wait_copies(position, 2, secs(60));
    }
    let origin_of = |copy: &SeenRecord| copy.origin().map(str::to_owned);
    let origins: BTreeSet<_> = scene.source().iter().filter_map(origin_of).collect();
    assert_eq!(origins, tracked.iter().cloned().collect());
    for position in &tracked {
        scene.ack(position);
    }
    service.wait_settled(&scene.topic, secs(60));
    wait_all_committed(&scene);
    assert_eq!(scene.dead_letters(), []);
}

#[test]
fn markers_at_the_tail_of_source_and_ack_topic_neither_close_the_barrier_nor_hold_the_low_water_mark()
 {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "markers", 1);
    let mut service = Ackwarden::start(scene.config(PERSISTENT));
    let acks = begin_on_acks(&scene);
    let acknowledged = scene.send_one("acknowledged in a transaction");
    let forgotten = scene.send_one("forgotten");
    acks.send(
        &scene.acks_topic(),
        &[NewRecord::ack(&acknowledged).partition(0)],
    );
    acks.commit();
    leave_markers(&scene, &scene.acks_topic());
    leave_markers(&scene, &scene.topic);
    scene.wait_copies(&forgotten, 1, secs(60));
    assert_eq!(scene.copies_of(&acknowledged), []);
    scene.ack(&forgotten);
    service.wait_settled(&scene.topic, secs(60));
    leave_markers(&scene, &scene.acks_topic());
    leave_markers(&scene, &scene.topic);
    wait_all_committed(&scene);
    // Nor after a start that finds nothing but markers to read.
    service.kill9();
    service.delete_store();
    leave_markers(&scene, &scene.acks_topic());
    leave_markers(&scene, &scene.topic);
    service.start_again();
    let late = scene.send_one("late");
    leave_markers(&scene, &scene.acks_topic());
    leave_markers(&scene, &scene.topic);
    scene.wait_copies(&late, 1, secs(60));
    scene.ack(&late);
    service.wait_settled(&scene.topic, secs(60));
    judge::none_republished_after_ack(&scene.source(), &scene.acks(), IN_FLIGHT_MS);
    wait_all_committed(&scene);
}

#[test]
fn with_only_markers_left_behind_the_deleted_records_nothing_is_lost_and_the_barrier_opens() {
    let kafka = require_kafka!();
    for keep_store in [true, false] {
        let scene = Scene::new(kafka, "only-markers", 1);
        let config = scene.config(PERSISTENT).instance_id("it");
        let mut service = Ackwarden::start(config);
        let acks = begin_on_acks(&scene);
        let settled = scene.send_one("settled");
        acks.send(
            &scene.acks_topic(),
            &[NewRecord::ack(&settled).partition(0)],
        );
        acks.commit();
        service.wait_settled(&scene.topic, secs(60));
        leave_markers(&scene, &scene.topic);
        wait_all_committed(&scene);
        service.kill9();
        if !keep_store {
            service.delete_store();
        }
        // All but the last marker.
        for topic in [scene.topic.clone(), scene.acks_topic()] {
            let (_, end) = watermarks(&scene.brokers, &topic)[0];
            topics::delete_records(&scene.brokers, &topic, 0, end - 1);
            assert_eq!(watermarks(&scene.brokers, &topic), [(end - 1, end)]);
        }
        service.start_again();
        let origin = scene.send_one("new");
        scene.wait_copies(&origin, 1, secs(60));
        let labels = [("topic", scene.topic.as_str())];
        let lost = service.metric("ackwarden_lost_ranges_total", &labels);
        assert_eq!(lost as u64, 0, "a false lost range");
        scene.ack(&origin);
        service.wait_settled(&scene.topic, secs(60));
        wait_all_committed(&scene);
    }
}

#[test]
fn while_a_transaction_on_the_ack_topic_hangs_nothing_fires_and_an_ack_in_it_counts_when_it_commits()
 {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "hanging", 1);
    let mut service = Ackwarden::start(scene.config(PERSISTENT));
    let hanging = begin_on_acks(&scene);
    let acknowledged = scene.send_one("acknowledged in it");
    let forgotten = scene.send_one("forgotten");
    let behind = scene.send_one("acknowledged behind it");
    hanging.send(
        &scene.acks_topic(),
        &[NewRecord::ack(&acknowledged).partition(0)],
    );
    scene.ack(&behind);
    // The alert comes after half a minute; until then, and then, nothing fires.
    let frozen = eventually("it says why nothing is retried", secs(80), || {
        assert_eq!(scene.source().len(), 3, "sent again without proof");
        let view = service.get(&format!("/topics/{}", scene.topic));
        (view["frozen"]["why"] == "barrier-closed").then(|| view["frozen"].clone())
    });
    let says = |key: &str, word: &str| frozen[key].as_str().is_some_and(|text| text.contains(word));
    assert!(
        says("detail", "transaction") && says("cure", "find-hanging"),
        "{frozen}"
    );
    service.wait_ready();
    hanging.commit();
    scene.wait_copies(&forgotten, 1, secs(60));
    assert_eq!(scene.copies_of(&acknowledged), []);
    assert_eq!(scene.copies_of(&behind), []);
    service.wait_state(&acknowledged, "acked", secs(60));
    service.wait_state(&behind, "acked", secs(60));
    eventually("nothing is said to be frozen", secs(60), || {
        let view = service.get(&format!("/topics/{}", scene.topic));
        view["frozen"].is_null().then_some(())
    });
    scene.ack(&forgotten);
    service.wait_settled(&scene.topic, secs(60));
}

#[test]
fn an_ack_in_a_transaction_that_aborts_never_was() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "ack-aborted", 1);
    let mut service = Ackwarden::start(scene.config(PERSISTENT));
    let hanging = begin_on_acks(&scene);
    let origin = scene.send_one("worked on in vain");
    hanging.send(&scene.acks_topic(), &[NewRecord::ack(&origin).partition(0)]);
    let_pass(4.0);
    assert_eq!(scene.source().len(), 1, "sent again without proof");
    // A start in between changes nothing: it cannot be told either.
    service.kill9_and_start_again_unready();
    let_pass(4.0);
    assert_eq!(scene.source().len(), 1, "sent again without proof");
    hanging.abort();
    service.wait_ready();
    scene.wait_copies(&origin, 1, secs(60));
    scene.ack(&origin);
    service.wait_settled(&scene.topic, secs(60));
}

#[test]
fn while_a_transaction_on_the_source_hangs_what_stands_before_it_is_retried_and_what_is_in_it_waits()
 {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "source-hangs", 1);
    let config = scene.config(&format!("{EVERY_SECOND}max_attempts = 3\n"));
    let service = Ackwarden::start(config.section(LONG_SESSION));
    let hanging = Transaction::begin(&scene.brokers, &scene.topic);
    scene.send_one("before");
    // With time for its ACK: three deliveries a second apart are soon over.
    let record = NewRecord::new("in it").key("k").partition(0);
    let record = record.header("ackwarden-timeout", "8s");
    let inside = hanging.send(&scene.topic, &[record])[0].position();
    // Its copies cannot be read back, but are reported.
    scene.wait_dead_letters(1, secs(60));
    judge::attempts_without_gaps(&scene.source(), &scene.dead_letters(), 3, 1);
    assert_eq!(scene.copies_of(&inside), []);
    hanging.commit();
    let copies = scene.wait_copies(&inside, 1, secs(60));
    scene.ack(&copies[0].position());
    service.wait_settled(&scene.topic, secs(60));
    assert_eq!(scene.dead_letters().len(), 1);
    wait_all_committed(&scene);
}

fn numbered(count: usize) -> Vec<NewRecord> {
    let record = |n| NewRecord::new(format!("in it {n}")).key("k").partition(0);
    (0..count).map(record).collect()
}

/// A transaction that is open on the ACK topic's only partition: whatever comes behind this record is hidden.
fn begin_on_acks(scene: &Scene) -> Transaction {
    let hanging = Transaction::begin(&scene.brokers, &scene.topic);
    let nothing = NewRecord::new("no ACK").key("nothing").partition(0);
    hanging.send(&scene.acks_topic(), &[nothing]);
    hanging
}

/// Two aborted transactions: the last thing on the topic are markers.
fn leave_markers(scene: &Scene, topic: &str) {
    for _ in 0..2 {
        let transaction = Transaction::begin(&scene.brokers, topic);
        transaction.send(topic, &numbered(1));
        transaction.abort();
    }
}

/// The low-water mark is at the very end of the source, markers included.
fn wait_all_committed(scene: &Scene) {
    eventually(
        "the low-water mark is at the end",
        Duration::from_secs(60),
        || {
            let (_, end) = watermarks(&scene.brokers, &scene.topic)[0];
            let (low, _) = committed(&scene.brokers, &scene.group(), &scene.topic, 0)?;
            (low == end).then_some(())
        },
    );
}
