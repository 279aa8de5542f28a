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
    /// Copies submitted whose place is not known: proof for as many records of the attempts from `unaccounted_from` to
    /// `pending_attempt`.
    pub unaccounted: u32,
    pub unaccounted_from: u32,
    /// Copies submitted and not reported: until then, any record of the attempts from `reports_from` to
    /// `pending_attempt` may be one of them.
    pub reports_out: u32,
    pub reports_from: u32,
    /// Records of the attempts from `again_from` to `again_to` that may come beside those: each unclear report may stand
    /// for two.
    pub again: u32,
    pub again_from: u32,
    pub again_to: u32,
    /// The attempt that was submitted last, while it does not count yet; 0: none.
    pub pending_attempt: u32,
    /// When the last report of a copy that is not accounted for came back ambiguous; monotonic ms.
    pub ambiguous_since: Option<i64>,
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

/// Why a record is taken for a copy that we submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// As many were submitted whose place is not known.
    Unaccounted,
    /// One more may have come of an unclear report.
    Again,
    /// Its submission is under way, or was reported further behind and not read yet: the producer wrote it twice.
    Twin,
}

impl Detail {
    /// Whether a record of that attempt at that offset, with the same payload, is one of ours.
    ///
    /// The idempotent producer may write a submission twice: when a record times out, it begins a new epoch, and what it
    /// had sent without an answer is sent again under that, where the broker cannot know it (docs/decisions/0008). What
    /// landed of the older epoch lies before what was reported of the newer one, since the broker fences the older.
    pub fn proof_of(&self, attempt: u32, offset: i64) -> Option<Proof> {
        let of_those = |from: u32, to: u32| (from..=to).contains(&attempt);
        if self.unaccounted > 0 && of_those(self.unaccounted_from, self.pending_attempt) {
            return Some(Proof::Unaccounted);
        }
        if !Guard::WrittenTwice.holds() {
            return None;
        }
        if self.again > 0 && of_those(self.again_from, self.again_to) {
            return Some(Proof::Again);
        }
        let under_way = self.reports_out > 0 && of_those(self.reports_from, self.pending_attempt);
        let before_its_twin = |d: &Delivery| d.attempt == attempt && !d.read && offset < d.offset;
        (under_way || self.deliveries.iter().any(before_its_twin)).then_some(Proof::Twin)
    }

    /// A copy is submitted.
    pub fn sends(&mut self, attempt: u32) {
        self.pending_attempt = attempt;
        if self.unaccounted == 0 {
            self.unaccounted_from = attempt;
        }
        if self.reports_out == 0 {
            self.reports_from = attempt;
        }
        self.unaccounted += 1;
        self.reports_out += 1;
    }

    /// The record was read.
    pub fn accounts_for(&mut self, proof: Proof) {
        match proof {
            Proof::Unaccounted => self.unaccounted -= 1,
            Proof::Again => self.again -= 1,
            Proof::Twin => {}
        }
        self.unclear_no_more();
    }

    /// The report of that attempt is there. There is one of an attempt at a time.
    pub fn is_reported(&mut self, attempt: u32) {
        self.reports_out = self.reports_out.saturating_sub(1);
        if attempt == self.reports_from {
            self.reports_from += 1;
        }
    }

    /// It was refused.
    pub fn was_not_sent(&mut self, attempt: u32) {
        self.is_reported(attempt);
        self.unaccounted = self.unaccounted.saturating_sub(1);
    }

    /// The report of that attempt was ambiguous: it may be in the log, or come, once or twice.
    pub fn is_unclear(&mut self, attempt: u32, mono: i64) {
        self.ambiguous_since = Some(mono);
        if self.again == 0 {
            self.again_from = attempt;
        }
        self.again_to = attempt;
        self.again += 1;
    }

    pub fn unclear_no_more(&mut self) {
        if self.unaccounted == 0 && self.again == 0 {
            self.ambiguous_since = None;
        }
    }

    /// A copy of it may be in the log, or come, that was not read yet.
    pub fn may_come(&self) -> bool {
        self.unaccounted > 0 || self.again > 0 || self.reports_out > 0
    }

    /// None of them comes any more.
    pub fn gives_up(&mut self) {
        self.unaccounted = 0;
        self.again = 0;
        self.reports_out = 0;
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
/// verdict it is like; the later of two equals stands for a retry or extension, the first for the rest.
pub(super) const fn strength(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Extend | Verdict::OperatorExtend => 1,
        Verdict::Nack | Verdict::OperatorNack | Verdict::OperatorRetry => 2,
        Verdict::Reject | Verdict::OperatorDeadLetter => 3,
        Verdict::Ack | Verdict::OperatorAck => 4,
        Verdict::PayloadLost | Verdict::DeadLettered => 5,
    }
}
