//! The state machine: every event comes in here, effects go out.
//!
//! Order after an assignment: the source is read to an end that was learnt after it, then the ACKs are read from E to
//! theirs; only then does anything fire, be committed, or be shown. What is shared by several topics (an ACK topic, its
//! barrier, the limit on what is outstanding) is kept here; the rest is the topics' own.

use super::ack_topic::AckTopic;
use super::ahead::TOGETHER;
use super::effect::Effect;
use super::event::{AckBatch, Event, SourceBatch};
use super::guards::Guard;
use super::low_water::raise;
use super::overflow::ReadAgain;
use super::partition::{Partition, Stage};
use super::policy::OnLostRange;
use super::rebuild::REBUILD_ROUNDS;
use super::record::{AckRecord, AckTarget};
use super::stages::{AckStage, AckState};
use super::topic::{Cx, Topic, TopicSettings};
use super::types::{AckIx, Lane, Now, Round, TopicIx};

/// Bounds that hold for the whole process.
#[derive(Debug, Clone, Copy)]
pub struct CoreLimits {
    /// Past it, source partitions pause; ACK topics never do.
    pub max_outstanding: u64,
    /// What ACKs of one topic that came before their messages may cost, in units of about 150 bytes: a bitmap of 1,024
    /// plain ones, or one that is more than plain.
    pub early_weight_max: usize,
    pub settled_max: u64,
    pub settled_retention_ms: u64,
    /// How often low-water marks are committed, ms.
    pub commit_every_ms: u64,
    /// For how long a commit entitles us to publish, ms: half the group's session.
    pub lease_ms: u64,
}

/// Sources go on when what is outstanding has fallen to this share of the maximum.
const RESUME_SHARE: f64 = 0.9;

pub struct Coordinator {
    pub(super) topics: Vec<Topic>,
    pub(super) acks: Vec<AckState>,
    pub(super) limits: CoreLimits,
    pub(super) seed: u64,
    pub(super) round: Round,
    pub(super) sequence: u64,
    pub(super) assigned_once: bool,
    stopping: bool,
    pub(super) sources_paused: bool,
    pub(super) last_commit: u64,
    pub(super) lease_looked_at: u64,
    /// What the wall clock was ahead of the monotonic one at the last checkpoint, ms.
    pub(super) wall_ahead_ms: Option<i64>,
    /// Which reader of the ACK topics this one listens to.
    pub(super) lane: Lane,
    /// What came to us while others were tracked, until it is caught up.
    pub(super) rebuild: Option<Box<Coordinator>>,
    /// Where the next rebuild's questions begin to be numbered.
    pub(super) rebuild_rounds: Round,
}

impl Coordinator {
    /// `seed` makes jitter and the id hashes; the same seed gives the same run.
    #[must_use]
    pub fn new(topics: Vec<TopicSettings>, limits: CoreLimits, seed: u64) -> Self {
        let ack_count = topics
            .iter()
            .map(|t| usize::from(t.ack.0) + 1)
            .max()
            .unwrap_or(0);
        let each = usize::try_from(limits.settled_max).unwrap_or(usize::MAX) / topics.len().max(1);
        Self {
            acks: (0..ack_count)
                .map(|ix| AckState {
                    topic: AckTopic::new(AckIx(ix as u16)),
                    stage: AckStage::Waiting,
                    again: ReadAgain::default(),
                    targets: Vec::new(),
                    log_starts: Vec::new(),
                    live_since: None,
                    rebuild_generation: 0,
                    rounds_of_before: (0, 0),
                })
                .collect(),
            topics: topics
                .into_iter()
                .enumerate()
                .map(|(ix, settings)| Topic::new(TopicIx(ix as u16), settings, each, &limits, seed))
                .collect(),
            limits,
            seed,
            round: 0,
            sequence: 0,
            assigned_once: false,
            stopping: false,
            sources_paused: false,
            last_commit: 0,
            lease_looked_at: 0,
            wall_ahead_ms: None,
            lane: Lane::Main,
            rebuild: None,
            rebuild_rounds: 0,
        }
    }

    /// Something happened. Effects are appended, to be carried out in order.
    pub fn handle_event(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        self.handle_events([event], now, effects);
    }

    /// Several things happened since the last time. They are taken in order, and what follows from the state that they
    /// leave is looked at once, behind the last: fences, firing, commits, back-pressure.
    pub fn handle_events(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        for event in events {
            self.take(event, now, effects);
        }
        self.advance(now, effects);
        self.adopt_rebuilt(now, effects);
    }

    fn take(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        let named = self.acks_named_in(&event);
        self.hear(&event, now, effects);
        self.tell_rebuild(&event, now, effects);
        if let Some((ack, ends)) = named {
            self.acks_are_named(ack, ends, now, effects);
            if let Some(rebuild) = &mut self.rebuild {
                rebuild.acks_are_named(ack, ends, now, effects);
            }
        }
        match event {
            Event::Assigned(assignments) => {
                self.assigned_once = true;
                let rest = self.rebuild_beside(assignments, now, effects);
                self.assigned(rest, now, effects);
            }
            Event::Fetched { msg, outcome } => {
                let (topics, mut cx) = self.context(now, effects);
                if let Some(topic) = topics.get_mut(usize::from(msg.topic.0)) {
                    topic.on_fetched(msg, outcome, &mut cx);
                }
            }
            Event::Published {
                msg,
                sequence,
                outcome,
            } => {
                let (topics, mut cx) = self.context(now, effects);
                if let Some(topic) = topics.get_mut(usize::from(msg.topic.0)) {
                    topic.on_published(msg, sequence, outcome, &mut cx);
                }
            }
            Event::Operator {
                request,
                msg,
                topic,
                action,
                actor,
                reason,
            } => self.operator(request, topic, msg, action, actor, reason, effects),
            Event::Committed {
                topic,
                partition,
                low,
                sent_ms,
                outcome,
            } => {
                if let Some(p) = self
                    .topics
                    .get_mut(usize::from(topic.0))
                    .and_then(|t| t.partitions.get_mut(&partition))
                    && let Some(mark) = p.commit_in_flight.take()
                    && mark.0 == low
                {
                    if outcome.is_ok() {
                        for (n, at) in &mark.1 {
                            raise(&mut p.committed_acks, *n, *at);
                        }
                        p.committed = Some(mark);
                        p.leased_from = p.leased_from.max(Some(sent_ms));
                        p.commit_fails = None;
                        p.purged = false;
                    } else {
                        p.commit_fails.get_or_insert(now);
                    }
                }
            }
            Event::Stop => self.stopping = true,
            _ => {}
        }
    }

    /// What concerns partitions whether they are rebuilt or tracked.
    pub(super) fn hear(&mut self, event: &Event, now: Now, effects: &mut Vec<Effect>) {
        let lane = self.lane;
        match event {
            Event::SourceBatch(batch) => {
                let (topics, mut cx) = self.context(now, effects);
                source_batch(topics, batch, &mut cx);
            }
            Event::AckBatch(batch) if batch.lane == lane => self.ack_batch(batch, now, effects),
            Event::Revoked { topic, partitions } => {
                if let Some(topic) = self.topics.get_mut(usize::from(topic.0)) {
                    for partition in partitions {
                        topic.revoke(*partition, effects);
                    }
                }
            }
            Event::SourceMissing { topic, missing } => {
                if let Some(topic) = self.topics.get_mut(usize::from(topic.0)) {
                    topic.source_missing = missing.then(|| topic.source_missing.unwrap_or(now));
                }
            }
            Event::SourceOutOfRange {
                topic,
                partition,
                log_start,
                log_end,
            } => self.source_lost(*topic, *partition, *log_start, *log_end, now, effects),
            Event::AckOutOfRange {
                ack,
                lane: of,
                generation,
                partition,
                log_start,
            } if *of == lane => {
                let order = (*ack, *generation);
                self.acks_lost(order, *partition, *log_start, now, effects);
            }
            Event::SourceMadeAnew {
                topic,
                log_starts,
                ack_ends,
            } => self.source_made_anew(*topic, log_starts, ack_ends, now, effects),
            Event::AckTopicMadeAnew { ack, log_starts } => {
                self.ack_topic_made_anew(*ack, log_starts, now, effects);
            }
            Event::AckPartitions { ack, partitions } => {
                if let Some(state) = self.acks.get_mut(usize::from(ack.0)) {
                    let from = state.topic.found(partitions, now);
                    read_new_acks(&state.topic, from, effects);
                }
            }
            Event::AckEnds { ack, round, answer } => {
                if let Some(state) = self.acks.get_mut(usize::from(ack.0)) {
                    let wants = state.topic.answered(*round, answer.clone(), now);
                    read_new_acks(&state.topic, wants.read, effects);
                }
            }
            Event::Fence {
                topic,
                round,
                answer,
            } => {
                let missing: Vec<bool> = self
                    .acks
                    .iter()
                    .map(|a| a.topic.missing.is_some())
                    .collect();
                let (topics, mut cx) = self.context(now, effects);
                if let Some(topic) = topics.get_mut(usize::from(topic.0)) {
                    let ack = topic.settings.ack;
                    let no_acks = missing[usize::from(ack.0)];
                    if let Some(cut) = topic.on_fence(no_acks, *round, answer, &mut cx) {
                        self.acks_cut(ack, cut, now, effects);
                    }
                }
            }
            Event::PolicyChanged {
                topic,
                overrides,
                apply_pending,
            } => self.policy_changed(*topic, overrides.clone(), *apply_pending, now, effects),
            Event::Paused { topic, paused } => {
                if let Some(topic) = self.topics.get_mut(usize::from(topic.0)) {
                    topic.paused = paused.then(|| topic.paused.unwrap_or(now));
                }
            }
            _ => {}
        }
    }

    /// The partitions of an ACK topic that an answer names; none, if it was asked for before the topic was made anew.
    fn acks_named_in<'e>(&self, event: &'e Event) -> Option<(AckIx, &'e [(i32, i64)])> {
        let (ack, round, ends) = match event {
            Event::AckEnds {
                ack,
                round,
                answer: Ok(ends),
            } => (*ack, *round, ends),
            Event::Fence {
                topic,
                round,
                answer: Ok(fence),
            } => (self.ack_of(*topic)?, *round, &fence.ack_ends),
            _ => return None,
        };
        let state = self.acks.get(usize::from(ack.0))?;
        let (ours, of_rebuilds) = state.rounds_of_before;
        let before = if round < REBUILD_ROUNDS {
            ours
        } else {
            of_rebuilds
        };
        (round > before).then_some((ack, ends))
    }

    /// Whatever names partitions of an ACK topic: who is asked for the barrier next may not have heard of them.
    pub(super) fn acks_are_named(
        &mut self,
        ack: AckIx,
        named: &[(i32, i64)],
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if named.is_empty() || !Guard::AcksNamedByAnything.holds() {
            return;
        }
        if let Some(state) = self.acks.get_mut(usize::from(ack.0)) {
            let partitions: Vec<i32> = named.iter().map(|(n, _)| *n).collect();
            let from = state.topic.found(&partitions, now);
            // Else all that are known are ordered anew when it is their turn.
            if state.stage != AckStage::Waiting {
                read_new_acks(&state.topic, from, effects);
            }
        }
    }

    fn ack_batch(&mut self, batch: &AckBatch, now: Now, effects: &mut Vec<Effect>) {
        let Some(state) = self.acks.get(usize::from(batch.ack.0)) else {
            return;
        };
        if batch.generation != state.topic.generation && Guard::ReaderOrder.holds() {
            return;
        }
        let (topics, mut cx) = self.context(now, effects);
        let mut rest = &batch.records[..];
        let mut ahead = 0;
        while let Some(record) = rest.first() {
            let run = plain_run(rest);
            if let AckTarget::Position {
                topic, partition, ..
            } = record.target
                && run > 0
            {
                if let Some(topic) = topics.get_mut(usize::from(topic.0)) {
                    topic.apply_plain_acks(partition, &rest[..run], &mut cx);
                }
                rest = &rest[run..];
                continue;
            }
            let ix = match &record.target {
                AckTarget::Position { topic, .. } | AckTarget::Id { topic, .. } => Some(*topic),
                // Shown with the first topic that the ACK topic serves.
                AckTarget::Nothing { .. } => topics
                    .iter()
                    .find(|t| t.settings.ack == batch.ack)
                    .map(|t| t.ix),
            };
            if let Some(topic) = ix.and_then(|ix| topics.get_mut(usize::from(ix.0))) {
                if ahead == 0 {
                    ahead = TOGETHER.min(rest.len());
                    topic.look_ahead_of_acks(&rest[..ahead]);
                }
                ahead -= 1;
                topic.apply_ack(record, &mut cx);
            }
            rest = &rest[1..];
        }
        for topic in self
            .topics
            .iter_mut()
            .filter(|t| t.settings.ack == batch.ack)
        {
            topic.moved = true;
        }
        let state = &mut self.acks[usize::from(batch.ack.0)];
        for (partition, position) in &batch.applied {
            state.topic.set_applied(*partition, *position);
        }
        state.topic.advanced();
    }

    /// The topics, and what their code needs of the rest.
    fn context<'a>(
        &'a mut self,
        now: Now,
        effects: &'a mut Vec<Effect>,
    ) -> (&'a mut Vec<Topic>, Cx<'a>) {
        let cx = Cx {
            now,
            mono: now.mono_ms as i64,
            effects,
            sequence: &mut self.sequence,
            seed: self.seed,
            stopping: self.stopping,
            lease_ms: self.limits.lease_ms,
        };
        (&mut self.topics, cx)
    }

    /// What follows from the state alone: stages, fences, firing, commits, back-pressure.
    pub(super) fn advance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.advance_stages(effects);
        for topic in &mut self.topics {
            let acks = &self.acks[usize::from(topic.settings.ack.0)];
            topic.acks_again = acks.stage == AckStage::Waiting;
        }
        self.read_overflow_again(now, effects);
        let mut cx = Cx {
            now,
            mono: now.mono_ms as i64,
            effects,
            sequence: &mut self.sequence,
            seed: self.seed,
            stopping: self.stopping,
            lease_ms: self.limits.lease_ms,
        };
        for topic in &mut self.topics {
            let acks = &self.acks[usize::from(topic.settings.ack.0)];
            topic.want_fence(acks, &mut self.round, &mut cx);
            let acks = &mut self.acks[usize::from(topic.settings.ack.0)];
            if acks.stage == AckStage::Live && self.lane == Lane::Main {
                topic.fire(&mut acks.topic, &mut self.round, &mut cx);
            }
        }
        for acks in &mut self.acks {
            acks.topic.all_have_asked();
        }
        if self.lane == Lane::Main {
            self.commit(now, effects);
            self.back_pressure(effects);
        }
    }

    fn policy_changed(
        &mut self,
        ix: TopicIx,
        overrides: super::policy::PolicyPatch,
        apply_pending: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(topic) = self.topics.get_mut(usize::from(ix.0)) else {
            return;
        };
        topic.policy = topic.settings.policy.patched(&overrides);
        topic.overrides = overrides;
        let timeout_ms = topic.policy.timeout_ms;
        for p in topic.partitions.values_mut() {
            p.set_timeout(timeout_ms, apply_pending);
        }
        if apply_pending {
            topic.retime_details(self.seed);
            topic.retimed_at = now.mono_ms as i64;
        }
        topic.unpark(now);
        if topic.policy.on_lost_range == OnLostRange::ReportAndContinue {
            let ack = topic.settings.ack;
            self.acks_heard_are_done(ack);
            let acks = &mut self.acks[usize::from(ack.0)];
            if self.topics[usize::from(ix.0)].go_on(&acks.log_starts, effects) {
                acks.stage = AckStage::Waiting;
            }
        }
    }

    fn back_pressure(&mut self, effects: &mut Vec<Effect>) {
        let unsettled: u64 = self.topics.iter().map(Topic::unsettled).sum();
        let max = self.limits.max_outstanding;
        // A rebuild must see the end of its sources before it knows what is settled: it may exceed the limit.
        let rebuilding = self.acks.iter().any(|a| a.stage != AckStage::Live);
        let pause = unsettled >= max && !rebuilding;
        let resume = unsettled as f64 <= max as f64 * RESUME_SHARE;
        if self.sources_paused && resume {
            self.sources_paused = false;
            for topic in &mut self.topics {
                for p in topic.partitions.values_mut().filter(|p| p.paused) {
                    p.paused = false;
                    effects.push(Effect::ResumeSource {
                        topic: topic.ix,
                        partition: p.number,
                    });
                }
            }
        } else if pause {
            self.sources_paused = true;
            for topic in &mut self.topics {
                // One that is rebuilt must see its end before it knows what is settled, as above.
                let live = |p: &&mut Partition| !p.paused && p.stage == Stage::Live;
                for p in topic.partitions.values_mut().filter(live) {
                    p.paused = true;
                    effects.push(Effect::PauseSource {
                        topic: topic.ix,
                        partition: p.number,
                    });
                }
            }
        }
    }

    /// Partitions are assigned and rebuilt, frozen ones aside.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.assigned_once
            && self.acks.iter().all(|a| a.stage == AckStage::Live)
            && self
                .topics
                .iter()
                .flat_map(|t| t.partitions.values())
                .all(|p| !matches!(p.stage, Stage::Replaying(_)))
    }

    /// Submissions that are not reported yet: what a shutdown waits for.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.topics
            .iter()
            .map(|t| t.publishing.len() + t.decisions.len())
            .sum()
    }

    /// When a tick is worth it, in monotonic ms: the next deadline, or a commit's turn.
    #[must_use]
    pub fn next_wakeup_ms(&mut self, now: Now) -> u64 {
        let mut next = now.mono_ms + 100;
        if let Some(rebuild) = &mut self.rebuild {
            next = rebuild.next_wakeup_ms(now);
        }
        for p in self
            .topics
            .iter_mut()
            .flat_map(|t| t.partitions.values_mut())
        {
            match p.stage {
                Stage::Live => {}
                // Nobody waits for anything but a decision.
                Stage::Lost(..) => continue,
                Stage::Replaying(_) => {
                    next = next.min(now.mono_ms + 20);
                    continue;
                }
            }
            let first = p.next_first_due();
            let detail = p.due.first().copied();
            if let Some((deadline, _)) = first.into_iter().chain(detail).min() {
                // What is due already waits for the barrier or the rate: look again soon.
                let at = u64::try_from(deadline).unwrap_or(0);
                next = next.min(at.max(now.mono_ms + 2));
            }
        }
        next
    }

    pub(super) fn ack_topic(&self, ix: AckIx) -> &AckTopic {
        &self.acks[usize::from(ix.0)].topic
    }
}

fn source_batch(topics: &mut [Topic], batch: &SourceBatch, cx: &mut Cx<'_>) {
    for run in batch
        .records
        .chunk_by(|a, b| a.partition == b.partition && a.topic == b.topic)
    {
        if let Some(topic) = topics.get_mut(usize::from(run[0].topic.0)) {
            topic.on_sources(run, cx);
        }
    }
    for (ix, partition, position) in &batch.applied {
        let Some(topic) = topics.get_mut(usize::from(ix.0)) else {
            continue;
        };
        if let Some(p) = topic.partitions.get_mut(partition)
            && !p.is_lost()
            && *position > p.applied
        {
            p.set_applied(*position);
            topic.moved = true;
        }
    }
    for (n, (ix, ..)) in batch.applied.iter().enumerate() {
        let again = batch.applied[..n].iter().any(|before| before.0 == *ix);
        if !again
            && let Some(topic) = topics.get_mut(usize::from(ix.0))
            && topic.has_early()
        {
            topic.drop_orphans(None, cx);
        }
    }
}

/// How many at the front are plain ACKs by position, about one partition and from one.
fn plain_run(acks: &[AckRecord]) -> usize {
    let place = |ack: &AckRecord| match ack.target {
        AckTarget::Position {
            topic, partition, ..
        } if ack.extra.is_none() => Some((topic, partition, ack.at.partition)),
        _ => None,
    };
    let Some(first) = acks.first().and_then(place) else {
        return 0;
    };
    acks.iter()
        .take_while(|ack| place(ack) == Some(first))
        .count()
}

/// ACK partitions that were not known, beside those that are read.
fn read_new_acks(acks: &AckTopic, from: Vec<(i32, i64)>, effects: &mut Vec<Effect>) {
    if !from.is_empty() {
        effects.push(Effect::ReadAcks {
            ack: acks.ix,
            from,
            generation: acks.generation,
            lane: acks.lane,
        });
    }
}
