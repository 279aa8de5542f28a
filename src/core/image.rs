//! A partition's state as a checkpoint keeps it: plain data, no clock in it but ages.
//!
//! `wire::stored` gives these their bytes, `store` keeps them, the coordinator makes and takes them.

use super::record::{Cause, Verdict};
use super::types::LogPosition;

pub use super::block_image::{BlockEntry, BlockImage, Columns, Entries, Ids};

/// How many neighbouring offsets one block holds.
pub const BLOCK_OFFSETS: i64 = 1024;

/// Everything that is kept of one source partition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartitionImage {
    pub header: PartitionHeader,
    /// Ascending by `base`.
    pub blocks: Vec<BlockImage>,
    /// Messages that are more than "outstanding, first delivery, policy timeout"; ascending by origin.
    pub details: Vec<DetailImage>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartitionHeader {
    /// Everything below is applied: where to go on reading.
    pub source_applied: i64,
    /// The same on the ACK topic.
    pub acks_applied: Vec<(i32, i64)>,
    /// The low-water mark as of this checkpoint, and its E.
    pub low: i64,
    pub low_acks: Vec<(i32, i64)>,
    /// Deadlines in the image are as of then, ms since the epoch: whenever it was last written as a whole.
    pub taken_wall_ms: i64,
    /// First deliveries from this offset on have that timeout (ms); ascending.
    pub timeouts: Vec<(i64, u64)>,
}

/// A message with a history.
#[derive(Debug, Clone, PartialEq)]
pub struct DetailImage {
    pub origin: i64,
    pub origin_timestamp_ms: i64,
    pub id: Option<Box<str>>,
    pub seen_wall_ms: i64,
    pub len: u32,
    pub digest: u64,
    /// The newest delivery that was read back.
    pub attempt: u32,
    /// All deliveries known, the original first, ascending by offset.
    pub deliveries: Vec<DeliveryImage>,
    /// Records that may come of copies submitted whose place is not known: proof for as many, up to `pending_attempt`.
    pub unaccounted: u32,
    /// The attempt that is being published (0: none).
    pub pending_attempt: u32,
    /// How far off the deadline is as of the header's `taken_wall_ms`, ms; negative: it had passed. `None`: no deadline (parked, or without end of wait).
    pub due_in_ms: Option<i64>,
    /// Extensions of this attempt up to now, ms.
    pub extended_ms: u64,
    /// The message's own timeout.
    pub timeout_ms: Option<u64>,
    pub state: DetailState,
    /// Verdict not acted upon yet, or the one that settled it while a copy may still be needed to be ignored.
    pub verdict: Option<VerdictImage>,
    pub unfaithful: bool,
}

/// What changed of a partition since the last checkpoint.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartitionChange {
    pub header: PartitionHeader,
    /// New or changed; one without entries is gone.
    pub blocks: Vec<BlockImage>,
    pub details: Vec<DetailImage>,
    pub details_gone: Vec<i64>,
    /// Everything kept before is void.
    pub replace: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryImage {
    pub attempt: u32,
    pub offset: i64,
    /// ms since the epoch.
    pub at_wall_ms: i64,
    pub cause: Option<Cause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailState {
    Outstanding,
    /// Observe-only: the deadline passed.
    Overdue,
    Parked,
    /// Settled, kept because a copy of it may stand behind the low-water mark.
    Acked,
    OperatorAcked,
    Dead,
    PayloadLost,
    Missed,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VerdictImage {
    pub verdict: Verdict,
    /// The ACK record.
    pub at: LogPosition,
    pub delay_ms: Option<u64>,
    pub reason: Option<Box<str>>,
}
