//! What benches feed to the core: batches as the readers hand them over, and answers as Kafka would give them.
//!
//! [`Traffic`] makes batches of 1,000 records: a source batch has runs of one partition, as fetches have; an ACK batch is
//! of one ACK partition, in which the ACKs of all source partitions are mixed, because their keys are spread by hash.
//! [`Rig`] feeds them to a coordinator and answers its fences, barrier rounds and commits, and takes a checkpoint in each
//! second of its own time. Nothing in here reads a clock: a batch of each kind is a millisecond.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each bench uses its part; a panic is the report"
)]

mod mark;

use std::collections::VecDeque;

use ackwarden::core::event::{Assignment, Fence, FetchOutcome, PublishOutcome};
use ackwarden::core::image::{PartitionChange, PartitionImage};
use ackwarden::core::types::Lane;
use ackwarden::core::{
    AckBatch, AckIx, AckRecord, AckTarget, Coordinator, CoreLimits, Effect, Event, LogPosition,
    Now, Policy, Publication, Publish, SourceBatch, SourceExtra, SourceRecord, TopicIx,
    TopicSettings,
};

pub use mark::mark_of;

pub const T: TopicIx = TopicIx(0);
pub const A: AckIx = AckIx(0);
/// Records that a reader hands over at once.
pub const BATCH: usize = 1_000;
/// Answers that the engine takes with one look at what follows.
const ANSWERS_TOGETHER: usize = 64;
const WALL_MS: i64 = 1_700_000_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub partitions: i32,
    pub ack_partitions: i32,
    /// Neighbours of one source partition in a batch.
    pub run: usize,
    /// Records between a message and its ACK; negative: the ACK reader is ahead by that many.
    pub lag: i64,
    /// Ids of 36 characters, instead of positions.
    pub ids: bool,
    /// The length of source values, for the decoders.
    pub size: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            partitions: 4,
            ack_partitions: 4,
            run: 250,
            lag: 20_000,
            ids: false,
            size: 200,
        }
    }
}

/// 36 characters, as a UUID has.
pub fn id_of(partition: i32, offset: i64) -> Box<str> {
    let mixed = split_mix((offset as u64) << 8 | partition as u64);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{offset:012x}",
        mixed >> 32,
        (mixed >> 16) & 0xffff,
        mixed & 0xfff,
        partition & 0xfff
    )
    .into()
}

pub fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An endless stream of messages and their ACKs.
pub struct Traffic {
    shape: Shape,
    /// Messages made, in the order in which they are read.
    made: u64,
    acked: u64,
    ack_offsets: Vec<i64>,
    queues: Vec<VecDeque<AckRecord>>,
}

impl Traffic {
    pub fn new(shape: Shape) -> Self {
        let acks = usize::try_from(shape.ack_partitions).unwrap();
        Self {
            shape,
            made: 0,
            acked: 0,
            ack_offsets: vec![0; acks],
            queues: vec![VecDeque::new(); acks],
        }
    }

    /// The place of the n-th message: runs of one partition after the other.
    pub fn place(&self, n: u64) -> (i32, i64) {
        let run = self.shape.run as u64;
        let (block, within) = (n / run, n % run);
        let partitions = u64::try_from(self.shape.partitions).unwrap();
        let offset = block / partitions * run + within;
        ((block % partitions) as i32, offset as i64)
    }

    fn record(&self, n: u64) -> SourceRecord {
        let (partition, offset) = self.place(n);
        SourceRecord {
            topic: T,
            partition,
            offset,
            timestamp_ms: WALL_MS,
            len: self.shape.size,
            digest: split_mix(n),
            extra: self.shape.ids.then(|| {
                Box::new(SourceExtra {
                    id: Some(id_of(partition, offset)),
                    ..SourceExtra::default()
                })
            }),
        }
    }

    fn acknowledge(&mut self, n: u64) {
        let (partition, offset) = self.place(n);
        let to = split_mix(!n) % self.queues.len() as u64;
        let to = usize::try_from(to).unwrap();
        let at = LogPosition::new(to as i32, self.ack_offsets[to]);
        self.ack_offsets[to] += 1;
        let target = if self.shape.ids {
            let id = id_of(partition, offset);
            AckTarget::Id { topic: T, id }
        } else {
            AckTarget::Position {
                topic: T,
                partition,
                offset,
            }
        };
        self.queues[to].push_back(AckRecord {
            at,
            target,
            extra: None,
        });
    }

    /// The next batch of sources.
    pub fn sources(&mut self) -> Event {
        let mut batch = SourceBatch {
            records: Vec::with_capacity(BATCH),
            applied: Vec::new(),
        };
        for n in self.made..self.made + BATCH as u64 {
            let record = self.record(n);
            let applied = (T, record.partition, record.offset + 1);
            match batch.applied.iter_mut().find(|a| a.1 == applied.1) {
                Some(same) => *same = applied,
                None => batch.applied.push(applied),
            }
            batch.records.push(record);
        }
        self.made += BATCH as u64;
        Event::SourceBatch(batch)
    }

    /// ACKs of what is due for one: whole batches, each of one ACK partition.
    pub fn acks(&mut self, generation: u64, all: bool) -> Vec<Event> {
        let due = u64::try_from(self.made as i64 - if all { 0 } else { self.shape.lag });
        self.acknowledge_to(due.unwrap_or(0));
        self.batched(generation, all)
    }

    /// ACKs of the oldest so many.
    pub fn acks_of(&mut self, generation: u64, count: u64) -> Vec<Event> {
        self.acknowledge_to(self.acked + count);
        self.batched(generation, true)
    }

    fn acknowledge_to(&mut self, due: u64) {
        for n in self.acked..due {
            self.acknowledge(n);
        }
        self.acked = self.acked.max(due);
    }

    fn batched(&mut self, generation: u64, all: bool) -> Vec<Event> {
        let mut events = Vec::new();
        for (partition, queue) in self.queues.iter_mut().enumerate() {
            while queue.len() >= BATCH || (all && !queue.is_empty()) {
                let records: Vec<_> = queue.drain(..BATCH.min(queue.len())).collect();
                let end = records.last().map_or(0, |r| r.at.offset + 1);
                events.push(Event::AckBatch(AckBatch {
                    ack: A,
                    records,
                    applied: vec![(partition as i32, end)],
                    generation,
                    lane: Lane::Main,
                }));
            }
        }
        events
    }

    /// So many batches of sources, each followed (or, with a negative lag, preceded) by the ACKs that are due.
    pub fn batches(&mut self, generation: u64, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(2 * count + 8);
        for _ in 0..count {
            let sources = self.sources();
            let acks = self.acks(generation, false);
            if self.shape.lag < 0 {
                events.extend(acks);
                events.push(sources);
            } else {
                events.push(sources);
                events.extend(acks);
            }
        }
        events
    }
}

/// A coordinator with one topic, whose questions are answered.
pub struct Rig {
    pub core: Coordinator,
    pub now: Now,
    pub generation: u64,
    source_ends: Vec<(i32, i64)>,
    ack_ends: Vec<(i32, i64)>,
    effects: Vec<Effect>,
    pub checkpoint_every_ms: u64,
    next_checkpoint_ms: u64,
    pub checkpoints: u64,
    pub commits: u64,
    /// Copies that are in the log, and not read yet.
    landed: Vec<SourceRecord>,
    /// Lengths and digests of what is fetched, in order, until it is published.
    fetched: VecDeque<(u32, u64)>,
}

impl Rig {
    pub fn new(shape: Shape, limits: CoreLimits) -> Self {
        Self::with_images(shape, limits, |_| None)
    }

    /// With what a store has of each partition.
    pub fn with_images(
        shape: Shape,
        limits: CoreLimits,
        mut image: impl FnMut(i32) -> Option<Box<PartitionImage>>,
    ) -> Self {
        let settings = TopicSettings {
            name: "orders".into(),
            ack: A,
            ack_name: "orders-acks".into(),
            policy: Policy {
                retry_rate: 0,
                ..Policy::default()
            },
        };
        let acks: Vec<(i32, i64)> = (0..shape.ack_partitions).map(|n| (n, 0)).collect();
        let mut rig = Self {
            core: Coordinator::new(vec![settings], limits, 1),
            now: Now {
                mono_ms: 1_000,
                wall_ms: WALL_MS,
            },
            generation: 0,
            source_ends: (0..shape.partitions).map(|n| (n, 0)).collect(),
            ack_ends: acks.clone(),
            effects: Vec::new(),
            checkpoint_every_ms: 1_000,
            next_checkpoint_ms: 0,
            checkpoints: 0,
            commits: 0,
            landed: Vec::new(),
            fetched: VecDeque::new(),
        };
        let mut assignments = Vec::new();
        for partition in 0..shape.partitions {
            let image = image(partition);
            let low = image.as_ref().map_or(0, |i| i.header.low);
            if let Some(image) = &image {
                rig.source_ends[partition as usize].1 = image.header.source_applied;
                for (n, end) in &image.header.acks_applied {
                    rig.ack_ends[*n as usize].1 = *end;
                }
            }
            assignments.push(Assignment {
                topic: T,
                partition,
                low,
                born: 0,
                log_start: 0,
                acks: Some(acks.clone()),
                ack_log_starts: acks.clone(),
                appeared: false,
                former_owner_until_ms: 0,
                recreated: None,
                image,
            });
        }
        rig.handle(Event::Assigned(assignments));
        while !rig.core.is_ready() {
            rig.pass(50);
        }
        rig
    }

    pub fn limits() -> CoreLimits {
        CoreLimits {
            max_outstanding: 100_000_000,
            early_weight_max: 200_000,
            settled_max: 1_000_000,
            settled_retention_ms: 3_600_000,
            commit_every_ms: 1_000,
            lease_ms: 22_500,
        }
    }

    pub fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms as i64;
        self.handle(Event::Tick);
    }

    /// Feeds batches; each source batch is a millisecond.
    pub fn run(&mut self, events: Vec<Event>) {
        for event in events {
            match &event {
                Event::SourceBatch(batch) => {
                    self.now.mono_ms += 1;
                    self.now.wall_ms += 1;
                    for (_, partition, end) in &batch.applied {
                        self.source_ends[*partition as usize].1 = *end;
                    }
                }
                Event::AckBatch(batch) => {
                    for (partition, end) in &batch.applied {
                        self.ack_ends[*partition as usize].1 = *end;
                    }
                }
                _ => {}
            }
            self.handle(event);
            if self.checkpoint_every_ms > 0 && self.now.mono_ms >= self.next_checkpoint_ms {
                self.next_checkpoint_ms = self.now.mono_ms + self.checkpoint_every_ms;
                self.checkpoints += 1;
                std::hint::black_box(self.take_checkpoint());
            }
        }
    }

    /// Time passes until everything that is outstanding for the first time is due: the copies land, are reported, and read.
    pub fn storm(&mut self) -> u64 {
        self.pass(Policy::default().timeout_ms);
        let mut copies = 0;
        while !self.landed.is_empty() {
            let records: Vec<_> = self.landed.drain(..BATCH.min(self.landed.len())).collect();
            copies += records.len() as u64;
            let ends = self.source_ends.iter();
            let read_to = |n: i32| records.iter().filter(move |r| r.partition == n);
            let applied = ends
                .filter_map(|(n, _)| Some((T, *n, read_to(*n).next_back()?.offset + 1)))
                .collect();
            self.handle(Event::SourceBatch(SourceBatch { records, applied }));
        }
        copies
    }

    /// A copy lands, and is reported.
    fn publish(&mut self, publish: &Publish) -> Vec<Event> {
        let Publication::Copy(headers) = &publish.what else {
            return Vec::new();
        };
        let partition = publish.msg.partition;
        let end = &mut self.source_ends[partition as usize].1;
        let offset = *end;
        *end += 1;
        let (len, digest) = self.fetched.pop_front().unwrap();
        self.landed.push(SourceRecord {
            topic: T,
            partition,
            offset,
            timestamp_ms: WALL_MS,
            len,
            digest,
            extra: Some(Box::new(SourceExtra {
                copy: Some(mark_of(headers)),
                ..SourceExtra::default()
            })),
        });
        vec![Event::Published {
            msg: publish.msg,
            sequence: publish.sequence,
            outcome: PublishOutcome::Durable(LogPosition::new(partition, offset)),
        }]
    }

    pub fn take_checkpoint(&mut self) -> Vec<(TopicIx, i32, PartitionChange)> {
        self.core.take_checkpoint(self.now)
    }

    /// The core alone, and its questions answered.
    pub fn handle(&mut self, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle_event(event, self.now, &mut effects);
        let mut next = 0;
        while next < effects.len() {
            let to = effects.len().min(next + ANSWERS_TOGETHER);
            let answers: Vec<Event> = effects[next..to]
                .iter()
                .flat_map(|effect| self.answer(effect))
                .collect();
            next = to;
            if !answers.is_empty() {
                self.core.handle_events(answers, self.now, &mut effects);
            }
        }
        effects.clear();
        self.effects = effects;
    }

    fn answer(&mut self, effect: &Effect) -> Vec<Event> {
        match effect {
            Effect::ReadSource {
                topic, partition, ..
            } => {
                let end = self.source_ends[*partition as usize].1;
                vec![Event::SourceBatch(SourceBatch {
                    records: Vec::new(),
                    applied: vec![(*topic, *partition, end)],
                })]
            }
            Effect::ReadAcks {
                ack, generation, ..
            } => {
                self.generation = *generation;
                vec![Event::AckBatch(AckBatch {
                    ack: *ack,
                    records: Vec::new(),
                    applied: self.ack_ends.clone(),
                    generation: *generation,
                    lane: Lane::Main,
                })]
            }
            Effect::AskAckEnds { ack, round } => vec![Event::AckEnds {
                ack: *ack,
                round: *round,
                answer: Ok(self.ack_ends.clone()),
            }],
            Effect::AskFence { topic, round } => vec![Event::Fence {
                topic: *topic,
                round: *round,
                answer: Ok(Fence {
                    ack_ends: self.ack_ends.clone(),
                    source_ends: self.source_ends.clone(),
                }),
            }],
            Effect::FetchPayload {
                msg, len, digest, ..
            } => {
                self.fetched.push_back((*len, *digest));
                vec![Event::Fetched {
                    msg: *msg,
                    outcome: FetchOutcome::Found { size_bytes: *len },
                }]
            }
            Effect::Publish(publish) => self.publish(publish),
            Effect::Commit(orders) => {
                self.commits += 1;
                let commit = |o: &ackwarden::core::CommitOrder| Event::Committed {
                    topic: o.topic,
                    partition: o.partition,
                    low: o.low,
                    sent_ms: self.now.mono_ms,
                    outcome: Ok(()),
                };
                orders.iter().map(commit).collect()
            }
            _ => Vec::new(),
        }
    }

    pub fn settled(&self) -> u64 {
        self.core
            .topic_views(self.now)
            .iter()
            .map(|t| t.counters.acked)
            .sum()
    }
}
