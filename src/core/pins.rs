//! Which verdicts a replay from the low-water mark would still need: they hold E back (invariant 3).
//!
//! Two kinds: the verdict of a message that is not acted upon yet, and the evidence that settled a message of which a
//! copy lies at or past the low-water mark (or is still in flight), since a replay would read that copy.

use std::collections::BTreeSet;

use super::guards::Guard;
use super::types::LogPosition;

/// "Until further notice": a copy is in flight.
pub(super) const IN_FLIGHT: i64 = i64::MAX;

/// The pins of one source partition.
#[derive(Default, Debug)]
pub(super) struct Pins {
    /// (evidence, message)
    verdicts: BTreeSet<(LogPosition, i64)>,
    /// (until L has passed this offset, evidence, message): one record may be the evidence of several.
    by_until: BTreeSet<(i64, LogPosition, i64)>,
    by_evidence: BTreeSet<(LogPosition, i64, i64)>,
}

impl Pins {
    pub fn add_verdict(&mut self, at: LogPosition, origin: i64) {
        self.verdicts.insert((at, origin));
    }

    pub fn remove_verdict(&mut self, at: LogPosition, origin: i64) {
        self.verdicts.remove(&(at, origin));
    }

    pub fn add_evidence(&mut self, until: i64, at: LogPosition, origin: i64) {
        self.by_until.insert((until, at, origin));
        self.by_evidence.insert((at, until, origin));
    }

    pub fn remove_evidence(&mut self, until: i64, at: LogPosition, origin: i64) {
        self.by_until.remove(&(until, at, origin));
        self.by_evidence.remove(&(at, until, origin));
    }

    /// The low-water mark is at `low`: copies below it are never read again.
    pub fn low_is(&mut self, low: i64) {
        while let Some(&(until, at, origin)) = self.by_until.first() {
            if until >= low {
                break;
            }
            self.remove_evidence(until, at, origin);
        }
    }

    /// The lowest pinned offset of an ACK partition.
    pub fn lowest(&self, ack_partition: i32) -> Option<i64> {
        let from = LogPosition::new(ack_partition, i64::MIN);
        let here = |at: &LogPosition| (at.partition == ack_partition).then_some(at.offset);
        let verdict = self.verdicts.range((from, i64::MIN)..).next();
        let evidence = self.by_evidence.range((from, i64::MIN, i64::MIN)..).next();
        match (
            verdict.and_then(|(at, _)| here(at)),
            evidence
                .and_then(|(at, _, _)| here(at))
                .filter(|_| Guard::Evidence.holds()),
        ) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_pinned_until_the_low_water_mark_has_passed_the_last_copy() {
        let mut pins = Pins::default();
        pins.add_evidence(50, LogPosition::new(1, 7), 4);
        pins.low_is(50);
        assert_eq!(pins.lowest(1), Some(7));
        assert_eq!(pins.lowest(0), None);
        pins.low_is(51);
        assert_eq!(pins.lowest(1), None);
    }

    #[test]
    fn a_copy_in_flight_pins_for_as_long_as_it_is() {
        let mut pins = Pins::default();
        pins.add_evidence(IN_FLIGHT, LogPosition::new(0, 3), 4);
        pins.add_verdict(LogPosition::new(0, 9), 1);
        pins.low_is(1_000_000);
        assert_eq!(pins.lowest(0), Some(3));
        pins.remove_evidence(IN_FLIGHT, LogPosition::new(0, 3), 4);
        assert_eq!(pins.lowest(0), Some(9));
    }
}
