//! What librdkafka knows of a record beyond its error.

use rdkafka::bindings as ffi;
use rdkafka::message::BorrowedMessage;

/// Whether it is certain that the record is in no log: it was never sent, or each time that it was, the broker said that it
/// had not taken it. An error alone does not say so: what was sent once and waits to be sent again ends with the same
/// error as what was never sent.
pub fn is_in_no_log(report: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is borrowed from librdkafka's report, which outlives this call.
    let status = unsafe { ffi::rd_kafka_message_status(report.ptr()) };
    status == ffi::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}
