//! What the core's shells fulfil or use: the shape of a raw record, the store, and the API's requests.
//!
//! Adapters (`store`, `kafka`, `http`) depend on this and never on each other.

use std::ops::ControlFlow;

use tokio::sync::oneshot;

use crate::core::image::{BlockImage, DetailImage, PartitionHeader, PartitionImage};
use crate::core::policy::PolicyPatch;
use crate::core::view::{
    Lookup, MessageFilter, MessagePage, OperatorAction, OperatorReply, Progress, TopicView,
    UnmatchedAck,
};
use crate::core::{LogPosition, TopicIx};

// ---------------------------------------------------------------------------------------------- raw records

/// A record as a reader sees it, borrowed from the client's buffer.
pub struct RawRecord<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// ms since the epoch; −1 where there is none.
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Parsed only when asked.
    pub headers: &'a dyn RawHeaders,
}

/// Called with each header's name and value.
pub type HeaderVisitor<'v> = dyn FnMut(&[u8], Option<&[u8]>) -> ControlFlow<()> + 'v;

/// Headers as bytes, in order, duplicates included: names need not be UTF-8, values may be null.
pub trait RawHeaders {
    /// Visits each header until told to stop.
    fn visit(&self, visitor: &mut HeaderVisitor<'_>);

    /// The last value of the header with that name; `Some(None)` where it is null.
    fn last(&self, name: &[u8]) -> Option<Option<Vec<u8>>> {
        let mut found = None;
        self.visit(&mut |n, v| {
            if n == name {
                found = Some(v.map(<[u8]>::to_vec));
            }
            ControlFlow::Continue(())
        });
        found
    }
}

/// One owned header.
pub type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

impl RawHeaders for [OwnedHeader] {
    fn visit(&self, visitor: &mut HeaderVisitor<'_>) {
        for (name, value) in self {
            if visitor(name, value.as_deref()).is_break() {
                return;
            }
        }
    }
}

impl RawHeaders for Vec<OwnedHeader> {
    fn visit(&self, visitor: &mut HeaderVisitor<'_>) {
        self.as_slice().visit(visitor);
    }
}

/// A record with everything in it, owned: what is fetched to be published again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<OwnedHeader>,
}

/// A record to be produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: String,
    /// `None`: `spread` modulo the topic's number of partitions, which the sender looks up.
    pub partition: Option<i32>,
    /// The source partition: dead letters go to partition p mod n, and so do verdicts.
    pub spread: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<OwnedHeader>,
}

// ---------------------------------------------------------------------------------------------- the store

/// What changed since the last checkpoint, of all partitions; written all or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    pub partitions: Vec<PartitionDelta>,
}

/// What changed of one partition. The header is always there: it moves the positions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartitionDelta {
    pub topic: String,
    pub partition: i32,
    /// Of the topic that it is about, in Kafka's text form; empty: not told.
    pub topic_id: String,
    pub header: PartitionHeader,
    /// Blocks that are new or changed; one without entries is removed.
    pub blocks: Vec<BlockImage>,
    /// Details that are new or changed.
    pub details: Vec<DetailImage>,
    /// Origins whose detail is no more.
    pub details_gone: Vec<i64>,
    /// Forget all that was kept of this partition before, and keep only this.
    pub replace: bool,
}

/// A partition as it was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPartition {
    pub topic: String,
    pub partition: i32,
    /// As of the last delta.
    pub topic_id: String,
    /// `None`: what was kept cannot be trusted (checksum, half-written); rebuild it from Kafka.
    pub image: Option<PartitionImage>,
}

/// What belongs to the whole store rather than to a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Static membership id, made once at random.
    pub instance_id: String,
    /// The cluster that the partitions belong to.
    pub cluster_id: String,
}

/// The view of the topics that survives a restart. Losing it loses no message.
pub trait Store: Send {
    /// What was kept; `None` in a store that is new.
    ///
    /// # Errors
    /// [`StoreError`]; what cannot be trusted of a single partition is not an error but `image: None`.
    fn load(&mut self) -> Result<(Option<StoreIdentity>, Vec<StoredPartition>), StoreError>;

    /// Durable (fsync) when it returns.
    ///
    /// # Errors
    /// [`StoreError`].
    fn set_identity(&mut self, identity: &StoreIdentity) -> Result<(), StoreError>;

    /// Writes the delta; durable (fsync) when it returns. After an error the store holds the checkpoint before, or
    /// this one, or marks the partitions concerned as not to be trusted: never a mixture that looks whole.
    ///
    /// # Errors
    /// [`StoreError`].
    fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError>;

    /// Bytes on disk, as far as known.
    fn size_bytes(&self) -> u64;
}

/// What went wrong with a store; the variant tells the caller what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open: end, with this message.
    #[error(
        "the store {path} is in use by another process: stop that one, or give this one a `store.path` of its own"
    )]
    InUse { path: String },
    /// Written by a newer Ackwarden: end, with this message.
    #[error(
        "the store {path} has format version {found}, this program knows up to {known}: use a newer ackwarden, or move the directory away (it will be rebuilt from Kafka)"
    )]
    Newer {
        path: String,
        found: u32,
        known: u32,
    },
    /// No space: go on without checkpoints, say so, try again.
    #[error("no space left for the store {path}: {detail}")]
    NoSpace { path: String, detail: String },
    /// Anything else: move the directory aside, rebuild from Kafka, say so.
    #[error("the store {path} cannot be used: {detail}")]
    Broken { path: String, detail: String },
}

// ---------------------------------------------------------------------------------------------- the API

/// A question or wish of a user, with the place for its answer. Sent by `http`, answered by the runtime.
#[derive(Debug)]
pub enum ApiRequest {
    Topics {
        reply: oneshot::Sender<Vec<TopicView>>,
    },
    Messages {
        filter: MessageFilter,
        reply: oneshot::Sender<Result<MessagePage, Refusal>>,
    },
    Message {
        topic: TopicIx,
        at: LogPosition,
        reply: oneshot::Sender<Result<Lookup, Refusal>>,
    },
    Payload {
        topic: TopicIx,
        at: LogPosition,
        reply: oneshot::Sender<Result<OwnedRecord, Refusal>>,
    },
    Act {
        topic: TopicIx,
        at: LogPosition,
        action: OperatorAction,
        actor: String,
        reason: Option<String>,
        reply: oneshot::Sender<OperatorReply>,
    },
    /// Lay `patch` over the overrides in force, durably.
    PatchPolicy {
        topic: TopicIx,
        patch: PolicyPatch,
        apply_pending: bool,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Back to the file.
    ResetPolicy {
        topic: TopicIx,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Pause {
        topic: TopicIx,
        paused: bool,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Unmatched {
        limit: usize,
        /// And whether other instances may have more.
        reply: oneshot::Sender<(Vec<UnmatchedAck>, bool)>,
    },
    Stats {
        reply: oneshot::Sender<Stats>,
    },
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// State is being rebuilt; how far it is.
    Recovering(Progress),
    /// The record is not in Kafka any more (retention, compaction).
    PayloadGone(String),
    /// Kafka did not say whether the change is durable.
    UnknownOutcome(String),
    /// Kafka refused it, or did not answer a question.
    Kafka(String),
    /// The change contradicts the rest of the policy; (key, what is wrong).
    BadPolicy(Vec<(String, String)>),
}

/// What is not a topic's: for `/stats`, `/readyz` and the metrics.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Partitions assigned and rebuilt.
    pub ready: bool,
    pub recovering: Option<Progress>,
    pub store_size_bytes: u64,
    /// `None` while checkpoints are written; why not, otherwise.
    pub store_trouble: Option<String>,
    pub checkpoints: u64,
    pub checkpoint_seconds_sum: f64,
    pub checkpoint_seconds_last: f64,
    pub outstanding: u64,
    pub max_outstanding: u64,
    /// Source records in Kafka that are not read yet, by topic.
    pub consumer_lag: Vec<u64>,
    /// Seconds until retention reaches the low-water mark, by topic; `None`: without end, or cannot be checked.
    pub retention_left_seconds: Vec<Option<f64>>,
    /// The last thing Kafka's client complained about, for a minute.
    pub kafka_trouble: Option<String>,
}
