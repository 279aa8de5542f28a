//! Committed offsets with their metadata as bytes, and commits with the result of each partition.

use std::collections::BTreeSet;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::bindings::rd_kafka_resp_err_t as Err;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::super::KafkaProblem;
use super::{List, bytes, error_text, ms, name_of};

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
/// librdkafka (2.12) gives one partition's error to all that were committed with it, although Kafka took those. So where the
/// error is not the group's, each topic is committed again for itself, and where it is not the topic's, each half of its
/// partitions, down to the one.
///
/// # Errors
/// Nothing could be committed at all.
pub fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &[(String, i32, i64, String)],
) -> Result<Vec<Result<(), String>>, KafkaProblem> {
    let code = commit_all(consumer, offsets)?;
    if code == Err::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(vec![Ok(()); offsets.len()]);
    }
    let Some(whose) = whose(code) else {
        return Result::Err(KafkaProblem::Refused(error_text(code)));
    };
    let one_topic = offsets.iter().all(|o| o.0 == offsets[0].0);
    if offsets.len() == 1 || (one_topic && whose == Whose::Topic) {
        // librdkafka has tried some of these again by itself: not once for each partition, too.
        return Ok(vec![Result::Err(error_text(code)); offsets.len()]);
    }
    if one_topic {
        let (first, second) = offsets.split_at(offsets.len() / 2);
        let mut each = commit(consumer, first)?;
        each.extend(commit(consumer, second)?);
        return Ok(each);
    }
    let mut each = vec![Ok(()); offsets.len()];
    let topics: BTreeSet<&String> = offsets.iter().map(|o| &o.0).collect();
    for topic in topics {
        let (places, of_topic): (Vec<usize>, Vec<_>) = offsets
            .iter()
            .enumerate()
            .filter(|(_, o)| o.0 == *topic)
            .map(|(i, o)| (i, o.clone()))
            .unzip();
        for (place, result) in places.into_iter().zip(commit(consumer, &of_topic)?) {
            each[place] = result;
        }
    }
    Ok(each)
}

/// Of whom an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Topic,
    Partition,
}

/// `None`: the group's, or the connection's.
const fn whose(code: Err) -> Option<Whose> {
    match code {
        Err::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
        | Err::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | Err::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID => Some(Whose::Topic),
        Err::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE
        | Err::RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE => Some(Whose::Partition),
        _ => None,
    }
}

fn commit_all<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &[(String, i32, i64, String)],
) -> Result<Err, KafkaProblem> {
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
    Ok(unsafe { ffi::rd_kafka_commit(consumer.client().native_ptr(), list.0, 0) })
}
