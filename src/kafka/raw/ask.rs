//! Questions of the admin API, each waited for: where logs begin and end, what topics are, and what we may do there.

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::bindings::rd_kafka_resp_err_t as Err;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::super::KafkaProblem;
use super::{List, c_string, error_text, ms, name_of};

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
            let text = text.to_string_lossy().into_owned();
            return Result::Err(match code {
                // The brokers are too old for it: asking again changes nothing.
                Err::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE
                | Err::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION => KafkaProblem::Refused(text),
                _ => KafkaProblem::Unreachable(text),
            });
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
