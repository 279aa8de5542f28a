//! The store: a view of the topics that makes restarts quick. One port ([`Store`](crate::ports::Store)), two adapters.
//!
//! The topics are the truth; what is kept here may be deleted at any time without losing a message. Hence the one rule
//! that every adapter keeps: better nothing than something wrong. What cannot be trusted of a partition is handed out
//! as `image: None`, and rebuilt from Kafka.
//!
//! Writing after an error: the checkpoint in question is kept whole or not at all, and the writer cannot tell which.
//! A delta that covers that checkpoint's changes *and* the later ones leads to the same state from either, so keep the
//! failed delta, lay the next one over it, and try again; or write with `replace`.

pub mod faulty;
pub mod memory;
pub mod sled_store;
pub mod waiting;

pub use faulty::{Fault, Faults, FaultyStore};
pub use memory::MemoryStore;
pub use sled_store::{SledStore, move_aside};
pub use waiting::WaitingStore;
