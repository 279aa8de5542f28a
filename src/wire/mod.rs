//! Bytes ↔ domain: headers, ids, ACKs, commit metadata, stored blocks, state-topic records. All versioned, none trusts its input.

pub mod stored;
