//! Sends records of any shape, and says where each of them ended up.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::util::IntoOpaque;

use super::raw_headers::Header;

/// A record to be sent. Header names have to be text here: rust-rdkafka asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// `None`: the partitioner's choice.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

impl NewRecord {
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// An ACK of the delivery at that position.
    pub fn ack(position: &str) -> Self {
        Self::default().key(position)
    }

    /// `nack`, `reject`, `extend`, … of the delivery at that position.
    pub fn verdict(position: &str, verdict: &str) -> Self {
        Self::ack(position).header("ackwarden-verdict", verdict)
    }

    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.into(), Some(value.as_ref().to_vec())));
        self
    }

    pub fn null_header(mut self, name: &str) -> Self {
        self.headers.push((name.into(), None));
        self
    }

    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }
}

/// Where a record was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl Place {
    /// `topic/partition/offset`.
    pub fn position(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// Sends and waits until everything is durable; the places are in the order of the records.
pub fn produce(brokers: &str, topic: &str, records: &[NewRecord]) -> Vec<Place> {
    produce_with(brokers, topic, records, &[])
}

/// [`produce`] with properties of the producer, e.g. `compression.type`.
pub fn produce_with(
    brokers: &str,
    topic: &str,
    records: &[NewRecord],
    properties: &[(&str, &str)],
) -> Vec<Place> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("message.timeout.ms", "60000")
        .set("log_level", "3");
    for (name, value) in properties {
        config.set(*name, *value);
    }
    let producer: BaseProducer<Reports> = config
        .create_with_context(Reports::default())
        .expect("a producer");
    send_all(&producer, topic, records)
}

/// Sends by that producer, and waits until everything is durable; the places are in the order of the records.
pub(super) fn send_all(
    producer: &BaseProducer<Reports>,
    topic: &str,
    records: &[NewRecord],
) -> Vec<Place> {
    let reports = &producer.context().0;
    *reports.lock().expect("the reports") = vec![None; records.len()];
    for (index, record) in records.iter().enumerate() {
        let mut pending = to_base_record(topic, record, index);
        while let Err((error, again)) = producer.send(pending) {
            assert!(
                matches!(
                    error,
                    KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)
                ),
                "sending to {topic}: {error}"
            );
            producer.poll(Duration::from_millis(20));
            pending = again;
        }
        producer.poll(Duration::ZERO);
    }
    producer
        .flush(Duration::from_secs(90))
        .unwrap_or_else(|e| panic!("flushing to {topic}: {e}"));
    let reports = std::mem::take(&mut *reports.lock().expect("the reports"));
    reports
        .into_iter()
        .enumerate()
        .map(|(i, report)| match report {
            Some(Ok(place)) => place,
            Some(Err(e)) => panic!("record {i} for {topic} was refused: {e}"),
            None => panic!("record {i} for {topic} has no report"),
        })
        .collect()
}

/// What became of each record of one call.
#[derive(Default)]
pub(super) struct Reports(Mutex<Vec<Option<Result<Place, String>>>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, index: Box<usize>) {
        let report = match result {
            Ok(message) => Ok(Place {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, _)) => Err(error.to_string()),
        };
        self.0.lock().expect("the reports")[*index] = Some(report);
    }
}

fn to_base_record<'a>(
    topic: &'a str,
    record: &'a NewRecord,
    index: usize,
) -> BaseRecord<'a, [u8], [u8], Box<usize>> {
    filled(BaseRecord::with_opaque_to(topic, Box::new(index)), record)
}

fn filled<'a, O: IntoOpaque>(
    mut base: BaseRecord<'a, [u8], [u8], O>,
    record: &'a NewRecord,
) -> BaseRecord<'a, [u8], [u8], O> {
    if let Some(partition) = record.partition {
        base = base.partition(partition);
    }
    if let Some(key) = &record.key {
        base = base.key(key.as_slice());
    }
    if let Some(value) = &record.value {
        base = base.payload(value.as_slice());
    }
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (name, value) in &record.headers {
            headers = headers.insert(rdkafka::message::Header {
                key: std::str::from_utf8(name).expect("a header name that is text"),
                value: value.as_deref(),
            });
        }
        base = base.headers(headers);
    }
    base
}
