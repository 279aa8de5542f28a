//! A hash for tables whose keys are offsets, positions, or numbers that we count up ourselves: they are dense and chosen by
//! nobody, so that one multiplication does.

use std::hash::{BuildHasherDefault, Hasher};

pub type ByOffset = BuildHasherDefault<OffsetHasher>;

#[derive(Debug, Default)]
pub struct OffsetHasher(u64);

impl Hasher for OffsetHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }

    fn write_i32(&mut self, n: i32) {
        self.write_u64(u64::from(n.cast_unsigned()));
    }

    fn write_u64(&mut self, n: u64) {
        let product = u128::from(self.0 ^ n) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_i64(&mut self, n: i64) {
        self.write_u64(n as u64);
    }
}
