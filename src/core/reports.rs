//! What the broker reports of a publication: durable, ambiguous, refused, dropped or too large; and what each means for a copy, a
//! dead letter and a settlement.
//!
//! A copy counts as a delivery when it is reported with an offset, or read back. After an ambiguous report the same attempt
//! is published again (5, 8). Dead letter durable, then settlement durable, then forgotten (4).

use super::detail::{Delivery, Fate, Phase};
use super::effect::{DeadLetterCause, Effect};
use super::event::PublishOutcome;
use super::firing::{AMBIGUOUS_AGAIN_MS, REFUSED_AGAIN_MS};
use super::guards::Guard;
use super::partition::Stage;
use super::record::Cause;
use super::schedule;
use super::topic::{Cx, Submitted, Topic};
use super::types::{LogPosition, MsgRef};
use super::view::{Frozen, FrozenWhy, OperatorReply, State};

/// A publication was refused, and is tried again.
pub(super) struct Refused {
    /// Whose it was, of several the last.
    pub msg: MsgRef,
    pub frozen: Frozen,
}

impl Refused {
    /// It stands since the first of them, while it is the same.
    fn again(before: Option<Self>, msg: MsgRef, mut frozen: Frozen) -> Self {
        if let Some(before) = before.filter(|b| b.frozen.detail == frozen.detail) {
            frozen.since_wall_ms = before.frozen.since_wall_ms;
        }
        Self { msg, frozen }
    }
}

impl Topic {
    pub fn on_published(
        &mut self,
        msg: MsgRef,
        sequence: u64,
        outcome: PublishOutcome,
        cx: &mut Cx<'_>,
    ) {
        if let Some((request, _)) = self.decisions.remove(&sequence) {
            let reply = match outcome {
                PublishOutcome::Durable(at) => OperatorReply::Durable(at),
                PublishOutcome::Ambiguous(why) => OperatorReply::UnknownOutcome(why),
                PublishOutcome::Refused(why) => OperatorReply::Refused(why),
                PublishOutcome::Dropped => OperatorReply::Refused(
                    "it was not sent: the group had not confirmed this instance in time".into(),
                ),
                PublishOutcome::TooLarge => {
                    OperatorReply::Refused("the decision record is too large".into())
                }
            };
            cx.effects.push(Effect::Reply { request, reply });
            return;
        }
        let submitted = self.publishing.remove(&sequence);
        if let Some(Submitted { len, .. }) = submitted {
            self.publishing_bytes -= u64::from(len);
        }
        let sent = submitted.and_then(|s| s.copy);
        let (number, origin) = (msg.partition, msg.origin);
        let Some(p) = self.partitions.get(&number) else {
            return;
        };
        if sequence <= p.sequence_before {
            // Submitted before the partition went and came back: what became of it is found in the log.
            if p.stage == Stage::Replaying(None) {
                self.ask_fence_anew();
            }
            return;
        }
        let Some(detail) = p.details.get(&origin) else {
            return;
        };
        match detail.phase {
            Phase::Settling { cause, sequence: s } if s == sequence => {
                self.on_settlement(number, origin, cause, outcome, cx);
            }
            Phase::Publishing {
                fate: Fate::Dead(cause),
                sequence: s,
            } if s == sequence => {
                self.on_dead_letter(number, origin, cause, outcome, cx);
            }
            _ => {
                if let Some(attempt) = sent {
                    let cause = match detail.phase {
                        Phase::Publishing {
                            fate: Fate::Retry(cause),
                            sequence: s,
                        } if s == sequence => Some(cause),
                        // It was settled, or read back, meanwhile.
                        _ => None,
                    };
                    self.on_copy((number, origin), attempt, cause, outcome, cx);
                }
                // A settlement that was read back before its report has nothing more to say.
            }
        }
    }

    /// The report of a copy. `cause` is `None` where it came too late to matter but for the books.
    fn on_copy(
        &mut self,
        (number, origin): (i32, i64),
        attempt: u32,
        cause: Option<Cause>,
        outcome: PublishOutcome,
        cx: &mut Cx<'_>,
    ) {
        let (mono, wall_ms) = (cx.mono, cx.now.wall_ms);
        let Some(p) = self.partitions.get_mut(&number) else {
            return;
        };
        match outcome {
            PublishOutcome::Durable(at) => {
                self.refused_copy = None;
                let known = at.offset < 0 || p.by_offset.contains_key(&at.offset);
                let below = at.offset >= 0 && at.offset < p.applied;
                let counts = p.update(origin, |d| {
                    d.refusals = 0;
                    d.under_way.is_reported(attempt);
                    if !known {
                        d.add_delivery(Delivery {
                            attempt,
                            offset: at.offset,
                            at_wall_ms: wall_ms,
                            cause,
                            // Below the position and not linked: it was tracked as a message of its own.
                            read: below,
                        });
                    }
                    if !known && !below {
                        d.unseen_since = Some(mono);
                    }
                    (!d.is_settled() && d.pending_attempt > d.attempt).then_some(d.pending_attempt)
                });
                if let (Some(Some(attempt)), Some(cause)) = (counts, cause) {
                    self.attempt_counts(number, origin, attempt, cause, cx);
                }
                if !known {
                    // B may have read it, and its ACK may have been read, before the report came.
                    self.take_early(number, at.offset, cx);
                }
                self.drop_if_over(number, origin);
            }
            PublishOutcome::Ambiguous(_) => {
                let sent = p.update(origin, |d| {
                    let read = d.under_way.is_reported(attempt);
                    d.is_unclear(attempt, read, mono);
                    d.pending_attempt
                });
                if let (Some(attempt), Some(cause), false) =
                    (sent, cause, Guard::AmbiguousIsNoDelivery.holds())
                {
                    self.attempt_counts(number, origin, attempt, cause, cx);
                } else if cause.is_some() {
                    self.wait_again(number, origin, AMBIGUOUS_AGAIN_MS, cx);
                }
            }
            PublishOutcome::Dropped => {
                p.update(origin, |d| d.is_in_no_log(attempt));
                if cause.is_some() {
                    self.wait_again(number, origin, REFUSED_AGAIN_MS, cx);
                }
                self.drop_if_over(number, origin);
            }
            PublishOutcome::Refused(why) => {
                p.update(origin, |d| d.is_in_no_log(attempt));
                if cause.is_some() {
                    let frozen = Frozen {
                        why: FrozenWhy::RetryTopic,
                        since_wall_ms: wall_ms,
                        detail: format!("a retry could not be written to {}: {why}", self.settings.name)
                            .into(),
                        cure: "give the coordinator WRITE on the topic, or look at the brokers; it tries again by \
                               itself"
                            .into(),
                    };
                    let before = self.refused_copy.take().filter(|r| self.is_refused(r));
                    self.refused_copy =
                        Some(Refused::again(before, self.msg(number, origin), frozen));
                    self.back_off(number, origin, cx);
                }
                self.drop_if_over(number, origin);
            }
            PublishOutcome::TooLarge => {
                p.update(origin, |d| {
                    d.under_way.is_reported(attempt);
                    d.pending_attempt = d.attempt;
                    if !d.is_settled() {
                        d.doomed = Some(DeadLetterCause::TooLarge);
                    }
                });
                if cause.is_some() {
                    self.wait_again(number, origin, 0, cx);
                }
                self.drop_if_over(number, origin);
            }
        }
    }

    /// A delivery counts: it was read back, or reported with an offset. Its wait begins.
    pub fn attempt_counts(
        &mut self,
        number: i32,
        origin: i64,
        attempt: u32,
        cause: Cause,
        cx: &mut Cx<'_>,
    ) {
        let policy = &self.policy;
        let (mono, seed) = (cx.mono, cx.seed);
        let Some(p) = self.partitions.get_mut(&number) else {
            return;
        };
        let fired = p.update(origin, |d| {
            let wait = schedule::wait_ms(policy, d.own_timeout_ms, attempt, seed, origin);
            d.attempt = attempt;
            d.virtual_attempt = attempt;
            d.refusals = 0;
            d.pending = None;
            d.extended_ms = 0;
            d.phase = Phase::Waiting;
            d.delivered_ms = mono;
            d.deadline = Some(mono + wait as i64);
            d.fired_deadline.take()
        });
        self.counters.republished[cause.kind as usize] += 1;
        if let Some(Some(deadline)) = fired {
            self.counters
                .retry_lateness_ms
                .observe(u64::try_from(mono - deadline).unwrap_or(0));
        }
        let second = cx.now.mono_ms / 1_000;
        match self.retries_by_second.back_mut() {
            Some((s, n)) if *s == second => *n += 1,
            _ => self.retries_by_second.push_back((second, 1)),
        }
        while self.retries_by_second.len() > 60 {
            self.retries_by_second.pop_front();
        }
    }

    fn on_dead_letter(
        &mut self,
        number: i32,
        origin: i64,
        cause: DeadLetterCause,
        outcome: PublishOutcome,
        cx: &mut Cx<'_>,
    ) {
        let beside = self
            .partitions
            .get(&number)
            .and_then(|p| p.details.get(&origin))
            .and_then(|d| d.ack_beside_death);
        match (outcome, beside) {
            (PublishOutcome::Durable(_), _) => {
                self.refused_dead_letter = None;
                if let Some(i) = DeadLetterCause::ALL.iter().position(|c| *c == cause) {
                    self.counters.dead_lettered[i] += 1;
                }
                if Guard::SettlementFirst.holds() {
                    self.publish_settlement(number, origin, cause, cx);
                } else {
                    let nowhere = LogPosition::new(-1, -1);
                    self.settle_detail(number, origin, State::Dead, nowhere, cx);
                }
            }
            // It may be there or not, but it was acknowledged: that is what counts.
            (_, Some(at)) => {
                self.settle_detail(number, origin, State::Acked, at, cx);
            }
            (PublishOutcome::Ambiguous(_), None) => {
                self.wait_again(number, origin, AMBIGUOUS_AGAIN_MS, cx);
            }
            (PublishOutcome::Dropped, None) => {
                self.wait_again(number, origin, REFUSED_AGAIN_MS, cx);
            }
            (PublishOutcome::Refused(why), None) => {
                let topic = self.policy.dead_letter.clone().unwrap_or_default();
                let frozen = Frozen {
                    why: FrozenWhy::DeadLetterTopic,
                    since_wall_ms: cx.now.wall_ms,
                    detail: format!("a dead letter could not be written to {topic}: {why}").into(),
                    cure: format!(
                        "create the topic {topic} and give the coordinator WRITE on it, or set `dead_letter`; it \
                         tries again by itself"
                    )
                    .into(),
                };
                let before = self
                    .refused_dead_letter
                    .take()
                    .filter(|r| self.is_refused(r));
                self.refused_dead_letter =
                    Some(Refused::again(before, self.msg(number, origin), frozen));
                self.back_off(number, origin, cx);
            }
            (PublishOutcome::TooLarge, None) if cause == DeadLetterCause::TooLarge => {
                self.park(
                    number,
                    origin,
                    "even its headers are too large for the dead-letter topic",
                );
            }
            (PublishOutcome::TooLarge, None) => {
                if let Some(p) = self.partitions.get_mut(&number) {
                    p.update(origin, |d| d.doomed = Some(DeadLetterCause::TooLarge));
                }
                self.wait_again(number, origin, 0, cx);
            }
        }
    }

    fn on_settlement(
        &mut self,
        number: i32,
        origin: i64,
        cause: DeadLetterCause,
        outcome: PublishOutcome,
        cx: &mut Cx<'_>,
    ) {
        if let PublishOutcome::Durable(at) = outcome {
            let state = match cause {
                DeadLetterCause::PayloadLost => State::PayloadLost,
                _ => State::Dead,
            };
            // Without its place it cannot be pinned: it is written once more.
            if at.offset >= 0 {
                self.settle_detail(number, origin, state, at, cx);
                return;
            }
        }
        let mono = cx.mono;
        if let Some(p) = self.partitions.get_mut(&number) {
            p.update(origin, |d| {
                d.phase = Phase::SettlementDue(cause);
                d.deadline = Some(mono + REFUSED_AGAIN_MS);
            });
        }
    }
}
