//! A hash for tables whose keys are offsets: they are Kafka's own, dense and chosen by nobody, so that one multiplication
//! does.

use std::hash::{BuildHasherDefault, Hasher};

pub(super) type ByOffset = BuildHasherDefault<OffsetHasher>;

#[derive(Default)]
pub(super) struct OffsetHasher(u64);

impl Hasher for OffsetHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        let product = u128::from(self.0 ^ n) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_i64(&mut self, n: i64) {
        self.write_u64(n as u64);
    }
}
