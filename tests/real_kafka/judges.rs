//! The judges find what is wrong: each is shown a topic with the one fault that it is for.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::judge;
use crate::support::judge_dead::{Promise, Tally, dead_lettered_as_promised};
use crate::support::judge_time::{self, Standstills, Window};
use crate::support::judge_twins::twins_are_messages;
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

#[test]
fn a_commit_past_what_is_unsettled_is_found() {
    // Original at 0, its copy at 2, acknowledged at 500.
    let source = [original(0, 100), copy(2, 0, 2, 300)];
    let acks = [ack("t/0/0", 500)];
    let judged = |samples: &[judge_time::Commit]| {
        judge_time::never_committed_past_the_unsettled(samples, &source, &acks)
    };
    assert_eq!(
        judged(&[(400, 0, 0), (400, 0, 2), (500, 0, 3), (400, 1, 9)]),
        4
    );
    let why = violation(|| {
        judged(&[(499, 0, 3)]);
    });
    assert!(why.contains("t/0/0") && why.contains("to 3"), "{why}");
    let why = violation(|| {
        judge_time::never_committed_past_the_unsettled(&[(9_999, 0, 3)], &source, &[]);
    });
    assert!(why.contains("t/0/0"), "{why}");
}

#[test]
fn a_copy_that_is_late_without_a_standstill_is_found() {
    let source = [original(0, 100), copy(1, 0, 2, 5_000)];
    let acks = [ack("t/0/0", 1_000)];
    let judged = |from_ms, to_ms| {
        let standstills = Standstills {
            windows: vec![Window { from_ms, to_ms }],
            settling_ms: 700,
        };
        judge_time::late_only_by_a_standstill(&source, &acks, 500, &standstills)
    };
    assert_eq!(judged(900, 4_900), 1);
    assert_eq!(judged(900, 4_300), 1);
    for (from_ms, to_ms) in [(900, 4_200), (5_100, 9_900), (4_000, 5_000)] {
        let why = violation(|| {
            judged(from_ms, to_ms);
        });
        assert!(
            why.contains("copy t/0/1") && why.contains("4000 ms"),
            "{why}"
        );
    }
}

fn window(from_ms: i64, to_ms: i64) -> Window {
    Window { from_ms, to_ms }
}

#[test]
fn a_copy_before_its_time_is_found() {
    let source = [original(0, 100), copy(1, 0, 2, 1_100), copy(2, 0, 3, 2_000)];
    assert_eq!(judge_time::none_before_its_timeout(&source, 900, &[]), 2);
    let why = violation(|| {
        judge_time::none_before_its_timeout(&source, 1_000, &[window(1_900, 1_999)]);
    });
    assert!(
        why.contains("copy t/0/2") && why.contains("900 ms"),
        "{why}"
    );
    let excused = [window(1_900, 2_000)];
    assert_eq!(
        judge_time::none_before_its_timeout(&source, 1_000, &excused),
        2
    );
}

#[test]
fn dead_letters_that_were_not_promised_and_promises_not_kept_are_found() {
    let source = [original(0, 100), copy(1, 0, 2, 1_100), original(2, 200)];
    let fine_acks = [settlement(1, 2_250), ack("t/0/2", 300)];
    let dead = |origin, attempt, timestamp_ms| {
        let mut dead = dead(origin, attempt);
        dead.timestamp_ms = timestamp_ms;
        for (name, value) in &mut dead.headers {
            if name == b"ackwarden-cause" {
                *value = Some(b"attempts-exhausted".to_vec());
            }
        }
        dead
    };
    let fine_dead = [dead(0, 2, 2_200)];
    let promise = Promise {
        timeout_ms: 1_000,
        max_attempts: 2,
        slack_ms: 500,
        standstills: Standstills::default(),
    };
    let judged = |acks: &[SeenRecord], dead: &[SeenRecord], harmed: &[Window]| {
        let never = BTreeSet::from(["t/0/0".to_owned()]);
        dead_lettered_as_promised((&source, acks, dead), &promise, &never, harmed)
    };
    let tally = |twice, late_acks| Tally {
        dead: 1,
        twice,
        late_acks,
    };
    assert_eq!(judged(&fine_acks, &fine_dead, &[]), tally(0, 0));
    // Acknowledged when it was under way.
    let crossed = [&fine_acks[..], &[ack("t/0/1", 1_900)]].concat();
    assert_eq!(judged(&crossed, &fine_dead, &[]), tally(0, 1));
    // Acknowledged when something was harmed: whether the dead letter was written was never known.
    let crossed_alone = [&fine_acks[1..], &[ack("t/0/1", 1_900)]].concat();
    let at_it = [Window {
        from_ms: 2_000,
        to_ms: 2_100,
    }];
    assert_eq!(judged(&crossed_alone, &fine_dead, &at_it), tally(0, 1));
    // Or right behind it, before its settlement was written; but not long after.
    let behind_it = |ms| {
        [Window {
            from_ms: ms,
            to_ms: ms,
        }]
    };
    assert_eq!(
        judged(&crossed_alone, &fine_dead, &behind_it(2_600)),
        tally(0, 1)
    );
    let why = violation(|| {
        judged(&crossed_alone, &fine_dead, &behind_it(2_800));
    });
    assert!(why.contains("no settlement"), "{why}");
    // Twice, and something was harmed between the two.
    let twice = [dead(0, 2, 2_200), dead(0, 2, 9_000)];
    let harmed = [Window {
        from_ms: 5_000,
        to_ms: 5_000,
    }];
    assert_eq!(judged(&fine_acks, &twice, &harmed), tally(1, 0));
    let wrong = |acks: &[SeenRecord], dead: &[SeenRecord], word: &str| {
        let why = violation(|| {
            judged(acks, dead, &[]);
        });
        assert!(why.contains(word), "{word}: {why}");
    };
    wrong(&fine_acks, &twice, "nothing was harmed");
    wrong(&fine_acks, &[], "never acknowledged");
    wrong(&fine_acks, &[], "without a dead letter");
    wrong(&fine_acks[..1], &fine_dead, "t/0/2: neither");
    wrong(&fine_acks[1..], &fine_dead, "no settlement");
    wrong(&crossed_alone, &fine_dead, "no settlement");
    wrong(&fine_acks, &[dead(0, 1, 2_200)], "of attempt Some(1)");
    wrong(&fine_acks, &[dead(0, 2, 2_000)], "900 ms after");
    let settled_first = [settlement(1, 2_100), ack("t/0/2", 300)];
    wrong(&settled_first, &fine_dead, "before the dead letter");
    let long_acked = [&fine_acks[..], &[ack("t/0/0", 1_600)]].concat();
    wrong(&long_acked, &fine_dead, "600 ms after the ACK");
    wrong(
        &fine_acks,
        &[dead(0, 2, 2_200), dead(7, 2, 2_200)],
        "of nothing",
    );
    let copied_after = [settlement(1, 500), ack("t/0/2", 300)];
    wrong(&copied_after, &fine_dead, "after its settlement");
}

#[test]
fn a_twin_that_was_tracked_is_a_message_of_its_own_and_only_where_something_was_harmed() {
    // 2 is a second copy of 0 for attempt 2, and has a copy of its own.
    let source = [
        original(0, 100),
        copy(1, 0, 2, 1_100),
        copy(2, 0, 2, 1_200),
        copy(3, 2, 3, 2_200),
    ];
    let why = violation(|| {
        judge::copies_identical(&source);
    });
    assert!(why.contains("t/0/2: not on the topic"), "{why}");
    let harmed = [Window {
        from_ms: 900,
        to_ms: 1_000,
    }];
    let mut judged = source.clone();
    let twins = twins_are_messages(&mut judged, &[], &harmed, 500);
    assert_eq!(twins.len(), 1, "{twins:?}");
    assert_eq!(judge::copies_identical(&judged), 2);
    judge::attempts_without_gaps(&judged, &[], 3, 1);
    let why = violation(|| {
        judge::attempts_without_gaps(&judged, &[], 2, 1);
    });
    assert!(why.contains("t/0/2: attempts [2, 3]"), "{why}");
    let why = violation(|| {
        twins_are_messages(&mut source.clone(), &[], &harmed, 100);
    });
    assert!(why.contains("nothing was harmed"), "{why}");
    // Where nothing of it was sent again, it is a copy like others; what is not there stays missing.
    assert_eq!(
        twins_are_messages(&mut source.clone()[..3], &[], &harmed, 500),
        Vec::<String>::new()
    );
    let mut missing = [copy(1, 7, 2, 1_100)];
    let twins = twins_are_messages(&mut missing, &[], &harmed, 500);
    assert_eq!(twins, Vec::<String>::new());
}

fn settlement(of: i64, timestamp_ms: i64) -> SeenRecord {
    let mut settlement = ack(&format!("t/0/{of}"), timestamp_ms);
    settlement.headers.push((
        b"ackwarden-verdict".to_vec(),
        Some(b"dead-lettered".to_vec()),
    ));
    settlement
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
