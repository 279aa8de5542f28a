//! The bytes of a checkpoint: what the store keeps of a partition, and of itself.
//!
//! Promises: compact (an outstanding first delivery takes about 12 bytes), versioned ([`FORMAT`] is the first byte of
//! every value), protected (a CRC-32 over the value *and the key it belongs to*, so that an intact value under a wrong
//! key is damage too), and total: no decoder panics or allocates without bound, whatever the bytes are.
//!
//! Leaves out: which values belong together, and atomicity; that is the store's. There are two layers: [`seal`] and
//! [`unseal`] put any body into its envelope; the `encode_…` and `decode_…` pairs make and read the bodies. A body may
//! be cut into several sealed values.
//!
//! Changing a body that was released means a new [`FORMAT`], and a decoder for the old one, whose fixtures stay in the
//! tests.

mod block;
mod bytes;
mod detail;
mod partition;

pub use block::{decode_block, encode_block};
pub use detail::{decode_details, encode_details};
pub use partition::{
    PartitionRoot, decode_identity, decode_partition, encode_identity, encode_partition,
};

/// The version of all that is encoded here.
pub const FORMAT: u8 = 1;

/// What [`seal`] adds to a body, bytes: the format before it, the checksum behind it.
pub const ENVELOPE_BYTES: usize = 1 + CRC_BYTES;

const CRC_BYTES: usize = 4;

/// Why bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Flipped, cut off, or under a key that it was not written for.
    #[error("checksum mismatch")]
    Checksum,
    /// Intact, but of a later version.
    #[error("format version {found}, this program knows up to {FORMAT}")]
    Newer { found: u8 },
    /// Intact, but not what the format says: a bug, then or now.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// Wraps `body` for the key `address`.
#[must_use]
pub fn seal(address: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + ENVELOPE_BYTES);
    out.push(FORMAT);
    out.extend_from_slice(body);
    let crc = checksum(address, &out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The body that [`seal`] wrapped for this `address`.
///
/// # Errors
/// [`StoredError::Checksum`] and [`StoredError::Newer`].
pub fn unseal<'a>(address: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], StoredError> {
    let (covered, crc) = sealed
        .split_last_chunk::<CRC_BYTES>()
        .ok_or(StoredError::Checksum)?;
    if checksum(address, covered) != u32::from_le_bytes(*crc) {
        return Err(StoredError::Checksum);
    }
    match covered.split_first() {
        Some((&FORMAT, body)) => Ok(body),
        Some((&found, _)) if found > FORMAT => Err(StoredError::Newer { found }),
        _ => Err(StoredError::Malformed("format version 0")),
    }
}

fn checksum(address: &[u8], covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(address);
    hasher.update(covered);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_under_another_key_is_damage() {
        let sealed = seal(b"here", b"body");
        assert_eq!(unseal(b"here", &sealed), Ok(&b"body"[..]));
        assert_eq!(unseal(b"hers", &sealed), Err(StoredError::Checksum));
    }

    #[test]
    fn a_later_format_is_recognised() {
        let mut sealed = seal(b"k", b"body");
        let end = sealed.len() - CRC_BYTES;
        sealed[0] = FORMAT + 1;
        let crc = checksum(b"k", &sealed[..end]).to_le_bytes();
        sealed[end..].copy_from_slice(&crc);
        assert_eq!(
            unseal(b"k", &sealed),
            Err(StoredError::Newer { found: FORMAT + 1 })
        );
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_noticed(body in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let mut sealed = seal(b"key", &body);
            let bit = at.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(unseal(b"key", &sealed), Err(StoredError::Checksum));
        }

        #[test]
        fn every_cut_is_noticed(body in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let sealed = seal(b"key", &body);
            prop_assert_eq!(unseal(b"key", &sealed[..at.index(sealed.len())]), Err(StoredError::Checksum));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = unseal(b"key", &bytes);
            let _ = decode_block(&bytes);
            let _ = decode_details(&bytes);
            let _ = decode_partition(&bytes);
            let _ = decode_identity(&bytes);
        }
    }
}
