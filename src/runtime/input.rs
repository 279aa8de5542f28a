//! Everything that can wake the engine.

use super::inbox::Waiting;
use crate::core::{Event, MsgRef, SourceBatch, TopicIx};
use crate::ports::{ApiRequest, OwnedRecord, StoreError};

#[derive(Debug)]
pub enum Input {
    Event(Event),
    /// Records of source topics. For each position in `applied`: the newest order to read the topic that the reader had
    /// heard of.
    Source {
        batch: SourceBatch,
        orders: Vec<u64>,
    },
    /// What came of an order to read a partition of a source topic, and says nothing if there was another since.
    OfOrder {
        order: u64,
        topic: TopicIx,
        partition: i32,
        event: Event,
    },
    /// There is something in another line.
    OthersWait,
    Api(ApiRequest),
    /// Answers wait to be taken.
    Answers(Waiting),
    /// The checkpoint is written, or not.
    Checkpointed(Result<CheckpointDone, StoreError>),
    /// Where the source topics end, and how long they keep their records (`None`: without end, or cannot be checked).
    Lag {
        source_ends: Vec<Vec<(i32, i64)>>,
        retention_ms: Vec<Option<i64>>,
    },
    /// Where a topic that is read ends, as a reader of what is committed sees it.
    Ends {
        topic: String,
        ends: Vec<(i32, i64)>,
    },
    /// A topic is another one of the same name: its new id, for what is committed from now on, and what the core is told.
    MadeAnew {
        name: String,
        id: String,
        event: Event,
    },
    /// A record of the state topic that came while we run.
    State {
        offset: i64,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    },
    /// End in order.
    Stop,
}

/// Who wants a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FetchFor {
    Message(MsgRef),
    /// A user looks at it; the number of the request.
    Api(u64),
}

#[derive(Debug)]
pub enum Fetched {
    Record(Box<OwnedRecord>),
    Gone(String),
    Failed(String),
}

#[derive(Debug, Clone, Copy)]
pub struct CheckpointDone {
    pub seconds: f64,
    pub store_size_bytes: u64,
}
