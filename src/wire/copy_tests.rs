//! Tests of what we publish: that it carries everything, replaces what is ours, and is read back as it was meant.

use proptest::prelude::*;

use super::super::ack::AckDecoder;
use super::super::source::SourceDecoder;
use super::super::testing::{headers, raw, rules, topic};
use super::*;
use crate::core::{AckTarget, CauseKind, CopyMark, LogPosition, TopicIx};

const GROUP: &str = "c1/ackwarden";

fn meant(attempt: u32, deliveries: &[i64]) -> Headers {
    Headers {
        id: Some("A-7".into()),
        attempt,
        origin: 1_042,
        origin_timestamp_ms: 1_699_999_999_000,
        deliveries: deliveries.to_vec(),
        cause: Some(Cause {
            kind: CauseKind::Nack,
            record: Some(LogPosition::new(2, 881)),
        }),
    }
}

fn copy(original: &[OwnedHeader], headers: &Headers) -> Vec<OwnedHeader> {
    copy_headers(original, headers, "orders", 3, GROUP, "orders-acks")
}

fn dead_letter(
    original: &[OwnedHeader],
    reason: Option<&str>,
    payload: &DeadLetterPayload,
) -> Vec<OwnedHeader> {
    let mut headers = meant(5, &[1_500]);
    headers.cause = None;
    let note = DeadLetterNote {
        cause: DeadLetterCause::Rejected,
        reason,
        payload,
    };
    dead_letter_headers(original, &headers, note, "orders", 3, GROUP)
}

#[test]
fn a_copy_carries_all_headers_and_ours_behind_them() {
    let mut original = headers(&[
        ("b", "1"),
        ("ackwarden-timeout", "2m"),
        ("a", "2"),
        ("b", "3"),
    ]);
    original.push((b"null".to_vec(), None));
    let mut expected = original.clone();
    expected.extend(headers(&[
        ("ackwarden-message-id", "A-7"),
        ("ackwarden-attempt", "3"),
        ("ackwarden-origin", "orders/3/1042"),
        ("ackwarden-origin-timestamp", "1699999999000"),
        ("ackwarden-deliveries", "orders/3/1500,orders/3/1600"),
        ("ackwarden-cause", "nack orders-acks/2/881"),
        ("ackwarden-group", "c1/ackwarden"),
    ]));
    assert_eq!(copy(&original, &meant(3, &[1_500, 1_600])), expected);
}

#[test]
fn ours_are_replaced_wherever_and_however_often_they_stood() {
    let mut original = headers(&[
        ("ackwarden-cause", "old"),
        ("a", "1"),
        ("ackwarden-attempt", "old"),
        ("ackwarden-attempt", "older"),
        ("b", "2"),
    ]);
    original.push((b"ackwarden-group".to_vec(), None));
    assert_eq!(
        copy(&original, &meant(2, &[])),
        copy(&headers(&[("a", "1"), ("b", "2")]), &meant(2, &[]))
    );
}

#[test]
fn a_copy_of_a_copy_is_as_one_of_the_original() {
    let original = headers(&[("a", "1"), ("a", "1")]);
    let second = copy(&original, &meant(2, &[]));
    let third = meant(3, &[1_500]);
    assert_eq!(copy(&second, &third), copy(&original, &third));
}

#[test]
fn without_a_label_the_id_is_the_position() {
    let mut headers = meant(2, &[]);
    headers.id = None;
    headers.origin_timestamp_ms = -1;
    let copy = copy(&[], &headers);
    assert_eq!(copy[0].1.as_deref(), Some(&b"orders/3/1042"[..]));
    assert!(!copy.iter().any(|(n, _)| n == b"ackwarden-origin-timestamp"));
    assert!(!copy.iter().any(|(n, _)| n == b"ackwarden-deliveries"));
}

#[test]
fn only_the_last_deliveries_are_named() {
    let all: Vec<i64> = (2_000..2_040).collect();
    assert_eq!(
        copy(&[], &meant(42, &all)),
        copy(&[], &meant(42, &all[24..]))
    );
}

#[test]
fn the_deliveries_go_first_where_there_is_no_room() {
    let shorter = without_deliveries(copy(&headers(&[("a", "1")]), &meant(3, &[1_500])));
    assert_eq!(shorter, copy(&headers(&[("a", "1")]), &meant(3, &[])));
}

#[test]
fn a_dead_letter_says_why() {
    let original = headers(&[
        ("ackwarden-reason", "old"),
        ("a", "1"),
        ("ackwarden-payload-length", "9"),
    ]);
    let seen = dead_letter(&original, Some("no such item"), &DeadLetterPayload::Whole);
    assert_eq!(
        seen,
        headers(&[
            ("a", "1"),
            ("ackwarden-message-id", "A-7"),
            ("ackwarden-attempt", "5"),
            ("ackwarden-origin", "orders/3/1042"),
            ("ackwarden-origin-timestamp", "1699999999000"),
            ("ackwarden-deliveries", "orders/3/1500"),
            ("ackwarden-cause", "rejected"),
            ("ackwarden-group", "c1/ackwarden"),
            ("ackwarden-reason", "no such item"),
        ])
    );
    let silent = dead_letter(&original, None, &DeadLetterPayload::Whole);
    assert_eq!(silent, seen[..seen.len() - 1]);
}

#[test]
fn without_its_payload_a_dead_letter_says_where_it_stood() {
    let (offset, len, digest) = (2_001, 1_500_000, 0xabc);
    for payload in [
        DeadLetterPayload::Stub {
            offset,
            len,
            digest,
        },
        DeadLetterPayload::Lost {
            offset,
            len,
            digest,
        },
    ] {
        let seen = dead_letter(&headers(&[("a", "1")]), None, &payload);
        assert_eq!(seen[0], headers(&[("a", "1")])[0]);
        assert_eq!(
            seen[seen.len() - 3..],
            headers(&[
                ("ackwarden-payload-position", "orders/3/2001"),
                ("ackwarden-payload-length", "1500000"),
                ("ackwarden-payload-digest", "xxh3:0000000000000abc"),
            ])
        );
    }
}

#[test]
fn a_stub_fits_whatever_made_the_message_too_large() {
    let huge: OwnedHeader = (b"huge".to_vec(), Some(vec![b'x'; 10_000_000]));
    let mut original = vec![huge.clone(), (b"a".to_vec(), Some(b"1".to_vec())), huge];
    original.extend((0..100_000).map(|n| (format!("h{n}").into_bytes(), None)));
    let stub = dead_letter(
        &original,
        None,
        &DeadLetterPayload::Stub {
            offset: 2_001,
            len: 3,
            digest: 4,
        },
    );
    let bytes: usize = stub
        .iter()
        .map(|(n, v)| n.len() + v.as_ref().map_or(0, Vec::len))
        .sum();
    assert!(bytes < STUB_HEADERS_BYTES_MAX + 2_000, "{bytes}");
    assert_eq!(stub[0].0, b"a");
    let carried = stub
        .iter()
        .filter(|(n, _)| n == b"a" || n[0] == b'h')
        .count();
    let (name, dropped) = stub.last().unwrap();
    assert_eq!(name, names::PAYLOAD_HEADERS_DROPPED.as_bytes());
    assert_eq!(
        dropped.as_deref(),
        Some((100_003 - carried).to_string().as_bytes())
    );
    assert_eq!(stub_key(Some(&vec![0; STUB_KEY_BYTES_MAX + 1])), None);
    assert_eq!(stub_key(Some(b"k")), Some(&b"k"[..]));
}

#[test]
fn our_verdicts_are_read_back() {
    let mut decoder = AckDecoder::new(rules(vec![topic("orders", "orders-acks")]));
    for verdict in Verdict::ALL {
        let (key, headers) = verdict_record(&VerdictRecord {
            verdict,
            topic: "orders",
            partition: 3,
            newest: 2_001,
            attempt: 2,
            group: GROUP,
            delay_ms: Some(90_500),
            actor: Some("ops"),
            reason: Some("by hand"),
            dead_letter: Some("orders-dlq/0/17"),
        });
        let (_, seen) = decoder
            .decode(&raw("orders-acks", 0, 0, Some(&key), &headers))
            .unwrap();
        assert_eq!(
            seen.target,
            AckTarget::Position {
                topic: TopicIx(0),
                partition: 3,
                offset: 2_001
            }
        );
        let extra = seen.extra.unwrap();
        assert_eq!((extra.verdict, extra.attempt), (verdict, Some(2)));
        assert_eq!(extra.delay_ms, Some(90_500));
        assert_eq!(extra.by.as_deref(), Some("ops"));
        assert_eq!(extra.reason.as_deref(), Some("by hand"));
        assert_eq!((extra.other_group, extra.invalid), (false, None));
    }
}

#[test]
fn a_plain_settlement_says_no_more_than_it_knows() {
    let (key, seen) = verdict_record(&VerdictRecord {
        verdict: Verdict::DeadLettered,
        topic: "orders",
        partition: 3,
        newest: 2_001,
        attempt: 5,
        group: GROUP,
        delay_ms: None,
        actor: None,
        reason: None,
        dead_letter: None,
    });
    assert_eq!(key, b"orders/3/2001");
    assert_eq!(
        seen,
        headers(&[
            ("ackwarden-verdict", "dead-lettered"),
            ("ackwarden-attempt", "5"),
            ("ackwarden-group", "c1/ackwarden"),
        ])
    );
}

fn any_headers() -> impl Strategy<Value = Vec<OwnedHeader>> {
    let name = prop_oneof![
        1 => prop::sample::select(names::ON_COPIES.to_vec()).prop_map(|n| n.as_bytes().to_vec()),
        1 => Just(names::TIMEOUT.as_bytes().to_vec()),
        3 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..8));
    prop::collection::vec((name, value), 0..12)
}

fn any_cause() -> impl Strategy<Value = Cause> {
    let kinds = [CauseKind::Timeout, CauseKind::Nack, CauseKind::Operator];
    let record = prop::option::of((0..=i32::MAX, 0..=i64::MAX));
    (prop::sample::select(kinds.to_vec()), record).prop_map(|(kind, record)| Cause {
        kind,
        record: record.map(|(p, o)| LogPosition::new(p, o)),
    })
}

proptest! {
    #[test]
    fn a_copy_is_read_back_as_it_was_meant(
        original in any_headers(),
        id in prop::option::of("[a-z0-9é]{1,20}"),
        attempt in 2..=crate::wire::source::ATTEMPT_MAX,
        origin in 0i64..1_000,
        origin_timestamp_ms in -1i64..,
        deliveries in prop::collection::btree_set(1_000i64..2_000, 0..=16),
        cause in any_cause(),
    ) {
        let headers = Headers {
            id: id.map(Into::into),
            attempt,
            origin,
            origin_timestamp_ms,
            deliveries: deliveries.into_iter().collect(),
            cause: Some(cause),
        };
        let copy = copy(&original, &headers);
        let mut decoder = SourceDecoder::new(rules(vec![topic("orders", "orders-acks")]));
        let record = decoder.decode(&raw("orders", 3, 2_000, None, &copy)).unwrap();
        let extra = record.extra.unwrap();
        prop_assert_eq!(extra.id, headers.id);
        prop_assert_eq!(extra.copy, Some(CopyMark {
            by_us: true,
            attempt,
            origin,
            origin_timestamp_ms,
            deliveries: headers.deliveries,
            cause,
        }));
    }

    #[test]
    fn whatever_is_not_ours_is_carried_as_it_was(original in any_headers()) {
        let copy = copy(&original, &meant(2, &[]));
        let theirs = |all: &[OwnedHeader]| -> Vec<OwnedHeader> {
            all.iter()
                .filter(|(n, _)| !names::ON_COPIES.iter().any(|r| r.as_bytes() == n))
                .cloned()
                .collect()
        };
        prop_assert_eq!(theirs(&copy), theirs(&original));
        for name in names::ON_COPIES {
            prop_assert!(copy.iter().filter(|(n, _)| n == name.as_bytes()).count() <= 1);
        }
    }
}
