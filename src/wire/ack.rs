//! Records of ACK topics: which message they are about, and what they say of it.
//!
//! The common record (its key is a position, no header is ours) is decoded without allocating.
//!
//! What a record names, in this order:
//! 1. A verdict of a coordinator (`operator-…`, `dead-lettered`, `payload-lost`) is about the position in its key, whatever
//!    `ack_id` says: we write them so.
//! 2. The first entry of `ack_id` that yields a value. A position of a tracked topic is always a position, an id
//!    belongs to the one source that the ACK topic serves or, where it serves several, to the one in `ackwarden-topic`.
//! 3. `ackwarden-origin`, where nothing of the list yields a value.
//!
//! A topic that this ACK topic does not serve is never meant: the barrier and the low-water mark of that topic watch
//! another log, so that such a record is no evidence. Its position, and an id with such an `ackwarden-topic` (also where
//! only one source is served), name nothing. A position of a topic that is not tracked is an id like any other.
//!
//! Of equal headers of ours the last counts; null is as if it were not there. An `ackwarden-attempt` that is no number is
//! invalid where the verdict depends on the delivery, and passed over in an ACK, which does not.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::id::Slots;
use super::rules::{AckRule, DecodeRules, LastTopic};
use super::{names, position, text};
use crate::core::{AckExtra, AckIx, AckRecord, AckTarget, LogPosition, TopicIx, Verdict};
use crate::ports::RawRecord;

/// What is kept of a reason, for people to read.
pub const REASON_CHARS_MAX: usize = 1_024;
/// What is kept of a name in `ackwarden-by`.
pub const BY_CHARS_MAX: usize = 256;
/// What is kept of something that names nothing.
pub const NOTHING_CHARS_MAX: usize = 128;

/// Decodes records of ACK topics. One for each reader: it remembers topics and keeps buffers.
#[derive(Debug)]
pub struct AckDecoder {
    rules: Arc<DecodeRules>,
    last_ack: Option<AckIx>,
    last_topic: LastTopic,
    slots: Slots,
}

impl AckDecoder {
    #[must_use]
    pub fn new(rules: Arc<DecodeRules>) -> Self {
        Self {
            rules,
            last_ack: None,
            last_topic: LastTopic::default(),
            slots: Slots::default(),
        }
    }

    /// The record in the core's terms; `None`: its topic is no ACK topic of ours.
    pub fn decode(&mut self, raw: &RawRecord<'_>) -> Option<(AckIx, AckRecord)> {
        let ack = self.ack_ix(raw.topic)?;
        let rule = self.rules.ack(ack)?;

        let mut said = Said::default();
        let slots = &mut self.slots;
        let mut served = Served {
            rules: &self.rules,
            ack,
            last: &mut self.last_topic,
        };
        let mut has_headers = false;
        raw.headers.visit(&mut |name, value| {
            if !has_headers {
                has_headers = true;
                slots.reset(&rule.ids);
            }
            rule.ids.observe(slots, name, value);
            if let Some(ours) = name.strip_prefix(names::PREFIX.as_bytes())
                && let Some(value) = value
            {
                said.observe(ours, value, &mut served);
            }
            ControlFlow::Continue(())
        });

        if !has_headers {
            // The common record: nothing but the position in its key.
            if rule.key_without_headers
                && let Some(target) = raw.key.and_then(|key| served.position(key))
            {
                let at = LogPosition::new(raw.partition, raw.offset);
                let extra = None;
                return Some((ack, AckRecord { at, target, extra }));
            }
            slots.reset(&rule.ids);
        }
        let target = if said.extra.verdict.is_coordinators() {
            raw.key
                .and_then(|key| served.position(key))
                .unwrap_or_else(|| nothing(raw.key))
        } else {
            match rule.ids.pick(slots, raw.key, raw.value).id {
                Some(id) => by_id(rule, &said, &id, &mut served),
                None => said.origin().unwrap_or_else(|| nothing(raw.key)),
            }
        };
        let record = AckRecord {
            at: LogPosition::new(raw.partition, raw.offset),
            target,
            extra: said.extra(),
        };
        Some((ack, record))
    }

    /// The ACK topic of that name.
    pub fn ack_ix(&mut self, name: &str) -> Option<AckIx> {
        if let Some(last) = self.last_ack
            && self.rules.ack(last).is_some_and(|a| a.name == name)
        {
            return Some(last);
        }
        let found = self.rules.ack_ix(name)?;
        self.last_ack = Some(found);
        Some(found)
    }
}

/// Tells the topics that this ACK topic serves from the others.
struct Served<'d> {
    rules: &'d DecodeRules,
    ack: AckIx,
    last: &'d mut LastTopic,
}

impl Served<'_> {
    /// A topic of that name, if it is served.
    fn topic(&mut self, name: &[u8]) -> Option<TopicIx> {
        self.last
            .find(self.rules, name)
            .filter(|t| self.rules.serves(self.ack, *t))
    }

    /// `None`: not the position of a tracked topic.
    fn position(&mut self, text: &[u8]) -> Option<AckTarget> {
        let (name, partition, offset) = position::split(text)?;
        let topic = self.last.find(self.rules, name)?;
        if !self.rules.serves(self.ack, topic) {
            return Some(nothing(Some(text)));
        }
        Some(AckTarget::Position {
            topic,
            partition,
            offset,
        })
    }
}

fn by_id(rule: &AckRule, said: &Said, id: &str, served: &mut Served<'_>) -> AckTarget {
    if let Some(position) = served.position(id.as_bytes()) {
        return position;
    }
    let topic = match (said.topic, &rule.sources[..]) {
        (NamedTopic::Served(topic), _) => Some(topic),
        (NamedTopic::None, [only]) => Some(*only),
        (NamedTopic::None | NamedTopic::NotServed, _) => None,
    };
    match topic {
        Some(topic) => AckTarget::Id {
            topic,
            id: id.into(),
        },
        None => nothing(Some(id.as_bytes())),
    }
}

fn nothing(text: Option<&[u8]>) -> AckTarget {
    AckTarget::Nothing {
        text: text::shortened(text.unwrap_or_default(), NOTHING_CHARS_MAX),
    }
}

/// `ackwarden-topic`.
#[derive(Debug, Default, Clone, Copy)]
enum NamedTopic {
    #[default]
    None,
    Served(TopicIx),
    NotServed,
}

/// The headers of ours in one record.
#[derive(Debug, Default)]
struct Said {
    topic: NamedTopic,
    our_group: bool,
    bad_verdict: bool,
    bad_attempt: bool,
    bad_delay: bool,
    extra: AckExtra,
}

impl Said {
    /// `name` is what follows the prefix.
    fn observe(&mut self, name: &[u8], value: &[u8], served: &mut Served<'_>) {
        match name {
            b"topic" => {
                self.topic = served
                    .topic(value)
                    .map_or(NamedTopic::NotServed, NamedTopic::Served);
            }
            b"origin" => {
                self.extra.origin =
                    position::split(value).and_then(|(topic, partition, offset)| {
                        Some((served.topic(topic)?, LogPosition::new(partition, offset)))
                    });
            }
            b"verdict" => {
                let verdict = Verdict::ALL
                    .into_iter()
                    .find(|v| v.as_str().as_bytes() == value);
                self.bad_verdict = verdict.is_none();
                self.extra.verdict = verdict.unwrap_or(Verdict::Ack);
            }
            b"attempt" => {
                self.extra.attempt = text::number(value).filter(|a: &u32| *a > 0);
                self.bad_attempt = self.extra.attempt.is_none();
            }
            b"delay" => {
                self.extra.delay_ms = text::duration_ms(value);
                self.bad_delay = self.extra.delay_ms.is_none();
            }
            b"reason" => self.extra.reason = Some(text::shortened(value, REASON_CHARS_MAX)),
            b"by" => self.extra.by = Some(text::shortened(value, BY_CHARS_MAX)),
            b"group" => self.our_group = value == served.rules.group().as_bytes(),
            _ => {}
        }
    }

    fn origin(&self) -> Option<AckTarget> {
        self.extra.origin.map(|(topic, at)| AckTarget::Position {
            topic,
            partition: at.partition,
            offset: at.offset,
        })
    }

    fn extra(mut self) -> Option<Box<AckExtra>> {
        let verdict = self.extra.verdict;
        self.extra.other_group = verdict.is_coordinators() && !self.our_group;
        self.extra.invalid = if self.bad_verdict {
            Some("unknown verdict")
        } else if self.bad_delay {
            Some("the delay is not a duration")
        } else if self.bad_attempt && depends_on_delivery(verdict) {
            Some("the attempt is not a number")
        } else {
            None
        };
        (self.extra != AckExtra::default()).then(|| Box::new(self.extra))
    }
}

/// Whether the verdict is about one delivery rather than about the message.
const fn depends_on_delivery(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Ack | Verdict::OperatorAck | Verdict::DeadLettered | Verdict::PayloadLost => false,
        Verdict::Nack
        | Verdict::Reject
        | Verdict::Extend
        | Verdict::OperatorNack
        | Verdict::OperatorExtend
        | Verdict::OperatorRetry
        | Verdict::OperatorDeadLetter => true,
    }
}

#[cfg(test)]
#[path = "ack_tests.rs"]
mod tests;
