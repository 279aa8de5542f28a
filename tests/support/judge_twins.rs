//! The judge of twins: copies that were tracked as messages of their own.

use std::collections::BTreeSet;

use super::judge::report;
use super::judge_time::Window;
use super::records::SeenRecord;

/// What a former life of a coordinator had sent, and what landed only in the next, is a message of its own
/// (docs/decisions/0003): its copies and its dead letter name it as their origin. From here on such a record counts as an
/// original, without the headers that it had as a copy, but for its attempt, from which it goes on. Something was harmed at most `felt_ms` before it was appended.
/// Answers with where they are.
pub fn twins_are_messages(
    source: &mut [SeenRecord],
    dead_letters: &[SeenRecord],
    harmed: &[Window],
    felt_ms: i64,
) -> Vec<String> {
    let named: BTreeSet<String> = source
        .iter()
        .chain(dead_letters)
        .filter_map(|r| r.origin().map(str::to_owned))
        .collect();
    let mut violations = Vec::new();
    let mut twins = Vec::new();
    for record in source {
        let position = record.position();
        if record.origin().is_none() || !named.contains(&position) {
            continue;
        }
        let at_ms = record.timestamp_ms;
        if !harmed.iter().any(|w| w.touches(at_ms - felt_ms, at_ms)) {
            violations.push(format!(
                "{position}: a copy that was tracked as a message of its own, and nothing was harmed before it"
            ));
        }
        twins.push(position);
        record.headers.retain(|(name, _)| {
            !name.starts_with(b"ackwarden-") || name.as_slice() == b"ackwarden-attempt"
        });
    }
    report("twins are messages of their own", violations);
    twins
}
