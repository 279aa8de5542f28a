//! Messages in batches from a consumer's queue, their headers as bytes: a name need not be UTF-8, and one visit is enough
//! for most.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::bindings::rd_kafka_resp_err_t as Err;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::{bytes, error_text, ms};
use crate::ports::{HeaderVisitor, RawHeaders, RawRecord};

/// One thing that a consumer's queue holds.
pub enum Item<'a> {
    Record(RawRecord<'a>),
    /// The end of a partition, as the broker sees it for our isolation level: markers count.
    End {
        topic: &'a str,
        partition: i32,
        offset: i64,
    },
    Problem {
        topic: &'a str,
        partition: i32,
        code: Err,
        text: String,
    },
    /// A line of the client's log: of a client that is never polled, complaints come here alone.
    Said {
        level: i32,
        facility: &'a str,
        text: &'a str,
    },
}

/// Log lines looked at before each batch, at most.
const SAID_MAX: usize = 100;

/// The queue of an assigned (never subscribed) consumer, read in batches.
pub struct BatchQueue {
    client: *mut ffi::rd_kafka_t,
    queue: *mut ffi::rd_kafka_queue_t,
    /// Where the client's log lines go: the batch call would leave them to librdkafka's own printer.
    log: *mut ffi::rd_kafka_queue_t,
    messages: Vec<*mut ffi::rd_kafka_message_t>,
    waker: Waker,
}

/// Ends the wait of a [`BatchQueue`] from another thread; does nothing once that is gone.
#[derive(Clone)]
pub struct Waker(Arc<Mutex<Option<Waited>>>);

struct Waited(*mut ffi::rd_kafka_queue_t);

// SAFETY: as for `BatchQueue`; the pointer is used under the lock, and taken away before the queue goes.
unsafe impl Send for Waited {}

impl Waker {
    /// The wait under way ends, or the next one.
    pub fn wake(&self) {
        let waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Waited(queue)) = &*waited {
            // SAFETY: the queue is alive for as long as it is in here.
            unsafe { ffi::rd_kafka_queue_yield(*queue) };
        }
    }
}

// SAFETY: librdkafka's queues may be used from any thread; we use this one from one at a time.
unsafe impl Send for BatchQueue {}

impl BatchQueue {
    /// At most `batch_max` messages at a time. The consumer must outlive it.
    pub fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>, batch_max: usize) -> Self {
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive; both queues are counted references, given back in `drop`.
        let (queue, log) = unsafe {
            let log = ffi::rd_kafka_queue_new(client);
            ffi::rd_kafka_set_log_queue(client, log);
            (ffi::rd_kafka_queue_get_consumer(client), log)
        };
        Self {
            client,
            queue,
            log,
            messages: vec![ptr::null_mut(); batch_max.max(2)],
            waker: Waker(Arc::new(Mutex::new(Some(Waited(queue))))),
        }
    }

    /// Wakes whoever waits in [`take`](Self::take).
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits up to `timeout`, or until woken, for the first item, then takes what is there without waiting. Gives the number of
    /// records, ends and problems; log lines come before them.
    pub fn take(&mut self, timeout: Duration, mut visit: impl FnMut(Item<'_>)) -> usize {
        self.take_log(&mut visit);
        let first = self.consume(0, 1, timeout);
        if first == 0 {
            return 0;
        }
        let room = self.messages.len() - 1;
        let count = 1 + self.consume(1, room, Duration::ZERO);
        let mut last = LastName::default();
        for message in &self.messages[..count] {
            // SAFETY: librdkafka filled the first `count` places with messages that are ours until destroyed below;
            // what the visitor gets borrows from them and cannot outlive the call.
            unsafe {
                visit(item(&**message, &mut last));
                ffi::rd_kafka_message_destroy(*message);
            }
        }
        count
    }

    fn take_log(&self, visit: &mut impl FnMut(Item<'_>)) {
        for _ in 0..SAID_MAX {
            // SAFETY: the event is ours until destroyed; what the visitor gets lives as long and cannot outlive the call.
            unsafe {
                let event = ffi::rd_kafka_queue_poll(self.log, 0);
                if event.is_null() {
                    return;
                }
                let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
                let found = ffi::rd_kafka_event_log(
                    event,
                    &raw mut facility,
                    &raw mut text,
                    &raw mut level,
                );
                if found == 0 {
                    visit(Item::Said {
                        level,
                        facility: &CStr::from_ptr(facility).to_string_lossy(),
                        text: &CStr::from_ptr(text).to_string_lossy(),
                    });
                }
                ffi::rd_kafka_event_destroy(event);
            }
        }
    }

    fn consume(&mut self, from: usize, room: usize, timeout: Duration) -> usize {
        // The whole wait is spent where a batch is not full, hence one message first.
        // SAFETY: `from + room` is within the vector.
        let n = unsafe {
            ffi::rd_kafka_consume_batch_queue(
                self.queue,
                ms(timeout),
                self.messages[from..from + room].as_mut_ptr(),
                room,
            )
        };
        usize::try_from(n).unwrap_or(0)
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        let mut waited = self.waker.0.lock().unwrap_or_else(PoisonError::into_inner);
        *waited = None;
        // SAFETY: our references from `new`; the client outlives us, and forgets the log's before it goes.
        unsafe {
            ffi::rd_kafka_set_log_queue(self.client, ptr::null_mut());
            ffi::rd_kafka_queue_destroy(self.log);
            ffi::rd_kafka_queue_destroy(self.queue);
        }
    }
}

struct MessageHeaders(*const ffi::rd_kafka_message_t);

impl RawHeaders for MessageHeaders {
    fn visit(&self, visitor: &mut HeaderVisitor<'_>) {
        // SAFETY: the message is alive for as long as this borrows it.
        if unsafe { surely_has_no_headers(&*self.0) } {
            return;
        }
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive for as long as this borrows it; names end with a NUL, values have a length, and
        // both live as long as the message.
        unsafe {
            let found = ffi::rd_kafka_message_headers(self.0, &raw mut headers);
            if found != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            for i in 0.. {
                let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
                let found = ffi::rd_kafka_header_get_all(
                    headers,
                    i,
                    &raw mut name,
                    &raw mut value,
                    &raw mut size,
                );
                if found != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return;
                }
                let name = CStr::from_ptr(name).to_bytes();
                let value = bytes(value.cast(), size);
                if visitor(name, value) == ControlFlow::Break(()) {
                    return;
                }
            }
        }
    }
}

/// Whether the record says that it has no headers, without having librdkafka parse them: that takes it two allocations
/// and as long as all the rest of a record. `false` where it does not stand where it can be seen.
///
/// A record of the format that Kafka has written since 0.11 lies in the message's buffer as it was fetched, or
/// unpacked: `… key length, key, value length, value, number of headers, …`, the lengths and the number as zigzag
/// varints. So the byte behind the value is 0 if there are no headers. Where the value is null or empty, it is the
/// second behind the key.
///
/// # Safety
/// The message came from librdkafka and is alive.
unsafe fn surely_has_no_headers(message: &ffi::rd_kafka_message_t) -> bool {
    const NONE: u8 = 0;
    // Zigzag: -1 is null, 0 is empty.
    const NULL_VALUE: u8 = 1;
    const EMPTY_VALUE: u8 = 0;
    // SAFETY: only the current format has a leader epoch; in it, the byte that counts headers is part of the record
    // (librdkafka refuses one that is longer than its buffer, and the broker one without it). What is empty does not lie
    // in the buffer, hence the lengths.
    unsafe {
        if ffi::rd_kafka_message_leader_epoch(message) < 0 {
            return false;
        }
        if message.len > 0 {
            let value = message.payload.cast::<u8>();
            return *value.add(message.len) == NONE;
        }
        if message.key_len > 0 {
            let behind = message.key.cast::<u8>().add(message.key_len);
            let length = if message.payload.is_null() {
                NULL_VALUE
            } else {
                EMPTY_VALUE
            };
            return *behind == length && *behind.add(1) == NONE;
        }
        false
    }
}

/// The topic's name of the message before: nearly always the same.
#[derive(Clone, Copy)]
struct LastName<'a> {
    topic: *const ffi::rd_kafka_topic_t,
    name: &'a str,
}

impl Default for LastName<'_> {
    fn default() -> Self {
        Self {
            topic: ptr::null(),
            name: "",
        }
    }
}

/// # Safety
/// The message came from librdkafka and is not destroyed while the item lives; `last` is of messages that were taken
/// from the queue together with this one.
unsafe fn item<'a>(message: &'a ffi::rd_kafka_message_t, last: &mut LastName<'a>) -> Item<'a> {
    if !ptr::eq(message.rkt, last.topic) {
        // SAFETY: a message of a queue names its topic; the name lives as long as any message holds the topic, and this
        // one does.
        let name = unsafe {
            if message.rkt.is_null() {
                ""
            } else {
                CStr::from_ptr(ffi::rd_kafka_topic_name(message.rkt))
                    .to_str()
                    .unwrap_or("")
            }
        };
        *last = LastName {
            topic: message.rkt,
            name,
        };
    }
    let topic = last.name;
    match message.err {
        Err::RD_KAFKA_RESP_ERR_NO_ERROR => {
            // The borrow below must live as long as the item: it does, since the message does.
            let headers: &dyn RawHeaders = unsafe { message_headers(message) };
            let mut kind = ffi::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: payload and key are null or have their lengths, and live as long as the message.
            unsafe {
                Item::Record(RawRecord {
                    topic,
                    partition: message.partition,
                    offset: message.offset,
                    timestamp_ms: ffi::rd_kafka_message_timestamp(message, &raw mut kind),
                    key: bytes(message.key.cast(), message.key_len),
                    value: bytes(message.payload.cast(), message.len),
                    headers,
                })
            }
        }
        Err::RD_KAFKA_RESP_ERR__PARTITION_EOF => Item::End {
            topic,
            partition: message.partition,
            offset: message.offset,
        },
        code => {
            // SAFETY: of an error, the payload is its text.
            let text = unsafe { bytes(message.payload.cast(), message.len) }
                .map(|text| String::from_utf8_lossy(text).into_owned());
            Item::Problem {
                topic,
                partition: message.partition,
                code,
                text: text.unwrap_or_else(|| error_text(code)),
            }
        }
    }
}

/// The headers of a message, without a box: the message itself, seen as its headers.
///
/// # Safety
/// As for [`item`].
unsafe fn message_headers(message: &ffi::rd_kafka_message_t) -> &dyn RawHeaders {
    // SAFETY: `Seen` is transparent over the message.
    unsafe { &*(ptr::from_ref(message).cast::<Seen>()) }
}

#[repr(transparent)]
struct Seen(ffi::rd_kafka_message_t);

impl RawHeaders for Seen {
    fn visit(&self, visitor: &mut HeaderVisitor<'_>) {
        MessageHeaders(&raw const self.0).visit(visitor);
    }
}

// ------------------------------------------------------------------------------------------------- lists
