//! The judges find what is wrong: each is shown a topic with the one fault that it is for.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::judge;
use crate::support::records::SeenRecord;

#[test]
fn a_clean_history_passes_all_judges() {
    let source = [original(0, 100), copy(1, 0, 2, 200), copy(2, 0, 3, 300)];
    judge::none_republished_after_ack(&source, &[ack("t/0/0", 290)], 50);
    judge::attempts_without_gaps(&source, &[dead(0, 3)], 3, 1);
    assert_eq!(judge::copies_identical(&source), 2);
    judge::dead_letters_identical(&source, &[dead(0, 3)]);
    assert_eq!(judge::all_processed(&BTreeSet::from([1, 2]), &[1, 2, 2]), 1);
}

#[test]
fn a_message_that_was_never_processed_is_found() {
    let why = violation(|| {
        judge::all_processed(&BTreeSet::from([1, 2, 3]), &[1, 3]);
    });
    assert!(why.contains("order 2"), "{why}");
}

#[test]
fn a_copy_after_an_ack_is_found_whichever_delivery_was_acknowledged() {
    let source = [original(0, 100), copy(1, 0, 2, 200), copy(2, 0, 3, 900)];
    for acknowledged in ["t/0/0", "t/0/1", "t/0/2"] {
        let acks = [ack("t/0/7", 1), ack(acknowledged, 250)];
        let why = violation(|| judge::none_republished_after_ack(&source, &acks, 500));
        assert!(
            why.contains("copy t/0/2") && why.contains("650 ms"),
            "{why}"
        );
    }
    let mut nack = ack("t/0/0", 250);
    nack.headers
        .push((b"ackwarden-verdict".to_vec(), Some(b"nack".to_vec())));
    judge::none_republished_after_ack(&source, &[nack], 500);
}

#[test]
fn a_gap_a_repetition_and_an_attempt_too_many_are_found() {
    let gap = [original(0, 1), copy(1, 0, 3, 2)];
    assert!(violation(|| judge::attempts_without_gaps(&gap, &[], 5, 1)).contains("[1, 3]"));
    let twice = [original(0, 1), copy(1, 0, 2, 2), copy(2, 0, 2, 3)];
    judge::attempts_without_gaps(&twice, &[], 5, 2);
    assert!(violation(|| judge::attempts_without_gaps(&twice, &[], 5, 1)).contains("2 times"));
    let many = [original(0, 1), copy(1, 0, 2, 2)];
    violation(|| judge::attempts_without_gaps(&many, &[], 1, 1));
    violation(|| judge::attempts_without_gaps(&many, &[dead(0, 3)], 5, 1));
}

#[test]
fn a_copy_that_differs_in_anything_is_found() {
    let first = original(0, 1);
    let same = copy(1, 0, 2, 2);
    type Spoil = fn(&mut SeenRecord);
    let spoilt: [(&str, Spoil); 6] = [
        ("key", |r| r.key = Some(Vec::new())),
        ("value", |r| r.value = None),
        ("headers", |r| r.headers.insert(0, (b"x".to_vec(), None))),
        ("ackwarden-group", |r| {
            r.headers
                .push((b"ackwarden-group".to_vec(), Some(b"again".to_vec())))
        }),
        ("ackwarden-cause", |r| {
            r.headers.retain(|(n, _)| n != b"ackwarden-cause")
        }),
        ("partition", |r| r.partition = 1),
    ];
    for (what, spoil) in spoilt {
        let mut other = same.clone();
        spoil(&mut other);
        let why = violation(|| {
            judge::copies_identical(&[first.clone(), other.clone()]);
        });
        assert!(why.contains(what), "{what}: {why}");
    }
    let why = violation(|| {
        judge::copies_identical(std::slice::from_ref(&same));
    });
    assert!(why.contains("not on the topic"), "{why}");
}

fn violation(judge: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(judge)).expect_err("the judge saw nothing wrong");
    panic.downcast_ref::<String>().expect("a report").clone()
}

fn original(offset: i64, timestamp_ms: i64) -> SeenRecord {
    SeenRecord {
        topic: "t".into(),
        partition: 0,
        offset,
        key: Some(b"k".to_vec()),
        value: Some(b"v".to_vec()),
        headers: vec![(b"own".to_vec(), Some(b"1".to_vec()))],
        timestamp_ms,
    }
}

fn copy(offset: i64, origin: i64, attempt: u32, timestamp_ms: i64) -> SeenRecord {
    let mut copy = original(offset, timestamp_ms);
    let origin = format!("t/0/{origin}");
    for (name, value) in [
        ("message-id", origin.as_str()),
        ("attempt", &attempt.to_string()),
        ("origin", &origin),
        ("origin-timestamp", "1"),
        ("cause", "timeout"),
        ("group", "cluster/group"),
    ] {
        copy.headers
            .push((format!("ackwarden-{name}").into_bytes(), Some(value.into())));
    }
    copy
}

fn dead(origin: i64, attempt: u32) -> SeenRecord {
    let mut dead = copy(0, origin, attempt, 1_000);
    dead.topic = "t-dlq".into();
    dead
}

fn ack(position: &str, timestamp_ms: i64) -> SeenRecord {
    SeenRecord {
        topic: "t-acks".into(),
        partition: 0,
        offset: 0,
        key: Some(position.into()),
        value: None,
        headers: Vec::new(),
        timestamp_ms,
    }
}
