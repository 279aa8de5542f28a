//! Keeps the readers of the sources beside those of the ACKs while both have much to catch up with.
//!
//! A message is outstanding from when it is read to when its ACK is read. Left alone, the sources run ahead, and after a
//! while of standing still millions are outstanding for a moment: each look-up waits for memory then, and takes twice as
//! long. So a source's reader waits a little while there is clearly more to be read of the ACKs than of the sources. It
//! never waits for long, nor for ACKs that do not come: it is a matter of speed alone.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock;

/// So many records more may wait on the ACK topics than on the sources before a source's reader waits.
const LEAD: i64 = 30_000;
/// It waits for each of its batches that long at most: 200,000 records a second go on in any case.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// ACKs of which nothing came for that long are not waited for, ms.
const STANDS_STILL_MS: u64 = 10;
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// How far all readers of a kind are behind, in records.
#[derive(Debug, Default)]
pub struct Pace {
    sources: AtomicI64,
    acks: AtomicI64,
    /// When ACKs were read last, monotonic ms.
    acks_read_ms: AtomicU64,
}

/// One reader's part in it.
#[derive(Debug, Default)]
pub(super) struct Part(i64);

impl Part {
    fn tell(&mut self, behind: u64, all: &AtomicI64) {
        let behind = i64::try_from(behind).unwrap_or(i64::MAX / 4);
        all.fetch_add(behind - self.0, Ordering::Relaxed);
        self.0 = behind;
    }
}

impl Pace {
    pub(super) fn acks_are_behind(&self, part: &mut Part, records: u64) {
        part.tell(records, &self.acks);
        self.acks_read_ms
            .store(clock::now().mono_ms, Ordering::Relaxed);
    }

    pub(super) fn sources_are_behind(&self, part: &mut Part, records: u64) {
        part.tell(records, &self.sources);
        let began = clock::instant();
        while self.is_ahead() && began.elapsed() < WAIT_MAX {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn is_ahead(&self) -> bool {
        let more = self.acks.load(Ordering::Relaxed) - self.sources.load(Ordering::Relaxed);
        more > LEAD
            && clock::now().mono_ms < self.acks_read_ms.load(Ordering::Relaxed) + STANDS_STILL_MS
    }
}
