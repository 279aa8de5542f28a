//! The `ackwarden-cause` of a copy: `timeout`, `nack`, `operator`; then, if a record on the ACK topic caused it, a space
//! and that record's position: `nack orders-acks/2/881`.

use super::position;
use crate::core::effect::DeadLetterCause;
use crate::core::{Cause, CauseKind, LogPosition};

/// What stands in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CauseText {
    /// A delivery was made.
    Delivery(Cause),
    /// The record is a dead letter, or somebody sent one back as it was.
    DeadLetter,
    /// Of another version, or damaged.
    Unknown,
}

/// Reads the header. A record that is not on `ack_topic` is left out: where it stands means nothing to us.
///
/// `operator` is a cause of both, and read as a delivery's.
#[must_use]
pub fn parse(text: &[u8], ack_topic: &str) -> CauseText {
    let mut words = text.splitn(2, |b| *b == b' ');
    let kind = words.next().unwrap_or_default();
    let record = words
        .next()
        .and_then(position::split)
        .filter(|(topic, _, _)| *topic == ack_topic.as_bytes())
        .map(|(_, partition, offset)| LogPosition::new(partition, offset));
    let delivery = [CauseKind::Timeout, CauseKind::Nack, CauseKind::Operator]
        .into_iter()
        .find(|k| kind_text(*k).as_bytes() == kind);
    match delivery {
        Some(kind) => CauseText::Delivery(Cause { kind, record }),
        None if DeadLetterCause::ALL
            .iter()
            .any(|c| c.as_str().as_bytes() == kind) =>
        {
            CauseText::DeadLetter
        }
        None => CauseText::Unknown,
    }
}

/// The text of a delivery's cause.
#[must_use]
pub fn format(cause: Cause, ack_topic: &str) -> String {
    let kind = kind_text(cause.kind);
    match cause.record {
        None => kind.to_owned(),
        Some(at) => format!(
            "{kind} {}",
            position::format(ack_topic, at.partition, at.offset)
        ),
    }
}

/// The first word, and the metrics label.
#[must_use]
pub const fn kind_text(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::Timeout => "timeout",
        CauseKind::Nack => "nack",
        CauseKind::Operator => "operator",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(kind: CauseKind, record: Option<LogPosition>) -> CauseText {
        CauseText::Delivery(Cause { kind, record })
    }

    #[test]
    fn what_is_formatted_parses_back() {
        for kind in [CauseKind::Timeout, CauseKind::Nack, CauseKind::Operator] {
            for record in [None, Some(LogPosition::new(2, 881))] {
                let text = format(Cause { kind, record }, "orders-acks");
                assert_eq!(
                    parse(text.as_bytes(), "orders-acks"),
                    delivery(kind, record)
                );
            }
        }
        let nack = Cause {
            kind: CauseKind::Nack,
            record: Some(LogPosition::new(2, 881)),
        };
        assert_eq!(format(nack, "orders-acks"), "nack orders-acks/2/881");
    }

    #[test]
    fn a_record_on_another_topic_is_left_out() {
        for text in [
            "nack other/2/881",
            "nack orders-acks/2",
            "nack ",
            "nack",
            "nack a b",
        ] {
            assert_eq!(
                parse(text.as_bytes(), "orders-acks"),
                delivery(CauseKind::Nack, None),
                "{text}"
            );
        }
    }

    #[test]
    fn dead_letters_and_the_unknown_are_told_apart() {
        for cause in DeadLetterCause::ALL {
            let expected = match cause {
                DeadLetterCause::Operator => delivery(CauseKind::Operator, None),
                _ => CauseText::DeadLetter,
            };
            assert_eq!(parse(cause.as_str().as_bytes(), "a"), expected);
        }
        for text in ["", " ", "Timeout", "timeouts", "\u{fffd}"] {
            assert_eq!(parse(text.as_bytes(), "a"), CauseText::Unknown, "{text}");
        }
    }
}
