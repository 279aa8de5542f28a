//! What the fake knows: two topics, a few messages, an ACK that matched nothing.

use ackwarden::core::Verdict;
use ackwarden::core::policy::{Policy, PolicyPatch};
use ackwarden::core::record::{Cause, CauseKind};
use ackwarden::core::types::{AckIx, LogPosition, TopicIx};
use ackwarden::core::view::{
    AttemptView, Counters, Frozen, FrozenWhy, MessageDetail, MessageView, PartitionView,
    ShownCause, State, TopicView, UnmatchedAck, VerdictResult,
};
use ackwarden::http::{Directory, TopicEntry};
use ackwarden::ports::{OwnedRecord, Stats};
use serde_json::json;

/// 2023-11-14T22:13:20Z.
pub const THEN_MS: i64 = 1_700_000_000_000;

/// Two topics, `orders` and `payments`, each with its ACK topic.
pub fn directory() -> Directory {
    let entry = |name: &str, keys: &[&str]| TopicEntry {
        name: name.to_owned(),
        ack_topic: format!("{name}-acks"),
        set_by_file: keys.iter().map(|k| (*k).to_owned()).collect(),
    };
    Directory::new(
        vec![
            entry("orders", &["timeout", "max_attempts"]),
            entry("payments", &[]),
        ],
        vec!["orders-acks".to_owned(), "payments-acks".to_owned()],
        json!({"kafka": {"brokers": "127.0.0.1:9092", "properties": {"sasl.password": "[redacted]"}}}),
    )
}

/// The contract's own example.
pub fn retrying() -> MessageView {
    MessageView {
        topic: TopicIx(0),
        position: LogPosition::new(3, 1042),
        id: Some("A-7".into()),
        state: State::Retrying,
        attempt: 2,
        max_attempts: 5,
        seen_wall_ms: THEN_MS,
        deadline_wall_ms: Some(THEN_MS + 61_250),
        age_ms: 41_250,
        newest_delivery: 2001,
        cause: Some(ShownCause::Delivery(Cause {
            kind: CauseKind::Timeout,
            record: None,
        })),
        reason: None,
        size_bytes: 214,
        late_ack: false,
        settled_wall_ms: None,
    }
}

/// A first delivery without an id of its own.
pub fn plain() -> MessageView {
    MessageView {
        topic: TopicIx(1),
        position: LogPosition::new(0, 7),
        id: None,
        state: State::Outstanding,
        attempt: 1,
        max_attempts: 0,
        newest_delivery: 7,
        deadline_wall_ms: None,
        cause: None,
        ..retrying()
    }
}

pub fn detail() -> MessageDetail {
    let nack = Cause {
        kind: CauseKind::Nack,
        record: Some(LogPosition::new(2, 881)),
    };
    MessageDetail {
        message: MessageView {
            cause: Some(ShownCause::Delivery(nack)),
            reason: Some("no stock".into()),
            ..retrying()
        },
        attempts: vec![
            AttemptView {
                attempt: 1,
                offset: 1042,
                at_wall_ms: THEN_MS,
                cause: None,
                outcome: "nacked",
            },
            AttemptView {
                attempt: 2,
                offset: 2001,
                at_wall_ms: THEN_MS + 20_000,
                cause: Some(nack),
                outcome: "under-way",
            },
        ],
    }
}

pub fn record() -> OwnedRecord {
    OwnedRecord {
        partition: 3,
        offset: 1042,
        timestamp_ms: THEN_MS,
        key: None,
        value: Some(b"{\"n\":1}".to_vec()),
        headers: vec![
            (b"trace".to_vec(), Some(vec![0xff, 0xfe])),
            (b"trace".to_vec(), None),
        ],
    }
}

pub fn topics() -> Vec<TopicView> {
    let overrides = PolicyPatch {
        timeout_ms: Some(45_000),
        ..PolicyPatch::default()
    };
    let mut counters = Counters {
        tracked: 1_000,
        acked: 980,
        ..Counters::default()
    };
    counters.republished[CauseKind::Nack as usize] = 3;
    counters.dead_lettered[1] = 2;
    counters.verdicts[0][0] = 980;
    counters.verdicts[Verdict::ALL.len()][7] = 1;
    for ms in [1, 3, 900] {
        counters.ack_latency_ms.observe(ms);
    }
    let orders = TopicView {
        topic: TopicIx(0),
        policy: Policy::default().patched(&overrides),
        overrides,
        counts: [12, 1, 0, 0, 0],
        oldest_age_ms: Some(41_250),
        frozen: vec![],
        counters,
        retries_per_second: 0.5,
        recovering: None,
        elsewhere: vec![],
        partitions: vec![PartitionView {
            partition: 3,
            source_applied: 2002,
            low: 1042,
            low_age_ms: 41_250,
            outstanding: 13,
            paused: false,
        }],
    };
    let payments = TopicView {
        topic: TopicIx(1),
        policy: Policy::default(),
        overrides: PolicyPatch::default(),
        counts: [0; 5],
        oldest_age_ms: None,
        frozen: vec![Frozen {
            why: FrozenWhy::AckTopicMissing,
            since_wall_ms: THEN_MS,
            detail: "payments-acks is not there".into(),
            cure: "create it".into(),
        }],
        counters: Counters::default(),
        retries_per_second: 0.0,
        recovering: None,
        elsewhere: vec![],
        partitions: vec![],
    };
    vec![orders, payments]
}

pub fn stats() -> Stats {
    Stats {
        ready: true,
        recovering: None,
        store_size_bytes: 4096,
        store_trouble: None,
        checkpoints: 4,
        checkpoint_seconds_sum: 0.02,
        checkpoint_seconds_last: 0.004,
        outstanding: 13,
        max_outstanding: 10_000_000,
        consumer_lag: vec![7, 0],
        retention_left_seconds: vec![Some(86_400.0), None],
        kafka_trouble: None,
    }
}

pub fn unmatched() -> UnmatchedAck {
    UnmatchedAck {
        ack: AckIx(1),
        at: LogPosition::new(0, 5),
        seen_wall_ms: THEN_MS,
        target: "B-12".into(),
        verdict: Verdict::Ack,
        result: VerdictResult::Unknown,
        detail: "no message has this id",
    }
}
