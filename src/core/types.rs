//! The small nouns that everything else is written in.

use std::fmt;

/// A tracked source topic: its index in the configuration, dense from 0, fixed while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIx(pub u16);

/// An ACK topic: the index among the distinct ACK topics of the configuration. Several sources may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckIx(pub u16);

/// The two clocks, read together at the edge.
///
/// Deadlines are counted on `mono_ms` alone, so that a step of the wall clock fires nothing; `wall_ms` (ms since the
/// Unix epoch) is for display and for ages across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    pub mono_ms: u64,
    pub wall_ms: i64,
}

/// A place in a log: partition and offset. The topic is known from where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    pub partition: i32,
    pub offset: i64,
}

impl LogPosition {
    #[must_use]
    pub const fn new(partition: i32, offset: i64) -> Self {
        Self { partition, offset }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// A tracked message, named by the position of its original: unique for as long as the topic's id is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsgRef {
    pub topic: TopicIx,
    pub partition: i32,
    /// Offset of the original.
    pub origin: i64,
}

/// "From the start of the log, wherever that is": for partitions that appear while we run.
pub const LOG_START: i64 = -2;

/// Which of the two readers of an ACK topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// The one that never ends.
    Main,
    /// The short-lived one, for partitions that came to us while others were tracked.
    Rebuild,
}

/// Identifies one question to Kafka; the answer carries it back. Never reused while the process lives.
pub type Round = u64;

/// Identifies one operator request; the reply carries it back.
pub type RequestId = u64;
