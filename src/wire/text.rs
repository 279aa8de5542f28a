//! Small texts in headers: numbers, durations, ids, and what is shown to people. Each with a bound.

use std::time::Duration;

/// Longest id, in bytes; it is part of the contract.
pub const ID_BYTES_MAX: usize = 512;

/// Longest duration that is looked at: a few units, generously.
const DURATION_BYTES_MAX: usize = 100;

/// The text of an id, if it fits: UTF-8, 1 to 512 bytes.
#[must_use]
pub fn id(bytes: &[u8]) -> Option<&str> {
    if bytes.is_empty() || bytes.len() > ID_BYTES_MAX {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

/// A decimal number: digits alone, no sign, no leading zero.
#[must_use]
pub fn number<N: TryFrom<u64>>(bytes: &[u8]) -> Option<N> {
    if bytes.is_empty() || (bytes[0] == b'0' && bytes.len() > 1) {
        return None;
    }
    let n = bytes.iter().try_fold(0u64, |n, b| {
        if !b.is_ascii_digit() {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })?;
    N::try_from(n).ok()
}

/// A humantime duration in ms; parts of a millisecond are dropped, what is past `u64` is the largest.
#[must_use]
pub fn duration_ms(bytes: &[u8]) -> Option<u64> {
    if bytes.len() > DURATION_BYTES_MAX {
        return None;
    }
    // humantime itself panics on sums that are too large: the configuration's parser bounds them.
    crate::config::duration::parse_duration_ms(std::str::from_utf8(bytes).ok()?).ok()
}

/// The humantime text of ms; [`duration_ms`] reads it back.
#[must_use]
pub fn format_duration_ms(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

/// Text for people: what is not UTF-8 is replaced, what is past `chars_max` characters is cut off.
#[must_use]
pub fn shortened(bytes: &[u8], chars_max: usize) -> Box<str> {
    // A character has four bytes at most; cutting there first bounds the work, and spoils at most the last character,
    // which is past the limit anyway.
    let bytes = &bytes[..bytes
        .len()
        .min(chars_max.saturating_add(1).saturating_mul(4))];
    String::from_utf8_lossy(bytes)
        .chars()
        .take(chars_max)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_has_1_to_512_bytes_of_utf8() {
        assert_eq!(id(b""), None);
        assert_eq!(id(b"\xff"), None);
        assert_eq!(id("é".as_bytes()), Some("é"));
        assert!(id(&[b'x'; 512]).is_some());
        assert!(id(&[b'x'; 513]).is_none());
    }

    #[test]
    fn numbers_are_digits_alone() {
        assert_eq!(number::<u32>(b"0"), Some(0));
        assert_eq!(number::<u32>(b"4294967295"), Some(u32::MAX));
        assert_eq!(number::<i64>(b"9223372036854775807"), Some(i64::MAX));
        for bad in [
            "",
            "+1",
            "-1",
            "01",
            "1 ",
            "4294967296",
            "1e3",
            "99999999999999999999999",
        ] {
            assert_eq!(number::<u32>(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_those_of_humantime() {
        assert_eq!(duration_ms(b"1m 30s"), Some(90_000));
        assert_eq!(duration_ms(b"250ms"), Some(250));
        assert_eq!(duration_ms(b"0s"), Some(0));
        for bad in ["", "30", "-1s", "soon", "1 fortnight"] {
            assert_eq!(duration_ms(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(duration_ms(&b"1s ".repeat(40)), None);
    }

    #[test]
    fn text_is_cut_at_characters() {
        assert_eq!(&*shortened("żółw".as_bytes(), 3), "żół");
        assert_eq!(&*shortened("😀😀😀".as_bytes(), 2), "😀😀");
        assert_eq!(&*shortened(b"ok\xff", 10), "ok\u{fffd}");
        assert_eq!(&*shortened(b"", 10), "");
    }

    proptest! {
        #[test]
        fn no_bytes_make_them_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), max in 0usize..20) {
            let _ = (id(&bytes), number::<u32>(&bytes), duration_ms(&bytes));
            prop_assert!(shortened(&bytes, max).chars().count() <= max);
        }

        #[test]
        fn no_duration_makes_it_panic(text in "([0-9.]{0,22} ?(ns|us|ms|s|m|h|d|w|M|y|years|x)? ?){0,4}") {
            let _ = duration_ms(text.as_bytes());
        }

        #[test]
        fn numbers_read_back(n in any::<u32>()) {
            prop_assert_eq!(number::<u32>(n.to_string().as_bytes()), Some(n));
        }

        #[test]
        fn durations_read_back(ms in 0..1u64 << 50) {
            prop_assert_eq!(duration_ms(format_duration_ms(ms).as_bytes()), Some(ms));
        }
    }
}
