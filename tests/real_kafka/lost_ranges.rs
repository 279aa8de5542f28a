//! Records and ACKs that were gone before they were read: a partition stands still and says so, nothing is sent again in
//! a storm, and it goes on when somebody decides.

use serde_json::{Value, json};

use crate::require_kafka;
use crate::scene::{LONG_SESSION, Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::eventually;
use crate::support::process::Signal;
use crate::support::produce::{NewRecord, Place};
use crate::support::records::committed;
use crate::support::topics::{self, TopicSpec};

/// Nothing is due before [`make_due`].
const PATIENT: &str = "timeout = \"10m\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 50\n";
/// From then on, so that a storm of resends would show within [`STORM`].
const SOON: &str = "4s";
const STORM: f64 = 4.5;

#[test]
fn records_deleted_past_the_low_water_mark_while_it_was_down_freeze_the_partition_until_somebody_decides()
 {
    records_are_deleted_while_it_is_down(Store::Kept);
}

#[test]
fn without_its_store_the_messages_that_are_gone_are_untracked_and_the_others_go_on() {
    records_are_deleted_while_it_is_down(Store::Lost);
}

fn records_are_deleted_while_it_is_down(store: Store) {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "source-lost", 1);
    // By name, so that without its store it is not waited for until its session ends.
    let config = scene.config(PATIENT).instance_id("it");
    let mut service = Ackwarden::start(config);
    let places = numbered(&scene, 6);
    acknowledge(&scene, &places[..2]);
    wait_committed(&scene, 2);
    // In order: its last checkpoint knows of all of them.
    service.terminate();
    // 2 and 3 are gone; 5 is acknowledged while nobody looks.
    topics::delete_records(&scene.brokers, &scene.topic, 0, 4);
    acknowledge(&scene, &places[5..]);
    store.treat(&service);
    service.start_again();
    let frozen = wait_frozen(&service, &scene, "source-lost");
    assert!(
        frozen["detail"]
            .as_str()
            .is_some_and(|d| d.contains(&format!("{}/0: records 2 to 3", scene.topic))),
        "{frozen}"
    );
    // Starting again would not help.
    service.wait_ready();
    wait_logged(&service, "source-lost");
    make_due(&service, &scene);
    assert_stands_still(&service, &scene, "source-lost", 2);
    // Nobody has decided: so it is after another start.
    service.kill9_and_start_again();
    wait_frozen(&service, &scene, "source-lost");
    make_due(&service, &scene);
    assert_stands_still(&service, &scene, "source-lost", 2);

    go_on(&service, &scene);
    scene.wait_copies(&places[4].position(), 1, secs(60));
    scene.ack(&places[4].position());
    service.wait_settled(&scene.topic, secs(60));
    assert_eq!(scene.copies_of(&places[5].position()), [], "{store:?}");
    for gone in &places[2..4] {
        assert_eq!(scene.copies_of(&gone.position()), []);
        // Of what the store knew there is something to tell; of the rest nobody knows what became of it.
        let state = match store {
            Store::Kept => "payload-lost",
            Store::Lost => "untracked",
        };
        let (_, message) = service.try_get(&format!("/messages/{}", gone.position()));
        assert_eq!(message["state"], state, "{message}");
    }
    let stubs: Vec<Option<String>> = scene
        .dead_letters()
        .iter()
        .inspect(|d| assert_eq!(d.header("ackwarden-cause"), Some("payload-lost")))
        .map(|d| d.origin().map(str::to_owned))
        .collect();
    let known = match store {
        Store::Kept => &places[2..4],
        Store::Lost => &[],
    };
    let expected: Vec<Option<String>> = known.iter().map(|p| Some(p.position())).collect();
    assert_eq!(stubs, expected);
    wait_committed_past(&scene, 6);
    // It was reported once, and is over.
    service.kill9_and_start_again();
    let origin = scene.send_one("new");
    scene.wait_copies(&origin, 1, secs(60));
    wait_going_on(&service, &scene);
}

#[test]
fn acks_deleted_before_they_were_read_freeze_the_topic_and_cause_no_storm() {
    acks_are_deleted_while_it_is_down(Store::Kept);
}

#[test]
fn without_its_store_too_acks_deleted_before_they_were_read_freeze_the_topic() {
    acks_are_deleted_while_it_is_down(Store::Lost);
}

fn acks_are_deleted_while_it_is_down(store: Store) {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "acks-lost", 1);
    let config = scene.config(PATIENT).instance_id("it");
    let mut service = Ackwarden::start(config);
    let places = numbered(&scene, 4);
    acknowledge(&scene, &places[1..2]);
    service.wait_state(&places[1].position(), "acked", secs(60));
    // In order: its last checkpoint knows of that ACK.
    service.terminate();
    // Nobody will ever know of the ACK of 2.
    acknowledge(&scene, &places[2..3]);
    topics::delete_records(&scene.brokers, &scene.acks_topic(), 0, 2);
    store.treat(&service);
    service.start_again();
    let frozen = wait_frozen(&service, &scene, "acks-lost");
    let first = match store {
        Store::Kept => 1,
        Store::Lost => 0,
    };
    let range = format!("{}/0: ACKs {first} to 1", scene.acks_topic());
    assert!(
        frozen["detail"]
            .as_str()
            .is_some_and(|d| d.contains(&range)),
        "{frozen}"
    );
    wait_logged(&service, "acks-lost");
    // An ACK that comes now counts.
    acknowledge(&scene, &places[..1]);
    make_due(&service, &scene);
    assert_stands_still(&service, &scene, "acks-lost", 0);
    let new = scene.send_one("sent while it stands still");

    go_on(&service, &scene);
    scene.wait_copies(&places[2].position(), 1, secs(60));
    scene.wait_copies(&places[3].position(), 1, secs(60));
    scene.wait_copies(&new, 1, secs(60));
    assert_eq!(scene.copies_of(&places[0].position()), []);
    if let Store::Kept = store {
        assert_eq!(scene.copies_of(&places[1].position()), []);
    }
    acknowledge(&scene, &places);
    scene.ack(&new);
    service.wait_settled(&scene.topic, secs(60));
}

#[test]
fn acks_deleted_after_they_were_read_are_no_loss() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "acks-read", 1);
    let mut service = Ackwarden::start(scene.config(PATIENT));
    let places = numbered(&scene, 3);
    acknowledge(&scene, &places[1..]);
    service.wait_state(&places[2].position(), "acked", secs(60));
    service.terminate();
    topics::delete_records(&scene.brokers, &scene.acks_topic(), 0, 2);
    service.start_again();
    make_due(&service, &scene);
    scene.wait_copies(&places[0].position(), 1, secs(60));
    acknowledge(&scene, &places[..1]);
    service.wait_settled(&scene.topic, secs(60));
    for place in &places[1..] {
        assert_eq!(scene.copies_of(&place.position()), []);
    }
    let labels = [("topic", scene.topic.as_str())];
    let lost = service.metric("ackwarden_lost_ranges_total", &labels);
    assert_eq!(lost as u64, 0);
}

#[test]
fn records_deleted_while_it_stood_behind_them_freeze_the_partition() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "source-trimmed", 1);
    let mut service = Ackwarden::start(scene.config(PATIENT).section(LONG_SESSION));
    let known = scene.send_one("read in time");
    service.wait_state(&known, "outstanding", secs(60));
    stop(&mut service);
    let later = numbered(&scene, 4);
    topics::delete_records(&scene.brokers, &scene.topic, 0, 3);
    service.signal(Signal::Cont);
    let frozen = wait_frozen(&service, &scene, "source-lost");
    assert!(
        frozen["detail"]
            .as_str()
            .is_some_and(|d| d.contains("records 1 to 2")),
        "{frozen}"
    );
    make_due(&service, &scene);
    assert_stands_still(&service, &scene, "source-lost", 0);
    go_on(&service, &scene);
    for place in &later[2..] {
        scene.wait_copies(&place.position(), 1, secs(60));
        scene.ack(&place.position());
    }
    // It was read, so it was tracked; its payload is gone, and that is told.
    service.wait_state(&known, "payload-lost", secs(60));
    for place in &later[..2] {
        let (_, message) = service.try_get(&format!("/messages/{}", place.position()));
        assert_eq!(message["state"], "untracked", "{message}");
    }
    service.wait_settled(&scene.topic, secs(60));
}

#[test]
fn acks_deleted_while_it_stood_behind_them_freeze_all_topics_that_they_are_for() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "acks-trimmed", 1);
    let sibling = Scene::new(kafka, "acks-trimmed-sibling", 1);
    let shared = format!("{PATIENT}ack_topic = {:?}\n", scene.acks_topic());
    let config = scene.config(PATIENT).topic(&sibling.topic, &shared);
    let mut service = Ackwarden::start(config.section(LONG_SESSION));
    let places = numbered(&scene, 3);
    let others = numbered(&sibling, 1);
    service.wait_state(&places[2].position(), "outstanding", secs(60));
    service.wait_state(&others[0].position(), "outstanding", secs(60));
    stop(&mut service);
    acknowledge(&scene, &places[..2]);
    topics::delete_records(&scene.brokers, &scene.acks_topic(), 0, 1);
    service.signal(Signal::Cont);
    for topic in [&scene, &sibling] {
        wait_frozen(&service, topic, "acks-lost");
        make_due(&service, topic);
    }
    assert_stands_still(&service, &scene, "acks-lost", 0);
    assert_eq!(sibling.source().len(), 1);
    // One of the two is decided on: the other one stands still.
    go_on(&service, &scene);
    for n in [0, 2] {
        scene.wait_copies(&places[n].position(), 1, secs(60));
    }
    assert_eq!(scene.copies_of(&places[1].position()), []);
    wait_frozen(&service, &sibling, "acks-lost");
    assert_eq!(sibling.source().len(), 1);
    acknowledge(&scene, &places);
    service.wait_settled(&scene.topic, secs(60));
    go_on(&service, &sibling);
    sibling.wait_copies(&others[0].position(), 1, secs(60));
}

#[test]
fn where_the_file_says_so_a_lost_range_is_reported_and_gone_on_from() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "continue", 1);
    let lines = format!("{PATIENT}on_lost_range = \"report-and-continue\"\n");
    let mut service = Ackwarden::start(scene.config(&lines));
    scene.send_one("settled");
    scene.ack(&format!("{}/0/0", scene.topic));
    wait_committed(&scene, 1);
    service.kill9();
    let places = numbered(&scene, 4);
    topics::delete_records(&scene.brokers, &scene.topic, 0, 3);
    service.start_again();
    make_due(&service, &scene);
    for place in &places[2..] {
        scene.wait_copies(&place.position(), 1, secs(60));
        scene.ack(&place.position());
    }
    service.wait_settled(&scene.topic, secs(60));
    eventually("the log says what is lost", secs(60), || {
        service
            .log()
            .contains("records 1 to 2 were gone")
            .then_some(())
    });
    let labels = [("topic", scene.topic.as_str())];
    let lost = service.metric("ackwarden_lost_ranges_total", &labels);
    assert_eq!(lost as u64, 1);
    wait_going_on(&service, &scene);
}

#[test]
fn a_source_topic_that_was_made_anew_while_it_was_down_is_another_topic() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "anew", 1);
    let mut service = Ackwarden::start(scene.config(PATIENT));
    let old = numbered(&scene, 6);
    acknowledge(&scene, &old[..3]);
    wait_committed(&scene, 3);
    service.kill9();
    // An ACK of the old topic's last message, which nobody has read: the new topic will have that position, too.
    acknowledge(&scene, &old[5..]);
    make_anew(&scene, &scene.topic);
    let new = numbered(&scene, 8);
    service.start_again();
    let frozen = wait_frozen(&service, &scene, "source-lost");
    assert!(
        frozen["detail"]
            .as_str()
            .is_some_and(|d| d.contains("made anew")),
        "{frozen}"
    );
    make_due(&service, &scene);
    assert_quiet(&scene);
    // One of the new ones is acknowledged before anybody decides.
    acknowledge(&scene, &new[6..7]);
    service.kill9_and_start_again();
    wait_frozen(&service, &scene, "source-lost");
    acknowledge(&scene, &new[7..]);

    go_on(&service, &scene);
    for place in &new[..6] {
        scene.wait_copies(&place.position(), 1, secs(60));
    }
    assert_eq!(scene.copies_of(&new[7].position()), []);
    acknowledge(&scene, &new);
    service.wait_settled(&scene.topic, secs(60));
    wait_committed_past(&scene, 8);
    service.kill9_and_start_again();
    let origin = scene.send_one("one more");
    scene.wait_copies(&origin, 1, secs(60));
    wait_going_on(&service, &scene);
}

#[test]
fn an_ack_topic_that_was_made_anew_while_it_was_down_has_lost_its_acks() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "acks-anew", 1);
    let mut service = Ackwarden::start(scene.config(PATIENT));
    let places = numbered(&scene, 4);
    acknowledge(&scene, &places[1..2]);
    service.wait_state(&places[1].position(), "acked", secs(60));
    service.terminate();
    make_anew(&scene, &scene.acks_topic());
    acknowledge(&scene, &places[2..3]);
    service.start_again();
    let frozen = wait_frozen(&service, &scene, "acks-lost");
    assert!(
        frozen["detail"]
            .as_str()
            .is_some_and(|d| d.contains("made anew")),
        "{frozen}"
    );
    make_due(&service, &scene);
    assert_stands_still(&service, &scene, "acks-lost", 0);

    go_on(&service, &scene);
    for n in [0, 3] {
        scene.wait_copies(&places[n].position(), 1, secs(60));
    }
    for n in [1, 2] {
        assert_eq!(scene.copies_of(&places[n].position()), [], "{n}");
    }
    acknowledge(&scene, &places);
    service.wait_settled(&scene.topic, secs(60));
    wait_committed_past(&scene, 4);
    service.kill9_and_start_again();
    wait_going_on(&service, &scene);
}

#[test]
fn a_source_topic_that_is_made_anew_while_it_runs_is_another_topic() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "anew-live", 1);
    let service = Ackwarden::start(scene.config(PATIENT));
    let old = numbered(&scene, 3);
    acknowledge(&scene, &old[..1]);
    wait_committed(&scene, 1);
    make_anew(&scene, &scene.topic);
    // More than were read of the old one: the offset to be read next is there, with another record.
    let new = numbered(&scene, 8);
    wait_frozen(&service, &scene, "source-lost");
    make_due(&service, &scene);
    assert_quiet(&scene);
    go_on(&service, &scene);
    for place in &new {
        scene.wait_copies(&place.position(), 1, secs(60));
    }
    acknowledge(&scene, &new);
    service.wait_settled(&scene.topic, secs(60));
    wait_committed_past(&scene, 8);
}

#[test]
fn an_ack_topic_that_is_made_anew_while_it_runs_has_lost_its_acks() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "acks-anew-live", 1);
    let service = Ackwarden::start(scene.config(PATIENT));
    let places = numbered(&scene, 6);
    acknowledge(&scene, &places[..1]);
    wait_committed(&scene, 1);
    make_anew(&scene, &scene.acks_topic());
    // As many as were read of the old one, and one more.
    acknowledge(&scene, &places[1..3]);
    wait_frozen(&service, &scene, "acks-lost");
    make_due(&service, &scene);
    assert_quiet(&scene);
    go_on(&service, &scene);
    for place in &places[3..] {
        scene.wait_copies(&place.position(), 1, secs(60));
    }
    for place in &places[..3] {
        assert_eq!(scene.copies_of(&place.position()), []);
    }
    acknowledge(&scene, &places[3..]);
    service.wait_settled(&scene.topic, secs(60));
    wait_committed_past(&scene, 6);
}

#[test]
fn a_source_topic_that_was_made_anew_and_filled_behind_its_back_is_found_out_by_its_id() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "anew-filled", 1);
    let mut service = Ackwarden::start(scene.config(PATIENT).section(LONG_SESSION));
    let old = numbered(&scene, 3);
    acknowledge(&scene, &old[..1]);
    wait_committed(&scene, 1);
    stop(&mut service);
    make_anew(&scene, &scene.topic);
    // More than were read of the old one: the offset to be read next is there, with another record.
    let new = numbered(&scene, 8);
    service.signal(Signal::Cont);
    wait_frozen(&service, &scene, "source-lost");
    make_due(&service, &scene);
    go_on(&service, &scene);
    for place in &new {
        scene.wait_copies(&place.position(), 1, secs(60));
    }
    acknowledge(&scene, &new);
    service.wait_settled(&scene.topic, secs(60));
    wait_committed_past(&scene, 8);
    assert_eq!(scene.dead_letters(), []);
}

#[test]
fn an_ack_topic_that_was_made_anew_and_filled_behind_its_back_is_found_out_by_its_id() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "acks-filled", 1);
    let mut service = Ackwarden::start(scene.config(PATIENT).section(LONG_SESSION));
    let places = numbered(&scene, 8);
    acknowledge(&scene, &places[..2]);
    wait_committed(&scene, 2);
    stop(&mut service);
    make_anew(&scene, &scene.acks_topic());
    acknowledge(&scene, &places[2..7]);
    service.signal(Signal::Cont);
    wait_frozen(&service, &scene, "acks-lost");
    make_due(&service, &scene);
    go_on(&service, &scene);
    scene.wait_copies(&places[7].position(), 1, secs(60));
    scene.ack(&places[7].position());
    service.wait_settled(&scene.topic, secs(60));
    wait_committed_past(&scene, 8);
    for place in &places[..7] {
        assert_eq!(scene.copies_of(&place.position()), []);
    }
}

#[test]
fn lost_acks_that_can_be_about_no_message_are_no_loss() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "acks-idle", 1);
    let config = scene.config(PATIENT).instance_id("it");
    let mut service = Ackwarden::start(config);
    let places = numbered(&scene, 2);
    acknowledge(&scene, &places);
    wait_committed(&scene, 2);
    service.kill9();
    service.delete_store();
    // B repeats itself, and nobody reads it; there is no message that is not settled.
    acknowledge(&scene, &places);
    topics::delete_records(&scene.brokers, &scene.acks_topic(), 0, 4);
    service.start_again();
    let origin = scene.send_one("new");
    make_due(&service, &scene);
    scene.wait_copies(&origin, 1, secs(60));
    scene.ack(&origin);
    service.wait_settled(&scene.topic, secs(60));
    let labels = [("topic", scene.topic.as_str())];
    let lost = service.metric("ackwarden_lost_ranges_total", &labels);
    assert_eq!(lost as u64, 0);
}

/// What becomes of the store while the service is down.
#[derive(Debug, Clone, Copy)]
enum Store {
    Kept,
    Lost,
}

impl Store {
    fn treat(self, service: &Ackwarden) {
        match self {
            Self::Kept => {}
            Self::Lost => service.delete_store(),
        }
    }
}

/// Deletes the topic, and makes another one of that name.
fn make_anew(scene: &Scene, name: &str) {
    topics::delete(&scene.brokers, name);
    topics::create(&scene.brokers, &TopicSpec::new(name, 1));
}

/// Several timeouts pass, and nothing is sent again.
fn assert_quiet(scene: &Scene) {
    let length = scene.source().len();
    let_pass(STORM);
    assert_eq!(scene.source().len(), length, "sent again while frozen");
    assert_eq!(scene.dead_letters(), []);
}

/// So many records on partition 0, one by one in order.
fn numbered(scene: &Scene, count: usize) -> Vec<Place> {
    let records: Vec<NewRecord> = (0..count)
        .map(|n| NewRecord::new(format!("message {n}")).key("k").partition(0))
        .collect();
    scene.send(&records)
}

fn acknowledge(scene: &Scene, places: &[Place]) {
    let acks: Vec<NewRecord> = places
        .iter()
        .map(|place| NewRecord::ack(&place.position()).partition(0))
        .collect();
    scene.say(&acks);
}

fn low_water_mark(scene: &Scene) -> Option<i64> {
    committed(&scene.brokers, &scene.group(), &scene.topic, 0).map(|(offset, _)| offset)
}

fn wait_committed(scene: &Scene, offset: i64) {
    eventually(&format!("{offset} is committed"), secs(60), || {
        (low_water_mark(scene)? == offset).then_some(())
    });
}

fn wait_committed_past(scene: &Scene, offset: i64) {
    eventually(&format!("{offset} or more is committed"), secs(60), || {
        (low_water_mark(scene)? >= offset).then_some(())
    });
}

fn topic_view(service: &Ackwarden, scene: &Scene) -> Value {
    service.get(&format!("/topics/{}", scene.topic))
}

/// SIGSTOP; what it had asked Kafka for by then has been answered, so that it gets nothing of what comes now.
fn stop(service: &mut Ackwarden) {
    service.signal(Signal::Stop);
    let_pass(1.0);
}

pub fn wait_frozen(service: &Ackwarden, scene: &Scene, why: &str) -> Value {
    let frozen = eventually(&format!("it is frozen: {why}"), secs(120), || {
        let frozen = topic_view(service, scene)["frozen"].clone();
        (frozen["why"] == why).then_some(frozen)
    });
    assert!(
        frozen["cure"]
            .as_str()
            .is_some_and(|cure| cure.contains("report-and-continue")),
        "{frozen}"
    );
    frozen
}

/// Several timeouts pass, and nothing is written, committed or forgotten.
fn assert_stands_still(service: &Ackwarden, scene: &Scene, why: &str, low: i64) {
    assert_quiet(scene);
    assert_eq!(low_water_mark(scene), Some(low), "committed while frozen");
    let labels = [("topic", scene.topic.as_str()), ("why", why)];
    assert_eq!(service.metric("ackwarden_frozen", &labels) as u64, 1);
    let labels = [("topic", scene.topic.as_str())];
    assert_eq!(
        service.metric("ackwarden_lost_ranges_total", &labels) as u64,
        1
    );
}

/// Who reads only the log is told, too: why, and what to do.
fn wait_logged(service: &Ackwarden, why: &str) {
    eventually("the log says it", secs(60), || {
        let log = service.log();
        let said = |line: &str| line.contains(why) && line.contains("report-and-continue");
        log.lines().any(said).then_some(())
    });
}

pub fn go_on(service: &Ackwarden, scene: &Scene) {
    let change = json!({"on_lost_range": "report-and-continue"});
    patch(service, scene, "", &change);
    wait_going_on(service, scene);
}

/// What is outstanding is due soon, and so is what comes. A start forgets the former, if its checkpoint is older.
pub fn make_due(service: &Ackwarden, scene: &Scene) {
    patch(service, scene, "?apply=pending", &json!({"timeout": SOON}));
}

fn patch(service: &Ackwarden, scene: &Scene, query: &str, change: &Value) {
    let (status, body) = service.patch(&format!("/topics/{}{query}", scene.topic), change);
    assert_eq!(status, 200, "{body}");
}

/// A lease that lapsed on a busy machine comes back by itself.
fn wait_going_on(service: &Ackwarden, scene: &Scene) {
    eventually("it goes on", secs(60), || {
        (topic_view(service, scene)["frozen"] == Value::Null).then_some(())
    });
}
