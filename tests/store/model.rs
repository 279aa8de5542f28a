//! What a store must hold after a series of checkpoints, told as plainly as possible; and checkpoints to try it with.

use ackwarden::core::image::{
    BlockEntry, BlockImage, DeliveryImage, DetailImage, DetailState, PartitionHeader,
    PartitionImage, VerdictImage,
};
use ackwarden::core::{Cause, CauseKind, LogPosition, Verdict};
use ackwarden::ports::{Checkpoint, PartitionDelta, Store, StoreIdentity, StoredPartition};
use proptest::prelude::*;

/// Partitions and their images, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub partitions: Vec<((String, i32), PartitionImage)>,
}

impl Model {
    pub fn apply(&mut self, checkpoint: &Checkpoint) {
        for delta in &checkpoint.partitions {
            let name = (delta.topic.clone(), delta.partition);
            if delta.replace {
                self.partitions.retain(|(other, _)| *other != name);
            }
            if !self.partitions.iter().any(|(other, _)| *other == name) {
                self.partitions
                    .push((name.clone(), PartitionImage::default()));
                self.partitions.sort_by(|a, b| a.0.cmp(&b.0));
            }
            for (other, image) in &mut self.partitions {
                if *other == name {
                    apply(image, delta);
                }
            }
        }
    }

    pub fn image(&self, topic: &str, partition: i32) -> Option<&PartitionImage> {
        let found = self
            .partitions
            .iter()
            .find(|((t, p), _)| t == topic && *p == partition);
        found.map(|(_, image)| image)
    }
}

fn apply(image: &mut PartitionImage, delta: &PartitionDelta) {
    image.header = delta.header.clone();
    for block in &delta.blocks {
        image.blocks.retain(|other| other.base != block.base);
        if !block.entries.is_empty() {
            image.blocks.push(block.clone());
        }
    }
    image.blocks.sort_by_key(|block| block.base);
    image
        .details
        .retain(|detail| !delta.details_gone.contains(&detail.origin));
    for detail in &delta.details {
        image.details.retain(|other| other.origin != detail.origin);
        image.details.push(detail.clone());
    }
    image.details.sort_by_key(|detail| detail.origin);
}

/// What a store hands out, as a model; panics on an image that is not to be trusted.
pub fn loaded(store: &mut dyn Store) -> (Option<StoreIdentity>, Model) {
    let (identity, mut stored) = store.load().expect("load");
    stored.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let partitions = stored
        .into_iter()
        .map(
            |StoredPartition {
                 topic,
                 partition,
                 topic_id,
                 image,
             }| {
                let image = image.unwrap_or_else(|| panic!("{topic}/{partition} is not trusted"));
                assert_eq!(topic_id, id_of(&topic));
                ((topic, partition), image)
            },
        )
        .collect();
    (identity, Model { partitions })
}

pub fn identity(name: &str) -> StoreIdentity {
    StoreIdentity {
        instance_id: name.into(),
        cluster_id: "cluster".into(),
    }
}

fn id_of(topic: &str) -> String {
    format!("id of {topic}")
}

pub fn delta(topic: &str, partition: i32, source_applied: i64) -> PartitionDelta {
    PartitionDelta {
        topic: topic.into(),
        partition,
        topic_id: id_of(topic),
        header: PartitionHeader {
            source_applied,
            acks_applied: vec![(0, source_applied / 2), (3, 7)],
            low: source_applied / 3,
            low_acks: vec![(0, 1)],
            taken_wall_ms: 1_700_000_000_000 + source_applied,
            timeouts: vec![(0, 30_000)],
        },
        ..PartitionDelta::default()
    }
}

pub fn checkpoint(partitions: impl Into<Vec<PartitionDelta>>) -> Checkpoint {
    Checkpoint {
        partitions: partitions.into(),
    }
}

/// A block with an entry in each of the first `count` slots, all of which tell `mark`.
pub fn block(base: i64, count: u16, mark: u64) -> BlockImage {
    let entry = |slot: u16| BlockEntry {
        slot,
        seen_wall_ms: 1_700_000_000_000 + i64::from(slot) * 3,
        len: 100 + u32::from(slot) * 37 % 400,
        digest: (mark << 16 | u64::from(slot)).wrapping_mul(0x9E37_79B9_7F4A_7C15),
    };
    BlockImage {
        base,
        entries: (0..count).map(entry).collect(),
        // Every third has an id of its own.
        ids: (0..count)
            .step_by(3)
            .map(|slot| (slot, format!("id-{mark}-{slot}").into()))
            .collect(),
    }
}

/// A retried message that tells `mark`.
pub fn detail(origin: i64, mark: u64) -> DetailImage {
    DetailImage {
        origin,
        origin_timestamp_ms: 1_700_000_000_000,
        id: (mark.is_multiple_of(2)).then(|| format!("id-{origin}-{mark}").into()),
        seen_wall_ms: 1_700_000_000_123,
        len: 214,
        digest: mark.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        attempt: 2,
        deliveries: vec![
            DeliveryImage {
                attempt: 1,
                offset: origin,
                at_wall_ms: 1_700_000_000_123,
                cause: None,
            },
            DeliveryImage {
                attempt: 2,
                offset: origin + 5_000,
                at_wall_ms: 1_700_000_030_123,
                cause: Some(Cause {
                    kind: CauseKind::Timeout,
                    record: None,
                }),
            },
        ],
        unaccounted: 0,
        pending_attempt: 3,
        due_in_ms: Some(-17),
        extended_ms: 0,
        timeout_ms: None,
        state: DetailState::Outstanding,
        verdict: (mark.is_multiple_of(3)).then(|| VerdictImage {
            verdict: Verdict::Nack,
            at: LogPosition::new(2, 881),
            delay_ms: Some(1_000),
            reason: Some("busy".into()),
        }),
        unfaithful: false,
    }
}

/// Any delta over a small world, so that deltas meet.
fn any_delta() -> impl Strategy<Value = PartitionDelta> {
    let name = (prop::sample::select(vec!["a", "a.b", "ü"]), 0..2_i32);
    let blocks = prop::collection::vec(
        (
            -2..6_i64,
            prop::sample::select(vec![0, 0, 1, 5, 700, 1024]),
            any::<u16>(),
        ),
        0..5,
    );
    let details = prop::collection::vec((-100..200_i64, any::<u16>()), 0..20);
    let gone = prop::collection::vec(-100..200_i64, 0..10);
    let header = (any::<u32>(), prop::bool::weighted(0.15));
    (name, blocks, details, gone, header).prop_map(
        |((topic, partition), blocks, details, details_gone, (position, replace))| {
            let mut delta = delta(topic, partition, i64::from(position));
            for (n, count, mark) in blocks {
                let base = n * 1024;
                delta.blocks.retain(|block| block.base != base);
                delta.blocks.push(block(base, count, u64::from(mark)));
            }
            for (origin, mark) in details {
                delta.details.retain(|detail| detail.origin != origin);
                delta.details.push(detail(origin, u64::from(mark)));
            }
            delta.details_gone = details_gone;
            delta.replace = replace;
            delta
        },
    )
}

/// Any checkpoint; a partition may even be in it twice.
pub fn any_checkpoint() -> impl Strategy<Value = Checkpoint> {
    prop::collection::vec(any_delta(), 0..4).prop_map(checkpoint)
}
