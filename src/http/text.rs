//! How times, positions and causes are written.

use std::time::{Duration, UNIX_EPOCH};

use crate::core::view::ShownCause;
use crate::core::{Cause, CauseKind, LogPosition};

/// The last millisecond of the year 9999: RFC 3339 has four digits for a year.
pub const TIME_MS_MAX: i64 = 253_402_300_799_999;

/// RFC 3339, UTC, with milliseconds. What lies outside of 1970 to 9999 is shown as the nearer end.
#[must_use]
pub fn time(wall_ms: i64) -> String {
    let ms = wall_ms.clamp(0, TIME_MS_MAX).unsigned_abs();
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// `topic/partition/offset`.
#[must_use]
pub fn position(topic: &str, at: LogPosition) -> String {
    crate::wire::position::format(topic, at.partition, at.offset)
}

/// As the `ackwarden-cause` header says it: the kind, and the record that asked for it, if one did.
#[must_use]
pub fn cause(cause: Cause, ack_topic: &str) -> String {
    let kind = cause_kind(cause.kind);
    match cause.record {
        Some(at) => format!("{kind} {}", position(ack_topic, at)),
        None => kind.to_owned(),
    }
}

#[must_use]
pub const fn cause_kind(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::Timeout => "timeout",
        CauseKind::Nack => "nack",
        CauseKind::Operator => "operator",
    }
}

#[must_use]
pub fn shown_cause(shown: ShownCause, ack_topic: &str) -> String {
    match shown {
        ShownCause::Delivery(c) => cause(c, ack_topic),
        ShownCause::DeadLetter(c) => c.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_milliseconds_and_no_value_panics() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(i64::MIN), time(0));
        assert_eq!(time(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
