//! Tests of decoding source records: ids, copies, timeouts, and whatever bytes may come.

use proptest::prelude::*;

use super::super::testing::{headers, raw, rules, topic};
use super::*;
use crate::config::IdSource;
use crate::core::LogPosition;
use crate::ports::OwnedHeader;

fn decode_with(list: &[IdSource], headers: &Vec<OwnedHeader>, asked_for: bool) -> SourceRecord {
    let mut orders = topic("orders", "orders-acks");
    if !list.is_empty() {
        orders.id = list.to_vec();
    }
    if asked_for {
        orders.set_by_file.insert("id".into());
    }
    let mut decoder = SourceDecoder::new(rules(vec![orders, topic("returns", "orders-acks")]));
    decoder
        .decode(&raw("orders", 3, 2_001, Some(b"key"), headers))
        .unwrap()
}

fn decode(pairs: &[(&str, &str)]) -> SourceRecord {
    decode_with(&[], &headers(pairs), false)
}

/// The headers of a copy, with one replaced or, where the text is `None`, left out.
fn copy_with(name: &str, text: Option<&str>) -> Option<CopyMark> {
    let mut all = headers(&[
        ("ackwarden-message-id", "orders/3/1042"),
        ("ackwarden-attempt", "3"),
        ("ackwarden-origin", "orders/3/1042"),
        ("ackwarden-origin-timestamp", "1699999999000"),
        ("ackwarden-deliveries", "orders/3/1500"),
        ("ackwarden-cause", "nack orders-acks/2/881"),
        ("ackwarden-group", "c1/ackwarden"),
    ]);
    all.retain(|(n, _)| n != name.as_bytes());
    if let Some(text) = text {
        all.extend(headers(&[(name, text)]));
    }
    decode_with(&[], &all, false).extra.and_then(|e| e.copy)
}

#[test]
fn the_common_record_has_no_extra() {
    for pairs in [&[][..], &[("trace-id", "t"), ("ackwarden-topic", "x")]] {
        let record = decode(pairs);
        assert_eq!(record.extra, None);
        assert_eq!(
            (record.topic, record.partition, record.offset),
            (TopicIx(0), 3, 2_001)
        );
        assert_eq!(record.timestamp_ms, 1_700_000_000_000);
        assert_eq!(record.len, 8);
        assert_eq!(record.digest, digest::digest(Some(b"key"), Some(b"value")));
    }
}

#[test]
fn a_topic_that_is_not_tracked_is_none() {
    let mut decoder = SourceDecoder::new(rules(vec![topic("orders", "orders-acks")]));
    assert_eq!(
        decoder.decode(&raw("orders-acks", 0, 0, None, &Vec::new())),
        None
    );
}

#[test]
fn the_label_comes_from_the_list() {
    let extra = decode(&[("message-id", "A-7")]).extra.unwrap();
    assert_eq!(extra.id.as_deref(), Some("A-7"));
    assert!(!extra.id_fell_back);
}

#[test]
fn a_label_that_looks_like_a_tracked_position_is_replaced_by_the_position() {
    assert_eq!(decode(&[("message-id", "returns/0/5")]).extra, None);
    let other = decode(&[("message-id", "shipping/0/5")]).extra.unwrap();
    assert_eq!(other.id.as_deref(), Some("shipping/0/5"));
}

#[test]
fn an_id_that_does_not_fit_is_counted() {
    let bad = vec![(b"message-id".to_vec(), Some(vec![0xff]))];
    let extra = decode_with(&[], &bad, false).extra.unwrap();
    assert_eq!((extra.id, extra.id_fell_back), (None, true));
}

#[test]
fn a_message_without_an_id_is_counted_where_one_was_asked_for() {
    let list = [IdSource::Header("message-id".into()), IdSource::Position];
    let none = Vec::new();
    assert_eq!(decode_with(&list, &none, false).extra, None);
    assert!(decode_with(&list, &none, true).extra.unwrap().id_fell_back);
    assert_eq!(decode_with(&[IdSource::Position], &none, true).extra, None);
    let keyed = decode_with(&[list[0].clone(), IdSource::Key], &none, true);
    let extra = keyed.extra.unwrap();
    assert_eq!(
        (extra.id.as_deref(), extra.id_fell_back),
        (Some("key"), false)
    );
}

#[test]
fn a_copy_says_what_it_is() {
    assert_eq!(
        copy_with("x", None),
        Some(CopyMark {
            by_us: true,
            attempt: 3,
            origin: 1_042,
            origin_timestamp_ms: 1_699_999_999_000,
            deliveries: vec![1_500],
            cause: Cause {
                kind: CauseKind::Nack,
                record: Some(LogPosition::new(2, 881)),
            },
        })
    );
}

#[test]
fn what_is_no_copy_of_this_partition_is_tracked_as_new() {
    for (name, text) in [
        ("ackwarden-origin", None),
        ("ackwarden-origin", Some("")),
        ("ackwarden-origin", Some("orders/3")),
        ("ackwarden-origin", Some("orders/2/1042")),
        ("ackwarden-origin", Some("returns/3/1042")),
        ("ackwarden-origin", Some("orders/3/2001")),
        ("ackwarden-origin", Some("orders/3/2002")),
        ("ackwarden-attempt", None),
        ("ackwarden-attempt", Some("1")),
        ("ackwarden-attempt", Some("-2")),
        ("ackwarden-attempt", Some("1000000001")),
        ("ackwarden-attempt", Some("4294967296")),
        ("ackwarden-cause", Some("attempts-exhausted")),
        ("ackwarden-cause", Some("payload-lost")),
    ] {
        assert_eq!(copy_with(name, text), None, "{name}: {text:?}");
    }
}

#[test]
fn a_copy_stays_one_where_the_lesser_headers_are_missing_or_damaged() {
    for name in ["origin-timestamp", "deliveries", "cause", "message-id"] {
        for text in [None, Some(""), Some("?!")] {
            let name = format!("ackwarden-{name}");
            assert!(copy_with(&name, text).is_some(), "{name}: {text:?}");
        }
    }
    assert!(copy_with("ackwarden-redriven-from", Some("orders-dlq/0/1")).is_some());
    let unknown = copy_with("ackwarden-cause", Some("whim")).unwrap();
    assert_eq!(unknown.cause.kind, CauseKind::Timeout);
    let undated = copy_with("ackwarden-origin-timestamp", None).unwrap();
    assert_eq!(undated.origin_timestamp_ms, -1);
}

#[test]
fn only_our_group_makes_our_copies() {
    for other in [
        None,
        Some("c1/other"),
        Some("c2/ackwarden"),
        Some("ackwarden"),
    ] {
        assert!(!copy_with("ackwarden-group", other).unwrap().by_us);
    }
}

#[test]
fn deliveries_are_bounded_ascending_and_of_this_partition() {
    let seen = |text: &str| {
        copy_with("ackwarden-deliveries", Some(text))
            .unwrap()
            .deliveries
    };
    assert_eq!(
        seen("orders/3/1700,orders/3/1500,orders/3/1500"),
        [1_500, 1_700]
    );
    assert_eq!(
        seen(
            "orders/2/1500,returns/3/1500,,x,orders/3/1041,orders/3/2001,orders/3/9,orders/3/1600"
        ),
        [1_600]
    );
    let many: Vec<String> = (0..40).map(|n| format!("orders/3/{}", 1_500 + n)).collect();
    let expected: Vec<i64> = (1_524..1_540).collect();
    assert_eq!(seen(&many.join(",")), expected);
}

#[test]
fn our_copy_is_labelled_as_b_was_told() {
    let copy = |id: &str, group: &str| {
        let record = decode(&[
            ("message-id", "A-7"),
            ("ackwarden-message-id", id),
            ("ackwarden-attempt", "2"),
            ("ackwarden-origin", "orders/3/1042"),
            ("ackwarden-group", group),
        ]);
        record.extra.unwrap().id
    };
    assert_eq!(copy("B-8", "c1/ackwarden").as_deref(), Some("B-8"));
    assert_eq!(copy("orders/3/1042", "c1/ackwarden"), None);
    assert_eq!(copy("", "c1/ackwarden").as_deref(), Some("A-7"));
    assert_eq!(copy("B-8", "c1/other").as_deref(), Some("A-7"));
}

#[test]
fn a_copy_is_not_labelled_as_the_one_before_it() {
    let copy = headers(&[
        ("ackwarden-attempt", "2"),
        ("ackwarden-origin", "orders/3/1042"),
        ("ackwarden-group", "c1/ackwarden"),
    ]);
    let mut labelled = copy.clone();
    labelled.extend(headers(&[("ackwarden-message-id", "A-7")]));
    let mut decoder = SourceDecoder::new(rules(vec![topic("orders", "orders-acks")]));
    let mut id = |headers: &Vec<OwnedHeader>| {
        let record = decoder.decode(&raw("orders", 3, 2_001, None, headers));
        record.unwrap().extra.unwrap().id
    };
    assert_eq!(id(&labelled).as_deref(), Some("A-7"));
    assert_eq!(id(&copy), None);
}

#[test]
fn a_message_may_have_its_own_timeout() {
    let seen = |text: &str| {
        let extra = decode(&[("ackwarden-timeout", text)]).extra.unwrap();
        (extra.timeout_ms, extra.bad_timeout)
    };
    assert_eq!(seen("2m"), (Some(120_000), false));
    for bad in ["", "soon", "0s", "-1s", "30"] {
        assert_eq!(seen(bad), (None, true), "{bad}");
    }
}

#[test]
fn header_names_that_cannot_be_republished_are_seen() {
    for name in [&b"a\0b"[..], b"\xff", b"ackwarden-\xff", b"\0"] {
        let one = vec![(name.to_vec(), None)];
        assert!(decode_with(&[], &one, false).extra.unwrap().unfaithful);
    }
    let fine = vec![
        (Vec::new(), None),
        ("żółw".into(), Some(vec![0, 0xff])),
        (vec![b'x'; 100_000], None),
    ];
    assert_eq!(decode_with(&[], &fine, false).extra, None);
}

/// Headers as they may come: ours, near misses, and anything.
fn any_headers() -> impl Strategy<Value = Vec<OwnedHeader>> {
    let name = prop_oneof![
        4 => prop::sample::select(names::ON_COPIES.to_vec()).prop_map(|n| n.as_bytes().to_vec()),
        1 => Just(names::TIMEOUT.as_bytes().to_vec()),
        1 => Just(b"message-id".to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    let value = prop_oneof![
        4 => "(orders|returns)/[0-9]{1,3}/[0-9]{1,5}(,orders/3/[0-9]{1,4}){0,20}".prop_map(String::into_bytes),
        2 => "[0-9]{0,12}(s|ms)?".prop_map(String::into_bytes),
        1 => Just(b"c1/ackwarden".to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..24),
    ];
    prop::collection::vec((name, prop::option::weighted(0.9, value)), 0..10)
}

proptest! {
    #[test]
    fn no_record_makes_it_panic_and_no_claim_leaves_its_bounds(
        headers in any_headers(),
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        offset in 0..=i64::MAX,
    ) {
        let mut orders = topic("orders", "orders-acks");
        orders.id = vec![
            IdSource::Header("message-id".into()),
            IdSource::CloudEvents,
            IdSource::Json("/id".into()),
            IdSource::Key,
        ];
        let mut decoder = SourceDecoder::new(rules(vec![orders]));
        let record = decoder.decode(&raw("orders", 3, offset, key.as_deref(), &headers)).unwrap();
        let extra = record.extra.unwrap_or_default();
        if let Some(id) = extra.id {
            prop_assert!((1..=512).contains(&id.len()));
            prop_assert!(position::parse(id.as_bytes()).is_none_or(|(t, _, _)| t != "orders"));
        }
        if let Some(copy) = extra.copy {
            prop_assert!((2..=ATTEMPT_MAX).contains(&copy.attempt));
            prop_assert!(copy.origin < offset);
            prop_assert!(copy.deliveries.len() <= DELIVERIES_MAX);
            prop_assert!(copy.deliveries.is_sorted());
            prop_assert!(copy.deliveries.iter().all(|d| copy.origin < *d && *d < offset));
        }
    }

    #[test]
    fn what_one_record_carries_is_not_seen_in_the_next(first in any_headers(), second in any_headers()) {
        let rules = rules(vec![topic("orders", "orders-acks")]);
        let mut used = SourceDecoder::new(rules.clone());
        let _ = used.decode(&raw("orders", 3, 5_000, None, &first));
        let mut fresh = SourceDecoder::new(rules);
        let record = raw("orders", 3, 5_001, None, &second);
        prop_assert_eq!(used.decode(&record), fresh.decode(&record));
    }
}
