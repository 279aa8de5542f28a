//! What is decided of a message, and when it is too late for it.

use ackwarden::core::effect::DeadLetterCause;
use ackwarden::core::event::PublishOutcome;
use ackwarden::core::policy::PolicyPatch;
use ackwarden::core::view::{FrozenWhy, OperatorAction, OperatorReply, State};
use ackwarden::core::{Event, Policy, Publication, Verdict};

use crate::driver::{Driver, T, at, policy};
use crate::frozen;

fn refused(reply: Option<OperatorReply>) -> &'static str {
    match reply {
        Some(OperatorReply::NotAllowed { detail, .. }) => detail,
        other => panic!("{other:?}"),
    }
}

const RETRY: OperatorAction = OperatorAction::Retry;
const DEAD_LETTER: OperatorAction = OperatorAction::DeadLetter;

#[test]
fn what_somebody_asked_for_waits_for_no_turn_behind_the_retries_of_a_storm() {
    let mut d = Driver::start(Policy {
        retry_rate: 5,
        ..policy()
    });
    for _ in 0..200 {
        d.message(None, 7);
    }
    d.pass(1_500);
    let before = d.published.len();
    assert!((1..=4).contains(&before), "{before} sent at five a second");
    d.say(at(150), Verdict::Reject, None);
    d.say(at(160), Verdict::OperatorDeadLetter, Some(1));
    d.say(at(170), Verdict::OperatorRetry, Some(1));
    d.say(at(180), Verdict::Nack, None);
    d.pass(150);
    let sent: Vec<(i64, bool)> = d.published[before..]
        .iter()
        .map(|p| (p.msg.origin, matches!(p.what, Publication::Copy(_))))
        .filter(|(origin, _)| *origin >= 100)
        .collect();
    assert_eq!(sent, [(150, false), (160, false), (170, true)]);
    // The operator's retry was one of those that the rate allows.
    d.pass(2_000);
    let copies = d.published.iter();
    let copies = copies.filter(|p| matches!(p.what, Publication::Copy(_)));
    let copies = copies.count();
    assert!((11..=14).contains(&copies), "{copies} in 2.65 s");
}

#[test]
fn an_attempt_more_that_is_allowed_while_the_payload_is_fetched_is_made() {
    let mut d = Driver::start(Policy {
        max_attempts: 1,
        ..policy()
    });
    let m = d.message(None, 7);
    d.holds_fetches = true;
    d.pass(1_100);
    d.overrides(
        PolicyPatch {
            max_attempts: Some(2),
            ..PolicyPatch::default()
        },
        false,
    );
    d.fetch_held();
    d.pass(50);
    assert_eq!(d.published.len(), 1);
    assert!(matches!(d.published[0].what, Publication::Copy(_)));
    d.copy_lands();
    assert_eq!(d.state(m), State::Retrying);
}

#[test]
fn what_is_rejected_while_it_is_parked_is_not_sent_again_when_more_is_allowed() {
    let mut d = Driver::start(Policy {
        max_attempts: 1,
        dead_letter: None,
        ..policy()
    });
    let m = d.message(None, 7);
    d.pass(1_100);
    assert_eq!(d.state(m), State::Parked);
    d.say(at(m), Verdict::Reject, None);
    let allowed = PolicyPatch {
        max_attempts: Some(3),
        ..PolicyPatch::default()
    };
    d.overrides(allowed.clone(), false);
    d.pass(5_000);
    assert_eq!((d.published.len(), d.state(m)), (0, State::Parked));
    d.overrides(
        PolicyPatch {
            dead_letter: Some(Some("dlq".into())),
            ..allowed
        },
        false,
    );
    d.pass(50);
    let cause = match &d.published[0].what {
        Publication::DeadLetter { cause, .. } => *cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(cause, DeadLetterCause::Rejected);
}

#[test]
fn a_decision_that_would_change_nothing_is_refused_and_not_written() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.pass(1_100);
    // Its second delivery is submitted.
    assert_eq!(d.published.len(), 1);
    for action in [RETRY, DEAD_LETTER, OperatorAction::Nack { delay_ms: None }] {
        assert!(refused(d.operator(m, action)).starts_with("its next delivery"));
    }
    assert_eq!(d.published.len(), 1);
    assert_eq!(d.operator(m, OperatorAction::Ack), None);
    d.published.pop();
    let copy = d.copy_lands();
    d.say(at(copy), Verdict::Reject, None);
    d.pass(50);
    assert!(refused(d.operator(m, RETRY)).starts_with("its dead letter is on"));
    // Whether it comes through is not known yet: an ACK may still be what counts.
    assert_eq!(d.operator(m, OperatorAction::Ack), None);
    d.published.pop();
    d.report(PublishOutcome::Durable(ackwarden::core::LogPosition::new(
        0, 0,
    )));
    for action in [RETRY, OperatorAction::Ack] {
        assert_eq!(refused(d.operator(m, action)), "its dead letter is written");
    }
    let there = OperatorReply::AlreadyHolds(State::Dead);
    assert_eq!(d.operator(m, DEAD_LETTER), Some(there));
}

#[test]
fn one_that_did_not_fit_and_has_nowhere_to_go_is_sent_again_when_an_operator_says_so() {
    let mut d = Driver::start(Policy {
        dead_letter: None,
        ..policy()
    });
    let m = d.message(None, 7);
    d.pass(1_100);
    d.report(PublishOutcome::TooLarge);
    d.pass(50);
    let shown = d.found(m).message;
    assert_eq!(shown.state, State::Parked);
    let why = "too large to be sent again, and there is no dead-letter topic";
    assert_eq!(shown.reason.as_deref(), Some(why));
    assert_eq!(d.operator(m, RETRY), None);
    d.published.pop();
    d.say(at(m), Verdict::OperatorRetry, Some(1));
    d.pass(50);
    let Publication::Copy(again) = &d.published[0].what else {
        panic!("no copy: {:?}", d.published);
    };
    assert_eq!(again.attempt, 2);
    d.copy_lands();
    assert_eq!(d.state(m), State::Retrying);
}

#[test]
fn a_refused_retry_is_shown_until_its_message_needs_none() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.pass(1_100);
    d.report(PublishOutcome::Refused("no".into()));
    assert_eq!(frozen(&d), [FrozenWhy::RetryTopic]);
    d.pass(500);
    assert_eq!(frozen(&d), [FrozenWhy::RetryTopic]);
    d.ack(m);
    assert_eq!(frozen(&d), []);
}

#[test]
fn an_operators_retry_overrules_a_reject_whichever_is_read_first() {
    for first in [Verdict::Reject, Verdict::OperatorRetry] {
        let mut d = Driver::start(Policy {
            dead_letter: None,
            max_attempts: 1,
            ..policy()
        });
        let m = d.message(None, 7);
        if first == Verdict::Reject {
            d.say(at(m), Verdict::Reject, None);
            d.pass(50);
            // Parked, and not for what it says below.
            let shown = d.found(m).message;
            assert_eq!(shown.state, State::Parked);
            let why = "rejected, and there is no dead-letter topic";
            assert_eq!(shown.reason.as_deref(), Some(why));
            // It would wait for nothing, as it has no attempt left.
            let nack = OperatorAction::Nack { delay_ms: None };
            assert!(refused(d.operator(m, nack)).starts_with("what was said of it"));
            assert_eq!(d.operator(m, RETRY), None);
            d.published.pop();
        }
        // As a replay finds them: nothing is acted upon in between.
        let pause = |paused| Event::Paused { topic: T, paused };
        d.handle(pause(true));
        let second = match first {
            Verdict::Reject => Verdict::OperatorRetry,
            _ => Verdict::Reject,
        };
        d.say(at(m), first, Some(1));
        d.say(at(m), second, Some(1));
        d.handle(pause(false));
        d.pass(50);
        let sent: Vec<_> = d.published.iter().map(|p| &p.what).collect();
        assert!(matches!(sent[..], [Publication::Copy(_)]), "{sent:?}");
    }
}

#[test]
fn what_is_read_back_while_it_is_fetched_to_be_sent_again_takes_no_room_for_ever() {
    let mut d = Driver::start(policy());
    // Two of them would fill what may be under way at once.
    d.len = 40 << 20;
    for _ in 0..2 {
        let m = d.message(None, 7);
        d.pass(1_100);
        let publish = d.published.remove(0);
        d.handle(Event::Published {
            msg: publish.msg,
            sequence: publish.sequence,
            outcome: PublishOutcome::Ambiguous("timed out".into()),
        });
        d.holds_fetches = true;
        d.pass(1_050);
        d.read_back(&publish);
        assert_eq!(d.found(m).message.attempt, 2);
        d.fetch_held();
        d.ack(m);
    }
    assert!(d.published.is_empty());
    d.message(None, 7);
    d.pass(1_100);
    assert_eq!(d.published.len(), 1);
}

#[test]
fn an_ack_of_a_copy_that_came_before_its_report_settles_it_when_the_report_comes() {
    let mut d = Driver::start(policy());
    let m = d.message(None, 7);
    d.pass(1_100);
    // B has read it, and the source has not been read so far.
    let copy = d.source_end;
    d.ack(copy);
    assert_eq!(d.state(m), State::Outstanding);
    let at = ackwarden::core::LogPosition::new(0, copy);
    d.report(PublishOutcome::Durable(at));
    assert_eq!(d.state(m), State::Acked);
}
