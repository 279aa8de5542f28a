//! Bytes ↔ domain: headers, ids, ACKs, commit metadata, stored blocks, state-topic records.
//!
//! Whatever has bytes that outlive the process or leave it is versioned. Nothing in here trusts its input: no byte
//! sequence makes a decoder panic, loop or allocate without a bound that its file names (property tests hold that).
//! Nothing in here does I/O, reads the time or decides what becomes of a message.

pub mod ack;
pub mod cause;
pub mod commit;
pub mod copy;
pub mod digest;
pub mod id;
pub mod names;
pub mod pointer;
pub mod position;
pub mod rules;
pub mod source;
pub mod state;
pub mod stored;
#[cfg(test)]
mod testing;
pub mod text;
pub mod varint;
