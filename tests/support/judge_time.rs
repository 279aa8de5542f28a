//! Judges of when: nothing before its time, nothing much after an ACK, no commit past what is unsettled. All topics have to
//! append the broker's time.

use std::collections::BTreeMap;

use super::judge::{by_origin, lateness_after_ack, report};
use super::machine;
use super::records::SeenRecord;

/// Clocks of several processes of one machine, rounded to ms.
const ROUNDING_MS: i64 = 50;

/// From when to when something was harmed, ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from_ms: i64,
    pub to_ms: i64,
}

impl Window {
    fn length_ms(self) -> i64 {
        self.to_ms - self.from_ms
    }

    /// Whether `from_ms..=to_ms` touches it.
    pub fn touches(self, from_ms: i64, to_ms: i64) -> bool {
        from_ms <= self.to_ms && self.from_ms <= to_ms
    }
}

/// What may hold up a record that was submitted in time.
#[derive(Debug, Clone, Default)]
pub struct Standstills {
    pub windows: Vec<Window>,
    /// How long one is felt behind its end: the rest of a publish's own timeout, elections, clients that connect again.
    pub settling_ms: i64,
}

impl Standstills {
    /// Whether a record that was appended then, so late, was held up: it was appended in a standstill or soon behind it,
    /// and is late by no more than that.
    pub fn held_up(&self, appended_ms: i64, late_ms: i64) -> bool {
        self.windows.iter().any(|w| {
            (w.from_ms..=w.to_ms + self.settling_ms).contains(&appended_ms)
                && late_ms <= w.length_ms() + self.settling_ms
        })
    }
}

/// No copy was appended later than `slack_ms` after an ACK of its message, but those that a standstill, or the machine,
/// held up. Answers
/// with how many of them there are.
pub fn late_only_by_a_standstill(
    source: &[SeenRecord],
    acks: &[SeenRecord],
    slack_ms: i64,
    standstills: &Standstills,
) -> usize {
    let machine = machine::standstills();
    let late: Vec<_> = lateness_after_ack(source, acks)
        .into_iter()
        .filter(|late| late.late_ms > slack_ms)
        .collect();
    let violations = late
        .iter()
        .filter(|late| !standstills.held_up(late.appended_ms, late.late_ms))
        .filter(|late| !machine.held_up(late.appended_ms, late.late_ms))
        .map(|late| late.what.clone())
        .collect();
    report("late only by a standstill", violations);
    late.len()
}

/// No copy was appended before the delivery before it had had its `timeout_ms`, but in the `excused` windows. Only where
/// nothing but the timeout makes copies, and it does not grow. Answers with how many copies were looked at.
pub fn none_before_its_timeout(
    source: &[SeenRecord],
    timeout_ms: i64,
    excused: &[Window],
) -> usize {
    let mut violations = Vec::new();
    let mut looked_at = 0;
    for (origin, deliveries) in by_origin(source) {
        let first = first_of_each_attempt(&deliveries);
        for copy in deliveries.iter().filter(|d| d.origin().is_some()) {
            let before = copy.attempt().and_then(|n| first.get(&(n - 1)));
            let Some(before) = before else {
                continue;
            };
            looked_at += 1;
            let at = copy.timestamp_ms;
            if excused.iter().any(|w| w.touches(at, at)) {
                continue;
            }
            let waited_ms = copy.timestamp_ms - before;
            if waited_ms < timeout_ms - ROUNDING_MS {
                violations.push(format!(
                    "{origin}: copy {} (attempt {:?}) was appended {waited_ms} ms after the delivery before it, at {}",
                    copy.position(),
                    copy.attempt(),
                    copy.timestamp_ms
                ));
            }
        }
    }
    report("none before its timeout", violations);
    looked_at
}

/// When each attempt was appended first.
pub fn first_of_each_attempt(deliveries: &[&SeenRecord]) -> BTreeMap<u32, i64> {
    let mut first: BTreeMap<u32, i64> = BTreeMap::new();
    for delivery in deliveries {
        let attempt = match delivery.origin() {
            None => delivery.attempt().unwrap_or(1),
            Some(_) => delivery.attempt().unwrap_or(0),
        };
        let at = first.entry(attempt).or_insert(delivery.timestamp_ms);
        *at = (*at).min(delivery.timestamp_ms);
    }
    first
}

/// What a group committed, or had committed, at an instant: (ms since the epoch, partition, offset).
pub type Commit = (i64, i32, i64);

/// The committed offset was never past the lowest unsettled anchor: of each message below it there was a verdict that
/// settles it, or a newer copy at or past it. Answers with how many commits were looked at.
pub fn never_committed_past_the_unsettled(
    commits: &[Commit],
    source: &[SeenRecord],
    acks: &[SeenRecord],
) -> usize {
    let mut settled_ms: BTreeMap<&str, i64> = BTreeMap::new();
    for ack in acks {
        let verdict = ack.header("ackwarden-verdict");
        if matches!(
            verdict,
            None | Some("ack" | "operator-ack" | "dead-lettered")
        ) && let Some(key) = ack.key_text()
        {
            let first = settled_ms.entry(key).or_insert(ack.timestamp_ms);
            *first = (*first).min(ack.timestamp_ms);
        }
    }
    // Of each partition: the newest offset of each message, and the latest settling of all up to it, with whose it is.
    let mut partitions: BTreeMap<i32, Vec<(i64, i64, String)>> = BTreeMap::new();
    for (origin, deliveries) in by_origin(source) {
        let newest = deliveries.iter().map(|d| d.offset).max().unwrap_or(0);
        let settled = deliveries
            .iter()
            .filter_map(|d| settled_ms.get(d.position().as_str()))
            .min();
        let partition = partitions.entry(deliveries[0].partition).or_default();
        partition.push((newest, settled.copied().unwrap_or(i64::MAX), origin));
    }
    for messages in partitions.values_mut() {
        messages.sort();
        for i in 1..messages.len() {
            let (_, settled, origin) = &messages[i - 1];
            if *settled > messages[i].1 {
                (messages[i].1, messages[i].2) = (*settled, origin.clone());
            }
        }
    }
    let mut violations = Vec::new();
    for (at_ms, partition, low) in commits {
        let Some(messages) = partitions.get(partition) else {
            continue;
        };
        let below = messages.partition_point(|(newest, ..)| newest < low);
        if let Some((_, settled, origin)) = below.checked_sub(1).map(|i| &messages[i])
            && settled > at_ms
        {
            violations.push(format!(
                "{origin}: at {at_ms} the group had committed {partition} to {low}, past all of it, and it was settled at {settled}"
            ));
        }
    }
    report("never committed past the unsettled", violations);
    commits.len()
}
