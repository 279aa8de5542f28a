//! Brokers for a client that has forgotten all of them.
//!
//! A broker that its controller has just given up, and not taken back yet, names no broker at all when it is asked for
//! metadata: not even itself. librdkafka then drops all that it knows, those of `bootstrap.servers` too, and has nobody left
//! to ask, for good (<https://github.com/confluentinc/librdkafka/issues/5301>). So each client is asked now and then
//! whether it reaches anybody, and is told where to begin anew if it does not.

use std::ffi::CString;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::ClientConfig;

use super::raw;
use crate::clock;

/// A client is looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A broker that is there answers sooner, also from afar. One that is not costs that much of each look.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// One for each client, beside it.
#[derive(Debug)]
pub struct Lifeline {
    brokers: CString,
    looked: Mutex<Instant>,
}

impl Lifeline {
    /// For a client of these settings.
    #[must_use]
    pub fn new(settings: &ClientConfig) -> Self {
        Self::of(settings.get("bootstrap.servers").unwrap_or_default())
    }

    /// For a client that begins with these brokers.
    #[must_use]
    pub fn of(brokers: &str) -> Self {
        Self {
            // A list with a NUL in it makes no client in the first place.
            brokers: CString::new(brokers).unwrap_or_default(),
            looked: Mutex::new(clock::instant()),
        }
    }

    /// Whether it was time to look; waits for an answer if it was. Of any thread.
    pub fn look<C: ClientContext>(&self, client: &Client<C>) -> bool {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.elapsed() < LOOK_EVERY {
                return false;
            }
            *looked = clock::instant();
        }
        if !raw::reaches_a_broker(client, ANSWERS_WITHIN) {
            // Those that it knows already stay as they are.
            raw::add_brokers(client, &self.brokers);
        }
        true
    }
}
