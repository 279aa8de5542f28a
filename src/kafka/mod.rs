//! Kafka: the member, the readers, the publisher, payload fetch, admin look-ups.
//!
//! The *member* subscribes, polls and commits, and its partitions stay paused. All reading is done by one kind of
//! *reader*: numeric offsets, in batches, on a thread of its own. Every client lives on its own thread, and its end is
//! bounded in time. Nothing in here knows what a message is worth: it moves records and answers questions.

pub mod admin;
mod complaint;
pub mod fetch;
mod learned;
pub mod lifeline;
pub mod member;
pub mod publisher;
mod raw;
pub mod reader;
pub mod readers;
pub mod settings;
pub mod trouble;

pub use raw::keep_freed_memory;

/// What went wrong with a client, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaProblem {
    /// The settings do not make a client: end, with this message.
    #[error("kafka's client refuses its settings: {0}: look at [kafka.properties]")]
    Settings(String),
    /// The machine has no more threads to give.
    #[error("a thread of kafka's client could not be started: {0}")]
    Thread(String),
    /// The broker did not answer in time, or not at all: try again.
    #[error("kafka does not answer: {0}")]
    Unreachable(String),
    /// It answered, and said no.
    #[error("kafka refuses: {0}")]
    Refused(String),
    /// The topic is not there.
    #[error("the topic {0} does not exist")]
    TopicMissing(String),
}
