//! What Kafka's clients complain about: kept for the API, and logged without flooding.
//!
//! A wrong password or an unreachable broker reaches only these callbacks, never the call that waits for an answer.

use std::sync::{Arc, Mutex};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::clock;

/// A complaint is news for that long, ms.
const NEWS_MS: u64 = 60_000;
/// The same complaint is logged no more often than this, ms.
const AGAIN_MS: u64 = 10_000;

#[derive(Debug, Clone, Default)]
pub struct Trouble {
    last: Arc<Mutex<Option<Complaint>>>,
}

#[derive(Debug, Clone)]
struct Complaint {
    text: String,
    at_ms: u64,
    logged_at_ms: u64,
}

impl Trouble {
    /// The last complaint, while it is news.
    #[must_use]
    pub fn recent(&self) -> Option<String> {
        let last = self.last.lock().ok()?;
        let last = last.as_ref()?;
        (clock::now().mono_ms < last.at_ms + NEWS_MS).then(|| last.text.clone())
    }

    /// Something went wrong; the cure is added where one is known.
    pub fn say(&self, client: &str, what: &str) {
        let text = match cure(what) {
            Some(cure) => format!("{what}: {cure}"),
            None => what.to_owned(),
        };
        let now = clock::now().mono_ms;
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        let logged_at_ms = match &*last {
            Some(l) if kind(&l.text) == kind(&text) && now < l.logged_at_ms + AGAIN_MS => {
                l.logged_at_ms
            }
            _ => {
                tracing::warn!(%client, "kafka: {text}");
                now
            }
        };
        *last = Some(Complaint {
            text,
            at_ms: now,
            logged_at_ms,
        });
    }

    /// The broker answers: what was is no news any more.
    pub fn over(&self) {
        if let Ok(mut last) = self.last.lock() {
            *last = None;
        }
    }
}

/// What a complaint is about, without the numbers in it.
fn kind(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphabetic())
        .take(60)
        .collect()
}

fn cure(what: &str) -> Option<&'static str> {
    let lower = what.to_lowercase();
    let has = |needle: &str| lower.contains(needle);
    if has("authentication failed") || has("sasl") && has("fail") {
        Some("look at sasl.mechanism, sasl.username and sasl.password in [kafka.properties]")
    } else if has("ssl handshake") || has("certificate") {
        Some("look at security.protocol and ssl.ca.location in [kafka.properties]")
    } else if has("connection refused") || has("brokers are down") || has("failed to resolve") {
        Some("look at kafka.brokers, and whether the brokers are up; it is tried again")
    } else if has("authorization") {
        Some("give the coordinator's user the ACLs of docs/operations.md")
    } else if has("disconnected") && has("handshake") || has("apiversion") {
        Some("is it a TLS port? then set security.protocol")
    } else {
        None
    }
}

/// The context of every client.
#[derive(Debug, Clone)]
pub struct Context {
    pub client: &'static str,
    pub trouble: Trouble,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.said(level as i32, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // A reader that meets the end of a log, or a broker that goes away while idle, is no trouble.
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            _ => self.complain(reason),
        }
    }
}

impl ConsumerContext for Context {}

impl Context {
    #[must_use]
    pub fn new(client: &'static str, trouble: &Trouble) -> Self {
        Self {
            client,
            trouble: trouble.clone(),
        }
    }

    pub fn complain(&self, what: &str) {
        self.trouble.say(self.client, what);
    }

    /// A line of the client's log; `level` as syslog has it, 3 is an error.
    pub fn said(&self, level: i32, facility: &str, message: &str) {
        // Lines of this facility repeat what is said as an error besides.
        if level <= RDKafkaLogLevel::Error as i32 && facility != "FAIL" {
            self.complain(without_thread(message));
        } else {
            tracing::debug!(client = self.client, facility, "{message}");
        }
    }
}

/// librdkafka begins its lines with the thread that says them: `[thrd:main]: `.
fn without_thread(message: &str) -> &str {
    let thread = message.strip_prefix("[thrd:");
    match thread.and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => message,
    }
}
