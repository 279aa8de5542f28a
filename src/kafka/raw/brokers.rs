//! Which brokers a client knows.

use std::ffi::CStr;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::bindings::rd_kafka_resp_err_t as Err;
use rdkafka::client::{Client, ClientContext};

use super::ms;

/// Whether any broker answers in time, asked for the topics that the client reads or writes.
pub fn reaches_a_broker<C: ClientContext>(client: &Client<C>, timeout: Duration) -> bool {
    let mut metadata = ptr::null();
    // SAFETY: the client is alive; what it answers with is ours, and freed here.
    unsafe {
        let code = ffi::rd_kafka_metadata(
            client.native_ptr(),
            0,
            ptr::null_mut(),
            &raw mut metadata,
            ms(timeout),
        );
        if !metadata.is_null() {
            ffi::rd_kafka_metadata_destroy(metadata);
        }
        code == Err::RD_KAFKA_RESP_ERR_NO_ERROR
    }
}

/// Has the client know these brokers, too, as if they were in its `bootstrap.servers`. Gives how many of them make sense.
pub fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &CStr) -> i32 {
    // SAFETY: the client is alive; the text ends with a NUL and is copied.
    unsafe { ffi::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) }
}
