//! What a decoder reads from the headers that the core wants on a copy.

use ackwarden::core::CopyMark;
use ackwarden::core::effect::Headers;

#[allow(clippy::expect_used, reason = "only a dead letter has none")]
pub fn mark_of(headers: &Headers) -> CopyMark {
    CopyMark {
        by_us: true,
        attempt: headers.attempt,
        origin: headers.origin,
        origin_timestamp_ms: headers.origin_timestamp_ms,
        deliveries: headers.deliveries.clone(),
        cause: headers.cause.expect("a copy has a cause"),
    }
}
