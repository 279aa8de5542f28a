//! The idempotent producer: hands records over without waiting, and reports what became of each.
//!
//! A report says one of five things: durable (and where), ambiguous (it may be in the log or not), refused (it is not),
//! dropped (it was never sent), or too large. Whatever is not known to be one of the others is ambiguous.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig,
};

use super::KafkaProblem;
use super::lifeline::Lifeline;
use super::raw;
use super::settings::refused;
use super::trouble::{Context, Trouble};
use crate::core::LogPosition;
use crate::core::event::PublishOutcome;
use crate::ports::Outgoing;

/// rust-rdkafka spins for the last part of a millisecond of each wait, so that waits are long. Reports come at once all the same.
const POLL: Duration = Duration::from_secs(2);

/// What became of a record: the token that it was handed over with, and the outcome.
pub type Reports = Arc<dyn Fn(u64, PublishOutcome) + Send + Sync>;

/// How many partitions each topic has, as far as known; kept fresh by whoever looks at metadata.
pub type PartitionCounts = Arc<RwLock<HashMap<String, i32>>>;

struct PublisherContext {
    inner: Context,
    reports: Reports,
}

impl ClientContext for PublisherContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.inner.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.inner.error(error, reason);
    }
}

impl ProducerContext for PublisherContext {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, token: Box<u64>) {
        let outcome = match result {
            Ok(message) => {
                PublishOutcome::Durable(LogPosition::new(message.partition(), message.offset()))
            }
            Err((error, report)) => outcome_of(error, raw::is_in_no_log(report)),
        };
        (self.reports)(*token, outcome);
    }
}

/// What an error says about whether the record is in the log: nothing that was sent before is refused for certain, since a
/// broker that did not answer may have taken it then, or may do so yet.
fn outcome_of(error: &KafkaError, is_in_no_log: bool) -> PublishOutcome {
    let text: Box<str> = error.to_string().into();
    if !is_in_no_log {
        return PublishOutcome::Ambiguous(text);
    }
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge) => {
            PublishOutcome::TooLarge
        }
        Some(
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidTopic
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::NotEnoughReplicas
            | Code::QueueFull,
        ) => PublishOutcome::Refused(text),
        Some(Code::PurgeQueue) => PublishOutcome::Dropped,
        _ => PublishOutcome::Ambiguous(text),
    }
}

/// The producer in use: another one takes its place after a fatal error.
type Current = Arc<RwLock<Arc<BaseProducer<PublisherContext>>>>;

pub struct Publisher {
    producer: Current,
    counts: PartitionCounts,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// # Errors
    /// The settings make no client, or no thread could be started.
    pub fn spawn(
        settings: &ClientConfig,
        trouble: &Trouble,
        counts: PartitionCounts,
        reports: Reports,
    ) -> Result<Self, KafkaProblem> {
        let make = {
            let (settings, trouble) = (settings.clone(), trouble.clone());
            move || -> Result<BaseProducer<PublisherContext>, KafkaProblem> {
                settings
                    .create_with_context(PublisherContext {
                        inner: Context::new("publisher", &trouble),
                        reports: Arc::clone(&reports),
                    })
                    .map_err(|e| refused(&settings, &e))
            }
        };
        let producer: Current = Arc::new(RwLock::new(Arc::new(make()?)));
        let closing = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("publisher".into())
            .spawn({
                let (current, closing) = (Arc::clone(&producer), Arc::clone(&closing));
                let (lifeline, counts) = (Lifeline::new(settings), Arc::clone(&counts));
                move || {
                    while !closing.load(Ordering::Relaxed) {
                        let producer = in_use(&current);
                        producer.poll(POLL);
                        if producer.in_flight_count() > 0
                            && let Some(topic) = any_topic(&counts)
                        {
                            lifeline.look(producer.client(), &topic);
                        }
                        if let Some((code, why)) = producer.client().fatal_error() {
                            tracing::error!(?code, %why, "kafka's producer gave up; another one takes its place");
                            replace(&current, &producer, &make);
                        }
                    }
                }
            })
            .map_err(|e| KafkaProblem::Thread(e.to_string()))?;
        Ok(Self {
            producer,
            counts,
            closing,
            thread: Some(thread),
        })
    }

    /// Hands the record over, at once; the report comes on the producer's thread.
    ///
    /// # Errors
    /// It was not even handed over: this is its report, and no other comes.
    pub fn publish(&self, token: u64, record: &Outgoing) -> Result<(), PublishOutcome> {
        let partition = match record.partition {
            Some(partition) => partition,
            None => {
                let count = self
                    .counts
                    .read()
                    .ok()
                    .and_then(|counts| counts.get(&record.topic).copied())
                    .filter(|count| *count > 0);
                let Some(count) = count else {
                    // From now on it is looked for.
                    if let Ok(mut counts) = self.counts.write() {
                        counts.entry(record.topic.clone()).or_insert(0);
                    }
                    let why = format!("the topic {} does not exist", record.topic);
                    return Err(PublishOutcome::Refused(why.into()));
                };
                record.spread.rem_euclid(count)
            }
        };
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (name, value) in &record.headers {
            let Ok(key) = std::str::from_utf8(name) else {
                let why = "a header name is not UTF-8";
                return Err(PublishOutcome::Refused(why.into()));
            };
            headers = headers.insert(Header {
                key,
                value: value.as_deref(),
            });
        }
        let mut out: BaseRecord<'_, [u8], [u8], Box<u64>> =
            BaseRecord::with_opaque_to(&record.topic, Box::new(token))
                .partition(partition)
                .headers(headers);
        if let Some(key) = &record.key {
            out = out.key(key.as_slice());
        }
        if let Some(value) = &record.value {
            out = out.payload(value.as_slice());
        }
        in_use(&self.producer).send(out).map_err(|(error, _)| {
            // Not even handed over.
            match outcome_of(&error, true) {
                PublishOutcome::Ambiguous(why) => PublishOutcome::Refused(why),
                known => known,
            }
        })
    }

    /// Drops what waits to be sent, which is reported as that, or as ambiguous where it was sent before and waits to be sent
    /// again; what is in flight goes on.
    pub fn purge_queue(&self) {
        // Without waiting for the client's threads: one that looks for a broker's address may take a minute.
        in_use(&self.producer).purge(PurgeConfig::default().queue().non_blocking());
    }

    /// Waits for reports of what is in flight, no longer than `timeout`.
    pub fn flush(&self, timeout: Duration) {
        if let Err(error) = in_use(&self.producer).flush(timeout) {
            tracing::debug!(%error, "not all was reported before the end");
        }
    }

    /// Makes the producer give up as librdkafka does after a fatal error; for tests.
    pub fn provoke_fatal_error(&self) {
        super::raw::provoke_fatal_error(in_use(&self.producer).client());
    }

    pub fn close(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Publisher {
    /// The thread ends by itself, and the client with it.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

/// Of those that are written to.
fn any_topic(counts: &PartitionCounts) -> Option<String> {
    let counts = counts.read().unwrap_or_else(PoisonError::into_inner);
    counts.keys().next().cloned()
}

fn in_use(current: &Current) -> Arc<BaseProducer<PublisherContext>> {
    Arc::clone(&current.read().unwrap_or_else(PoisonError::into_inner))
}

/// What is queued or in flight is reported (what may be in a log as ambiguous), then a new producer takes over.
fn replace(
    current: &Current,
    failed: &BaseProducer<PublisherContext>,
    make: &impl Fn() -> Result<BaseProducer<PublisherContext>, KafkaProblem>,
) {
    match make() {
        Ok(fresh) => {
            *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        }
        Err(problem) => {
            tracing::error!(%problem, "no other producer can be made; it is tried again");
            return;
        }
    }
    failed.purge(PurgeConfig::default().queue().inflight());
    while failed.in_flight_count() > 0 {
        failed.poll(POLL);
    }
}
