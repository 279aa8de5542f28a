//! Tests of decoding ACK records: whom they name, what they say, and whatever bytes may come.

use proptest::prelude::*;

use super::super::testing::{headers, raw, rules, topic};
use super::*;
use crate::config::IdSource;
use crate::ports::OwnedHeader;

/// `orders` alone on `orders-acks`; `returns` and `refunds` share `shared-acks`.
fn decoder() -> AckDecoder {
    AckDecoder::new(rules(vec![
        topic("orders", "orders-acks"),
        topic("returns", "shared-acks"),
        topic("refunds", "shared-acks"),
    ]))
}

fn decode(ack_topic: &str, key: Option<&str>, pairs: &[(&str, &str)]) -> AckRecord {
    let headers = headers(pairs);
    let (ack, record) = decoder()
        .decode(&raw(ack_topic, 2, 881, key.map(str::as_bytes), &headers))
        .unwrap();
    assert_eq!(ack, AckIx(u16::from(ack_topic == "shared-acks")));
    assert_eq!(record.at, LogPosition::new(2, 881));
    record
}

fn target(ack_topic: &str, key: Option<&str>, pairs: &[(&str, &str)]) -> AckTarget {
    decode(ack_topic, key, pairs).target
}

fn extra(pairs: &[(&str, &str)]) -> AckExtra {
    decode("orders-acks", Some("orders/3/1042"), pairs)
        .extra
        .map_or_else(AckExtra::default, |e| *e)
}

fn position(topic: u16, partition: i32, offset: i64) -> AckTarget {
    AckTarget::Position {
        topic: TopicIx(topic),
        partition,
        offset,
    }
}

fn id(topic: u16, id: &str) -> AckTarget {
    AckTarget::Id {
        topic: TopicIx(topic),
        id: id.into(),
    }
}

fn nothing(text: &str) -> AckTarget {
    AckTarget::Nothing { text: text.into() }
}

#[test]
fn the_common_ack_is_a_position_in_the_key() {
    let record = decode("orders-acks", Some("orders/3/1042"), &[("trace-id", "t")]);
    assert_eq!(record.target, position(0, 3, 1_042));
    assert_eq!(record.extra, None);
}

#[test]
fn another_topic_is_none() {
    assert_eq!(
        decoder().decode(&raw("orders", 0, 0, None, &Vec::new())),
        None
    );
}

#[test]
fn the_header_goes_before_the_key() {
    assert_eq!(
        target(
            "orders-acks",
            Some("customer-9"),
            &[("ackwarden-message-id", "orders/3/1042")]
        ),
        position(0, 3, 1_042)
    );
    assert_eq!(
        target("orders-acks", Some("A-7"), &[("ackwarden-message-id", "")]),
        id(0, "A-7")
    );
}

#[test]
fn an_id_belongs_to_the_only_source() {
    assert_eq!(target("orders-acks", Some("A-7"), &[]), id(0, "A-7"));
    assert_eq!(
        target("orders-acks", Some("A-7"), &[("ackwarden-topic", "orders")]),
        id(0, "A-7")
    );
}

#[test]
fn an_id_of_a_topic_that_is_not_served_names_nothing() {
    for other in ["returns", "shipping", ""] {
        assert_eq!(
            target("orders-acks", Some("A-7"), &[("ackwarden-topic", other)]),
            nothing("A-7"),
            "{other}"
        );
    }
}

#[test]
fn with_several_sources_an_id_needs_its_topic() {
    assert_eq!(target("shared-acks", Some("A-7"), &[]), nothing("A-7"));
    assert_eq!(
        target(
            "shared-acks",
            Some("A-7"),
            &[("ackwarden-topic", "refunds")]
        ),
        id(2, "A-7")
    );
    assert_eq!(
        target("shared-acks", Some("refunds/0/5"), &[]),
        position(2, 0, 5)
    );
}

#[test]
fn a_position_on_the_wrong_ack_topic_is_no_evidence() {
    assert_eq!(
        target("shared-acks", Some("orders/3/1042"), &[]),
        nothing("orders/3/1042")
    );
}

#[test]
fn a_position_of_an_untracked_topic_is_an_id_like_any_other() {
    assert_eq!(
        target("orders-acks", Some("shipping/0/5"), &[]),
        id(0, "shipping/0/5")
    );
}

#[test]
fn what_names_nothing_is_kept_for_a_look_shortened() {
    assert_eq!(target("orders-acks", None, &[]), nothing(""));
    assert_eq!(target("orders-acks", Some(""), &[]), nothing(""));
    let long = "x".repeat(600);
    assert_eq!(
        target("orders-acks", Some(&long), &[]),
        nothing(&long[..NOTHING_CHARS_MAX])
    );
    let (_, record) = decoder()
        .decode(&raw("orders-acks", 0, 0, Some(b"\xffA"), &Vec::new()))
        .unwrap();
    assert_eq!(record.target, nothing("\u{fffd}A"));
}

#[test]
fn the_origin_is_told_beside_the_id_and_names_the_message_where_no_id_does() {
    let origin = [("ackwarden-origin", "orders/3/1042")];
    let seen = Some((TopicIx(0), LogPosition::new(3, 1_042)));
    let both = decode("orders-acks", Some("A-7"), &origin);
    assert_eq!(both.target, id(0, "A-7"));
    assert_eq!(both.extra.unwrap().origin, seen);
    let alone = decode("orders-acks", None, &origin);
    assert_eq!(alone.target, position(0, 3, 1_042));
    assert_eq!(alone.extra.unwrap().origin, seen);
}

#[test]
fn an_origin_that_is_not_served_is_passed_over() {
    for other in ["returns/0/1", "shipping/0/1", "orders", ""] {
        assert_eq!(
            extra(&[("ackwarden-origin", other)]).origin,
            None,
            "{other}"
        );
    }
}

#[test]
fn each_verdict_is_read() {
    for verdict in Verdict::ALL {
        let seen = extra(&[
            ("ackwarden-verdict", verdict.as_str()),
            ("ackwarden-group", "c1/ackwarden"),
        ]);
        assert_eq!(seen.verdict, verdict);
        assert_eq!((seen.invalid, seen.other_group), (None, false));
    }
}

#[test]
fn an_unknown_verdict_is_invalid() {
    for unknown in ["", "Ack", "ack ", "retry", "operator-"] {
        let seen = extra(&[("ackwarden-verdict", unknown)]);
        assert_eq!(seen.invalid, Some("unknown verdict"), "{unknown}");
    }
}

#[test]
fn the_last_verdict_counts() {
    let seen = extra(&[("ackwarden-verdict", "whim"), ("ackwarden-verdict", "nack")]);
    assert_eq!((seen.verdict, seen.invalid), (Verdict::Nack, None));
}

#[test]
fn coordinators_verdicts_of_another_group_are_told_apart() {
    for verdict in Verdict::ALL {
        for group in [Some("c1/other"), Some(""), None] {
            let mut pairs = vec![("ackwarden-verdict", verdict.as_str())];
            pairs.extend(group.map(|g| ("ackwarden-group", g)));
            assert_eq!(
                extra(&pairs).other_group,
                verdict.is_coordinators(),
                "{verdict:?} {group:?}"
            );
        }
    }
}

#[test]
fn coordinators_verdicts_are_about_their_key_whatever_ack_id_says() {
    let mut orders = topic("orders", "orders-acks");
    orders.ack_id = vec![IdSource::Json("/order_id".into())];
    let mut decoder = AckDecoder::new(rules(vec![orders]));
    let headers = headers(&[
        ("ackwarden-verdict", "dead-lettered"),
        ("ackwarden-group", "c1/ackwarden"),
        ("ackwarden-origin", "orders/0/1"),
    ]);
    let mut target = |key: &'static [u8]| {
        let raw = raw("orders-acks", 0, 0, Some(key), &headers);
        decoder.decode(&raw).unwrap().1.target
    };
    assert_eq!(target(b"orders/3/1042"), position(0, 3, 1_042));
    assert_eq!(target(b"A-7"), nothing("A-7"));
}

#[test]
fn an_existing_reply_topic_can_serve() {
    let mut orders = topic("orders", "replies");
    orders.ack_id = vec![IdSource::Json("/order_id".into())];
    let mut decoder = AckDecoder::new(rules(vec![orders]));
    let none = Vec::new();
    let mut reply = raw("replies", 0, 0, Some(b"orders/3/1042"), &none);
    reply.value = Some(br#"{"order_id":42}"#);
    assert_eq!(decoder.decode(&reply).unwrap().1.target, id(0, "42"));
    reply.value = Some(b"{}");
    assert_eq!(
        decoder.decode(&reply).unwrap().1.target,
        nothing("orders/3/1042")
    );
}

#[test]
fn what_else_is_said_is_read() {
    let seen = extra(&[
        ("ackwarden-verdict", "nack"),
        ("ackwarden-attempt", "2"),
        ("ackwarden-delay", "1m 30s"),
        ("ackwarden-reason", "stock is locked"),
        ("ackwarden-by", "billing"),
    ]);
    assert_eq!(seen.attempt, Some(2));
    assert_eq!(seen.delay_ms, Some(90_000));
    assert_eq!(seen.reason.as_deref(), Some("stock is locked"));
    assert_eq!(seen.by.as_deref(), Some("billing"));
    assert_eq!(extra(&[("ackwarden-delay", "0s")]).delay_ms, Some(0));
}

#[test]
fn a_bad_duration_is_invalid() {
    for bad in ["", "soon", "30", "-1s"] {
        let seen = extra(&[("ackwarden-delay", bad)]);
        assert_eq!(seen.invalid, Some("the delay is not a duration"), "{bad}");
    }
}

#[test]
fn a_bad_attempt_is_invalid_where_the_verdict_depends_on_it() {
    for bad in ["", "0", "two", "-1"] {
        assert_eq!(extra(&[("ackwarden-attempt", bad)]).invalid, None);
        let nack = extra(&[("ackwarden-verdict", "nack"), ("ackwarden-attempt", bad)]);
        assert_eq!(nack.invalid, Some("the attempt is not a number"), "{bad}");
    }
}

#[test]
fn texts_are_cut() {
    let long = "ż".repeat(5_000);
    let seen = extra(&[("ackwarden-reason", &long), ("ackwarden-by", &long)]);
    assert_eq!(seen.reason.unwrap().chars().count(), REASON_CHARS_MAX);
    assert_eq!(seen.by.unwrap().chars().count(), BY_CHARS_MAX);
}

#[test]
fn a_null_header_is_as_if_it_were_not_there() {
    let nulls: Vec<OwnedHeader> = ["verdict", "attempt", "delay", "reason", "topic", "origin"]
        .iter()
        .map(|n| (format!("ackwarden-{n}").into_bytes(), None))
        .collect();
    let (_, record) = decoder()
        .decode(&raw("orders-acks", 0, 0, Some(b"A-7"), &nulls))
        .unwrap();
    assert_eq!((record.target, record.extra), (id(0, "A-7"), None));
}

fn any_headers() -> impl Strategy<Value = Vec<OwnedHeader>> {
    let ours = [
        "message-id",
        "topic",
        "origin",
        "verdict",
        "attempt",
        "delay",
        "reason",
        "by",
        "group",
        "?",
    ];
    let name = prop_oneof![
        4 => prop::sample::select(ours.to_vec()).prop_map(|n| format!("ackwarden-{n}").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    let value = prop_oneof![
        3 => "(orders|returns|other)(/[0-9]{1,3}/[0-9]{1,5})?".prop_map(String::into_bytes),
        2 => prop::sample::select(Verdict::ALL.to_vec()).prop_map(|v| v.as_str().as_bytes().to_vec()),
        1 => "[0-9]{0,4}(s|ms)?".prop_map(String::into_bytes),
        1 => Just(b"c1/ackwarden".to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..24),
    ];
    prop::collection::vec((name, prop::option::weighted(0.9, value)), 0..8)
}

proptest! {
    #[test]
    fn no_record_makes_it_panic_or_name_what_is_not_served(
        headers in any_headers(),
        key in prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            "(orders|returns|refunds)/[0-9]{1,2}/[0-9]{1,9}".prop_map(String::into_bytes),
        ]),
        shared in any::<bool>(),
    ) {
        let mut decoder = decoder();
        let ack_topic = if shared { "shared-acks" } else { "orders-acks" };
        let (ack, record) = decoder.decode(&raw(ack_topic, 0, 7, key.as_deref(), &headers)).unwrap();
        let origin = record.extra.as_ref().and_then(|e| e.origin).map(|(t, _)| t);
        let named = match record.target {
            AckTarget::Position { topic, partition, offset } => {
                prop_assert!(partition >= 0 && offset >= 0);
                Some(topic)
            }
            AckTarget::Id { topic, id } => {
                prop_assert!((1..=512).contains(&id.len()));
                prop_assert!(!decoder.rules.is_position(id.as_bytes()));
                Some(topic)
            }
            AckTarget::Nothing { text } => {
                prop_assert!(text.chars().count() <= NOTHING_CHARS_MAX);
                None
            }
        };
        for topic in named.into_iter().chain(origin) {
            prop_assert!(decoder.rules.serves(ack, topic));
        }
    }
}
