//! `start`: where tracking begins.

use std::time::UNIX_EPOCH;

use super::model::Start;
use super::scalar::{Scalar, with_article};

const WANTED: &str = "\"now\", \"earliest\" or a time such as \"2026-01-31T08:00:00Z\"";

/// Parses `"now"`, `"earliest"` or an RFC 3339 time with its zone.
///
/// # Errors
/// A fragment that follows the key.
pub(super) fn parse_start(value: &Scalar) -> Result<Start, String> {
    let Scalar::Text(text) = value else {
        let what = with_article(value.type_name());
        return Err(format!("is {what}, wanted is {WANTED}"));
    };
    match text.trim() {
        "now" => Ok(Start::Now),
        "earliest" => Ok(Start::Earliest),
        time => parse_time(time).map(Start::At),
    }
}

/// ms since the epoch. humantime knows UTC alone, toml knows zones: one for each half.
fn parse_time(text: &str) -> Result<i64, String> {
    let unknown = || format!("is unknown; wanted is {WANTED}");
    let parsed: toml::value::Datetime = text.parse().map_err(|_| unknown())?;
    let (Some(date), Some(time)) = (parsed.date, parsed.time) else {
        return Err(format!("is only half a time; wanted is {WANTED}"));
    };
    let offset_minutes = match parsed.offset {
        Some(toml::value::Offset::Z) => 0,
        Some(toml::value::Offset::Custom { minutes }) => i64::from(minutes),
        None => return Err(format!("has no zone; end it with Z: \"{text}Z\"")),
    };
    let utc = humantime::parse_rfc3339_weak(&format!("{date}T{time}Z"))
        .map_err(|_| "is no time between 1970 and 9999".to_owned())?;
    let ms = utc
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .map(|ms| ms - offset_minutes * 60_000)
        .filter(|ms| *ms >= 0);
    ms.ok_or_else(|| "is no time between 1970 and 9999".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Start, String> {
        parse_start(&Scalar::Text(text.to_owned()))
    }

    #[test]
    fn words_and_times_with_any_zone_are_understood() {
        assert_eq!(parse("now"), Ok(Start::Now));
        assert_eq!(parse("earliest"), Ok(Start::Earliest));
        for text in [
            "2026-01-31T08:00:00Z",
            "2026-01-31T10:00:00+02:00",
            "2026-01-31 03:00:00-05:00",
            "2026-01-31T08:00:00.000Z",
        ] {
            assert_eq!(parse(text), Ok(Start::At(1_769_846_400_000)), "{text}");
        }
        assert_eq!(
            parse("2026-01-31T08:00:00.25Z"),
            Ok(Start::At(1_769_846_400_250))
        );
    }

    #[test]
    fn anything_else_is_refused_with_the_cure() {
        for (text, says) in [
            ("latest", "wanted is \"now\""),
            ("2026-01-31", "half a time"),
            ("2026-01-31T08:00:00", "has no zone"),
            ("2026-02-30T08:00:00Z", "wanted is"),
            ("1969-12-31T23:00:00Z", "between 1970"),
            ("", "wanted is"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
        assert!(parse_start(&Scalar::Integer(7)).is_err());
    }
}
