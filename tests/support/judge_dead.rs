//! The judge of dead letters: those that were promised, when they were promised, and no other.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{by_origin, report, settles};
use super::judge_time::{Standstills, Window, first_of_each_attempt};
use super::machine;
use super::records::SeenRecord;

/// Clocks of several processes of one machine, rounded to ms.
const ROUNDING_MS: i64 = 50;

/// What a topic's policy promises of what is never acknowledged.
#[derive(Debug, Clone)]
pub struct Promise {
    pub timeout_ms: i64,
    pub max_attempts: u32,
    /// How late a dead letter may be appended after an ACK: what was in flight,
    pub slack_ms: i64,
    /// and what was held up.
    pub standstills: Standstills,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Messages that were dead-lettered.
    pub dead: usize,
    /// Those of which there is a dead letter or a settlement more than one.
    pub twice: usize,
    /// Those that were acknowledged, too, while the dead letter was under way or later.
    pub late_acks: usize,
}

/// Each message is acknowledged or dead-lettered; `never_acknowledged` (positions of originals) are dead-lettered. A dead
/// letter comes behind the last attempt's timeout, and not of what had been acknowledged by then; behind it comes its
/// settlement, and no copy behind that. Only of what was acknowledged after all may the settlement be missing, where
/// something was harmed when the dead letter was written: its report may never have come. Where there is a second dead
/// letter or settlement, something was harmed between the two, or shortly before.
pub fn dead_lettered_as_promised(
    (source, acks, dead_letters): (&[SeenRecord], &[SeenRecord], &[SeenRecord]),
    promise: &Promise,
    never_acknowledged: &BTreeSet<String>,
    harmed: &[Window],
) -> Tally {
    let mut court = Court {
        promise,
        harmed,
        machine: machine::standstills(),
        violations: Vec::new(),
        tally: Tally {
            dead: 0,
            twice: 0,
            late_acks: 0,
        },
    };
    let mut dead_of: BTreeMap<&str, Vec<&SeenRecord>> = BTreeMap::new();
    for dead in dead_letters {
        let origin = dead.origin().unwrap_or("(no origin)");
        dead_of.entry(origin).or_default().push(dead);
    }
    let mut said_of: BTreeMap<&str, Vec<&SeenRecord>> = BTreeMap::new();
    for ack in acks {
        if let Some(key) = ack.key_text() {
            said_of.entry(key).or_default().push(ack);
        }
    }
    for (origin, deliveries) in by_origin(source) {
        let mut said: Vec<&SeenRecord> = deliveries
            .iter()
            .filter_map(|d| said_of.get(d.position().as_str()))
            .flatten()
            .copied()
            .collect();
        said.sort_by_key(|ack| ack.timestamp_ms);
        let mut dead = dead_of.remove(origin.as_str()).unwrap_or_default();
        dead.sort_by_key(|d| d.timestamp_ms);
        if dead.is_empty() && never_acknowledged.contains(&origin) {
            court.accuse(&origin, "was never acknowledged, and is not dead-lettered");
        }
        court.judge(&origin, &deliveries, &said, &dead);
    }
    for (origin, dead) in dead_of {
        let what = format!("dead letter {} of nothing on the topic", dead[0].position());
        court.accuse(origin, &what);
    }
    report("dead-lettered as promised", court.violations);
    court.tally
}

struct Court<'a> {
    promise: &'a Promise,
    harmed: &'a [Window],
    machine: Standstills,
    violations: Vec<String>,
    tally: Tally,
}

impl Court<'_> {
    fn accuse(&mut self, origin: &str, what: &str) {
        self.violations.push(format!("{origin}: {what}"));
    }

    fn judge(
        &mut self,
        origin: &str,
        deliveries: &[&SeenRecord],
        said: &[&SeenRecord],
        dead: &[&SeenRecord],
    ) {
        let acked = said.iter().find(|ack| settles(ack));
        let settlements: Vec<&SeenRecord> = said
            .iter()
            .copied()
            .filter(|ack| ack.header("ackwarden-verdict") == Some("dead-lettered"))
            .collect();
        let Some(first_dead) = dead.first() else {
            if acked.is_none() {
                self.accuse(origin, "neither acknowledged nor dead-lettered");
            }
            if let Some(settlement) = settlements.first() {
                let what = format!("settlement {} without a dead letter", settlement.position());
                self.accuse(origin, &what);
            }
            return;
        };
        self.tally.dead += 1;
        self.of_the_dead_letters(origin, deliveries, dead);
        if let Some(ack) = acked {
            self.tally.late_acks += 1;
            let late_ms = first_dead.timestamp_ms - ack.timestamp_ms;
            if self.is_late(first_dead, ack) {
                let what = format!(
                    "dead letter {} was appended {late_ms} ms after the ACK {}",
                    first_dead.position(),
                    ack.position()
                );
                self.accuse(origin, &what);
            }
        }
        match settlements.first() {
            // Or what follows it was not written yet.
            None if acked.is_some()
                && self.is_excused(first_dead, first_dead.timestamp_ms + self.promise.slack_ms) => {
            }
            None => {
                let ack = acked.map_or("never acknowledged".to_owned(), |ack| {
                    let later_ms = ack.timestamp_ms - first_dead.timestamp_ms;
                    format!("acknowledged {later_ms} ms later")
                });
                let what = format!(
                    "dead-lettered at {} ms, {ack}, and no settlement of it",
                    first_dead.timestamp_ms
                );
                self.accuse(origin, &what);
            }
            Some(first) => {
                if first.timestamp_ms < first_dead.timestamp_ms - ROUNDING_MS {
                    self.accuse(origin, "the settlement stood there before the dead letter");
                }
                let mut copies = deliveries.iter().filter(|d| d.origin().is_some());
                if let Some(copy) = copies.find(|copy| self.is_late(copy, first)) {
                    let what = format!("copy {} after its settlement", copy.position());
                    self.accuse(origin, &what);
                }
            }
        }
        if dead.len() > 1 || settlements.len() > 1 {
            self.tally.twice += 1;
        }
        for each in [dead, settlements.as_slice()] {
            for pair in each.windows(2) {
                if !self.is_excused(pair[0], pair[1].timestamp_ms) {
                    let what = format!(
                        "{} and {}, and nothing was harmed between the two",
                        pair[0].position(),
                        pair[1].position()
                    );
                    self.accuse(origin, &what);
                }
            }
        }
    }

    fn of_the_dead_letters(
        &mut self,
        origin: &str,
        deliveries: &[&SeenRecord],
        dead: &[&SeenRecord],
    ) {
        let max = self.promise.max_attempts;
        let last_ms = first_of_each_attempt(deliveries).get(&max).copied();
        for d in dead {
            let cause = d.header("ackwarden-cause");
            if cause != Some("attempts-exhausted") || d.attempt() != Some(max) {
                let what = format!(
                    "dead letter {} of attempt {:?} for {cause:?}",
                    d.position(),
                    d.attempt()
                );
                self.accuse(origin, &what);
            }
            match last_ms {
                None => {
                    let what = format!("dead letter {} without an attempt {max}", d.position());
                    self.accuse(origin, &what);
                }
                Some(last_ms) => {
                    let waited_ms = d.timestamp_ms - last_ms;
                    if waited_ms < self.promise.timeout_ms - ROUNDING_MS {
                        let what = format!(
                            "dead letter {} {waited_ms} ms after the last delivery",
                            d.position()
                        );
                        self.accuse(origin, &what);
                    }
                }
            }
        }
    }

    /// Whether a record was appended so long after the verdict that it should not be there.
    fn is_late(&self, record: &SeenRecord, verdict: &SeenRecord) -> bool {
        let late_ms = record.timestamp_ms - verdict.timestamp_ms;
        late_ms > self.promise.slack_ms
            && !self
                .promise
                .standstills
                .held_up(record.timestamp_ms, late_ms)
            && !self.machine.held_up(record.timestamp_ms, late_ms)
    }

    /// Whether something was harmed between that record and then, or so shortly before that it was still felt.
    fn is_excused(&self, from: &SeenRecord, to_ms: i64) -> bool {
        let felt_ms = self
            .promise
            .slack_ms
            .max(self.promise.standstills.settling_ms);
        let felt_from = from.timestamp_ms - felt_ms;
        self.harmed.iter().any(|w| w.touches(felt_from, to_ms))
    }
}
