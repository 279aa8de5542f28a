//! Which brokers a client knows.

use std::ffi::CStr;

use rdkafka::bindings as ffi;
use rdkafka::client::{Client, ClientContext};

/// Has the client know these brokers, too, as if they were in its `bootstrap.servers`.
pub fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &CStr) {
    // SAFETY: the client is alive; the text ends with a NUL and is copied.
    unsafe { ffi::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
}
