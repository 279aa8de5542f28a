//! What the core shows: plain snapshots. `http` gives them their JSON, `metrics` their exposition.

use super::effect::DeadLetterCause;
use super::policy::{Policy, PolicyPatch};
use super::record::{Cause, CauseKind, Verdict};
use super::types::{LogPosition, TopicIx};

/// The states of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// First delivery under way.
    Outstanding,
    /// A later one.
    Retrying,
    /// The lag-aware clock has not started. (Not built yet: no message is ever in it.)
    Waiting,
    /// Observe-only: would have been retried.
    Overdue,
    /// Exhausted (or not faithfully republishable), and no dead-letter topic.
    Parked,
    Acked,
    OperatorAcked,
    Dead,
    PayloadLost,
    /// Observe-only, at the end.
    Missed,
}

impl State {
    pub const ALL: [Self; 10] = [
        Self::Outstanding,
        Self::Retrying,
        Self::Waiting,
        Self::Overdue,
        Self::Parked,
        Self::Acked,
        Self::OperatorAcked,
        Self::Dead,
        Self::PayloadLost,
        Self::Missed,
    ];
    /// The first five: what is not settled.
    pub const UNSETTLED: [Self; 5] = [
        Self::Outstanding,
        Self::Retrying,
        Self::Waiting,
        Self::Overdue,
        Self::Parked,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outstanding => "outstanding",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::Overdue => "overdue",
            Self::Parked => "parked",
            Self::Acked => "acked",
            Self::OperatorAcked => "operator-acked",
            Self::Dead => "dead",
            Self::PayloadLost => "payload-lost",
            Self::Missed => "missed",
        }
    }

    #[must_use]
    pub const fn is_settled(self) -> bool {
        !matches!(
            self,
            Self::Outstanding | Self::Retrying | Self::Waiting | Self::Overdue | Self::Parked
        )
    }
}

/// One message, as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageView {
    pub topic: TopicIx,
    /// Position of the original.
    pub position: LogPosition,
    /// `None`: the id is the position.
    pub id: Option<Box<str>>,
    pub state: State,
    pub attempt: u32,
    pub max_attempts: u32,
    pub seen_wall_ms: i64,
    /// By the wall clock, computed when shown; `None` where nothing is due (parked, settled, paused).
    pub deadline_wall_ms: Option<i64>,
    pub age_ms: u64,
    /// Offset of the newest delivery; same partition.
    pub newest_delivery: i64,
    /// Why the newest delivery was made; for a dead letter, why it died.
    pub cause: Option<ShownCause>,
    /// B's or the operator's text.
    pub reason: Option<Box<str>>,
    pub size_bytes: u32,
    /// An ACK came although it was dead-lettered.
    pub late_ack: bool,
    pub settled_wall_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownCause {
    Delivery(Cause),
    DeadLetter(DeadLetterCause),
}

/// One message with its history.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageDetail {
    pub message: MessageView,
    pub attempts: Vec<AttemptView>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AttemptView {
    pub attempt: u32,
    /// Offset; same partition.
    pub offset: i64,
    /// ms since the epoch.
    pub at_wall_ms: i64,
    pub cause: Option<Cause>,
    /// `acked`, `nacked`, `timed-out`, `rejected`, `under-way`, …
    pub outcome: &'static str,
}

/// What a look-up of one position finds.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    Found(Box<MessageDetail>),
    /// Below the low-water mark, or settled above it, and nothing kept.
    Settled,
    /// Before the topic's start, in a lost range, or past what was read; or its partition stands still and was not rebuilt.
    Untracked,
    NoSuchPartition,
    /// The group gave the partition to another instance.
    Elsewhere,
    /// It is ours since a moment ago, and being rebuilt.
    Rebuilding,
}

/// `GET /messages`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MessageFilter {
    /// `None`: all topics.
    pub topic: Option<TopicIx>,
    /// Empty: the unsettled ones.
    pub states: Vec<State>,
    pub id: Option<Box<str>>,
    pub min_attempt: u32,
    /// Age at least this, ms.
    pub older_than_ms: Option<u64>,
    /// Deadline within this, ms.
    pub due_within_ms: Option<u64>,
    pub newest_first: bool,
    /// 1 to 500.
    pub limit: usize,
    pub cursor: Option<Cursor>,
}

/// Where the next page starts. Opaque to users; `http` gives it its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// When the last one shown was seen, ms since the epoch: pages are in that order.
    pub seen_wall_ms: i64,
    pub topic: TopicIx,
    pub partition: i32,
    /// The last original seen; the next page starts behind it.
    pub origin: i64,
    /// Which of the shelves it is on: 0 = unsettled, 1 = settled.
    pub shelf: u8,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct MessagePage {
    pub messages: Vec<MessageView>,
    pub next: Option<Cursor>,
    /// Other instances track partitions of these topics, too.
    pub partial: bool,
}

/// Why a topic, or some partitions of it, do not fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    pub why: FrozenWhy,
    pub since_wall_ms: i64,
    pub detail: Box<str>,
    pub cure: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrozenWhy {
    /// The ACK topic is not there.
    AckTopicMissing,
    /// Records were gone before they were read.
    SourceLost,
    /// ACKs were gone before they were read.
    AcksLost,
    /// An operator paused it.
    Paused,
    /// The barrier has not opened for a while: Kafka does not answer, or an open transaction hides ACKs.
    BarrierClosed,
    /// The group has not confirmed us for half a session.
    LeaseLapsed,
    /// Dead letters cannot be written.
    DeadLetterTopic,
    /// Copies cannot be written.
    RetryTopic,
    /// The source topic is not there.
    SourceMissing,
}

impl FrozenWhy {
    pub const ALL: [Self; 9] = [
        Self::AckTopicMissing,
        Self::SourceLost,
        Self::AcksLost,
        Self::Paused,
        Self::BarrierClosed,
        Self::LeaseLapsed,
        Self::DeadLetterTopic,
        Self::RetryTopic,
        Self::SourceMissing,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AckTopicMissing => "ack-topic-missing",
            Self::SourceLost => "source-lost",
            Self::AcksLost => "acks-lost",
            Self::Paused => "paused",
            Self::BarrierClosed => "barrier-closed",
            Self::LeaseLapsed => "lease-lapsed",
            Self::DeadLetterTopic => "dead-letter-topic",
            Self::RetryTopic => "retry-topic",
            Self::SourceMissing => "source-missing",
        }
    }
}

/// `GET /topics/{topic}`, and what the metrics are made of.
#[derive(Debug, Clone)]
pub struct TopicView {
    pub topic: TopicIx,
    pub policy: Policy,
    pub overrides: PolicyPatch,
    /// In the order of `State::UNSETTLED`.
    pub counts: [u64; 5],
    pub oldest_age_ms: Option<u64>,
    /// The reasons in force, gravest first; empty: it fires.
    pub frozen: Vec<Frozen>,
    pub counters: Counters,
    /// Retries of the last minute, a second.
    pub retries_per_second: f64,
    pub recovering: Option<Progress>,
    pub partitions: Vec<PartitionView>,
    /// Partitions that are there, and that another instance tracks.
    pub elsewhere: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionView {
    pub partition: i32,
    pub source_applied: i64,
    pub low: i64,
    /// How long the low-water mark has stood still below `source_applied`; 0 where nothing pins it.
    pub low_age_ms: u64,
    pub outstanding: u64,
    pub paused: bool,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Records read and records to read, source and ACKs together; both grow while more comes in.
    pub done: u64,
    pub total: u64,
}

/// Counted since the process started.
#[derive(Debug, Clone)]
pub struct Counters {
    pub tracked: u64,
    pub acked: u64,
    /// By `CauseKind`: timeout, nack, operator.
    pub republished: [u64; 3],
    /// In the order of `DeadLetterCause::ALL`.
    pub dead_lettered: [u64; 5],
    /// By verdict (in the order of `Verdict::ALL`, then `other`) and result (`VerdictResult::ALL`).
    pub verdicts: [[u64; VerdictResult::ALL.len()]; Verdict::ALL.len() + 1],
    pub ids_reused: u64,
    pub ids_fell_back: u64,
    pub bad_timeouts: u64,
    pub unfaithful: u64,
    pub lost_ranges: u64,
    /// From arrival to the ACK that settled it.
    pub ack_latency_ms: Histogram,
    /// From the deadline to the copy's durable report.
    pub retry_lateness_ms: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            tracked: 0,
            acked: 0,
            republished: [0; 3],
            dead_lettered: [0; 5],
            verdicts: [[0; VerdictResult::ALL.len()]; Verdict::ALL.len() + 1],
            ids_reused: 0,
            ids_fell_back: 0,
            bad_timeouts: 0,
            unfaithful: 0,
            lost_ranges: 0,
            ack_latency_ms: Histogram::default(),
            retry_lateness_ms: Histogram::default(),
        }
    }
}

impl Counters {
    #[must_use]
    pub fn republished_by(&self, kind: CauseKind) -> u64 {
        self.republished[kind as usize]
    }
}

/// Fixed buckets: powers of two from 1 ms to about 18 hours, and one more for what is beyond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// `buckets[i]` counts values ≤ 2^i ms; the last, all beyond.
    pub buckets: [u64; 28],
    pub count: u64,
    pub sum_ms: u64,
}

impl Histogram {
    pub fn observe(&mut self, value_ms: u64) {
        let index = (64 - value_ms.saturating_sub(1).leading_zeros()) as usize;
        self.buckets[index.min(27)] += 1;
        self.count += 1;
        self.sum_ms += value_ms;
    }

    pub fn absorb(&mut self, other: &Self) {
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
        self.count += other.count;
        self.sum_ms += other.sum_ms;
    }

    /// Upper bound of the bucket in which the quantile `q` (0.0 to 1.0) lies, ms; `None` while nothing was observed.
    #[must_use]
    pub fn quantile_ms(&self, q: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64) * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= rank {
                return Some(1 << i);
            }
        }
        Some(1 << 27)
    }
}

/// What became of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VerdictResult {
    Matched,
    Late,
    Duplicate,
    Stale,
    Ambiguous,
    Early,
    Unknown,
    Invalid,
    OtherGroup,
}

impl VerdictResult {
    pub const ALL: [Self; 9] = [
        Self::Matched,
        Self::Late,
        Self::Duplicate,
        Self::Stale,
        Self::Ambiguous,
        Self::Early,
        Self::Unknown,
        Self::Invalid,
        Self::OtherGroup,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Ambiguous => "ambiguous",
            Self::Early => "early",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
            Self::OtherGroup => "other_group",
        }
    }
}

/// An ACK that matched nothing, kept for a look (the newest `UNMATCHED_MAX`).
#[derive(Debug, Clone, PartialEq)]
pub struct UnmatchedAck {
    /// Index of the ACK topic.
    pub ack: super::types::AckIx,
    pub at: LogPosition,
    pub seen_wall_ms: i64,
    /// What it named, shortened.
    pub target: Box<str>,
    pub verdict: Verdict,
    pub result: VerdictResult,
    pub detail: &'static str,
}

/// What an operator wants of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorAction {
    Ack,
    Nack { delay_ms: Option<u64> },
    Retry,
    DeadLetter,
    Extend { delay_ms: Option<u64> },
}

impl OperatorAction {
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Ack => Verdict::OperatorAck,
            Self::Nack { .. } => Verdict::OperatorNack,
            Self::Retry => Verdict::OperatorRetry,
            Self::DeadLetter => Verdict::OperatorDeadLetter,
            Self::Extend { .. } => Verdict::OperatorExtend,
        }
    }
}

/// What the operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorReply {
    /// The decision is durable on the ACK topic, at this place.
    Durable(LogPosition),
    /// It already holds.
    AlreadyHolds(State),
    /// The state does not allow it.
    NotAllowed { state: State, detail: &'static str },
    /// Below the low-water mark or unknown.
    NotFound(&'static str),
    /// Kafka did not say whether it is durable.
    UnknownOutcome(Box<str>),
    /// Kafka said that it is not.
    Refused(Box<str>),
    /// State is being rebuilt.
    Recovering,
    /// Nothing is written for this topic: `observe_only`, or no ACK topic.
    ReadOnly(&'static str),
}
