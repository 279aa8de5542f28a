//! The headers of a consumed record as bytes. rust-rdkafka hands out names as `&str` and panics on others, so this one
//! file goes to librdkafka's own functions.

#![allow(unsafe_code, reason = "librdkafka's header functions are C")]

use std::ffi::CStr;
use std::os::raw::{c_char, c_void};
use std::ptr;

use rdkafka::bindings::{
    rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_headers, rd_kafka_resp_err_t,
};
use rdkafka::message::BorrowedMessage;

/// Name and value; the value may be null.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// All headers, in order, duplicates included. A name ends at its first NUL: librdkafka shows no more of it.
pub fn headers_of(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let mut list: *mut rd_kafka_headers_t = ptr::null_mut();
    // SAFETY: the message is alive for the whole function, and the list belongs to it.
    let found = unsafe { rd_kafka_message_headers(message.ptr(), &raw mut list) };
    if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Vec::new();
    }
    let mut headers = Vec::new();
    loop {
        let mut name: *const c_char = ptr::null();
        let mut value: *const c_void = ptr::null();
        let mut size = 0;
        // SAFETY: the list is alive; on success librdkafka fills in a NUL-terminated name and `size` bytes of value, or
        // a null pointer, all owned by the message; they are copied before it goes.
        unsafe {
            let found = rd_kafka_header_get_all(
                list,
                headers.len(),
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return headers;
            }
            headers.push((
                CStr::from_ptr(name).to_bytes().to_vec(),
                (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast(), size).to_vec()),
            ));
        }
    }
}
