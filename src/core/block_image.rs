//! A block of outstanding first deliveries as a checkpoint has it: lent by the core, or read from a store.
//!
//! What the core hands out is what it held at that instant, without having copied it: it copies a block only if it
//! changes while the checkpoint is still being written. The other way, what a store has read becomes the core's as it is.

use std::fmt;

use super::bits::Bits;
use super::block_ids::LentIds;
use super::body::{Lent, Packed};
use super::image::BLOCK_OFFSETS;
use super::slots::{Mark, Slot};

/// From so many entries on they are kept in columns: with fewer, a sorted vector is smaller.
const COLUMNS_MIN: usize = 512;

/// The outstanding first deliveries among `BLOCK_OFFSETS` neighbouring offsets.
#[derive(Clone, Default)]
pub struct BlockImage {
    /// A multiple of `BLOCK_OFFSETS`.
    pub base: i64,
    /// None: the block is gone.
    pub entries: Entries,
    /// Of those whose id is not their position.
    pub ids: Ids,
}

/// One outstanding first delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntry {
    /// Offset minus the block's base: 0 to `BLOCK_OFFSETS` − 1.
    pub slot: u16,
    /// When it was seen, ms since the epoch by the wall clock of then; the age is what counts.
    pub seen_wall_ms: i64,
    pub len: u32,
    pub digest: u64,
}

/// The entries of a block, ascending by slot.
#[derive(Clone, Default)]
pub struct Entries {
    pub(super) lent: Lent,
    /// What the wall clock is ahead of the times in there, ms.
    pub(super) ahead_ms: i64,
    count: usize,
}

/// The labels of a block, by slot.
#[derive(Clone, Default)]
pub struct Ids(pub(super) LentIds);

/// What a store has read, column by column; all of one length, slots strictly ascending and within the block.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    pub slots: Vec<u16>,
    pub seen_wall_ms: Vec<i64>,
    pub lens: Vec<u32>,
    pub digests: Vec<u64>,
}

impl BlockImage {
    /// How many labels it has, with those of entries that do not count.
    pub(super) fn labels_at_most(&self) -> usize {
        self.ids.0.len()
    }

    /// The labels of its entries: (slot, id), ascending.
    pub fn labels(&self) -> impl Iterator<Item = (u16, &str)> {
        let view = self.entries.lent.view();
        let first = move |slot: Option<Slot>| slot.is_some_and(|s| s.mark == Mark::First);
        self.ids.0.each().filter(move |(i, _)| first(view.slot(*i)))
    }
}

impl Entries {
    pub(super) fn new(lent: Lent, ahead_ms: i64) -> Self {
        Self {
            count: lent.view().firsts(),
            lent,
            ahead_ms,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ascending by slot.
    pub fn iter(&self) -> impl Iterator<Item = BlockEntry> {
        let firsts = self.lent.view().each_first();
        firsts.map(|(slot, s)| BlockEntry {
            slot,
            seen_wall_ms: s.seen_ms.wrapping_add(self.ahead_ms),
            len: s.len,
            digest: s.digest,
        })
    }

    /// The latest time at which one was seen, ms since the epoch.
    #[must_use]
    pub fn seen_wall_ms_max(&self) -> Option<i64> {
        let latest = self.lent.view().seen_ms_max()?;
        Some(latest.wrapping_add(self.ahead_ms))
    }
}

impl From<&Columns> for Entries {
    fn from(columns: &Columns) -> Self {
        let times = columns.seen_wall_ms.iter();
        let (first, last) = (times.clone().min(), times.max());
        let (first, last) = (*first.unwrap_or(&0), *last.unwrap_or(&0));
        let near = last
            .checked_sub(first)
            .is_some_and(|d| u32::try_from(d).is_ok());
        if columns.slots.len() < COLUMNS_MIN || !near {
            return entries(columns).collect();
        }
        let mut live = Bits::NONE;
        columns.slots.iter().for_each(|i| live.set(*i));
        let times = columns
            .seen_wall_ms
            .iter()
            .map(|t| t.wrapping_sub(first) as u32);
        let all = times.zip(&columns.lens).zip(&columns.digests);
        let lent = Lent::dense(
            live,
            first,
            all.map(|((t, len), digest)| (t, *len, *digest)),
        );
        Self::new(lent, 0)
    }
}

fn entries(columns: &Columns) -> impl Iterator<Item = BlockEntry> {
    let all = columns.slots.iter().zip(&columns.seen_wall_ms);
    let all = all.zip(&columns.lens).zip(&columns.digests);
    all.map(|(((slot, seen), len), digest)| BlockEntry {
        slot: *slot,
        seen_wall_ms: *seen,
        len: *len,
        digest: *digest,
    })
}

impl FromIterator<BlockEntry> for Entries {
    /// In the order in which they come.
    fn from_iter<I: IntoIterator<Item = BlockEntry>>(entries: I) -> Self {
        let packed = entries.into_iter().map(|e| {
            let slot = Slot {
                mark: Mark::First,
                seen_ms: e.seen_wall_ms,
                len: e.len,
                digest: e.digest,
            };
            Packed::new(e.slot, slot)
        });
        Self::new(Lent::packed(packed.collect()), 0)
    }
}

impl Ids {
    /// Labels of slots, ascending; room for so many bytes.
    pub fn of<'a>(count: usize, bytes: usize, all: impl Iterator<Item = (u16, &'a str)>) -> Self {
        Self(LentIds::of(count, bytes, all))
    }
}

impl FromIterator<(u16, Box<str>)> for Ids {
    fn from_iter<I: IntoIterator<Item = (u16, Box<str>)>>(ids: I) -> Self {
        let all: Vec<(u16, Box<str>)> = ids.into_iter().collect();
        Self::of(all.len(), 0, all.iter().map(|(i, text)| (*i, &**text)))
    }
}

impl PartialEq for BlockImage {
    fn eq(&self, other: &Self) -> bool {
        self.base == other.base && self.entries == other.entries && self.labels().eq(other.labels())
    }
}

impl Eq for BlockImage {}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for BlockImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockImage")
            .field("base", &self.base)
            .field("entries", &self.entries)
            .field("ids", &self.labels().collect::<Vec<_>>())
            .finish()
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

const _: () = assert!(COLUMNS_MIN <= BLOCK_OFFSETS as usize);
