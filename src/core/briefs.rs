//! Messages that were acknowledged on their first delivery, kept for a while in the order in which they settled.
//!
//! Nearly every message ends here, so that this is a ring of chunks in which each takes 24 bytes and its label; chunks
//! that have run out are used again. Finding one by its position asks each chunk whether it can have it.

use std::collections::VecDeque;

use super::bits::Bits;
use super::image::BLOCK_OFFSETS;
use super::types::{LogPosition, TopicIx};
use super::view::{AttemptView, MessageDetail, MessageView, State};

const CHUNK: usize = BLOCK_OFFSETS as usize;
const SPARE_MAX: usize = 4;

/// A message that was acknowledged on its first delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Brief<'a> {
    pub at: LogPosition,
    pub id: Option<&'a str>,
    pub seen_wall_ms: i64,
    pub settled_wall_ms: i64,
    pub size_bytes: u32,
    /// By an operator's decision.
    pub by_operator: bool,
}

impl Brief<'_> {
    pub const fn state(&self) -> State {
        if self.by_operator {
            State::OperatorAcked
        } else {
            State::Acked
        }
    }

    pub fn view(&self, topic: TopicIx, max_attempts: u32) -> MessageView {
        MessageView {
            topic,
            position: self.at,
            id: self.id.map(Into::into),
            state: self.state(),
            attempt: 1,
            max_attempts,
            seen_wall_ms: self.seen_wall_ms,
            deadline_wall_ms: None,
            age_ms: self.age_ms(),
            newest_delivery: self.at.offset,
            cause: None,
            reason: None,
            size_bytes: self.size_bytes,
            late_ack: false,
            settled_wall_ms: Some(self.settled_wall_ms),
        }
    }

    pub fn age_ms(&self) -> u64 {
        u64::try_from(self.settled_wall_ms - self.seen_wall_ms).unwrap_or(0)
    }

    pub fn detail(&self, topic: TopicIx, max_attempts: u32) -> MessageDetail {
        MessageDetail {
            message: self.view(topic, max_attempts),
            attempts: vec![AttemptView {
                attempt: 1,
                offset: self.at.offset,
                at_wall_ms: self.seen_wall_ms,
                cause: None,
                outcome: self.state().as_str(),
            }],
        }
    }
}

#[derive(Clone, Copy)]
struct Entry {
    offset: i64,
    partition: i32,
    size_bytes: u32,
    /// From arrival to ACK; what was longer than 49 days counts as that.
    age_ms: u32,
    /// After the chunk's first one; may be before it, where the wall clock was set back.
    settled_after_ms: i32,
}

/// Neighbours in time.
#[derive(Default)]
struct Chunk {
    entries: Vec<Entry>,
    first_settled_wall_ms: i64,
    by_operator: Bits,
    /// Labels behind each other; empty where none has one.
    texts: String,
    /// Where each one's label ends.
    text_ends: Vec<u32>,
    offset_min: i64,
    offset_max: i64,
    /// A bit for each partition, by its last bits.
    partitions: u64,
}

const fn partition_bit(partition: i32) -> u64 {
    1 << (partition as u32 % 64)
}

impl Chunk {
    fn clear(&mut self) {
        self.entries.clear();
        self.texts.clear();
        self.text_ends.clear();
        self.by_operator = Bits::NONE;
        self.partitions = 0;
    }

    #[inline]
    fn push(&mut self, brief: &Brief<'_>) {
        let at = brief.at;
        if self.entries.is_empty() {
            self.first_settled_wall_ms = brief.settled_wall_ms;
            (self.offset_min, self.offset_max) = (at.offset, at.offset);
        }
        if brief.by_operator {
            self.by_operator.set(self.entries.len() as u16);
        }
        if let Some(id) = brief.id {
            self.text_ends
                .resize(self.entries.len(), self.texts.len() as u32);
            self.texts.push_str(id);
            self.text_ends.push(self.texts.len() as u32);
        }
        self.offset_min = self.offset_min.min(at.offset);
        self.offset_max = self.offset_max.max(at.offset);
        self.partitions |= partition_bit(at.partition);
        let after_ms = brief
            .settled_wall_ms
            .saturating_sub(self.first_settled_wall_ms);
        let ends = i64::from(i32::MIN)..=i64::from(i32::MAX);
        self.entries.push(Entry {
            offset: at.offset,
            partition: at.partition,
            size_bytes: brief.size_bytes,
            age_ms: u32::try_from(brief.age_ms()).unwrap_or(u32::MAX),
            settled_after_ms: after_ms.clamp(*ends.start(), *ends.end()) as i32,
        });
    }

    fn get(&self, i: usize) -> Option<Brief<'_>> {
        let entry = self.entries.get(i)?;
        let settled_wall_ms = self.first_settled_wall_ms + i64::from(entry.settled_after_ms);
        Some(Brief {
            at: LogPosition::new(entry.partition, entry.offset),
            id: self.id(i),
            seen_wall_ms: settled_wall_ms - i64::from(entry.age_ms),
            settled_wall_ms,
            size_bytes: entry.size_bytes,
            by_operator: self.by_operator.has(i as u16),
        })
    }

    /// No id is empty.
    fn id(&self, i: usize) -> Option<&str> {
        let end = *self.text_ends.get(i)?;
        let start = match i.checked_sub(1) {
            Some(before) => *self.text_ends.get(before)?,
            None => 0,
        };
        let text = self.texts.get(start as usize..end as usize)?;
        (!text.is_empty()).then_some(text)
    }

    fn may_have(&self, at: LogPosition) -> bool {
        self.partitions & partition_bit(at.partition) != 0
            && (self.offset_min..=self.offset_max).contains(&at.offset)
    }
}

/// The ring, oldest first.
#[derive(Default)]
pub(super) struct Briefs {
    /// All but the last are full.
    chunks: VecDeque<Chunk>,
    /// How many of the first chunk have gone.
    passed: usize,
    len: usize,
    spare: Vec<Chunk>,
}

impl Briefs {
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn push(&mut self, brief: &Brief<'_>) {
        match self.chunks.back_mut() {
            Some(last) if last.entries.len() < CHUNK => last.push(brief),
            _ => {
                let mut chunk = self.spare.pop().unwrap_or_default();
                chunk.entries.reserve_exact(CHUNK);
                chunk.push(brief);
                self.chunks.push_back(chunk);
            }
        }
        self.len += 1;
    }

    /// The oldest goes; false if there is none.
    #[inline]
    pub fn drop_oldest(&mut self) -> bool {
        if self.len == 0 {
            return false;
        }
        self.len -= 1;
        self.passed += 1;
        if self.passed >= CHUNK || self.len == 0 {
            self.passed = 0;
            if let Some(mut chunk) = self.chunks.pop_front()
                && self.spare.len() < SPARE_MAX
            {
                chunk.clear();
                self.spare.push(chunk);
            }
        }
        true
    }

    pub fn oldest(&self) -> Option<Brief<'_>> {
        self.chunks.front()?.get(self.passed)
    }

    /// By age, from the newest, which is 0.
    pub fn newest(&self, nth: usize) -> Option<Brief<'_>> {
        let from_oldest = self.len.checked_sub(nth)?.checked_sub(1)?;
        let place = from_oldest + self.passed;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    /// Newest first: what is asked for is most often what just happened.
    pub fn find(&self, at: LogPosition) -> Option<Brief<'_>> {
        for (n, chunk) in self.chunks.iter().enumerate().rev() {
            if !chunk.may_have(at) {
                continue;
            }
            let first = if n == 0 { self.passed } else { 0 };
            let same = |e: &Entry| e.offset == at.offset && e.partition == at.partition;
            if let Some(found) = chunk.entries[first..].iter().rposition(same) {
                return chunk.get(first + found);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brief(n: i64, id: Option<&str>) -> Brief<'_> {
        Brief {
            at: LogPosition::new((n % 70) as i32, n / 3),
            id,
            seen_wall_ms: 1_700_000_000_000 + n,
            settled_wall_ms: 1_700_000_000_000 + n + n % 50,
            size_bytes: n as u32,
            by_operator: n % 7 == 0,
        }
    }

    proptest! {
        /// Against a plain queue, with runs long enough to fill and empty chunks.
        #[test]
        fn briefs_are_a_queue(
            ops in prop::collection::vec((1..900_usize, prop::bool::weighted(0.6), prop::bool::weighted(0.3)), 0..30),
        ) {
            let mut briefs = Briefs::default();
            let mut model: VecDeque<(i64, Option<String>)> = VecDeque::new();
            let mut n = 0;
            for (count, push, with_ids) in ops {
                for i in 0..count {
                    if push {
                        let id = (with_ids && i % 3 != 1).then(|| format!("id-{n}"));
                        briefs.push(&brief(n, id.as_deref()));
                        model.push_back((n, id));
                        n += 1;
                    } else {
                        prop_assert_eq!(briefs.drop_oldest(), model.pop_front().is_some());
                    }
                }
                prop_assert_eq!(briefs.len(), model.len());
                let made = |m: Option<&(i64, Option<String>)>| m.map(|(n, id)| (*n, id.clone()));
                for (found, m) in [
                    (briefs.oldest(), made(model.front())),
                    (briefs.newest(0), made(model.back())),
                    (briefs.newest(count), made(model.iter().rev().nth(count))),
                ] {
                    prop_assert_eq!(found, m.as_ref().map(|(n, id)| brief(*n, id.as_deref())));
                }
                for (n, id) in model.iter().step_by(101) {
                    let wanted = brief(*n, id.as_deref());
                    prop_assert_eq!(briefs.find(wanted.at).map(|b| b.at), Some(wanted.at));
                }
                prop_assert_eq!(briefs.find(LogPosition::new(0, n)), None);
            }
        }
    }
}
