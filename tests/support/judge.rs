//! The judges. They look at topics (and at Service B's log, for what was processed) and believe nothing that the
//! coordinator says. Each panics with a list of violations, with positions.

use std::collections::{BTreeMap, BTreeSet};

use super::machine;
use super::records::{Header, SeenRecord};

/// The headers that a copy has on top of its original's (`ackwarden-timeout` is a client's own, and stays).
const RESERVED: [&str; 7] = [
    "ackwarden-message-id",
    "ackwarden-attempt",
    "ackwarden-origin",
    "ackwarden-origin-timestamp",
    "ackwarden-deliveries",
    "ackwarden-cause",
    "ackwarden-group",
];
/// Always there on a copy.
const REQUIRED: [&str; 6] = [
    "ackwarden-message-id",
    "ackwarden-attempt",
    "ackwarden-origin",
    "ackwarden-origin-timestamp",
    "ackwarden-cause",
    "ackwarden-group",
];
/// Violations shown of many.
const SHOWN_MAX: usize = 20;

/// Each of `sent` was processed at least once. Answers with how often one was processed again.
pub fn all_processed(sent: &BTreeSet<u64>, processed: &[u64]) -> u64 {
    let done: BTreeSet<u64> = processed.iter().copied().collect();
    let missing = sent
        .difference(&done)
        .map(|n| format!("order {n} was never processed"));
    report("all processed", missing.collect());
    (processed.len() - done.len()) as u64
}

/// No copy was appended later than `slack_ms` after an ACK of its message, but while the machine itself was late. Both
/// topics have to append the broker's time.
///
/// `slack_ms` is what may lie between the coordinator's last look and the append: one trip of the ACK to the coordinator,
/// and one of a copy that was submitted just before to the broker.
pub fn none_republished_after_ack(source: &[SeenRecord], acks: &[SeenRecord], slack_ms: i64) {
    let machine = machine::standstills();
    let violations = lateness_after_ack(source, acks)
        .into_iter()
        .filter(|late| late.late_ms > slack_ms)
        .filter(|late| !machine.held_up(late.appended_ms, late.late_ms))
        .map(|late| late.what);
    report("none republished after its ACK", violations.collect());
}

/// A copy that was appended after an ACK of its message.
#[derive(Debug, Clone)]
pub struct Late {
    pub late_ms: i64,
    pub appended_ms: i64,
    /// In words.
    pub what: String,
}

/// Each copy that was appended after an ACK of its message.
pub fn lateness_after_ack(source: &[SeenRecord], acks: &[SeenRecord]) -> Vec<Late> {
    let messages = by_origin(source);
    let mut origin_of: BTreeMap<String, &str> = BTreeMap::new();
    for (origin, deliveries) in &messages {
        for delivery in deliveries {
            origin_of.insert(delivery.position(), origin);
        }
    }
    let mut acknowledged: BTreeMap<&str, &SeenRecord> = BTreeMap::new();
    for ack in acks.iter().filter(|ack| settles(ack)) {
        let Some(origin) = ack.key_text().and_then(|key| origin_of.get(key)) else {
            continue;
        };
        let first = acknowledged.entry(origin).or_insert(ack);
        if ack.timestamp_ms < first.timestamp_ms {
            *first = ack;
        }
    }
    let mut late = Vec::new();
    for (origin, deliveries) in &messages {
        let Some(ack) = acknowledged.get(origin.as_str()) else {
            continue;
        };
        for copy in deliveries.iter().filter(|d| d.origin().is_some()) {
            let late_ms = copy.timestamp_ms - ack.timestamp_ms;
            if late_ms > 0 {
                let history: Vec<String> = deliveries.iter().map(|d| told(d)).collect();
                let what = format!(
                    "{origin}: copy {} (attempt {:?}) was appended {late_ms} ms after the ACK {} of {}; its deliveries: {}",
                    copy.position(),
                    copy.attempt(),
                    ack.position(),
                    ack.key_text().unwrap_or_default(),
                    history.join(", "),
                );
                late.push(Late {
                    late_ms,
                    appended_ms: copy.timestamp_ms,
                    what,
                });
            }
        }
    }
    late
}

fn told(delivery: &SeenRecord) -> String {
    let (at, attempt) = (delivery.offset, delivery.attempt().unwrap_or(1));
    format!("{attempt} at {at} ({} ms)", delivery.timestamp_ms)
}

/// The copies of each message, with its original as attempt 1, and its dead letter as the last attempt's, make 1..n
/// without gaps, n at most `max_attempts`. One attempt stands there `publishes_max` times at most: 1, and one more for each
/// crash, change of owner and ambiguous report.
pub fn attempts_without_gaps(
    source: &[SeenRecord],
    dead_letters: &[SeenRecord],
    max_attempts: u32,
    publishes_max: usize,
) {
    let mut violations = Vec::new();
    for (origin, deliveries) in by_origin(source) {
        let mut attempts: BTreeMap<u32, usize> = BTreeMap::new();
        let mut first = 1;
        for delivery in deliveries {
            match (delivery.origin(), delivery.attempt()) {
                // A twin that is a message of its own goes on from the attempt that it is (`judge_twins`).
                (None, attempt) => {
                    first = attempt.unwrap_or(1);
                    *attempts.entry(first).or_default() += 1;
                }
                (Some(_), Some(attempt)) => *attempts.entry(attempt).or_default() += 1,
                (Some(_), None) => violations.push(format!(
                    "{origin}: copy {} has no attempt",
                    delivery.position()
                )),
            }
        }
        let last = first - 1 + u32::try_from(attempts.len()).expect("few attempts");
        if !attempts.keys().copied().eq(first..=last) || last > max_attempts {
            violations.push(format!(
                "{origin}: attempts {:?}, to be {first} to at most {max_attempts}",
                attempts.keys().collect::<Vec<_>>()
            ));
        }
        for (attempt, times) in attempts {
            if times > publishes_max {
                violations.push(format!("{origin}: attempt {attempt} stands there {times} times, at most {publishes_max}"));
            }
        }
        for dead in dead_letters
            .iter()
            .filter(|d| d.origin() == Some(origin.as_str()))
        {
            if dead.attempt() != Some(last) {
                violations.push(format!(
                    "{origin}: dead letter {} says attempt {:?}, the last delivery is {last}",
                    dead.position(),
                    dead.attempt()
                ));
            }
        }
    }
    report("attempts without gaps", violations);
}

/// Each copy is its original: the same partition, key, value and headers in order, the reserved headers aside, of which it
/// has each once. Answers with how many copies there are.
pub fn copies_identical(source: &[SeenRecord]) -> usize {
    let mut violations = Vec::new();
    let mut copies = 0;
    for (origin, deliveries) in by_origin(source) {
        let Some(original) = deliveries.iter().find(|d| d.position() == origin) else {
            violations.push(format!("{origin}: not on the topic"));
            continue;
        };
        for copy in deliveries.iter().filter(|d| d.origin().is_some()) {
            copies += 1;
            for difference in differences(original, copy) {
                violations.push(format!("{origin}: copy {}: {difference}", copy.position()));
            }
            for name in RESERVED {
                let count = count(&copy.headers, name);
                if count > 1 || (count == 0 && REQUIRED.contains(&name)) {
                    violations.push(format!(
                        "{origin}: copy {} has {name} {count} times",
                        copy.position()
                    ));
                }
            }
        }
    }
    report("copies identical", violations);
    copies
}

/// That a dead letter carries the payload of its original.
pub fn dead_letters_identical(source: &[SeenRecord], dead_letters: &[SeenRecord]) {
    let originals: BTreeMap<String, &SeenRecord> =
        source.iter().map(|r| (r.position(), r)).collect();
    let mut violations = Vec::new();
    for dead in dead_letters {
        match dead.origin().and_then(|origin| originals.get(origin)) {
            None => violations.push(format!(
                "dead letter {} names no original: {:?}",
                dead.position(),
                dead.origin()
            )),
            Some(original) => {
                for difference in differences(original, dead) {
                    violations.push(format!("dead letter {}: {difference}", dead.position()));
                }
            }
        }
    }
    report("dead letters identical", violations);
}

/// Every delivery on the topic, by the position of the original.
pub fn by_origin(source: &[SeenRecord]) -> BTreeMap<String, Vec<&SeenRecord>> {
    let mut messages: BTreeMap<String, Vec<&SeenRecord>> = BTreeMap::new();
    for record in source {
        let origin = record
            .origin()
            .map_or_else(|| record.position(), str::to_owned);
        messages.entry(origin).or_default().push(record);
    }
    messages
}

/// The copies on the topic.
pub fn copies(source: &[SeenRecord]) -> Vec<&SeenRecord> {
    source.iter().filter(|r| r.origin().is_some()).collect()
}

/// Whether an ACK record settles its message.
pub fn settles(ack: &SeenRecord) -> bool {
    matches!(
        ack.header("ackwarden-verdict"),
        None | Some("ack" | "operator-ack")
    )
}

fn differences(original: &SeenRecord, copy: &SeenRecord) -> Vec<String> {
    let mut found = Vec::new();
    if copy.topic == original.topic && copy.partition != original.partition {
        found.push(format!(
            "on partition {} instead of {}",
            copy.partition, original.partition
        ));
    }
    if copy.key != original.key {
        found.push(format!(
            "key {:?} instead of {:?}",
            shown(copy.key.as_ref()),
            shown(original.key.as_ref())
        ));
    }
    if copy.value != original.value {
        found.push(format!(
            "value {:?} instead of {:?}",
            shown(copy.value.as_ref()),
            shown(original.value.as_ref())
        ));
    }
    let (theirs, ours) = (unreserved(&original.headers), unreserved(&copy.headers));
    if theirs != ours {
        found.push(format!("headers {ours:?} instead of {theirs:?}"));
    }
    found
}

fn unreserved(headers: &[Header]) -> Vec<&Header> {
    headers
        .iter()
        .filter(|(name, _)| {
            !RESERVED.iter().any(|r| r.as_bytes() == name) && name != b"ackwarden-reason"
        })
        .collect()
}

fn count(headers: &[Header], name: &str) -> usize {
    headers.iter().filter(|(n, _)| n == name.as_bytes()).count()
}

fn shown(bytes: Option<&Vec<u8>>) -> Option<String> {
    bytes.map(|b| {
        let start = String::from_utf8_lossy(&b[..b.len().min(40)]).into_owned();
        format!("{start} ({} bytes)", b.len())
    })
}

pub fn report(judge: &str, violations: Vec<String>) {
    assert!(
        violations.is_empty(),
        "{judge}: {} violations, of which\n  {}",
        violations.len(),
        violations[..violations.len().min(SHOWN_MAX)].join("\n  ")
    );
}
