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

/// A client is looked at no more often than this; twice as long each time that it reaches nobody, up to the maximum, since
/// librdkafka keeps all that it is ever told.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);
/// A broker that is there answers sooner, also from afar. One that is not costs that much of each look.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// One for each client, beside it.
#[derive(Debug)]
pub struct Lifeline {
    brokers: CString,
    last: Mutex<Look>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    next_after: Duration,
    reached: bool,
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
            last: Mutex::new(Look {
                at: clock::instant(),
                next_after: LOOK_EVERY,
                reached: true,
            }),
        }
    }

    /// Whether the client reaches a broker, as far as known. When it is time to look, it asks for `topic`'s metadata (without
    /// a name, a client that reads nothing yet would ask for all there are), and waits for the answer.
    pub fn look<C: ClientContext>(&self, client: &Client<C>, topic: &str) -> bool {
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.at.elapsed() < last.next_after {
                return last.reached;
            }
            last.at = clock::instant();
        }
        let reached = client.fetch_metadata(Some(topic), ANSWERS_WITHIN).is_ok();
        if !reached {
            // Those that it knows already stay as they are.
            raw::add_brokers(client, &self.brokers);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.reached = reached;
        last.next_after = match reached {
            true => LOOK_EVERY,
            false => (2 * last.next_after).min(LOOK_EVERY_MAX),
        };
        reached
    }
}
