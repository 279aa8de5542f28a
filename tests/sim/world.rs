//! The world of one run: its logs, its clock, and a coordinator that dies and comes back. Everything is drawn from one
//! seed; nothing in here trusts the core. Who speaks in it is in `actors`, what becomes of what is sent in `broker`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use ackwarden::core::effect::Headers;
use ackwarden::core::image::{PartitionChange, PartitionImage};
use ackwarden::core::record::SourceExtra;
use ackwarden::core::view::Lookup;
use ackwarden::core::{
    AckBatch, AckIx, AckRecord, Assignment, Coordinator, CopyMark, CoreLimits, Event, LogPosition,
    MsgRef, Now, Policy, SourceBatch, SourceRecord, TopicIx, TopicSettings, Verdict,
};

use crate::faults::Faults;
use crate::rng::Rng;

pub const PARTITIONS: i32 = 2;
pub const ACK_PARTITIONS: i32 = 2;
pub const T: TopicIx = TopicIx(0);
pub const A: AckIx = AckIx(0);

/// A record of the source; `None` in the log is a marker.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Which of A's messages it is (a copy has its original's).
    pub message: u64,
    pub attempt: u32,
    pub copy: Option<Headers>,
    pub at_ms: u64,
    pub submitted_ms: u64,
    /// Which life of the coordinator sent it; 0: A.
    pub incarnation: u64,
    /// A copy that landed in a later life of the coordinator, which could not know it for its own any more. It is tracked as a message of its own, and what B says of it is about that.
    pub estranged: bool,
    /// It was reported ambiguous and landed later: its twin does not name it among its deliveries, nor it its twin.
    pub late_twin: bool,
    /// The id that it has: its message's, or that of the message before.
    pub id: u64,
    /// Of the payload: a copy has the original's.
    pub digest: u64,
    /// Somebody else gave it the headers of one of our copies.
    pub forged: bool,
}

#[derive(Debug, Clone)]
pub struct Acked {
    pub record: AckRecord,
    pub message: Option<u64>,
    pub verdict: Verdict,
    pub at_ms: u64,
    /// It names an estranged copy by its position.
    pub estranged: bool,
    /// Of which delivery it speaks, by position or attempt.
    pub attempt: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub crashes: u64,
    pub republished: u64,
    pub dead: u64,
    pub ambiguous: u64,
    pub events: u64,
    pub forged: u64,
    pub decisions: u64,
    pub stale_batches: u64,
    pub rebalances: u64,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.republished += other.republished;
        self.dead += other.dead;
        self.ambiguous += other.ambiguous;
        self.events += other.events;
        self.forged += other.forged;
        self.decisions += other.decisions;
        self.stale_batches += other.stale_batches;
        self.rebalances += other.rebalances;
    }
}

/// A record that the broker appends later.
pub struct Limbo {
    pub at_ms: u64,
    pub partition: i32,
    pub sent: Sent,
    /// Whom to tell then, and under which number; nobody, if it was reported as ambiguous.
    pub report: Option<(MsgRef, u64)>,
}

pub struct World {
    pub rng: Rng,
    /// For the faults that came later.
    pub later: Rng,
    pub faults: Faults,
    /// As they were before they stopped.
    pub faults_drawn: Faults,
    pub now_ms: u64,
    pub source: Vec<Vec<Option<Sent>>>,
    pub acks: Vec<Vec<Option<Acked>>>,
    pub dead_letters: Vec<(u64, u32)>,
    pub limbo: Vec<Limbo>,
    pub b_position: Vec<usize>,
    /// B's ACKs that are yet to be sent: (when, partition, offset).
    pub b_pending: Vec<(u64, i32, i64)>,
    pub core: Coordinator,
    pub up: bool,
    pub restart_at: u64,
    /// Reading, by partition.
    pub source_reader: BTreeMap<i32, i64>,
    pub ack_reader: BTreeMap<i32, i64>,
    pub ack_generation: u64,
    pub paused: BTreeSet<i32>,
    pub committed: BTreeMap<i32, (i64, Vec<(i32, i64)>)>,
    pub store: HashMap<i32, PartitionImage>,
    /// As it was at the checkpoint before.
    pub store_before: HashMap<i32, PartitionImage>,
    pub inbox: Vec<(u64, Event)>,
    /// Batches of ACKs that were read and not handed over.
    pub ack_batches: VecDeque<AckBatch>,
    /// Up to where ACKs were handed over, by order.
    pub acks_applied: BTreeMap<i32, i64>,
    pub wall_skew_ms: i64,
    pub acks_held_until: u64,
    pub source_held_until: u64,
    /// When each partition became ours last.
    pub assigned_ms: BTreeMap<i32, u64>,
    /// Partitions that are not ours for now, and until when.
    pub away: BTreeMap<i32, u64>,
    pub was_ready: bool,
    pub started_ms: u64,
    /// (message, attempt) that were submitted.
    pub submitted: BTreeSet<(u64, u32)>,
    pub requests: u64,
    pub policy: Policy,
    pub to_send: u64,
    pub sent: u64,
    pub seen: Seen,
    pub incarnation: u64,
    pub violations: Vec<String>,
}

impl World {
    /// With all faults that there are.
    pub fn new(seed: u64) -> Self {
        let (mut rng, mut later) = (Rng::new(seed), Rng::new(!seed));
        let faults = Faults::draw(&mut rng, &mut later);
        Self::with(seed, rng, later, faults)
    }

    /// With the faults that there were first.
    pub fn first(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::draw_first(&mut rng);
        Self::with(seed, rng, Rng::new(!seed), faults)
    }

    fn with(seed: u64, mut rng: Rng, later: Rng, faults: Faults) -> Self {
        let policy = Policy {
            timeout_ms: 500 + rng.below(1_000),
            backoff: 1.5,
            timeout_max_ms: 4_000,
            jitter: 0.1,
            max_attempts: 1 + rng.below(5) as u32,
            nack_delay_ms: 100,
            delay_max_ms: 10_000,
            dead_letter: Some("dlq".into()),
            retry_rate: 0,
            ..Policy::default()
        };
        let mut to_send = 20 + rng.below(150);
        if faults.more.sparse {
            to_send = 2 + to_send / 10;
        }
        let mut world = Self {
            core: coordinator(&policy, seed),
            rng,
            later,
            faults_drawn: faults.clone(),
            faults,
            now_ms: 1,
            source: vec![Vec::new(); PARTITIONS as usize],
            acks: vec![Vec::new(); ACK_PARTITIONS as usize],
            dead_letters: Vec::new(),
            limbo: Vec::new(),
            b_position: vec![0; PARTITIONS as usize],
            b_pending: Vec::new(),
            up: false,
            restart_at: 0,
            source_reader: BTreeMap::new(),
            ack_reader: BTreeMap::new(),
            ack_generation: 0,
            paused: BTreeSet::new(),
            committed: (0..PARTITIONS)
                .map(|p| (p, (0, (0..ACK_PARTITIONS).map(|a| (a, 0)).collect())))
                .collect(),
            store: HashMap::new(),
            store_before: HashMap::new(),
            inbox: Vec::new(),
            ack_batches: VecDeque::new(),
            acks_applied: BTreeMap::new(),
            wall_skew_ms: 0,
            acks_held_until: 0,
            source_held_until: 0,
            assigned_ms: BTreeMap::new(),
            away: BTreeMap::new(),
            was_ready: false,
            started_ms: 0,
            submitted: BTreeSet::new(),
            requests: 0,
            policy,
            to_send,
            sent: 0,
            seen: Seen::default(),
            incarnation: 0,
            violations: Vec::new(),
        };
        world.start();
        world
    }

    /// Runs until A has sent all and time is up, then stops the faults and lets everything drain.
    pub fn run(&mut self) {
        let faulty_until = 4_000 + self.rng.below(20_000);
        while self.now_ms < faulty_until || self.sent < self.to_send {
            self.step();
        }
        self.faults.stop();
        let drained_by = self.now_ms + 120_000;
        while self.now_ms < drained_by && !(self.up && self.is_drained()) {
            self.step();
        }
        self.judge_end();
    }

    pub fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: 1_700_000_000_000 + self.now_ms as i64 + self.wall_skew_ms,
        }
    }

    fn step(&mut self) {
        self.now_ms += 1 + self.rng.below(40);
        let often = if self.faults_drawn.more.sparse {
            20
        } else {
            500
        };
        if self.sent < self.to_send && self.rng.chance(often) {
            self.a_sends();
        }
        if self.rng.chance(self.faults.markers) {
            let p = self.rng.below(PARTITIONS as u64) as usize;
            self.source[p].push(None);
            let a = self.rng.below(ACK_PARTITIONS as u64) as usize;
            self.acks[a].push(None);
        }
        self.limbo_lands();
        if self.later.chance(self.faults.more.forged) {
            self.somebody_forges();
        }
        if self.later.chance(self.faults.more.garbage) {
            self.somebody_acks_nothing();
        }
        self.b_works();
        if !self.up {
            if self.now_ms >= self.restart_at {
                self.start();
            }
            return;
        }
        if self.rng.chance(self.faults.coordinator_crashes) {
            self.crash();
            return;
        }
        self.rebalance();
        self.readers_read();
        self.deliver_inbox();
        if self.core.is_ready() && self.away.is_empty() && !self.was_ready {
            self.was_ready = true;
            self.judge_rebuilt();
        }
        if self.later.chance(self.faults.more.operators) {
            self.operator_acts();
        }
        self.handle(Event::Tick);
        if self.rng.chance(100) {
            self.checkpoint();
        }
    }

    pub fn start(&mut self) {
        self.up = true;
        self.incarnation += 1;
        self.core = coordinator(&self.policy, self.incarnation);
        self.started_ms = self.now_ms;
        if self.incarnation > 1 && self.later.chance(self.faults.more.clock_jumps) {
            self.wall_skew_ms = self.later.below(7_200_000) as i64 - 3_600_000;
        }
        if self.later.chance(self.faults.more.store_old) {
            self.store.clone_from(&self.store_before);
        }
        let keep = !self.rng.chance(self.faults.store_lost);
        if !keep {
            self.store.clear();
        }
        self.was_ready = false;
        self.away.clear();
        let all: Vec<i32> = (0..PARTITIONS).collect();
        self.assign(&all);
    }

    pub fn assign(&mut self, partitions: &[i32]) {
        let mut assignments = Vec::new();
        for p in partitions.iter().copied() {
            let (low, acks) = self.committed[&p].clone();
            self.assigned_ms.insert(p, self.now_ms);
            assignments.push(Assignment {
                topic: T,
                partition: p,
                low,
                born: 0,
                log_start: 0,
                acks: Some(acks),
                ack_log_starts: (0..ACK_PARTITIONS).map(|a| (a, 0)).collect(),
                appeared: false,
                recreated: None,
                image: self.store.get(&p).cloned().map(Box::new),
            });
        }
        self.handle(Event::Assigned(assignments));
    }

    /// Partitions go and come back.
    fn rebalance(&mut self) {
        let now = self.now_ms;
        let back: Vec<i32> = self
            .away
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(p, _)| *p)
            .collect();
        if !back.is_empty() {
            self.away.retain(|p, _| !back.contains(p));
            self.assign(&back);
        }
        if self.later.chance(self.faults.more.rebalances) {
            let p = self.later.below(PARTITIONS as u64) as i32;
            let until = now + self.later.below(2_000);
            if self.away.insert(p, until).is_none() {
                self.seen.rebalances += 1;
                self.handle(Event::Revoked {
                    topic: T,
                    partitions: vec![p],
                });
            }
        }
    }

    pub fn crash(&mut self) {
        self.seen.crashes += 1;
        self.up = false;
        self.restart_at = self.now_ms + self.rng.below(3_000);
        self.inbox.clear();
        self.source_reader.clear();
        self.ack_reader.clear();
        self.ack_batches.clear();
        self.acks_applied.clear();
        self.paused.clear();
    }

    fn readers_read(&mut self) {
        if self.later.chance(self.faults.more.long_stalls) {
            self.source_held_until = self.now_ms + self.later.below(3_000);
        }
        if !self.rng.chance(self.faults.reader_stalls) && self.now_ms >= self.source_held_until {
            let mut batch = SourceBatch::default();
            for (p, position) in &mut self.source_reader {
                if self.paused.contains(p) {
                    continue;
                }
                let log = &self.source[*p as usize];
                let to = (*position + 1 + self.rng.below(20) as i64).min(log.len() as i64);
                for offset in *position..to {
                    if let Some(sent) = &log[offset as usize] {
                        batch.records.push(record(*p, offset, sent));
                    }
                }
                *position = to.max(*position);
                batch.applied.push((T, *p, *position));
            }
            self.handle(Event::SourceBatch(batch));
        }
        if !self.rng.chance(self.faults.reader_stalls) {
            let mut batch = AckBatch {
                ack: A,
                records: Vec::new(),
                applied: Vec::new(),
                generation: self.ack_generation,
            };
            for (a, position) in &mut self.ack_reader {
                let log = &self.acks[*a as usize];
                let to = (*position + 1 + self.rng.below(20) as i64).min(log.len() as i64);
                for offset in *position..to {
                    if let Some(acked) = &log[offset as usize] {
                        batch.records.push(acked.record.clone());
                    }
                }
                *position = to.max(*position);
                batch.applied.push((*a, *position));
            }
            self.ack_batches.push_back(batch);
        }
        if self.later.chance(self.faults.more.long_stalls) {
            self.acks_held_until = self.now_ms + self.later.below(3_000);
        }
        while !self.ack_batches.is_empty() && self.now_ms >= self.acks_held_until {
            if let Some(batch) = self.ack_batches.pop_front() {
                if batch.generation == self.ack_generation {
                    self.acks_applied.extend(batch.applied.iter().copied());
                } else {
                    self.seen.stale_batches += 1;
                }
                let open = self.shared_and_open(&batch);
                self.handle(Event::AckBatch(batch));
                self.judge_shared(&open);
            }
        }
    }

    fn deliver_inbox(&mut self) {
        let now = self.now_ms;
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.inbox)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.inbox = rest;
        for (_, event) in due {
            self.handle(event);
        }
    }

    pub fn handle(&mut self, event: Event) {
        self.seen.events += 1;
        if std::env::var_os("SIM_TRACE").is_some() && !matches!(event, Event::Tick) {
            println!("{} <- {event:?}", self.now_ms);
        }
        let mut effects = Vec::new();
        let now = self.now();
        self.core.handle_event(event, now, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    pub fn checkpoint(&mut self) {
        if !self.core.is_ready() {
            return;
        }
        let now = self.now();
        self.store_before.clone_from(&self.store);
        for (_, partition, change) in self.core.take_checkpoint(now) {
            let image = self.store.entry(partition).or_default();
            apply_change(image, change);
        }
    }

    fn is_drained(&self) -> bool {
        self.core.is_ready()
            && self.away.is_empty()
            && self.core.outstanding() == 0
            && self.limbo.is_empty()
            && self
                .committed
                .iter()
                .all(|(p, (low, _))| *low == self.source[*p as usize].len() as i64)
    }

    pub fn breach(&mut self, invariant: u32, what: String) {
        self.violations.push(format!(
            "invariant {invariant} at {} ms: {what}",
            self.now_ms
        ));
    }

    /// What the coordinator says of a position.
    pub fn is_open(&self, partition: i32, offset: i64) -> bool {
        match self
            .core
            .lookup(T, LogPosition::new(partition, offset), self.now())
        {
            Lookup::Found(found) => !found.message.state.is_settled(),
            _ => false,
        }
    }

    pub fn outstanding(&self) -> u64 {
        self.core.outstanding()
    }
}

fn coordinator(policy: &Policy, seed: u64) -> Coordinator {
    Coordinator::new(
        vec![TopicSettings {
            name: "orders".into(),
            ack: A,
            ack_name: "orders-acks".into(),
            policy: policy.clone(),
        }],
        CoreLimits {
            max_outstanding: 60,
            settled_max: 100,
            settled_retention_ms: 3_600_000,
            commit_every_ms: 200,
        },
        seed,
    )
}

fn record(partition: i32, offset: i64, sent: &Sent) -> SourceRecord {
    SourceRecord {
        topic: T,
        partition,
        offset,
        timestamp_ms: sent.at_ms as i64,
        len: 10,
        digest: sent.digest,
        extra: Some(Box::new(SourceExtra {
            id: Some(format!("m{}", sent.id).into()),
            copy: sent.copy.as_ref().map(|headers| CopyMark {
                by_us: true,
                attempt: headers.attempt,
                origin: headers.origin,
                origin_timestamp_ms: headers.origin_timestamp_ms,
                deliveries: headers.deliveries.clone(),
                cause: headers.cause.expect("a copy has a cause"),
            }),
            ..SourceExtra::default()
        })),
    }
}

fn apply_change(image: &mut PartitionImage, change: PartitionChange) {
    if change.replace {
        *image = PartitionImage::default();
    }
    image.header = change.header;
    let mut blocks: BTreeMap<i64, _> = std::mem::take(&mut image.blocks)
        .into_iter()
        .map(|b| (b.base, b))
        .collect();
    for block in change.blocks {
        if block.entries.is_empty() {
            blocks.remove(&block.base);
        } else {
            blocks.insert(block.base, block);
        }
    }
    image.blocks = blocks.into_values().collect();
    let mut details: BTreeMap<i64, _> = std::mem::take(&mut image.details)
        .into_iter()
        .map(|d| (d.origin, d))
        .collect();
    for origin in change.details_gone {
        details.remove(&origin);
    }
    for detail in change.details {
        details.insert(detail.origin, detail);
    }
    image.details = details.into_values().collect();
}
