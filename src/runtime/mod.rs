//! Events in, effects out: the only place where the core meets Kafka, the store and the API.
//!
//! One thread owns the coordinator (`engine`); it never waits for Kafka or for the disk. Readers hand it batches over
//! bounded lines, so that a slow core slows the readers down; look-ups, payload fetches, commits and checkpoints are
//! done on threads of their own and come back as inputs.

mod api;
mod checkpoints;
mod engine;
mod frozen;
mod hands;
mod inbox;
mod input;
mod lines;
mod lookups;
mod made_anew;
mod names;
mod orders;
mod outbox;
mod outgoing;
pub mod prepare;
mod sinks;
mod state;
mod takeover;

pub use checkpoints::{Checkpoints, Reopen};
pub use engine::{Engine, EngineParts, Hands};
pub use hands::{Ask, KafkaHands, RebuildReader, TopicIds};
pub use inbox::{Answer, Inbox};
pub use input::{FetchFor, Fetched, Input};
pub use lines::{AckLine, Lines, RequestLine, lines};
pub use lookups::{answer_asks, keep_round, refresh_counts};
pub use names::Names;
pub use sinks::{AckSink, SourceSink, StateSink};
pub use state::{KnownState, state_record};
pub use takeover::{Images, KeptImage, Look, take_over};
