//! The HTTP API, health and metrics: a thin shell that turns calls into [`ApiRequest`]s and answers into JSON.
//!
//! It holds no state of its own but the names in the [`Directory`], decides nothing about messages, and speaks to the
//! rest through one channel. What it promises: every answer has a request id; every refusal is a problem document with
//! a stable code; a 2xx on a change means that it is durable; nothing that was sent is ignored in silence (unknown
//! parameters and fields are errors); nothing waits for ever and nothing is unbounded. Ids, keys and payloads go to
//! who asked, never into the log.
//!
//! Left out for now: tokens and TLS (hence loopback only), bulk jobs, dead-letter listing, audit, events, dashboard and
//! OpenAPI: those calls answer 501.

mod actions;
mod backend;
mod body;
mod code;
pub mod cursor;
mod directory;
mod envelope;
mod guard;
mod health;
mod messages;
mod metrics;
mod not_built;
mod params;
mod path;
mod payload;
mod policy;
mod problem;
mod routes;
mod serve;
mod text;
mod topics;
mod totals;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

pub use backend::Patience;
pub use code::Code;
pub use directory::{Directory, TopicEntry};
pub use routes::router;
pub use serve::{serve, serve_with};

use crate::ports::ApiRequest;
use backend::Backend;
use guard::Hosts;

/// Calls below `/api/v1` that may be under way at once; one more is `busy`. Each holds a reply of at most a page, or
/// one record: the bound on memory.
const IN_FLIGHT_MAX: usize = 64;

/// What the handlers share.
#[derive(Clone)]
pub struct ApiState {
    backend: Backend,
    directory: Arc<Directory>,
    hosts: Arc<Hosts>,
    in_flight: Arc<Semaphore>,
}

impl ApiState {
    /// `listen` is the address that is listened on: with `localhost`, the one that a `Host` header may name.
    #[must_use]
    pub fn new(
        requests: mpsc::Sender<ApiRequest>,
        directory: Arc<Directory>,
        listen: SocketAddr,
    ) -> Self {
        Self {
            backend: Backend::new(requests, Patience::default()),
            directory,
            hosts: Arc::new(Hosts::new(listen)),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        }
    }

    /// Other waiting times than the default ones; for tests.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.backend = self.backend.with_patience(patience);
        self
    }
}
