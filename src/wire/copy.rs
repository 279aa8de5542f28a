//! Headers of what we publish: copies, dead letters, and the records that we write onto ACK topics.
//!
//! A copy carries all headers of the record that it was made from, in order, duplicates and null values included; those of
//! [`names::ON_COPIES`] are taken out wherever they stood and put, with their new values, at the end, in that order.
//! So two copies of one message differ in nothing else (invariant 10). Everything else that begins with `ackwarden-`
//! stays where it is: `ackwarden-timeout` is the message's own.
//!
//! What is not known is left out: no `ackwarden-deliveries` on the second delivery, no `ackwarden-origin-timestamp`
//! where the original had none.

use super::ack::{BY_CHARS_MAX, REASON_CHARS_MAX};
use super::{cause, names, position, text};
use crate::core::effect::{DeadLetterCause, DeadLetterPayload, Headers};
use crate::core::{Cause, Verdict};
use crate::ports::OwnedHeader;

/// A stub carries no more than this of the message's own headers, so that it fits whatever made the message too large:
/// half of a broker's usual limit of 1 MiB.
pub const STUB_HEADERS_BYTES_MAX: usize = 512 * 1024;
/// A stub carries no key that is larger: a quarter of it.
pub const STUB_KEY_BYTES_MAX: usize = 256 * 1024;

/// Headers of the next delivery. `original` are those of the record that was fetched: the original or an earlier copy.
#[must_use]
pub fn copy_headers(
    original: &[OwnedHeader],
    headers: &Headers,
    topic: &str,
    partition: i32,
    group: &str,
    ack_topic: &str,
) -> Vec<OwnedHeader> {
    let mut all = without(original, &[&names::ON_COPIES]);
    let cause = headers.cause.map(|c: Cause| cause::format(c, ack_topic));
    push_reserved(&mut all, headers, topic, partition, cause, group);
    all
}

/// What a dead letter says beside what its message does.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetterNote<'a> {
    pub cause: DeadLetterCause,
    /// B's or the operator's text.
    pub reason: Option<&'a str>,
    pub payload: &'a DeadLetterPayload,
}

/// Headers of a dead letter. `original` as for a copy; empty where nothing could be fetched.
///
/// Without its payload it says where that stood, how long it was, and its digest. A stub keeps the message's own headers
/// in order as far as [`STUB_HEADERS_BYTES_MAX`] goes, and says how many did not fit.
#[must_use]
pub fn dead_letter_headers(
    original: &[OwnedHeader],
    headers: &Headers,
    note: DeadLetterNote<'_>,
    topic: &str,
    partition: i32,
    group: &str,
) -> Vec<OwnedHeader> {
    let mut all = without(original, &[&names::ON_COPIES, &names::ON_DEAD_LETTERS]);
    let (pointer, dropped) = match *note.payload {
        DeadLetterPayload::Whole => (None, 0),
        DeadLetterPayload::Stub {
            offset,
            len,
            digest,
        } => (Some((offset, len, digest)), keep_small(&mut all)),
        DeadLetterPayload::Lost {
            offset,
            len,
            digest,
        } => (Some((offset, len, digest)), 0),
    };
    let cause = Some(note.cause.as_str().to_owned());
    push_reserved(&mut all, headers, topic, partition, cause, group);
    if let Some(reason) = note.reason {
        push_text(&mut all, names::REASON, reason, REASON_CHARS_MAX);
    }
    if let Some((offset, len, digest)) = pointer {
        let position = position::format(topic, partition, offset);
        push(&mut all, names::PAYLOAD_POSITION, position);
        push(&mut all, names::PAYLOAD_LENGTH, len.to_string());
        push(
            &mut all,
            names::PAYLOAD_DIGEST,
            format!("xxh3:{digest:016x}"),
        );
    }
    if dropped > 0 {
        push(
            &mut all,
            names::PAYLOAD_HEADERS_DROPPED,
            dropped.to_string(),
        );
    }
    all
}

/// The key of a dead letter that is a stub: the message's, unless that alone would be too large.
#[must_use]
pub fn stub_key(key: Option<&[u8]>) -> Option<&[u8]> {
    key.filter(|k| k.len() <= STUB_KEY_BYTES_MAX)
}

/// The first thing to do without where a copy or a dead letter is too large: the list of earlier deliveries.
#[must_use]
pub fn without_deliveries(headers: Vec<OwnedHeader>) -> Vec<OwnedHeader> {
    let mut headers = headers;
    headers.retain(|(name, _)| name != names::DELIVERIES.as_bytes());
    headers
}

/// A settlement or a decision of an operator.
#[derive(Debug, Clone, Copy)]
pub struct VerdictRecord<'a> {
    pub verdict: Verdict,
    pub topic: &'a str,
    pub partition: i32,
    /// Offset of the newest delivery.
    pub newest: i64,
    pub attempt: u32,
    pub group: &'a str,
    pub delay_ms: Option<u64>,
    /// The operator.
    pub actor: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// Position of the dead letter that the settlement follows.
    pub dead_letter: Option<&'a str>,
}

/// Key and headers of it; its value is null. What is too long to be read back whole is cut here already.
#[must_use]
pub fn verdict_record(record: &VerdictRecord<'_>) -> (Vec<u8>, Vec<OwnedHeader>) {
    let key = position::format(record.topic, record.partition, record.newest).into_bytes();
    let mut all = Vec::with_capacity(7);
    push(&mut all, names::VERDICT, record.verdict.as_str());
    push(&mut all, names::ATTEMPT, record.attempt.to_string());
    push(&mut all, names::GROUP, record.group);
    if let Some(ms) = record.delay_ms {
        push(&mut all, names::DELAY, text::format_duration_ms(ms));
    }
    if let Some(actor) = record.actor {
        push_text(&mut all, names::BY, actor, BY_CHARS_MAX);
    }
    if let Some(reason) = record.reason {
        push_text(&mut all, names::REASON, reason, REASON_CHARS_MAX);
    }
    if let Some(position) = record.dead_letter {
        push(&mut all, names::DEAD_LETTER, position);
    }
    (key, all)
}

/// All headers but those with these names, in order.
fn without(original: &[OwnedHeader], reserved: &[&[&str]]) -> Vec<OwnedHeader> {
    let is_reserved = |name: &[u8]| {
        name.starts_with(names::PREFIX.as_bytes())
            && reserved
                .iter()
                .any(|list| list.iter().any(|r| r.as_bytes() == name))
    };
    let mut kept = Vec::with_capacity(original.len() + names::ON_COPIES.len());
    kept.extend(original.iter().filter(|(n, _)| !is_reserved(n)).cloned());
    kept
}

/// In the order of [`names::ON_COPIES`].
fn push_reserved(
    all: &mut Vec<OwnedHeader>,
    headers: &Headers,
    topic: &str,
    partition: i32,
    cause: Option<String>,
    group: &str,
) {
    let origin = position::format(topic, partition, headers.origin);
    let id = headers.id.as_deref().unwrap_or(&origin);
    push(all, names::MESSAGE_ID, id);
    push(all, names::ATTEMPT, headers.attempt.to_string());
    push(all, names::ORIGIN, origin);
    if headers.origin_timestamp_ms >= 0 {
        let timestamp = headers.origin_timestamp_ms.to_string();
        push(all, names::ORIGIN_TIMESTAMP, timestamp);
    }
    if !headers.deliveries.is_empty() {
        let newest = headers
            .deliveries
            .len()
            .saturating_sub(super::source::DELIVERIES_MAX);
        let positions: Vec<String> = headers.deliveries[newest..]
            .iter()
            .map(|offset| position::format(topic, partition, *offset))
            .collect();
        push(all, names::DELIVERIES, positions.join(","));
    }
    if let Some(cause) = cause {
        push(all, names::CAUSE, cause);
    }
    push(all, names::GROUP, group);
}

/// Drops what goes past the bound of a stub, and says how many it dropped.
fn keep_small(headers: &mut Vec<OwnedHeader>) -> usize {
    let before = headers.len();
    let mut room = STUB_HEADERS_BYTES_MAX;
    headers.retain(|(name, value)| {
        // Beside the bytes, their lengths: two varints, of at most five bytes each.
        let size = name.len() + value.as_ref().map_or(0, Vec::len) + 10;
        let fits = size <= room;
        if fits {
            room -= size;
        }
        fits
    });
    before - headers.len()
}

fn push(all: &mut Vec<OwnedHeader>, name: &str, value: impl Into<String>) {
    all.push((name.as_bytes().to_vec(), Some(value.into().into_bytes())));
}

/// Text of people, cut as it would be when it is read back.
fn push_text(all: &mut Vec<OwnedHeader>, name: &str, value: &str, chars_max: usize) {
    let value = text::shortened(value.as_bytes(), chars_max);
    push(all, name, value.into_string());
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
