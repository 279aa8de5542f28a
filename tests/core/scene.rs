//! A topic with one partition and its ACK topic, as logs that outlive everybody; coordinators on them that die and come
//! back with nothing but what was committed. Publications and reading can be held back, so that a test decides in which
//! order things happen.

use std::collections::VecDeque;

use ackwarden::core::effect::Headers;
use ackwarden::core::event::{Assignment, Fence, FetchOutcome, PublishOutcome};
use ackwarden::core::image::PartitionImage;
use ackwarden::core::policy::PolicyPatch;
use ackwarden::core::types::{LOG_START, Lane};
use ackwarden::core::view::{FrozenWhy, Lookup, OperatorAction, State};
use ackwarden::core::{
    AckBatch, AckExtra, AckIx, AckRecord, AckTarget, Coordinator, CopyMark, CoreLimits, Effect,
    Event, LogPosition, Now, Policy, Publication, Publish, SourceBatch, SourceExtra, SourceRecord,
    TopicSettings, Verdict,
};

use crate::driver::{LIMITS, T, at};
use crate::kept::Kept;
use crate::workload::mark_of;

const A: AckIx = AckIx(0);
const PAYLOAD: u64 = 7;

/// `None`: a marker of a transaction.
#[derive(Clone)]
pub struct Logged {
    digest: u64,
    /// Which group's copy it is.
    pub copy: Option<(&'static str, Headers)>,
}

/// What all share.
#[derive(Default)]
pub struct Logs {
    pub source: Vec<Option<Logged>>,
    pub acks: Vec<Vec<Option<(&'static str, AckRecord)>>>,
    pub source_start: i64,
    pub ack_start: i64,
}

impl Logs {
    pub fn new() -> Self {
        Self {
            acks: vec![Vec::new()],
            ..Self::default()
        }
    }

    pub fn send(&mut self) -> i64 {
        self.send_with(PAYLOAD, None)
    }

    pub fn send_with(&mut self, digest: u64, copy: Option<(&'static str, Headers)>) -> i64 {
        self.source.push(Some(Logged { digest, copy }));
        self.source.len() as i64 - 1
    }

    pub fn ack(&mut self, offset: i64) {
        self.say(offset, Verdict::Ack);
    }

    pub fn say(&mut self, offset: i64, verdict: Verdict) {
        let extra = (verdict != Verdict::Ack).then(|| {
            Box::new(AckExtra {
                verdict,
                ..AckExtra::default()
            })
        });
        self.append_ack(0, "", at(offset), extra);
    }

    pub fn append_ack(
        &mut self,
        partition: usize,
        group: &'static str,
        target: AckTarget,
        extra: Option<Box<AckExtra>>,
    ) -> LogPosition {
        let log = &mut self.acks[partition];
        let at = LogPosition::new(partition as i32, log.len() as i64);
        log.push(Some((group, AckRecord { at, target, extra })));
        at
    }

    /// Of the first `known`.
    fn ack_ends(&self, known: usize) -> Vec<(i32, i64)> {
        let ends = self.acks.iter().enumerate().take(known);
        ends.map(|(n, log)| (n as i32, log.len() as i64)).collect()
    }
}

/// One group's coordinator.
pub struct Member {
    group: &'static str,
    policy: Policy,
    limits: CoreLimits,
    core: Coordinator,
    pub now_ms: u64,
    /// What survives it.
    pub committed: Option<(i64, Vec<(i32, i64)>)>,
    store: Kept,
    source_at: Option<i64>,
    paused: bool,
    acks_at: Vec<(i32, i64)>,
    generation: u64,
    pub reads_source: bool,
    /// Who answers its questions knows the source topic.
    pub broker_knows: bool,
    /// So many partitions of the ACK topic, where the fence is asked for, and where the barrier is.
    pub fence_knows: usize,
    pub barrier_knows: usize,
    pub published: VecDeque<Publish>,
    pub dead_letters: Vec<i64>,
    /// The most that was ever outstanding.
    pub outstanding_max: u64,
}

impl Member {
    /// Takes the partition over from its first record, as if it had been born there.
    pub fn start(logs: &Logs, group: &'static str, policy: Policy, max_outstanding: u64) -> Self {
        let limits = CoreLimits {
            max_outstanding,
            ..LIMITS
        };
        Self::start_within(logs, group, policy, limits)
    }

    pub fn start_within(
        logs: &Logs,
        group: &'static str,
        policy: Policy,
        limits: CoreLimits,
    ) -> Self {
        let mut member = Self {
            group,
            core: coordinator(&policy, limits),
            policy,
            limits,
            broker_knows: true,
            fence_knows: usize::MAX,
            barrier_knows: usize::MAX,
            now_ms: 1,
            committed: None,
            store: Kept::default(),
            source_at: None,
            paused: false,
            acks_at: Vec::new(),
            generation: 0,
            reads_source: true,
            published: VecDeque::new(),
            dead_letters: Vec::new(),
            outstanding_max: 0,
        };
        member.assign(logs, 0, Some(vec![(0, 0)]), false, None);
        member
    }

    /// The process is killed, its store is lost, and it comes back a moment later.
    pub fn crash(&mut self, logs: &Logs) {
        let (low, acks) = self.committed.clone().unwrap_or((0, vec![(0, 0)]));
        self.crash_to(logs, low, Some(acks));
    }

    /// What it knows is in its store.
    pub fn checkpoint(&mut self) {
        let now = self.now();
        self.store.checkpoint(&mut self.core, now);
    }

    /// The process is killed, and comes back a moment later with its store.
    pub fn crash_with_store(&mut self, logs: &Logs) {
        let (low, acks) = self.committed.clone().unwrap_or((0, vec![(0, 0)]));
        self.end_process();
        let image = Some(Box::new(self.store.0.clone()));
        self.assign(logs, low, Some(acks), false, image);
    }

    pub fn crash_to(&mut self, logs: &Logs, low: i64, acks: Option<Vec<(i32, i64)>>) {
        self.end_process();
        self.assign(logs, low, acks, false, None);
    }

    fn end_process(&mut self) {
        self.core = coordinator(&self.policy, self.limits);
        self.published.clear();
        self.source_at = None;
        self.acks_at.clear();
        self.paused = false;
        self.generation = 0;
        self.now_ms += 10;
    }

    /// The ACK reader is told that what it was to read next is gone, by the newest order to read, or one of before.
    pub fn acks_out_of_range(&mut self, logs: &Logs, orders_ago: u64) {
        let event = Event::AckOutOfRange {
            ack: A,
            lane: Lane::Main,
            generation: self.generation.saturating_sub(orders_ago),
            partition: 0,
            log_start: logs.ack_start,
        };
        self.handle(logs, event);
    }

    pub fn assign(
        &mut self,
        logs: &Logs,
        low: i64,
        acks: Option<Vec<(i32, i64)>>,
        appeared: bool,
        image: Option<Box<PartitionImage>>,
    ) {
        let assignment = Assignment {
            topic: T,
            partition: 0,
            low,
            born: 0,
            log_start: logs.source_start,
            acks,
            ack_log_starts: vec![(0, logs.ack_start)],
            appeared,
            former_owner_until_ms: 0,
            recreated: None,
            image,
        };
        self.handle(logs, Event::Assigned(vec![assignment]));
    }

    pub fn overrides(&mut self, logs: &Logs, overrides: PolicyPatch) {
        let event = Event::PolicyChanged {
            topic: T,
            overrides,
            apply_pending: false,
        };
        self.handle(logs, event);
    }

    /// By a broker that was asked which partitions the ACK topic has.
    pub fn acks_have_partitions(&mut self, logs: &Logs, known: i32) {
        let partitions = (0..known).collect();
        self.handle(logs, Event::AckPartitions { ack: A, partitions });
    }

    pub fn revoke(&mut self, logs: &Logs) {
        let partitions = vec![0];
        self.handle(
            logs,
            Event::Revoked {
                topic: T,
                partitions,
            },
        );
    }

    /// Time passes; everything is read and answered as it goes.
    pub fn pass(&mut self, logs: &Logs, ms: u64) {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            self.now_ms += 10;
            self.read(logs);
            self.handle(logs, Event::Tick);
            self.outstanding_max = self.outstanding_max.max(self.core.outstanding());
        }
    }

    fn read(&mut self, logs: &Logs) {
        if let Some(from) = self.source_at
            && self.reads_source
            && !self.paused
        {
            let to = (from + 2).min(logs.source.len() as i64).max(from);
            let records = (from..to)
                .filter_map(|offset| Some((offset, logs.source[offset as usize].as_ref()?)))
                .map(|(offset, logged)| self.record(offset, logged))
                .collect();
            self.source_at = Some(to);
            let applied = vec![(T, 0, to)];
            self.handle(logs, Event::SourceBatch(SourceBatch { records, applied }));
        }
        let position = self.acks_at.iter().find(|(n, _)| *n == 0);
        if position.is_some_and(|(_, at)| *at < logs.ack_start) {
            self.acks_out_of_range(logs, 0);
        }
        let mut batch = AckBatch {
            ack: A,
            records: Vec::new(),
            applied: Vec::new(),
            generation: self.generation,
            lane: Lane::Main,
        };
        for (n, position) in &mut self.acks_at {
            let log = &logs.acks[*n as usize];
            let new = log[(*position as usize).min(log.len())..].iter().flatten();
            for (group, record) in new {
                let mut record = record.clone();
                if let Some(extra) = &mut record.extra {
                    extra.other_group = !group.is_empty() && *group != self.group;
                }
                batch.records.push(record);
            }
            *position = log.len() as i64;
            batch.applied.push((*n, *position));
        }
        self.handle(logs, Event::AckBatch(batch));
    }

    fn record(&self, offset: i64, logged: &Logged) -> SourceRecord {
        let extra = logged.copy.as_ref().map(|(group, headers)| {
            Box::new(SourceExtra {
                copy: Some(CopyMark {
                    by_us: *group == self.group,
                    ..mark_of(headers)
                }),
                ..SourceExtra::default()
            })
        });
        SourceRecord {
            topic: T,
            partition: 0,
            offset,
            timestamp_ms: -1,
            len: 5,
            digest: logged.digest,
            extra,
        }
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: 1_700_000_000_000 + self.now_ms as i64,
        }
    }

    pub fn handle(&mut self, logs: &Logs, event: Event) {
        let mut effects = Vec::new();
        self.core.handle_event(event, self.now(), &mut effects);
        for effect in effects {
            match effect {
                Effect::ReadSource {
                    partition: 0, from, ..
                } => {
                    self.source_at = Some(from.max(logs.source_start));
                    self.paused = false;
                }
                Effect::StopSource { partition: 0, .. } => self.source_at = None,
                Effect::PauseSource { .. } => self.paused = true,
                Effect::ResumeSource { .. } => self.paused = false,
                Effect::ReadAcks {
                    from, generation, ..
                } => {
                    self.generation = generation;
                    for (n, offset) in from {
                        let first = if n == 0 { logs.ack_start } else { 0 };
                        let offset = if offset == LOG_START { first } else { offset };
                        self.acks_at.retain(|(m, _)| *m != n);
                        self.acks_at.push((n, offset));
                    }
                }
                Effect::AskAckEnds { ack, round } => {
                    let answer = Ok(logs.ack_ends(self.barrier_knows));
                    self.handle(logs, Event::AckEnds { ack, round, answer });
                }
                Effect::AskFence { topic, round } => {
                    let answer = Ok(Fence {
                        ack_ends: logs.ack_ends(self.fence_knows),
                        source_ends: if self.broker_knows {
                            vec![(0, logs.source.len() as i64)]
                        } else {
                            Vec::new()
                        },
                    });
                    let event = Event::Fence {
                        topic,
                        round,
                        answer,
                    };
                    self.handle(logs, event);
                }
                Effect::FetchPayload { msg, .. } => {
                    let outcome = FetchOutcome::Found { size_bytes: 1 };
                    self.handle(logs, Event::Fetched { msg, outcome });
                }
                Effect::Publish(publish) => self.published.push_back(publish),
                Effect::Commit(orders) => {
                    for order in orders {
                        self.committed = Some((order.low, order.acks));
                        let event = Event::Committed {
                            topic: T,
                            partition: 0,
                            low: order.low,
                            sent_ms: self.now_ms,
                            outcome: Ok(()),
                        };
                        self.handle(logs, event);
                    }
                }
                _ => {}
            }
        }
    }

    /// The oldest publication lands on its log: gives the offset of a copy. It is not reported yet.
    pub fn lands(&mut self, logs: &mut Logs) -> (Publish, LogPosition) {
        let publish = self.published.pop_front().expect("something is published");
        let at = match &publish.what {
            Publication::Copy(headers) => {
                let copy = Some((self.group, headers.clone()));
                LogPosition::new(0, logs.send_with(PAYLOAD, copy))
            }
            Publication::DeadLetter { .. } => {
                self.dead_letters.push(publish.msg.origin);
                LogPosition::new(0, self.dead_letters.len() as i64 - 1)
            }
            Publication::Verdict {
                verdict,
                newest,
                attempt,
                ..
            } => {
                let extra = AckExtra {
                    verdict: *verdict,
                    attempt: Some(*attempt),
                    ..AckExtra::default()
                };
                logs.append_ack(0, self.group, at(*newest), Some(Box::new(extra)))
            }
        };
        (publish, at)
    }

    pub fn is_reported(&mut self, logs: &Logs, (publish, at): (Publish, LogPosition)) {
        let event = Event::Published {
            msg: publish.msg,
            sequence: publish.sequence,
            outcome: PublishOutcome::Durable(at),
        };
        self.handle(logs, event);
    }

    /// Lands and is reported: gives its offset.
    pub fn publishes(&mut self, logs: &mut Logs) -> i64 {
        let landed = self.lands(logs);
        let offset = landed.1.offset;
        self.is_reported(logs, landed);
        offset
    }

    pub fn operator(&mut self, logs: &Logs, offset: i64, action: OperatorAction) {
        let event = Event::Operator {
            request: 1,
            topic: T,
            msg: LogPosition::new(0, offset),
            action,
            actor: "ops".into(),
            reason: None,
        };
        self.handle(logs, event);
    }

    /// `None`: settled and forgotten, or never ours.
    pub fn state(&self, offset: i64) -> Option<State> {
        match self.core.lookup(T, LogPosition::new(0, offset), self.now()) {
            Lookup::Found(found) => Some(found.message.state),
            _ => None,
        }
    }

    pub fn attempt(&self, offset: i64) -> u32 {
        match self.core.lookup(T, LogPosition::new(0, offset), self.now()) {
            Lookup::Found(found) => found.message.attempt,
            other => panic!("{offset}: {other:?}"),
        }
    }

    pub fn outstanding(&self) -> u64 {
        self.core.outstanding()
    }

    pub fn frozen(&self) -> Vec<FrozenWhy> {
        let frozen = self.core.frozen_topics(self.now());
        frozen.into_iter().map(|(_, f)| f.why).collect()
    }

    pub fn low(&self) -> i64 {
        self.committed.as_ref().map_or(0, |(low, _)| *low)
    }
}

fn coordinator(policy: &Policy, limits: CoreLimits) -> Coordinator {
    let settings = TopicSettings {
        name: "orders".into(),
        ack: A,
        ack_name: "orders-acks".into(),
        policy: policy.clone(),
    };
    Coordinator::new(vec![settings], limits, 1)
}
