//! The labels of the messages of one block: their texts behind each other in pieces of memory, and where each lies.
//!
//! A text stays where it is until the block goes, is packed, or its slot gets another message: whether it counts is the
//! slot's business. Like the body, the labels are lent to a checkpoint without copying them.

use std::sync::Arc;

use super::body::View;

/// Bytes of a piece. Allocators round larger ones up by as much as a quarter; it holds several of the longest ids.
const PIECE: usize = 4_096;
/// The smallest that a piece begins with.
const PIECE_MIN: usize = 256;
/// Bits of a text's length, and of its place among the pieces.
const LEN_BITS: u32 = 10;
const START_BITS: u32 = 32 - LEN_BITS;

/// Where a slot's label lies.
#[derive(Clone, Copy, Debug)]
struct Span {
    i: u16,
    /// Its length, and its place, in halves that need no room between spans.
    packed: [u16; 2],
}

impl Span {
    /// `None`: it is longer, or lies further behind, than can be said.
    fn new(i: u16, len: usize, start: usize) -> Option<Self> {
        let fits = len < 1 << LEN_BITS && start < 1 << START_BITS;
        let packed = (len as u32) << START_BITS | start as u32;
        fits.then_some(Self {
            i,
            packed: [packed as u16, (packed >> 16) as u16],
        })
    }

    fn packed(self) -> usize {
        usize::from(self.packed[1]) << 16 | usize::from(self.packed[0])
    }

    fn len(self) -> usize {
        self.packed() >> START_BITS
    }

    fn start(self) -> usize {
        self.packed() & ((1 << START_BITS) - 1)
    }
}

/// Texts by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    /// Ascending by slot.
    spans: Vec<Span>,
    /// Those behind the one that is being filled are empty.
    pieces: Vec<String>,
    filling: usize,
}

/// A block that stays may have this share of its memory free.
const SLACK_SHARE: usize = 32;

impl Texts {
    fn place(&self, i: u16) -> Result<usize, usize> {
        // Mostly every neighbour has a label, so that the place follows from the first one's.
        if let Some(first) = self.spans.first()
            && let Some(guess) = i.checked_sub(first.i)
            && self.spans.get(usize::from(guess)).is_some_and(|s| s.i == i)
        {
            return Ok(usize::from(guess));
        }
        if self.spans.last().is_none_or(|last| last.i < i) {
            return Err(self.spans.len());
        }
        self.spans.binary_search_by_key(&i, |s| s.i)
    }

    pub fn get(&self, i: u16) -> Option<&str> {
        self.text(*self.spans.get(self.place(i).ok()?)?)
    }

    fn text(&self, span: Span) -> Option<&str> {
        let from = span.start() % PIECE;
        let piece = self.pieces.get(span.start() / PIECE)?;
        piece.get(from..from + span.len())
    }

    /// An id has at most 512 bytes; what is longer than can be said has no label.
    fn set(&mut self, i: u16, text: &str) {
        if text.len() >= 1 << LEN_BITS {
            self.forget(i);
            return;
        }
        let mut span = Span::new(i, text.len(), self.room_for(text.len()));
        if span.is_none() {
            // Most of it are texts that others have replaced.
            *self = self.kept(|kept| kept != i);
            span = Span::new(i, text.len(), self.room_for(text.len()));
        }
        let Some(span) = span else {
            return;
        };
        self.pieces[self.filling].push_str(text);
        match self.place(i) {
            Ok(at) => self.spans[at] = span,
            Err(at) => self.spans.insert(at, span),
        }
    }

    /// Behind all others, if its slot is.
    fn append(&mut self, i: u16, text: &str) {
        let is_last = self.spans.last().is_none_or(|last| last.i < i);
        if !is_last || text.len() >= 1 << LEN_BITS {
            return self.set(i, text);
        }
        let start = self.room_for(text.len());
        match Span::new(i, text.len(), start) {
            Some(span) => {
                self.pieces[self.filling].push_str(text);
                self.spans.push(span);
            }
            None => self.set(i, text),
        }
    }

    /// Where the next text goes, of that length.
    #[inline]
    fn room_for(&mut self, len: usize) -> usize {
        match self.pieces.get(self.filling) {
            Some(piece) if piece.len() + len <= piece.capacity().min(PIECE) => {
                self.filling * PIECE + piece.len()
            }
            _ => self.make_room_for(len),
        }
    }

    #[cold]
    fn make_room_for(&mut self, len: usize) -> usize {
        let used = self.pieces.get(self.filling).map_or(0, String::len);
        if used + len > PIECE {
            self.filling += 1;
        }
        if self.pieces.len() == self.filling {
            // The first may stay the only one.
            let size = if self.filling == 0 { PIECE_MIN } else { PIECE };
            self.pieces.push(String::with_capacity(size.max(len)));
        }
        let piece = &mut self.pieces[self.filling];
        if piece.capacity() < piece.len() + len {
            let size = (piece.capacity() * 2).clamp(piece.len() + len, PIECE);
            piece.reserve_exact(size - piece.len());
        }
        self.filling * PIECE + piece.len()
    }

    fn forget(&mut self, i: u16) {
        if let Ok(at) = self.place(i) {
            self.spans.remove(at);
        }
    }

    fn has_slack(&self) -> bool {
        let used: usize = self.pieces.iter().map(String::len).sum();
        let taken: usize = self.pieces.iter().map(String::capacity).sum();
        taken - used > used / SLACK_SHARE
            || self.spans.capacity() - self.spans.len() > self.spans.len() / SLACK_SHARE
    }

    /// Those alone that `keep` wants, in as little as it takes.
    fn kept(&self, mut keep: impl FnMut(u16) -> bool) -> Self {
        let spans = self.spans.iter().filter(|s| keep(s.i));
        let spans: Vec<Span> = spans.copied().collect();
        let bytes: usize = spans.iter().map(|s| s.len()).sum();
        let mut kept = Self::with_room(spans.len(), bytes);
        for span in spans {
            kept.append(span.i, self.text(span).unwrap_or_default());
        }
        kept.pieces.iter_mut().for_each(String::shrink_to_fit);
        kept
    }

    fn with_room(texts: usize, bytes: usize) -> Self {
        let mut room = Self::default();
        room.spans.reserve_exact(texts);
        room.pieces.reserve_exact(bytes.div_ceil(PIECE));
        if bytes > 0 {
            room.pieces.push(String::with_capacity(bytes.min(PIECE)));
        }
        room
    }

    /// None are left; their memory is.
    fn clear(&mut self) {
        self.spans.clear();
        self.pieces.iter_mut().for_each(String::clear);
        self.filling = 0;
    }
}

/// The labels of a block: our own, or lent.
#[derive(Debug, Default)]
#[allow(
    clippy::redundant_allocation,
    reason = "lending must not copy the texts into the Arc"
)]
pub(super) enum BlockIds {
    #[default]
    None,
    Own(Box<Texts>),
    Lent(Arc<Box<Texts>>),
}

/// Buffers of blocks that are gone, for the next ones.
pub(super) type SpareTexts = Vec<Box<Texts>>;
const SPARE_MAX: usize = 4;

impl BlockIds {
    pub fn get(&self, i: u16) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Own(texts) => texts.get(i),
            Self::Lent(texts) => texts.get(i),
        }
    }

    /// Labels a slot, or takes its label.
    #[inline]
    pub fn set(&mut self, i: u16, id: Option<&str>, spare: &mut SpareTexts) {
        if let (Self::None, None) = (&*self, id) {
            return;
        }
        self.set_some(i, id, spare);
    }

    fn set_some(&mut self, i: u16, id: Option<&str>, spare: &mut SpareTexts) {
        if id.is_none() && self.get(i).is_none() {
            return;
        }
        let mut texts = match std::mem::take(self) {
            Self::Own(texts) => texts,
            Self::Lent(lent) => Arc::try_unwrap(lent).unwrap_or_else(|held| (*held).clone()),
            Self::None => spare.pop().unwrap_or_default(),
        };
        match id {
            Some(id) => texts.set(i, id),
            None => texts.forget(i),
        }
        *self = Self::Own(texts);
    }

    /// The block stays for a while: only labels of what is live in `body`, in as little as it takes.
    pub fn tidy(&mut self, body: View<'_>, live: u16) {
        let texts = match self {
            Self::None => return,
            Self::Own(texts) => &**texts,
            Self::Lent(texts) => texts,
        };
        if texts.has_slack() || texts.spans.len() > usize::from(live) {
            let kept = texts.kept(|i| body.slot(i).is_some());
            *self = if kept.spans.is_empty() {
                Self::None
            } else {
                Self::Own(Box::new(kept))
            };
        }
    }

    /// The block is gone.
    pub fn recycle(self, spare: &mut SpareTexts) {
        let texts = match self {
            Self::None => return,
            Self::Own(texts) => Some(texts),
            Self::Lent(lent) => Arc::try_unwrap(lent).ok(),
        };
        if let Some(mut texts) = texts
            && spare.len() < SPARE_MAX
        {
            texts.clear();
            spare.push(texts);
        }
    }

    /// What they are at this instant.
    pub fn lend(&mut self) -> LentIds {
        *self = match std::mem::take(self) {
            Self::Own(texts) => Self::Lent(Arc::new(texts)),
            other => other,
        };
        match self {
            Self::Lent(lent) => LentIds(Some(Arc::clone(lent))),
            Self::None | Self::Own(_) => LentIds(None),
        }
    }
}

/// Labels as they were at one instant. Some may be of slots that do not count.
#[derive(Clone, Debug, Default)]
#[allow(clippy::redundant_allocation, reason = "as above")]
pub(super) struct LentIds(Option<Arc<Box<Texts>>>);

impl LentIds {
    /// Ascending by slot, as labels are made.
    pub fn of<'a>(texts: usize, bytes: usize, all: impl Iterator<Item = (u16, &'a str)>) -> Self {
        let mut made = Texts::with_room(texts, bytes);
        for (i, text) in all {
            made.append(i, text);
        }
        made.pieces.last_mut().map(String::shrink_to_fit);
        Self((!made.spans.is_empty()).then(|| Arc::new(Box::new(made))))
    }

    pub fn into_ids(self) -> BlockIds {
        self.0.map_or(BlockIds::None, BlockIds::Lent)
    }

    pub fn get(&self, i: u16) -> Option<&str> {
        self.0.as_ref()?.get(i)
    }

    /// Some of them may be of slots that do not count.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |texts| texts.spans.len())
    }

    pub fn each(&self) -> impl Iterator<Item = (u16, &str)> {
        let texts = self.0.as_deref();
        texts.into_iter().flat_map(|texts| {
            let spans = texts.spans.iter();
            spans.filter_map(|s| Some((s.i, texts.text(*s)?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(n: usize, len: usize) -> String {
        format!("{n:0len$}")
    }

    proptest! {
        /// Against a map from slots to texts. Said eighty times, texts that are replaced fill all the room there is.
        #[test]
        fn texts_are_a_map_from_slots_to_ids(
            ops in prop::collection::vec((0..1_024_u16, 0..520_usize, 0..20_u8), 1..400),
            slots in prop::sample::select(vec![3_u16, 1_024]),
            times in prop::sample::select(vec![1_usize, 80]),
        ) {
            let mut texts = Texts::default();
            let mut model: BTreeMap<u16, String> = BTreeMap::new();
            for (n, (i, len, what)) in ops.into_iter().enumerate() {
                let i = i % slots;
                match what {
                    0 => {
                        texts.clear();
                        model.clear();
                    }
                    1 => {
                        texts = texts.kept(|i| i % 3 > 0);
                        model.retain(|i, _| i % 3 > 0);
                        prop_assert!(!texts.has_slack() || texts.spans.len() < 64);
                    }
                    2..5 => {
                        texts.forget(i);
                        model.remove(&i);
                    }
                    _ => for _ in 0..times {
                        texts.set(i, &id(n, len));
                        model.insert(i, id(n, len));
                    },
                }
                prop_assert_eq!(texts.get(i), model.get(&i).map(String::as_str));
            }
            let all: Vec<_> = texts.spans.iter().map(|s| (s.i, texts.text(*s))).collect();
            let wanted: Vec<_> = model.iter().map(|(i, t)| (*i, Some(t.as_str()))).collect();
            prop_assert_eq!(all, wanted);
        }
    }

    #[test]
    fn what_is_longer_than_can_be_said_has_no_label_wherever_it_comes_from() {
        let long = "x".repeat(2 * PIECE);
        for bytes in [0, 3 * PIECE] {
            let all = [(0, &*long), (1, "a"), (2, &*long), (3, "b"), (2, "c")];
            let made = LentIds::of(5, bytes, all.into_iter());
            assert_eq!(
                made.each().collect::<Vec<_>>(),
                [(1, "a"), (2, "c"), (3, "b")]
            );
        }
    }

    #[test]
    fn a_span_holds_what_a_block_of_the_longest_ids_needs() {
        let start = 1_024 * PIECE / (PIECE / 512);
        let span = Span::new(1_023, 512, start).unwrap();
        assert_eq!((span.i, span.len(), span.start()), (1_023, 512, start));
        assert_eq!(size_of::<Span>(), 6);
        assert!(Span::new(0, 1_024, 0).is_none());
        assert!(Span::new(0, 0, 1 << START_BITS).is_none());
    }
}
