//! Counts the copies on the source topic with a consumer of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::DemoError;

/// Reads a topic from its start, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct CopyObserver {
    copies: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CopyObserver {
    /// # Errors
    /// [`DemoError::Kafka`].
    pub fn start(brokers: &str, topic: &str, partitions: i32) -> Result<Self, DemoError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            // Never joined, never committed to: the client only asks for a name.
            .set("group.id", "ackwarden-demo-observer")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "20")
            .set("log_level", "3")
            .create()
            .map_err(DemoError::kafka("cannot make the observer"))?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .map_err(DemoError::kafka("cannot make the observer"))?;
        }
        consumer
            .assign(&list)
            .map_err(DemoError::kafka("the observer cannot read"))?;
        let copies = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (counter, stopped) = (Arc::clone(&copies), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("demo-observer".into())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    // Errors are the client's to overcome: it reports them and goes on.
                    if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100))
                        && is_copy(&message)
                    {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
            .map_err(DemoError::io("cannot start a thread for", "the observer"))?;
        Ok(Self {
            copies,
            stop,
            thread: Some(thread),
        })
    }

    #[must_use]
    pub fn copies(&self) -> u64 {
        self.copies.load(Ordering::Relaxed)
    }
}

impl Drop for CopyObserver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn is_copy(message: &impl Message) -> bool {
    message
        .headers()
        .is_some_and(|headers| headers.iter().any(|h| h.key == "ackwarden-origin"))
}
