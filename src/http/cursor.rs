//! A page's end as text: opaque to users, bound to the filter that it was made for.
//!
//! base64url of: version (1 byte), digest of the filter (8), when the last message was seen (8), topic (2), partition (4),
//! origin (8), shelf (1); all big endian. The digest covers the topics' names, too: after a change of the configuration an index means something else.
//! It is no signature: whoever forges a cursor gets a page that starts elsewhere, nothing more; hence values that no page
//! ends with are refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::Xxh3;

use super::directory::Directory;
use super::text::TIME_MS_MAX;
use crate::core::TopicIx;
use crate::core::view::{Cursor, MessageFilter};

const VERSION: u8 = 1;
const LEN: usize = 1 + 8 + 8 + 2 + 4 + 8 + 1;

/// The text of a cursor that belongs to a filter (see [`digest`]).
#[must_use]
pub fn to_text(cursor: Cursor, filter: u64) -> String {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.push(VERSION);
    bytes.extend(filter.to_be_bytes());
    bytes.extend(cursor.seen_wall_ms.to_be_bytes());
    bytes.extend(cursor.topic.0.to_be_bytes());
    bytes.extend(cursor.partition.to_be_bytes());
    bytes.extend(cursor.origin.to_be_bytes());
    bytes.push(cursor.shelf);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The cursor behind a text.
///
/// # Errors
/// Words for the user: not a cursor, or one of another filter.
pub fn from_text(text: &str, filter: u64) -> Result<Cursor, String> {
    let not_ours = || "not a cursor; take next_cursor of the page before, unchanged".to_owned();
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| not_ours())?;
    let bytes: [u8; LEN] = bytes.try_into().map_err(|_| not_ours())?;
    let mut rest = &bytes[..];
    if take::<1>(&mut rest) != [VERSION] {
        return Err(not_ours());
    }
    if take(&mut rest) != filter.to_be_bytes() {
        return Err(
            "belongs to another filter or another configuration; keep all other parameters, or start without cursor"
                .to_owned(),
        );
    }
    let seen_wall_ms = i64::from_be_bytes(take(&mut rest));
    let topic = TopicIx(u16::from_be_bytes(take(&mut rest)));
    let partition = i32::from_be_bytes(take(&mut rest));
    let origin = i64::from_be_bytes(take(&mut rest));
    let [shelf] = take(&mut rest);
    let in_range = (0..=TIME_MS_MAX).contains(&seen_wall_ms)
        && partition >= 0
        && (0..i64::MAX).contains(&origin)
        && shelf <= 1;
    if !in_range {
        return Err(not_ours());
    }
    Ok(Cursor {
        seen_wall_ms,
        topic,
        partition,
        origin,
        shelf,
    })
}

/// Digest of all that decides which messages follow which; `limit` and the cursor itself do not.
#[must_use]
pub fn digest(filter: &MessageFilter, directory: &Directory) -> u64 {
    let MessageFilter {
        topic,
        states,
        id,
        min_attempt,
        older_than_ms,
        due_within_ms,
        newest_first,
        limit: _,
        cursor: _,
    } = filter;
    let mut hash = Xxh3::new();
    for topic in directory.topics() {
        hash.update(topic.name.as_bytes());
        hash.update(b"\n");
    }
    // One field is told from the next by its name, hence a text and not the bare bytes.
    hash.update(
        format!(
            "{topic:?} {id:?} {min_attempt} {older_than_ms:?} {due_within_ms:?} {newest_first}"
        )
        .as_bytes(),
    );
    for state in states {
        hash.update(state.as_str().as_bytes());
        hash.update(b",");
    }
    hash.digest()
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let mut out = [0; N];
    if let Some((head, tail)) = rest.split_first_chunk() {
        out = *head;
        *rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURSOR: Cursor = Cursor {
        seen_wall_ms: 1_700_000_000_000,
        topic: TopicIx(3),
        partition: 7,
        origin: 1042,
        shelf: 1,
    };

    #[test]
    fn a_cursor_survives_its_text() {
        assert_eq!(from_text(&to_text(CURSOR, 9), 9), Ok(CURSOR));
    }

    #[test]
    fn a_cursor_of_another_filter_or_version_is_refused() {
        let text = to_text(CURSOR, 9);
        assert!(from_text(&text, 8).is_err());
        assert!(from_text("", 9).is_err());
        assert!(from_text("AA", 9).is_err());
        assert!(from_text(&text[1..], 9).is_err());
        let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        bytes[0] = 2;
        assert!(from_text(&URL_SAFE_NO_PAD.encode(bytes), 9).is_err());
    }

    #[test]
    fn a_forged_cursor_cannot_hold_what_no_page_ends_with() {
        let forged = [
            Cursor {
                seen_wall_ms: i64::MIN,
                ..CURSOR
            },
            Cursor {
                seen_wall_ms: i64::MAX,
                ..CURSOR
            },
            Cursor {
                partition: -1,
                ..CURSOR
            },
            Cursor {
                origin: -1,
                ..CURSOR
            },
            Cursor {
                origin: i64::MAX,
                ..CURSOR
            },
            Cursor { shelf: 2, ..CURSOR },
        ];
        for cursor in forged {
            assert!(from_text(&to_text(cursor, 9), 9).is_err(), "{cursor:?}");
        }
    }

    #[test]
    fn the_digest_knows_every_part_of_the_filter_but_the_page() {
        let directory = Directory::default();
        let base = MessageFilter::default();
        let same = MessageFilter {
            limit: 7,
            cursor: Some(CURSOR),
            ..base.clone()
        };
        assert_eq!(digest(&base, &directory), digest(&same, &directory));
        let others = [
            MessageFilter {
                topic: Some(TopicIx(0)),
                ..base.clone()
            },
            MessageFilter {
                states: vec![crate::core::view::State::Dead],
                ..base.clone()
            },
            MessageFilter {
                id: Some("None".into()),
                ..base.clone()
            },
            MessageFilter {
                min_attempt: 2,
                ..base.clone()
            },
            MessageFilter {
                older_than_ms: Some(0),
                ..base.clone()
            },
            MessageFilter {
                due_within_ms: Some(0),
                ..base.clone()
            },
            MessageFilter {
                newest_first: true,
                ..base.clone()
            },
        ];
        for other in others {
            assert_ne!(
                digest(&base, &directory),
                digest(&other, &directory),
                "{other:?}"
            );
        }
    }
}
