//! From what the core wants published to the record itself.

use super::names::Names;
use crate::core::effect::{DeadLetterPayload, Headers, Publication};
use crate::core::{MsgRef, Verdict};
use crate::ports::{Outgoing, OwnedRecord, RawHeaders};
use crate::wire::copy::{self, DeadLetterNote, VerdictRecord};
use crate::wire::names as wire_names;
use crate::wire::position;

/// What it is, for the log, and its attempt.
#[must_use]
pub const fn described(what: &Publication) -> (&'static str, u32) {
    match what {
        Publication::Copy(headers) => ("a retry", headers.attempt),
        Publication::DeadLetter { headers, .. } => ("a dead letter", headers.attempt),
        Publication::Verdict { attempt, .. } => ("a settlement", *attempt),
    }
}

/// Builds the record. `payload` is what was fetched for it, if it needs one.
#[must_use]
pub fn build(
    names: &Names,
    msg: MsgRef,
    what: &Publication,
    payload: Option<OwnedRecord>,
    dead_letter_at: Option<&str>,
) -> Outgoing {
    let topic = names.topic(msg.topic);
    let group = names.rules.group();
    match what {
        Publication::Copy(headers) => {
            let payload = payload.unwrap_or_else(empty);
            let headers = &dated(headers, &payload);
            let ack_topic = names.ack_topic_of(msg.topic);
            Outgoing {
                topic: topic.to_owned(),
                partition: Some(msg.partition),
                spread: msg.partition,
                headers: copy::copy_headers(
                    &payload.headers,
                    headers,
                    topic,
                    msg.partition,
                    group,
                    ack_topic,
                ),
                key: payload.key,
                value: payload.value,
            }
        }
        Publication::DeadLetter {
            topic: to,
            headers,
            cause,
            reason,
            payload: what,
        } => {
            let payload = payload.unwrap_or_else(empty);
            let headers = &dated(headers, &payload);
            let note = DeadLetterNote {
                cause: *cause,
                reason: reason.as_deref(),
                payload: what,
            };
            let headers = copy::dead_letter_headers(
                &payload.headers,
                headers,
                note,
                topic,
                msg.partition,
                group,
            );
            let (key, value) = match what {
                DeadLetterPayload::Whole => (payload.key, payload.value),
                DeadLetterPayload::Stub { .. } => {
                    let key = copy::stub_key(payload.key.as_deref()).map(<[u8]>::to_vec);
                    (key, None)
                }
                DeadLetterPayload::Lost { .. } => (None, None),
            };
            Outgoing {
                topic: to.to_string(),
                partition: None,
                spread: msg.partition,
                key,
                value,
                headers,
            }
        }
        Publication::Verdict {
            ack,
            verdict,
            newest,
            attempt,
            delay_ms,
            actor,
            reason,
        } => {
            let settlement = matches!(verdict, Verdict::DeadLettered | Verdict::PayloadLost);
            let (key, headers) = copy::verdict_record(&VerdictRecord {
                verdict: *verdict,
                topic,
                partition: msg.partition,
                newest: *newest,
                attempt: *attempt,
                group,
                delay_ms: *delay_ms,
                actor: actor.as_deref(),
                reason: reason.as_deref(),
                dead_letter: dead_letter_at.filter(|_| settlement),
            });
            Outgoing {
                topic: names.ack_topic(*ack).to_owned(),
                partition: None,
                spread: msg.partition,
                key: Some(key),
                value: None,
                headers,
            }
        }
    }
}

/// Where a dead letter went, as its settlement names it.
#[must_use]
pub fn dead_letter_position(topic: &str, partition: i32, offset: i64) -> String {
    position::format(topic, partition, offset)
}

/// The original's timestamp is not kept of each message: it is that of the record, or stands in the copy's headers.
fn dated(headers: &Headers, payload: &OwnedRecord) -> Headers {
    let mut headers = headers.clone();
    if headers.origin_timestamp_ms < 0 {
        headers.origin_timestamp_ms = if payload.offset == headers.origin {
            payload.timestamp_ms
        } else {
            let told = payload
                .headers
                .last(wire_names::ORIGIN_TIMESTAMP.as_bytes());
            told.flatten()
                .and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok())
                .unwrap_or(-1)
        };
    }
    headers
}

fn empty() -> OwnedRecord {
    OwnedRecord {
        partition: -1,
        offset: -1,
        timestamp_ms: -1,
        key: None,
        value: None,
        headers: Vec::new(),
    }
}
