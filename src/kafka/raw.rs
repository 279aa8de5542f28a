//! The only unsafe code: what rust-rdkafka does not offer, or does with a panic.
//!
//! Batches of messages from a consumer's queue; headers as bytes (a name need not be UTF-8); `ListOffsets` over all
//! partitions with an isolation level; committed offsets whose metadata is anybody's bytes; commits with the result of
//! each partition; topic ids. Everything is borrowed or copied before its owner is freed; no pointer leaves this file.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::ops::ControlFlow;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::bindings::rd_kafka_resp_err_t as Err;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::KafkaProblem;
use crate::ports::{HeaderVisitor, RawHeaders, RawRecord};

/// What librdkafka's error code means, in its own words.
pub fn error_text(code: Err) -> String {
    // SAFETY: returns a static string for every code.
    let text = unsafe { CStr::from_ptr(ffi::rd_kafka_err2str(code)) };
    text.to_string_lossy().into_owned()
}

fn ms(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

// ------------------------------------------------------------------------------------------------- batches

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
        }
    }

    /// Waits up to `timeout` for the first item, then takes what is there without waiting. Gives the number of
    /// records, ends and problems; log lines come before them.
    pub fn take(&mut self, timeout: Duration, mut visit: impl FnMut(Item<'_>)) -> usize {
        self.take_log(&mut visit);
        let first = self.consume(0, 1, timeout);
        if first == 0 {
            return 0;
        }
        let room = self.messages.len() - 1;
        let count = 1 + self.consume(1, room, Duration::ZERO);
        for message in &self.messages[..count] {
            // SAFETY: librdkafka filled the first `count` places with messages that are ours until destroyed below;
            // what the visitor gets borrows from them and cannot outlive the call.
            unsafe {
                visit(item(&**message));
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

/// # Safety
/// `start` is null, or `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const u8, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    Some(unsafe { std::slice::from_raw_parts(start, len) })
}

/// # Safety
/// The message came from librdkafka and is not destroyed while the item lives.
unsafe fn item(message: &ffi::rd_kafka_message_t) -> Item<'_> {
    // SAFETY: a message of a queue names its topic; the name lives as long as the message holds the topic.
    let topic = unsafe {
        if message.rkt.is_null() {
            ""
        } else {
            CStr::from_ptr(ffi::rd_kafka_topic_name(message.rkt))
                .to_str()
                .unwrap_or("")
        }
    };
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

/// A list of topic partitions that is ours.
struct List(*mut ffi::rd_kafka_topic_partition_list_t);

impl List {
    fn new() -> Self {
        // SAFETY: freed in `drop`.
        Self(unsafe { ffi::rd_kafka_topic_partition_list_new(8) })
    }

    /// # Errors
    /// A topic name with a NUL in it.
    fn add(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<&mut ffi::rd_kafka_topic_partition_t, KafkaProblem> {
        let name = c_string(topic)?;
        // SAFETY: the list copies the name; the element lives until the list grows, and the borrow ends before.
        unsafe {
            Ok(&mut *ffi::rd_kafka_topic_partition_list_add(
                self.0,
                name.as_ptr(),
                partition,
            ))
        }
    }

    fn elements(&self) -> &[ffi::rd_kafka_topic_partition_t] {
        // SAFETY: a list has `cnt` elements; null where there are none.
        unsafe {
            let list = &*self.0;
            if list.elems.is_null() {
                return &[];
            }
            std::slice::from_raw_parts(list.elems, usize::try_from(list.cnt).unwrap_or(0))
        }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: ours; its metadata was allocated by librdkafka's allocator.
        unsafe { ffi::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

fn c_string(text: &str) -> Result<CString, KafkaProblem> {
    CString::new(text).map_err(|_| KafkaProblem::Refused(format!("{text:?} has a NUL in it")))
}

fn name_of(element: &ffi::rd_kafka_topic_partition_t) -> String {
    // SAFETY: an element of a list has a name that ends with a NUL.
    unsafe { CStr::from_ptr(element.topic) }
        .to_string_lossy()
        .into_owned()
}

/// A committed offset, and what was committed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub topic: String,
    pub partition: i32,
    /// `None`: nothing is committed.
    pub offset: Option<i64>,
    pub metadata: Vec<u8>,
}

/// # Errors
/// Kafka did not answer, or refused (without DESCRIBE on the group it says "timed out").
pub fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(String, i32)],
    timeout: Duration,
) -> Result<Vec<Committed>, KafkaProblem> {
    let mut list = List::new();
    for (topic, partition) in partitions {
        list.add(topic, *partition)?;
    }
    // SAFETY: client and list are alive.
    let code =
        unsafe { ffi::rd_kafka_committed(consumer.client().native_ptr(), list.0, ms(timeout)) };
    if code != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Result::Err(KafkaProblem::Unreachable(format!(
            "the group's committed offsets: {} (if it stays so: has the user READ on the group?)",
            error_text(code)
        )));
    }
    list.elements()
        .iter()
        .map(|e| {
            if e.err != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Result::Err(KafkaProblem::Refused(format!(
                    "the committed offset of {}/{}: {}",
                    name_of(e),
                    e.partition,
                    error_text(e.err)
                )));
            }
            // SAFETY: metadata is null or has its length.
            let metadata = unsafe { bytes(e.metadata.cast(), e.metadata_size) };
            Ok(Committed {
                topic: name_of(e),
                partition: e.partition,
                offset: (e.offset >= 0).then_some(e.offset),
                metadata: metadata.unwrap_or_default().to_vec(),
            })
        })
        .collect()
}

/// Commits, and waits. The result of each partition, in order.
///
/// # Errors
/// Nothing could be committed at all.
pub fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &[(String, i32, i64, String)],
) -> Result<Vec<Result<(), String>>, KafkaProblem> {
    let mut list = List::new();
    for (topic, partition, offset, metadata) in offsets {
        let element = list.add(topic, *partition)?;
        element.offset = *offset;
        // SAFETY: allocated by librdkafka's allocator, which frees it with the list; filled to its length.
        unsafe {
            let copy = ffi::rd_kafka_mem_malloc(ptr::null_mut(), metadata.len().max(1));
            ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast::<u8>(), metadata.len());
            element.metadata = copy;
            element.metadata_size = metadata.len();
        }
    }
    // SAFETY: client and list are alive.
    let code = unsafe { ffi::rd_kafka_commit(consumer.client().native_ptr(), list.0, 0) };
    let each: Vec<Result<(), String>> = list
        .elements()
        .iter()
        .map(|e| match e.err {
            Err::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Result::Err(error_text(code)),
        })
        .collect();
    if code != Err::RD_KAFKA_RESP_ERR_NO_ERROR && each.iter().all(Result::is_ok) {
        return Result::Err(KafkaProblem::Refused(error_text(code)));
    }
    Ok(each)
}

// ------------------------------------------------------------------------------------------------- admin

/// An answer of the admin API, freed when dropped.
struct Answer {
    event: *mut ffi::rd_kafka_event_t,
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: ours from `rd_kafka_queue_poll`.
        unsafe { ffi::rd_kafka_event_destroy(self.event) };
    }
}

/// What a question is asked with.
enum With {
    Nothing,
    Isolation(ffi::rd_kafka_IsolationLevel_t),
    /// What we may do there is told too.
    Rights,
}

/// Asks one question of the admin API and waits for the answer.
fn ask<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    op: ffi::rd_kafka_admin_op_t,
    timeout: Duration,
    with: With,
    send: impl FnOnce(
        *mut ffi::rd_kafka_t,
        *const ffi::rd_kafka_AdminOptions_t,
        *mut ffi::rd_kafka_queue_t,
    ),
) -> Result<Answer, KafkaProblem> {
    let client = consumer.client().native_ptr();
    // SAFETY: options and queue are ours and freed below; the answer is awaited before the queue goes.
    unsafe {
        let options = ffi::rd_kafka_AdminOptions_new(client, op);
        let mut text = [0 as c_char; 256];
        ffi::rd_kafka_AdminOptions_set_request_timeout(
            options,
            ms(timeout),
            text.as_mut_ptr(),
            text.len(),
        );
        let error = match with {
            With::Nothing => std::ptr::null_mut(),
            With::Isolation(level) => {
                ffi::rd_kafka_AdminOptions_set_isolation_level(options, level)
            }
            With::Rights => {
                ffi::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1)
            }
        };
        if !error.is_null() {
            ffi::rd_kafka_error_destroy(error);
        }
        let queue = ffi::rd_kafka_queue_new(client);
        send(client, options, queue);
        let event = ffi::rd_kafka_queue_poll(queue, ms(timeout) + 500);
        ffi::rd_kafka_AdminOptions_destroy(options);
        ffi::rd_kafka_queue_destroy(queue);
        if event.is_null() {
            return Result::Err(KafkaProblem::Unreachable("no answer in time".to_owned()));
        }
        let answer = Answer { event };
        let code = ffi::rd_kafka_event_error(event);
        if code != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
            let text = CStr::from_ptr(ffi::rd_kafka_event_error_string(event));
            return Result::Err(KafkaProblem::Unreachable(
                text.to_string_lossy().into_owned(),
            ));
        }
        Ok(answer)
    }
}

/// Where an offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Earliest,
    Latest,
    /// The first record at or after it, ms since the epoch.
    Timestamp(i64),
}

/// One `ListOffsets` over all partitions, as `read_uncommitted` (or `read_committed`) sees them, in the order asked.
///
/// # Errors
/// No answer, or one that does not name every partition.
pub fn list_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(String, i32)],
    at: At,
    committed_only: bool,
    timeout: Duration,
) -> Result<Vec<Result<i64, String>>, KafkaProblem> {
    let mut list = List::new();
    for (topic, partition) in partitions {
        list.add(topic, *partition)?.offset = match at {
            At::Earliest => {
                i64::from(ffi::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i32)
            }
            At::Latest => i64::from(ffi::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i32),
            At::Timestamp(ms) => ms.max(0),
        };
    }
    let isolation = if committed_only {
        ffi::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
    } else {
        ffi::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
    };
    let answer = ask(
        consumer,
        ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
        timeout,
        With::Isolation(isolation),
        // SAFETY: all of them are alive for the call; the list is copied.
        |client, options, queue| unsafe {
            ffi::rd_kafka_ListOffsets(client, list.0, options, queue);
        },
    )?;
    let mut found: Vec<(String, i32, Result<i64, String>)> = Vec::new();
    // SAFETY: result and infos live as long as the event.
    unsafe {
        let result = ffi::rd_kafka_event_ListOffsets_result(answer.event);
        let mut count = 0;
        let infos = ffi::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        for i in 0..count {
            let element = &*ffi::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(i));
            let offset = match element.err {
                Err::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(element.offset),
                code => Result::Err(error_text(code)),
            };
            found.push((name_of(element), element.partition, offset));
        }
    }
    partitions
        .iter()
        .map(|(topic, partition)| {
            found
                .iter()
                .find(|(t, p, _)| t == topic && p == partition)
                .map(|(_, _, offset)| offset.clone())
                .ok_or_else(|| {
                    KafkaProblem::Unreachable(format!("no offset was told of {topic}/{partition}"))
                })
        })
        .collect()
}

/// What a topic is, beyond its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// In Kafka's text form; `None` where the broker does not tell (before 2.8, or not allowed).
    pub id: Option<String>,
    pub rights: Option<Rights>,
}

/// What we may do with a topic or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub read: bool,
    pub write: bool,
}

impl Rights {
    /// `None`: not told. Whoever may do nothing is not told anything either, so an empty list is no answer.
    fn of(operations: &[ffi::rd_kafka_AclOperation_t]) -> Option<Self> {
        use ffi::rd_kafka_AclOperation_t as Op;
        let has =
            |op| operations.contains(&op) || operations.contains(&Op::RD_KAFKA_ACL_OPERATION_ALL);
        (!operations.is_empty()).then(|| Self {
            read: has(Op::RD_KAFKA_ACL_OPERATION_READ),
            write: has(Op::RD_KAFKA_ACL_OPERATION_WRITE),
        })
    }
}

/// Topics as the broker describes them, in the order asked; with what we may do there, if asked for.
///
/// # Errors
/// No answer at all: the broker may be too old, or away.
pub fn describe_topics<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    with_rights: bool,
    timeout: Duration,
) -> Result<Vec<Described>, KafkaProblem> {
    let names: Vec<CString> = topics
        .iter()
        .map(|t| c_string(t))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|n| n.as_ptr()).collect();
    // SAFETY: the collection copies the names; freed below.
    let collection = unsafe {
        ffi::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len())
    };
    let answer = ask(
        consumer,
        ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        timeout,
        if with_rights {
            With::Rights
        } else {
            With::Nothing
        },
        // SAFETY: all of them are alive for the call.
        |client, options, queue| unsafe {
            ffi::rd_kafka_DescribeTopics(client, collection, options, queue);
        },
    );
    // SAFETY: ours, and not used any more.
    unsafe { ffi::rd_kafka_TopicCollection_destroy(collection) };
    let answer = answer?;
    let mut found: Vec<(String, Described)> = Vec::new();
    // SAFETY: result, descriptions, their strings and lists live as long as the event.
    unsafe {
        let result = ffi::rd_kafka_event_DescribeTopics_result(answer.event);
        let mut count = 0;
        let all = ffi::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for i in 0..count {
            let description = *all.add(i);
            let name = CStr::from_ptr(ffi::rd_kafka_TopicDescription_name(description));
            let error = ffi::rd_kafka_TopicDescription_error(description);
            let failed = !error.is_null()
                && ffi::rd_kafka_error_code(error) != Err::RD_KAFKA_RESP_ERR_NO_ERROR;
            let id = ffi::rd_kafka_TopicDescription_topic_id(description);
            let id = (!failed && !id.is_null())
                .then(|| CStr::from_ptr(ffi::rd_kafka_Uuid_base64str(id)))
                .map(|id| id.to_string_lossy().into_owned())
                // All zeros: the broker has none.
                .filter(|id| !id.trim_matches('A').trim_matches('=').is_empty());
            let mut operations = 0;
            let list = ffi::rd_kafka_TopicDescription_authorized_operations(
                description,
                &raw mut operations,
            );
            let rights = operations_in(list, operations);
            let rights = Rights::of(rights).filter(|_| !failed);
            found.push((
                name.to_string_lossy().into_owned(),
                Described { id, rights },
            ));
        }
    }
    let of = |topic: &&str| found.iter().find(|(name, _)| name == topic);
    let described = topics.iter().map(|t| of(t).map(|(_, d)| d.clone()));
    Ok(described.map(Option::unwrap_or_default).collect())
}

/// What we may do with a group; `None`: not told.
///
/// # Errors
/// No answer at all: the broker may be too old, or away.
pub fn group_rights<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    group: &str,
    timeout: Duration,
) -> Result<Option<Rights>, KafkaProblem> {
    let name = c_string(group)?;
    let mut names = [name.as_ptr()];
    let answer = ask(
        consumer,
        ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        timeout,
        With::Rights,
        // SAFETY: all of them are alive for the call, which copies the names.
        |client, options, queue| unsafe {
            ffi::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), 1, options, queue);
        },
    )?;
    // SAFETY: result, description and list live as long as the event.
    unsafe {
        let result = ffi::rd_kafka_event_DescribeConsumerGroups_result(answer.event);
        let mut count = 0;
        let all = ffi::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Ok(None);
        }
        let mut operations = 0;
        let list =
            ffi::rd_kafka_ConsumerGroupDescription_authorized_operations(*all, &raw mut operations);
        Ok(Rights::of(operations_in(list, operations)))
    }
}

/// # Safety
/// `list` has `count` entries, or is null.
unsafe fn operations_in<'a>(
    list: *const ffi::rd_kafka_AclOperation_t,
    count: usize,
) -> &'a [ffi::rd_kafka_AclOperation_t] {
    if list.is_null() {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(list, count) }
}

/// The cluster's id; `None` if it is not known in time.
pub fn cluster_id<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    timeout: Duration,
) -> Option<String> {
    // SAFETY: the string is ours and freed by librdkafka's allocator.
    unsafe {
        let client = consumer.client().native_ptr();
        let id = ffi::rd_kafka_clusterid(client, ms(timeout));
        if id.is_null() {
            return None;
        }
        let text = CStr::from_ptr(id).to_string_lossy().into_owned();
        ffi::rd_kafka_mem_free(client, id.cast());
        Some(text)
    }
}

/// Puts a client into the state that a fatal error leaves it in; for tests.
pub fn provoke_fatal_error<C: rdkafka::ClientContext>(client: &rdkafka::client::Client<C>) {
    // SAFETY: the client is alive; the text ends with a NUL and is copied.
    unsafe {
        ffi::rd_kafka_test_fatal_error(
            client.native_ptr(),
            Err::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            c"provoked".as_ptr(),
        );
    }
}
