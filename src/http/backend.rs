//! Asking the runtime, and never waiting for ever.
//!
//! A question that is not answered is `no-answer`. A change is different once it was handed over: it may have been
//! carried out, so silence is `unknown-outcome`.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::problem::{Code, Problem};
use crate::clock;
use crate::core::view::TopicView;
use crate::ports::{ApiRequest, Stats};

/// Where questions go, and how long they may take.
#[derive(Debug, Clone)]
pub struct Backend {
    requests: mpsc::Sender<ApiRequest>,
    patience: Patience,
}

/// How long each kind of question may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub read: Duration,
    /// Longer than a read: a change waits for Kafka, up to the producer's `message.timeout.ms`.
    pub change: Duration,
    /// Shorter: a probe has a timeout of its own, and silence is an answer.
    pub probe: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(10),
            change: Duration::from_secs(15),
            probe: Duration::from_secs(2),
        }
    }
}

/// Why there is no reply.
enum Silence {
    /// Never handed over: nobody listens any more.
    Closed,
    /// Never handed over: the queue stayed full.
    Full,
    /// Handed over, and dropped.
    Dropped,
    /// Handed over, and nothing came.
    Late,
}

impl Backend {
    #[must_use]
    pub fn new(requests: mpsc::Sender<ApiRequest>, patience: Patience) -> Self {
        Self { requests, patience }
    }

    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// A question that changes nothing.
    ///
    /// # Errors
    /// `no-answer` or `stopping`.
    pub async fn read<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<T>) -> ApiRequest,
    ) -> Result<T, Problem> {
        self.ask(self.patience.read, make)
            .await
            .map_err(|silence| silence.of_a_question(self.patience.read))
    }

    /// A change: an answer says that it is durable, or that it is not.
    ///
    /// # Errors
    /// `unknown-outcome` where it was handed over and nothing came back; else `no-answer` or `stopping`.
    pub async fn change<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<T>) -> ApiRequest,
    ) -> Result<T, Problem> {
        self.ask(self.patience.change, make)
            .await
            .map_err(|silence| match silence {
                Silence::Late | Silence::Dropped => Problem::unknown_outcome(
                    "the coordinator did not say what became of the change",
                ),
                Silence::Closed | Silence::Full => silence.of_a_question(self.patience.change),
            })
    }

    /// For probes and the like.
    ///
    /// # Errors
    /// `no-answer` or `stopping`.
    pub async fn stats(&self) -> Result<Stats, Problem> {
        self.ask(self.patience.probe, |reply| ApiRequest::Stats { reply })
            .await
            .map_err(|silence| silence.of_a_question(self.patience.probe))
    }

    /// All topics, as they are; none at all while there is no coordinator yet.
    ///
    /// # Errors
    /// `no-answer` or `stopping`.
    pub async fn topics(&self) -> Result<Vec<TopicView>, Problem> {
        self.read(|reply| ApiRequest::Topics { reply }).await
    }

    /// The same for who needs the coordinator.
    ///
    /// # Errors
    /// `recovering` too.
    pub async fn known_topics(&self) -> Result<Vec<TopicView>, Problem> {
        let topics = self.topics().await?;
        if topics.is_empty() {
            let progress = self.stats().await?.recovering;
            return Err(Problem::recovering(progress));
        }
        Ok(topics)
    }

    async fn ask<T>(
        &self,
        patience: Duration,
        make: impl FnOnce(oneshot::Sender<T>) -> ApiRequest,
    ) -> Result<T, Silence> {
        let started = clock::instant();
        let (reply, answer) = oneshot::channel();
        self.requests
            .send_timeout(make(reply), patience)
            .await
            .map_err(|e| match e {
                mpsc::error::SendTimeoutError::Timeout(_) => Silence::Full,
                mpsc::error::SendTimeoutError::Closed(_) => Silence::Closed,
            })?;
        match timeout(patience.saturating_sub(started.elapsed()), answer).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(Silence::Dropped),
            Err(_) => Err(Silence::Late),
        }
    }
}

impl Silence {
    fn of_a_question(&self, patience: Duration) -> Problem {
        match self {
            Self::Closed | Self::Dropped => Problem::new(
                Code::Stopping,
                "the coordinator is stopping: nothing was changed; ask again once it is back",
            )
            .retry_after(5),
            Self::Full | Self::Late => Problem::new(
                Code::NoAnswer,
                format!(
                    "the coordinator did not answer within {}: nothing was changed; see /readyz and the log",
                    humantime::format_duration(patience)
                ),
            ),
        }
    }
}
