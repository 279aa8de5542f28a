//! A message with a history: retried, verdicts pending, a timeout of its own, or settled while a copy is still about.

use super::effect::DeadLetterCause;
use super::guards::Guard;
use super::record::{Cause, CauseKind, Verdict};
use super::types::LogPosition;
use super::view::State;

#[derive(Debug, Clone)]
pub(super) struct Detail {
    pub origin: i64,
    pub origin_timestamp_ms: i64,
    pub id: Option<Box<str>>,
    /// Monotonic ms; may lie before the process began.
    pub seen_ms: i64,
    /// When the newest attempt was delivered, monotonic ms, as far as that is known: it waits from then on. A record's own
    /// timestamp is its sender's, and says nothing of it.
    pub delivered_ms: i64,
    pub len: u32,
    pub digest: u64,
    /// The newest delivery that counts: read back, or reported with an offset.
    pub attempt: u32,
    /// Known deliveries, ascending by offset; the original first, where its position is known to us as such.
    pub deliveries: Vec<Delivery>,
    /// Where the newest copy that was read back lies: payload is fetched here, and the low-water mark stops here.
    pub anchor: i64,
    pub own_timeout_ms: Option<u64>,
    pub unfaithful: bool,
    pub phase: Phase,
    /// Monotonic ms.
    pub deadline: Option<i64>,
    pub under_way: UnderWay,
    /// Records of the attempts from `unclear_from` to `unclear_to` that may come of unclear reports, two of each.
    pub unclear: u32,
    pub unclear_from: u32,
    pub unclear_to: u32,
    /// The attempt that was submitted last, while it does not count yet; 0: none.
    pub pending_attempt: u32,
    /// When the last report came of a copy that was not read by then; monotonic ms.
    pub unseen_since: Option<i64>,
    /// Extensions of this attempt, ms in all.
    pub extended_ms: u64,
    /// The strongest verdict not acted upon yet.
    pub pending: Option<Pending>,
    /// What the newest retry or death was, for the API.
    pub reason: Option<Box<str>>,
    /// Observe-only: the attempt that would be under way.
    pub virtual_attempt: u32,
    /// An ACK came while the dead letter was on its way, or after.
    pub ack_beside_death: Option<LogPosition>,
    /// Tries of a publication that was refused, for its backoff.
    pub refusals: u32,
    /// How it is to die, where that is settled whatever its attempts: too large, payload lost.
    pub doomed: Option<DeadLetterCause>,
    /// The deadline that the publication under way answers, for its lateness.
    pub fired_deadline: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    pub attempt: u32,
    pub offset: i64,
    pub at_wall_ms: i64,
    pub cause: Option<Cause>,
    /// Read back, not only reported.
    pub read: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub verdict: Verdict,
    pub at: LogPosition,
    pub delay_ms: Option<u64>,
    pub reason: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// For its deadline.
    Waiting,
    /// Due; the payload is being fetched.
    Fetching(Fate),
    /// Submitted.
    Publishing { fate: Fate, sequence: u64 },
    /// The dead letter is durable; the settlement is to be written at the deadline (again).
    SettlementDue(DeadLetterCause),
    /// The settlement is submitted.
    Settling {
        cause: DeadLetterCause,
        sequence: u64,
    },
    /// Observe-only: would have been retried.
    Overdue,
    /// Exhausted or not republishable, and nowhere to go.
    Parked,
    /// Settled; kept while a copy that we sent is unaccounted for.
    Settled(State),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Retry(Cause),
    Dead(DeadLetterCause),
}

/// Copies submitted and not reported: until then, records of their attempts are theirs.
///
/// There is one of an attempt at a time, and hardly ever another attempt beside it: that takes a copy that was read, and had
/// its timeout, before its report came. Reports come in any order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UnderWay {
    newest: u32,
    /// Bit n: attempt `newest - n`.
    attempts: u64,
    /// Records of the newest that were read meanwhile.
    read: u32,
}

impl UnderWay {
    fn bit(&self, attempt: u32) -> u64 {
        let behind = self.newest.checked_sub(attempt);
        behind.and_then(|n| 1_u64.checked_shl(n)).unwrap_or(0)
    }

    pub fn count(&self) -> u32 {
        self.attempts.count_ones()
    }

    fn is_under_way(&self, attempt: u32) -> bool {
        self.attempts & self.bit(attempt) != 0
    }

    pub fn begins(&mut self, attempt: u32) {
        let ahead = attempt.saturating_sub(self.newest);
        self.attempts = self.attempts.checked_shl(ahead).unwrap_or(0);
        self.newest = self.newest.max(attempt);
        self.attempts |= self.bit(attempt);
        self.read = 0;
    }

    /// Gives how many records of it were read before.
    pub fn is_reported(&mut self, attempt: u32) -> u32 {
        self.attempts &= !self.bit(attempt);
        if attempt == self.newest { self.read } else { 0 }
    }
}

/// Why a record is taken for a copy that we submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// A submission is under way.
    UnderWay,
    /// It was reported further behind, and is not read yet: this is its twin.
    Twin,
    /// It may have come of an unclear report.
    Unclear,
}

/// So many records may come of a submission whose report is unclear.
pub(super) const LANDS_MAX: u32 = 2;

impl Detail {
    /// Whether a record of that attempt at that offset, with the same payload, is one of ours.
    ///
    /// The idempotent producer may write a submission twice: when a record times out, it begins a new epoch, and what it
    /// had sent without an answer is sent again under that, where the broker cannot know it (docs/decisions/0008). What
    /// landed of the older epoch lies before what was reported of the newer one, since the broker fences the older.
    pub fn proof_of(&self, attempt: u32, offset: i64) -> Option<Proof> {
        let of_those = |from: u32, to: u32| (from..=to).contains(&attempt);
        if self.under_way.is_under_way(attempt) {
            let may_be_twin = self.under_way.read == 0 || Guard::WrittenTwice.holds();
            return may_be_twin.then_some(Proof::UnderWay);
        }
        let before_its_twin = |d: &Delivery| d.attempt == attempt && !d.read && offset < d.offset;
        if self.deliveries.iter().any(before_its_twin) && Guard::WrittenTwice.holds() {
            return Some(Proof::Twin);
        }
        let may_come = self.unclear > 0 && of_those(self.unclear_from, self.unclear_to);
        may_come.then_some(Proof::Unclear)
    }

    /// The record was read.
    pub fn accounts_for(&mut self, proof: Proof, attempt: u32) {
        match proof {
            Proof::UnderWay if attempt == self.under_way.newest => self.under_way.read += 1,
            Proof::UnderWay | Proof::Twin => {}
            Proof::Unclear => self.unclear -= 1,
        }
    }

    /// The report of that attempt, of which so many records were read before, is unclear: it may be in the log, or come, once or
    /// twice.
    pub fn is_unclear(&mut self, attempt: u32, read: u32, mono: i64) {
        self.unseen_since = Some(mono);
        // Reports may come in any order.
        (self.unclear_from, self.unclear_to) = if self.unclear == 0 {
            (attempt, attempt)
        } else {
            (self.unclear_from.min(attempt), self.unclear_to.max(attempt))
        };
        let lands = if Guard::WrittenTwice.holds() {
            LANDS_MAX
        } else {
            1
        };
        self.unclear += lands.saturating_sub(read);
    }

    /// That attempt was submitted, and is in no log. If no other may be in one, none is on its way: what is said of the
    /// delivery before counts again.
    pub fn is_in_no_log(&mut self, attempt: u32) {
        self.under_way.is_reported(attempt);
        if !self.may_come() {
            self.pending_attempt = self.attempt;
        }
    }

    /// A copy of it may be in the log, or come, that was not read yet.
    pub fn may_come(&self) -> bool {
        self.under_way.attempts != 0 || self.unclear > 0
    }

    /// Whether a copy may be in the log that was not read yet: one that may come, or the twin of one that was reported further
    /// behind.
    pub fn may_be_unseen(&self) -> bool {
        self.may_come() || self.deliveries.iter().any(|d| !d.read)
    }

    /// None of them comes any more.
    pub fn gives_up(&mut self) {
        self.under_way = UnderWay::default();
        self.unclear = 0;
        self.deadline = None;
        self.deliveries.iter_mut().for_each(|d| d.read = true);
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Settled(state) => state,
            Phase::Parked => State::Parked,
            Phase::Overdue => State::Overdue,
            _ if self.attempt > 1 => State::Retrying,
            _ => State::Outstanding,
        }
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Settled(_))
    }

    /// Offset of the newest delivery.
    pub fn newest(&self) -> i64 {
        self.deliveries.last().map_or(self.origin, |d| d.offset)
    }

    /// The attempt that the delivery at `offset` was.
    pub fn attempt_at(&self, offset: i64) -> Option<u32> {
        self.deliveries
            .iter()
            .find(|d| d.offset == offset)
            .map(|d| d.attempt)
    }

    /// Offsets between the original and the next delivery, the newest 16.
    pub fn between(&self) -> Vec<i64> {
        let between: Vec<i64> = self
            .deliveries
            .iter()
            .map(|d| d.offset)
            .filter(|offset| *offset != self.origin)
            .collect();
        between[between.len().saturating_sub(DELIVERIES_KEPT)..].to_vec()
    }

    /// Adds a delivery in its place; one that is known already only learns that it was read.
    pub fn add_delivery(&mut self, delivery: Delivery) {
        match self
            .deliveries
            .binary_search_by_key(&delivery.offset, |d| d.offset)
        {
            Ok(at) => self.deliveries[at].read |= delivery.read,
            Err(at) => self.deliveries.insert(at, delivery),
        }
    }

    /// What becomes of it once it is due.
    pub fn fate(&self, max_attempts: u32) -> Fate {
        let verdict = self.pending.as_ref().map(|p| p.verdict);
        let last = self.attempt + u32::from(!Guard::LastAttempt.holds());
        let exhausted = max_attempts != 0
            && last >= max_attempts
            && self.pending_attempt <= self.attempt
            && verdict != Some(Verdict::OperatorRetry);
        match (self.doomed, verdict) {
            (Some(cause), _) => Fate::Dead(cause),
            (None, Some(Verdict::Reject)) => Fate::Dead(DeadLetterCause::Rejected),
            (None, Some(Verdict::OperatorDeadLetter)) => Fate::Dead(DeadLetterCause::Operator),
            _ if exhausted => Fate::Dead(DeadLetterCause::AttemptsExhausted),
            _ => Fate::Retry(self.retry_cause()),
        }
    }

    /// Whether it waits for no turn among the retries: a dead letter that somebody asked for, or that is half done, and
    /// whatever an operator decided.
    pub fn is_urgent(&self) -> bool {
        let asked = self.pending.as_ref().is_some_and(|p| {
            use Verdict::{OperatorDeadLetter, OperatorNack, OperatorRetry, Reject};
            matches!(
                p.verdict,
                Reject | OperatorDeadLetter | OperatorNack | OperatorRetry
            )
        });
        let dying = self.doomed.is_some() || matches!(self.phase, Phase::SettlementDue(_));
        !self.is_settled() && (asked || dying)
    }

    /// The next attempt may be on its way, or it is dying: it is too late to decide what becomes of this one.
    pub fn is_decided(&self) -> bool {
        let waits = matches!(
            self.phase,
            Phase::Waiting | Phase::Fetching(_) | Phase::Parked | Phase::Overdue
        );
        !waits || self.pending_attempt > self.attempt
    }

    /// The fate that its pending verdict asks for; a passed deadline, where there is none.
    pub fn retry_cause(&self) -> Cause {
        match &self.pending {
            Some(p) => Cause {
                kind: match p.verdict {
                    Verdict::Nack => CauseKind::Nack,
                    Verdict::OperatorNack | Verdict::OperatorRetry => CauseKind::Operator,
                    _ => CauseKind::Timeout,
                },
                record: match p.verdict {
                    Verdict::Extend | Verdict::OperatorExtend => None,
                    _ => Some(p.at),
                },
            },
            None => Cause {
                kind: CauseKind::Timeout,
                record: None,
            },
        }
    }
}

/// How many deliveries a copy names between the original and itself (contract).
pub(super) const DELIVERIES_KEPT: usize = 16;

/// How strong a verdict is among those not acted upon yet: ack > reject > nack > extend. An operator's ranks with the
/// verdict it is like, and stands where they are equal, whichever is read first; its retry ranks with a reject, so that it
/// overrules one. Of two operators' or two extensions the later stands, of other equals the first.
pub(super) const fn strength(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Extend | Verdict::OperatorExtend => 1,
        Verdict::Nack | Verdict::OperatorNack => 2,
        Verdict::Reject | Verdict::OperatorDeadLetter | Verdict::OperatorRetry => 3,
        Verdict::Ack | Verdict::OperatorAck => 4,
        Verdict::PayloadLost | Verdict::DeadLettered => 5,
    }
}
