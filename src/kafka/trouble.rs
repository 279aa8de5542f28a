//! What Kafka's clients complain about: kept for the API, and logged without flooding.
//!
//! A wrong password or an unreachable broker reaches only these callbacks, never the call that waits for an answer.
//! All clients of the process share one [`Trouble`], and one cause is one line a minute, whoever says it and however
//! often. That no broker can be reached is what follows from a cause: it never hides one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::complaint::{self, Complaint};
use crate::clock;

/// A complaint is news for that long, ms.
const NEWS_MS: u64 = 60_000;
/// The same complaint is logged no more often than this, ms.
const AGAIN_MS: u64 = 60_000;
/// Kinds of complaints whose last line is remembered; past it, all are forgotten.
const KINDS_MAX: usize = 64;

#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    /// The last one that says why.
    cause: Option<News>,
    /// The last one that says what follows.
    consequence: Option<News>,
    /// When each kind was logged last.
    logged: BTreeMap<String, u64>,
    /// A broker has answered.
    reached: bool,
    /// Connections that were closed at once before any broker has answered.
    closed_early: u32,
}

#[derive(Debug)]
struct News {
    text: String,
    at_ms: u64,
}

impl Trouble {
    /// The last complaint, while it is news: one that says why, if there is one.
    #[must_use]
    pub fn recent(&self) -> Option<String> {
        let now = clock::now().mono_ms;
        let said = self.lock();
        [&said.cause, &said.consequence]
            .into_iter()
            .flatten()
            .find(|news| now < news.at_ms + NEWS_MS)
            .map(|news| news.text.clone())
    }

    /// Something went wrong; the cure is added where one is known.
    pub fn say(&self, client: &str, what: &str) {
        let now = clock::now().mono_ms;
        let mut said = self.lock();
        let complaint = complaint::of(what, !said.reached);
        if said.is_due(&complaint, now) {
            tracing::warn!(%client, "kafka: {}", complaint.text);
        }
        let news = Some(News {
            text: complaint.text,
            at_ms: now,
        });
        if complaint.is_cause {
            said.cause = news;
        } else {
            said.consequence = news;
        }
    }

    /// The broker answers: what was is no news any more.
    pub fn over(&self) {
        *self.lock() = Said {
            reached: true,
            ..Said::default()
        };
    }

    /// A connection was closed at once. Whether that tells of the settings: not if a broker has answered (it went away),
    /// and not the first time (it may be starting).
    fn casts_doubt(&self) -> bool {
        let mut said = self.lock();
        said.closed_early += 1;
        !said.reached && said.closed_early > 1
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn is_due(&mut self, complaint: &Complaint, now: u64) -> bool {
        // Beside its cause it says nothing new.
        if !complaint.is_cause
            && let Some(cause) = &self.cause
            && now < cause.at_ms + NEWS_MS
        {
            return false;
        }
        if let Some(at) = self.logged.get(&complaint.kind)
            && now < at + AGAIN_MS
        {
            return false;
        }
        if self.logged.len() >= KINDS_MAX {
            self.logged.clear();
        }
        self.logged.insert(complaint.kind.clone(), now);
        true
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
            // A reader that meets the end of a log is no trouble.
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
        let text = without_thread(message);
        let is_error = level <= RDKafkaLogLevel::Error as i32;
        // Errors of this facility are said as an error besides. Connections that are closed are not, and one that is
        // closed at once is all that is ever heard of a listener that speaks another protocol.
        let complains = match facility {
            "FAIL" => {
                !is_error && complaint::is_closed_too_early(text) && self.trouble.casts_doubt()
            }
            _ => is_error,
        };
        if complains {
            self.complain(text);
        } else {
            tracing::debug!(client = self.client, facility, "{text}");
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

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: &str = "1/1 brokers are down";
    const PASSWORD: &str = "sasl_plaintext://b:9092/bootstrap: SASL authentication error: Authentication failed: \
                            Invalid username or password (after 300ms in state AUTH_REQ)";

    #[test]
    fn that_no_broker_can_be_reached_does_not_hide_why() {
        let trouble = Trouble::default();
        trouble.say("admin", DOWN);
        assert!(trouble.recent().unwrap().contains("kafka.brokers"));
        trouble.say("admin", PASSWORD);
        trouble.say("admin", DOWN);
        let said = trouble.recent().unwrap();
        assert!(said.contains("sasl.password"), "{said}");
        trouble.over();
        assert_eq!(trouble.recent(), None);
    }

    #[test]
    fn one_cause_is_one_line_a_minute_whatever_comes_between() {
        let mut said = Said::default();
        let (password, down) = (complaint::of(PASSWORD, true), complaint::of(DOWN, true));
        let (tls, verify) = (
            complaint::of(
                "ssl://b/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
                true,
            ),
            complaint::of(
                "ssl://b/1: error:0A000086:SSL routines::certificate verify failed (after 2ms)",
                true,
            ),
        );
        assert!(said.is_due(&password, 0));
        assert!(said.is_due(&tls, 1));
        for now in 2..AGAIN_MS {
            assert!(!said.is_due(&password, now));
            assert!(!said.is_due(&verify, now));
        }
        assert!(said.is_due(&password, AGAIN_MS));
        assert!(said.is_due(&down, AGAIN_MS));
        assert!(!said.is_due(&down, AGAIN_MS + 1));
    }

    #[test]
    fn a_broker_that_goes_away_casts_no_doubt_on_settings_with_which_one_has_answered() {
        let trouble = Trouble::default();
        let context = Context::new("member", &trouble);
        let closed =
            "b:1/1: Disconnected: connection reset by peer (after 3ms in state APIVERSION_QUERY)";
        trouble.over();
        context.said(6, "FAIL", closed);
        assert_eq!(trouble.recent(), None);
        context.complain("b:1/1: Send failed: Broken pipe (after 1ms in state UP)");
        assert_eq!(
            trouble.recent().as_deref(),
            Some("b:1/1: Send failed: Broken pipe")
        );
        let trouble = Trouble::default();
        let context = Context::new("admin", &trouble);
        context.said(6, "FAIL", closed);
        assert_eq!(trouble.recent(), None, "it may be starting");
        context.said(6, "FAIL", closed);
        assert!(trouble.recent().unwrap().contains("security.protocol"));
    }

    #[test]
    fn memory_for_kinds_of_complaints_is_bounded() {
        let trouble = Trouble::default();
        for n in 0..10 * KINDS_MAX {
            let name = "x".repeat(n);
            trouble.say("reader", &format!("a complaint about {name}"));
        }
        assert!(trouble.lock().logged.len() <= KINDS_MAX);
    }
}
