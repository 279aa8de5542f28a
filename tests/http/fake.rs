//! A coordinator that answers as it is told, and the client to ask through the router.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ackwarden::core::types::LogPosition;
use ackwarden::core::view::{Lookup, MessagePage, OperatorReply};
use ackwarden::http::{ApiState, Patience, router};
use ackwarden::ports::ApiRequest;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::samples::{detail, directory, plain, record, retrying, stats, topics, unmatched};

pub const LISTEN: &str = "127.0.0.1:8080";

/// The API in front of a fake; what the fake was asked is kept.
pub struct Api {
    pub router: Router,
    pub asked: Arc<Mutex<Vec<String>>>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Api {
    /// With the usual answers.
    pub fn usual() -> Self {
        Self::answering(answer)
    }

    /// With answers of the test's own.
    pub fn answering(answer: impl FnMut(ApiRequest) + Send + 'static) -> Self {
        Self::with(answer, Patience::default())
    }

    /// A coordinator that keeps silent, and a client without patience.
    pub fn silent() -> Self {
        let mut kept = Vec::new();
        Self::impatient(move |request| kept.push(request))
    }

    /// A client without patience.
    pub fn impatient(answer: impl FnMut(ApiRequest) + Send + 'static) -> Self {
        let short = Duration::from_millis(50);
        let patience = Patience {
            read: short,
            change: short,
            probe: short,
        };
        Self::with(answer, patience)
    }

    /// A coordinator that does not even take requests: its queue is full.
    pub fn stuck() -> (Self, mpsc::Receiver<ApiRequest>) {
        let (requests, inbox) = mpsc::channel(1);
        let (reply, _) = tokio::sync::oneshot::channel();
        requests.try_send(ApiRequest::Topics { reply }).unwrap();
        let short = Duration::from_millis(50);
        let patience = Patience {
            read: short,
            change: short,
            probe: short,
        };
        (Self::over(requests, patience), inbox)
    }

    fn with(mut answer: impl FnMut(ApiRequest) + Send + 'static, patience: Patience) -> Self {
        let (requests, mut inbox) = mpsc::channel::<ApiRequest>(8);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(request) = inbox.recv().await {
                log.lock().unwrap().push(shown(&request));
                answer(request);
            }
        });
        Self {
            asked,
            ..Self::over(requests, patience)
        }
    }

    fn over(requests: mpsc::Sender<ApiRequest>, patience: Patience) -> Self {
        let listen: SocketAddr = LISTEN.parse().unwrap();
        let state = ApiState::new(requests, Arc::new(directory()), listen).with_patience(patience);
        Self {
            router: router(state),
            asked: Arc::default(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// With a JSON body, unless it is empty.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let json = [("content-type", "application/json")];
        let headers: &[_] = if body.is_empty() { &[] } else { &json };
        self.send(method, path, headers, body).await
    }

    /// Host and request id are there unless named in `headers`.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in [("host", LISTEN), ("x-request-id", "test")] {
            if headers.iter().all(|(n, _)| *n != name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.into())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// What the fake was asked, in order.
    pub fn asked(&self) -> String {
        self.asked.lock().unwrap().join("\n")
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    /// `404 unknown-topic`.
    pub fn problem(&self) -> String {
        let document = self.json();
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{}",
            self.text
        );
        assert_eq!(document["status"], self.status.as_u16(), "{}", self.text);
        format!(
            "{} {}",
            self.status.as_u16(),
            document["code"].as_str().unwrap()
        )
    }

    /// Status and body, for snapshots.
    pub fn show(&self) -> String {
        if self.text.is_empty() {
            return self.status.to_string();
        }
        let pretty = serde_json::to_string_pretty(&self.json()).unwrap();
        format!("{}\n{pretty}", self.status)
    }
}

/// A request without its reply channel.
fn shown(request: &ApiRequest) -> String {
    match request {
        ApiRequest::Topics { .. } => "Topics".to_owned(),
        ApiRequest::Messages { filter, .. } => format!("Messages {filter:?}"),
        ApiRequest::Message { topic, at, .. } => format!("Message {} {at}", topic.0),
        ApiRequest::Payload { topic, at, .. } => format!("Payload {} {at}", topic.0),
        ApiRequest::Act {
            topic,
            at,
            action,
            actor,
            reason,
            ..
        } => format!("Act {} {at} {action:?} {actor:?} {reason:?}", topic.0),
        ApiRequest::PatchPolicy {
            topic,
            patch,
            apply_pending,
            ..
        } => {
            let patch = ackwarden::config::policy_json::patch_to_json(patch);
            let patch = Value::Object(patch);
            format!("PatchPolicy {} {patch} pending={apply_pending}", topic.0)
        }
        ApiRequest::ResetPolicy { topic, .. } => format!("ResetPolicy {}", topic.0),
        ApiRequest::Pause { topic, paused, .. } => format!("Pause {} {paused}", topic.0),
        ApiRequest::Unmatched { limit, .. } => format!("Unmatched {limit}"),
        ApiRequest::Stats { .. } => "Stats".to_owned(),
    }
}

/// The usual answers.
pub fn answer(request: ApiRequest) {
    match request {
        ApiRequest::Topics { reply } => drop(reply.send(topics())),
        ApiRequest::Messages { reply, .. } => {
            let page = MessagePage {
                messages: vec![retrying(), plain()],
                next: None,
                partial: false,
            };
            drop(reply.send(Ok(page)));
        }
        ApiRequest::Message { reply, .. } => {
            drop(reply.send(Ok(Lookup::Found(Box::new(detail())))));
        }
        ApiRequest::Payload { reply, .. } => drop(reply.send(Ok(record()))),
        ApiRequest::Act { reply, .. } => {
            drop(reply.send(OperatorReply::Durable(LogPosition::new(2, 881))));
        }
        ApiRequest::PatchPolicy { reply, .. }
        | ApiRequest::ResetPolicy { reply, .. }
        | ApiRequest::Pause { reply, .. } => drop(reply.send(Ok(()))),
        ApiRequest::Unmatched { reply, .. } => drop(reply.send((vec![unmatched()], false))),
        ApiRequest::Stats { reply } => drop(reply.send(stats())),
    }
}
