//! Varints, strings and options: the alphabet of the stored bodies.
//!
//! Unsigned numbers are LEB128, signed ones zigzag before that; differences wrap, so that every value of every type
//! survives. A reader never reads past its end, and never believes a count that the bytes left cannot hold.

use super::StoredError;

/// Appends to a body.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn fixed(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub fn signed(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)) as u64);
    }

    /// `value` as its distance from `base`.
    pub fn delta(&mut self, value: i64, base: i64) {
        self.signed(value.wrapping_sub(base));
    }

    pub fn count(&mut self, value: usize) {
        self.unsigned(value as u64);
    }

    pub fn text(&mut self, value: &str) {
        self.count(value.len());
        self.bytes.extend_from_slice(value.as_bytes());
    }
}

/// Reads a body from its start.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

const SHORT: StoredError = StoredError::Malformed("the bytes end too early");

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn byte(&mut self) -> Result<u8, StoredError> {
        let (&first, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(first)
    }

    pub fn fixed(&mut self) -> Result<u64, StoredError> {
        let (chunk, rest) = self.rest.split_first_chunk::<8>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*chunk))
    }

    pub fn unsigned(&mut self) -> Result<u64, StoredError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(StoredError::Malformed("a number of more than 64 bits"))
    }

    pub fn signed(&mut self) -> Result<i64, StoredError> {
        let value = self.unsigned()?;
        Ok(((value >> 1) as i64) ^ -((value & 1) as i64))
    }

    pub fn delta(&mut self, base: i64) -> Result<i64, StoredError> {
        Ok(base.wrapping_add(self.signed()?))
    }

    pub fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, StoredError> {
        T::try_from(self.unsigned()?).map_err(|_| StoredError::Malformed("a number out of range"))
    }

    /// How many of something follow, each at least `bytes_min` (≥ 1) long.
    pub fn count(&mut self, bytes_min: usize) -> Result<usize, StoredError> {
        let count: usize = self.narrow()?;
        if count > self.rest.len() / bytes_min {
            return Err(SHORT);
        }
        Ok(count)
    }

    pub fn text(&mut self) -> Result<&'a str, StoredError> {
        let len = self.count(1)?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| StoredError::Malformed("text that is not UTF-8"))
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), StoredError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(StoredError::Malformed("bytes left over"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_survives(a in any::<u64>(), b in any::<i64>(), c in any::<i64>(), text in ".{0,40}") {
            let mut w = Writer::default();
            w.unsigned(a);
            w.signed(b);
            w.delta(b, c);
            w.fixed(a);
            w.text(&text);
            let bytes = w.into_bytes();
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(r.unsigned(), Ok(a));
            prop_assert_eq!(r.signed(), Ok(b));
            prop_assert_eq!(r.delta(c), Ok(b));
            prop_assert_eq!(r.fixed(), Ok(a));
            prop_assert_eq!(r.text(), Ok(text.as_str()));
            prop_assert_eq!(r.end(), Ok(()));
        }
    }

    #[test]
    fn the_largest_numbers_survive() {
        for value in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, 0] {
            let mut w = Writer::default();
            w.unsigned(value);
            assert_eq!(Reader::new(&w.into_bytes()).unsigned(), Ok(value));
        }
        for value in [i64::MIN, i64::MAX, -1, 0] {
            let mut w = Writer::default();
            w.signed(value);
            assert_eq!(Reader::new(&w.into_bytes()).signed(), Ok(value));
        }
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused() {
        let mut w = Writer::default();
        w.count(1 << 40);
        assert_eq!(Reader::new(&w.into_bytes()).count(1), Err(SHORT));
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        assert!(Reader::new(&[0xff; 10]).unsigned().is_err());
        assert!(Reader::new(&[0x80; 11]).unsigned().is_err());
    }
}
