//! Durations as people write them (`"1m 30s"`), in whole milliseconds.
//!
//! A guard around humantime: bounded in length and digits, because a sum near `u64::MAX` seconds makes humantime panic,
//! and some of these texts come from the network. What is finer than a millisecond is refused, not rounded.

use std::time::Duration;

/// Longest text that is looked at, bytes.
const TEXT_MAX: usize = 64;
/// Digits of one number: five terms of 10^11 years still fit into `u64` seconds, and 64 bytes hold no more of them.
const DIGITS_MAX: usize = 11;

/// Parses `"45s"`, `"1m 30s"`, `"500ms"`; `"0"` and `"0s"` are zero.
///
/// # Errors
/// What is wrong with the text, as a fragment that goes on with the cure.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    const CURE: &str = "write a number and a unit, such as \"30s\", \"1m 30s\" or \"500ms\"";
    let trimmed = text.trim();
    if trimmed.len() > TEXT_MAX || longest_number(trimmed) > DIGITS_MAX {
        return Err(format!("is no duration: too long; {CURE}"));
    }
    if let Some(rest) = trimmed.strip_prefix('-') {
        return Err(format!(
            "is negative; a duration is 0 or more, such as \"{}\"",
            rest.trim()
        ));
    }
    let parsed = humantime::parse_duration(trimmed).map_err(|error| {
        use humantime::DurationError::{
            Empty, InvalidCharacter, NumberExpected, NumberOverflow, UnknownUnit,
        };
        match error {
            Empty => format!("is empty; {CURE}"),
            UnknownUnit { unit, value, .. } if unit.is_empty() => {
                format!("has no unit; \"{value}s\" or \"{value}ms\"?")
            }
            UnknownUnit { unit, .. } => {
                format!("has an unknown unit `{unit}`; there are ms, s, m, h, d, w")
            }
            NumberExpected(_) | InvalidCharacter(_) => format!("is no duration; {CURE}"),
            NumberOverflow => format!("is no duration: too large or too fine; {CURE}"),
        }
    })?;
    if parsed.subsec_nanos() % 1_000_000 != 0 {
        return Err("is finer than a millisecond; milliseconds are the unit, \"1ms\"".to_owned());
    }
    u64::try_from(parsed.as_millis()).map_err(|_| "is too long a time".to_owned())
}

/// The contract's text of a duration: `"45s"`, `"1m 30s"`, `"0s"`. Parses back to the same value.
#[must_use]
pub fn show_duration_ms(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

/// Most digits in a row, blanks between them ignored, as humantime does.
fn longest_number(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        run = if c.is_ascii_digit() { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        for (text, ms) in [
            ("45s", 45_000),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("0", 0),
            ("0s", 0),
            (" 2s ", 2_000),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_parses_back() {
        for ms in [
            0,
            1,
            999,
            1_000,
            45_000,
            90_000,
            600_000,
            3_600_000,
            2_592_000_000,
        ] {
            assert_eq!(parse_duration_ms(&show_duration_ms(ms)), Ok(ms));
        }
        assert_eq!(show_duration_ms(90_000), "1m 30s");
        assert_eq!(show_duration_ms(45_000), "45s");
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_cure() {
        for (text, says) in [
            ("", "is empty"),
            ("   ", "is empty"),
            ("10", "\"10s\" or \"10ms\"?"),
            ("10x", "unknown unit `x`"),
            ("soon", "is no duration"),
            ("-5s", "is negative"),
            ("100us", "finer than a millisecond"),
            ("999999999999s", "too long"),
        ] {
            let problem = parse_duration_ms(text).unwrap_err();
            assert!(problem.contains(says), "{text:?}: {problem}");
        }
    }

    #[test]
    fn sums_near_the_end_of_u64_do_not_panic() {
        for text in [
            "18446744073709551615s 1000ms",
            "1 8 4 4 6 7 4 4 0 7 3 7 0 9 5 5 1 6 1 5 s 1000ms",
            "99999999999y 99999999999y 99999999999y 99999999999y 99999999999y",
        ] {
            assert!(parse_duration_ms(text).is_err(), "{text:?}");
        }
    }
}
