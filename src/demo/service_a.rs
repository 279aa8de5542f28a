//! Service A: sends numbered orders at a steady rate. It knows of nothing but its topic.
//!
//! What counts as sent is what the broker has confirmed, and nothing else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::{DemoError, order};
use crate::clock;
use crate::kafka::lifeline::Lifeline;

/// How long a stop waits for what is under way.
const FLUSH_MAX: Duration = Duration::from_secs(20);
/// Often enough for a smooth rate, seldom enough to cost nothing.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone)]
pub struct ServiceAOptions {
    pub brokers: String,
    pub topic: String,
    /// Orders a second; 0: as fast as it goes (then `count` is needed).
    pub rate: u32,
    /// Stop by itself after so many; `None`: when told.
    pub count: Option<u64>,
    /// Number of the first order.
    pub first: u64,
    /// Put `message-id: order-N` into each record's headers.
    pub id_header: bool,
}

/// A running Service A, on a thread of its own.
#[derive(Debug)]
pub struct ServiceA {
    sent: Sent,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), DemoError>>>,
}

/// The numbers that the broker has confirmed.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<Mutex<BTreeSet<u64>>>);

impl Sent {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    #[must_use]
    pub fn numbers(&self) -> BTreeSet<u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServiceA {
    /// Starts sending.
    ///
    /// # Errors
    /// [`DemoError::Kafka`], where there can be no such client.
    pub fn start(options: ServiceAOptions) -> Result<Self, DemoError> {
        let sent = Sent::default();
        let producer: BaseProducer<Reports> = ClientConfig::new()
            .set("bootstrap.servers", &options.brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("log_level", "3")
            .create_with_context(Reports(sent.clone()))
            .map_err(DemoError::kafka("cannot make service A's producer"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("service-a".into())
            .spawn(move || send(&producer, &options, &told))
            .map_err(DemoError::io("cannot start a thread for", "service A"))?;
        Ok(Self {
            sent,
            stop,
            thread: Some(thread),
        })
    }

    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Ends it, and waits until all that it sent is confirmed.
    ///
    /// # Errors
    /// [`DemoError::Kafka`]: some of it is not.
    pub fn stop(mut self) -> Result<Sent, DemoError> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until `count` is sent and confirmed.
    ///
    /// # Errors
    /// As for [`stop`](Self::stop).
    pub fn finish(mut self) -> Result<Sent, DemoError> {
        self.join()
    }

    fn join(&mut self) -> Result<Sent, DemoError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome?,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => {}
        }
        Ok(self.sent.clone())
    }
}

impl Drop for ServiceA {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Reports(Sent);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<u64>) {
        match result {
            Ok(_) => {
                self.0.lock().insert(*number);
            }
            Err((error, _)) => tracing::warn!(order = *number, %error, "an order was not sent"),
        }
    }
}

fn send(
    producer: &BaseProducer<Reports>,
    options: &ServiceAOptions,
    stop: &AtomicBool,
) -> Result<(), DemoError> {
    let started = clock::instant();
    let lifeline = Lifeline::of(&options.brokers);
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) && options.count.is_none_or(|count| done < count) {
        let due = match options.rate {
            0 => u64::MAX,
            rate => u64::from(rate) * started.elapsed().as_millis() as u64 / 1_000,
        };
        let due = due.min(options.count.unwrap_or(u64::MAX));
        // In steps, so that a stop is heard.
        let step = due.min(done + 1_000);
        while done < step {
            send_one(producer, options, options.first + done)?;
            done += 1;
        }
        producer.poll(if done < due { Duration::ZERO } else { TICK });
        lifeline.look(producer.client(), &options.topic);
    }
    producer.flush(FLUSH_MAX).map_err(DemoError::kafka(
        "service A's last orders are not confirmed",
    ))
}

fn send_one(
    producer: &BaseProducer<Reports>,
    options: &ServiceAOptions,
    number: u64,
) -> Result<(), DemoError> {
    let value = order::encode(number);
    let id = format!("order-{number}");
    let mut record: BaseRecord<'_, [u8], [u8], Box<u64>> =
        BaseRecord::with_opaque_to(&options.topic, Box::new(number))
            .key(id.as_bytes())
            .payload(&value);
    if options.id_header {
        record = record.headers(OwnedHeaders::new_with_capacity(1).insert(Header {
            key: "message-id",
            value: Some(&id),
        }));
    }
    while let Err((error, again)) = producer.send(record) {
        if !matches!(
            error,
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)
        ) {
            return Err(DemoError::kafka("service A cannot send")(error));
        }
        producer.poll(TICK);
        record = again;
    }
    Ok(())
}
