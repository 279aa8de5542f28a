//! Ids as labels on outstanding messages: from an id to the positions that carry it.
//!
//! The index holds positions alone, found by a keyed hash of the id. Whether a message really carries the id is read from
//! the message itself (the caller's `carries`): chance is no evidence, and two ids of one hash are no more than two ids.
//! Ten bytes a message; the tables are many small ones, so that none takes long to grow.

use std::hash::Hasher;
use std::hint::black_box;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use super::ahead::TOGETHER;
use super::types::LogPosition;

/// Tables, by the first bits of the hash.
const SHARD_BITS: u32 = 6;
/// Bits of an offset that an entry holds; the rest is its lane's.
const OFFSET_BITS: u32 = 36;
const OFFSET_LOW: i64 = (1 << OFFSET_BITS) - 1;

/// The outstanding messages of one topic, by id.
pub(super) struct Labels {
    key: (u64, u64),
    /// Empty before the first label.
    shards: Vec<HashTable<Entry>>,
    /// Partitions, each with the high bits of its offsets: one for each partition, unless offsets are absurd.
    lanes: Vec<LogPosition>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// The hash's last 28 bits and the offset's last 36, in pieces that need no room between entries.
    packed: [u16; 4],
    lane: u16,
}

impl Entry {
    fn new(hash: Short, offset: i64, lane: u16) -> Self {
        let packed = u64::from(hash.0) << OFFSET_BITS | (offset & OFFSET_LOW) as u64;
        Self {
            packed: [0, 16, 32, 48].map(|shift| (packed >> shift) as u16),
            lane,
        }
    }

    fn packed(&self) -> u64 {
        let each = self.packed.iter().rev();
        each.fold(0, |all, piece| all << 16 | u64::from(*piece))
    }

    fn hash(&self) -> Short {
        Short((self.packed() >> OFFSET_BITS) as u32)
    }

    fn offset_low(&self) -> i64 {
        self.packed() as i64 & OFFSET_LOW
    }
}

/// What an entry holds of a hash.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Short(u32);

impl Short {
    const fn of(hash: u64) -> Self {
        Self((hash & ((1 << (64 - OFFSET_BITS)) - 1)) as u32)
    }

    /// Spread over both ends, of which a table uses one for the place and one for the tag.
    fn spread(self) -> u64 {
        u64::from(self.0) << OFFSET_BITS | u64::from(self.0)
    }
}

/// Who carries an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Carriers {
    None,
    One(LogPosition),
    /// Ascending.
    Several(Vec<LogPosition>),
}

impl Labels {
    pub fn new(seed: u64) -> Self {
        Self {
            key: (seed, seed.rotate_left(32) ^ 0x5bd1_e995_9d1b_54a3),
            shards: Vec::new(),
            lanes: Vec::new(),
        }
    }

    pub fn hash(&self, id: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write(id.as_bytes());
        hasher.finish()
    }

    const fn shard(hash: u64) -> usize {
        (hash >> (64 - SHARD_BITS)) as usize
    }

    fn lane(&self, at: LogPosition) -> Option<u16> {
        let wanted = LogPosition::new(at.partition, at.offset & !OFFSET_LOW);
        let found = self.lanes.iter().position(|lane| *lane == wanted)?;
        u16::try_from(found).ok()
    }

    fn position(lanes: &[LogPosition], entry: &Entry) -> Option<LogPosition> {
        let lane = lanes.get(usize::from(entry.lane))?;
        let offset = lane.offset | entry.offset_low();
        Some(LogPosition::new(lane.partition, offset))
    }

    /// Labels a message; true if another outstanding one carries the id already. Beyond 65,536 lanes nothing is labelled:
    /// such a message is acknowledged by its position.
    pub fn add(
        &mut self,
        hash: u64,
        at: LogPosition,
        carries: impl Fn(LogPosition) -> bool,
    ) -> bool {
        let lane = match self.lane(at) {
            Some(lane) => lane,
            None => {
                let Ok(lane) = u16::try_from(self.lanes.len()) else {
                    return false;
                };
                let base = at.offset & !OFFSET_LOW;
                self.lanes.push(LogPosition::new(at.partition, base));
                lane
            }
        };
        if self.shards.is_empty() {
            self.shards.resize_with(1 << SHARD_BITS, HashTable::new);
        }
        let table = &mut self.shards[Self::shard(hash)];
        let hash = Short::of(hash);
        let mut reused = false;
        for entry in table.iter_hash(hash.spread()) {
            if entry.hash() == hash
                && let Some(other) = Self::position(&self.lanes, entry)
            {
                if other == at {
                    return false;
                }
                reused |= carries(other);
            }
        }
        let entry = Entry::new(hash, at.offset, lane);
        table.insert_unique(hash.spread(), entry, |e| e.hash().spread());
        reused
    }

    /// There will be so many more.
    pub fn reserve(&mut self, labels: usize) {
        if labels == 0 {
            return;
        }
        if self.shards.is_empty() {
            self.shards.resize_with(1 << SHARD_BITS, HashTable::new);
        }
        for table in &mut self.shards {
            table.reserve(labels >> SHARD_BITS, |e| e.hash().spread());
        }
    }

    /// Labels these messages; that another one carries the id of one of them is not asked.
    pub fn add_all(&mut self, labels: &[(u64, LogPosition)]) {
        for some in labels.chunks(TOGETHER) {
            // Looked at once before, so that the processor waits for all of it at once.
            let found = some.iter().filter_map(|(hash, _)| self.first(*hash));
            black_box(found.map(|at| at.offset).fold(0, i64::wrapping_add));
            for (hash, at) in some {
                self.add(*hash, *at, |_| false);
            }
        }
    }

    pub fn remove(&mut self, hash: u64, at: LogPosition) {
        let Some(table) = self.shards.get_mut(Self::shard(hash)) else {
            return;
        };
        let hash = Short::of(hash);
        let lanes = &self.lanes;
        let same = |e: &Entry| e.hash() == hash && Self::position(lanes, e) == Some(at);
        if let Ok(found) = table.find_entry(hash.spread(), same) {
            found.remove();
        }
    }

    /// Some message with that hash, whether or not it carries the id: to have it at hand.
    pub fn first(&self, hash: u64) -> Option<LogPosition> {
        let table = self.shards.get(Self::shard(hash))?;
        let hash = Short::of(hash);
        let found = table.find(hash.spread(), |e| e.hash() == hash)?;
        Self::position(&self.lanes, found)
    }

    /// The outstanding messages with that id.
    pub fn find(&self, hash: u64, carries: impl Fn(LogPosition) -> bool) -> Carriers {
        let Some(table) = self.shards.get(Self::shard(hash)) else {
            return Carriers::None;
        };
        let hash = Short::of(hash);
        let mut found = Carriers::None;
        for entry in table.iter_hash(hash.spread()) {
            let Some(at) = Self::position(&self.lanes, entry) else {
                continue;
            };
            if entry.hash() != hash || !carries(at) {
                continue;
            }
            found = match found {
                Carriers::None => Carriers::One(at),
                Carriers::One(first) => Carriers::Several(vec![first, at]),
                Carriers::Several(mut all) => {
                    all.push(at);
                    Carriers::Several(all)
                }
            };
        }
        if let Carriers::Several(all) = &mut found {
            all.sort_unstable();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map from ids to positions, with few hashes, so that ids meet in them.
        #[test]
        fn labels_are_a_map_from_ids_to_positions(
            ops in prop::collection::vec((0..40_u8, 0..3_i32, 0..6_i64, prop::bool::weighted(0.6)), 0..300),
        ) {
            let mut labels = Labels::new(7);
            let mut model: BTreeMap<LogPosition, u8> = BTreeMap::new();
            let offset = |n: i64| if n == 5 { i64::MAX - 3 } else { n << 45 | n };
            let hash = |id: u8| u64::from(id % 4) << 62 | u64::from(id % 3) << 20;
            for (id, partition, n, add) in ops {
                let at = LogPosition::new(partition, offset(n));
                if add && model.get(&at).is_none_or(|known| *known == id) {
                    let others = model.iter().any(|(p, i)| *i == id && *p != at);
                    let known = model.contains_key(&at);
                    let reused = labels.add(hash(id), at, |p| model.get(&p) == Some(&id));
                    prop_assert_eq!(reused, others && !known);
                    model.insert(at, id);
                } else if let Some(id) = model.remove(&at) {
                    labels.remove(hash(id), at);
                }
                let all: Vec<_> = model.iter().filter(|(_, i)| **i == id).map(|(p, _)| *p).collect();
                let found = labels.find(hash(id), |p| model.get(&p) == Some(&id));
                prop_assert_eq!(found, match all[..] {
                    [] => Carriers::None,
                    [one] => Carriers::One(one),
                    _ => Carriers::Several(all),
                });
            }
        }
    }
}
