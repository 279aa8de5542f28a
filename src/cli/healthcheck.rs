//! `ackwarden healthcheck`: asks a running service whether it is ready, or alive; for containers and supervisors.
//!
//! One request, no redirects, no proxies (a probe is about this machine), an answer within three seconds or none.

use std::time::Duration;

use super::args::{HealthcheckArgs, exit};
use crate::config;

/// Docker's and Kubernetes' own timeouts are longer; a probe that hangs says less than one that fails.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Of what the service answers, as much is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Why the service does not count as ready.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HealthcheckError {
    #[error(
        "the url `{url}` cannot be used: give scheme, host and port of the service, such as http://127.0.0.1:8080"
    )]
    BadUrl { url: String },
    #[error("not ready: {detail}")]
    NotReady { detail: String },
    #[error(
        "no answer from {url} ({detail}): is `ackwarden serve` running, and is `http.listen` this address?"
    )]
    Unreachable { url: String, detail: String },
    #[error(
        "{url} answered {status}, which is not Ackwarden's: does another program listen there? See `http.listen`"
    )]
    NotAckwarden { url: String, status: u16 },
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process answers at all: for what would end it otherwise.
    Live,
    /// Whether its partitions are assigned and rebuilt.
    Ready,
}

impl Probe {
    /// The path, and the status that it answers when all is well.
    const fn asks(self) -> (&'static str, &'static str) {
        match self {
            Self::Live => ("livez", "alive"),
            Self::Ready => ("readyz", "ready"),
        }
    }
}

/// Exit code 0 when the service is well, else 1 with the reason on standard error.
#[must_use]
pub fn run(args: &HealthcheckArgs) -> u8 {
    let checked = args
        .url(config::process_env())
        .and_then(|url| check(&url, args.probe()).map_err(|error| error.to_string()));
    match checked {
        Ok(()) => exit::OK,
        Err(error) => {
            eprintln!("healthcheck: {error}");
            exit::FAILED
        }
    }
}

/// Asks the service at `url`.
///
/// # Errors
/// [`HealthcheckError`], in words for the operator.
pub fn check(url: &str, probe: Probe) -> Result<(), HealthcheckError> {
    let base = url.trim_end_matches('/');
    let bad_url = || HealthcheckError::BadUrl {
        url: url.to_owned(),
    };
    let host = base.strip_prefix("http://").ok_or_else(bad_url)?;
    if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
        return Err(bad_url());
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_WITHIN))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into();
    let unreachable = |detail: String| HealthcheckError::Unreachable {
        url: base.to_owned(),
        detail,
    };
    let (path, well) = probe.asks();
    let mut response = agent
        .get(format!("{base}/{path}"))
        .call()
        .map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => bad_url(),
            other => unreachable(other.to_string()),
        })?;
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_json::<serde_json::Value>();
    let answer = match body {
        Ok(answer) => answer,
        Err(ureq::Error::Timeout(_)) => return Err(unreachable("it stopped in mid-answer".into())),
        Err(_) => serde_json::Value::Null,
    };
    if status == 200 && answer["status"] == well {
        return Ok(());
    }
    match (answer["code"].as_str(), answer["detail"].as_str()) {
        (Some(_), Some(detail)) => Err(HealthcheckError::NotReady {
            detail: with_kafka(detail, &answer["kafka"]),
        }),
        _ => Err(HealthcheckError::NotAckwarden {
            url: base.to_owned(),
            status,
        }),
    }
}

fn with_kafka(detail: &str, trouble: &serde_json::Value) -> String {
    // What comes out of the network is made harmless before a terminal sees it.
    let text = match trouble.as_str() {
        Some(trouble) => format!("{detail}; Kafka's client says: {trouble}"),
        None => detail.to_owned(),
    };
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one answer to one request.
    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 2048];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        });
        url
    }

    #[test]
    fn a_url_must_be_plain_http_with_a_host_and_nothing_else() {
        for url in [
            "",
            "localhost:8080",
            "https://localhost:8080",
            "http://",
            "http:///x",
            "http://localhost/x",
            "http://local host",
            "http://a@b",
        ] {
            let bad = HealthcheckError::BadUrl { url: url.into() };
            assert_eq!(check(url, Probe::Ready), Err(bad), "{url}");
        }
    }

    #[test]
    fn nobody_listening_is_said_with_the_cure() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", free.local_addr().unwrap());
        drop(free);
        let error = check(&url, Probe::Ready).unwrap_err();
        assert!(
            error.to_string().contains("is `ackwarden serve` running"),
            "{error}"
        );
    }

    #[test]
    fn another_program_on_the_port_is_not_taken_for_ready() {
        let url = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let error = check(&url, Probe::Ready).unwrap_err();
        assert_eq!(error, HealthcheckError::NotAckwarden { url, status: 200 });
        let url = answering(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        );
        let error = check(&url, Probe::Ready).unwrap_err();
        assert_eq!(error, HealthcheckError::NotAckwarden { url, status: 302 });
    }

    #[test]
    fn kafkas_words_cannot_drive_the_terminal() {
        let shown = with_kafka("rebuilding", &"bad\u{1b}[31m\nthing".into());
        assert_eq!(shown, "rebuilding; Kafka's client says: bad [31m thing");
    }
}
