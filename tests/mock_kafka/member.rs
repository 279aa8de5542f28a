//! The group: assignment, and commits with their metadata.

use std::sync::mpsc::channel;

use ackwarden::kafka::admin::{Admin, At, Broker};
use ackwarden::kafka::member::{Member, MemberEvent};

use crate::{PATIENCE, Scene};

#[test]
fn a_member_is_assigned_commits_and_finds_its_metadata_again() {
    let scene = Scene::start();
    let (events, happened) = channel();
    let settings = scene.settings.member("one");
    let member = Member::spawn(&settings, &["orders"], &scene.trouble, events).expect("a member");
    let mut ours = Vec::new();
    while ours.len() < 2 {
        match happened.recv_timeout(PATIENCE).expect("an assignment") {
            MemberEvent::Assigned(partitions) => ours.extend(partitions),
            other => panic!("{other:?}"),
        }
    }
    let none = member.committed(ours.clone()).expect("an answer");
    assert!(none.iter().all(|c| c.offset.is_none()));
    let (done, results) = channel();
    let commit = vec![("orders".to_owned(), 1, 42, "a1:metadata".to_owned())];
    member.commit(commit, move |_, outcome| {
        let _ = done.send(outcome);
    });
    let each = results.recv_timeout(PATIENCE).expect("a result");
    assert_eq!(each, Ok(vec![Ok(())]));
    let found = member.committed(ours).expect("an answer");
    let one = found
        .iter()
        .find(|c| c.partition == 1)
        .expect("partition 1");
    assert_eq!(
        (one.offset, one.metadata.as_slice()),
        (Some(42), b"a1:metadata".as_slice())
    );
    member.close(PATIENCE);
}

#[test]
fn ends_are_told_of_all_partitions_and_a_missing_topic_is_missing() {
    let scene = Scene::start();
    scene.publisher().fill(1, 4);
    let settings = scene.settings.admin();
    let admin = Admin::new("admin", &settings, &scene.trouble, Broker::Embedded).expect("admin");
    let info = admin.topic("orders").expect("an answer").expect("a topic");
    assert_eq!(info.partitions, [0, 1]);
    let ends = admin.offsets("orders", &info.partitions, At::Latest, false);
    assert_eq!(ends, Ok(vec![(0, 0), (1, 4)]));
    let starts = admin.offsets("orders", &info.partitions, At::Earliest, false);
    assert_eq!(starts, Ok(vec![(0, 0), (1, 0)]));
    assert!(admin.cluster_id().is_some());
}
