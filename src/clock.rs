//! The only reader of time.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::core::Now;

/// Both clocks, read together. `mono_ms` counts from the first call in this process, from 1 on.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let mono_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Now {
        mono_ms: mono_ms.saturating_add(1),
        wall_ms: wall_ms(),
    }
}

/// The wall clock, ms since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// A point in time for measuring and waiting at the edges (never for a deadline of a message: that is `now()`).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn instant() -> Instant {
    Instant::now()
}
