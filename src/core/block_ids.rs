//! The labels of the messages of one block: their texts behind each other in one buffer, and where each lies.
//!
//! A text stays where it is until the block goes, is packed, or its slot gets another message: whether it counts is the
//! slot's business. Like the body, the labels are lent to a checkpoint without copying them.

use std::sync::Arc;

use super::body::View;

/// Where a slot's label lies in the buffer.
#[derive(Clone, Copy, Debug)]
struct Span {
    i: u16,
    len: u16,
    start: u32,
}

/// Texts by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    /// Ascending by slot.
    spans: Vec<Span>,
    buffer: String,
}

/// A buffer that has to grow does so by this share of itself: doubling it would waste half of what labels cost.
const GROW_SHARE: usize = 8;
/// A buffer of a block that stays may have this share of itself free.
const SLACK_SHARE: usize = 16;

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
        let start = span.start as usize;
        self.buffer.get(start..start + usize::from(span.len))
    }

    /// An id has at most 512 bytes, so that a block's fit into 32 bits many times over; what is absurdly long is cut off
    /// by its length's type and so has no label.
    fn set(&mut self, i: u16, text: &str) {
        let start = u32::try_from(self.buffer.len());
        let (Ok(start), Ok(len)) = (start, u16::try_from(text.len())) else {
            return;
        };
        let missing = (self.buffer.len() + text.len()).saturating_sub(self.buffer.capacity());
        if missing > 0 {
            let more = (self.buffer.capacity() / GROW_SHARE).max(1_024);
            self.buffer.reserve_exact(text.len() + more);
        }
        self.buffer.push_str(text);
        let span = Span { i, len, start };
        match self.place(i) {
            Ok(at) => self.spans[at] = span,
            Err(at) => self.spans.insert(at, span),
        }
    }

    fn forget(&mut self, i: u16) {
        if let Ok(at) = self.place(i) {
            self.spans.remove(at);
        }
    }

    fn has_slack(&self) -> bool {
        let free = self.buffer.capacity() - self.buffer.len();
        free > self.buffer.len() / SLACK_SHARE
            || self.spans.capacity() - self.spans.len() > self.spans.len() / SLACK_SHARE
    }

    fn bytes(&self) -> usize {
        self.spans.iter().map(|s| usize::from(s.len)).sum()
    }

    /// Those alone that `keep` wants, in as little as it takes.
    fn kept(&self, mut keep: impl FnMut(u16) -> bool) -> Self {
        let spans = self.spans.iter().filter(|s| keep(s.i));
        let mut kept = Self {
            spans: spans.copied().collect(),
            buffer: String::new(),
        };
        kept.spans.shrink_to_fit();
        kept.buffer.reserve_exact(kept.bytes());
        for span in &mut kept.spans {
            let text = self.text(*span).unwrap_or_default();
            span.start = kept.buffer.len() as u32;
            kept.buffer.push_str(text);
        }
        kept
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
            texts.spans.clear();
            texts.buffer.clear();
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
        let mut made = Texts {
            spans: Vec::with_capacity(texts),
            buffer: String::with_capacity(bytes),
        };
        for (i, text) in all {
            made.set(i, text);
        }
        Self((!made.spans.is_empty()).then(|| Arc::new(Box::new(made))))
    }

    pub fn into_ids(self) -> BlockIds {
        self.0.map_or(BlockIds::None, BlockIds::Lent)
    }

    pub fn get(&self, i: u16) -> Option<&str> {
        self.0.as_ref()?.get(i)
    }

    pub fn each(&self) -> impl Iterator<Item = (u16, &str)> {
        let texts = self.0.as_deref();
        texts.into_iter().flat_map(|texts| {
            let spans = texts.spans.iter();
            spans.filter_map(|s| Some((s.i, texts.text(*s)?)))
        })
    }
}
