//! Restarts from a checkpoint, and wall clocks that are set: a retry is neither forgotten for it, nor sent in vain.

use ackwarden::core::policy::PolicyPatch;
use ackwarden::core::view::State;
use ackwarden::core::{Policy, Publication};

use crate::driver::{Driver, policy};
use crate::kept::Kept;

const HOUR_MS: i64 = 3_600_000;

/// Killed, and back at once with its store.
fn restart(before: Driver, policy: &Policy, kept: &Kept) -> Driver {
    let mut d = Driver::new(policy.clone());
    d.now_ms = before.now_ms;
    d.wall_set_ms = before.wall_set_ms;
    d.source_end = before.source_end;
    d.ack_end = before.ack_end;
    d.committed.clone_from(&before.committed);
    let low = before.committed.map_or(0, |(low, _)| low);
    d.assign_with(low, 0, Some(kept.0.clone()));
    d
}

fn checkpoint(kept: &mut Kept, d: &mut Driver) {
    let now = d.now();
    kept.checkpoint(&mut d.core, now);
}

/// Its second delivery was just read.
fn retried_once(policy: &Policy) -> Driver {
    let mut d = Driver::start(policy.clone());
    d.message(None, 7);
    d.pass(policy.timeout_ms + 100);
    d.copy_lands();
    d
}

#[test]
fn a_crash_loop_postpones_no_retry() {
    let policy = Policy {
        timeout_ms: 5_000,
        ..policy()
    };
    let mut d = retried_once(&policy);
    let mut kept = Kept::default();
    let began = d.now_ms;
    while d.published.is_empty() {
        // Half a second of it is the assignment.
        d.pass(300);
        checkpoint(&mut kept, &mut d);
        d = restart(d, &policy, &kept);
        let waited = d.now_ms - began;
        assert!(waited < 7_000, "not sent again after {waited} ms");
    }
    assert!(d.now_ms - began >= 5_000);
}

#[test]
fn what_was_parked_for_want_of_a_dead_letter_topic_dies_when_it_comes_back_and_there_is_one() {
    let nowhere = Policy {
        dead_letter: None,
        max_attempts: 1,
        ..policy()
    };
    let mut d = Driver::start(nowhere.clone());
    let m = d.message(None, 7);
    d.pass(1_100);
    assert_eq!(d.state(m), State::Parked);
    let mut kept = Kept::default();
    checkpoint(&mut kept, &mut d);
    let mut d = restart(d, &nowhere, &kept);
    d.pass(100);
    assert_eq!(d.state(m), State::Parked);
    let somewhere = Policy {
        dead_letter: Some("dlq".into()),
        ..nowhere
    };
    let mut d = restart(d, &somewhere, &kept);
    d.pass(100);
    let Some(Publication::DeadLetter { reason, .. }) = d.published.first().map(|p| &p.what) else {
        panic!("{:?}", d.published);
    };
    assert_eq!(*reason, None);
}

#[test]
fn a_wall_clock_that_is_set_while_it_runs_makes_nothing_due_at_the_next_start() {
    let policy = Policy {
        timeout_ms: 60_000,
        ..policy()
    };
    let mut d = retried_once(&policy);
    let first = d.message(None, 7);
    let mut kept = Kept::default();
    for set_ms in [HOUR_MS, -HOUR_MS, HOUR_MS] {
        d.pass(1_000);
        checkpoint(&mut kept, &mut d);
        d.wall_set_ms += set_ms;
        d.pass(1_000);
        checkpoint(&mut kept, &mut d);
        d = restart(d, &policy, &kept);
        d.pass(3_000);
        assert!(d.published.is_empty(), "{:?}", d.published);
        assert!(d.found(first).message.age_ms < 30_000);
    }
    // And both still come, a minute after they were read.
    d.pass(50_000);
    assert_eq!(d.published.len(), 2, "{:?}", d.published);
}

#[test]
fn a_wall_clock_that_was_set_back_meanwhile_postpones_a_retry_by_no_more_than_one_wait() {
    let policy = Policy {
        timeout_ms: 5_000,
        timeout_max_ms: 8_000,
        ..policy()
    };
    let mut d = retried_once(&policy);
    let mut kept = Kept::default();
    checkpoint(&mut kept, &mut d);
    d.wall_set_ms -= HOUR_MS;
    d = restart(d, &policy, &kept);
    d.pass(8_000);
    assert_eq!(d.published.len(), 1);
}

#[test]
fn what_is_timed_anew_and_was_due_before_by_that_waits_for_all_acks_of_before_the_change() {
    let mut d = Driver::start(Policy {
        timeout_ms: 10_000,
        ..policy()
    });
    let first = d.message(None, 7);
    d.pass(3_000);
    let second = d.message(None, 7);
    d.pass(7_200);
    let copy = d.copy_lands();
    // What was on the ACK topic when this one was due is known: later than the first will have been due, by what is set below.
    d.pass(3_000);
    d.copy_lands();
    d.pass(1_500);
    // An ACK that is not read yet.
    d.ack_end += 1;
    d.overrides(
        PolicyPatch {
            timeout_ms: Some(1_000),
            ..PolicyPatch::default()
        },
        true,
    );
    d.pass(300);
    assert!(d.published.is_empty(), "{:?}", d.published);
    // It was about the first.
    d.ack_end -= 1;
    d.ack(copy);
    d.pass(300);
    assert_eq!(d.state(first), State::Acked);
    let sent: Vec<i64> = d.published.iter().map(|p| p.msg.origin).collect();
    assert_eq!(sent, [second]);
}

#[test]
fn what_is_due_in_one_partition_does_not_keep_the_others_waiting() {
    let mut d = Driver::start(Policy {
        retry_rate: 10,
        ..policy()
    });
    d.assign_other(1);
    d.assign_other(2);
    for _ in 0..100 {
        d.message(None, 7);
    }
    d.message_in(2);
    for _ in 0..100 {
        d.message_in(1);
    }
    // The one that was saved up, and ten more in the second after the timeout.
    d.pass(2_000);
    let sent = |partition| {
        let of = d.published.iter().map(|p| p.msg.partition);
        of.filter(|p| *p == partition).count()
    };
    let (first, second) = (sent(0), sent(1));
    assert_eq!(sent(2), 1, "{first} and {second} of the others");
    assert!(first.abs_diff(second) <= 1, "{first} and {second}");
    assert!((9..=11).contains(&(first + second + 1)));
}
