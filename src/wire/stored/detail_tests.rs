//! Details survive, and what is not a detail is refused.

use proptest::prelude::*;

use super::*;

fn position() -> impl Strategy<Value = LogPosition> {
    (any::<i32>(), any::<i64>()).prop_map(|(p, o)| LogPosition::new(p, o))
}

fn cause() -> impl Strategy<Value = Cause> {
    let kind = prop::sample::select(vec![
        CauseKind::Timeout,
        CauseKind::Nack,
        CauseKind::Operator,
    ]);
    (kind, prop::option::of(position())).prop_map(|(kind, record)| Cause { kind, record })
}

fn delivery() -> impl Strategy<Value = DeliveryImage> {
    (
        any::<u32>(),
        any::<i64>(),
        any::<i64>(),
        prop::option::of(cause()),
    )
        .prop_map(|(attempt, offset, at_wall_ms, cause)| DeliveryImage {
            attempt,
            offset,
            at_wall_ms,
            cause,
        })
}

fn verdict() -> impl Strategy<Value = VerdictImage> {
    (
        prop::sample::select(Verdict::ALL.to_vec()),
        position(),
        any::<Option<u64>>(),
        any::<Option<Box<str>>>(),
    )
        .prop_map(|(verdict, at, delay_ms, reason)| VerdictImage {
            verdict,
            at,
            delay_ms,
            reason,
        })
}

fn detail() -> impl Strategy<Value = DetailImage> {
    let numbers = any::<(i64, i64, u32, u64, u32, u32, u32, u64)>();
    let options = (
        any::<Option<Box<str>>>(),
        any::<Option<i64>>(),
        any::<Option<u64>>(),
        prop::option::of(verdict()),
    );
    let deliveries = prop::collection::vec(delivery(), 0..6);
    (numbers, options, deliveries, 0..8_u8, any::<bool>()).prop_map(
        |(n, (id, due_in_ms, timeout_ms, verdict), deliveries, state, unfaithful)| DetailImage {
            origin: 0,
            origin_timestamp_ms: n.0,
            id,
            seen_wall_ms: n.1,
            len: n.2,
            digest: n.3,
            attempt: n.4,
            deliveries,
            unaccounted: n.5,
            pending_attempt: n.6,
            due_in_ms,
            extended_ms: n.7,
            timeout_ms,
            state: state_of(state).expect("a state"),
            verdict,
            unfaithful,
        },
    )
}

proptest! {
    #[test]
    fn every_detail_survives(details in prop::collection::btree_map(any::<i64>(), detail(), 0..8)) {
        let details: Vec<_> = details
            .into_iter()
            .map(|(origin, detail)| DetailImage { origin, ..detail })
            .collect();
        prop_assert_eq!(decode_details(&encode_details(&details)), Ok(details));
    }

    #[test]
    fn a_damaged_body_never_panics(detail in detail(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode_details(&[detail]);
        let at = at.index(bytes.len());
        let _ = decode_details(&bytes[..at]);
        bytes[at] = byte;
        let _ = decode_details(&bytes);
    }
}

fn plain(origin: i64) -> DetailImage {
    DetailImage {
        origin,
        origin_timestamp_ms: 1_000,
        id: None,
        seen_wall_ms: 1_005,
        len: 0,
        digest: 0,
        attempt: 0,
        deliveries: Vec::new(),
        unaccounted: 0,
        pending_attempt: 0,
        due_in_ms: None,
        extended_ms: 0,
        timeout_ms: None,
        state: DetailState::Outstanding,
        verdict: None,
        unfaithful: false,
    }
}

#[test]
fn details_out_of_order_do_not_come_back_as_something_else() {
    assert!(decode_details(&encode_details(&[plain(7), plain(6)])).is_err());
    assert!(decode_details(&encode_details(&[plain(7), plain(7)])).is_err());
}

#[test]
fn the_shortest_detail_is_as_long_as_counts_assume() {
    let body = encode_details(&[DetailImage {
        origin_timestamp_ms: 0,
        seen_wall_ms: 0,
        ..plain(0)
    }]);
    assert_eq!(body.len(), 1 + DETAIL_BYTES_MIN);
}

#[test]
fn the_bytes_of_format_1_are_still_read() {
    let details = [
        plain(6),
        DetailImage {
            id: Some("A-7".into()),
            attempt: 2,
            deliveries: vec![
                DeliveryImage {
                    attempt: 1,
                    offset: 8,
                    at_wall_ms: 1_005,
                    cause: None,
                },
                DeliveryImage {
                    attempt: 2,
                    offset: 300,
                    at_wall_ms: 2_005,
                    cause: Some(Cause {
                        kind: CauseKind::Nack,
                        record: Some(LogPosition::new(2, 881)),
                    }),
                },
            ],
            len: 214,
            digest: 0x0807_0605_0403_0201,
            unaccounted: 1,
            pending_attempt: 3,
            due_in_ms: Some(-5),
            extended_ms: 9,
            timeout_ms: Some(45_000),
            state: DetailState::Parked,
            verdict: Some(VerdictImage {
                verdict: Verdict::Reject,
                at: LogPosition::new(1, 77),
                delay_ms: Some(4),
                reason: Some("no".into()),
            }),
            unfaithful: true,
            ..plain(8)
        },
    ];
    let bytes = [
        2, 12, 0, 0, 218, 15, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 31, 2, 218, 15, 9,
        214, 1, 1, 2, 3, 4, 5, 6, 7, 8, 2, 1, 3, 9, 2, 1, 0, 0, 0, 2, 200, 4, 208, 15, 10, 4, 226,
        13, 3, 65, 45, 55, 9, 200, 223, 2, 2, 3, 2, 154, 1, 4, 2, 110, 111,
    ];
    assert_eq!(encode_details(&details), bytes);
    assert_eq!(decode_details(&bytes), Ok(details.to_vec()));
}
