//! Digests of records and of ids.
//!
//! [`digest`] is evidence that what is fetched later is what was read once; it guards against compaction, retention and
//! mix-ups, not against somebody who wants a collision. [`id_hash`] stands for an id in the index: keyed and 128 bits wide,
//! because a chance collision there would settle a message that nobody acknowledged.
//!
//! Invariant: both are stored (checkpoints, stubs of dead letters), so that their values never change; the tests pin them.

use siphasher::sip128::SipHasher13;
use xxhash_rust::xxh3::xxh3_64;

use crate::core::TopicIx;

/// Stands for the length of what is null; no slice is that long.
const NULL_LENGTH: u64 = u64::MAX;

/// Digest of key and value. Null differs from empty, and the border between the two counts.
#[must_use]
pub fn digest(key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let mut both = [0u8; 32];
    for (half, part) in both.chunks_exact_mut(16).zip([key, value]) {
        let (hash, length) = part.map_or((0, NULL_LENGTH), |b| (xxh3_64(b), b.len() as u64));
        half[..8].copy_from_slice(&hash.to_le_bytes());
        half[8..].copy_from_slice(&length.to_le_bytes());
    }
    xxh3_64(&both)
}

/// Bytes of key and value together; what is past 4 GiB counts as `u32::MAX`.
#[must_use]
pub fn size(key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    u32::try_from(length(key).saturating_add(length(value))).unwrap_or(u32::MAX)
}

/// What the index knows an id by. `key` is random and kept by whoever keeps the hashes, so that nobody who chooses ids
/// can choose their hashes.
#[must_use]
pub fn id_hash(key: &[u8; 16], topic: TopicIx, id: &str) -> u128 {
    // Ids have at most 512 bytes; the topic's two stand before them, of a fixed width, so that nothing can be shifted
    // from one to the other.
    let mut buffer = [0u8; 2 + super::text::ID_BYTES_MAX];
    let hasher = SipHasher13::new_with_key(key);
    let end = 2 + id.len();
    if let Some(place) = buffer.get_mut(..end) {
        place[..2].copy_from_slice(&topic.0.to_le_bytes());
        place[2..].copy_from_slice(id.as_bytes());
        return hasher.hash(place).as_u128();
    }
    let mut long = Vec::with_capacity(end);
    long.extend_from_slice(&topic.0.to_le_bytes());
    long.extend_from_slice(id.as_bytes());
    hasher.hash(&long).as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_not_empty() {
        let seen = [
            digest(None, None),
            digest(Some(b""), None),
            digest(None, Some(b"")),
            digest(Some(b""), Some(b"")),
        ];
        for (i, a) in seen.iter().enumerate() {
            for b in &seen[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn the_border_between_key_and_value_counts() {
        assert_ne!(
            digest(Some(b"a"), Some(b"bc")),
            digest(Some(b"ab"), Some(b"c"))
        );
        assert_ne!(
            digest(Some(b"a"), Some(b"b")),
            digest(Some(b"b"), Some(b"a"))
        );
    }

    #[test]
    fn digests_of_this_version_stay_as_they_are() {
        assert_eq!(digest(None, None), 0xf940_5483_9e11_f941);
        assert_eq!(digest(Some(b"key"), Some(b"value")), 0xab7b_2e91_e568_a44c);
        assert_eq!(
            id_hash(&[7; 16], TopicIx(3), "A-7"),
            0xb7a6_33f7_abf4_e3a0_5e07_6397_27a2_863e
        );
    }

    #[test]
    fn an_id_hash_depends_on_key_topic_and_id() {
        let a = id_hash(&[1; 16], TopicIx(0), "A-7");
        assert_ne!(a, id_hash(&[2; 16], TopicIx(0), "A-7"));
        assert_ne!(a, id_hash(&[1; 16], TopicIx(1), "A-7"));
        assert_ne!(a, id_hash(&[1; 16], TopicIx(0), "A-8"));
    }

    #[test]
    fn an_id_hash_does_not_depend_on_where_its_bytes_stood() {
        let long = "x".repeat(2_000);
        assert_ne!(
            id_hash(&[1; 16], TopicIx(0), &long),
            id_hash(&[1; 16], TopicIx(0), &long[1..])
        );
    }

    #[test]
    fn sizes_add_up() {
        assert_eq!(size(None, None), 0);
        assert_eq!(size(Some(b"ab"), Some(b"c")), 3);
    }
}
