//! What the core wants done. The runtime carries effects out in order and answers with events.

use super::record::{Cause, Verdict};
use super::types::{AckIx, Lane, MsgRef, RequestId, Round, TopicIx};
use super::view::OperatorReply;

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Read (or, where it is read already, go on reading) a source partition from this offset.
    ReadSource {
        topic: TopicIx,
        partition: i32,
        from: i64,
    },
    /// Stop reading it.
    StopSource {
        topic: TopicIx,
        partition: i32,
    },
    /// Past `max_outstanding`: stop fetching, keep the place.
    PauseSource {
        topic: TopicIx,
        partition: i32,
    },
    ResumeSource {
        topic: TopicIx,
        partition: i32,
    },
    /// Read these partitions of an ACK topic from these offsets ([`LOG_START`](super::types::LOG_START) allowed).
    /// Batches carry the generation from now on.
    ReadAcks {
        ack: AckIx,
        from: Vec<(i32, i64)>,
        generation: u64,
        lane: Lane,
    },
    /// What was rebuilt beside the others is caught up: the lane's reader of this ACK topic is not needed any more.
    StopRebuildAcks {
        ack: AckIx,
    },
    /// The barrier's question: fresh metadata, then one `ListOffsets(latest, read_uncommitted)` over all partitions.
    AskAckEnds {
        ack: AckIx,
        round: Round,
    },
    /// ACK ends first, then fresh metadata of the source, then its ends.
    AskFence {
        topic: TopicIx,
        round: Round,
    },
    /// Fetch the record at `offset` of the message's partition, verify it, keep it.
    FetchPayload {
        msg: MsgRef,
        offset: i64,
        len: u32,
        digest: u64,
    },
    /// Not needed any more.
    DiscardPayload {
        msg: MsgRef,
    },
    /// Submit to the producer, before the core is told of anything but answers that came with this one: no ACK was applied
    /// up to now. Uses up the kept payload, if the publication has one.
    Publish(Publish),
    /// The lease has lapsed: what waits in the producer's queue is to be dropped (not what is in flight), and reported.
    PurgeQueue,
    /// Commit these low-water marks; answered with `Committed` for each.
    Commit(Vec<CommitOrder>),
    /// Answer an operator.
    Reply {
        request: RequestId,
        reply: OperatorReply,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    pub msg: MsgRef,
    /// Numbers the publishes of this process; the report carries it back.
    pub sequence: u64,
    pub what: Publication,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Publication {
    /// A retry, onto the message's own partition. Payload and headers are those of the fetched record, the reserved
    /// headers replaced.
    Copy(Headers),
    /// To the dead-letter topic, partition p mod n. With the payload, or without it where it is lost (a stub: what is
    /// known, no key, null value) or too large (key, headers, pointer, digest).
    DeadLetter {
        topic: Box<str>,
        headers: Headers,
        cause: DeadLetterCause,
        reason: Option<Box<str>>,
        payload: DeadLetterPayload,
    },
    /// Onto the ACK topic, keyed by the newest delivery: `dead-lettered`, `payload-lost`, or an operator's decision.
    Verdict {
        ack: AckIx,
        verdict: Verdict,
        /// Offset of the newest delivery.
        newest: i64,
        attempt: u32,
        delay_ms: Option<u64>,
        actor: Option<Box<str>>,
        reason: Option<Box<str>>,
    },
}

/// The reserved headers, replaced rather than appended.
#[derive(Debug, Clone, PartialEq)]
pub struct Headers {
    /// The label; `None`: the position of the original.
    pub id: Option<Box<str>>,
    pub attempt: u32,
    pub origin: i64,
    pub origin_timestamp_ms: i64,
    /// Offsets of the deliveries between the original and this one, at most 16.
    pub deliveries: Vec<i64>,
    /// `None` on a dead letter: it has its own.
    pub cause: Option<Cause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeadLetterCause {
    AttemptsExhausted,
    Rejected,
    Operator,
    TooLarge,
    PayloadLost,
}

impl DeadLetterCause {
    pub const ALL: [Self; 5] = [
        Self::AttemptsExhausted,
        Self::Rejected,
        Self::Operator,
        Self::TooLarge,
        Self::PayloadLost,
    ];

    /// The text of the `ackwarden-cause` header, and of the metrics label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::Rejected => "rejected",
            Self::Operator => "operator",
            Self::TooLarge => "too-large",
            Self::PayloadLost => "payload-lost",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterPayload {
    /// The fetched record, whole.
    Whole,
    /// The fetched record did not fit: its headers, with a pointer and a digest instead of the value.
    Stub { offset: i64, len: u32, digest: u64 },
    /// Nothing could be fetched: pointer and digest alone.
    Lost { offset: i64, len: u32, digest: u64 },
}

/// A low-water mark: all below `low` is settled, and no verdict still needed by what is at or past it lies before `acks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOrder {
    pub topic: TopicIx,
    pub partition: i32,
    pub low: i64,
    /// E by ACK partition, ascending; a partition that is not named counts as 0.
    pub acks: Vec<(i32, i64)>,
}
