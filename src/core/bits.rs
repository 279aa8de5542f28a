//! A set of slots of one block: a bit for each of [`BLOCK_OFFSETS`] neighbours.

use super::image::BLOCK_OFFSETS;

const WORDS: usize = BLOCK_OFFSETS as usize / 64;

/// Slots from 0 to `BLOCK_OFFSETS` − 1; what is past that is never in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits([u64; WORDS]);

const fn split(i: u16) -> (usize, u64) {
    (i as usize / 64, 1 << (i % 64))
}

impl Bits {
    pub const NONE: Self = Self([0; WORDS]);

    pub fn has(&self, i: u16) -> bool {
        let (word, bit) = split(i);
        self.0.get(word).is_some_and(|w| w & bit != 0)
    }

    pub fn set(&mut self, i: u16) {
        let (word, bit) = split(i);
        if let Some(w) = self.0.get_mut(word) {
            *w |= bit;
        }
    }

    pub fn unset(&mut self, i: u16) {
        let (word, bit) = split(i);
        if let Some(w) = self.0.get_mut(word) {
            *w &= !bit;
        }
    }

    /// The lowest at or after `from`.
    pub fn next(&self, from: u16) -> Option<u16> {
        let word = usize::from(from) / 64;
        let mut left = self.0.get(word)? & (u64::MAX << (from % 64));
        for at in word..WORDS {
            if at > word {
                left = self.0[at];
            }
            if left != 0 {
                return Some((at * 64) as u16 + left.trailing_zeros() as u16);
            }
        }
        None
    }

    /// The highest below `below`.
    pub fn previous(&self, below: u16) -> Option<u16> {
        let below = usize::from(below).min(WORDS * 64);
        for at in (0..below.div_ceil(64)).rev() {
            let end = (below - at * 64).min(64);
            let left = self.0[at] & (u64::MAX >> (64 - end));
            if left != 0 {
                return Some((at * 64) as u16 + 63 - left.leading_zeros() as u16);
            }
        }
        None
    }

    pub fn count(&self) -> u16 {
        self.0.iter().map(|w| w.count_ones() as u16).sum()
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let words = self.0.iter().enumerate();
        words.flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros() as u16;
                    left &= left - 1;
                    (at * 64) as u16 + bit
                })
            })
        })
    }

    /// Those that are not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = *self;
        for (ours, theirs) in left.0.iter_mut().zip(&other.0) {
            *ours &= !theirs;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_a_sorted_set(
            ops in prop::collection::vec((0..1024_u16, any::<bool>()), 0..200), at in 0..=1024_u16,
            others in prop::collection::vec(0..1024_u16, 0..50),
        ) {
            let (mut bits, mut model) = (Bits::NONE, BTreeSet::new());
            for (i, set) in ops {
                if set {
                    bits.set(i);
                    model.insert(i);
                } else {
                    bits.unset(i);
                    model.remove(&i);
                }
                prop_assert_eq!(bits.has(i), set);
            }
            prop_assert_eq!(bits.next(at), model.range(at..).next().copied());
            prop_assert_eq!(bits.previous(at), model.range(..at).next_back().copied());
            prop_assert_eq!(usize::from(bits.count()), model.len());
            prop_assert!(bits.iter().eq(model.iter().copied()));
            let mut other = Bits::NONE;
            others.iter().for_each(|i| other.set(*i));
            let left = bits.without(&other);
            prop_assert!(left.iter().eq(model.into_iter().filter(|i| !others.contains(i))));
        }
    }

    #[test]
    fn what_is_past_the_block_is_never_in_it() {
        let mut bits = Bits::NONE;
        bits.set(1024);
        bits.unset(u16::MAX);
        assert!(!bits.has(1024));
        assert_eq!(bits.next(1024), None);
        assert_eq!(bits.count(), 0);
    }
}
