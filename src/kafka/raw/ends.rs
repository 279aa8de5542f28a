//! Where a log ended when it was fetched last.

use std::ffi::CString;

use rdkafka::bindings as ffi;
use rdkafka::bindings::rd_kafka_resp_err_t as Err;
use rdkafka::client::{Client, ClientContext};

/// The high watermark as of the last fetch: asks nobody. `None`: not known yet.
pub fn known_end<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, the name ends with a NUL, and the two places are written to before it returns.
    let found = unsafe {
        ffi::rd_kafka_get_watermark_offsets(
            client.native_ptr(),
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (found == Err::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
