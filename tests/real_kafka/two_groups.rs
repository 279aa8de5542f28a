//! Two coordinators of different groups on one topic, as two teams may have them: each follows its own messages alone.

use std::collections::BTreeSet;

use crate::require_kafka;
use crate::scene::{LONG_SESSION, Scene, secs};
use crate::support::ackwarden::{Ackwarden, ServeConfig};
use crate::support::eventually;
use crate::support::records::SeenRecord;

const TO_THE_END: &str = "timeout = \"1s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 3\n";
/// Time enough for B on a slow machine.
const PATIENT: &str = "timeout = \"10s\"\nbackoff = 1.0\njitter = 0.0\nmax_attempts = 50\n";
/// Each copy of one group is a message to the other, which counts on from it: 2 + 4 copies, and no more.
const COPIES_MAX: usize = 6;

fn both(scene: &Scene, lines: &str) -> [Ackwarden; 2] {
    ["first", "second"].map(|name| {
        let group = format!("{}-{name}", scene.topic);
        let config = ServeConfig::new(&scene.brokers, &group).section(LONG_SESSION);
        Ackwarden::start(config.topic(&scene.topic, lines))
    })
}

fn wait_all_settled(services: &[Ackwarden], scene: &Scene) {
    for service in services {
        service.wait_settled(&scene.topic, secs(120));
    }
}

#[test]
fn two_groups_on_one_topic_do_not_settle_each_others_messages_and_attempts_do_not_multiply() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "two-groups", 1);
    let services = both(&scene, TO_THE_END);
    let silent = scene.send_one("nobody answers");
    for service in &services {
        service.wait_state(&silent, "dead", secs(60));
    }
    wait_all_settled(&services, &scene);
    let (source, dead) = (scene.source(), scene.dead_letters());
    let attempts: Vec<u32> = source.iter().filter_map(SeenRecord::attempt).collect();
    assert!(attempts.iter().all(|n| (2..=3).contains(n)), "{attempts:?}");
    assert!(attempts.len() <= COPIES_MAX, "{attempts:?}");
    let of = |origin: &str, records: &[SeenRecord]| -> BTreeSet<String> {
        let records = records.iter().filter(|r| r.origin() == Some(origin));
        let groups = records.filter_map(|r| r.header("ackwarden-group"));
        groups.map(str::to_owned).collect()
    };
    assert_eq!(of(&silent, &source).len(), 2, "each retried it");
    assert_eq!(of(&silent, &dead).len(), 2, "each dead-lettered it");
    // Each message of each group: the original, and what the other one sent; and each has its own settlement.
    assert!(dead.len() <= 2 * (1 + COPIES_MAX / 2), "{}", dead.len());
    let settled: BTreeSet<(String, String)> = scene
        .acks()
        .iter()
        .map(|ack| {
            let group = ack.header("ackwarden-group").expect("a settlement");
            (group.to_owned(), ack.key_text().expect("a key").to_owned())
        })
        .collect();
    assert_eq!(settled.len(), dead.len());
}

#[test]
fn an_ack_of_whatever_b_read_settles_it_in_both_groups() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "two-groups-ack", 1);
    let services = both(&scene, PATIENT);
    let at_once = scene.send_one("acknowledged at once");
    scene.ack(&at_once);
    let later = scene.send_one("B forgets the first delivery");
    for service in &services {
        service.wait_state(&at_once, "acked", secs(60));
    }
    // B acknowledges each copy that it reads, whoever sent it.
    let mut acknowledged = BTreeSet::new();
    eventually(
        "both groups sent it again, and it is settled",
        secs(120),
        || {
            for copy in scene.copies_of(&later) {
                if acknowledged.insert(copy.position()) {
                    scene.ack(&copy.position());
                }
            }
            let settled = services.iter().all(|s| s.unsettled(&scene.topic) == 0);
            (settled && acknowledged.len() >= 2).then_some(())
        },
    );
    assert_eq!(scene.copies_of(&at_once), []);
    assert_eq!(scene.dead_letters(), []);
    for service in &services {
        service.wait_state(&later, "acked", secs(60));
    }
}
