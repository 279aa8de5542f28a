//! Orders of events in which a message could be lost, or sent in vain: each is a way that was thought of before it was met.

use ackwarden::core::effect::Headers;
use ackwarden::core::record::{Cause, CauseKind};
use ackwarden::core::types::LOG_START;
use ackwarden::core::view::{FrozenWhy, OperatorAction, State};
use ackwarden::core::{CoreLimits, OnLostRange, Policy, Publication, Verdict};

use crate::driver::{LIMITS, at, policy};
use crate::scene::{Logs, Member};

const MANY: u64 = 1_000;

fn start() -> (Logs, Member) {
    let logs = Logs::new();
    let mut member = Member::start(&logs, "g", policy(), MANY);
    member.pass(&logs, 500);
    (logs, member)
}

#[test]
fn a_copy_that_lands_behind_the_low_water_mark_after_the_ack_of_attempt_1_is_not_resent_after_a_crash()
 {
    let (mut logs, mut it) = start();
    let m = logs.send();
    it.pass(&logs, 1_100);
    assert_eq!(it.published.len(), 1, "attempt 2 is submitted");
    logs.ack(m);
    it.pass(&logs, 100);
    assert_eq!(it.state(m), Some(State::Acked));
    // Others come and go meanwhile, and the low-water mark with them.
    for _ in 0..5 {
        let other = logs.send();
        logs.ack(other);
        it.pass(&logs, 1_100);
    }
    let low = it.low();
    assert_eq!(low, logs.source.len() as i64);
    let (_, copy) = it.lands(&mut logs);
    assert!(copy.offset >= low);
    it.crash(&logs);
    it.pass(&logs, 10_000);
    assert_eq!(it.published.len(), 0);
    assert_eq!(it.outstanding(), 0);
}

#[test]
fn after_a_rebuild_from_the_third_delivery_a_late_ack_of_the_second_settles() {
    let (mut logs, mut it) = start();
    logs.send();
    it.pass(&logs, 1_100);
    let second = it.publishes(&mut logs);
    it.pass(&logs, 1_100);
    let third = it.publishes(&mut logs);
    it.pass(&logs, 100);
    assert_eq!(it.low(), third);
    it.crash(&logs);
    it.pass(&logs, 200);
    assert_eq!(it.state(third), Some(State::Retrying));
    logs.ack(second);
    it.pass(&logs, 5_000);
    assert_eq!(it.outstanding(), 0);
    assert_eq!(it.published.len(), 0);
}

#[test]
fn a_late_nack_of_attempt_1_after_attempt_2_was_sent_burns_nothing_now_and_on_every_replay() {
    let (mut logs, mut it) = start();
    let m = logs.send();
    it.pass(&logs, 1_100);
    it.publishes(&mut logs);
    logs.say(m, Verdict::Nack);
    it.pass(&logs, 500);
    for _ in 0..3 {
        assert_eq!(it.published.len(), 0);
        assert_eq!(it.attempt(m), 2);
        // From the very beginning, as if nothing had been committed.
        it.crash_to(&logs, 0, Some(vec![(0, 0)]));
        it.pass(&logs, 500);
    }
}

#[test]
fn a_nack_that_was_acted_upon_is_not_acted_upon_again_in_a_replay() {
    let (mut logs, mut it) = start();
    let m = logs.send();
    it.pass(&logs, 50);
    logs.say(m, Verdict::Nack);
    it.pass(&logs, 300);
    it.publishes(&mut logs);
    it.pass(&logs, 50);
    it.crash_to(&logs, 0, Some(vec![(0, 0)]));
    it.pass(&logs, 500);
    assert_eq!(it.published.len(), 0);
    assert_eq!(it.attempt(m), 2);
}

#[test]
fn the_settlement_of_a_dead_letter_does_not_settle_the_redriven_message_in_a_replay() {
    let (mut logs, mut it) = start();
    // It pins the low-water mark, so that everything is read again.
    let first = logs.send();
    logs.say(first, Verdict::Extend);
    let m = logs.send();
    it.pass(&logs, 100);
    logs.say(m, Verdict::Reject);
    it.pass(&logs, 200);
    it.publishes(&mut logs);
    it.publishes(&mut logs);
    it.pass(&logs, 50);
    assert_eq!(
        (it.state(m), &it.dead_letters[..]),
        (Some(State::Dead), &[m][..])
    );
    // Redriven: a new record with the same payload, and none of our headers.
    let redriven = logs.send();
    it.pass(&logs, 100);
    assert_eq!(it.state(redriven), Some(State::Outstanding));
    it.crash_to(&logs, 0, Some(vec![(0, 0)]));
    it.pass(&logs, 300);
    assert_eq!(it.state(redriven), Some(State::Outstanding));
    assert_ne!(it.state(m), Some(State::Outstanding));
}

#[test]
fn a_crash_between_birth_and_first_commit_begins_at_the_birth_again() {
    let mut logs = Logs::new();
    let old = logs.send();
    let born = logs.source.len() as i64;
    let mut it = Member::start(&logs, "g", policy(), MANY);
    it.crash_to(&logs, born, Some(vec![(0, 0)]));
    let m = logs.send();
    // Killed before it has read or committed anything: the birth says the same as before.
    it.crash_to(&logs, born, Some(vec![(0, 0)]));
    it.pass(&logs, 1_600);
    assert_eq!(it.published.len(), 1);
    assert_eq!(
        it.published[0].msg.origin, m,
        "old history ({old}) is left alone"
    );
}

#[test]
fn a_partition_that_appears_later_is_followed_from_its_first_record_and_nothing_acknowledged_there_is_resent()
 {
    let (mut logs, mut it) = start();
    it.revoke(&logs);
    // A and B found it before we did: the ACK is read while the partition is nobody's yet.
    let (acked, open) = (logs.send(), logs.send());
    logs.ack(acked);
    it.pass(&logs, 100);
    it.assign(&logs, LOG_START, None, true, None);
    it.pass(&logs, 2_000);
    let origins: Vec<i64> = it.published.iter().map(|p| p.msg.origin).collect();
    assert_eq!(origins, [open]);
}

#[test]
fn an_operators_dead_letter_decision_that_is_durable_survives_a_crash_before_the_dead_letter() {
    let (mut logs, mut it) = start();
    let m = logs.send();
    it.pass(&logs, 100);
    it.operator(&logs, m, OperatorAction::DeadLetter);
    it.lands(&mut logs);
    it.crash(&logs);
    it.pass(&logs, 1_000);
    assert!(matches!(
        it.published[0].what,
        Publication::DeadLetter { .. }
    ));
    it.publishes(&mut logs);
    it.publishes(&mut logs);
    assert_eq!(it.dead_letters, [m]);
    assert_eq!(it.outstanding(), 0);
}

#[test]
fn two_groups_on_one_topic_do_not_settle_each_others_messages_and_attempts_do_not_multiply() {
    let mut logs = Logs::new();
    let mut g = Member::start(&logs, "g", policy(), MANY);
    let mut h = Member::start(&logs, "h", policy(), MANY);
    g.pass(&logs, 500);
    h.pass(&logs, 500);
    let m = logs.send();
    // The first goes all the way; the other is slow.
    for _ in 0..3 {
        g.pass(&logs, 1_100);
        g.publishes(&mut logs);
    }
    g.publishes(&mut logs);
    g.pass(&logs, 50);
    assert_eq!(
        (g.state(m), &g.dead_letters[..]),
        (Some(State::Dead), &[m][..])
    );
    h.pass(&logs, 100);
    // What the first sent is a message of its own to the other, and the settlement names the last of that.
    let last = logs.source.len() as i64 - 1;
    for offset in [m, last] {
        let state = h.state(offset).expect("it is tracked");
        assert!(!state.is_settled(), "{offset}: the other's settlement");
    }
    let decided = logs.send();
    g.pass(&logs, 50);
    h.pass(&logs, 50);
    g.operator(&logs, decided, OperatorAction::Ack);
    g.publishes(&mut logs);
    g.pass(&logs, 50);
    h.pass(&logs, 50);
    assert_eq!(
        (g.state(decided), h.state(decided)),
        (Some(State::OperatorAcked), Some(State::Outstanding)),
        "the other's operator decides for the other"
    );
    logs.ack(decided);
    // Nobody acknowledges anything, for long.
    for _ in 0..60 {
        for it in [&mut g, &mut h] {
            it.pass(&logs, 200);
            while !it.published.is_empty() {
                it.publishes(&mut logs);
            }
        }
    }
    assert_eq!((g.outstanding(), h.outstanding()), (0, 0));
    let attempts = logs.source.iter().flatten().filter_map(|r| r.copy.as_ref());
    let attempts: Vec<u32> = attempts.map(|(_, headers)| headers.attempt).collect();
    assert!(attempts.iter().all(|n| *n <= 3), "{attempts:?}");
    // Two of each group for the original; the other group counts on from the first copies, and there it ends.
    assert!(attempts.len() <= 6, "{attempts:?}");
}

#[test]
fn acks_that_retention_took_while_the_coordinator_was_down_are_a_lost_range_and_no_storm() {
    let (mut logs, mut it) = start();
    let first = logs.send();
    logs.say(first, Verdict::Extend);
    it.pass(&logs, 100);
    let e = it.committed.clone().expect("committed");
    for _ in 0..20 {
        let m = logs.send();
        logs.ack(m);
    }
    logs.ack_start = logs.acks[0].len() as i64 - 3;
    it.crash_to(&logs, e.0, Some(e.1));
    it.pass(&logs, 60_000);
    assert_eq!(it.frozen(), [FrozenWhy::AcksLost]);
    assert_eq!(it.published.len(), 0);
}

#[test]
fn a_record_with_headers_that_b_forwarded_is_tracked_as_new_and_its_ack_settles_it_alone() {
    let (mut logs, mut it) = start();
    let m = logs.send();
    it.pass(&logs, 1_100);
    let copy = it.publishes(&mut logs);
    it.pass(&logs, 50);
    let headers = Headers {
        id: None,
        attempt: 2,
        origin: m,
        origin_timestamp_ms: -1,
        deliveries: vec![],
        cause: Some(Cause {
            kind: CauseKind::Timeout,
            record: None,
        }),
    };
    let forwarded = logs.send_with(99, Some(("g", headers)));
    it.pass(&logs, 50);
    assert_eq!(it.outstanding(), 2);
    logs.ack(forwarded);
    it.pass(&logs, 50);
    assert_eq!(it.state(copy), Some(State::Retrying));
    assert_eq!(it.outstanding(), 1);
}

#[test]
fn nothing_that_was_acknowledged_on_an_ack_partition_that_b_found_first_is_resent() {
    let (mut logs, mut it) = start();
    let m = logs.send();
    it.pass(&logs, 500);
    logs.acks.push(Vec::new());
    logs.append_ack(1, "", at(m), None);
    it.pass(&logs, 5_000);
    assert_eq!(it.published.len(), 0);
    assert_eq!(it.outstanding(), 0);
}

#[test]
fn a_copy_that_lies_unread_in_the_log_at_a_takeover_is_not_published_again() {
    let (mut logs, mut it) = start();
    let m = logs.send();
    it.pass(&logs, 1_100);
    it.lands(&mut logs);
    it.crash(&logs);
    it.pass(&logs, 1_500);
    let attempts: Vec<u32> = it.published.iter().map(attempt_of).collect();
    assert_eq!(attempts, [3], "attempt 2 stands in the log");
    assert_eq!(it.attempt(m), 2);
}

#[test]
fn at_max_outstanding_with_every_ack_early_nothing_deadlocks_also_in_a_rebuild() {
    let mut logs = Logs::new();
    let mut it = Member::start(&logs, "g", policy(), 5);
    it.pass(&logs, 500);
    // The first are not acknowledged until the rest is; all ACKs of the rest come before their records are read.
    it.reads_source = false;
    for _ in 0..300 {
        logs.send();
    }
    for offset in 10..300 {
        logs.ack(offset);
    }
    it.pass(&logs, 100);
    it.reads_source = true;
    it.pass(&logs, 500);
    assert!(it.outstanding_max <= 7, "{}", it.outstanding_max);
    for offset in 0..10 {
        logs.ack(offset);
    }
    it.pass(&logs, 4_000);
    assert_eq!((it.outstanding(), it.low()), (0, 300));
    // A rebuild may hold more than the limit, since it reads the source first; and it comes to its end.
    it.crash_to(&logs, 0, Some(vec![(0, 0)]));
    it.pass(&logs, 4_000);
    assert_eq!((it.outstanding(), it.low()), (0, 300));
    assert_eq!(it.published.len(), 0);
}

#[test]
fn at_max_outstanding_with_more_early_acks_than_there_is_room_for_none_of_their_messages_is_sent_again()
 {
    let mut logs = Logs::new();
    let limits = CoreLimits {
        max_outstanding: 10,
        early_weight_max: 3,
        ..LIMITS
    };
    let mut it = Member::start_within(&logs, "g", policy(), limits);
    it.pass(&logs, 500);
    let held_back = logs.send();
    it.pass(&logs, 1_100);
    // While one of it is retried, each early ACK is kept whole, and there is room for three.
    assert_eq!(it.published.len(), 1);
    it.reads_source = false;
    for _ in 0..50 {
        let offset = logs.send();
        logs.ack(offset);
    }
    it.pass(&logs, 200);
    it.reads_source = true;
    it.pass(&logs, 30_000);
    let again: Vec<i64> = it.published.iter().map(|p| p.msg.origin).collect();
    assert!(again.iter().all(|origin| *origin == held_back), "{again:?}");
    assert_eq!(it.outstanding(), 1);
}

#[test]
fn a_broker_that_does_not_know_the_topic_yet_moves_no_mark_past_acks_that_are_needed() {
    let (mut logs, mut it) = start();
    let first = logs.send();
    for _ in 0..5 {
        let offset = logs.send();
        logs.ack(offset);
    }
    it.broker_knows = false;
    it.pass(&logs, 3_000);
    it.broker_knows = true;
    it.crash(&logs);
    it.pass(&logs, 800);
    assert_eq!((it.outstanding(), it.low()), (1, first));
}

/// An unclean election, or a disk that was lost: the offset that was committed for the ACKs lies past their end.
#[test]
fn acks_that_lost_their_end_while_nobody_looked_are_a_lost_range_and_not_a_rebuild_that_never_ends()
{
    let (mut logs, mut it) = start();
    let m = logs.send();
    logs.ack(m);
    it.pass(&logs, 100);
    it.crash_to(&logs, 0, Some(vec![(0, 50)]));
    it.pass(&logs, 25_000);
    assert_eq!(
        (it.frozen(), it.published.len()),
        (vec![], 0),
        "it may be a leader of before"
    );
    it.pass(&logs, 10_000);
    assert_eq!(it.frozen(), [FrozenWhy::AcksLost]);

    let go_on = Policy {
        on_lost_range: OnLostRange::ReportAndContinue,
        ..policy()
    };
    let mut it = Member::start(&logs, "g", go_on, MANY);
    it.crash_to(&logs, 1, Some(vec![(0, 50)]));
    it.pass(&logs, 40_000);
    let next = logs.send();
    logs.ack(next);
    it.pass(&logs, 2_000);
    assert_eq!((it.frozen(), it.outstanding(), it.low()), (vec![], 0, 2));
}

#[test]
fn markers_behind_the_last_record_are_no_lost_range_when_retention_took_the_rest_and_the_barrier_opens()
 {
    let (mut logs, mut it) = start();
    let m = logs.send();
    logs.ack(m);
    logs.source.extend([None, None]);
    logs.acks[0].extend([None, None]);
    it.pass(&logs, 2_500);
    assert_eq!(it.low(), 3, "markers are read past");
    logs.source_start = 3;
    logs.ack_start = 3;
    it.crash(&logs);
    it.pass(&logs, 500);
    assert_eq!(it.frozen(), []);
    let next = logs.send();
    it.pass(&logs, 1_100);
    assert_eq!(it.published.len(), 1, "the barrier opens");
    assert_eq!(it.published[0].msg.origin, next);
}

fn attempt_of(publish: &ackwarden::core::Publish) -> u32 {
    match &publish.what {
        Publication::Copy(headers) | Publication::DeadLetter { headers, .. } => headers.attempt,
        Publication::Verdict { attempt, .. } => *attempt,
    }
}
