//! The keys of the one tree.
//!
//! A *record* belongs to a *space*: 0 is the store itself, every other is one kept partition. A record is written as a
//! new *version* (the checkpoint's number) beside the one before, in *fragments* that are small enough for sled.
//! Big-endian, so that sled's order is: space by space, its root first, then record by record, version by version.

/// Names a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RecordId {
    pub space: u32,
    pub kind: Kind,
    /// A block's base, the number of a chunk of details; 0 for what is there once.
    pub at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Kind {
    /// What the space hangs on: a partition's header, the store's identity.
    Root = 0,
    Block = 1,
    Details = 2,
}

/// The space of what is the store's own.
pub(super) const STORE_SPACE: u32 = 0;

/// Space, kind, place, version, part.
pub(super) const FRAGMENT_KEY_BYTES: usize = 4 + 1 + 8 + 8 + 2;

/// Where the number of the newest whole checkpoint stands. Not as long as a fragment's key.
pub(super) const COMMIT_KEY: &[u8] = b"commit";

pub(super) type FragmentKey = [u8; FRAGMENT_KEY_BYTES];

impl RecordId {
    pub const fn root(space: u32) -> Self {
        Self {
            space,
            kind: Kind::Root,
            at: 0,
        }
    }

    /// All records of a space.
    pub const fn all_of(space: u32) -> std::ops::RangeInclusive<Self> {
        Self {
            space,
            kind: Kind::Root,
            at: i64::MIN,
        }..=Self {
            space,
            kind: Kind::Details,
            at: i64::MAX,
        }
    }

    pub fn fragment(self, version: u64, part: u16) -> FragmentKey {
        let mut key = [0; FRAGMENT_KEY_BYTES];
        key[..4].copy_from_slice(&self.space.to_be_bytes());
        key[4] = self.kind as u8;
        key[5..13].copy_from_slice(&sortable(self.at).to_be_bytes());
        key[13..21].copy_from_slice(&version.to_be_bytes());
        key[21..].copy_from_slice(&part.to_be_bytes());
        key
    }

    /// The record, version and part that a fragment's key names; `None` if it is no such key.
    pub fn parse(key: &[u8]) -> Option<(Self, u64, u16)> {
        let (space, rest) = key.split_first_chunk::<4>()?;
        let (&kind, rest) = rest.split_first()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let part: [u8; 2] = rest.try_into().ok()?;
        let kind = match kind {
            0 => Kind::Root,
            1 => Kind::Block,
            2 => Kind::Details,
            _ => return None,
        };
        let id = Self {
            space: u32::from_be_bytes(*space),
            kind,
            at: sortable(i64::from_be_bytes(*at)),
        };
        Some((id, u64::from_be_bytes(*version), u16::from_be_bytes(part)))
    }
}

/// Flips the sign bit, so that bytes sort as numbers do; its own inverse.
const fn sortable(value: i64) -> i64 {
    value ^ i64::MIN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> impl Strategy<Value = RecordId> {
        let kind = prop::sample::select(vec![Kind::Root, Kind::Block, Kind::Details]);
        (any::<u32>(), kind, any::<i64>()).prop_map(|(space, kind, at)| RecordId {
            space,
            kind,
            at,
        })
    }

    proptest! {
        #[test]
        fn keys_say_what_they_were_made_of(id in id(), version in any::<u64>(), part in any::<u16>()) {
            prop_assert_eq!(RecordId::parse(&id.fragment(version, part)), Some((id, version, part)));
        }

        #[test]
        fn keys_sort_as_records_do(
            a in (id(), any::<u64>(), any::<u16>()),
            b in (id(), any::<u64>(), any::<u16>()),
        ) {
            prop_assert_eq!(a.cmp(&b), a.0.fragment(a.1, a.2).cmp(&b.0.fragment(b.1, b.2)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = RecordId::parse(&bytes);
        }
    }
}
