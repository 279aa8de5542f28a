//! Tests of commit metadata: never too long, never past what was meant, exact where there is room.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn meta(acks: Vec<(i32, i64)>) -> CommitMeta {
    CommitMeta {
        acks,
        cluster_id: "MkU3OEVBNTcwNTJENDM2Qk".into(),
        source_topic_id: "q8Gk2VYxT0mWc1kZ7bZ3aA".into(),
        ack_topic_id: "0aXbXbmTQp2ZcJ0tVw5y1g".into(),
        owner: "ackwarden-00c0ffee00c0ffee".into(),
    }
}

fn there_and_back(meta: &CommitMeta) -> CommitMeta {
    let text = encode(meta);
    assert!(text.len() <= METADATA_BYTES_MAX, "{}", text.len());
    assert!(text.is_ascii());
    decode(text.as_bytes()).unwrap()
}

/// Each decoded E is at most the least that was named for its partition; returns the largest difference.
fn rounded_down_by(meant: &[(i32, i64)], seen: &[(i32, i64)]) -> i64 {
    let mut least: BTreeMap<i32, i64> = BTreeMap::new();
    for (p, e) in meant {
        let at = least.entry(*p).or_insert(i64::MAX);
        *at = (*at).min((*e).max(0));
    }
    let seen: BTreeMap<i32, i64> = seen.iter().copied().collect();
    for (p, e) in &seen {
        assert!(*e <= least.get(p).copied().unwrap_or(0), "{p}: {e}");
    }
    least
        .iter()
        .map(|(p, e)| e - seen.get(p).copied().unwrap_or(0))
        .max()
        .unwrap_or(0)
}

#[test]
fn what_fits_is_exact() {
    for meta in [
        CommitMeta::default(),
        meta(vec![]),
        meta(vec![(0, 0)]),
        meta(vec![(0, 17), (1, 17)]),
        meta(vec![(0, i64::MAX), (1, 0), (i32::MAX, i64::MAX)]),
        meta(
            (0..300)
                .map(|p| (p, 1_000_000_000 - i64::from(p) * 3_000_000))
                .collect(),
        ),
        meta((0..200).map(|p| (p * 2, i64::from(p) << 40)).collect()),
    ] {
        assert_eq!(there_and_back(&meta), meta);
    }
}

#[test]
fn what_does_not_fit_is_rounded_down_as_little_as_there_is_room_for() {
    // A billion ACKs spread at random: 30 bits each, of which a thousand partitions have room for 17.
    let acks = (0..1_000i64).map(|p| (p as i32, p * 7_919 % 1_000 * 1_000_000));
    let meta = meta(acks.collect());
    let by = rounded_down_by(&meta.acks, &there_and_back(&meta).acks);
    assert!((1..1 << 13).contains(&by), "{by}");
}

#[test]
fn ten_thousand_partitions_keep_their_common_base() {
    let acks = (0..10_000).map(|p| (p, 1_000_000_000 + i64::from(p)));
    let meta = meta(acks.collect());
    let by = rounded_down_by(&meta.acks, &there_and_back(&meta).acks);
    assert!(by < 10_000, "{by}");
}

#[test]
fn gaps_beyond_measure_are_named_as_zero() {
    let meta = meta((0..5_000).map(|p| (p * 3, 4)).collect());
    let seen = there_and_back(&meta);
    rounded_down_by(&meta.acks, &seen.acks);
    assert_eq!(seen.cluster_id, meta.cluster_id);
}

#[test]
fn what_is_no_position_counts_as_zero() {
    let seen = there_and_back(&meta(vec![(-1, 5), (0, -2), (1, 7), (1, 3)]));
    assert_eq!(seen.acks, [(1, 3)]);
}

#[test]
fn an_id_that_is_too_long_is_not_known() {
    let mut meta = meta(vec![(0, 5)]);
    meta.cluster_id = "x".repeat(ID_BYTES_MAX + 1);
    let seen = there_and_back(&meta);
    assert_eq!(seen.cluster_id, "");
    assert_eq!(
        (seen.acks, seen.ack_topic_id),
        (meta.acks, meta.ack_topic_id)
    );
}

#[test]
fn what_others_committed_is_told_apart() {
    for other in [
        &b""[..],
        b"NO_METADATA",
        b"a",
        b"a1",
        b"{\"v\":1}",
        b"\xff\xfe",
    ] {
        assert_eq!(decode(other), Err(CommitMetaError::NotOurs));
    }
    for newer in [&b"a3:AAAA"[..], b"a10:x", b"a9:"] {
        assert_eq!(decode(newer), Err(CommitMetaError::Newer));
    }
    for damaged in ["a1:", "a2:AAAA", "a1:====", "a2:AAAAAAAAAAAA"] {
        assert!(matches!(
            decode(damaged.as_bytes()),
            Err(CommitMetaError::Damaged(_))
        ));
    }
}

/// A body with a good checksum, so that what lies behind it is reached.
fn sealed(mut body: Vec<u8>) -> String {
    let crc = crc32fast::hash(&body);
    body.extend(crc.to_le_bytes());
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(body))
}

#[test]
fn numbers_that_promise_too_much_are_damage() {
    for acks in [
        &[1, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0][..], // a run of 268 million partitions
        &[2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0], // a partition past i32
        &[1, 0, 0, 5, 60, 4, 0],                      // bits past 63
        &[1, 0, 0, 5, 0, 8],                          // no packed bytes
        &[1, 0, 0, 5, 0, 0, 0],                       // a byte too many
        &[0, 0],
        &[],
    ] {
        let body = [&[0, 0, 0, 0][..], acks].concat();
        assert_eq!(
            decode(sealed(body).as_bytes()),
            Err(CommitMetaError::Damaged("ACK positions")),
            "{acks:?}"
        );
    }
}

fn any_acks() -> impl Strategy<Value = Vec<(i32, i64)>> {
    let size = prop_oneof![0usize..20, 0usize..3_000, Just(10_000usize)];
    (size, 1i32..4, 0u32..63, any::<u64>()).prop_map(|(size, stride, bits, seed)| {
        // A cheap mixer: ten thousand numbers through proptest itself take long.
        (0..size as u64)
            .map(|i| {
                let e = xxhash_rust::xxh3::xxh3_64_with_seed(&i.to_le_bytes(), seed);
                (i as i32 * stride, (e >> 1 >> bits) as i64)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_e_is_ever_rounded_up_and_none_in_vain(acks in any_acks()) {
        let meta = meta(acks);
        let seen = there_and_back(&meta);
        let by = rounded_down_by(&meta.acks, &seen.acks);
        let most = meta.acks.iter().map(|(_, e)| *e).max().unwrap_or(0);
        let bits = 64 - (most as u64).leading_zeros() as usize;
        if meta.acks.len() * bits < 8 * 1_500 && meta.acks.len() < 300 {
            prop_assert_eq!(by, 0);
        }
        prop_assert_eq!(seen.cluster_id, meta.cluster_id);
        prop_assert_eq!(seen.source_topic_id, meta.source_topic_id);
        prop_assert_eq!(seen.ack_topic_id, meta.ack_topic_id);
    }

    #[test]
    fn what_was_read_is_written_as_it_was(acks in any_acks()) {
        let once = there_and_back(&meta(acks));
        prop_assert_eq!(there_and_back(&once), once);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes);
        let _ = decode(format!("a2:{}", String::from_utf8_lossy(&bytes)).as_bytes());
        let _ = decode(sealed(bytes.clone()).as_bytes());
        let _ = decode(sealed([&[0, 0, 0], &bytes[..]].concat()).as_bytes());
    }

    #[test]
    fn no_change_of_a_character_goes_unseen(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let meta = meta(vec![(0, 17), (1, 1 << 40), (5, 3)]);
        let mut bytes = encode(&meta).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(seen) = decode(&bytes) {
            prop_assert_eq!(seen, meta);
        }
    }
}
