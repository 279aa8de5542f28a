//! The core, driven by hand: one rule a test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod decisions;
mod driver;
mod edges;
mod growth;
mod interleavings;
mod kept;
mod pages;
mod scene;
mod times;
#[path = "../../benches/workload/mod.rs"]
mod workload;

use ackwarden::core::effect::DeadLetterCause;
use ackwarden::core::event::PublishOutcome;
use ackwarden::core::policy::PolicyPatch;
use ackwarden::core::view::{FrozenWhy, ShownCause, State};
use ackwarden::core::{Event, LogPosition, Now, OnLostRange, Policy, Publication, SameId, Verdict};
use driver::{Driver, T, at, policy};

fn frozen(driver: &Driver) -> Vec<FrozenWhy> {
    let views = driver.core.topic_views(Now {
        mono_ms: driver.now_ms,
        wall_ms: 0,
    });
    views[0].frozen.iter().map(|f| f.why).collect()
}

#[test]
fn an_acknowledged_message_is_never_sent_again_and_the_low_water_mark_passes_it() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.ack(m);
    d.pass(5_000);
    assert!(d.published.is_empty());
    assert_eq!(d.state(m), State::Acked);
    assert_eq!(d.committed.as_ref().map(|c| c.0), Some(1));
}

#[test]
fn late_ack_after_republish_settles_the_message() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.pass(1_100);
    let copy = d.copy_lands();
    assert_eq!(d.state(m), State::Retrying);
    d.ack(m);
    assert_eq!(d.state(copy), State::Acked);
    d.pass(5_000);
    assert!(d.published.is_empty());
}

#[test]
fn an_ack_that_comes_before_its_record_settles_it_when_it_is_read() {
    let mut d = Driver::start(policy());
    d.ack(0);
    let m = d.message(None, 7);
    d.pass(3_000);
    assert_eq!((m, d.state(m)), (0, State::Acked));
    assert!(d.published.is_empty());
}

#[test]
fn a_late_nack_of_attempt_1_after_attempt_2_was_sent_burns_nothing() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.pass(1_100);
    d.copy_lands();
    d.say(at(m), Verdict::Nack, None);
    d.pass(500);
    assert!(
        d.published.is_empty(),
        "the nack of an older delivery retried it"
    );
    assert_eq!(d.found(m).message.attempt, 2);
}

#[test]
fn attempts_run_out_and_the_dead_letter_is_durable_before_the_settlement() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    for _ in 0..2 {
        d.pass(1_100);
        d.copy_lands();
    }
    d.pass(1_100);
    let dead = d.report(PublishOutcome::Durable(LogPosition::new(0, 0)));
    assert!(matches!(dead, Publication::DeadLetter { .. }), "{dead:?}");
    assert_eq!(d.state(m), State::Retrying);
    let settled = d.report(PublishOutcome::Durable(LogPosition::new(0, d.ack_end)));
    assert!(
        matches!(
            settled,
            Publication::Verdict {
                verdict: Verdict::DeadLettered,
                ..
            }
        ),
        "{settled:?}"
    );
    assert_eq!(d.state(m), State::Dead);
    let why = d.found(m).message.cause;
    let exhausted = ShownCause::DeadLetter(DeadLetterCause::AttemptsExhausted);
    assert_eq!(why, Some(exhausted), "why it died, not its last delivery's");
    d.pass(100);
    assert_eq!(d.committed.as_ref().map(|c| c.0), Some(d.source_end));
}

#[test]
fn an_ambiguous_copy_is_the_same_attempt_again() {
    let mut d = Driver::start(policy());
    d.message(None, 7);
    d.pass(1_100);
    d.report(PublishOutcome::Ambiguous("timed out".into()));
    d.pass(1_500);
    let Publication::Copy(again) = d.report(PublishOutcome::Ambiguous("timed out".into())) else {
        panic!("no copy");
    };
    assert_eq!(again.attempt, 2);
}

#[test]
fn after_an_unclear_report_both_records_of_the_submission_are_ours() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.pass(1_100);
    let publish = d.published[0].clone();
    d.report(PublishOutcome::Ambiguous("timed out".into()));
    for _ in 0..2 {
        let copy = d.read_back(&publish);
        d.assert_is_of(copy, m);
    }
    let third = d.read_back(&publish);
    d.assert_is_of(third, third);
}

#[test]
fn both_records_of_a_submission_are_ours_before_its_report_and_before_where_it_is_reported() {
    for reported_first in [false, true] {
        let mut d = Driver::start(policy());
        let m = d.message(None, 7);
        d.pass(1_100);
        let publish = d.published[0].clone();
        let second = LogPosition::new(0, d.source_end + 1);
        if reported_first {
            d.report(PublishOutcome::Durable(second));
        }
        let both = [d.read_back(&publish), d.read_back(&publish)];
        if !reported_first {
            d.report(PublishOutcome::Durable(second));
        }
        for copy in both {
            d.assert_is_of(copy, m);
        }
        let third = d.read_back(&publish);
        d.assert_is_of(third, third);
        // An ACK of either is one of the message.
        d.ack(both[0]);
        assert_eq!(d.state(m), State::Acked);
    }
}

#[test]
fn a_closed_barrier_is_shown_only_while_somebody_waits_for_it() {
    let mut d = Driver::start(policy());
    d.message(None, 7);
    // Somebody's record that is not read.
    d.ack_end += 1;
    d.pass(40_000);
    assert_eq!(frozen(&d), [FrozenWhy::BarrierClosed]);
    d.handle(Event::Paused {
        topic: T,
        paused: true,
    });
    d.pass(100);
    assert_eq!(frozen(&d), [FrozenWhy::Paused]);
}

#[test]
fn a_retry_that_was_dropped_before_it_was_sent_is_sent_again_and_nothing_is_frozen() {
    let mut d = Driver::start(policy());
    d.message(None, 7);
    d.pass(1_100);
    d.report(PublishOutcome::Dropped);
    assert_eq!(frozen(&d), []);
    d.pass(1_100);
    let Publication::Copy(again) = d.report(PublishOutcome::Dropped) else {
        panic!("no copy");
    };
    assert_eq!(again.attempt, 2);
}

#[test]
fn an_ack_while_the_payload_is_fetched_or_the_topic_is_paused_stops_the_retry() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.handle(Event::Paused {
        topic: T,
        paused: true,
    });
    d.pass(5_000);
    assert!(d.published.is_empty());
    assert_eq!(frozen(&d), [FrozenWhy::Paused]);
    d.ack(m);
    d.handle(Event::Paused {
        topic: T,
        paused: false,
    });
    d.pass(1_000);
    assert!(d.published.is_empty());
}

#[test]
fn of_two_different_messages_with_one_id_an_ack_by_id_settles_neither() {
    let mut d = Driver::start(policy());
    let (a, b) = (d.message(Some("x"), 1), d.message(Some("x"), 2));
    d.ack_id("x");
    assert_eq!(
        (d.state(a), d.state(b)),
        (State::Outstanding, State::Outstanding)
    );
    d.ack(a);
    assert_eq!((d.state(a), d.state(b)), (State::Acked, State::Outstanding));
}

#[test]
fn a_message_that_was_sent_twice_is_settled_by_one_ack_of_its_id() {
    let mut d = Driver::start(policy());
    let (a, b) = (d.message(Some("x"), 1), d.message(Some("x"), 1));
    d.ack_id("x");
    assert_eq!((d.state(a), d.state(b)), (State::Acked, State::Acked));
}

#[test]
fn under_one_message_all_with_the_id_are_settled_together() {
    let mut d = Driver::start(Policy {
        same_id: SameId::OneMessage,
        ..policy()
    });
    let (a, b) = (d.message(Some("x"), 1), d.message(Some("x"), 2));
    d.ack_id("x");
    assert_eq!((d.state(a), d.state(b)), (State::Acked, State::Acked));
}

#[test]
fn an_extend_restarts_the_wait_and_all_of_them_are_bounded() {
    let mut d = Driver::start(Policy {
        delay_max_ms: 1_500,
        ..policy()
    });
    let m = d.message(None, 7);
    for _ in 0..4 {
        d.pass(500);
        d.say(at(m), Verdict::Extend, None);
    }
    assert!(d.published.is_empty());
    d.pass(1_100);
    assert_eq!(d.published.len(), 1, "extensions are bounded by delay_max");
}

#[test]
fn a_plain_extend_shortens_no_wait() {
    let mut d = Driver::start(Policy {
        timeout_ms: 10_000,
        ..policy()
    });
    let m = d.message(None, 7);
    d.overrides(
        PolicyPatch {
            timeout_ms: Some(500),
            ..PolicyPatch::default()
        },
        false,
    );
    d.pass(1_000);
    d.say(at(m), Verdict::Extend, None);
    d.pass(8_000);
    assert!(d.published.is_empty(), "{:?}", d.published);
    d.pass(1_500);
    assert_eq!(d.published.len(), 1);
}

#[test]
fn while_its_copy_is_refused_what_is_said_of_the_delivery_before_counts() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.pass(1_100);
    let refused = d.report(PublishOutcome::Refused("no WRITE".into()));
    assert!(matches!(refused, Publication::Copy(_)), "{refused:?}");
    d.say(at(m), Verdict::Reject, None);
    d.pass(100);
    let next = d.published.first().map(|p| &p.what);
    assert!(
        matches!(next, Some(Publication::DeadLetter { .. })),
        "{next:?}"
    );
}

#[test]
fn a_timeout_of_its_own_holds_for_each_attempt() {
    let mut d = Driver::start(policy());
    d.record(7, |extra| extra.timeout_ms = Some(3_000));
    d.pass(2_900);
    assert!(d.published.is_empty());
    d.pass(200);
    assert_eq!(d.published.len(), 1);
}

#[test]
fn a_changed_timeout_is_for_what_comes_unless_it_is_applied_to_what_waits() {
    for (apply_pending, retried) in [(false, 0), (true, 1)] {
        let mut d = Driver::start(Policy {
            timeout_ms: 60_000,
            ..policy()
        });
        d.message(None, 7);
        d.overrides(
            PolicyPatch {
                timeout_ms: Some(500),
                ..PolicyPatch::default()
            },
            apply_pending,
        );
        d.pass(1_000);
        assert_eq!(d.published.len(), retried);
        d.message(None, 8);
        d.pass(1_000);
        assert_eq!(d.published.len(), retried + 1);
    }
}

#[test]
fn observe_only_tells_and_publishes_nothing() {
    let mut d = Driver::start(Policy {
        observe_only: true,
        ..policy()
    });
    let m = d.message(None, 7);
    d.pass(1_500);
    assert_eq!(d.state(m), State::Overdue);
    d.pass(5_000);
    assert_eq!(d.state(m), State::Missed);
    assert!(d.published.is_empty());
}

#[test]
fn without_a_dead_letter_topic_it_is_parked_and_pins_the_low_water_mark_until_there_is_one() {
    let mut d = Driver::start(Policy {
        dead_letter: None,
        max_attempts: 1,
        ..policy()
    });
    let m = d.message(None, 7);
    d.pass(1_100);
    assert_eq!(d.state(m), State::Parked);
    assert_eq!(d.committed.as_ref().map(|c| c.0), Some(m));
    d.overrides(
        PolicyPatch {
            dead_letter: Some(Some("dlq".into())),
            ..PolicyPatch::default()
        },
        false,
    );
    d.pass(100);
    assert!(matches!(
        d.published[0].what,
        Publication::DeadLetter { .. }
    ));
}

#[test]
fn one_whose_dead_letter_topic_is_taken_away_while_its_payload_is_fetched_is_parked() {
    let mut d = Driver::start(Policy {
        max_attempts: 1,
        ..policy()
    });
    let m = d.message(None, 7);
    d.holds_fetches = true;
    d.pass(1_100);
    let set = |dead_letter: Option<&str>| Event::PolicyChanged {
        topic: T,
        overrides: PolicyPatch {
            dead_letter: Some(dead_letter.map(Into::into)),
            ..PolicyPatch::default()
        },
        apply_pending: false,
    };
    d.handle(set(None));
    d.fetch_held();
    assert!(d.published.is_empty(), "{:?}", d.published);
    assert_eq!(d.state(m), State::Parked);
    d.handle(set(Some("dlq")));
    d.pass(100);
    // What it was parked for is no reason of its death.
    let dead = &d.published[0].what;
    assert!(
        matches!(dead, Publication::DeadLetter { reason: None, .. }),
        "{dead:?}"
    );
}

#[test]
fn records_that_were_gone_before_they_were_read_stop_the_partition_until_somebody_decides() {
    let mut d = Driver::new(policy());
    d.source_end = 10;
    d.assign(0, 5);
    assert_eq!(frozen(&d), [FrozenWhy::SourceLost]);
    d.pass(2_000);
    assert!(d.committed.is_none());
    d.overrides(
        PolicyPatch {
            on_lost_range: Some(OnLostRange::ReportAndContinue),
            ..PolicyPatch::default()
        },
        false,
    );
    d.pass(500);
    assert!(frozen(&d).is_empty());
    let m = d.message(None, 7);
    d.pass(1_100);
    assert_eq!((m, d.published.len()), (10, 1));
}

#[test]
fn a_forged_copy_is_tracked_as_a_message_of_its_own() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    let forged = d.record(7, |extra| {
        extra.copy = Some(ackwarden::core::CopyMark {
            by_us: true,
            attempt: 2,
            origin: m,
            origin_timestamp_ms: 0,
            deliveries: Vec::new(),
            cause: ackwarden::core::Cause {
                kind: ackwarden::core::CauseKind::Timeout,
                record: None,
            },
        });
    });
    d.ack(forged);
    assert_eq!(
        (d.state(forged), d.state(m)),
        (State::Acked, State::Outstanding)
    );
}
