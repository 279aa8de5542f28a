//! The count of the demo: what an observer saw, not what the coordinator says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::DemoError;

/// The verdict. Its text is the last line of the demo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Confirmed to Service A by the broker.
    pub sent: u64,
    /// Of those, how many Service B has processed at least once.
    pub processed: u64,
    /// How often Service B was killed.
    pub kills: u64,
    /// Copies seen on the source topic.
    pub retries: u64,
    /// How often Service B processed what it had processed before.
    pub duplicates: u64,
}

impl Tally {
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.processed)
    }

    /// Something was sent, and nothing of it was lost.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.sent > 0 && self.lost() == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {}, processed {}, lost {}, kills {}, retries {}, duplicates {}",
            self.sent,
            self.processed,
            self.lost(),
            self.kills,
            self.retries,
            self.duplicates
        )
    }
}

/// What Service B's log says so far, read as it grows.
#[derive(Debug)]
pub struct WorkLog {
    path: PathBuf,
    read_to: u64,
    /// Orders, with how often each was processed.
    processed: BTreeMap<u64, u64>,
    lines: u64,
}

impl WorkLog {
    /// Of a file that need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            read_to: 0,
            processed: BTreeMap::new(),
            lines: 0,
        }
    }

    /// Reads what was added since the last time; a line without its end is left for the next.
    ///
    /// # Errors
    /// [`DemoError::Io`].
    pub fn read_on(&mut self) -> Result<(), DemoError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(DemoError::io("cannot open", &self.path)(e)),
        };
        let mut added = Vec::new();
        file.seek(SeekFrom::Start(self.read_to))
            .and_then(|_| file.read_to_end(&mut added))
            .map_err(DemoError::io("cannot read", &self.path))?;
        let whole = added.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        self.read_to += whole as u64;
        for line in String::from_utf8_lossy(&added[..whole]).lines() {
            if let Some(number) = processed_order(line) {
                self.lines += 1;
                *self.processed.entry(number).or_default() += 1;
            }
        }
        Ok(())
    }

    /// How often an order was processed, all in all.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// How often each order was processed.
    #[must_use]
    pub const fn processed(&self) -> &BTreeMap<u64, u64> {
        &self.processed
    }

    /// How many of `sent` were processed, and how often one of them was processed again.
    #[must_use]
    pub fn of(&self, sent: &BTreeSet<u64>) -> (u64, u64) {
        let times = sent.iter().filter_map(|n| self.processed.get(n));
        times.fold((0, 0), |(processed, again), n| {
            (processed + 1, again + n - 1)
        })
    }
}

/// The order of a line `P POSITION ORDER`.
fn processed_order(line: &str) -> Option<u64> {
    line.strip_prefix("P ")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_verdict_has_exactly_the_promised_words() {
        let tally = Tally {
            sent: 10,
            processed: 9,
            kills: 3,
            retries: 4,
            duplicates: 2,
        };
        assert_eq!(
            tally.to_string(),
            "sent 10, processed 9, lost 1, kills 3, retries 4, duplicates 2"
        );
        assert!(!tally.is_good());
        assert!(
            Tally {
                processed: 10,
                ..tally
            }
            .is_good()
        );
        assert!(!Tally::default().is_good(), "nothing sent proves nothing");
    }

    #[test]
    fn a_line_that_is_half_written_is_counted_once_it_is_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut log = WorkLog::new(file.path());
        file.write_all(b"P orders/0/1 7\nN orders/0/2 8\nP orders/0/3 1")
            .unwrap();
        log.read_on().unwrap();
        assert_eq!(log.processed().keys().collect::<Vec<_>>(), [&7]);
        file.write_all(b"2\nP orders/0/9 7\nP orders/0/10 -\n")
            .unwrap();
        log.read_on().unwrap();
        assert_eq!(log.processed().keys().collect::<Vec<_>>(), [&7, &12]);
        assert_eq!(log.of(&BTreeSet::from([7, 8, 12])), (2, 1));
        assert_eq!(log.of(&BTreeSet::from([8])), (0, 0));
    }

    #[test]
    fn a_log_that_is_not_there_yet_is_empty() {
        let mut log = WorkLog::new("/nonexistent/ackwarden-demo.log");
        log.read_on().unwrap();
        assert_eq!(log.lines(), 0);
    }
}
