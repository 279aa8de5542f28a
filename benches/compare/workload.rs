//! The records: a source topic and its ACKs, written before anything is measured.

use std::ops::Range;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::support::topics::{self, TopicSpec, acks_of};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// An ACK's key is the position of its message.
    Positions,
    /// Each message has a header `message-id` of 36 characters, and its ACK has that as its key.
    Header,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    None,
    Zstd,
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub records: u64,
    pub partitions: i32,
    pub value_bytes: usize,
    pub ids: Ids,
    pub codec: Codec,
}

/// The source topic of every row; its ACKs are on `orders-acks`.
pub const SOURCE: &str = "orders";

/// Of that many for each partition, and the `shape.records` behind them: their numbers in the whole topic.
fn numbers_from(first: i64, shape: Shape) -> Range<u64> {
    let partitions = u64::try_from(shape.partitions).expect("a number of partitions");
    let first = u64::try_from(first).expect("an offset") * partitions;
    first..first + shape.records
}

/// Creates both topics.
pub fn create(brokers: &str, shape: Shape) {
    for topic in [SOURCE.to_owned(), acks_of(SOURCE)] {
        topics::create(brokers, &TopicSpec::new(&topic, shape.partitions));
    }
}

/// Creates both topics and fills them. Messages and their ACKs lie in the same order.
pub fn write(brokers: &str, shape: Shape) {
    write_source(brokers, shape);
    write_acks(brokers, 0, shape);
}

/// Creates both topics and fills the source.
pub fn write_source(brokers: &str, shape: Shape) {
    create(brokers, shape);
    write_more(brokers, 0, shape);
}

/// Adds to the source, which has that many records in each partition.
pub fn write_more(brokers: &str, first: i64, shape: Shape) {
    let mut writer = Writer::new(brokers, shape);
    for number in numbers_from(first, shape) {
        writer.message(number);
    }
    writer.flush();
}

/// The ACKs of the source's records from those offsets on.
pub fn write_acks(brokers: &str, first: i64, shape: Shape) {
    let writer = Writer::new(brokers, shape);
    for number in numbers_from(first, shape) {
        writer.ack(number);
    }
    writer.flush();
}

/// Writes messages and ACKs by their numbers, which go round the partitions.
pub struct Writer {
    producer: BaseProducer,
    shape: Shape,
    acks: String,
    value: Vec<u8>,
}

impl Writer {
    pub fn new(brokers: &str, shape: Shape) -> Self {
        Self {
            producer: producer(brokers, shape.codec),
            shape,
            acks: acks_of(SOURCE),
            value: Vec::with_capacity(shape.value_bytes + 256),
        }
    }

    /// Each is to be the next one.
    pub fn message(&mut self, number: u64) {
        let (partition, offset) = self.place(number);
        fill(&mut self.value, self.shape.value_bytes, partition, offset);
        let mut record = BaseRecord::<[u8], [u8]>::to(SOURCE)
            .partition(partition)
            .payload(&self.value);
        if self.shape.ids == Ids::Header {
            let id = id_of(partition, offset);
            record = record.headers(OwnedHeaders::new().insert(Header {
                key: "message-id",
                value: Some(&id),
            }));
        }
        send(&self.producer, record);
    }

    /// By position or by id.
    pub fn ack(&self, number: u64) {
        let (partition, offset) = self.place(number);
        let key = match self.shape.ids {
            Ids::Positions => format!("{SOURCE}/{partition}/{offset}"),
            Ids::Header => id_of(partition, offset),
        };
        let record = BaseRecord::<[u8], [u8]>::to(&self.acks)
            .partition(partition)
            .key(key.as_bytes());
        send(&self.producer, record);
    }

    /// Hears all reports that are there.
    pub fn poll(&self) {
        let mut waiting = self.producer.in_flight_count();
        loop {
            // Of one batch.
            self.producer.poll(Duration::ZERO);
            let before = std::mem::replace(&mut waiting, self.producer.in_flight_count());
            if waiting >= before {
                return;
            }
        }
    }

    /// Of so many that were handed to it, so many of the first are in the log at least: what is in flight may be all of one
    /// partition, of which they are every so many.
    pub fn written_of(&self, handed: u64) -> u64 {
        let in_flight = u64::try_from(self.producer.in_flight_count()).unwrap_or(0);
        let partitions = u64::try_from(self.shape.partitions).expect("a number of partitions");
        handed.saturating_sub(partitions * in_flight)
    }

    pub fn flush(&self) {
        self.producer
            .flush(Duration::from_secs(120))
            .expect("flushed");
    }

    fn place(&self, number: u64) -> (i32, i64) {
        let partitions = u64::try_from(self.shape.partitions).expect("a number of partitions");
        let partition = i32::try_from(number % partitions).expect("a partition");
        let offset = i64::try_from(number / partitions).expect("an offset");
        (partition, offset)
    }
}

/// Looks like a UUID, and differs in every part.
fn id_of(partition: i32, offset: i64) -> String {
    let mixed = (u64::try_from(offset).expect("an offset") << 8 | u64::from(partition as u8))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        mixed >> 32,
        (mixed >> 16) & 0xffff,
        mixed & 0xfff,
        (mixed >> 40) & 0xfff,
        mixed.rotate_left(23) & 0xffff_ffff_ffff,
    )
}

/// JSON as services write it: names that repeat and numbers that do not, so that a codec finds what it usually finds.
pub fn fill(value: &mut Vec<u8>, bytes: usize, partition: i32, offset: i64) {
    use std::io::Write;
    value.clear();
    let mut n =
        (offset as u64 * 64 + u64::from(partition as u8)).wrapping_mul(0x2545_f491_4f6c_dd1d);
    write!(
        value,
        "{{\"order\":{offset},\"customer\":\"{:08x}\",\"lines\":[",
        n >> 32
    )
    .expect("memory");
    while value.len() < bytes {
        n = n.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        write!(
            value,
            "{{\"article\":\"A-{:05}\",\"quantity\":{},\"price\":{}}},",
            n % 50_000,
            n >> 20 & 7,
            n >> 30 & 0xffff
        )
        .expect("memory");
    }
    value.truncate(bytes - 2);
    value.extend_from_slice(b"]}");
}

pub fn producer(brokers: &str, codec: Codec) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        // Idempotence keeps the order, so that offsets are known before they are told.
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("batch.size", "262144")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "262144")
        .set(
            "compression.type",
            match codec {
                Codec::None => "none",
                Codec::Zstd => "zstd",
            },
        )
        .set("log_level", "3")
        .create()
        .expect("a producer")
}

pub fn send(producer: &BaseProducer, record: BaseRecord<'_, [u8], [u8]>) {
    let mut pending = record;
    while let Err((error, again)) = producer.send(pending) {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        assert_eq!(error, full, "sending");
        producer.poll(Duration::from_millis(20));
        pending = again;
    }
}
