//! ACKs that came before their message was read.
//!
//! They are kept until the source position has passed the source end that was read after the ACK was applied; what
//! has found no message by then is an orphan. No guessing by time. A plain ACK by position is one bit.

use std::collections::{BTreeMap, HashMap};

use super::guards::Guard;
use super::record::AckRecord;
use super::types::LogPosition;

/// Offsets that one bitmap covers.
const SPAN: i64 = 1024;

#[derive(Default)]
struct Bits {
    words: [u64; 16],
    count: u16,
    /// The newest fence that had been asked for when the last bit was set.
    asked: u64,
}

/// Early ACKs by position, of one partition.
#[derive(Default)]
pub(super) struct EarlyByOffset {
    bits: BTreeMap<i64, Box<Bits>>,
    /// Everything but plain ACKs, in the order in which it came.
    others: BTreeMap<i64, Vec<(u64, AckRecord)>>,
    others_count: usize,
}

impl EarlyByOffset {
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty() && self.others.is_empty()
    }

    /// Whether anything but plain ACKs is held.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Where they stand, but for plain ones.
    pub fn kept_whole(&self) -> impl Iterator<Item = LogPosition> {
        self.others.values().flatten().map(|(_, ack)| ack.at)
    }

    /// What it costs, in units of about 150 bytes.
    pub fn weight(&self) -> usize {
        self.bits.len() + self.others_count
    }

    /// Keeps a plain ACK; false if there was one already.
    pub fn keep_plain(&mut self, offset: i64, asked: u64) -> bool {
        let i = offset.rem_euclid(SPAN) as usize;
        let bits = self.bits.entry(offset - i as i64).or_default();
        let (word, bit) = (i / 64, 1u64 << (i % 64));
        let new = bits.words[word] & bit == 0;
        bits.words[word] |= bit;
        bits.count += u16::from(new);
        bits.asked = bits.asked.max(asked);
        new
    }

    pub fn keep(&mut self, offset: i64, asked: u64, ack: AckRecord) {
        let held = self.others.entry(offset).or_default();
        self.others_count += usize::from(add(held, asked, ack));
    }

    /// All that is held counts as kept when that fence was the newest asked for.
    pub fn asked_is(&mut self, asked: u64) {
        self.bits.values_mut().for_each(|b| b.asked = asked);
        let others = self.others.values_mut().flatten();
        others.for_each(|(at, _)| *at = asked);
    }

    /// Whether a plain ACK waits for that offset; it is taken.
    pub fn take_plain(&mut self, offset: i64) -> bool {
        let i = offset.rem_euclid(SPAN) as usize;
        let base = offset - i as i64;
        let Some(bits) = self.bits.get_mut(&base) else {
            return false;
        };
        let (word, bit) = (i / 64, 1u64 << (i % 64));
        if bits.words[word] & bit == 0 {
            return false;
        }
        bits.words[word] &= !bit;
        bits.count -= 1;
        if bits.count == 0 {
            self.bits.remove(&base);
        }
        true
    }

    pub fn take_others(&mut self, offset: i64) -> Vec<AckRecord> {
        let taken = self.others.remove(&offset).unwrap_or_default();
        self.others_count -= taken.len();
        taken.into_iter().map(|(_, ack)| ack).collect()
    }

    /// Everything below `applied` was read, and was not this: orphans. Also what lies at or past `end`, if it was kept
    /// before the fence `answered` was asked: it named a record that did not exist. Gives plain offsets and others.
    pub fn take_orphans(
        &mut self,
        applied: i64,
        fence: Option<(u64, i64)>,
    ) -> (Vec<i64>, Vec<AckRecord>) {
        let mut plain = Vec::new();
        let mut emptied = Vec::new();
        // Without a fence only what was passed can be an orphan: the rest is not looked at.
        let looked_at = if fence.is_some() { i64::MAX } else { applied };
        for (base, bits) in self.bits.range_mut(..looked_at) {
            let beyond = match fence {
                Some((answered, end)) if bits.asked < answered || !Guard::OrphanByFence.holds() => {
                    end
                }
                _ => i64::MAX,
            };
            if *base >= applied && base.saturating_add(SPAN) <= beyond {
                continue;
            }
            for (w, word) in bits.words.iter_mut().enumerate() {
                let mut left = *word;
                while left != 0 {
                    let b = left.trailing_zeros();
                    left &= left - 1;
                    let offset = base + (w as i64) * 64 + i64::from(b);
                    if offset < applied || offset >= beyond {
                        *word &= !(1 << b);
                        bits.count -= 1;
                        plain.push(offset);
                    }
                }
            }
            if bits.count == 0 {
                emptied.push(*base);
            }
        }
        for base in emptied {
            self.bits.remove(&base);
        }
        let mut others = Vec::new();
        if self.others.is_empty() {
            return (plain, others);
        }
        if fence.is_none() {
            let kept = self.others.split_off(&applied);
            let passed = std::mem::replace(&mut self.others, kept);
            others.extend(passed.into_values().flatten().map(|(_, ack)| ack));
            self.others_count -= others.len();
            return (plain, others);
        }
        self.others.retain(|offset, acks| {
            acks.retain(|(asked, ack)| {
                let orphan = *offset < applied
                    || fence.is_some_and(|(answered, end)| {
                        let after = *asked < answered || !Guard::OrphanByFence.holds();
                        after && *offset >= end
                    });
                if orphan {
                    others.push(ack.clone());
                }
                !orphan
            });
            !acks.is_empty()
        });
        self.others_count -= others.len();
        (plain, others)
    }
}

/// False: that very record is held, and was read again.
fn add(held: &mut Vec<(u64, AckRecord)>, asked: u64, ack: AckRecord) -> bool {
    if let Some((at, _)) = held.iter_mut().find(|(_, other)| other.at == ack.at) {
        *at = asked;
        return false;
    }
    held.push((asked, ack));
    true
}

/// Early ACKs by id, of one topic.
#[derive(Default)]
pub(super) struct EarlyById {
    held: HashMap<u64, Vec<(u64, AckRecord)>>,
    count: usize,
    /// Once a fence was answered: what was kept before it was asked goes when all of this is passed.
    waiting: Option<(u64, Vec<(i32, i64)>)>,
}

impl EarlyById {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn weight(&self) -> usize {
        self.count
    }

    pub fn keep(&mut self, id: u64, asked: u64, ack: AckRecord) {
        let held = self.held.entry(id).or_default();
        self.count += usize::from(add(held, asked, ack));
    }

    /// Where they stand.
    pub fn kept(&self) -> impl Iterator<Item = LogPosition> {
        self.held.values().flatten().map(|(_, ack)| ack.at)
    }

    pub fn take(&mut self, id: u64) -> Vec<AckRecord> {
        let taken = self.held.remove(&id).unwrap_or_default();
        self.count -= taken.len();
        taken.into_iter().map(|(_, ack)| ack).collect()
    }

    /// Everything that is held.
    pub fn take_all(&mut self) -> Vec<(u64, AckRecord)> {
        let held = std::mem::take(self).held.into_iter();
        held.flat_map(|(id, acks)| acks.into_iter().map(move |(_, ack)| (id, ack)))
            .collect()
    }

    /// A fence was answered. Only one is waited for at a time: the oldest is the easiest to pass.
    pub fn fence(&mut self, answered: u64, source_ends: &[(i32, i64)]) {
        if !self.is_empty() && self.waiting.is_none() {
            self.waiting = Some((answered, source_ends.to_vec()));
        }
    }

    /// What is awaited may be less than there is to be read.
    pub fn wait_anew(&mut self) {
        self.waiting = None;
    }

    /// Orphans, if every partition of ours has passed the awaited fence. `applied` is `None` for those of others: if one
    /// becomes ours, its ACKs are read again.
    pub fn take_orphans(&mut self, applied: impl Fn(i32) -> Option<i64>) -> Vec<AckRecord> {
        let Some((answered, ends)) = &self.waiting else {
            return Vec::new();
        };
        let passed = ends
            .iter()
            .all(|(partition, end)| applied(*partition).is_none_or(|at| at >= *end));
        if !passed {
            return Vec::new();
        }
        let answered = *answered;
        self.waiting = None;
        let mut orphans = Vec::new();
        self.held.retain(|_, acks| {
            acks.retain(|(asked, ack)| {
                let orphan = *asked < answered || !Guard::OrphanByFence.holds();
                if orphan {
                    orphans.push(ack.clone());
                }
                !orphan
            });
            !acks.is_empty()
        });
        self.count -= orphans.len();
        orphans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_ack_waits_for_its_record_and_is_taken_once() {
        let mut early = EarlyByOffset::default();
        assert!(early.keep_plain(2047, 0));
        assert!(!early.keep_plain(2047, 0));
        assert!(!early.take_plain(2046));
        assert!(early.take_plain(2047));
        assert!(!early.take_plain(2047));
        assert!(early.is_empty());
    }

    #[test]
    fn an_ack_for_a_record_that_did_not_exist_is_an_orphan_only_after_a_fence_asked_later() {
        let mut early = EarlyByOffset::default();
        early.keep_plain(100, 3);
        assert_eq!(early.take_orphans(50, Some((3, 60))).0, Vec::<i64>::new());
        assert_eq!(early.take_orphans(50, Some((4, 101))).0, Vec::<i64>::new());
        assert_eq!(early.take_orphans(50, Some((4, 60))).0, [100]);
        assert!(early.is_empty());
    }

    #[test]
    fn an_ack_for_an_offset_that_the_source_passed_without_a_record_is_an_orphan() {
        let mut early = EarlyByOffset::default();
        early.keep_plain(100, 0);
        early.keep_plain(1500, 0);
        assert_eq!(early.take_orphans(101, None).0, [100]);
        assert!(early.take_plain(1500));
    }
}
