//! Records of source topics: which message, under which name, and whether the record claims to be a copy.
//!
//! The common record (no header of ours, no label) is decoded in one visit of its headers and without allocating.
//!
//! What is claimed is not proven here: a [`CopyMark`] says what stands in the headers, provided that it fits this very
//! topic and partition; whether the copy is ours is the core's to find out. A record is *no* copy if
//! - `ackwarden-origin` is missing or no position, names another topic or partition, or an offset that is not before it;
//! - `ackwarden-attempt` is missing, below 2 or past [`ATTEMPT_MAX`];
//! - it is a dead letter, or one that somebody sent back as it was: its cause says so. (`ackwarden-redriven-from` says
//!   nothing: the copies of a redriven message carry it, too.)
//!
//! A copy of ours is labelled by its `ackwarden-message-id`: that is what B was told, and it outlives a change of the `id`
//! list in the configuration. Everything else is labelled by the list.
//!
//! Of equal reserved headers the last counts. What in them cannot be read is as if it were not there, a timeout aside,
//! which is counted as bad.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::cause::{self, CauseText};
use super::id::{Slot, Slots};
use super::rules::{DecodeRules, LastTopic, SourceRule};
use super::{digest, names, position, text};
use crate::core::{Cause, CauseKind, CopyMark, SourceExtra, SourceRecord, TopicIx};
use crate::ports::RawRecord;

/// How many earlier deliveries a copy names.
pub const DELIVERIES_MAX: usize = 16;
/// What claims a later attempt was not written by a coordinator: at one a second, that is thirty years.
pub const ATTEMPT_MAX: u32 = 1_000_000_000;

/// Decodes records of source topics. One for each reader: it remembers the topic of the last record and keeps buffers.
#[derive(Debug)]
pub struct SourceDecoder {
    rules: Arc<DecodeRules>,
    last: LastTopic,
    slots: Slots,
    reserved: Reserved,
}

impl SourceDecoder {
    #[must_use]
    pub fn new(rules: Arc<DecodeRules>) -> Self {
        Self {
            rules,
            last: LastTopic::default(),
            slots: Slots::default(),
            reserved: Reserved::default(),
        }
    }

    /// The record in the core's terms; `None`: its topic is not tracked.
    pub fn decode(&mut self, raw: &RawRecord<'_>) -> Option<SourceRecord> {
        let topic = self.last.find(&self.rules, raw.topic.as_bytes())?;
        let rule = self.rules.source(topic)?;
        let extra = extra(&self.rules, rule, raw, &mut self.slots, &mut self.reserved);
        let is_plain = extra.as_ref().is_none_or(|e| *e == SourceExtra::default());
        Some(SourceRecord {
            topic,
            partition: raw.partition,
            offset: raw.offset,
            timestamp_ms: raw.timestamp_ms,
            len: digest::size(raw.key, raw.value),
            digest: digest::digest(raw.key, raw.value),
            extra: extra.filter(|_| !is_plain).map(Box::new),
        })
    }

    /// The tracked topic of that name.
    pub fn topic_ix(&mut self, name: &str) -> Option<TopicIx> {
        self.last.find(&self.rules, name.as_bytes())
    }
}

fn extra(
    rules: &DecodeRules,
    rule: &SourceRule,
    raw: &RawRecord<'_>,
    slots: &mut Slots,
    reserved: &mut Reserved,
) -> Option<SourceExtra> {
    let ack_topic = rules.ack(rule.ack).map_or("", |a| a.name.as_str());
    let mut unfaithful = false;
    let mut has_headers = false;
    raw.headers.visit(&mut |name, value| {
        if !has_headers {
            has_headers = true;
            slots.reset(&rule.ids);
            reserved.reset();
        }
        rule.ids.observe(slots, name, value);
        if let Some(ours) = name.strip_prefix(names::PREFIX.as_bytes()) {
            reserved.observe(ours, value, raw, rules.group(), ack_topic);
        }
        unfaithful |= !is_faithful(name);
        ControlFlow::Continue(())
    });
    if !has_headers {
        if rule.plain_without_headers {
            return None;
        }
        slots.reset(&rule.ids);
        reserved.reset();
    }
    let copy = reserved.copy_mark(raw.offset);

    let told = match &copy {
        Some(copy) if copy.by_us => reserved.message_id.text(),
        _ => None,
    };
    let (id, id_fell_back) = match told {
        Some(id) => (Some(Cow::Borrowed(id)), false),
        None => {
            let picked = rule.ids.pick(slots, raw.key, raw.value);
            let missing = picked.id.is_none() && rule.missing_id_counts;
            (picked.id, picked.unfit || missing)
        }
    };
    Some(SourceExtra {
        id: id
            .filter(|id| !rules.is_position(id.as_bytes()))
            .map(Into::into),
        id_fell_back,
        copy,
        timeout_ms: reserved.timeout_ms,
        bad_timeout: reserved.bad_timeout,
        unfaithful,
    })
}

/// Whether a header of that name reaches B again as it was. librdkafka holds names as C strings with a length: what has
/// a NUL is cut, and what is not UTF-8 cannot be shown to an operator. Their length is bounded by the record's alone.
fn is_faithful(name: &[u8]) -> bool {
    !name.contains(&0) && (name.is_ascii() || std::str::from_utf8(name).is_ok())
}

/// The headers of ours in one record, as far as they can be read.
#[derive(Debug, Default)]
struct Reserved {
    message_id: Slot,
    by_us: bool,
    attempt: Option<u32>,
    origin: Option<i64>,
    origin_timestamp_ms: Option<i64>,
    deliveries: Vec<i64>,
    cause: Option<CauseText>,
    timeout_ms: Option<u64>,
    bad_timeout: bool,
}

impl Reserved {
    fn reset(&mut self) {
        *self = Self {
            message_id: std::mem::take(&mut self.message_id),
            ..Self::default()
        };
        self.message_id.set(None);
    }

    /// `name` is what follows the prefix.
    fn observe(
        &mut self,
        name: &[u8],
        value: Option<&[u8]>,
        raw: &RawRecord<'_>,
        group: &str,
        ack_topic: &str,
    ) {
        let bytes = value.unwrap_or_default();
        match name {
            b"message-id" => self.message_id.set(value),
            b"group" => self.by_us = bytes == group.as_bytes(),
            b"attempt" => self.attempt = text::number(bytes),
            b"origin" => self.origin = offset_here(bytes, raw),
            b"origin-timestamp" => self.origin_timestamp_ms = text::number(bytes),
            b"deliveries" => {
                // From the end: the newest are the ones that count.
                self.deliveries = bytes
                    .rsplit(|b| *b == b',')
                    .filter_map(|p| offset_here(p, raw))
                    .take(DELIVERIES_MAX)
                    .collect();
            }
            b"cause" => self.cause = value.map(|c| cause::parse(c, ack_topic)),
            b"timeout" => {
                // A timeout of nothing would make each delivery due at once: nobody means that.
                self.timeout_ms = text::duration_ms(bytes).filter(|ms| *ms > 0);
                self.bad_timeout = value.is_some() && self.timeout_ms.is_none();
            }
            _ => {}
        }
    }

    /// What the headers claim of a record at `offset`.
    fn copy_mark(&mut self, offset: i64) -> Option<CopyMark> {
        let origin = self.origin.filter(|o| *o < offset)?;
        let attempt = self.attempt.filter(|a| (2..=ATTEMPT_MAX).contains(a))?;
        let cause = match self.cause {
            Some(CauseText::DeadLetter) => return None,
            Some(CauseText::Delivery(cause)) => cause,
            // A later version may know other causes; a copy stays a copy.
            Some(CauseText::Unknown) | None => Cause {
                kind: CauseKind::Timeout,
                record: None,
            },
        };
        let mut deliveries = std::mem::take(&mut self.deliveries);
        deliveries.retain(|d| origin < *d && *d < offset);
        deliveries.sort_unstable();
        deliveries.dedup();
        Some(CopyMark {
            by_us: self.by_us,
            attempt,
            origin,
            origin_timestamp_ms: self.origin_timestamp_ms.unwrap_or(-1),
            deliveries,
            cause,
        })
    }
}

/// The offset, if the text is a position in the record's own topic and partition.
fn offset_here(text: &[u8], raw: &RawRecord<'_>) -> Option<i64> {
    let (topic, partition, offset) = position::split(text)?;
    (topic == raw.topic.as_bytes() && partition == raw.partition).then_some(offset)
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
