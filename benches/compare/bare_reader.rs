//! The baseline: librdkafka as fast as it goes, and nothing else. A consumer and a thread for each topic,
//! `rd_kafka_consume_batch_queue`, settings that were found best; records are counted and given back.

#![allow(unsafe_code, reason = "librdkafka's batch call is C")]

use std::ptr;
use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::ClientConfig;
use rdkafka::bindings as ffi;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::workload::{Ids, SOURCE, Shape};
use crate::support::topics::acks_of;

const BATCH: usize = 1_000;

/// Reads both topics from their beginning until every record is counted; says how long that took, from the assignment.
pub fn read_both(brokers: &str, shape: Shape) -> Duration {
    read_both_from(brokers, 0, 0, shape)
}

/// Both topics from these offsets of each partition on, `shape.records` of each.
pub fn read_both_from(brokers: &str, source: i64, acks: i64, shape: Shape) -> Duration {
    let mut readers = [
        Reader::connected(brokers, SOURCE, source, shape, shape.ids == Ids::Header),
        Reader::connected(brokers, &acks_of(SOURCE), acks, shape, false),
    ];
    let start = clock::instant();
    std::thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(|| reader.read());
        }
    });
    start.elapsed()
}

/// The same, the ACKs only when the source is read to its end: what a rebuild has to do, whoever does it.
pub fn read_in_turn(brokers: &str, shape: Shape) -> Duration {
    let mut source = Reader::connected(brokers, SOURCE, 0, shape, shape.ids == Ids::Header);
    let mut acks = Reader::connected(brokers, &acks_of(SOURCE), 0, shape, false);
    let start = clock::instant();
    source.read();
    acks.read();
    start.elapsed()
}

/// The source alone.
pub fn read_source(brokers: &str, shape: Shape) -> Duration {
    let mut source = Reader::connected(brokers, SOURCE, 0, shape, shape.ids == Ids::Header);
    let start = clock::instant();
    source.read();
    start.elapsed()
}

/// A consumer that knows its topic, and reads nothing yet: Ackwarden's are connected, too, when it is measured.
struct Reader {
    consumer: BaseConsumer,
    topic: String,
    from: i64,
    shape: Shape,
    headers: bool,
}

impl Reader {
    fn connected(brokers: &str, topic: &str, from: i64, shape: Shape, headers: bool) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "bare-reader")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "65536")
            .set("log_level", "3")
            .create()
            .expect("a consumer");
        consumer
            .fetch_metadata(Some(topic), Duration::from_secs(10))
            .expect("the topic's metadata");
        Self {
            consumer,
            topic: topic.to_owned(),
            from,
            shape,
            headers,
        }
    }

    fn read(&mut self) {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.shape.partitions {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(self.from))
                .expect("an offset");
        }
        self.consumer.assign(&list).expect("assigned");
        let mut messages = vec![ptr::null_mut(); BATCH];
        // SAFETY: the client outlives the queue, which is given back below; each message is destroyed once.
        unsafe {
            let queue = ffi::rd_kafka_queue_get_consumer(self.consumer.client().native_ptr());
            let mut left = self.shape.records;
            while left > 0 {
                // The first is waited for; behind it, what is there: else each batch that is not full takes the whole wait.
                let mut count =
                    ffi::rd_kafka_consume_batch_queue(queue, 100, messages.as_mut_ptr(), 1);
                if count > 0 {
                    count += ffi::rd_kafka_consume_batch_queue(
                        queue,
                        0,
                        messages[1..].as_mut_ptr(),
                        BATCH - 1,
                    );
                }
                let count = usize::try_from(count).expect("a count");
                for message in &messages[..count] {
                    if (**message).err == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                        left -= 1;
                        if self.headers {
                            touch_headers(*message);
                        }
                    }
                    ffi::rd_kafka_message_destroy(*message);
                }
            }
            ffi::rd_kafka_queue_destroy(queue);
        }
    }
}

/// Finds the value of the one header that there is.
unsafe fn touch_headers(message: *mut ffi::rd_kafka_message_t) {
    let mut headers = ptr::null_mut();
    let (mut value, mut size) = (ptr::null(), 0);
    // SAFETY: the message is alive, and its headers are its own.
    let found = unsafe {
        ffi::rd_kafka_message_headers(message, &raw mut headers);
        ffi::rd_kafka_header_get_last(
            headers,
            c"message-id".as_ptr(),
            &raw mut value,
            &raw mut size,
        )
    };
    assert_eq!(found, ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_eq!(std::hint::black_box(size), 36);
}
