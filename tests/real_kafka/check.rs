//! `ackwarden check`: says what is wrong, where, and what to do.

use std::process::Command;

use crate::require_kafka;
use crate::scene::{Scene, secs};
use crate::support::{eventually, topics};

fn check(scene: &Scene, brokers: &str) -> (i32, String) {
    let dir = crate::support::scratch_dir("check");
    let file = dir.join("ackwarden.toml");
    let text = format!(
        "[kafka]\nbrokers = {brokers:?}\ngroup_id = \"check-{}\"\n[store]\npath = {:?}\n[http]\nlisten = \
         \"127.0.0.1:0\"\n[topics.{:?}]\n",
        scene.topic,
        dir.join("store"),
        scene.topic
    );
    std::fs::write(&file, text).expect("a configuration");
    let output = Command::new(env!("CARGO_BIN_EXE_ackwarden"))
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .expect("the program runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), shown)
}

#[test]
fn check_finds_nothing_wrong_with_what_is_right() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "check-good", 2);
    let (code, shown) = check(&scene, &scene.brokers);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("0 failures"), "{shown}");
    assert!(
        shown.contains(&format!("{}: 2 partitions", scene.topic)),
        "{shown}"
    );
}

#[test]
fn check_refuses_a_compacted_ack_topic_and_says_how_to_mend_it() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "check-compacted", 1);
    let acks = format!("{}-acks", scene.topic);
    topics::alter_config(&scene.brokers, &acks, &[("cleanup.policy", "compact")]);
    // What was just altered is not known to the broker at once.
    let shown = eventually("the new policy is known", secs(60), || {
        let (code, shown) = check(&scene, &scene.brokers);
        (code == 1).then_some(shown)
    });
    assert!(
        shown.contains(&acks) && shown.contains("cleanup.policy=delete"),
        "{shown}"
    );
}

#[test]
fn check_names_a_broker_that_does_not_answer() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "check-away", 1);
    let (code, shown) = check(&scene, "127.0.0.1:1");
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("FAIL  kafka at 127.0.0.1:1"), "{shown}");
}
