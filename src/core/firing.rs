//! What a passed deadline does: behind the barrier, the payload is fetched; then, if nothing was acknowledged
//! meanwhile, the copy or the dead letter is submitted. How it goes on is decided by what the broker reports (`reports`).
//!
//! Nothing is submitted after the message's ACK was applied (7): the decision falls when the payload is at hand, and
//! the submission is the very next effect. Dead letter durable, then settlement durable, then forgotten (4).

use super::ack_topic::AckTopic;
use super::detail::{Detail, Fate, Phase};
use super::effect::{DeadLetterCause, DeadLetterPayload, Effect, Headers, Publication, Publish};
use super::event::FetchOutcome;
use super::guards::Guard;
use super::partition::Stage;
use super::record::{Cause, CauseKind, Verdict};
use super::schedule;
use super::topic::{Cx, Submitted, Topic};
use super::types::{LogPosition, MsgRef, Round};
use super::view::State;

/// Retries and dead letters of one topic under way at once: enough to keep the producer busy, few enough that an ACK
/// that comes meanwhile still stops most of them.
pub(super) const IN_FLIGHT_MAX: usize = 10_000;
/// And their bytes, as far as known from the entries.
pub(super) const IN_FLIGHT_BYTES_MAX: u64 = 64 << 20;
/// An ambiguous copy is published again after this, if it was not read back by then.
pub(super) const AMBIGUOUS_AGAIN_MS: i64 = 1_000;
/// With ACKs waiting for unread records, an ambiguous copy is looked at again after this.
const UNSEEN_AGAIN_MS: i64 = 50;
/// And for that long. A stopped broker has been seen to append seven seconds late.
const UNSEEN_FOR_MS: i64 = 30_000;
/// For how long a settled message is remembered for a copy of it that may or may not be in the log: far beyond
/// any produce timeout.
pub(super) const AMBIGUOUS_KEPT_MS: i64 = 600_000;
/// A fetch or publication that was refused is tried again after this, doubled up to the cap.
pub(super) const REFUSED_AGAIN_MS: i64 = 1_000;
const REFUSED_AGAIN_MS_MAX: i64 = 30_000;
/// Operators' retries do not wait for their turn, and others wait for it the longer, but no longer than that.
const DEBT_SECONDS: f64 = 1.0;
/// Why a message is parked that cannot be copied byte for byte.
pub(super) const UNFAITHFUL: &str = "has a header that cannot be published again as it is";

impl Topic {
    /// Starts what is due, as far as the barrier, the rate and the bounds allow.
    pub fn fire(&mut self, acks: &mut AckTopic, next_round: &mut Round, cx: &mut Cx<'_>) {
        if cx.stopping {
            return;
        }
        self.refill(cx);
        (self.in_flight, self.in_flight_bytes) = self.under_way();
        // Who was cut short had its turn: the next time, the one behind it is first, and none keeps others waiting.
        let had_turn = self.had_turn.take();
        let first = self.partition_in_turn(had_turn);
        let mut next = first;
        while let Some(number) = next {
            let cut_short = self.fire_partition(number, acks, next_round, cx);
            if let Some(begun) = cut_short
                && self.had_turn.is_none()
            {
                self.had_turn = Some(if begun > 0 { number } else { number - 1 });
            }
            next = self
                .partition_in_turn(Some(number))
                .filter(|n| Some(*n) != first);
        }
    }

    /// Payloads being fetched and records submitted, and their bytes.
    pub(super) fn under_way(&self) -> (usize, u64) {
        let submitted = (self.publishing.len(), self.publishing_bytes);
        let fetching = self.partitions.values().map(|p| p.fetching);
        fetching.fold(submitted, |(count, bytes), p| (count + p.0, bytes + p.1))
    }

    /// The first behind that one; behind the last, the first of all.
    fn partition_in_turn(&self, behind: Option<i32>) -> Option<i32> {
        let next = self.partition_behind(behind);
        next.or_else(|| self.partition_behind(None))
    }

    fn refill(&mut self, cx: &Cx<'_>) {
        let rate = f64::from(self.policy.retry_rate);
        let elapsed_ms = cx.now.mono_ms.saturating_sub(self.tokens_at) as f64;
        self.tokens_at = cx.now.mono_ms;
        // A tenth of a second's worth may be saved up, at least one.
        self.tokens = (self.tokens + rate * elapsed_ms / 1_000.0)
            .clamp(-rate * DEBT_SECONDS, (rate / 10.0).max(1.0));
    }

    /// If the rate or a bound cut it short: how many it had begun by then.
    fn fire_partition(
        &mut self,
        number: i32,
        acks: &mut AckTopic,
        next_round: &mut Round,
        cx: &mut Cx<'_>,
    ) -> Option<usize> {
        let mut begun = 0;
        // No retry has its turn before the next tick; what needs none goes on.
        let mut out_of_turns = false;
        loop {
            let p = self.partitions.get_mut(&number)?;
            if p.stage != Stage::Live {
                return None;
            }
            let (first, detail) = if out_of_turns {
                (None, p.urgent.first().copied())
            } else {
                (p.next_first_due(), p.due.first().copied())
            };
            let next = first.into_iter().chain(detail).min();
            let Some((deadline, origin)) = next.filter(|(deadline, _)| *deadline <= cx.mono) else {
                return out_of_turns.then_some(begun);
            };
            // A tombstone whose ambiguous copy never came.
            if detail == Some((deadline, origin))
                && p.details.get(&origin).is_some_and(|d| d.is_settled())
            {
                p.update(origin, Detail::gives_up);
                self.drop_if_over(number, origin);
                continue;
            }
            if self.paused.is_some() || !self.may_publish(number, cx) {
                return None;
            }
            // A deadline that was set into the past is none that anybody could know of: ACKs up to now are in time.
            let known = deadline.max(self.retimed_at);
            let (open, wants) = acks.want(known, cx.now, next_round);
            if let Some(round) = wants.ask {
                cx.effects.push(Effect::AskAckEnds {
                    ack: acks.ix,
                    round,
                });
            }
            if (!open && Guard::Barrier.holds()) || self.is_unheard(number, origin) {
                return None;
            }
            if self.in_flight >= IN_FLIGHT_MAX || self.in_flight_bytes >= IN_FLIGHT_BYTES_MAX {
                return Some(begun);
            }
            if first == Some((deadline, origin)) {
                self.promote(number, origin, cx);
            }
            if self.begin(number, origin, cx) {
                begun += 1;
            } else if out_of_turns {
                return Some(begun);
            } else {
                out_of_turns = true;
            }
        }
    }

    /// A message is due, and all ACKs up to its deadline are applied. False: no more retries for now.
    fn begin(&mut self, number: i32, origin: i64, cx: &mut Cx<'_>) -> bool {
        let dead_letter = self.policy.dead_letter.is_some();
        let observing = self.policy.observe_only;
        let Some(detail) = self
            .partitions
            .get(&number)
            .and_then(|p| p.details.get(&origin))
        else {
            return true;
        };
        if let Phase::SettlementDue(cause) = detail.phase {
            self.publish_settlement(number, origin, cause, cx);
            return true;
        }
        if observing {
            self.observe(number, origin, cx);
            return true;
        }
        let fate = detail.fate(self.policy.max_attempts);
        let urgent = detail.is_urgent();
        if detail.unfaithful {
            self.park(number, origin, UNFAITHFUL);
            return true;
        }
        match fate {
            Fate::Dead(cause) if !dead_letter && !is_lost(fate) => {
                self.park(number, origin, no_dead_letter_topic(cause));
                return true;
            }
            Fate::Retry(_) if self.policy.retry_rate != 0 => {
                if self.tokens < 1.0 && !urgent {
                    return false;
                }
                // Given back if nothing comes of it.
                self.tokens -= 1.0;
            }
            _ => {}
        }
        let Some(p) = self.partitions.get_mut(&number) else {
            return true;
        };
        let Some((anchor, len, digest)) = p.update(origin, |d| {
            d.fired_deadline = d.deadline.take();
            d.phase = Phase::Fetching(fate);
            (d.anchor, d.len, d.digest)
        }) else {
            return true;
        };
        self.in_flight += 1;
        self.in_flight_bytes += u64::from(len);
        if is_lost(fate) {
            self.publish_dead(number, origin, DeadLetterCause::PayloadLost, cx);
            return true;
        }
        cx.effects.push(Effect::FetchPayload {
            msg: self.msg(number, origin),
            offset: anchor,
            len,
            digest,
        });
        true
    }

    pub(super) fn park(&mut self, number: i32, origin: i64, why: &'static str) {
        if let Some(p) = self.partitions.get_mut(&number) {
            p.update(origin, |d| {
                d.phase = Phase::Parked;
                d.deadline = None;
                d.refusals = 0;
                d.reason.get_or_insert_with(|| why.into());
            });
        }
    }

    /// Observe-only: what would be done is only told.
    fn observe(&mut self, number: i32, origin: i64, cx: &mut Cx<'_>) {
        let policy = self.policy.clone();
        let (mono, seed) = (cx.mono, cx.seed);
        let Some(p) = self.partitions.get_mut(&number) else {
            return;
        };
        let missed = p.update(origin, |d| {
            d.phase = Phase::Overdue;
            d.pending = None;
            if policy.max_attempts != 0 && d.virtual_attempt >= policy.max_attempts {
                d.deadline = None;
                return true;
            }
            d.virtual_attempt += 1;
            let wait =
                schedule::wait_ms(&policy, d.own_timeout_ms, d.virtual_attempt, seed, origin);
            d.deadline = Some(mono + wait as i64);
            false
        });
        if missed == Some(true) {
            let nowhere = LogPosition::new(-1, -1);
            self.settle_detail(number, origin, State::Missed, nowhere, cx);
        }
    }

    /// Its payload is not wanted any more.
    pub fn discard(&self, number: i32, origin: i64, cx: &mut Cx<'_>) {
        cx.effects.push(Effect::DiscardPayload {
            msg: self.msg(number, origin),
        });
    }

    pub fn on_fetched(&mut self, msg: MsgRef, outcome: FetchOutcome, cx: &mut Cx<'_>) {
        let (number, origin) = (msg.partition, msg.origin);
        let fate = self
            .partitions
            .get(&number)
            .and_then(|p| p.details.get(&origin))
            .and_then(|d| match d.phase {
                Phase::Fetching(fate) => Some(fate),
                _ => None,
            });
        // Settled, or a verdict came, while it was fetched: it was released then.
        let Some(fate) = fate else {
            if !Guard::AckStopsPublication.holds() {
                let cause = Cause {
                    kind: CauseKind::Timeout,
                    record: None,
                };
                self.publish_copy(number, origin, cause, cx);
            } else if matches!(outcome, FetchOutcome::Found { .. }) {
                cx.effects.push(Effect::DiscardPayload { msg });
            }
            return;
        };
        let max_attempts = self.policy.max_attempts;
        let detail = self
            .partitions
            .get(&number)
            .and_then(|p| p.details.get(&origin));
        if matches!(fate, Fate::Retry(_)) && self.policy.retry_rate != 0 {
            self.tokens += 1.0;
        }
        let changed =
            detail.is_none_or(|d| d.fate(max_attempts) != fate) && Guard::FateAtLast.holds();
        match outcome {
            FetchOutcome::Found { .. }
                if cx.stopping
                    || changed
                    || self.paused.is_some()
                    || self.stands_still(number)
                    || self.is_unheard(number, origin)
                    || self.overflow.is_read_again
                    || !self.may_publish(number, cx) =>
            {
                self.discard(number, origin, cx);
                self.wait_again(number, origin, 0, cx);
            }
            FetchOutcome::Found { .. } if self.may_be_acked_unseen(number, origin, cx.mono) => {
                self.discard(number, origin, cx);
                self.wait_again(number, origin, UNSEEN_AGAIN_MS, cx);
            }
            FetchOutcome::Found { .. } => match fate {
                Fate::Retry(cause) => {
                    if self.policy.retry_rate != 0 {
                        self.tokens -= 1.0;
                    }
                    self.publish_copy(number, origin, cause, cx);
                }
                Fate::Dead(cause) => self.publish_dead(number, origin, cause, cx),
            },
            FetchOutcome::Gone(why) => {
                if let Some(p) = self.partitions.get_mut(&number) {
                    p.update(origin, |d| {
                        d.doomed = Some(DeadLetterCause::PayloadLost);
                        d.reason = Some(why);
                    });
                }
                self.wait_again(number, origin, 0, cx);
            }
            FetchOutcome::Failed(_) => self.back_off(number, origin, cx),
        }
    }

    /// A copy of it is about whose place is not known, or that was not read yet and may have a twin, and ACKs wait for records
    /// that are not read yet: one of them may be about that copy. Once the source is read that far, it is settled, or the ACK
    /// was about something else. That is waited for within bounds: ACKs may always be a little ahead of the source, and a
    /// source that is paused, since too much is outstanding, goes on only when some of it is settled.
    fn may_be_acked_unseen(&self, number: i32, origin: i64, mono: i64) -> bool {
        let is_about = |d: &Detail| {
            let overdue = |since: i64| mono >= since + UNSEEN_FOR_MS;
            d.may_be_unseen() && !d.unseen_since.is_some_and(overdue)
        };
        self.partitions.get(&number).is_some_and(|p| {
            let detail = p.details.get(&origin);
            let ahead = !p.early.is_empty() || p.unheard.is_some();
            ahead && detail.is_some_and(|d| is_about(d)) && Guard::AckedUnseen.holds()
        })
    }

    /// Something of the partition was lost meanwhile.
    fn stands_still(&self, number: i32) -> bool {
        self.partitions
            .get(&number)
            .is_some_and(|p| p.stage != Stage::Live)
    }

    pub(super) fn wait_again(&mut self, number: i32, origin: i64, delay_ms: i64, cx: &Cx<'_>) {
        let mono = cx.mono;
        if let Some(p) = self.partitions.get_mut(&number) {
            p.update(origin, |d| {
                if !d.is_settled() {
                    d.phase = Phase::Waiting;
                    d.deadline = Some(mono + delay_ms);
                }
            });
        }
    }

    pub(super) fn back_off(&mut self, number: i32, origin: i64, cx: &Cx<'_>) {
        let refusals = self
            .partitions
            .get_mut(&number)
            .and_then(|p| {
                p.update(origin, |d| {
                    d.refusals = d.refusals.saturating_add(1);
                    d.refusals
                })
            })
            .unwrap_or(1);
        let delay = REFUSED_AGAIN_MS << (refusals - 1).min(5);
        self.wait_again(number, origin, delay.min(REFUSED_AGAIN_MS_MAX), cx);
    }

    fn publish_copy(&mut self, number: i32, origin: i64, cause: Cause, cx: &mut Cx<'_>) {
        *cx.sequence += 1;
        let sequence = *cx.sequence;
        let Some(p) = self.partitions.get_mut(&number) else {
            return;
        };
        let headers = p.update(origin, |d| {
            let attempt = if Guard::SameAttemptAgain.holds() {
                d.attempt + 1
            } else {
                d.attempt.max(d.pending_attempt) + 1
            };
            d.pending_attempt = attempt;
            d.under_way.begins(attempt);
            d.phase = Phase::Publishing {
                fate: Fate::Retry(cause),
                sequence,
            };
            Headers {
                id: d.id.clone(),
                attempt,
                origin,
                origin_timestamp_ms: d.origin_timestamp_ms,
                deliveries: d.between(),
                cause: Some(cause),
            }
        });
        if let Some(headers) = headers {
            let len = p.details[&origin].len;
            self.publishing_bytes += u64::from(len);
            self.publishing.insert(
                sequence,
                Submitted {
                    partition: number,
                    len,
                    copy: Some(headers.attempt),
                },
            );
            cx.effects.push(Effect::Publish(Publish {
                msg: self.msg(number, origin),
                sequence,
                what: Publication::Copy(headers),
            }));
        }
    }

    fn publish_dead(&mut self, number: i32, origin: i64, cause: DeadLetterCause, cx: &mut Cx<'_>) {
        let topic = self.policy.dead_letter.clone();
        let is_lost = cause == DeadLetterCause::PayloadLost;
        if topic.is_none() && !is_lost && Guard::NowhereToDie.holds() {
            // An operator took it away while the payload was fetched.
            self.discard(number, origin, cx);
            self.park(number, origin, no_dead_letter_topic(cause));
            return;
        }
        let Some(topic) = topic.filter(|_| Guard::DeadLetterFirst.holds()) else {
            // Lost, and nowhere to tell it but the settlement.
            if let Some(p) = self.partitions.get_mut(&number) {
                p.update(origin, |d| d.phase = Phase::SettlementDue(cause));
            }
            self.publish_settlement(number, origin, cause, cx);
            return;
        };
        *cx.sequence += 1;
        let sequence = *cx.sequence;
        let Some(p) = self.partitions.get_mut(&number) else {
            return;
        };
        let what = p.update(origin, |d| {
            d.phase = Phase::Publishing {
                fate: Fate::Dead(cause),
                sequence,
            };
            let (offset, len, digest) = (d.anchor, d.len, d.digest);
            Publication::DeadLetter {
                topic,
                headers: Headers {
                    id: d.id.clone(),
                    attempt: d.attempt,
                    origin,
                    origin_timestamp_ms: d.origin_timestamp_ms,
                    deliveries: d.between(),
                    cause: None,
                },
                cause,
                reason: d.reason.clone(),
                payload: match cause {
                    DeadLetterCause::TooLarge => DeadLetterPayload::Stub {
                        offset,
                        len,
                        digest,
                    },
                    DeadLetterCause::PayloadLost => DeadLetterPayload::Lost {
                        offset,
                        len,
                        digest,
                    },
                    _ => DeadLetterPayload::Whole,
                },
            }
        });
        if let Some(what) = what {
            let len = p.details[&origin].len;
            self.publishing_bytes += u64::from(len);
            self.publishing.insert(
                sequence,
                Submitted {
                    partition: number,
                    len,
                    copy: None,
                },
            );
            cx.effects.push(Effect::Publish(Publish {
                msg: self.msg(number, origin),
                sequence,
                what,
            }));
        }
    }

    pub(super) fn publish_settlement(
        &mut self,
        number: i32,
        origin: i64,
        cause: DeadLetterCause,
        cx: &mut Cx<'_>,
    ) {
        if !self.may_publish(number, cx) {
            let mono = cx.mono;
            if let Some(p) = self.partitions.get_mut(&number) {
                p.update(origin, |d| {
                    d.phase = Phase::SettlementDue(cause);
                    d.deadline = Some(mono);
                });
            }
            return;
        }
        *cx.sequence += 1;
        let sequence = *cx.sequence;
        let ack = self.settings.ack;
        let Some(p) = self.partitions.get_mut(&number) else {
            return;
        };
        let what = p.update(origin, |d| {
            d.phase = Phase::Settling { cause, sequence };
            d.deadline = None;
            Publication::Verdict {
                ack,
                verdict: settlement_of(cause),
                newest: d.newest(),
                attempt: d.attempt,
                delay_ms: None,
                actor: None,
                reason: d.reason.clone(),
            }
        });
        if let Some(what) = what {
            cx.effects.push(Effect::Publish(Publish {
                msg: self.msg(number, origin),
                sequence,
                what,
            }));
        }
    }
}

fn is_lost(fate: Fate) -> bool {
    fate == Fate::Dead(DeadLetterCause::PayloadLost)
}

/// Why a message that is to die is parked.
const fn no_dead_letter_topic(cause: DeadLetterCause) -> &'static str {
    match cause {
        DeadLetterCause::Rejected => "rejected, and there is no dead-letter topic",
        DeadLetterCause::TooLarge => {
            "too large to be sent again, and there is no dead-letter topic"
        }
        DeadLetterCause::Operator => {
            "to be dead-lettered by an operator's decision, and there is no dead-letter topic"
        }
        _ => "exhausted, and there is no dead-letter topic",
    }
}

/// A reason that is ours alone: it says why a message is parked, and no longer holds once it is not.
pub(super) fn is_reason_to_park(reason: &str) -> bool {
    let all = DeadLetterCause::ALL.iter();
    reason == UNFAITHFUL
        || all
            .map(|c| no_dead_letter_topic(*c))
            .any(|why| why == reason)
}

const fn settlement_of(cause: DeadLetterCause) -> Verdict {
    match cause {
        DeadLetterCause::PayloadLost => Verdict::PayloadLost,
        _ => Verdict::DeadLettered,
    }
}
