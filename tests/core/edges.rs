//! The edges of numbers and of policies: nothing panics, nothing is lost, nothing is sent in vain.

use ackwarden::core::event::{Assignment, Fence};
use ackwarden::core::policy::PolicyPatch;
use ackwarden::core::types::Lane;
use ackwarden::core::view::{FrozenWhy, Lookup, OperatorAction, OperatorReply, State};
use ackwarden::core::{
    AckBatch, AckIx, AckTarget, Coordinator, Effect, Event, Now, OnLostRange, Policy, Publication,
    SourceBatch, TopicIx, TopicSettings, Verdict,
};

use crate::driver::{Driver, LIMITS, T, at, nothing_known, policy};
use crate::frozen;
use crate::scene::{Logs, Member};

const DAY_MS: u64 = 86_400_000;

#[test]
fn acks_of_positions_at_the_ends_of_the_numbers_settle_nothing_and_cost_nothing() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    for offset in [i64::MAX, i64::MAX - 1, i64::MAX - 1_024, 1 << 40] {
        for partition in [0, 1, i32::MAX] {
            let target = AckTarget::Position {
                topic: T,
                partition,
                offset,
            };
            d.say(target.clone(), Verdict::Ack, None);
            d.say(target, Verdict::Nack, None);
        }
    }
    d.pass(900);
    assert_eq!(d.state(m), State::Outstanding);
    d.message(None, 7);
    d.pass(5_000);
    let unmatched = d.core.unmatched(1_000);
    assert_eq!(
        unmatched.len(),
        24,
        "orphans by the next fence: {unmatched:?}"
    );
}

#[test]
fn a_message_that_is_outstanding_for_months_keeps_its_age_and_is_retried_then() {
    let slow = Policy {
        timeout_ms: 120 * DAY_MS,
        max_attempts: 2,
        ..policy()
    };
    let mut d = Driver::start(slow);
    let first = d.message(None, 7);
    // Others in the same block, weeks apart: arrival is kept as the distance from the block's first.
    for _ in 0..3 {
        d.now_ms += 30 * DAY_MS;
        d.handle(Event::Tick);
        d.message(None, 7);
    }
    assert_eq!(d.found(first).message.age_ms, 90 * DAY_MS);
    d.now_ms += 29 * DAY_MS;
    d.pass(100);
    assert_eq!(d.published.len(), 0);
    d.now_ms += DAY_MS;
    d.pass(100);
    let due: Vec<i64> = d.published.iter().map(|p| p.msg.origin).collect();
    assert_eq!(due, [first]);
}

#[test]
fn a_copy_with_absurd_times_in_its_headers_is_timed_by_when_it_was_read_and_can_be_timed_anew() {
    for absurd in [i64::MIN, -1, i64::MAX] {
        let mut logs = Logs::new();
        let mut it = Member::start(&logs, "g", policy(), 1_000);
        it.pass(&logs, 500);
        let origin = logs.send();
        it.pass(&logs, 1_100);
        let (publish, _) = it.lands(&mut logs);
        let Publication::Copy(mut headers) = publish.what else {
            panic!("no copy");
        };
        headers.origin_timestamp_ms = absurd;
        logs.source.pop();
        let copy = logs.send_with(7, Some(("g", headers)));
        // The original lies below the low-water mark: all that is known is what the copy says.
        it.crash_to(&logs, copy, Some(vec![(0, 0)]));
        it.pass(&logs, 500);
        assert_eq!(it.attempt(origin), 2);
        it.handle(
            &logs,
            Event::PolicyChanged {
                topic: T,
                overrides: PolicyPatch::default(),
                apply_pending: true,
            },
        );
        it.pass(&logs, 2_000);
        assert_eq!(it.published.len(), 1);
    }
}

#[test]
fn a_limit_that_falls_below_the_attempt_under_way_ends_it_at_its_deadline_and_not_before() {
    let many = Policy {
        max_attempts: 0,
        ..policy()
    };
    let mut d = Driver::start(many);
    let m = d.message(None, 7);
    for _ in 0..6 {
        d.pass(1_100);
        d.copy_lands();
    }
    assert_eq!(d.found(m).message.attempt, 7);
    d.overrides(
        PolicyPatch {
            max_attempts: Some(2),
            ..PolicyPatch::default()
        },
        false,
    );
    d.pass(500);
    assert!(d.published.is_empty(), "its wait is not over");
    d.pass(600);
    assert_eq!(d.published.len(), 1);
    assert!(matches!(
        d.published[0].what,
        Publication::DeadLetter { .. }
    ));
}

#[test]
fn paused_while_it_is_being_retried_it_is_neither_lost_nor_sent_twice() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.pass(1_100);
    assert_eq!(d.published.len(), 1, "submitted");
    let pause = |paused| Event::Paused { topic: T, paused };
    d.handle(pause(true));
    d.copy_lands();
    d.pass(3_000);
    assert!(d.published.is_empty());
    d.handle(pause(false));
    d.pass(100);
    assert_eq!(d.published.len(), 1);
    let copy = d.copy_lands();
    assert_eq!(d.found(m).message.attempt, 3);
    d.ack(copy);
    d.pass(5_000);
    assert_eq!(d.core.outstanding(), 0);
    assert!(d.published.is_empty());
}

#[test]
fn an_ack_while_the_dead_letter_is_on_its_way_is_shown_as_late_beside_it() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.say(at(m), Verdict::Reject, None);
    d.pass(50);
    assert!(matches!(
        d.published[0].what,
        Publication::DeadLetter { .. }
    ));
    d.ack(m);
    let durable =
        || ackwarden::core::event::PublishOutcome::Durable(ackwarden::core::LogPosition::new(0, 0));
    d.report(durable());
    d.report(durable());
    assert_eq!(d.state(m), State::Dead);
    assert!(d.found(m).message.late_ack);
    assert_eq!(d.core.outstanding(), 0);
}

#[test]
fn a_revoked_partition_takes_its_ids_along() {
    let mut d = Driver::start(policy());
    for n in 0..5 {
        d.message(Some(&format!("A-{n}")), 7);
    }
    d.handle(Event::Revoked {
        topic: T,
        partitions: vec![0],
    });
    assert_eq!(d.core.outstanding(), 0);
    // Nothing that carries such an id is mistaken for a second one.
    d.assign(5, 0);
    d.message(Some("A-1"), 8);
    let views = d.core.topic_views(ackwarden::core::Now {
        mono_ms: d.now_ms,
        wall_ms: 0,
    });
    assert_eq!(views[0].counters.ids_reused, 0);
}

#[test]
fn where_the_ack_reader_was_left_is_no_loss_of_a_partition_whose_acks_are_read_from_e() {
    let mut logs = Logs::new();
    let mut it = Member::start(&logs, "g", policy(), 1_000);
    let m = logs.send();
    it.pass(&logs, 1_500);
    // The copy is in the log, and nobody was told.
    it.lands(&mut logs);
    for nothing in 100..110 {
        logs.ack(nothing);
    }
    logs.ack_start = 8;
    it.reads_source = false;
    it.crash_to(&logs, 0, Some(vec![(0, 9)]));
    // The reader of before had stood below 8; what is read now is read from 9 on.
    it.acks_out_of_range(&logs, 0);
    assert_eq!(it.frozen(), []);
    logs.ack(m);
    it.pass(&logs, 100);
    it.reads_source = true;
    it.pass(&logs, 5_000);
    assert_eq!(it.frozen(), []);
    assert!(it.published.is_empty(), "{:?}", it.published);
    assert_eq!((it.outstanding(), it.low()), (0, 2));
}

/// Its source is read again, and meanwhile the ACK of its message was read by nobody and is deleted.
fn acks_are_deleted_while_the_source_is_read(
    meanwhile: impl FnOnce(&mut Member, &Logs),
) -> (Logs, Member) {
    let mut logs = Logs::new();
    let mut it = Member::start(&logs, "g", policy(), 1_000);
    logs.send();
    it.pass(&logs, 500);
    it.reads_source = false;
    it.crash_to(&logs, 0, Some(vec![(0, 0)]));
    it.pass(&logs, 100);
    logs.ack(0);
    logs.ack_start = 1;
    meanwhile(&mut it, &logs);
    it.reads_source = true;
    it.pass(&logs, 5_000);
    assert_eq!(it.frozen(), [FrozenWhy::AcksLost]);
    assert!(it.published.is_empty(), "{:?}", it.published);
    (logs, it)
}

#[test]
fn acks_that_are_gone_while_the_source_is_read_are_told_though_the_reader_of_before_told_it_first()
{
    let told = |it: &mut Member, logs: &Logs| it.acks_out_of_range(logs, 0);
    let (logs, mut it) = acks_are_deleted_while_the_source_is_read(told);
    // Once somebody decided, what is gone is told no more, and what it may have been about is retried.
    let goes_on = PolicyPatch {
        on_lost_range: Some(OnLostRange::ReportAndContinue),
        ..PolicyPatch::default()
    };
    it.overrides(&logs, goes_on);
    it.overrides(&logs, PolicyPatch::default());
    it.pass(&logs, 3_000);
    assert_eq!((it.frozen(), it.published.len()), (vec![], 1));
    // Nor is whoever has it next.
    it.crash(&logs);
    it.pass(&logs, 1_000);
    assert_eq!(it.frozen(), []);
}

#[test]
fn acks_that_are_gone_while_the_source_is_read_are_told_though_a_later_assignment_found_them_gone()
{
    acks_are_deleted_while_the_source_is_read(|it, logs| {
        let other = Assignment {
            ack_log_starts: vec![(0, logs.ack_start)],
            acks: Some(vec![(0, 1)]),
            ..nothing_known(1)
        };
        it.handle(logs, Event::Assigned(vec![other]));
        let partitions = vec![1];
        let revoked = Event::Revoked {
            topic: T,
            partitions,
        };
        it.handle(logs, revoked);
    });
}

/// The ACKs that a partition needs that goes on are gone; those of the others were read.
#[test]
fn acks_that_are_gone_are_lost_for_those_alone_that_had_not_read_them() {
    let mut d = Driver::start(policy());
    d.assign_other(1);
    d.message_in(1);
    for nothing in 100..108 {
        d.ack(nothing);
    }
    // Its log has lost its end.
    d.handle(Event::SourceOutOfRange {
        topic: T,
        partition: 1,
        log_start: 0,
        log_end: 0,
    });
    d.other_ends.insert(1, 0);
    let outstanding = d.message(None, 7);
    d.holds_acks = true;
    let goes_on = PolicyPatch {
        on_lost_range: Some(OnLostRange::ReportAndContinue),
        ..PolicyPatch::default()
    };
    d.overrides(goes_on, false);
    d.overrides(PolicyPatch::default(), false);
    d.pass(1_000);
    d.acks_out_of_range(5);
    let frozen = d.core.frozen_topics(d.now());
    let whose: Vec<_> = frozen.iter().map(|(_, f)| (f.why, &*f.detail)).collect();
    assert_eq!(
        whose,
        [(
            FrozenWhy::AcksLost,
            "orders-acks/0: ACKs 0 to 4 were gone before they were read; who was acknowledged in them cannot be told, so \
             nothing is retried"
        )]
    );
    d.holds_acks = false;
    d.acks_applied(Vec::new(), vec![(0, d.ack_end)]);
    d.pass(2_000);
    let retried: Vec<_> = d
        .published
        .iter()
        .map(|p| (p.msg.partition, p.msg.origin))
        .collect();
    assert_eq!(retried, [(0, outstanding)]);
}

/// Its copy may lie in what was not read.
#[test]
fn nothing_is_said_to_be_settled_in_a_partition_that_stands_still_before_it_is_rebuilt() {
    let mut d = Driver::new(policy());
    d.ack_end = 9;
    d.handle(Event::Assigned(vec![Assignment {
        low: 3,
        ack_log_starts: vec![(0, 7)],
        ..nothing_known(0)
    }]));
    d.pass(1_000);
    assert_eq!(frozen(&d), [FrozenWhy::AcksLost]);
    assert_eq!(d.lookup(1), Lookup::Untracked);
    let reply = d.operator(1, OperatorAction::Ack);
    assert!(
        matches!(reply, Some(OperatorReply::NotFound(_))),
        "{reply:?}"
    );
}

#[test]
fn acks_that_were_applied_in_a_rebuild_are_not_read_again_when_another_partition_comes() {
    let mut d = Driver::new(policy());
    d.ack_end = 10;
    d.holds_acks = true;
    d.assign(0, 0);
    d.acks_applied(Vec::new(), vec![(0, 8)]);
    let later = Assignment {
        acks: Some(vec![(0, 6)]),
        ack_log_starts: vec![(0, 5)],
        ..nothing_known(1)
    };
    d.other_ends.insert(1, 0);
    d.handle(Event::Assigned(vec![later]));
    d.pass(500);
    // Those before 5 are gone, and nobody needs them.
    assert_eq!(d.acks_from, [(0, 6)]);
}

#[test]
fn acks_that_are_lost_while_a_partition_stands_still_for_something_else_are_told_with_it() {
    let mut d = Driver::start(policy());
    stands_still_before_3(&mut d);
    d.ack(100);
    d.acks_out_of_range(7);
    let frozen = d.core.frozen_topics(d.now());
    let [(_, frozen)] = &frozen[..] else {
        panic!("{frozen:?}");
    };
    // What is decided with it weighs more.
    assert_eq!(frozen.why, FrozenWhy::AcksLost);
    assert!(
        frozen.detail.contains("ACKs 2 to 6 were gone") && frozen.detail.contains("records 1 to 2"),
        "{}",
        frozen.detail
    );
    goes_on(&mut d);
    d.pass(1_000);
    assert_eq!(d.core.frozen_topics(d.now()), []);
}

#[test]
fn what_an_earlier_order_to_read_acks_did_not_find_is_no_loss() {
    let mut logs = Logs::new();
    let mut it = Member::start(&logs, "g", policy(), 1_000);
    it.pass(&logs, 500);
    logs.ack_start = 1;
    it.acks_out_of_range(&logs, 1);
    assert_eq!(it.frozen(), []);
    it.acks_out_of_range(&logs, 0);
    assert_eq!(it.frozen(), [FrozenWhy::AcksLost]);
}

#[test]
fn acks_that_come_while_a_rebuild_stands_still_do_not_settle_before_the_copies_are_read() {
    let mut logs = Logs::new();
    let mut it = Member::start(&logs, "g", policy(), 1_000);
    let messages = [logs.send(), logs.send()];
    it.pass(&logs, 1_500);
    // Both copies are in the log, and nobody was told.
    for m in messages {
        it.lands(&mut logs);
        logs.ack(m);
    }
    it.reads_source = false;
    it.crash_to(&logs, 0, Some(vec![(0, 0)]));
    // The first is gone before it is read again.
    logs.source_start = 1;
    let lost = Event::SourceOutOfRange {
        topic: T,
        partition: 0,
        log_start: 1,
        log_end: 4,
    };
    it.handle(&logs, lost);
    assert_eq!(it.frozen(), [FrozenWhy::SourceLost]);
    it.pass(&logs, 100);
    let go_on = Event::PolicyChanged {
        topic: T,
        overrides: PolicyPatch {
            on_lost_range: Some(OnLostRange::ReportAndContinue),
            ..PolicyPatch::default()
        },
        apply_pending: false,
    };
    it.handle(&logs, go_on);
    it.reads_source = true;
    it.pass(&logs, 5_000);
    assert!(it.published.is_empty(), "{:?}", it.published);
}

#[test]
fn a_copy_that_landed_after_its_original_was_settled_and_forgotten_is_settled_by_the_same_ack() {
    let mut logs = Logs::new();
    let mut it = Member::start(&logs, "g", policy(), 1_000);
    let m = logs.send();
    logs.send();
    it.pass(&logs, 100);
    it.checkpoint();
    // Its copy was submitted, and is not in the log yet when the process ends.
    it.pass(&logs, 1_500);
    assert!(it.published.iter().any(|p| p.msg.origin == m));
    let late = it.published.pop_front().expect("the copy");
    it.crash_with_store(&logs);
    logs.ack(m);
    it.pass(&logs, 500);
    it.checkpoint();
    assert_eq!((it.outstanding(), it.low()), (1, 1));
    it.published.push_front(late);
    it.lands(&mut logs);
    it.crash_with_store(&logs);
    it.pass(&logs, 500);
    assert_eq!((it.outstanding(), it.low()), (1, 1));
}

/// The report of a commit comes when what it says of the ACKs has become void.
#[test]
fn a_commit_that_is_under_way_when_the_ack_topic_is_made_anew_does_not_bring_its_offsets_back() {
    let mut d = Driver::start(Policy {
        on_lost_range: OnLostRange::ReportAndContinue,
        ..policy()
    });
    for _ in 0..20 {
        let m = d.message(None, 7);
        d.ack(m);
    }
    d.pass(2_000);
    assert_eq!(d.committed, Some((20, vec![(0, 20)])));
    d.holds_commits = true;
    let m = d.message(None, 7);
    d.ack(m);
    d.pass(2_000);
    d.ack_end = 0;
    d.handle(Event::AckTopicMadeAnew {
        ack: AckIx(0),
        log_starts: vec![(0, 0)],
    });
    d.commits_succeed();
    d.message(None, 7);
    d.pass(500);
    assert_eq!(d.committed, Some((21, vec![(0, 0)])));
}

/// Retention took what was not read yet, and nobody has decided. Where such a partition ends is not compared with anything, so
/// a broker that knows less may say anything of it.
fn stands_still_before_3(d: &mut Driver) {
    let m = d.message(None, 7);
    d.ack(m);
    d.pass(1_000);
    d.handle(Event::SourceOutOfRange {
        topic: T,
        partition: 0,
        log_start: 3,
        log_end: 4,
    });
    assert_eq!(frozen(d), [FrozenWhy::SourceLost]);
}

fn goes_on(d: &mut Driver) {
    d.handle(Event::PolicyChanged {
        topic: T,
        overrides: PolicyPatch {
            on_lost_range: Some(OnLostRange::ReportAndContinue),
            ..PolicyPatch::default()
        },
        apply_pending: false,
    });
    assert_eq!(frozen(d), []);
}

#[test]
fn what_is_said_of_a_partition_that_stands_still_makes_no_orphans() {
    let mut d = Driver::start(policy());
    stands_still_before_3(&mut d);
    d.ack(3);
    assert_eq!(d.source_end, 1, "and so it is told");
    d.pass(3_000);
    goes_on(&mut d);
    d.source_end = 3;
    d.message(None, 7);
    d.pass(1_000);
    assert_eq!(d.core.outstanding(), 0);
}

#[test]
fn what_was_said_of_a_partition_that_stood_still_makes_no_orphans_when_it_goes_on() {
    let mut d = Driver::start(policy());
    d.assign_other(1);
    stands_still_before_3(&mut d);
    let m = AckTarget::Id {
        topic: T,
        id: "m".into(),
    };
    d.say(m, Verdict::Ack, None);
    // What that waits for is still to be read of the other one, and is when the first goes on.
    d.other_ends.insert(1, 5);
    d.pass(3_000);
    goes_on(&mut d);
    d.handle(Event::SourceBatch(SourceBatch {
        applied: vec![(T, 1, 5)],
        ..SourceBatch::default()
    }));
    d.source_end = 3;
    d.message(Some("m"), 7);
    d.pass(1_000);
    assert_eq!(d.core.outstanding(), 0);
}

/// It was kept for a message that is not read yet, and the reader went back for others.
#[test]
fn an_early_ack_that_finds_nothing_while_its_partition_stands_still_is_read_again_when_that_goes_on()
 {
    let mut d = Driver::start(policy());
    d.assign_other(1);
    d.source_end = 5;
    let m = AckTarget::Id {
        topic: T,
        id: "m".into(),
    };
    d.say(m, Verdict::Ack, None);
    d.message_in(1);
    let out_of_range = |partition, log_start, log_end| Event::SourceOutOfRange {
        topic: T,
        partition,
        log_start,
        log_end,
    };
    d.handle(out_of_range(1, 0, 0));
    d.other_ends.insert(1, 0);
    goes_on(&mut d);
    d.overrides(PolicyPatch::default(), false);
    d.pass(3_000);
    d.handle(out_of_range(0, 3, 5));
    d.pass(3_000);
    assert_eq!((d.core.early_by_id(), &d.acks_from[..]), (0, &[(0, 0)][..]));
    d.holds_acks = true;
    d.acks_from.clear();
    goes_on(&mut d);
    d.handle(Event::SourceBatch(SourceBatch {
        applied: vec![(T, 0, 5)],
        ..SourceBatch::default()
    }));
    d.pass(3_000);
    assert_eq!(d.acks_from, [(0, 0)]);
}

/// While its source is read again, nothing that is kept is taken: it is read again, too.
#[test]
fn a_verdict_that_is_kept_for_a_message_is_read_again_when_its_partition_goes_on_with_another() {
    let mut d = Driver::start(policy());
    d.assign_other(1);
    d.source_end = 5;
    d.say(at(4), Verdict::Reject, None);
    let out_of_range = |partition, log_start, log_end| Event::SourceOutOfRange {
        topic: T,
        partition,
        log_start,
        log_end,
    };
    let loses_its_end = |d: &mut Driver| {
        d.message_in(1);
        d.handle(out_of_range(1, 0, 0));
        d.other_ends.insert(1, 0);
    };
    loses_its_end(&mut d);
    goes_on(&mut d);
    d.overrides(PolicyPatch::default(), false);
    d.pass(3_000);
    loses_its_end(&mut d);
    d.handle(out_of_range(0, 3, 5));
    d.holds_acks = true;
    d.acks_from.clear();
    goes_on(&mut d);
    d.handle(Event::SourceBatch(SourceBatch {
        applied: vec![(T, 0, 5), (T, 1, 0)],
        ..SourceBatch::default()
    }));
    d.pass(3_000);
    assert_eq!(d.acks_from, [(0, 0)]);
}

fn goes_on_by_itself() -> Policy {
    Policy {
        on_lost_range: OnLostRange::ReportAndContinue,
        ..policy()
    }
}

fn acks_are_made_anew(d: &mut Driver) {
    d.handle(Event::AckTopicMadeAnew {
        ack: AckIx(0),
        log_starts: vec![(0, 0)],
    });
    d.ack_end = 0;
}

/// One that was asked before has the partitions of the topic of before; to wait for those would be to wait for ever.
#[test]
fn an_answer_from_before_the_ack_topic_was_made_anew_names_no_partition_of_it() {
    let mut d = Driver::start(goes_on_by_itself());
    acks_are_made_anew(&mut d);
    d.handle(Event::Fence {
        topic: T,
        round: 1,
        answer: Ok(Fence {
            ack_ends: vec![(0, 5), (1, 3)],
            source_ends: vec![(0, 0)],
        }),
    });
    d.message(None, 7);
    d.pass(3_000);
    assert_eq!(d.published.len(), 1);
}

/// It was read before, and waited while the topic was made anew with fewer partitions.
#[test]
fn a_batch_of_the_ack_topic_of_before_moves_nothing_of_the_new_one() {
    let mut d = Driver::start(goes_on_by_itself());
    let revoked = Event::Revoked {
        topic: T,
        partitions: vec![0],
    };
    d.handle(revoked);
    d.source_end = 3;
    d.holds_sources = true;
    d.assign(0, 0);
    acks_are_made_anew(&mut d);
    d.acks_applied(Vec::new(), vec![(0, 10), (1, 3)]);
    d.holds_sources = false;
    d.handle(Event::SourceBatch(SourceBatch {
        applied: vec![(T, 0, 3)],
        ..SourceBatch::default()
    }));
    d.pass(2_000);
    assert!(d.core.is_ready());
}

/// They are read again when a partition becomes ours. Until then no fence would ever tell that they are about nothing.
#[test]
fn acks_by_id_are_not_kept_where_nothing_is_ours() {
    let mut d = Driver::new(policy());
    d.handle(Event::Assigned(Vec::new()));
    let partitions = vec![0];
    d.handle(Event::AckPartitions {
        ack: AckIx(0),
        partitions,
    });
    let m = AckTarget::Id {
        topic: T,
        id: "m".into(),
    };
    d.say(m, Verdict::Ack, None);
    assert_eq!(d.core.early_by_id(), 0);
}

#[test]
fn a_rebuild_beside_others_reads_acks_of_its_own_topic_alone() {
    let settings = |n: u16| TopicSettings {
        name: format!("t{n}").into(),
        ack: AckIx(n),
        ack_name: format!("t{n}-acks").into(),
        policy: policy(),
    };
    let assignment = |t: u16, partition| Assignment {
        topic: TopicIx(t),
        acks: Some(vec![(0, 100)]),
        ack_log_starts: vec![(0, 7)],
        ..nothing_known(partition)
    };
    let mut it = Coordinator::new(vec![settings(0), settings(1)], LIMITS, 1);
    let mut events = vec![Event::Assigned(vec![assignment(0, 0), assignment(1, 0)])];
    let mut read = Vec::new();
    for mono_ms in (0..20_000).step_by(100) {
        if mono_ms == 10_000 {
            events.push(Event::Assigned(vec![assignment(0, 1)]));
        }
        events.push(Event::Tick);
        let mut effects = Vec::new();
        let now = Now {
            mono_ms,
            wall_ms: 0,
        };
        it.handle_events(std::mem::take(&mut events), now, &mut effects);
        for effect in effects {
            match effect {
                Effect::AskFence { topic, round } => events.push(Event::Fence {
                    topic,
                    round,
                    answer: Ok(Fence {
                        ack_ends: vec![(0, 100)],
                        source_ends: vec![(0, 0), (1, 0)],
                    }),
                }),
                Effect::ReadAcks {
                    ack,
                    from,
                    generation,
                    lane,
                } => {
                    read.push((ack.0, lane, from));
                    events.push(Event::AckBatch(AckBatch {
                        ack,
                        records: Vec::new(),
                        applied: vec![(0, 100)],
                        generation,
                        lane,
                    }));
                }
                Effect::ReadSource {
                    topic,
                    partition,
                    from,
                } => events.push(Event::SourceBatch(SourceBatch {
                    applied: vec![(topic, partition, from)],
                    ..SourceBatch::default()
                })),
                _ => {}
            }
        }
    }
    let beside: Vec<_> = read.iter().filter(|r| r.1 == Lane::Rebuild).collect();
    assert_eq!(beside, [&(0, Lane::Rebuild, vec![(0, 100)])]);
}
