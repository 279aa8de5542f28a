//! `topic/partition/offset`: the name of a message that is always there.
//!
//! Strict, so that a position has one spelling only: decimal digits, no sign, no leading zero, within the ranges of
//! Kafka. Parsing allocates nothing.

use std::fmt::Write as _;

use super::text;

/// Longest name of a topic that Kafka allows.
pub const TOPIC_BYTES_MAX: usize = 249;

/// Topic, partition and offset, if the bytes are a position; the topic is a name that Kafka would allow.
#[must_use]
pub fn parse(position: &[u8]) -> Option<(&str, i32, i64)> {
    let (topic, partition, offset) = split(position)?;
    let legal = (1..=TOPIC_BYTES_MAX).contains(&topic.len())
        && topic
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !legal {
        return None;
    }
    Some((std::str::from_utf8(topic).ok()?, partition, offset))
}

/// The same, with the topic as it stands there: for who looks it up among names that are known.
#[must_use]
pub fn split(position: &[u8]) -> Option<(&[u8], i32, i64)> {
    let (rest, offset) = last_segment(position)?;
    let offset = text::number(offset)?;
    let (topic, partition) = last_segment(rest)?;
    let partition = text::number(partition)?;
    if topic.is_empty() {
        return None;
    }
    Some((topic, partition, offset))
}

/// The text of a position.
#[must_use]
pub fn format(topic: &str, partition: i32, offset: i64) -> String {
    let mut text = String::with_capacity(topic.len() + 24);
    let _ = write!(text, "{topic}/{partition}/{offset}");
    text
}

fn last_segment(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = text.iter().rposition(|b| *b == b'/')?;
    Some((&text[..slash], &text[slash + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_kafka_allows_is_a_position() {
        assert_eq!(parse(b"orders/3/1042"), Some(("orders", 3, 1042)));
        assert_eq!(parse(b"a.b_c-D/0/0"), Some(("a.b_c-D", 0, 0)));
        assert_eq!(
            parse(b"t/2147483647/9223372036854775807"),
            Some(("t", i32::MAX, i64::MAX))
        );
    }

    #[test]
    fn what_has_another_spelling_is_none() {
        for text in [
            "",
            "/",
            "//",
            "orders",
            "orders/3",
            "orders/3/",
            "orders//3",
            "/3/4",
            "orders/+3/4",
            "orders/3/-4",
            "orders/03/4",
            "orders/3/04",
            "orders/3/4 ",
            " orders/3/4",
            "orders/2147483648/4",
            "orders/3/9223372036854775808",
            "orders/3/99999999999999999999999",
            "orders/3/٤",
            "a/b/3/4",
            "ordérs/3/4",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(format!("{}/0/0", "x".repeat(250)).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_back(
            topic in "[a-zA-Z0-9._-]{1,249}",
            partition in 0..=i32::MAX,
            offset in 0..=i64::MAX,
        ) {
            let text = format(&topic, partition, offset);
            prop_assert_eq!(parse(text.as_bytes()), Some((topic.as_str(), partition, offset)));
        }

        #[test]
        fn a_position_has_one_spelling(text in "[a-z]{0,3}/[-+0-9]{0,11}/[-+0-9]{0,20}") {
            if let Some((topic, partition, offset)) = parse(text.as_bytes()) {
                prop_assert_eq!(format(topic, partition, offset), text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
            let _ = split(&bytes);
        }
    }
}
