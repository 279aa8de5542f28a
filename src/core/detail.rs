//! A message with a history: retried, verdicts pending, a timeout of its own, or settled while a copy is still about.

use super::effect::DeadLetterCause;
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
    /// The attempt that was submitted last, while it does not count yet; 0: none.
    pub pending_attempt: u32,
    /// When the last report of an unaccounted copy came back ambiguous; monotonic ms.
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

impl Detail {
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
