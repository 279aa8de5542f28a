//! Every source of change, as one enum.

use super::guards::Guard;
use super::image::PartitionImage;
use super::policy::PolicyPatch;
use super::record::{AckRecord, SourceRecord};
use super::types::{AckIx, Lane, LogPosition, MsgRef, RequestId, Round, TopicIx};
use super::view::OperatorAction;

/// Something happened. Handled by `Coordinator::handle_events`.
#[derive(Debug)]
pub enum Event {
    /// Partitions of a source topic are this instance's to track, each with where it stands.
    Assigned(Vec<Assignment>),
    /// They are no more. What is known of them is dropped.
    Revoked {
        topic: TopicIx,
        partitions: Vec<i32>,
    },
    /// The source topic was not found, or is there again.
    SourceMissing { topic: TopicIx, missing: bool },
    /// The partitions of an ACK topic, as fresh metadata names them; none: it does not exist.
    AckPartitions { ack: AckIx, partitions: Vec<i32> },
    /// Records read, and how far each partition is applied behind them.
    SourceBatch(SourceBatch),
    /// The same for an ACK topic.
    AckBatch(AckBatch),
    /// The broker has not got the offset that was asked for: retention or DeleteRecords went past it.
    SourceOutOfRange {
        topic: TopicIx,
        partition: i32,
        /// Where the log begins now, and where it ends.
        log_start: i64,
        log_end: i64,
    },
    /// The same on an ACK topic.
    AckOutOfRange {
        ack: AckIx,
        lane: Lane,
        /// Of the order to read; what came of an earlier one does not count.
        generation: u64,
        partition: i32,
        log_start: i64,
    },
    /// The source topic is another one of the same name: its id says so.
    SourceMadeAnew {
        topic: TopicIx,
        /// Where each of its partitions begins.
        log_starts: Vec<(i32, i64)>,
        /// Where the ACK topic ended after that was found: what stands before is about the old one's messages, as far
        /// as can be told.
        ack_ends: Vec<(i32, i64)>,
    },
    /// The same of an ACK topic.
    AckTopicMadeAnew {
        ack: AckIx,
        log_starts: Vec<(i32, i64)>,
    },
    /// Answer to [`AskAckEnds`](super::Effect::AskAckEnds): the ends that `read_uncommitted` sees, of all partitions
    /// that fresh metadata names.
    AckEnds {
        ack: AckIx,
        round: Round,
        answer: Result<Vec<(i32, i64)>, AskError>,
    },
    /// Answer to [`AskFence`](super::Effect::AskFence).
    Fence {
        topic: TopicIx,
        round: Round,
        answer: Result<Fence, AskError>,
    },
    /// Answer to [`FetchPayload`](super::Effect::FetchPayload). Where it was found, the runtime keeps it until
    /// `Publish` or `DiscardPayload`.
    Fetched { msg: MsgRef, outcome: FetchOutcome },
    /// What became of a [`Publish`](super::Effect::Publish).
    Published {
        msg: MsgRef,
        /// The number that `Publish` carried.
        sequence: u64,
        outcome: PublishOutcome,
    },
    /// An operator wants something of one message.
    Operator {
        request: RequestId,
        msg: LogPosition,
        topic: TopicIx,
        action: OperatorAction,
        actor: Box<str>,
        reason: Option<Box<str>>,
    },
    /// The policy overrides of a topic changed, durably.
    PolicyChanged {
        topic: TopicIx,
        /// All overrides in force, not only what is new.
        overrides: PolicyPatch,
        /// Re-time what is outstanding, too.
        apply_pending: bool,
    },
    /// Retrying of a topic was paused or resumed by an operator, durably.
    Paused { topic: TopicIx, paused: bool },
    /// What the broker said to the offset commits of [`Commit`](super::Effect::Commit), partition by partition.
    Committed {
        topic: TopicIx,
        partition: i32,
        low: i64,
        /// When it was sent, monotonic ms: from then on the lease counts.
        sent_ms: u64,
        outcome: Result<(), Box<str>>,
    },
    /// Time passed. To be sent at least every 50 ms while something is tracked.
    Tick,
    /// SIGTERM: nothing fires any more. What is in flight is waited for by the runtime.
    Stop,
}

/// One source partition, as found when it was assigned.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub topic: TopicIx,
    pub partition: i32,
    /// L: where to read from if there is no image; the committed offset or the birth's.
    pub low: i64,
    /// Where tracking of the partition began: what lies before was never ours.
    pub born: i64,
    /// Where the source log begins now. Past `low`: a lost range.
    pub log_start: i64,
    /// E, by ACK partition; `None` ("replay all ACKs") where the metadata could not be read.
    pub acks: Option<Vec<(i32, i64)>>,
    /// Where each ACK partition begins now; empty where the ACK topic is missing.
    pub ack_log_starts: Vec<(i32, i64)>,
    /// It appeared after the first look, and nothing was committed of it: its ACKs stand behind a fence at which it was not there.
    pub appeared: bool,
    /// Monotonic ms: until then, what its former owner submitted may still land. 0: nobody owned it, or the owner is
    /// known to be dead.
    pub former_owner_until_ms: u64,
    /// The topic id, or that of the ACK topic, is not the one that was committed: a lost range, whatever the offsets.
    pub recreated: Option<Recreated>,
    /// What the store has of it, if it counts (topic ids match).
    pub image: Option<Box<PartitionImage>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recreated {
    Source,
    AckTopic,
}

#[derive(Debug, Default)]
pub struct SourceBatch {
    /// In order within a partition.
    pub records: Vec<SourceRecord>,
    /// Everything below is applied with this batch: markers and gaps count.
    pub applied: Vec<(TopicIx, i32, i64)>,
}

#[derive(Debug)]
pub struct AckBatch {
    pub ack: AckIx,
    pub records: Vec<AckRecord>,
    pub applied: Vec<(i32, i64)>,
    /// The `ReadAcks` that this batch belongs to: batches of an earlier one are dropped.
    pub generation: u64,
    pub lane: Lane,
}

/// A fence: the ACK ends were read first, then fresh metadata of the source, then the source ends (all as
/// `read_uncommitted` sees them). Hence every ACK for a record at or past `source_ends` lies at or past `ack_ends`.
#[derive(Debug, Clone, Default)]
pub struct Fence {
    pub ack_ends: Vec<(i32, i64)>,
    pub source_ends: Vec<(i32, i64)>,
}

impl Fence {
    /// The only way to make one: in this order, so that who acknowledges a record at or past the source ends does so behind
    /// the ACK ends.
    ///
    /// # Errors
    /// Those of the two questions; the second is not asked behind the first's.
    pub fn ask<A, E>(
        asked: &mut A,
        ack_ends: impl FnOnce(&mut A) -> Result<Vec<(i32, i64)>, E>,
        source_ends: impl FnOnce(&mut A) -> Result<Vec<(i32, i64)>, E>,
    ) -> Result<Self, E> {
        if Guard::FenceOrder.holds() {
            let ack_ends = ack_ends(asked)?;
            let source_ends = source_ends(asked)?;
            return Ok(Self {
                ack_ends,
                source_ends,
            });
        }
        let source_ends = source_ends(asked)?;
        let ack_ends = ack_ends(asked)?;
        Ok(Self {
            ack_ends,
            source_ends,
        })
    }
}

/// Why Kafka did not answer. An error is not an answer: the core asks again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// The topic is not there.
    TopicMissing,
    /// Anything else, in words for the operator.
    Failed(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchOutcome {
    /// Found, and it is what was read: length and digest agree.
    Found {
        /// Bytes of key, value and headers.
        size_bytes: u32,
    },
    /// The log begins past it, or it was compacted away, or another record stands there.
    Gone(Box<str>),
    /// Kafka did not answer; try again.
    Failed(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Durable, at this place (offset −1 where the broker did not say: a duplicate sequence).
    Durable(LogPosition),
    /// It may be in the log or not: timed out, or the connection broke. The same attempt is to be published again.
    Ambiguous(Box<str>),
    /// It is not in the log, and the reason may pass: topic missing, not authorised, queue full.
    Refused(Box<str>),
    /// It is not in the log: it was never sent, since it was dropped from the producer's queue
    /// ([`Effect::PurgeQueue`](super::effect::Effect::PurgeQueue)), or there is no producer any more.
    Dropped,
    /// It is not in the log, and never will be.
    TooLarge,
}
