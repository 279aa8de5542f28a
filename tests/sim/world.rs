//! The world of one run: logs, a Service B, a coordinator that dies, and reports that get lost. Everything is drawn
//! from one seed; nothing in here trusts the core.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use ackwarden::core::effect::{DeadLetterPayload, Headers};
use ackwarden::core::event::{Fence, FetchOutcome, PublishOutcome};
use ackwarden::core::image::{PartitionChange, PartitionImage};
use ackwarden::core::record::SourceExtra;
use ackwarden::core::types::LOG_START;
use ackwarden::core::{
    AckBatch, AckExtra, AckIx, AckRecord, AckTarget, Assignment, Coordinator, CopyMark, CoreLimits,
    Effect, Event, LogPosition, MsgRef, Now, Policy, Publication, SourceBatch, SourceRecord,
    TopicIx, TopicSettings, Verdict,
    view::{Lookup, OperatorAction},
};

use crate::faults::Faults;
use crate::rng::Rng;

pub const PARTITIONS: i32 = 2;
pub const ACK_PARTITIONS: i32 = 2;
const T: TopicIx = TopicIx(0);
const A: AckIx = AckIx(0);

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
    at_ms: u64,
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
    b_position: Vec<usize>,
    /// B's ACKs that are yet to be sent: (when, partition, offset).
    b_pending: Vec<(u64, i32, i64)>,
    core: Coordinator,
    up: bool,
    restart_at: u64,
    /// Reading, by partition.
    source_reader: BTreeMap<i32, i64>,
    ack_reader: BTreeMap<i32, i64>,
    ack_generation: u64,
    paused: BTreeSet<i32>,
    pub committed: BTreeMap<i32, (i64, Vec<(i32, i64)>)>,
    store: HashMap<i32, PartitionImage>,
    /// As it was at the checkpoint before.
    store_before: HashMap<i32, PartitionImage>,
    inbox: Vec<(u64, Event)>,
    /// Batches of ACKs that were read and not handed over.
    ack_batches: VecDeque<AckBatch>,
    /// Up to where ACKs were handed over, by order.
    pub acks_applied: BTreeMap<i32, i64>,
    wall_skew_ms: i64,
    acks_held_until: u64,
    source_held_until: u64,
    /// When each partition became ours last.
    pub assigned_ms: BTreeMap<i32, u64>,
    /// Partitions that are not ours for now, and until when.
    away: BTreeMap<i32, u64>,
    was_ready: bool,
    pub started_ms: u64,
    /// (message, attempt) that were submitted.
    pub submitted: BTreeSet<(u64, u32)>,
    requests: u64,
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

    fn now(&self) -> Now {
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

    fn a_sends(&mut self) {
        let p = self.rng.below(PARTITIONS as u64) as usize;
        let message = self.sent;
        self.sent += 1;
        let shared = message > 0 && self.later.chance(self.faults.more.shared_ids);
        self.source[p].push(Some(Sent {
            message,
            attempt: 1,
            copy: None,
            at_ms: self.now_ms,
            submitted_ms: self.now_ms,
            incarnation: 0,
            estranged: false,
            late_twin: false,
            id: message - u64::from(shared),
            digest: message,
            forged: false,
        }));
    }

    /// A record of somebody else with the headers of one of our copies: another payload, or an attempt that is long in
    /// the log.
    fn somebody_forges(&mut self) {
        let p = self.later.below(PARTITIONS as u64) as usize;
        let old = self.now_ms.saturating_sub(1_000);
        let copies: Vec<(Headers, u64)> = self.source[p]
            .iter()
            .flatten()
            .filter(|s| s.at_ms < old && !s.forged)
            .filter_map(|s| Some((s.copy.clone()?, s.digest)))
            .collect();
        if copies.is_empty() {
            return;
        }
        let (mut headers, mut digest) =
            copies[self.later.below(copies.len() as u64) as usize].clone();
        let message = self.sent;
        self.sent += 1;
        self.to_send += 1;
        self.seen.forged += 1;
        if self.later.chance(500) {
            digest = u64::MAX - message;
            headers.attempt += self.later.below(2) as u32;
        }
        self.source[p].push(Some(Sent {
            message,
            attempt: headers.attempt,
            copy: Some(headers),
            at_ms: self.now_ms,
            submitted_ms: self.now_ms,
            incarnation: 0,
            estranged: false,
            late_twin: false,
            id: message,
            digest,
            forged: true,
        }));
    }

    fn somebody_acks_nothing(&mut self) {
        let target = if self.later.chance(500) {
            AckTarget::Id {
                topic: T,
                id: "nobody".into(),
            }
        } else {
            let far = self.later.below(2_000) as i64;
            let partition = self.later.below(PARTITIONS as u64 + 1) as i32;
            let log = self.source.get(partition as usize).map_or(0, Vec::len);
            // Past all that will ever be there, but for a whole block of offsets in between.
            AckTarget::Position {
                topic: T,
                partition,
                offset: log as i64 + 2_000 + far,
            }
        };
        self.append_ack(target, None, None, Verdict::Ack);
    }

    fn operator_acts(&mut self) {
        let p = self.later.below(PARTITIONS as u64) as i32;
        let log = self.source[p as usize].len() as u64;
        if log == 0 {
            return;
        }
        let offset = self.later.below(log) as i64;
        let action = match self.later.below(5) {
            0 => OperatorAction::Ack,
            1 => OperatorAction::Nack { delay_ms: None },
            2 => OperatorAction::Retry,
            3 => OperatorAction::DeadLetter,
            _ => OperatorAction::Extend { delay_ms: None },
        };
        self.requests += 1;
        self.handle(Event::Operator {
            request: self.requests,
            topic: T,
            msg: LogPosition::new(p, offset),
            action,
            actor: "ops".into(),
            reason: None,
        });
    }

    fn limbo_lands(&mut self) {
        let now = self.now_ms;
        let (landed, rest): (Vec<Limbo>, _) = std::mem::take(&mut self.limbo)
            .into_iter()
            .partition(|l| l.at_ms <= now);
        self.limbo = rest;
        for Limbo {
            partition,
            mut sent,
            report,
            ..
        } in landed
        {
            sent.at_ms = now;
            let ours = sent.incarnation == self.incarnation;
            let rebuilt = self.is_rebuilt_since(partition, sent.submitted_ms);
            sent.estranged |= !ours || (rebuilt && report.is_none());
            sent.late_twin = report.is_none() || !ours;
            let log = &mut self.source[partition as usize];
            log.push(Some(sent));
            let at = LogPosition::new(partition, log.len() as i64 - 1);
            if let Some((msg, sequence)) = report.filter(|_| ours && self.up) {
                self.answer(Event::Published {
                    msg,
                    sequence,
                    outcome: PublishOutcome::Durable(at),
                });
            }
        }
    }

    /// The partition was taken from us, and came back, after that.
    pub fn is_rebuilt_since(&self, partition: i32, ms: u64) -> bool {
        self.assigned_ms.get(&partition).is_some_and(|at| *at > ms)
    }

    /// B pulls a batch, and with it commits; what it does not get done when it crashes is lost to it.
    fn b_works(&mut self) {
        for p in 0..PARTITIONS {
            if !self.rng.chance(300) {
                continue;
            }
            let from = self.b_position[p as usize];
            let to = (from + 1 + self.rng.below(5) as usize).min(self.source[p as usize].len());
            self.b_position[p as usize] = to;
            for offset in from..to {
                if self.rng.chance(self.faults.b_crashes) {
                    break;
                }
                if self.source[p as usize][offset].is_none() {
                    continue;
                }
                if self.later.chance(self.faults.more.b_wavers) {
                    let all = [Verdict::Nack, Verdict::Reject, Verdict::Extend];
                    for _ in 0..2 {
                        let verdict = all[self.later.below(3) as usize];
                        self.b_says(p, offset as i64, verdict);
                    }
                } else if self.later.chance(self.faults.more.b_extends) {
                    self.b_says(p, offset as i64, Verdict::Extend);
                    let at = self.now_ms + self.later.below(3_000);
                    self.b_pending.push((at, p, offset as i64));
                } else if self.rng.chance(self.faults.b_nacks) {
                    self.b_says(p, offset as i64, Verdict::Nack);
                } else if self.rng.chance(self.faults.b_rejects) {
                    self.b_says(p, offset as i64, Verdict::Reject);
                } else if self.rng.chance(self.faults.b_acks_late) {
                    let at = self.now_ms + self.rng.below(6_000);
                    self.b_pending.push((at, p, offset as i64));
                } else {
                    self.b_says(p, offset as i64, Verdict::Ack);
                    if self.rng.chance(self.faults.b_acks_twice) {
                        self.b_says(p, offset as i64, Verdict::Ack);
                    }
                }
            }
        }
        let now = self.now_ms;
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.b_pending)
            .into_iter()
            .partition(|(at, ..)| *at <= now);
        self.b_pending = rest;
        for (_, p, offset) in due {
            self.b_says(p, offset, Verdict::Ack);
        }
    }

    fn b_says(&mut self, partition: i32, offset: i64, verdict: Verdict) {
        let Some(Some(sent)) = self.source[partition as usize].get(offset as usize) else {
            return;
        };
        let message = sent.message;
        let by_id = self.rng.chance(self.faults.by_id);
        let (attempt, estranged, id) = (sent.attempt, sent.estranged, sent.id);
        let target = if by_id {
            AckTarget::Id {
                topic: T,
                id: format!("m{id}").into(),
            }
        } else {
            AckTarget::Position {
                topic: T,
                partition,
                offset,
            }
        };
        let extra = (verdict != Verdict::Ack || (by_id && self.rng.chance(500))).then(|| {
            Box::new(AckExtra {
                verdict,
                attempt: by_id.then_some(attempt),
                ..AckExtra::default()
            })
        });
        let estranged = estranged && !by_id;
        let at = self.append_ack(target, extra, Some(message), verdict);
        if let Some(Some(acked)) = self.acks[at.partition as usize].get_mut(at.offset as usize) {
            acked.estranged = estranged;
            acked.attempt = (!by_id).then_some(attempt);
        }
    }

    fn append_ack(
        &mut self,
        target: AckTarget,
        extra: Option<Box<AckExtra>>,
        message: Option<u64>,
        verdict: Verdict,
    ) -> LogPosition {
        let a = self.rng.below(ACK_PARTITIONS as u64) as i32;
        let at = LogPosition::new(a, self.acks[a as usize].len() as i64);
        self.acks[a as usize].push(Some(Acked {
            record: AckRecord { at, target, extra },
            message,
            verdict,
            at_ms: self.now_ms,
            estranged: false,
            attempt: None,
        }));
        at
    }

    fn start(&mut self) {
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

    fn assign(&mut self, partitions: &[i32]) {
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

    fn crash(&mut self) {
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

    fn handle(&mut self, event: Event) {
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

    fn answer(&mut self, event: Event) {
        let mut at = self.now_ms + self.rng.below(60);
        let slow = match event {
            Event::AckEnds { .. } | Event::Fence { .. } => self.faults.more.slow_answers,
            Event::Published { .. } => self.faults.more.slow_publish,
            _ => 0,
        };
        if self.later.chance(slow) {
            at += self.later.below(2_000);
        }
        self.inbox.push((at, event));
    }

    fn ends<R>(logs: &[Vec<R>]) -> Vec<(i32, i64)> {
        let ends = logs.iter().enumerate();
        ends.map(|(i, log)| (i as i32, log.len() as i64)).collect()
    }

    fn carry_out(&mut self, effect: Effect) {
        if std::env::var_os("SIM_TRACE").is_some() {
            println!("{} {effect:?}", self.now_ms);
        }
        match effect {
            Effect::ReadSource {
                partition, from, ..
            } => {
                self.source_reader.insert(partition, from.max(0));
                self.paused.remove(&partition);
            }
            Effect::StopSource { partition, .. } => {
                self.source_reader.remove(&partition);
            }
            Effect::PauseSource { partition, .. } => {
                self.paused.insert(partition);
            }
            Effect::ResumeSource { partition, .. } => {
                self.paused.remove(&partition);
            }
            Effect::ReadAcks {
                from, generation, ..
            } => {
                self.ack_generation = generation;
                for (a, offset) in from {
                    let offset = if offset == LOG_START { 0 } else { offset };
                    self.ack_reader.insert(a, offset);
                    self.acks_applied.insert(a, offset);
                }
            }
            Effect::AskAckEnds { ack, round } => {
                let answer = Ok(Self::ends(&self.acks));
                self.answer(Event::AckEnds { ack, round, answer });
            }
            Effect::AskFence { topic, round } => {
                let fence = Fence {
                    ack_ends: Self::ends(&self.acks),
                    source_ends: Self::ends(&self.source),
                };
                self.answer(Event::Fence {
                    topic,
                    round,
                    answer: Ok(fence),
                });
            }
            Effect::FetchPayload { msg, offset, .. } => {
                let there = self.source[msg.partition as usize].get(offset as usize);
                assert!(matches!(there, Some(Some(_))), "fetched where nothing is");
                self.answer(Event::Fetched {
                    msg,
                    outcome: FetchOutcome::Found { size_bytes: 1 },
                });
            }
            Effect::DiscardPayload { .. } | Effect::Reply { .. } => {}
            Effect::Publish(publish) => {
                self.publish(publish.msg, publish.sequence, publish.what);
            }
            Effect::Commit(orders) => {
                for order in orders {
                    if self.away.contains_key(&order.partition) {
                        continue;
                    }
                    self.judge_commit(order.partition, order.low, &order.acks);
                    self.committed
                        .insert(order.partition, (order.low, order.acks));
                    self.answer(Event::Committed {
                        topic: T,
                        partition: order.partition,
                        low: order.low,
                        outcome: Ok(()),
                    });
                }
            }
        }
    }

    fn publish(&mut self, msg: MsgRef, sequence: u64, what: Publication) {
        let mut outcome = None;
        if self.rng.chance(self.faults.refused) {
            outcome = Some(PublishOutcome::Refused("drawn".into()));
        }
        match what {
            Publication::Copy(headers) => {
                let message = self.message_at(msg);
                self.judge_copy(msg, message, &headers);
                self.submitted.insert((message, headers.attempt));
                if outcome.is_none() {
                    let sent = Sent {
                        message,
                        attempt: headers.attempt,
                        copy: Some(headers),
                        at_ms: self.now_ms,
                        submitted_ms: self.now_ms,
                        incarnation: self.incarnation,
                        // What is sent for one that is tracked as a message of its own, is so too.
                        estranged: self.sent_at(msg).estranged,
                        late_twin: false,
                        id: self.sent_at(msg).id,
                        digest: self.sent_at(msg).digest,
                        forged: false,
                    };
                    if self.rng.chance(self.faults.ambiguous) {
                        self.seen.ambiguous += 1;
                        outcome = Some(PublishOutcome::Ambiguous("drawn".into()));
                        match self.rng.below(3) {
                            0 => {}
                            1 => self.source[msg.partition as usize].push(Some(sent)),
                            _ => self.limbo.push(Limbo {
                                at_ms: self.now_ms + self.rng.below(7_000),
                                partition: msg.partition,
                                sent,
                                report: None,
                            }),
                        }
                    } else if self.later.chance(self.faults.more.slow_publish) {
                        self.seen.republished += 1;
                        self.limbo.push(Limbo {
                            at_ms: self.now_ms + self.later.below(2_000),
                            partition: msg.partition,
                            sent,
                            report: Some((msg, sequence)),
                        });
                    } else {
                        let log = &mut self.source[msg.partition as usize];
                        log.push(Some(sent));
                        let at = LogPosition::new(msg.partition, log.len() as i64 - 1);
                        self.seen.republished += 1;
                        outcome = Some(PublishOutcome::Durable(at));
                    }
                }
            }
            Publication::DeadLetter {
                headers, payload, ..
            } => {
                assert_eq!(payload, DeadLetterPayload::Whole);
                let message = self.message_at(msg);
                self.judge_dead_letter(msg, message, headers.attempt);
                if outcome.is_none() {
                    self.seen.dead += 1;
                    self.dead_letters.push((message, headers.attempt));
                    outcome = Some(if self.rng.chance(self.faults.ambiguous) {
                        PublishOutcome::Ambiguous("drawn".into())
                    } else {
                        PublishOutcome::Durable(LogPosition::new(0, 0))
                    });
                }
            }
            Publication::Verdict {
                verdict,
                newest,
                attempt,
                ..
            } => {
                let message = self.message_at(msg);
                if outcome.is_none() {
                    let settlement = verdict == Verdict::DeadLettered;
                    self.seen.decisions += u64::from(!settlement);
                    if settlement && !self.dead_letters.iter().any(|(m, _)| *m == message) {
                        self.breach(4, format!("settlement of {message} before its dead letter"));
                    }
                    let target = AckTarget::Position {
                        topic: T,
                        partition: msg.partition,
                        offset: newest,
                    };
                    let extra = Some(Box::new(AckExtra {
                        verdict,
                        attempt: Some(attempt),
                        ..AckExtra::default()
                    }));
                    let at = self.append_ack(target, extra, Some(message), verdict);
                    let acked = &mut self.acks[at.partition as usize][at.offset as usize];
                    if let Some(acked) = acked {
                        acked.attempt = Some(attempt);
                    }
                    outcome = Some(if self.rng.chance(self.faults.ambiguous) {
                        PublishOutcome::Ambiguous("drawn".into())
                    } else {
                        PublishOutcome::Durable(at)
                    });
                }
            }
        }
        if let Some(outcome) = outcome {
            self.answer(Event::Published {
                msg,
                sequence,
                outcome,
            });
        }
    }

    fn message_at(&self, msg: MsgRef) -> u64 {
        self.sent_at(msg).message
    }

    fn sent_at(&self, msg: MsgRef) -> &Sent {
        self.source[msg.partition as usize][msg.origin as usize]
            .as_ref()
            .expect("a message has a record")
    }

    fn checkpoint(&mut self) {
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
