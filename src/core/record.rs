//! What was read from Kafka, decoded as far as the core needs it. The common record is small and owns no heap.

use super::types::{LogPosition, TopicIx};

/// A record of a source partition: a new message, or a copy that we or another group published.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRecord {
    pub topic: TopicIx,
    pub partition: i32,
    pub offset: i64,
    /// The record's own timestamp, ms since the epoch; −1 where there is none.
    pub timestamp_ms: i64,
    /// Bytes of key and value.
    pub len: u32,
    /// Digest of key and value (`wire::digest`): evidence that what is fetched later is what was read.
    pub digest: u64,
    /// `None` for the common message: its id is its position, and no header concerns us.
    pub extra: Option<Box<SourceExtra>>,
}

/// What only some records carry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceExtra {
    /// The label, where it is not the position.
    pub id: Option<Box<str>>,
    /// How many entries of the `id` list had a value that did not fit (bad UTF-8, empty, over 512 bytes), or none of
    /// the list but `position` had a value although another source was asked for: counted.
    pub id_fell_back: bool,
    /// Set where the record claims to be a copy of a message of this very topic and partition.
    pub copy: Option<CopyMark>,
    /// `ackwarden-timeout`: the message's own timeout on each attempt.
    pub timeout_ms: Option<u64>,
    /// `ackwarden-timeout` was there, but is no duration: counted, and the policy holds.
    pub bad_timeout: bool,
    /// Cannot be republished faithfully (a header name with a NUL or that is not UTF-8): parked when it is due.
    pub unfaithful: bool,
}

/// The reserved headers of a copy, as they stand in the record: a claim, not a proof.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyMark {
    /// `ackwarden-group` is our own cluster and group.
    pub by_us: bool,
    pub attempt: u32,
    /// Offset of the original, in the partition in which the copy stands.
    pub origin: i64,
    pub origin_timestamp_ms: i64,
    /// Offsets of the deliveries between the original and this one (the last 16), ascending.
    pub deliveries: Vec<i64>,
    pub cause: Cause,
}

/// Why a delivery was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    pub kind: CauseKind,
    /// The record on the ACK topic that asked for it, if one did.
    pub record: Option<LogPosition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CauseKind {
    Timeout,
    Nack,
    Operator,
}

/// A record of an ACK topic.
#[derive(Clone, Debug, PartialEq)]
pub struct AckRecord {
    /// Where it stands on the ACK topic: the evidence.
    pub at: LogPosition,
    pub target: AckTarget,
    /// `None` for the common one: a plain `ack` with nothing else in it.
    pub extra: Option<Box<AckExtra>>,
}

/// Which message an ACK record is about.
#[derive(Clone, Debug, PartialEq)]
pub enum AckTarget {
    /// The position of a delivery of a tracked topic.
    Position {
        topic: TopicIx,
        partition: i32,
        offset: i64,
    },
    /// An id of that topic.
    Id { topic: TopicIx, id: Box<str> },
    /// Nothing that we can make out: counted as invalid, and kept for a look. The text is what stood there, shortened.
    Nothing { text: Box<str> },
}

/// What only some ACK records carry.
#[derive(Clone, Debug, PartialEq)]
pub struct AckExtra {
    pub verdict: Verdict,
    /// `ackwarden-attempt`.
    pub attempt: Option<u32>,
    /// `ackwarden-delay`.
    pub delay_ms: Option<u64>,
    pub reason: Option<Box<str>>,
    /// `ackwarden-by`; for a decision record, the actor.
    pub by: Option<Box<str>>,
    /// `ackwarden-origin`, where it names a message of a tracked topic: it outranks the id.
    pub origin: Option<(TopicIx, LogPosition)>,
    /// A settlement or decision record that another group wrote: ignored, counted.
    pub other_group: bool,
    /// An unknown verdict or a bad duration: ignored, counted as invalid, kept for a look.
    pub invalid: Option<&'static str>,
}

impl Default for AckExtra {
    fn default() -> Self {
        Self {
            verdict: Verdict::Ack,
            attempt: None,
            delay_ms: None,
            reason: None,
            by: None,
            origin: None,
            other_group: false,
            invalid: None,
        }
    }
}

/// What an ACK record says. The last groups are written by coordinators: decisions of operators, and settlements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    Ack,
    Nack,
    Reject,
    Extend,
    OperatorAck,
    OperatorNack,
    OperatorExtend,
    OperatorRetry,
    OperatorDeadLetter,
    /// The dead letter is durable.
    DeadLettered,
    /// The payload is gone; what is known was dead-lettered, or there is no dead-letter topic.
    PayloadLost,
}

impl Verdict {
    pub const ALL: [Self; 11] = [
        Self::Ack,
        Self::Nack,
        Self::Reject,
        Self::Extend,
        Self::OperatorAck,
        Self::OperatorNack,
        Self::OperatorExtend,
        Self::OperatorRetry,
        Self::OperatorDeadLetter,
        Self::DeadLettered,
        Self::PayloadLost,
    ];

    /// The text of the `ackwarden-verdict` header, and of the metrics label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Reject => "reject",
            Self::Extend => "extend",
            Self::OperatorAck => "operator-ack",
            Self::OperatorNack => "operator-nack",
            Self::OperatorExtend => "operator-extend",
            Self::OperatorRetry => "operator-retry",
            Self::OperatorDeadLetter => "operator-dead-letter",
            Self::DeadLettered => "dead-lettered",
            Self::PayloadLost => "payload-lost",
        }
    }

    /// Written by a coordinator, so that another group's is not ours to follow.
    #[must_use]
    pub const fn is_coordinators(self) -> bool {
        !matches!(self, Self::Ack | Self::Nack | Self::Reject | Self::Extend)
    }
}

/// The `invalid` of an ACK record whose verdict is none that we know.
pub const UNKNOWN_VERDICT: &str = "unknown verdict";
