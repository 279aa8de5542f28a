//! First deliveries that are outstanding, by dense offset: blocks of [`BLOCK_OFFSETS`] neighbours.
//!
//! What is acknowledged soon is never more than a few bytes in a block; a block without anything live is gone. A block
//! that stays although few of it survive is packed ([`tidy`](Slots::tidy)). Messages with a history live in `detail`; here
//! they leave only a mark at their anchor, because the lowest mark is the low-water mark.

use std::collections::BTreeMap;

use super::block_ids::{BlockIds, LentIds, SpareTexts};
use super::body::{Body, Lent, Spare};
use super::image::BLOCK_OFFSETS;

/// A block with fewer live slots than this is packed, once the log's head has left it: packed they take 24 bytes each,
/// dense 16 with all the vacant ones.
const PACK_BELOW: u16 = 512;
/// One packed body of which less than this share of quarters is live is packed again.
const LIVE_QUARTERS_MIN: usize = 3;
/// Blocks that are found without asking the index, by the last bits of their number.
const RECENT: usize = 16;

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

impl Slot {
    fn shifted(mut self, by_ms: i64) -> Self {
        self.seen_ms = self.seen_ms.saturating_add(by_ms);
        self
    }
}

struct Block {
    base: i64,
    body: Body,
    ids: BlockIds,
    /// What the body's times are behind the monotonic clock.
    shift_ms: i64,
    live: u16,
    /// Changed since the last checkpoint, and in the list of those.
    dirty: bool,
    /// A checkpoint holds it.
    written: bool,
    /// Waits to be tidied.
    untidy: bool,
}

impl Block {
    fn slot(&self, i: u16) -> Option<Slot> {
        Some(self.body.view().slot(i)?.shifted(self.shift_ms))
    }

    fn placed(&self, found: Option<(u16, Slot)>) -> Option<(i64, Slot)> {
        let (i, slot) = found?;
        Some((self.base + i64::from(i), slot.shifted(self.shift_ms)))
    }
}

/// The slots of one partition.
pub(super) struct Slots {
    /// By base: the place in `blocks`.
    index: BTreeMap<i64, u32>,
    blocks: Vec<Block>,
    vacant: Vec<u32>,
    recent: [(i64, u32); RECENT],
    spare: Spare,
    spare_texts: SpareTexts,
    /// Bases of blocks that a checkpoint holds and that are gone since.
    gone: Vec<i64>,
    /// Places of blocks that changed since the last checkpoint; some may be vacant, or be there twice.
    dirty: Vec<u32>,
    /// The same of blocks that wait to be tidied.
    untidy: Vec<u32>,
    live: u64,
}

/// No block begins there.
const NO_BASE: i64 = 1;

impl Default for Slots {
    fn default() -> Self {
        Self {
            index: BTreeMap::new(),
            blocks: Vec::new(),
            vacant: Vec::new(),
            recent: [(NO_BASE, 0); RECENT],
            spare: Vec::new(),
            spare_texts: Vec::new(),
            gone: Vec::new(),
            dirty: Vec::new(),
            untidy: Vec::new(),
            live: 0,
        }
    }
}

/// The block's base, and the slot in it.
pub(super) const fn split(offset: i64) -> (i64, u16) {
    let slot = offset & (BLOCK_OFFSETS - 1);
    (offset - slot, slot as u16)
}

const fn recent_at(base: i64) -> usize {
    (base / BLOCK_OFFSETS) as usize % RECENT
}

impl Slots {
    /// How many slots are live: first deliveries and anchors.
    pub fn live(&self) -> u64 {
        self.live
    }

    fn block(&self, base: i64) -> Option<&Block> {
        let recent = self.recent[recent_at(base)];
        let at = if recent.0 == base {
            recent.1
        } else {
            *self.index.get(&base)?
        };
        self.blocks.get(at as usize)
    }

    /// Where the block is; the next question for it is quick.
    #[inline]
    fn find(&mut self, base: i64) -> Option<u32> {
        let recent = &mut self.recent[recent_at(base)];
        if recent.0 == base {
            return Some(recent.1);
        }
        let at = *self.index.get(&base)?;
        *recent = (base, at);
        Some(at)
    }

    pub fn get(&self, offset: i64) -> Option<Slot> {
        let (base, i) = split(offset);
        self.block(base)?.slot(i)
    }

    /// The label of the first delivery at `offset`.
    pub fn id(&self, offset: i64) -> Option<&str> {
        let (base, i) = split(offset);
        let block = self.block(base)?;
        let slot = block.body.view().slot(i)?;
        block.ids.get(i).filter(|_| slot.mark == Mark::First)
    }

    fn insert(&mut self, base: i64, block: Block) -> u32 {
        let at = if let Some(at) = self.vacant.pop() {
            self.blocks[at as usize] = block;
            at
        } else {
            self.blocks.push(block);
            // 2^32 blocks would be 64 TiB.
            (self.blocks.len() - 1) as u32
        };
        self.index.insert(base, at);
        self.recent[recent_at(base)] = (base, at);
        at
    }

    /// Puts a slot; one that is there already is replaced.
    #[inline]
    pub fn put(&mut self, offset: i64, slot: Slot, id: Option<&str>) {
        let (base, i) = split(offset);
        let at = match self.find(base) {
            Some(at) => at,
            None => {
                let body = Body::dense(slot.seen_ms, &mut self.spare);
                self.insert(base, Block::new(base, body, 0))
            }
        };
        let block = &mut self.blocks[at as usize];
        if block.body.view().slot(i).is_none() {
            block.live += 1;
            self.live += 1;
        }
        let shift_ms = block.shift_ms.saturating_neg();
        block.body.put(i, slot.shifted(shift_ms), &mut self.spare);
        block.ids.set(i, id, &mut self.spare_texts);
        if !block.dirty {
            block.dirty = true;
            self.dirty.push(at);
        }
    }

    /// Empties a slot. `head` is where the log is applied up to: blocks wholly below it go when they are empty.
    pub fn clear(&mut self, offset: i64, head: i64) -> Option<Slot> {
        self.clear_if(offset, head, |_| true, |slot, _| slot)
    }

    /// Empties the slot of a first delivery; `taken` is told of it, and of its label.
    #[inline]
    pub fn take_first<R>(
        &mut self,
        offset: i64,
        head: i64,
        taken: impl FnOnce(Slot, Option<&str>) -> R,
    ) -> Option<R> {
        self.clear_if(offset, head, |mark| mark == Mark::First, taken)
    }

    #[inline]
    fn clear_if<R>(
        &mut self,
        offset: i64,
        head: i64,
        wanted: impl FnOnce(Mark) -> bool,
        taken: impl FnOnce(Slot, Option<&str>) -> R,
    ) -> Option<R> {
        let (base, i) = split(offset);
        let at = self.find(base)?;
        let block = &mut self.blocks[at as usize];
        let slot = block.slot(i)?;
        if !wanted(slot.mark) {
            return None;
        }
        let result = taken(slot, block.ids.get(i));
        block.body.clear(i, &mut self.spare);
        block.live -= 1;
        self.live -= 1;
        if !block.dirty {
            block.dirty = true;
            self.dirty.push(at);
        }
        if base + BLOCK_OFFSETS <= head {
            self.left_behind(at);
        }
        Some(result)
    }

    /// The head left the block at `base`: what can go, goes.
    pub fn head_left(&mut self, base: i64) {
        if let Some(at) = self.find(base) {
            if let Some(block) = self.blocks.get_mut(at as usize)
                && block.live > 0
                && !block.untidy
            {
                block.untidy = true;
                self.untidy.push(at);
            }
            self.left_behind(at);
        }
    }

    /// A block that the head has left, and that has become smaller.
    #[inline]
    fn left_behind(&mut self, at: u32) {
        let block = &mut self.blocks[at as usize];
        let live = usize::from(block.live);
        if live == 0 {
            let base = block.base;
            self.remove(base);
        } else if !block.untidy
            && block.live < PACK_BELOW
            && 4 * live < LIVE_QUARTERS_MIN * block.body.room()
        {
            block.untidy = true;
            self.untidy.push(at);
        }
    }

    /// Packs blocks that have stayed although much of them is gone: at most `budget`, the rest at the next call. Not done
    /// at once, because most blocks of which little is left are about to go.
    pub fn tidy(&mut self, head: i64, mut budget: usize) {
        while budget > 0
            && let Some(at) = self.untidy.pop()
        {
            let block = &mut self.blocks[at as usize];
            if !std::mem::take(&mut block.untidy) || block.live == 0 {
                continue;
            }
            budget -= 1;
            block.ids.tidy(block.body.view(), block.live);
            let live = usize::from(block.live);
            if block.base + BLOCK_OFFSETS <= head
                && block.live < PACK_BELOW
                && 4 * live < LIVE_QUARTERS_MIN * block.body.room()
            {
                block.body.pack(block.live, &mut self.spare);
            }
        }
    }

    fn remove(&mut self, base: i64) {
        let Some(at) = self.index.remove(&base) else {
            return;
        };
        let recent = &mut self.recent[recent_at(base)];
        if recent.0 == base {
            recent.0 = NO_BASE;
        }
        let nothing = Block::new(base, Body::Packed(Vec::new()), 0);
        let block = std::mem::replace(&mut self.blocks[at as usize], nothing);
        self.vacant.push(at);
        if block.written {
            self.gone.push(base);
        }
        block.body.recycle(&mut self.spare);
        block.ids.recycle(&mut self.spare_texts);
    }

    fn blocks_from(&self, base: i64) -> impl Iterator<Item = &Block> {
        let places = self.index.range(base..);
        places.filter_map(|(_, at)| self.blocks.get(*at as usize))
    }

    /// The lowest live slot.
    pub fn first(&self) -> Option<(i64, Slot)> {
        self.next(i64::MIN)
    }

    /// The first live slot at or after `offset`.
    pub fn next(&self, offset: i64) -> Option<(i64, Slot)> {
        let (start, i) = split(offset);
        self.blocks_from(start).find_map(|block| {
            let from = if block.base == start { i } else { 0 };
            block.placed(block.body.view().next(from))
        })
    }

    /// The last live slot before `offset`.
    pub fn previous(&self, offset: i64) -> Option<(i64, Slot)> {
        let places = self.index.range(..offset).rev();
        let mut blocks = places.filter_map(|(_, at)| self.blocks.get(*at as usize));
        blocks.find_map(|block| {
            let below = offset.saturating_sub(block.base).min(BLOCK_OFFSETS) as u16;
            block.placed(block.body.view().previous(below))
        })
    }

    /// The first outstanding first delivery at or after `offset` and before `end`.
    pub fn next_first(&self, offset: i64, end: i64) -> Option<(i64, Slot)> {
        let (start, i) = split(offset);
        // Mostly it is where it was looked for.
        if let Some(block) = self.block(start)
            && let found @ Some(_) = block.placed(block.body.view().next_first(i))
        {
            return found.filter(|(at, _)| *at < end);
        }
        let found = self.blocks_from(start).find_map(|block| {
            let from = if block.base == start { i } else { 0 };
            let over = block.base >= end;
            match block.placed(block.body.view().next_first(from)) {
                _ if over => Some(None),
                None => None,
                found => Some(found),
            }
        });
        found.flatten().filter(|(at, _)| *at < end)
    }

    /// Blocks that changed since the last call, each with its first deliveries and their labels, ascending; and bases of
    /// those that are gone, with nothing.
    pub fn take_dirty(&mut self, mut visit: impl FnMut(i64, Lent, i64, LentIds)) {
        let mut gone = std::mem::take(&mut self.gone);
        gone.sort_unstable();
        gone.dedup();
        for base in gone.drain(..) {
            if !self.index.contains_key(&base) {
                visit(base, Lent::default(), 0, LentIds::default());
            }
        }
        self.gone = gone;
        let mut dirty = std::mem::take(&mut self.dirty);
        let blocks = &self.blocks;
        dirty.retain(|at| blocks.get(*at as usize).is_some_and(|b| b.dirty));
        dirty.sort_unstable_by_key(|at| blocks[*at as usize].base);
        for at in dirty.drain(..) {
            let block = &mut self.blocks[at as usize];
            if !std::mem::take(&mut block.dirty) {
                continue;
            }
            let some = block.body.view().next_first(0).is_some();
            if some {
                visit(
                    block.base,
                    block.body.lend(),
                    block.shift_ms,
                    block.ids.lend(),
                );
            } else if block.written {
                visit(block.base, Lent::default(), 0, LentIds::default());
            }
            block.written = some;
        }
        self.dirty = dirty;
    }

    /// Makes the next `take_dirty` yield everything.
    pub fn mark_all_dirty(&mut self) {
        for at in self.index.values() {
            let block = &mut self.blocks[*at as usize];
            if !block.dirty {
                block.dirty = true;
                self.dirty.push(*at);
            }
        }
    }

    /// Takes a block of a checkpoint as it is; `shift_ms` is what its times are behind the monotonic clock. What was there
    /// of it is void.
    pub fn adopt(&mut self, base: i64, lent: Lent, shift_ms: i64, ids: LentIds) {
        let live = lent.view().firsts();
        if live == 0 || split(base).1 != 0 {
            return;
        }
        if let Some(at) = self.find(base) {
            self.live -= u64::from(self.blocks[at as usize].live);
            self.remove(base);
        }
        let body = lent.into_body().without_anchors(&mut self.spare);
        let mut block = Block::new(base, body, shift_ms);
        block.ids = ids.into_ids();
        block.live = live as u16;
        self.live += live as u64;
        self.insert(base, block);
    }

    /// After loading from a checkpoint: all is written and nothing dirty, but the blocks in `dropped`, of which
    /// something was left out.
    pub fn loaded(&mut self, dropped: &[i64]) {
        self.dirty.clear();
        for at in self.index.values() {
            let block = &mut self.blocks[*at as usize];
            block.dirty = false;
            block.written = true;
        }
        for base in dropped {
            match self.find(*base) {
                Some(at) => {
                    self.blocks[at as usize].dirty = true;
                    self.dirty.push(at);
                }
                None => self.gone.push(*base),
            }
        }
    }
}

impl Block {
    fn new(base: i64, body: Body, shift_ms: i64) -> Self {
        Self {
            base,
            body,
            ids: BlockIds::None,
            shift_ms,
            live: 0,
            dirty: false,
            written: false,
            untidy: false,
        }
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
