//! Bytes of formats 1 and 2, as they are in Kafka by now: what reads them must go on doing so, and what writes them must not
//! change without a new version.
//!
//! A fixture is never edited. A new format gets a folder of its own, and this one stays, to be read.

use ackwarden::wire::commit::{self, CommitMeta};
use ackwarden::wire::state::{Birth, Pause, PolicyOverrides, StateRecord};
use serde_json::json;

fn commit_metas() -> Vec<(&'static str, CommitMeta)> {
    let meta = |acks| CommitMeta {
        acks,
        cluster_id: "MkU3OEVBNTcwNTJENDM2Qk".into(),
        source_topic_id: "q8Gk2VYxT0mWc1kZ7bZ3aA".into(),
        ack_topic_id: "0aXbXbmTQp2ZcJ0tVw5y1g".into(),
        owner: String::new(),
    };
    vec![
        (include_str!("v1/commit-empty.txt"), CommitMeta::default()),
        (
            include_str!("v1/commit-plain.txt"),
            meta(vec![(0, 1_042), (1, 881), (2, 123_456_789_012)]),
        ),
        (
            include_str!("v1/commit-gaps.txt"),
            meta(vec![(1, 7), (2, 7), (5, 7), (900, 7)]),
        ),
        (
            // Of 1,200 partitions; 17 bits are dropped of each, which these numbers have to spare.
            include_str!("v1/commit-shifted.txt"),
            meta((0..1_200).map(|p| (p, 5 + (i64::from(p) << 20))).collect()),
        ),
    ]
}

fn state_records() -> Vec<(&'static str, Option<&'static str>, StateRecord)> {
    let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
    vec![
        (
            "birth/orders",
            Some(include_str!("v1/birth.json")),
            StateRecord::Birth {
                topic: "orders".into(),
                birth: Some(Birth {
                    source: vec![(0, 1_042), (1, 0)],
                    acks: vec![(0, 881), (1, 9_007_199_254_740_993)],
                    cluster_id: "MkU3OEVBNTcwNTJENDM2Qk".into(),
                    source_topic_id: Some("q8Gk2VYxT0mWc1kZ7bZ3aA".into()),
                    ack_topic_id: None,
                    at_ms: 1_700_000_000_000,
                }),
            },
        ),
        (
            "policy/orders",
            Some(include_str!("v1/policy.json")),
            StateRecord::Policy {
                topic: "orders".into(),
                policy: Some(PolicyOverrides {
                    overrides: object(json!({"timeout": "45s", "max_attempts": 7})),
                    apply_pending: true,
                    actor: Some("ops".into()),
                    at_ms: 1_700_000_000_000,
                }),
            },
        ),
        (
            "pause/orders",
            Some(include_str!("v1/pause.json")),
            StateRecord::Pause {
                topic: "orders".into(),
                pause: Some(Pause {
                    paused: true,
                    actor: Some("ops".into()),
                    at_ms: 1_700_000_000_000,
                }),
            },
        ),
        (
            "job/7f3a",
            Some(include_str!("v1/job.json")),
            StateRecord::Job {
                id: "7f3a".into(),
                job: Some(object(json!({"verb": "ack", "done": 3}))),
            },
        ),
        (
            "pause/orders",
            None,
            StateRecord::Pause {
                topic: "orders".into(),
                pause: None,
            },
        ),
    ]
}

#[test]
fn commit_metadata_of_format_1_is_read_as_ever() {
    for (fixture, meant) in commit_metas() {
        let fixture = fixture.trim_end();
        assert_eq!(commit::decode(fixture.as_bytes()).as_ref(), Ok(&meant));
    }
}

#[test]
fn commit_metadata_of_format_2_is_read_and_written_as_ever() {
    let owned = |acks| CommitMeta {
        acks,
        cluster_id: "MkU3OEVBNTcwNTJENDM2Qk".into(),
        source_topic_id: "q8Gk2VYxT0mWc1kZ7bZ3aA".into(),
        ack_topic_id: "0aXbXbmTQp2ZcJ0tVw5y1g".into(),
        owner: "ackwarden-00c0ffee00c0ffee".into(),
    };
    for (fixture, meant) in [
        (include_str!("v2/commit-empty.txt"), CommitMeta::default()),
        (
            include_str!("v2/commit-owned.txt"),
            owned(vec![(0, 1_042), (1, 881), (2, 123_456_789_012)]),
        ),
    ] {
        let fixture = fixture.trim_end();
        assert_eq!(commit::encode(&meant), fixture);
        assert_eq!(commit::decode(fixture.as_bytes()).as_ref(), Ok(&meant));
    }
}

#[test]
fn state_records_of_format_1_are_read_and_written_as_ever() {
    for (key, fixture, meant) in state_records() {
        let value = fixture.map(|f| f.trim_end().as_bytes());
        let seen = StateRecord::decode(Some(key.as_bytes()), value);
        assert_eq!(seen.as_ref(), Ok(&meant));
        let written = meant.encode();
        assert_eq!(written.0, key.as_bytes());
        assert_eq!(written.1.as_deref(), value);
    }
}
