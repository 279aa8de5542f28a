//! What Kafka says of each partition of a commit.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;

use ackwarden::config::KafkaConfig;
use ackwarden::kafka::member::{Member, MemberEvent};
use ackwarden::kafka::settings::ClientSettings;
use ackwarden::kafka::trouble::Trouble;

use crate::require_kafka;
use crate::scene::Scene;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn one_partition_that_kafka_refuses_does_not_fail_the_commit_of_the_others() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "commits", 3);
    let settings = ClientSettings::new(&KafkaConfig {
        brokers: scene.brokers.clone(),
        group_id: scene.group(),
        instance_id: None,
        state_topic: "unused".into(),
        properties: BTreeMap::new(),
        consumer: BTreeMap::new(),
        producer: BTreeMap::new(),
    });
    let (events, happened) = channel();
    let topics = [scene.topic.as_str()];
    let member = Member::spawn(
        &settings.member("one"),
        &topics,
        &Trouble::default(),
        events,
    )
    .expect("a member");
    let mut ours = Vec::new();
    while ours.len() < 3 {
        match happened.recv_timeout(PATIENCE).expect("an assignment") {
            MemberEvent::Assigned(partitions) => ours.extend(partitions),
            other => panic!("{other:?}"),
        }
    }
    let commit = |metadata: [usize; 3]| {
        let (done, results) = channel();
        let records = (0..).zip(metadata).map(|(partition, len)| {
            let topic = scene.topic.clone();
            (topic, partition, 7, "m".repeat(len))
        });
        member.commit(records.collect(), move |_, outcome| {
            let _ = done.send(outcome);
        });
        results.recv_timeout(PATIENCE).expect("a result")
    };
    // More metadata than Kafka takes (4,096 bytes by default), in whichever place.
    for refused in 0..3 {
        let mut metadata = [10; 3];
        metadata[refused] = 5_000;
        let each = commit(metadata).expect("an answer");
        for (partition, outcome) in each.iter().enumerate() {
            assert_eq!(outcome.is_err(), partition == refused, "{each:?}");
        }
    }
    assert_eq!(commit([10; 3]), Ok(vec![Ok(()); 3]));
    member.close(PATIENCE);
}
