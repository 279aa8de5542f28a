//! The only unsafe code: what rust-rdkafka does not offer, or does with a panic.
//!
//! Batches of messages from a consumer's queue, with headers as bytes (`batch`); committed offsets whose metadata is
//! anybody's bytes, and commits with the result of each partition (`offsets`); questions of the admin API (`ask`); which
//! brokers a client knows (`brokers`); whether a record that failed may be in the log all the same (`report`); what the
//! allocator does with librdkafka's memory (`memory`).
//! Everything is borrowed or copied before its owner is freed; no pointer leaves this folder.
#![allow(unsafe_code)]

mod ask;
mod batch;
mod brokers;
mod memory;
mod offsets;
mod report;

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::bindings::rd_kafka_resp_err_t as Err;

use super::KafkaProblem;

pub use ask::{At, Rights, cluster_id, describe_topics, group_rights, list_offsets};
pub use batch::{BatchQueue, Item, Waker};
pub use brokers::add_brokers;
pub use memory::keep_freed_memory;
pub use offsets::{Committed, commit, committed};
pub use report::is_in_no_log;

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

/// # Safety
/// `start` is null, or `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const u8, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    Some(unsafe { std::slice::from_raw_parts(start, len) })
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
