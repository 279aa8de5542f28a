//! How late the machine is: a thread that wants to sleep for 20 ms, and notes when it was much longer.
//!
//! What is in flight when an ACK comes is a matter of hand-overs between threads and processes. On a machine that has more
//! to do than processors, each of them waits for its turn, and "a second at most" would be a statement about the machine.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ::ackwarden::clock;

use super::judge_time::{Standstills, Window};

const SLEEP: Duration = Duration::from_millis(20);
/// From here on, a few hand-overs one after the other take longer than the judges' second.
const LATE: Duration = Duration::from_millis(100);
/// How long it is felt: as many hand-overs, and the rest of a publish's own timeout.
const FELT_MS: i64 = 4_000;

static SEEN: Mutex<Vec<Window>> = Mutex::new(Vec::new());

/// Begins to watch; once for a process.
pub fn watch() {
    static WATCHED: OnceLock<()> = OnceLock::new();
    WATCHED.get_or_init(|| {
        std::thread::spawn(|| {
            loop {
                let before = clock::instant();
                std::thread::sleep(SLEEP);
                let took = before.elapsed();
                if took >= SLEEP + LATE {
                    let to_ms = clock::wall_ms();
                    let from_ms = to_ms - i64::try_from(took.as_millis()).unwrap_or(0);
                    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push(Window { from_ms, to_ms });
                }
            }
        });
    });
}

/// When the machine itself was late, since `watch`.
pub fn standstills() -> Standstills {
    Standstills {
        windows: SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        settling_ms: FELT_MS,
    }
}
