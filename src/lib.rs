//! Ackwarden: makes Kafka safe against consumers that crash in mid-work.
//!
//! The library exists for the binary, the tests and the benches; its API is not a promise to anyone else.
//! `docs/architecture.md` is the map. Modules depend on each other from left to right only:
//! `core ← wire, ports ← store | kafka | http ← runtime ← app ← main`.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod demo;
pub mod http;
pub mod kafka;
pub mod ports;
pub mod runtime;
pub mod store;
pub mod wire;
