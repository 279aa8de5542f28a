//! LEB128: seven bits a byte, the lowest first.
//!
//! Reading is strict: what has a shorter spelling, or is past 64 bits, is not a number.

/// Appends `n`.
pub fn push(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes a number off the front.
#[must_use]
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return None;
        }
        n |= bits << (7 * i);
        if byte & 0x80 == 0 {
            if *byte == 0 && i > 0 {
                return None;
            }
            *bytes = &bytes[i + 1..];
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_the_shortest_spelling_is_no_number() {
        for mut bad in [
            &[][..],
            &[0x80],
            &[0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x80; 20],
        ] {
            assert_eq!(take(&mut bad), None);
        }
    }

    proptest! {
        #[test]
        fn a_number_reads_back_and_leaves_the_rest(n in any::<u64>(), shift in 0u32..64, rest in any::<[u8; 2]>()) {
            let n = n >> shift;
            let mut bytes = Vec::new();
            push(&mut bytes, n);
            bytes.extend(rest);
            let mut left = &bytes[..];
            prop_assert_eq!(take(&mut left), Some(n));
            prop_assert_eq!(left, &rest[..]);
        }

        #[test]
        fn a_number_has_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut left = &bytes[..];
            if let Some(n) = take(&mut left) {
                let mut again = Vec::new();
                push(&mut again, n);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - left.len()]);
            }
        }
    }
}
