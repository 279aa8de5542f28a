//! The only reader of time.
//!
//! In debug builds, which are those that the tests start, a test may let the wall clock of a running process step: while
//! [`STEP_FILE`] names a file, the number in it is added to the wall clock, in ms. The monotonic clock never steps. A
//! release build does not know of it.

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
    let wall_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    #[cfg(debug_assertions)]
    let wall_ms = wall_ms.saturating_add(step::step_ms());
    wall_ms
}

/// A point in time for measuring and waiting at the edges (never for a deadline of a message: that is `now()`).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn instant() -> Instant {
    Instant::now()
}

/// The environment variable with the path of the file that a test writes a step of the wall clock to.
pub const STEP_FILE: &str = "ACKWARDEN_TEST_CLOCK_STEP_FILE";

#[cfg(debug_assertions)]
mod step {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::time::Instant;

    /// The file is looked at this often, and not with each look at the clock.
    const LOOK_EVERY_MS: u64 = 20;

    /// What is to be added to the wall clock: 0 unless a test wrote another number.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn step_ms() -> i64 {
        static FILE: OnceLock<Option<(PathBuf, Instant)>> = OnceLock::new();
        static LOOK_AGAIN_MS: AtomicU64 = AtomicU64::new(0);
        static STEP_MS: AtomicI64 = AtomicI64::new(0);
        let file = FILE.get_or_init(|| {
            let path = std::env::var_os(super::STEP_FILE)?;
            Some((path.into(), Instant::now()))
        });
        let Some((path, start)) = file else {
            return 0;
        };
        let now_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now_ms >= LOOK_AGAIN_MS.load(Ordering::Relaxed) {
            LOOK_AGAIN_MS.store(now_ms.saturating_add(LOOK_EVERY_MS), Ordering::Relaxed);
            let text = std::fs::read_to_string(path).unwrap_or_default();
            STEP_MS.store(text.trim().parse().unwrap_or(0), Ordering::Relaxed);
        }
        STEP_MS.load(Ordering::Relaxed)
    }
}
