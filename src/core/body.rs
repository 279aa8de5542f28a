//! What a block knows of its slots: dense columns, or, where few are left, a sorted vector.
//!
//! A checkpoint takes a body without copying it: it is *lent*, and whoever changes it while the checkpoint still holds
//! it copies it first. So a checkpoint is what was there at one instant, and taking it holds nobody up.
//!
//! Times are in ms of the block: the block knows how far that is from the monotonic clock.

use std::sync::Arc;

use super::bits::Bits;
use super::image::BLOCK_OFFSETS;
use super::slots::{Mark, Slot};

const SLOTS: usize = BLOCK_OFFSETS as usize;

/// Columns over all slots of a block; what is not live has whatever was there before.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    live: Bits,
    /// Of the live ones, those that are marks of messages with a history.
    anchors: Bits,
    seen_base_ms: i64,
    seen_delta_ms: [u32; SLOTS],
    len: [u32; SLOTS],
    digest: [u64; SLOTS],
}

impl Dense {
    fn boxed(seen_base_ms: i64) -> Box<Self> {
        Box::new(Self {
            live: Bits::NONE,
            anchors: Bits::NONE,
            seen_base_ms,
            seen_delta_ms: [0; SLOTS],
            len: [0; SLOTS],
            digest: [0; SLOTS],
        })
    }

    fn slot(&self, i: u16) -> Slot {
        let at = usize::from(i) % SLOTS;
        Slot {
            mark: if self.anchors.has(i) {
                Mark::Anchor
            } else {
                Mark::First
            },
            seen_ms: self.seen_base_ms + i64::from(self.seen_delta_ms[at]),
            len: self.len[at],
            digest: self.digest[at],
        }
    }

    fn put(&mut self, i: u16, slot: Slot) {
        self.live.set(i);
        match slot.mark {
            Mark::First => self.anchors.unset(i),
            Mark::Anchor => self.anchors.set(i),
        }
        let at = usize::from(i) % SLOTS;
        // A time before the block's base counts as the base: a deadline can come later by that, never earlier.
        let delta = slot.seen_ms.saturating_sub(self.seen_base_ms).max(0);
        self.seen_delta_ms[at] = u32::try_from(delta).unwrap_or(u32::MAX);
        self.len[at] = slot.len;
        self.digest[at] = slot.digest;
    }
}

/// A slot of a packed body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    digest: u64,
    seen_ms: i64,
    len: u32,
    pub i: u16,
    /// `None`: vacated since it was packed.
    mark: Option<Mark>,
}

impl Packed {
    pub fn new(i: u16, slot: Slot) -> Self {
        Self {
            digest: slot.digest,
            seen_ms: slot.seen_ms,
            len: slot.len,
            i,
            mark: Some(slot.mark),
        }
    }

    fn slot(&self) -> Option<Slot> {
        Some(Slot {
            mark: self.mark?,
            seen_ms: self.seen_ms,
            len: self.len,
            digest: self.digest,
        })
    }
}

/// The slots of a block, in one of two forms, each our own or lent.
#[derive(Debug)]
#[allow(
    clippy::redundant_allocation,
    reason = "lending must not copy the columns into the Arc"
)]
pub(super) enum Body {
    Dense(Box<Dense>),
    DenseLent(Arc<Box<Dense>>),
    /// Ascending by slot.
    Packed(Vec<Packed>),
    PackedLent(Arc<Vec<Packed>>),
}

/// What was lent: a body as it was at that instant.
#[derive(Clone, Debug)]
#[allow(clippy::redundant_allocation, reason = "as above")]
pub(super) enum Lent {
    Dense(Arc<Box<Dense>>),
    Packed(Arc<Vec<Packed>>),
}

/// Reads a body, whoever holds it.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'a> {
    Dense(&'a Dense),
    Packed(&'a [Packed]),
}

/// Bodies of emptied blocks kept for the next ones, so that the steady state allocates nothing.
pub(super) type Spare = Vec<Box<Dense>>;
const SPARE_MAX: usize = 8;

impl Body {
    /// Empty columns.
    pub fn dense(seen_base_ms: i64, spare: &mut Spare) -> Self {
        match spare.pop() {
            Some(mut dense) => {
                dense.seen_base_ms = seen_base_ms;
                Self::Dense(dense)
            }
            None => Self::Dense(Dense::boxed(seen_base_ms)),
        }
    }

    #[inline]
    pub fn view(&self) -> View<'_> {
        match self {
            Self::Dense(dense) => View::Dense(dense),
            Self::DenseLent(dense) => View::Dense(dense),
            Self::Packed(slots) => View::Packed(slots),
            Self::PackedLent(slots) => View::Packed(slots),
        }
    }

    /// Takes back what is lent: as it is if nobody holds it any more, else as a copy.
    #[cold]
    fn take_back(&mut self, spare: &mut Spare) {
        match std::mem::replace(self, Self::Packed(Vec::new())) {
            Self::DenseLent(lent) => {
                *self = Self::Dense(Arc::try_unwrap(lent).unwrap_or_else(
                    |held| match spare.pop() {
                        Some(mut dense) => {
                            dense.clone_from(&held);
                            dense
                        }
                        None => (*held).clone(),
                    },
                ));
            }
            Self::PackedLent(lent) => {
                *self = Self::Packed(Arc::try_unwrap(lent).unwrap_or_else(|held| (*held).clone()));
            }
            own => *self = own,
        }
    }

    /// Puts a slot; one that is there is replaced.
    #[inline]
    pub fn put(&mut self, i: u16, slot: Slot, spare: &mut Spare) {
        if matches!(self, Self::DenseLent(_) | Self::PackedLent(_)) {
            self.take_back(spare);
        }
        match self {
            Self::Dense(dense) => dense.put(i, slot),
            Self::Packed(slots) => match slots.binary_search_by_key(&i, |p| p.i) {
                Ok(at) => slots[at] = Packed::new(i, slot),
                Err(at) => slots.insert(at, Packed::new(i, slot)),
            },
            Self::DenseLent(_) | Self::PackedLent(_) => {}
        }
    }

    /// Empties a slot.
    #[inline]
    pub fn clear(&mut self, i: u16, spare: &mut Spare) {
        if matches!(self, Self::DenseLent(_) | Self::PackedLent(_)) {
            self.take_back(spare);
        }
        match self {
            Self::Dense(dense) => dense.live.unset(i),
            Self::Packed(slots) => {
                if let Ok(at) = slots.binary_search_by_key(&i, |p| p.i) {
                    slots[at].mark = None;
                }
            }
            Self::DenseLent(_) | Self::PackedLent(_) => {}
        }
    }

    /// Only what is live, in as little as it takes.
    pub fn pack(&mut self, live: u16, spare: &mut Spare) {
        let mut packed = Vec::with_capacity(usize::from(live));
        let mut from = 0;
        while let Some((i, slot)) = self.view().next(from) {
            packed.push(Packed::new(i, slot));
            from = i + 1;
        }
        std::mem::replace(self, Self::Packed(packed)).recycle(spare);
    }

    /// First deliveries alone: anchors come back with the messages that they are of.
    pub fn without_anchors(mut self, spare: &mut Spare) -> Self {
        let anchored = match self.view() {
            View::Dense(dense) => dense.live.count() != dense.live.without(&dense.anchors).count(),
            View::Packed(slots) => slots.iter().any(|p| p.mark == Some(Mark::Anchor)),
        };
        if anchored {
            self.take_back(spare);
        }
        match &mut self {
            Self::Dense(dense) => dense.live = dense.live.without(&dense.anchors),
            Self::Packed(slots) => slots.retain(|p| p.mark == Some(Mark::First)),
            Self::DenseLent(_) | Self::PackedLent(_) => {}
        }
        self
    }

    /// How many slots it has room for.
    pub fn room(&self) -> usize {
        match self.view() {
            View::Dense(_) => SLOTS,
            View::Packed(slots) => slots.len(),
        }
    }

    /// The block is gone.
    pub fn recycle(self, spare: &mut Spare) {
        let dense = match self {
            Self::Dense(dense) => Some(dense),
            Self::DenseLent(lent) => Arc::try_unwrap(lent).ok(),
            Self::Packed(_) | Self::PackedLent(_) => None,
        };
        if let Some(mut dense) = dense
            && spare.len() < SPARE_MAX
        {
            dense.live = Bits::NONE;
            dense.anchors = Bits::NONE;
            spare.push(dense);
        }
    }

    /// What it holds at this instant.
    pub fn lend(&mut self) -> Lent {
        match std::mem::replace(self, Self::Packed(Vec::new())) {
            Self::Dense(dense) => *self = Self::DenseLent(Arc::new(dense)),
            Self::Packed(slots) => *self = Self::PackedLent(Arc::new(slots)),
            lent => *self = lent,
        }
        match self {
            Self::DenseLent(lent) => Lent::Dense(Arc::clone(lent)),
            Self::PackedLent(lent) => Lent::Packed(Arc::clone(lent)),
            Self::Dense(_) | Self::Packed(_) => Lent::default(),
        }
    }
}

impl Default for Lent {
    fn default() -> Self {
        Self::Packed(Arc::new(Vec::new()))
    }
}

impl Lent {
    pub fn view(&self) -> View<'_> {
        match self {
            Self::Dense(dense) => View::Dense(dense),
            Self::Packed(slots) => View::Packed(slots),
        }
    }

    /// As a block's own: nothing is copied before it is changed.
    pub fn into_body(self) -> Body {
        match self {
            Self::Dense(lent) => Body::DenseLent(lent),
            Self::Packed(lent) => Body::PackedLent(lent),
        }
    }

    pub fn packed(slots: Vec<Packed>) -> Self {
        Self::Packed(Arc::new(slots))
    }

    /// Columns over the slots of `live`, ascending: differences of times to `seen_base_ms`, lengths and digests.
    pub fn dense(
        live: Bits,
        seen_base_ms: i64,
        columns: impl Iterator<Item = (u32, u32, u64)>,
    ) -> Self {
        let mut dense = Dense::boxed(seen_base_ms);
        dense.live = live;
        for (i, (seen_delta_ms, len, digest)) in live.iter().zip(columns) {
            let at = usize::from(i) % SLOTS;
            dense.seen_delta_ms[at] = seen_delta_ms;
            dense.len[at] = len;
            dense.digest[at] = digest;
        }
        Self::Dense(Arc::new(dense))
    }
}

impl<'a> View<'a> {
    pub fn slot(self, i: u16) -> Option<Slot> {
        match self {
            Self::Dense(dense) => dense.live.has(i).then(|| dense.slot(i)),
            Self::Packed(slots) => {
                let at = slots.binary_search_by_key(&i, |p| p.i).ok()?;
                slots[at].slot()
            }
        }
    }

    /// The first live slot at or after `from`.
    pub fn next(self, from: u16) -> Option<(u16, Slot)> {
        match self {
            Self::Dense(dense) => dense.live.next(from).map(|i| (i, dense.slot(i))),
            Self::Packed(slots) => {
                let behind = &slots[slots.partition_point(|p| p.i < from)..];
                behind.iter().find_map(|p| Some((p.i, p.slot()?)))
            }
        }
    }

    /// The last live slot before `below`.
    pub fn previous(self, below: u16) -> Option<(u16, Slot)> {
        match self {
            Self::Dense(dense) => dense.live.previous(below).map(|i| (i, dense.slot(i))),
            Self::Packed(slots) => {
                let before = &slots[..slots.partition_point(|p| p.i < below)];
                before.iter().rev().find_map(|p| Some((p.i, p.slot()?)))
            }
        }
    }

    /// The first outstanding first delivery at or after `from`.
    pub fn next_first(self, from: u16) -> Option<(u16, Slot)> {
        match self {
            Self::Dense(dense) => {
                let at = match dense.live.next(from)? {
                    anchor if dense.anchors.has(anchor) => {
                        dense.live.without(&dense.anchors).next(anchor)?
                    }
                    first => first,
                };
                Some((at, dense.slot(at)))
            }
            Self::Packed(slots) => {
                let behind = &slots[slots.partition_point(|p| p.i < from)..];
                let first = behind.iter().find(|p| p.mark == Some(Mark::First));
                first.and_then(|p| Some((p.i, p.slot()?)))
            }
        }
    }

    /// How many outstanding first deliveries there are.
    pub fn firsts(self) -> usize {
        match self {
            Self::Dense(dense) => usize::from(dense.live.without(&dense.anchors).count()),
            Self::Packed(slots) => {
                let firsts = slots.iter().filter(|p| p.mark == Some(Mark::First));
                firsts.count()
            }
        }
    }

    /// The latest time of an outstanding first delivery.
    pub fn seen_ms_max(self) -> Option<i64> {
        self.each_first().map(|(_, slot)| slot.seen_ms).max()
    }

    /// Outstanding first deliveries, ascending.
    pub fn each_first(self) -> impl Iterator<Item = (u16, Slot)> + 'a {
        let (dense, packed) = match self {
            Self::Dense(dense) => (Some(dense), &[][..]),
            Self::Packed(slots) => (None, slots),
        };
        let dense = dense.into_iter().flat_map(|d| {
            let live = d.live.iter().filter(|i| !d.anchors.has(*i));
            live.map(move |i| (i, d.slot(i)))
        });
        let firsts = packed.iter().filter(|p| p.mark == Some(Mark::First));
        dense.chain(firsts.filter_map(|p| Some((p.i, p.slot()?))))
    }
}
