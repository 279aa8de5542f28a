//! First deliveries that are outstanding, by dense offset: blocks of [`BLOCK_OFFSETS`] neighbours, struct of arrays.
//!
//! What is acknowledged soon is never more than a few bytes in a block; a block without anything live is gone. A block
//! in which only few survive shrinks to a sorted vector. Messages with a history live in `detail`; here they leave only
//! a mark at their anchor, because the lowest mark is the low-water mark.

use std::collections::BTreeMap;

use super::image::BLOCK_OFFSETS;

const SLOTS: usize = BLOCK_OFFSETS as usize;
/// A dense block with fewer live slots than this shrinks, once the log's head has left it: below it the vector is smaller.
const SPARSE_BELOW: u16 = 64;
/// Emptied dense blocks kept for the next ones, so that the steady state allocates nothing.
const SPARE_BLOCKS_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// An outstanding first delivery: all about it is in the slot.
    First,
    /// A message with a history is anchored here: look in the details.
    Anchor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub mark: Mark,
    /// Monotonic ms; may lie before the process began.
    pub seen_ms: i64,
    pub len: u32,
    pub digest: u64,
}

const VACANT: u8 = 0;
const FIRST: u8 = 1;
const ANCHOR: u8 = 2;

struct Dense {
    seen_base_ms: i64,
    marks: [u8; SLOTS],
    seen_delta_ms: [u32; SLOTS],
    len: [u32; SLOTS],
    digest: [u64; SLOTS],
}

impl Dense {
    fn boxed() -> Box<Self> {
        Box::new(Self {
            seen_base_ms: 0,
            marks: [VACANT; SLOTS],
            seen_delta_ms: [0; SLOTS],
            len: [0; SLOTS],
            digest: [0; SLOTS],
        })
    }

    fn slot(&self, i: usize) -> Option<Slot> {
        let mark = mark_of(self.marks[i])?;
        Some(Slot {
            mark,
            seen_ms: self.seen_base_ms + i64::from(self.seen_delta_ms[i]),
            len: self.len[i],
            digest: self.digest[i],
        })
    }

    fn put(&mut self, i: usize, slot: Slot) {
        self.marks[i] = byte_of(slot.mark);
        // A time before the block's base counts as the base: a deadline can come later by that, never earlier.
        let delta = slot.seen_ms.saturating_sub(self.seen_base_ms).max(0);
        self.seen_delta_ms[i] = u32::try_from(delta).unwrap_or(u32::MAX);
        self.len[i] = slot.len;
        self.digest[i] = slot.digest;
    }
}

const fn mark_of(byte: u8) -> Option<Mark> {
    match byte {
        FIRST => Some(Mark::First),
        ANCHOR => Some(Mark::Anchor),
        _ => None,
    }
}

const fn byte_of(mark: Mark) -> u8 {
    match mark {
        Mark::First => FIRST,
        Mark::Anchor => ANCHOR,
    }
}

enum Body {
    Dense(Box<Dense>),
    /// Ascending by slot.
    Sparse(Vec<(u16, Slot)>),
}

struct Block {
    body: Body,
    live: u16,
    /// No live slot below this one.
    first_hint: u16,
    /// Changed since the last checkpoint.
    dirty: bool,
    /// A checkpoint holds it.
    written: bool,
    /// Labels of first deliveries whose id is not their position; an empty map owns no heap.
    ids: BTreeMap<u16, Box<str>>,
}

impl Block {
    fn slot(&self, i: u16) -> Option<Slot> {
        match &self.body {
            Body::Dense(dense) => dense.slot(usize::from(i)),
            Body::Sparse(slots) => slots
                .binary_search_by_key(&i, |(at, _)| *at)
                .ok()
                .map(|at| slots[at].1),
        }
    }

    /// The first live slot at or after `from`.
    fn next(&self, from: u16) -> Option<(u16, Slot)> {
        if self.live == 0 {
            return None;
        }
        let from = from.max(self.first_hint);
        match &self.body {
            Body::Dense(dense) => {
                let at = usize::from(from);
                let found = dense.marks.get(at..)?.iter().position(|m| *m != VACANT)? + at;
                Some((found as u16, dense.slot(found)?))
            }
            Body::Sparse(slots) => {
                let at = slots.partition_point(|(i, _)| *i < from);
                slots.get(at).copied()
            }
        }
    }
}

/// The slots of one partition.
#[derive(Default)]
pub(super) struct Slots {
    blocks: BTreeMap<i64, Block>,
    spare: Vec<Box<Dense>>,
    /// Bases of blocks that a checkpoint holds and that are gone since.
    gone: Vec<i64>,
    live: u64,
}

const fn split(offset: i64) -> (i64, u16) {
    let slot = offset.rem_euclid(BLOCK_OFFSETS);
    (offset - slot, slot as u16)
}

impl Slots {
    /// How many slots are live: first deliveries and anchors.
    pub fn live(&self) -> u64 {
        self.live
    }

    pub fn get(&self, offset: i64) -> Option<Slot> {
        let (base, i) = split(offset);
        self.blocks.get(&base)?.slot(i)
    }

    pub fn id(&self, offset: i64) -> Option<&str> {
        let (base, i) = split(offset);
        self.blocks.get(&base)?.ids.get(&i).map(|id| &**id)
    }

    /// Puts a slot; one that is there already is replaced.
    pub fn put(&mut self, offset: i64, slot: Slot, id: Option<Box<str>>) {
        let (base, i) = split(offset);
        let spare = &mut self.spare;
        let block = self.blocks.entry(base).or_insert_with(|| {
            let mut dense = spare.pop().unwrap_or_else(Dense::boxed);
            dense.seen_base_ms = slot.seen_ms;
            Block {
                body: Body::Dense(dense),
                live: 0,
                first_hint: 0,
                dirty: false,
                written: false,
                ids: BTreeMap::new(),
            }
        });
        let was = block.slot(i);
        match &mut block.body {
            Body::Dense(dense) => dense.put(usize::from(i), slot),
            Body::Sparse(slots) => match slots.binary_search_by_key(&i, |(at, _)| *at) {
                Ok(at) => slots[at].1 = slot,
                Err(at) => slots.insert(at, (i, slot)),
            },
        }
        if was.is_none() {
            block.live += 1;
            self.live += 1;
            if block.live == 1 || i < block.first_hint {
                block.first_hint = i;
            }
        }
        block.dirty = true;
        if let Some(id) = id {
            block.ids.insert(i, id);
        }
    }

    /// Empties a slot. `head` is where the log is applied up to: blocks wholly below it shrink or go.
    pub fn clear(&mut self, offset: i64, head: i64) -> Option<(Slot, Option<Box<str>>)> {
        let (base, i) = split(offset);
        let block = self.blocks.get_mut(&base)?;
        let slot = block.slot(i)?;
        match &mut block.body {
            Body::Dense(dense) => dense.marks[usize::from(i)] = VACANT,
            Body::Sparse(slots) => slots.retain(|(at, _)| *at != i),
        }
        let id = block.ids.remove(&i);
        block.live -= 1;
        self.live -= 1;
        block.dirty = true;
        if block.live == 0 {
            if base + BLOCK_OFFSETS <= head {
                self.remove(base);
            }
        } else {
            if i == block.first_hint {
                block.first_hint = block.next(i).map_or(i, |(at, _)| at);
            }
            if block.live < SPARSE_BELOW && base + BLOCK_OFFSETS <= head {
                Self::shrink(block, &mut self.spare);
            }
        }
        Some((slot, id))
    }

    /// The head left the block at `base`: what can go, goes.
    pub fn head_left(&mut self, base: i64) {
        let Some(block) = self.blocks.get_mut(&base) else {
            return;
        };
        if block.live == 0 {
            self.remove(base);
        } else if block.live < SPARSE_BELOW {
            Self::shrink(block, &mut self.spare);
        }
    }

    fn shrink(block: &mut Block, spare: &mut Vec<Box<Dense>>) {
        let Body::Dense(dense) = &block.body else {
            return;
        };
        let slots = (0..SLOTS)
            .filter_map(|i| dense.slot(i).map(|slot| (i as u16, slot)))
            .collect();
        if let Body::Dense(dense) = std::mem::replace(&mut block.body, Body::Sparse(slots)) {
            recycle(dense, spare);
        }
    }

    fn remove(&mut self, base: i64) {
        if let Some(block) = self.blocks.remove(&base) {
            if block.written {
                self.gone.push(base);
            }
            if let Body::Dense(dense) = block.body {
                recycle(dense, &mut self.spare);
            }
        }
    }

    /// The lowest live slot.
    pub fn first(&self) -> Option<(i64, Slot)> {
        self.next(i64::MIN)
    }

    /// The first live slot at or after `offset`.
    pub fn next(&self, offset: i64) -> Option<(i64, Slot)> {
        let start = if offset == i64::MIN {
            offset
        } else {
            split(offset).0
        };
        self.blocks.range(start..).find_map(|(base, block)| {
            let from = if *base < offset { split(offset).1 } else { 0 };
            block
                .next(from)
                .map(|(i, slot)| (base + i64::from(i), slot))
        })
    }

    /// The last live slot before `offset`.
    pub fn previous(&self, offset: i64) -> Option<(i64, Slot)> {
        self.blocks.range(..offset).rev().find_map(|(base, block)| {
            let below = (offset - base).min(BLOCK_OFFSETS) as u16;
            (0..below)
                .rev()
                .find_map(|i| block.slot(i).map(|slot| (base + i64::from(i), slot)))
        })
    }

    /// The first outstanding first delivery at or after `offset` and before `end`.
    pub fn next_first(&self, mut offset: i64, end: i64) -> Option<(i64, Slot)> {
        loop {
            let (at, slot) = self.next(offset)?;
            if at >= end {
                return None;
            }
            if slot.mark == Mark::First {
                return Some((at, slot));
            }
            offset = at + 1;
        }
    }

    /// Blocks that changed since the last call, each with its first deliveries; and bases of those that are gone.
    pub fn take_dirty(&mut self, mut visit: impl FnMut(i64, Vec<(u16, Slot, Option<Box<str>>)>)) {
        for base in std::mem::take(&mut self.gone) {
            if !self.blocks.contains_key(&base) {
                visit(base, Vec::new());
            }
        }
        for (base, block) in &mut self.blocks {
            if !block.dirty {
                continue;
            }
            block.dirty = false;
            let mut entries = Vec::with_capacity(usize::from(block.live));
            let mut from = 0;
            while let Some((i, slot)) = block.next(from) {
                if slot.mark == Mark::First {
                    let id = block.ids.get(&i).cloned();
                    entries.push((i, slot, id));
                }
                from = i + 1;
            }
            if !entries.is_empty() || block.written {
                block.written = !entries.is_empty();
                visit(*base, entries);
            }
        }
    }

    /// Makes the next `take_dirty` yield everything.
    pub fn mark_all_dirty(&mut self) {
        for block in self.blocks.values_mut() {
            block.dirty = true;
        }
    }

    /// After loading from a checkpoint: all is written and nothing dirty, but the blocks in `dropped`, of which
    /// something was left out.
    pub fn loaded(&mut self, dropped: &[i64]) {
        for block in self.blocks.values_mut() {
            block.dirty = false;
            block.written = true;
        }
        for base in dropped {
            match self.blocks.get_mut(base) {
                Some(block) => block.dirty = true,
                None => self.gone.push(*base),
            }
        }
    }
}

fn recycle(mut dense: Box<Dense>, spare: &mut Vec<Box<Dense>>) {
    if spare.len() < SPARE_BLOCKS_MAX {
        dense.marks = [VACANT; SLOTS];
        spare.push(dense);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(seen_ms: i64) -> Slot {
        Slot {
            mark: Mark::First,
            seen_ms,
            len: 3,
            digest: 9,
        }
    }

    #[test]
    fn a_block_that_is_emptied_behind_the_head_is_gone_and_reported_once_written() {
        let mut slots = Slots::default();
        slots.put(5, slot(1), None);
        let mut seen = Vec::new();
        slots.take_dirty(|base, entries| seen.push((base, entries.len())));
        slots.clear(5, 4096);
        slots.take_dirty(|base, entries| seen.push((base, entries.len())));
        assert_eq!(seen, [(0, 1), (0, 0)]);
        assert_eq!(slots.live(), 0);
        assert!(slots.blocks.is_empty());
    }

    #[test]
    fn what_is_acknowledged_between_two_checkpoints_is_never_written() {
        let mut slots = Slots::default();
        for offset in 0..3000 {
            slots.put(offset, slot(offset), None);
            slots.clear(offset, offset + 1);
            if offset % BLOCK_OFFSETS == BLOCK_OFFSETS - 1 {
                slots.head_left(offset - BLOCK_OFFSETS + 1);
            }
        }
        slots.take_dirty(|base, entries| panic!("block {base} with {} entries", entries.len()));
    }

    proptest! {
        /// Against a plain map: whatever is put and cleared, in whatever form the block is.
        #[test]
        fn slots_are_a_sorted_map(ops in prop::collection::vec((0i64..4000, prop::bool::weighted(0.45)), 0..3000)) {
            let mut slots = Slots::default();
            let mut model: BTreeMap<i64, Slot> = BTreeMap::new();
            for (offset, put) in ops {
                if put {
                    slots.put(offset, slot(0), Some("x".into()));
                    model.insert(offset, slot(0));
                } else {
                    let had = slots.clear(offset, 3072);
                    prop_assert_eq!(had.is_some(), model.remove(&offset).is_some());
                }
                prop_assert_eq!(slots.first().map(|f| f.0), model.keys().next().copied());
                prop_assert_eq!(slots.next(offset).map(|f| f.0), model.range(offset..).next().map(|f| *f.0));
                prop_assert_eq!(slots.previous(offset).map(|f| f.0), model.range(..offset).next_back().map(|f| *f.0));
            }
            prop_assert_eq!(slots.live(), model.len() as u64);
        }
    }
}
