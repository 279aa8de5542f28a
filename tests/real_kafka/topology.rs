//! Topics and partitions that come later than the service.

use crate::require_kafka;
use crate::scene::{EVERY_SECOND, IN_FLIGHT_MS, LONG_SESSION, PERSISTENT, Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::produce::NewRecord;
use crate::support::topics::{self, TopicSpec};
use crate::support::{eventually, judge};

#[test]
fn a_source_topic_that_appears_later_is_followed_from_its_first_record() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "later");
    topics::create(&scene.brokers, &TopicSpec::new(&scene.acks_topic(), 1));
    topics::create(
        &scene.brokers,
        &TopicSpec::new(&scene.dead_letters_topic(), 1),
    );
    let service = Ackwarden::start(scene.config(EVERY_SECOND));
    topics::create(&scene.brokers, &TopicSpec::new(&scene.topic, 2));
    // A finds the topic before the coordinator does.
    let places = scene.send(&[
        NewRecord::new("first").partition(0),
        NewRecord::new("first").partition(1),
    ]);
    for place in &places {
        scene.wait_copies(&place.position(), 1, secs(60));
    }
    for place in &places {
        scene.ack(&place.position());
    }
    service.wait_settled(&scene.topic, secs(60));
}

#[test]
fn partitions_that_are_added_to_source_and_ack_topic_are_followed_from_their_first_record() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "grown", 1);
    let service = Ackwarden::start(
        scene.config("timeout = \"15s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 50\n"),
    );
    topics::add_partitions(&scene.brokers, &scene.acks_topic(), 3);
    topics::add_partitions(&scene.brokers, &scene.topic, 3);
    let places = scene.send(&[
        NewRecord::new("acknowledged").partition(2),
        NewRecord::new("forgotten").partition(2),
        NewRecord::new("acknowledged").partition(0),
    ]);
    // B finds the new ACK partition before the coordinator does.
    scene.say(&[
        NewRecord::ack(&places[0].position()).partition(2),
        NewRecord::ack(&places[2].position()).partition(2),
    ]);
    scene.wait_copies(&places[1].position(), 1, secs(120));
    judge::none_republished_after_ack(&scene.source(), &scene.acks(), IN_FLIGHT_MS);
    scene.say(&[NewRecord::ack(&places[1].position()).partition(1)]);
    service.wait_settled(&scene.topic, secs(60));
    for acknowledged in [&places[0], &places[2]] {
        assert_eq!(scene.copies_of(&acknowledged.position()), []);
    }
}

#[test]
fn without_its_ack_topic_a_topic_is_tracked_and_frozen_until_it_is_there() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "no-acks");
    topics::create(&scene.brokers, &TopicSpec::new(&scene.topic, 1));
    topics::create(
        &scene.brokers,
        &TopicSpec::new(&scene.dead_letters_topic(), 1),
    );
    let service = Ackwarden::start(scene.config(PERSISTENT));
    let origin = scene.send_one("nobody can acknowledge me yet");
    let frozen = eventually("it says why", secs(60), || {
        let view = service.get(&format!("/topics/{}", scene.topic));
        (view["frozen"]["why"] == "ack-topic-missing").then(|| view["frozen"].clone())
    });
    assert!(
        frozen["cure"]
            .as_str()
            .is_some_and(|cure| cure.contains(&scene.acks_topic())),
        "{frozen}"
    );
    let_pass(3.0);
    assert_eq!(service.unsettled(&scene.topic), 1);
    assert_eq!(
        scene.source().len(),
        1,
        "sent again although no ACK can be seen"
    );
    topics::create(&scene.brokers, &TopicSpec::new(&scene.acks_topic(), 2));
    scene.wait_copies(&origin, 1, secs(60));
    scene.ack(&origin);
    service.wait_state(&origin, "acked", secs(60));
    // The log has all of it, for who reads nothing else.
    for words in [
        "the topic does not exist: messages are tracked",
        "frozen: the ack topic",
        "no longer frozen",
    ] {
        eventually(words, secs(60), || {
            service.log().contains(words).then_some(())
        });
    }
}

/// With a long timeout nothing else looks at the ACK topic for a long time.
#[test]
fn an_ack_topic_and_partitions_of_it_that_appear_later_are_read_long_before_anything_is_due() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "late-acks");
    topics::create(&scene.brokers, &TopicSpec::new(&scene.topic, 1));
    topics::create(
        &scene.brokers,
        &TopicSpec::new(&scene.dead_letters_topic(), 1),
    );
    let service = Ackwarden::start(scene.config("timeout = \"10m\"\n").section(LONG_SESSION));
    let why = || service.get(&format!("/topics/{}", scene.topic))["frozen"]["why"].clone();
    eventually("it says that there is none", secs(60), || {
        (why() == "ack-topic-missing").then_some(())
    });
    topics::create(&scene.brokers, &TopicSpec::new(&scene.acks_topic(), 1));
    let first = scene.send_one("first");
    scene.ack(&first);
    service.wait_state(&first, "acked", secs(60));
    assert!(why().is_null(), "{}", why());
    topics::add_partitions(&scene.brokers, &scene.acks_topic(), 2);
    let second = scene.send_one("second");
    scene.say(&[NewRecord::ack(&second).partition(1)]);
    service.wait_state(&second, "acked", secs(60));
}

#[test]
fn old_history_is_left_alone_under_start_now_and_taken_under_earliest() {
    let kafka = require_kafka!();
    let now = Scene::new(kafka, "now", 1);
    let earliest = Scene::new(kafka, "earliest", 1);
    for scene in [&now, &earliest] {
        scene.send_one("before");
    }
    let config = now.config(EVERY_SECOND).topic(
        &earliest.topic,
        &format!("{EVERY_SECOND}start = \"earliest\"\n"),
    );
    let service = Ackwarden::start(config);
    earliest.wait_copies(&format!("{}/0/0", earliest.topic), 1, secs(60));
    let after = now.send_one("after");
    now.wait_copies(&after, 1, secs(60));
    let old = format!("{}/0/0", now.topic);
    assert_eq!(now.copies_of(&old), []);
    let (_, message) = service.try_get(&format!("/messages/{old}"));
    assert_eq!(message["state"], "untracked", "{message}");
}
