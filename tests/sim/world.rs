//! The world of one run: its logs, its clock, and a coordinator that dies and comes back. Everything is drawn from one
//! seed; nothing in here trusts the core. Who speaks in it is in `actors`, what becomes of what is sent in `broker`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use ackwarden::core::effect::Headers;
use ackwarden::core::image::{PartitionChange, PartitionImage};
use ackwarden::core::types::LOG_START;
use ackwarden::core::view::Lookup;
use ackwarden::core::{
    AckIx, AckRecord, AckTarget, Assignment, Coordinator, CoreLimits, Event, LogPosition, MsgRef,
    Now, OnLostRange, Policy, PolicyPatch, TopicIx, TopicSettings, Verdict,
};

use crate::coverage::Coverage;
use crate::faults::{AnswerFaults, Faults, GrowthFaults};
use crate::group::{Group, LEASE_MS, PUBLISH_MS};
use crate::growth::{Growth, Of};
use crate::instance::Instance;
use crate::logs::{LogState, Losses};
use crate::rng::Rng;
use crate::truth::Truth;

/// That there are in the beginning.
pub const PARTITIONS: i32 = 2;
pub const ACK_PARTITIONS: i32 = 2;
pub const T: TopicIx = TopicIx(0);
pub const A: AckIx = AckIx(0);
pub const OUTSTANDING_MAX: u64 = 60;
/// As the service has it: more than is ever sent here.
pub const EARLY_MAX: usize = 200_000;

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
    /// It was reported ambiguous.
    pub unclear: bool,
    /// The id that it has: its message's, or that of the message before.
    pub id: u64,
    /// Of the payload: a copy has the original's.
    pub digest: u64,
    /// Somebody else gave it the headers of one of our copies.
    pub forged: bool,
    /// Compacted away.
    pub gone: bool,
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

#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub crashes: u64,
    pub republished: u64,
    pub dead: u64,
    pub ambiguous: u64,
    pub events: u64,
    /// Groups of events that were handed over at once.
    pub together: u64,
    pub forged: u64,
    pub decisions: u64,
    pub stale_batches: u64,
    pub rebalances: u64,
    pub freezes: u64,
    pub purged: u64,
    pub written_twice: u64,
    /// Times that early ACKs which had no room were read again.
    pub overflows: u64,
    /// Dead letters, settlements and decisions of which the report was unclear.
    pub lost: u64,
    pub late: u64,
    pub commits_failed: u64,
    /// Messages that were sent and acknowledged while a fence was asked for.
    pub between: u64,
    /// Answers of brokers that know less than there is.
    pub partial: u64,
    pub died_between: u64,
    /// Partitions that were added.
    pub sources_grown: u64,
    pub acks_grown: u64,
    /// Times that one without a commit became somebody's.
    pub appeared: u64,
    pub transactions: u64,
    pub retention: u64,
    pub deletions: u64,
    pub compacted: u64,
    pub unanswered: u64,
    pub damaged_stores: u64,
    pub clock_steps: u64,
    pub changes: u64,
    pub replays_compared: u64,
    /// What the coordinators wanted, answered and counted.
    pub coverage: Coverage,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.republished += other.republished;
        self.dead += other.dead;
        self.ambiguous += other.ambiguous;
        self.events += other.events;
        self.together += other.together;
        self.forged += other.forged;
        self.decisions += other.decisions;
        self.stale_batches += other.stale_batches;
        self.rebalances += other.rebalances;
        self.freezes += other.freezes;
        self.purged += other.purged;
        self.written_twice += other.written_twice;
        self.overflows += other.overflows;
        self.lost += other.lost;
        self.late += other.late;
        self.commits_failed += other.commits_failed;
        self.partial += other.partial;
        self.between += other.between;
        self.died_between += other.died_between;
        self.sources_grown += other.sources_grown;
        self.acks_grown += other.acks_grown;
        self.appeared += other.appeared;
        self.transactions += other.transactions;
        self.retention += other.retention;
        self.deletions += other.deletions;
        self.compacted += other.compacted;
        self.unanswered += other.unanswered;
        self.damaged_stores += other.damaged_stores;
        self.clock_steps += other.clock_steps;
        self.changes += other.changes;
        self.replays_compared += other.replays_compared;
        self.coverage += other.coverage;
    }
}

/// A record that the broker appends later.
pub struct Limbo {
    pub at_ms: u64,
    pub partition: i32,
    pub sent: Sent,
    /// Whom to tell then, and under which number; nobody, if it was reported as ambiguous.
    pub report: Option<(MsgRef, u64)>,
    /// The same was sent before, without an answer.
    pub sent_before: bool,
}

/// A settlement or decision that the broker appends later.
pub struct SaidLater {
    pub at_ms: u64,
    pub message: u64,
    pub target: AckTarget,
    pub verdict: Verdict,
    pub attempt: u32,
}

pub struct World {
    pub rng: Rng,
    /// For the faults that came later.
    pub later: Rng,
    /// For those that came last.
    pub latest: Rng,
    /// For those of Kafka's client.
    pub client: Rng,
    /// For the operator who takes the dead-letter topic away.
    pub fifth: Rng,
    pub sixth: Rng,
    /// For what the broker says of what is no copy.
    pub seventh: Rng,
    /// For what comes between two questions.
    pub eighth: Rng,
    pub growth: Growth,
    /// What early ACKs may cost.
    pub early_max: usize,
    pub faults: Faults,
    /// As they were before they stopped.
    pub faults_drawn: Faults,
    pub now_ms: u64,
    pub source: Vec<Vec<Option<Sent>>>,
    pub acks: Vec<Vec<Option<Acked>>>,
    pub source_logs: Vec<LogState>,
    pub ack_logs: Vec<LogState>,
    pub losses: Losses,
    pub truth: Truth,
    pub dead_letters: Vec<(u64, u32)>,
    pub limbo: Vec<Limbo>,
    /// Settlements and decisions that land later.
    pub said_later: Vec<SaidLater>,
    pub b_position: Vec<usize>,
    /// B's ACKs that are yet to be sent: (when, partition, offset).
    pub b_pending: Vec<(u64, i32, i64)>,
    /// The instance whose turn it is.
    pub me: Box<Instance>,
    pub group: Group,
    pub committed: BTreeMap<i32, (i64, Vec<(i32, i64)>)>,
    pub wall_skew_ms: i64,
    /// What operators changed, as the state topic has it.
    pub overrides: PolicyPatch,
    pub paused: bool,
    /// There was no dead-letter topic for a while.
    pub dead_letters_taken: bool,
    /// The shortest that was ever in force.
    pub least_timeout_ms: u64,
    /// The most that were ever allowed.
    pub most_attempts: u32,
    pub limits_changed: bool,
    /// That coordinators reported.
    pub lost_ranges: u64,
    /// (message, attempt) that were submitted.
    pub submitted: BTreeSet<(u64, u32)>,
    /// Messages of which a dead letter was submitted.
    pub dead_letters_begun: BTreeSet<u64>,
    pub requests: u64,
    /// Messages that operators decided about, by request.
    pub asked_for: BTreeMap<u64, u64>,
    pub policy: Policy,
    pub to_send: u64,
    /// What came to an engine meanwhile is told to the core at once.
    together: bool,
    /// The faults go on for up to so long.
    faulty_ms: u64,
    /// And then they have stopped.
    calm: bool,
    pub sent: u64,
    pub seen: Seen,
    /// Lives of instances so far.
    pub lives: u64,
    pub violations: Vec<String>,
}

impl World {
    /// With all faults that there are.
    pub fn new(seed: u64) -> Self {
        let mut world = Self::seventh(seed);
        let mut ninth = Rng::new(seed ^ 0x9b05_688c_2b3e_6c1f);
        if ninth.chance(700) {
            return world;
        }
        let growth = GrowthFaults::draw(&mut ninth);
        if growth.slow {
            world.faulty_ms = 150_000;
            world.to_send = world.to_send.min(40);
        }
        world.faults.growth = growth.clone();
        world.faults_drawn.growth = growth;
        world.growth = Growth::new(ninth);
        world
    }

    /// With the faults that there were seventh.
    pub fn seventh(seed: u64) -> Self {
        let mut world = Self::sixth(seed);
        let mut eighth = Rng::new(seed ^ 0x5be0_cd19_137e_2179);
        let rate = eighth.rate(500, 200);
        world.faults.answers.between = rate;
        world.faults_drawn.answers.between = rate;
        world.eighth = eighth;
        world
    }

    /// With the faults that there were sixth.
    pub fn sixth(seed: u64) -> Self {
        let mut world = Self::fifth(seed);
        let mut seventh = Rng::new(seed ^ 0x1f83_d9ab_fb41_bd6b);
        let mut answers = if seventh.chance(400) {
            AnswerFaults::default()
        } else {
            AnswerFaults::draw(&mut seventh)
        };
        if world.faults.more.forged > 0 {
            // No crashes and no unclear copies then (see `Faults::draw_second`): a commit that fails has the queue purged.
            answers.dies_between = 0;
            answers.commits_fail = 0;
            answers.commits_late = 0;
        }
        world.faults.answers = answers.clone();
        world.faults_drawn.answers = answers;
        if seventh.chance(300) {
            world.early_max = 1 + seventh.below(10) as usize;
        }
        world.seventh = seventh;
        world
    }

    /// With the faults that there were fifth.
    pub fn fifth(seed: u64) -> Self {
        let mut world = Self::fourth(seed);
        let mut sixth = Rng::new(seed ^ 0x510e_527f_ade6_82d1);
        let rate = sixth.rate(700, 30);
        world.faults.host.limit_changes = rate;
        world.faults_drawn.host.limit_changes = rate;
        world.sixth = sixth;
        world
    }

    /// With the faults that there were fourth.
    pub fn fourth(seed: u64) -> Self {
        let mut world = Self::third(seed);
        let mut fifth = Rng::new(seed ^ 0xa54f_f53a_5f1d_36f1);
        world.together = fifth.chance(500);
        let rate = fifth.rate(700, 30);
        world.faults.host.dead_letter_changes = rate;
        world.faults_drawn.host.dead_letter_changes = rate;
        world.fifth = fifth;
        world
    }

    /// With the faults that there were third.
    pub fn third(seed: u64) -> Self {
        let (mut rng, mut later) = (Rng::new(seed), Rng::new(!seed));
        let mut latest = Rng::new(seed ^ 0xbb67_ae85_84ca_a73b);
        let mut client = Rng::new(seed ^ 0x3c6e_f372_fe94_f82b);
        let faults = Faults::draw(&mut rng, &mut later, &mut latest, &mut client);
        let mut world = Self::with(seed, rng, later, latest, faults);
        world.client = client;
        world
    }

    /// With the faults that there were second.
    pub fn second(seed: u64) -> Self {
        let (mut rng, mut later) = (Rng::new(seed), Rng::new(!seed));
        let faults = Faults::draw_second(&mut rng, &mut later);
        Self::with(seed, rng, later, Rng::new(seed), faults)
    }

    /// With the faults that there were first.
    pub fn first(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::draw_first(&mut rng);
        Self::with(seed, rng, Rng::new(!seed), Rng::new(seed), faults)
    }

    fn with(seed: u64, mut rng: Rng, later: Rng, latest: Rng, mut faults: Faults) -> Self {
        let policy = Policy {
            timeout_ms: 500 + rng.below(1_000),
            backoff: 1.5,
            timeout_max_ms: 4_000,
            jitter: 0.1,
            max_attempts: 1 + rng.below(5) as u32,
            nack_delay_ms: 100,
            delay_max_ms: 10_000,
            dead_letter: Some("dlq".into()),
            retry_rate: match faults.host.retry_rate {
                0 => 0,
                n => n + 5,
            },
            on_lost_range: if faults.kafka.go_on {
                OnLostRange::ReportAndContinue
            } else {
                OnLostRange::Stop
            },
            ..Policy::default()
        };
        let group = Group::draw(seed, &policy);
        if !group.is_one() {
            // A copy of another life, and a record that pretends to be it, cannot be told apart (see `Faults::draw`).
            faults.more.forged = 0;
        }
        if group.sleepy {
            faults.host.short = false;
            faults.store_lost = 0;
        }
        let mut to_send = 20 + rng.below(150);
        let mut faulty_ms = 20_000;
        if faults.host.short {
            // What takes few events is found the sooner, the shorter the runs are.
            to_send = 5 + to_send / 6;
            faulty_ms = 3_000;
        }
        if faults.more.sparse {
            to_send = 2 + to_send / 10;
        }
        if group.sleepy {
            // Long enough for one to be replaced, and to come back.
            faulty_ms = 60_000;
        }
        Self {
            me: Box::new(Instance::new(0, coordinator(&policy, EARLY_MAX, seed))),
            group,
            rng,
            later,
            latest,
            client: Rng::new(seed),
            fifth: Rng::new(seed),
            sixth: Rng::new(seed),
            seventh: Rng::new(seed),
            eighth: Rng::new(seed),
            growth: Growth::new(Rng::new(seed)),
            early_max: EARLY_MAX,
            faults_drawn: faults.clone(),
            faults,
            now_ms: 1,
            source: vec![Vec::new(); PARTITIONS as usize],
            acks: vec![Vec::new(); ACK_PARTITIONS as usize],
            source_logs: (0..PARTITIONS).map(|_| LogState::default()).collect(),
            ack_logs: (0..ACK_PARTITIONS).map(|_| LogState::default()).collect(),
            losses: Losses::default(),
            truth: Truth::default(),
            dead_letters: Vec::new(),
            limbo: Vec::new(),
            said_later: Vec::new(),
            b_position: vec![0; PARTITIONS as usize],
            b_pending: Vec::new(),
            committed: (0..PARTITIONS)
                .map(|p| (p, (0, (0..ACK_PARTITIONS).map(|a| (a, 0)).collect())))
                .collect(),
            wall_skew_ms: 0,
            overrides: PolicyPatch::default(),
            paused: false,
            dead_letters_taken: false,
            least_timeout_ms: policy.timeout_ms,
            most_attempts: policy.max_attempts,
            limits_changed: false,
            lost_ranges: 0,
            submitted: BTreeSet::new(),
            dead_letters_begun: BTreeSet::new(),
            requests: 0,
            asked_for: BTreeMap::new(),
            policy,
            to_send,
            together: false,
            faulty_ms,
            calm: false,
            sent: 0,
            seen: Seen::default(),
            lives: 0,
            violations: Vec::new(),
        }
    }

    /// Runs until A has sent all and time is up, then stops the faults and lets everything drain.
    pub fn run(&mut self) {
        self.each_instance(World::start);
        let faulty_until = self.faulty_ms / 5 + self.rng.below(self.faulty_ms);
        while self.now_ms < faulty_until || self.sent < self.to_send {
            self.step();
        }
        self.faults.stop();
        self.calm = true;
        self.growth_is_heard_of();
        self.group.stop_faults();
        self.operators_tidy_up();
        let drained_by = self.now_ms + 120_000;
        while self.now_ms < drained_by && !self.is_drained() {
            self.step();
        }
        self.each_instance(World::harvest);
        self.judge_end();
    }

    pub fn now(&self) -> Now {
        Now {
            mono_ms: self.me.clock_ms(self.now_ms),
            wall_ms: 1_700_000_000_000 + self.now_ms as i64 + self.wall_skew_ms,
        }
    }

    fn step(&mut self) {
        let stride = match (self.calm, self.faults_drawn.host.short) {
            (true, true) => 120,
            (false, _) if self.faults_drawn.growth.slow => 400,
            _ if self.group.sleepy => 80,
            _ => 40,
        };
        self.now_ms += 1 + self.rng.below(stride);
        let often = match self.faults_drawn.more.sparse {
            true => 20,
            false if self.group.sleepy || self.faults_drawn.growth.slow => 60,
            false => 500,
        };
        if self.sent < self.to_send && self.rng.chance(often) {
            self.a_sends();
        }
        if self.rng.chance(self.faults.markers) {
            let p = self.rng.below(self.source.len() as u64) as usize;
            self.source[p].push(None);
            let a = self.rng.below(self.acks.len() as u64) as usize;
            self.acks[a].push(None);
        }
        self.topics_grow();
        self.logs_change();
        self.limbo_lands();
        if self.later.chance(self.faults.more.forged) {
            self.somebody_forges();
        }
        if self.later.chance(self.faults.more.garbage) {
            self.somebody_acks_nothing();
        }
        self.strangers_write();
        self.b_works();
        self.operators_change();
        if self.latest.chance(self.faults.host.clock_steps) {
            self.seen.clock_steps += 1;
            self.wall_skew_ms = self.latest.below(7_200_000) as i64 - 3_600_000;
        }
        if !self.group.is_one() {
            self.group_works();
        }
        self.each_instance(World::instance_steps);
    }

    fn instance_steps(&mut self) {
        if self.now_ms < self.me.frozen_until {
            return;
        }
        if self.me.dying {
            self.crash();
            return;
        }
        if !self.me.up {
            if self.now_ms >= self.me.restart_at {
                self.start();
            }
            return;
        }
        if self.rng.chance(self.faults.coordinator_crashes) {
            self.crash();
            return;
        }
        if self.group.is_one() {
            self.rebalance();
            self.new_partitions_are_given(false);
        }
        self.looks_at_partitions();
        self.readers_read();
        self.deliver_inbox();
        if self.me.core.is_ready() && self.me.away.is_empty() && !self.me.was_ready {
            self.me.was_ready = true;
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
        self.me.up = true;
        self.lives += 1;
        self.me.incarnation = self.lives;
        self.me.attempts_now = self.policy.max_attempts;
        self.me.core = coordinator(&self.policy, self.early_max, self.me.incarnation);
        self.me.started_ms = self.now_ms;
        let drift = self.faults.host.drift;
        self.me.drift = self.latest.below(drift * 2 + 1) as i64 - drift as i64;
        if self.me.incarnation > 1 && self.later.chance(self.faults.more.clock_jumps) {
            self.wall_skew_ms = self.later.below(7_200_000) as i64 - 3_600_000;
        }
        if self.later.chance(self.faults.more.store_old) {
            self.me.store.clone_from(&self.me.store_before);
        }
        let keep = !self.rng.chance(self.faults.store_lost);
        if !keep {
            self.me.store.clear();
            self.me.store_number = self.group.next_store();
        }
        self.store_is_damaged();
        self.me.was_ready = false;
        self.me.away.clear();
        self.new_partitions_are_given(true);
        let number = self.me.number;
        let mine = |p: &i32| match self.group.is_one() {
            true => !self.growth.is_to_come(*p),
            false => self.group.owner.get(p) == Some(&number),
        };
        let mine: Vec<i32> = (0..self.source.len() as i32).filter(mine).collect();
        self.judge_replay(&mine);
        for event in self.changes_in_force() {
            self.handle(event);
        }
        self.assign(&mine);
    }

    pub fn assign(&mut self, partitions: &[i32]) {
        let mut assignments = Vec::new();
        for p in partitions.iter().copied() {
            let committed = self.committed.get(&p).cloned();
            self.seen.appeared += u64::from(committed.is_none());
            self.me.assigned_ms.insert(p, self.now_ms);
            let by = self.group.committed_by.get(&p);
            let another = by.is_some_and(|by| *by != self.me.store_number);
            let former_until = if another && !self.group.is_one() {
                self.now_ms + LEASE_MS + PUBLISH_MS
            } else {
                0
            };
            self.me.former_until.insert(p, former_until);
            let image = self.me.store.get(&p).cloned();
            let mut assignment = Assignment {
                former_owner_until_ms: self.me.clock_ms(former_until),
                ..self.assignment(p, committed, image)
            };
            let told = self.partitions_told(Of::Acks);
            assignment.ack_log_starts.truncate(told);
            assignments.push(assignment);
        }
        self.handle(Event::Assigned(assignments));
    }

    /// As Kafka has it now. What has no commit appeared later than the birth: it is followed from its first record, and what
    /// a store has of it does not count.
    pub fn assignment(
        &self,
        partition: i32,
        committed: Option<(i64, Vec<(i32, i64)>)>,
        image: Option<PartitionImage>,
    ) -> Assignment {
        let appeared = committed.is_none();
        let (low, acks) = committed.map_or((LOG_START, None), |(low, acks)| (low, Some(acks)));
        let ack_starts = self.ack_logs.iter().enumerate();
        Assignment {
            topic: T,
            partition,
            low,
            born: 0,
            log_start: self.source_logs[partition as usize].start as i64,
            acks,
            ack_log_starts: ack_starts
                .map(|(a, log)| (a as i32, log.start as i64))
                .collect(),
            appeared,
            former_owner_until_ms: 0,
            recreated: None,
            image: image.filter(|_| !appeared).map(Box::new),
        }
    }

    /// Partitions go and come back.
    fn rebalance(&mut self) {
        let now = self.now_ms;
        let back: Vec<i32> = self
            .me
            .away
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(p, _)| *p)
            .collect();
        if !back.is_empty() {
            self.me.away.retain(|p, _| !back.contains(p));
            self.assign(&back);
        }
        if self.later.chance(self.faults.more.rebalances) {
            let p = self.later.below(self.source.len() as u64) as i32;
            let until = now + self.later.below(2_000);
            if !self.growth.is_to_come(p) && self.me.away.insert(p, until).is_none() {
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
        self.harvest();
        self.me.up = false;
        self.me.restart_at = self.now_ms + self.rng.below(3_000);
        self.me.forget();
    }

    fn deliver_inbox(&mut self) {
        let now = self.now_ms;
        let due = self.me.inbox.extract_if(.., |(at, _)| *at <= now);
        let due: Vec<Event> = due.map(|(_, event)| event).collect();
        if self.together && !due.is_empty() {
            self.handle_all(due);
        } else {
            due.into_iter().for_each(|event| self.handle(event));
        }
    }

    pub fn handle(&mut self, event: Event) {
        self.handle_all(vec![event]);
    }

    fn handle_all(&mut self, events: Vec<Event>) {
        self.seen.events += events.len() as u64;
        self.seen.together += u64::from(events.len() > 1);
        if tracing() {
            let told = events.iter().filter(|e| !matches!(e, Event::Tick));
            told.for_each(|event| println!("{} i{} <- {event:?}", self.now_ms, self.me.number));
        }
        if self.me.dying {
            return;
        }
        self.limits_are_told(&events);
        if self.faults_drawn.growth.any() {
            events.iter().for_each(|e| self.hears_of_ack_partitions(e));
        }
        let mut effects = Vec::new();
        let now = self.now();
        self.me.core.handle_events(events, now, &mut effects);
        for effect in effects {
            if self.seventh.chance(self.faults.answers.dies_between) {
                self.me.dying = true;
                self.seen.died_between += 1;
                return;
            }
            self.seen.coverage.count(&effect);
            self.carry_out(effect);
        }
        self.judge_room();
    }

    /// What it decides of now on, it decides by one of these.
    fn limits_are_told(&mut self, events: &[Event]) {
        let told = events.iter().filter_map(|event| match event {
            Event::PolicyChanged { overrides, .. } => {
                Some(overrides.max_attempts.unwrap_or(self.policy.max_attempts))
            }
            _ => None,
        });
        let told: Vec<u32> = std::iter::once(self.me.attempts_now).chain(told).collect();
        self.me.attempts_told = told.iter().fold((u32::MAX, 0), |(least, most), n| {
            (least.min(*n), most.max(*n))
        });
        self.me.attempts_now = told[told.len() - 1];
    }

    /// What a coordinator has counted, before it is gone.
    fn harvest(&mut self) {
        for topic in self.me.core.topic_views(self.now()) {
            self.lost_ranges += topic.counters.lost_ranges;
            self.seen.coverage.add(&topic.counters);
        }
    }

    pub fn checkpoint(&mut self) {
        if !self.me.core.is_ready() || self.me.dying {
            return;
        }
        let now = self.now();
        self.me.store_before.clone_from(&self.me.store);
        for (_, partition, change) in self.me.core.take_checkpoint(now) {
            let image = self.me.store.entry(partition).or_default();
            apply_change(image, change);
        }
    }

    fn is_drained(&self) -> bool {
        let drained = |i: &Instance| {
            i.up && i.core.is_ready() && i.away.is_empty() && i.core.outstanding() == 0
        };
        self.instances().all(drained)
            && self.limbo.is_empty()
            && self.said_later.is_empty()
            && (0..self.source.len() as i32)
                .all(|p| self.low_of(p) == self.source[p as usize].len() as i64)
    }

    /// The low-water mark, as it is committed.
    pub fn low_of(&self, partition: i32) -> i64 {
        self.committed.get(&partition).map_or(0, |(low, _)| *low)
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
            .me
            .core
            .lookup(T, LogPosition::new(partition, offset), self.now())
        {
            Lookup::Found(found) => !found.message.state.is_settled(),
            _ => false,
        }
    }

    pub fn outstanding(&self) -> u64 {
        self.instances().map(|i| i.core.outstanding()).sum()
    }
}

/// `SIM_TRACE=1`: every event and effect is printed.
pub fn tracing() -> bool {
    static TRACING: OnceLock<bool> = OnceLock::new();
    *TRACING.get_or_init(|| std::env::var_os("SIM_TRACE").is_some())
}

pub fn coordinator(policy: &Policy, early_weight_max: usize, seed: u64) -> Coordinator {
    Coordinator::new(
        vec![TopicSettings {
            name: "orders".into(),
            ack: A,
            ack_name: "orders-acks".into(),
            policy: policy.clone(),
        }],
        CoreLimits {
            max_outstanding: OUTSTANDING_MAX,
            early_weight_max,
            settled_max: 100,
            settled_retention_ms: 3_600_000,
            commit_every_ms: 200,
            lease_ms: LEASE_MS,
        },
        seed,
    )
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
