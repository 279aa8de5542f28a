//! Drives a coordinator by hand, in fake time: one topic, one source partition (and others, if they are assigned), one
//! ACK partition.

use std::collections::BTreeMap;

use ackwarden::core::event::{Assignment, Fence, FetchOutcome, PublishOutcome};
use ackwarden::core::image::PartitionImage;
use ackwarden::core::policy::PolicyPatch;
use ackwarden::core::types::Lane;
use ackwarden::core::view::{Lookup, MessageDetail, OperatorAction, OperatorReply, State};
use ackwarden::core::{
    AckBatch, AckExtra, AckIx, AckRecord, AckTarget, CommitOrder, Coordinator, CoreLimits, Effect,
    Event, LogPosition, MsgRef, Now, Policy, Publication, Publish, SourceBatch, SourceExtra,
    SourceRecord, TopicIx, TopicSettings, Verdict,
};

use crate::workload::mark_of;

pub const T: TopicIx = TopicIx(0);

pub const LIMITS: CoreLimits = CoreLimits {
    max_outstanding: 1_000,
    early_weight_max: 200_000,
    settled_max: 100,
    settled_retention_ms: 3_600_000,
    commit_every_ms: 10,
    lease_ms: 20_000,
};

pub struct Driver {
    pub core: Coordinator,
    pub now_ms: u64,
    pub source_end: i64,
    /// Of partitions other than 0.
    pub other_ends: BTreeMap<i32, i64>,
    pub ack_end: i64,
    generation: u64,
    /// What is submitted and not reported yet.
    pub published: Vec<Publish>,
    /// Payloads are not found at once, but by [`Self::fetch_held`].
    pub holds_fetches: bool,
    held: Vec<MsgRef>,
    /// Commits are answered by [`Self::commits_succeed`] alone.
    pub holds_commits: bool,
    held_commits: Vec<CommitOrder>,
    /// What operators were answered at once.
    pub replies: Vec<OperatorReply>,
    pub committed: Option<(i64, Vec<(i32, i64)>)>,
    /// By how much the wall clock was set.
    pub wall_set_ms: i64,
    /// Of each record, bytes.
    pub len: u32,
    /// That it is to be read is not answered.
    pub holds_sources: bool,
    /// That ACKs are to be read from somewhere is not answered.
    pub holds_acks: bool,
    /// From where they were to be read last.
    pub acks_from: Vec<(i32, i64)>,
}

pub fn policy() -> Policy {
    Policy {
        timeout_ms: 1_000,
        backoff: 1.0,
        jitter: 0.0,
        max_attempts: 3,
        nack_delay_ms: 100,
        dead_letter: Some("dlq".into()),
        retry_rate: 0,
        ..Policy::default()
    }
}

impl Driver {
    pub fn start(policy: Policy) -> Self {
        let mut driver = Self::new(policy);
        driver.assign(0, 0);
        driver
    }

    pub fn new(policy: Policy) -> Self {
        let settings = TopicSettings {
            name: "orders".into(),
            ack: AckIx(0),
            ack_name: "orders-acks".into(),
            policy,
        };
        Self {
            core: Coordinator::new(vec![settings], LIMITS, 1),
            now_ms: 1,
            source_end: 0,
            other_ends: BTreeMap::new(),
            ack_end: 0,
            generation: 0,
            published: Vec::new(),
            holds_fetches: false,
            held: Vec::new(),
            holds_commits: false,
            held_commits: Vec::new(),
            replies: Vec::new(),
            committed: None,
            wall_set_ms: 0,
            len: 5,
            holds_sources: false,
            holds_acks: false,
            acks_from: Vec::new(),
        }
    }

    pub fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: 1_700_000_000_000 + self.now_ms as i64 + self.wall_set_ms,
        }
    }

    /// From (low, E = 0), with the source's log beginning at `log_start`.
    pub fn assign(&mut self, low: i64, log_start: i64) {
        self.assign_with(low, log_start, None);
    }

    /// With what a store kept of it.
    pub fn assign_with(&mut self, low: i64, log_start: i64, image: Option<PartitionImage>) {
        self.assigned(Assignment {
            low,
            log_start,
            image: image.map(Box::new),
            ..nothing_known(0)
        });
    }

    /// A partition besides 0, empty.
    pub fn assign_other(&mut self, partition: i32) {
        self.other_ends.insert(partition, 0);
        self.assigned(nothing_known(partition));
    }

    fn assigned(&mut self, assignment: Assignment) {
        self.handle(Event::Assigned(vec![assignment]));
        self.pass(500);
    }

    pub fn handle(&mut self, event: Event) {
        let now = self.now();
        let mut effects = Vec::new();
        self.core.handle_event(event, now, &mut effects);
        for effect in effects {
            match effect {
                Effect::ReadSource {
                    partition, from, ..
                } if from <= self.end(partition) && !self.holds_sources => {
                    let applied = vec![(T, partition, self.end(partition))];
                    self.handle(Event::SourceBatch(SourceBatch {
                        records: Vec::new(),
                        applied,
                    }));
                }
                Effect::ReadAcks {
                    from, generation, ..
                } => {
                    self.generation = generation;
                    self.acks_from = from;
                    if !self.holds_acks {
                        self.acks_read(Vec::new());
                    }
                }
                Effect::AskAckEnds { ack, round } => {
                    let answer = Ok(vec![(0, self.ack_end)]);
                    self.handle(Event::AckEnds { ack, round, answer });
                }
                Effect::AskFence { topic, round } => {
                    let others = self.other_ends.iter().map(|(n, end)| (*n, *end));
                    let answer = Ok(Fence {
                        ack_ends: vec![(0, self.ack_end)],
                        source_ends: [(0, self.source_end)].into_iter().chain(others).collect(),
                    });
                    self.handle(Event::Fence {
                        topic,
                        round,
                        answer,
                    });
                }
                Effect::FetchPayload { msg, .. } if self.holds_fetches => self.held.push(msg),
                Effect::FetchPayload { msg, .. } => self.is_fetched(msg),
                Effect::Reply { reply, .. } => self.replies.push(reply),
                Effect::Publish(publish) => self.published.push(publish),
                Effect::Commit(orders) if self.holds_commits => self.held_commits.extend(orders),
                Effect::Commit(orders) => {
                    for order in orders {
                        let partition = order.partition;
                        if partition == 0 {
                            self.committed = Some((order.low, order.acks));
                        }
                        self.handle(Event::Committed {
                            topic: T,
                            partition,
                            low: order.low,
                            sent_ms: self.now_ms,
                            outcome: Ok(()),
                        });
                    }
                }
                _ => {}
            }
        }
    }

    /// What was held is taken, and said to be.
    pub fn commits_succeed(&mut self) {
        self.holds_commits = false;
        assert!(!self.held_commits.is_empty(), "nothing is being committed");
        for order in std::mem::take(&mut self.held_commits) {
            self.handle(Event::Committed {
                topic: T,
                partition: order.partition,
                low: order.low,
                sent_ms: self.now_ms,
                outcome: Ok(()),
            });
        }
    }

    fn is_fetched(&mut self, msg: MsgRef) {
        self.handle(Event::Fetched {
            msg,
            outcome: FetchOutcome::Found { size_bytes: 1 },
        });
    }

    pub fn fetch_held(&mut self) {
        self.holds_fetches = false;
        assert!(!self.held.is_empty(), "nothing is being fetched");
        std::mem::take(&mut self.held)
            .into_iter()
            .for_each(|msg| self.is_fetched(msg));
    }

    /// Time passes, in steps.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            self.now_ms += 10;
            self.handle(Event::Tick);
        }
    }

    /// A record comes, and is read.
    pub fn message(&mut self, id: Option<&str>, digest: u64) -> i64 {
        self.record(digest, |extra| extra.id = id.map(Into::into))
    }

    pub fn record(&mut self, digest: u64, with: impl FnOnce(&mut SourceExtra)) -> i64 {
        let mut extra = SourceExtra::default();
        with(&mut extra);
        let offset = self.source_end;
        self.source_end += 1;
        self.read(0, offset, digest, extra);
        offset
    }

    /// A record comes to a partition other than 0, and is read.
    pub fn message_in(&mut self, partition: i32) {
        let end = self.other_ends.get_mut(&partition).expect("is assigned");
        let offset = *end;
        *end += 1;
        self.read(partition, offset, 7, SourceExtra::default());
    }

    fn end(&self, partition: i32) -> i64 {
        let other = self.other_ends.get(&partition);
        other.copied().unwrap_or(self.source_end)
    }

    fn read(&mut self, partition: i32, offset: i64, digest: u64, extra: SourceExtra) {
        self.handle(Event::SourceBatch(SourceBatch {
            records: vec![SourceRecord {
                topic: T,
                partition,
                offset,
                timestamp_ms: self.now_ms as i64,
                len: self.len,
                digest,
                extra: (extra != SourceExtra::default()).then(|| Box::new(extra)),
            }],
            applied: vec![(T, partition, offset + 1)],
        }));
    }

    pub fn say(&mut self, target: AckTarget, verdict: Verdict, attempt: Option<u32>) {
        let at = LogPosition::new(0, self.ack_end);
        self.ack_end += 1;
        let extra = (verdict != Verdict::Ack || attempt.is_some()).then(|| {
            Box::new(AckExtra {
                verdict,
                attempt,
                ..AckExtra::default()
            })
        });
        self.acks_read(vec![AckRecord { at, target, extra }]);
    }

    fn acks_read(&mut self, records: Vec<AckRecord>) {
        self.acks_applied(records, vec![(0, self.ack_end)]);
    }

    /// By the newest order to read them, those up to there are gone.
    pub fn acks_out_of_range(&mut self, log_start: i64) {
        self.handle(Event::AckOutOfRange {
            ack: AckIx(0),
            lane: Lane::Main,
            generation: self.generation,
            partition: 0,
            log_start,
        });
    }

    /// By the newest order to read them.
    pub fn acks_applied(&mut self, records: Vec<AckRecord>, applied: Vec<(i32, i64)>) {
        self.handle(Event::AckBatch(AckBatch {
            ack: AckIx(0),
            records,
            applied,
            generation: self.generation,
            lane: Lane::Main,
        }));
    }

    pub fn ack(&mut self, offset: i64) {
        self.say(at(offset), Verdict::Ack, None);
    }

    pub fn ack_id(&mut self, id: &str) {
        let target = AckTarget::Id {
            topic: T,
            id: id.into(),
        };
        self.say(target, Verdict::Ack, None);
    }

    /// The oldest copy submitted is durable; it is read back unless `unread`.
    pub fn copy_lands(&mut self) -> i64 {
        let publish = self.published.remove(0);
        let Publication::Copy(headers) = publish.what else {
            panic!("no copy: {publish:?}");
        };
        let offset = self.source_end;
        let digest = self.found(publish.msg.origin).message.size_bytes;
        assert_eq!(digest, 5);
        self.handle(Event::Published {
            msg: publish.msg,
            sequence: publish.sequence,
            outcome: PublishOutcome::Durable(LogPosition::new(0, offset)),
        });
        self.record(7, |extra| extra.copy = Some(mark_of(&headers)))
    }

    /// A record of that submission is in the log, and read.
    pub fn read_back(&mut self, publish: &Publish) -> i64 {
        let Publication::Copy(headers) = &publish.what else {
            panic!("no copy: {publish:?}");
        };
        self.record(7, |extra| extra.copy = Some(mark_of(headers)))
    }

    pub fn report(&mut self, outcome: PublishOutcome) -> Publication {
        let publish = self.published.remove(0);
        self.handle(Event::Published {
            msg: publish.msg,
            sequence: publish.sequence,
            outcome,
        });
        publish.what
    }

    /// Its overrides are these from now on.
    pub fn overrides(&mut self, overrides: PolicyPatch, apply_pending: bool) {
        self.handle(Event::PolicyChanged {
            topic: T,
            overrides,
            apply_pending,
        });
    }

    /// An operator wants it; gives the answer, if there is one before a record is durable.
    pub fn operator(&mut self, offset: i64, action: OperatorAction) -> Option<OperatorReply> {
        self.handle(Event::Operator {
            request: 1,
            topic: T,
            msg: LogPosition::new(0, offset),
            action,
            actor: "ops".into(),
            reason: None,
        });
        self.replies.pop()
    }

    pub fn lookup(&self, offset: i64) -> Lookup {
        let now = self.now();
        self.core.lookup(T, LogPosition::new(0, offset), now)
    }

    pub fn found(&self, offset: i64) -> MessageDetail {
        match self.lookup(offset) {
            Lookup::Found(detail) => *detail,
            other => panic!("{offset}: {other:?}"),
        }
    }

    /// The record there is a delivery of the message whose original is at `origin`.
    pub fn assert_is_of(&self, offset: i64, origin: i64) {
        assert_eq!(self.found(offset).message.position.offset, origin);
    }

    pub fn state(&self, offset: i64) -> State {
        self.found(offset).message.state
    }
}

/// A partition from its first record on, with nothing committed and nothing in the store.
pub fn nothing_known(partition: i32) -> Assignment {
    Assignment {
        topic: T,
        partition,
        low: 0,
        born: 0,
        log_start: 0,
        acks: Some(vec![(0, 0)]),
        ack_log_starts: vec![(0, 0)],
        appeared: false,
        former_owner_until_ms: 0,
        recreated: None,
        image: None,
    }
}

pub fn at(offset: i64) -> AckTarget {
    AckTarget::Position {
        topic: T,
        partition: 0,
        offset,
    }
}
