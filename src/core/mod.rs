//! The coordinator as a pure state machine: `handle_events(events, now) → effects`.
//!
//! No I/O, no clock, no randomness, no async in here: time is an argument, jitter comes from a seed, and every
//! source of change is an [`Event`]. What is to be done about it comes out as [`Effect`]s, which the runtime
//! carries out and answers with further events. That is why the same code can be simulated over many fault
//! schedules and is the fast path too.
//!
//! Dependency direction (held by a test): nothing in here sees serde, rdkafka, sled, tokio or axum.

mod ack_topic;
mod ahead;
mod bits;
mod block_ids;
mod block_image;
mod body;
mod briefs;
mod checkpoint;
mod coordinator;
mod detail;
mod early;
pub mod effect;
pub mod event;
mod firing;
pub mod guards;
pub mod image;
mod labels;
mod lease;
mod lost;
mod low_water;
pub mod offset_hash;
mod operator;
mod overflow;
mod pages;
mod partition;
mod pins;
pub mod policy;
mod query;
mod rebuild;
pub mod record;
mod reports;
mod schedule;
mod settled;
mod slots;
mod stages;
mod topic;
pub mod types;
mod verdicts;
pub mod view;

pub use coordinator::{Coordinator, CoreLimits};
pub use effect::{CommitOrder, Effect, Publication, Publish};
pub use event::{AckBatch, Assignment, Event, SourceBatch};
pub use policy::{OnLostRange, Policy, PolicyPatch, SameId};
pub use record::{
    AckExtra, AckRecord, AckTarget, Cause, CauseKind, CopyMark, SourceExtra, SourceRecord, Verdict,
};
pub use topic::TopicSettings;
pub use types::{AckIx, LogPosition, MsgRef, Now, TopicIx};
