//! One line of librdkafka, read: what it is about, whether it says why, and the cure.
//!
//! librdkafka says these things in words alone, so they are told by its words (2.12.1), which tests against a real broker
//! hold. What is not known is shown as it came.

/// Connected that long and no longer, ms, a listener has thrown us out.
const THROWN_OUT_MS: u64 = 2_000;

/// A complaint, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What, where, and the cure.
    pub text: String,
    /// Equal for two that say the same.
    pub kind: String,
    /// It says why, not only what follows.
    pub is_cause: bool,
}

/// Reads a complaint. `in_doubt`: no broker has answered yet, so that a closed connection may be due to the settings;
/// afterwards, it is a broker that went away.
#[must_use]
pub fn of(what: &str, in_doubt: bool) -> Complaint {
    let cause = Cause::of(what).filter(|cause| in_doubt || !cause.is_guess());
    let Some(cause) = cause else {
        return Complaint {
            text: without_state(what).to_owned(),
            kind: letters(without_state(what)),
            is_cause: true,
        };
    };
    Complaint {
        text: match cause {
            // "0/1 brokers are down" is all that a client says that lost its only connection.
            Cause::NoBroker => format!("no broker can be reached: {}", cause.cure()),
            _ => format!("{}: {}", without_state(what), cause.cure()),
        },
        kind: match cause {
            // Each topic or group that is denied is a complaint of its own.
            Cause::Denied => letters(without_state(what)),
            _ => format!("{cause:?}"),
        },
        is_cause: cause != Cause::NoBroker,
    }
}

/// Whether a closed connection tells that the listener speaks another protocol.
#[must_use]
pub fn is_closed_too_early(what: &str) -> bool {
    Cause::of(what).is_some_and(Cause::is_guess)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Password,
    Mechanism,
    NoSasl,
    SaslWanted,
    Certificate,
    NoTls,
    TlsWanted,
    Denied,
    Refused,
    Unresolved,
    NoBroker,
}

impl Cause {
    fn of(what: &str) -> Option<Self> {
        let lower = what.to_lowercase();
        let has = |needle: &str| lower.contains(needle);
        let over_tls = has("ssl://");
        Some(if has("not valid in current sasl state") {
            Self::NoSasl
        } else if has("unsupported sasl mechanism") {
            Self::Mechanism
        } else if has("authentication failed") || has("sasl authentication") {
            Self::Password
        } else if has("authorization") {
            Self::Denied
        } else if has("certificate") {
            Self::Certificate
        } else if over_tls && (has("plaintext broker listener") || has("in state ssl_handshake")) {
            Self::NoTls
        } else if has("disconnected") && has("in state apiversion_query") {
            Self::TlsWanted
        } else if (has("disconnected") || has("send failed")) && thrown_out(&lower) && !has("sasl_")
        {
            Self::SaslWanted
        } else if has("connection refused") {
            Self::Refused
        } else if has("failed to resolve") {
            Self::Unresolved
        } else if has("brokers are down") {
            Self::NoBroker
        } else {
            return None;
        })
    }

    /// Concluded from a connection that was closed.
    const fn is_guess(self) -> bool {
        matches!(self, Self::TlsWanted | Self::SaslWanted | Self::NoTls)
    }

    const fn cure(self) -> &'static str {
        match self {
            Self::Password => "look at sasl.username and sasl.password in [kafka.properties]",
            Self::Mechanism => {
                "set sasl.mechanism in [kafka.properties] to one that the brokers support"
            }
            Self::NoSasl => {
                "this listener takes no logins: look at the port in kafka.brokers, and at security.protocol in [kafka.properties]"
            }
            Self::SaslWanted => {
                "the listener threw us out, so it may want a login: look at security.protocol and sasl.mechanism in [kafka.properties], and at the port in kafka.brokers"
            }
            Self::Certificate => {
                "set ssl.ca.location in [kafka.properties] to the CA of the brokers' certificates, and use host names in kafka.brokers that these name"
            }
            Self::NoTls => {
                "this listener seems to speak no TLS: look at the port in kafka.brokers, and at security.protocol in [kafka.properties]"
            }
            Self::TlsWanted => {
                "this listener seems to speak TLS: set security.protocol in [kafka.properties] to \"SSL\" or \"SASL_SSL\", or look at the port in kafka.brokers"
            }
            Self::Denied => "give the coordinator's user the ACLs of docs/operations.md",
            Self::Refused | Self::NoBroker => {
                "look at kafka.brokers, and whether the brokers are up; it is tried again"
            }
            Self::Unresolved => "look at the host names in kafka.brokers; it is tried again",
        }
    }
}

/// Closed by the other side soon after everything was agreed upon: `(after 3ms in state UP)`.
fn thrown_out(lower: &str) -> bool {
    let age = lower
        .split_once("in state up")
        .and_then(|(before, _)| before.rsplit_once("(after "))
        .and_then(|(_, age)| age.trim().strip_suffix("ms")?.parse::<u64>().ok());
    age.is_some_and(|ms| ms < THROWN_OUT_MS)
}

/// Without librdkafka's `(after 300ms in state AUTH_REQ, 1 identical error(s) suppressed)`.
fn without_state(what: &str) -> &str {
    match what.rsplit_once(" (after ") {
        Some((before, state)) if state.ends_with(')') => before,
        _ => what,
    }
}

/// Without the numbers in it.
fn letters(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphabetic())
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a real broker made librdkafka say them.
    #[test]
    fn each_cause_is_told_by_librdkafkas_words_and_has_its_cure() {
        for (what, cure) in [
            (
                "sasl_plaintext://b:1/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 300ms in state AUTH_REQ)",
                "sasl.password",
            ),
            (
                "sasl_plaintext://b:1/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN (after 1ms in state AUTH_HANDSHAKE)",
                "set sasl.mechanism",
            ),
            (
                "sasl_plaintext://b:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms:  (after 8ms in state AUTH_HANDSHAKE)",
                "takes no logins",
            ),
            (
                "ssl://b:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured (after 2ms in state SSL_HANDSHAKE)",
                "set ssl.ca.location",
            ),
            (
                "ssl://b:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener? (after 0ms in state SSL_HANDSHAKE)",
                "speak no TLS",
            ),
            (
                "b:1/bootstrap: Disconnected: connection closed by peer (after 1ms in state APIVERSION_QUERY)",
                "seems to speak TLS",
            ),
            (
                "b:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 0ms in state UP)",
                "want a login",
            ),
            (
                "b:1/bootstrap: Send failed: Broken pipe (after 0ms in state UP)",
                "want a login",
            ),
            (
                "b:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                "whether the brokers are up",
            ),
            ("3/3 brokers are down", "whether the brokers are up"),
        ] {
            let complaint = of(what, true);
            assert!(complaint.text.contains(cure), "{}", complaint.text);
            assert!(!complaint.text.contains("(after"), "{}", complaint.text);
        }
    }

    #[test]
    fn a_connection_that_was_idle_or_logged_in_is_closed_without_a_complaint() {
        for what in [
            "b:1/1: Disconnected: connection closed by peer (after 600012ms in state UP)",
            "sasl_plaintext://b:1/1: Disconnected: connection closed by peer (after 5ms in state UP)",
            "sasl_ssl://b:1/1: Disconnected: connection closed by peer (after 5ms in state UP)",
            "b:1/1: Disconnected: connection closed by peer (after 5ms in state CONNECT)",
        ] {
            assert!(!is_closed_too_early(what), "{what}");
        }
    }

    #[test]
    fn two_topics_that_are_denied_are_two_complaints() {
        let denied = |topic: &str| {
            of(
                &format!("reading {topic}/0: Broker: Topic authorization failed"),
                true,
            )
        };
        assert_ne!(denied("orders").kind, denied("invoices").kind);
    }

    #[test]
    fn what_is_not_known_is_shown_as_it_came() {
        let complaint = of("something (new) happened", true);
        assert_eq!(complaint.text, "something (new) happened");
        assert!(complaint.is_cause);
    }
}
