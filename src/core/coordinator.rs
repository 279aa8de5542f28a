//! The state machine: every event comes in here, effects go out.
//!
//! Order after an assignment: the source is read to an end that was learnt after it, then the ACKs are read from E to
//! theirs; only then does anything fire, be committed, or be shown. What is shared by several topics (an ACK topic, its
//! barrier, the limit on what is outstanding) is kept here; the rest is the topics' own.

use super::ack_topic::AckTopic;
use super::effect::{Effect, Publication, Publish};
use super::event::{AckBatch, Assignment, Event, SourceBatch};
use super::guards::Guard;
use super::low_water::offset_in;
use super::partition::{Partition, Stage};
use super::policy::OnLostRange;
use super::record::AckTarget;
use super::topic::{Cx, Topic, TopicSettings};
use super::types::{AckIx, LOG_START, LogPosition, MsgRef, Now, RequestId, Round, TopicIx};
use super::view::{Lookup, OperatorAction, OperatorReply, State};

/// Bounds that hold for the whole process.
#[derive(Debug, Clone, Copy)]
pub struct CoreLimits {
    /// Past it, source partitions pause; ACK topics never do.
    pub max_outstanding: u64,
    pub settled_max: u64,
    pub settled_retention_ms: u64,
    /// How often low-water marks are committed, ms.
    pub commit_every_ms: u64,
}

/// Sources go on when what is outstanding has fallen to this share of the maximum.
const RESUME_SHARE: f64 = 0.9;

/// Where an ACK topic is on its way to being followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckStage {
    /// Its sources are not read to their ends yet.
    Waiting,
    /// From E on, up to the ends of the fence after the assignment.
    Replaying,
    Live,
}

pub(super) struct AckState {
    pub topic: AckTopic,
    pub stage: AckStage,
    /// While replaying: (partition, end) to be reached.
    pub targets: Vec<(i32, i64)>,
    /// Where each partition began when it was last looked at.
    pub log_starts: Vec<(i32, i64)>,
}

pub struct Coordinator {
    pub(super) topics: Vec<Topic>,
    pub(super) acks: Vec<AckState>,
    pub(super) limits: CoreLimits,
    seed: u64,
    round: Round,
    sequence: u64,
    assigned_once: bool,
    stopping: bool,
    sources_paused: bool,
    last_commit: u64,
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
                    targets: Vec::new(),
                    log_starts: Vec::new(),
                })
                .collect(),
            topics: topics
                .into_iter()
                .enumerate()
                .map(|(ix, settings)| {
                    Topic::new(
                        TopicIx(ix as u16),
                        settings,
                        each,
                        limits.settled_retention_ms,
                        seed,
                    )
                })
                .collect(),
            limits,
            seed,
            round: 0,
            sequence: 0,
            assigned_once: false,
            stopping: false,
            sources_paused: false,
            last_commit: 0,
        }
    }

    /// Something happened. Effects are appended, to be carried out in order.
    pub fn handle_event(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        let mut cx = Cx {
            now,
            mono: now.mono_ms as i64,
            effects,
            sequence: &mut self.sequence,
            seed: self.seed,
            stopping: self.stopping,
        };
        match event {
            Event::SourceBatch(batch) => source_batch(&mut self.topics, &batch, &mut cx),
            Event::AckBatch(batch) => ack_batch(&mut self.topics, &mut self.acks, &batch, &mut cx),
            Event::Tick => {}
            Event::Assigned(assignments) => {
                self.assigned_once = true;
                self.assigned(assignments, now, effects);
            }
            Event::Revoked { topic, partitions } => {
                if let Some(topic) = self.topics.get_mut(usize::from(topic.0)) {
                    for partition in partitions {
                        topic.drop_partition(partition, cx.effects);
                        cx.effects.push(Effect::StopSource {
                            topic: topic.ix,
                            partition,
                        });
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
            } => self.source_lost(topic, partition, log_start, log_end, now, effects),
            Event::AckOutOfRange {
                ack,
                partition,
                log_start,
            } => self.acks_lost(ack, partition, log_start, now, effects),
            Event::SourceMadeAnew {
                topic,
                log_starts,
                ack_ends,
            } => self.source_made_anew(topic, &log_starts, &ack_ends, now, effects),
            Event::AckTopicMadeAnew { ack, log_starts } => {
                self.ack_topic_made_anew(ack, log_starts, now, effects);
            }
            Event::AckPartitions { ack, partitions } => {
                if let Some(state) = self.acks.get_mut(usize::from(ack.0)) {
                    let from = state.topic.found(&partitions, now);
                    read_new_acks(&state.topic, from, &mut cx);
                }
            }
            Event::AckEnds { ack, round, answer } => {
                if let Some(state) = self.acks.get_mut(usize::from(ack.0)) {
                    let wants = state.topic.answered(round, answer, now);
                    read_new_acks(&state.topic, wants.read, &mut cx);
                }
            }
            Event::Fence {
                topic,
                round,
                answer,
            } => {
                if let Some(topic) = self.topics.get_mut(usize::from(topic.0)) {
                    topic.on_fence(round, answer, &mut cx);
                }
            }
            Event::Fetched { msg, outcome } => {
                if let Some(topic) = self.topics.get_mut(usize::from(msg.topic.0)) {
                    topic.on_fetched(msg, outcome, &mut cx);
                }
            }
            Event::Published {
                msg,
                sequence,
                outcome,
            } => {
                if let Some(topic) = self.topics.get_mut(usize::from(msg.topic.0)) {
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
            Event::PolicyChanged {
                topic,
                overrides,
                apply_pending,
            } => self.policy_changed(topic, overrides, apply_pending, now, effects),
            Event::Paused { topic, paused } => {
                if let Some(topic) = self.topics.get_mut(usize::from(topic.0)) {
                    topic.paused = paused.then(|| topic.paused.unwrap_or(now));
                }
            }
            Event::Committed {
                topic,
                partition,
                low,
                outcome,
            } => {
                if let Some(p) = self
                    .topics
                    .get_mut(usize::from(topic.0))
                    .and_then(|t| t.partitions.get_mut(&partition))
                    && let Some(mark) = p.commit_in_flight.take()
                    && mark.0 == low
                    && outcome.is_ok()
                {
                    p.committed = Some(mark);
                }
            }
            Event::Stop => self.stopping = true,
        }
        self.advance(now, effects);
    }

    /// What follows from the state alone: stages, fences, firing, commits, back-pressure.
    fn advance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.advance_stages(effects);
        for topic in &mut self.topics {
            let acks = &self.acks[usize::from(topic.settings.ack.0)];
            topic.acks_again = acks.stage == AckStage::Waiting;
        }
        self.rewind_overflow(effects);
        let mut cx = Cx {
            now,
            mono: now.mono_ms as i64,
            effects,
            sequence: &mut self.sequence,
            seed: self.seed,
            stopping: self.stopping,
        };
        for topic in &mut self.topics {
            topic.want_fence(&mut self.round, &mut cx);
            let acks = &mut self.acks[usize::from(topic.settings.ack.0)];
            if acks.stage == AckStage::Live {
                topic.fire(&mut acks.topic, &mut self.round, &mut cx);
            }
        }
        if now.mono_ms >= self.last_commit + self.limits.commit_every_ms {
            self.last_commit = now.mono_ms;
            for topic in &mut self.topics {
                let acks = &self.acks[usize::from(topic.settings.ack.0)];
                topic.commit(&acks.topic, &mut cx);
                topic.settled.expire(now.wall_ms);
            }
        }
        self.back_pressure(effects);
    }

    fn assigned(&mut self, assignments: Vec<Assignment>, now: Now, effects: &mut Vec<Effect>) {
        for assignment in assignments {
            let Some(topic) = self.topics.get_mut(usize::from(assignment.topic.0)) else {
                continue;
            };
            let acks = &mut self.acks[usize::from(topic.settings.ack.0)];
            for (partition, start) in &assignment.ack_log_starts {
                if !acks.log_starts.iter().any(|(p, _)| p == partition) {
                    acks.log_starts.push((*partition, *start));
                }
            }
            let appeared = assignment.appeared;
            let mut partition = topic.take_over(assignment, now);
            partition.sequence_before = self.sequence;
            let number = partition.number;
            if !partition.is_lost() {
                effects.push(Effect::ReadSource {
                    topic: topic.ix,
                    partition: number,
                    from: partition.applied,
                });
            }
            topic.partitions.insert(number, partition);
            if appeared || !Guard::SourceBeforeAcks.holds() {
                // Nothing was ever retried there: what was said of it so far is all that there is.
                topic.adopt_early(number);
            } else {
                // Its verdicts since E are read again, once its source is read to the end. Applying them twice to the
                // others changes nothing.
                topic.early_elsewhere.remove(&number);
                acks.stage = AckStage::Waiting;
            }
            topic.ask_fence_anew();
        }
    }

    /// Sources first, then ACKs, then live.
    fn advance_stages(&mut self, effects: &mut Vec<Effect>) {
        if !self.assigned_once {
            return;
        }
        for state in &mut self.acks {
            let ix = state.topic.ix;
            let mine = || {
                self.topics
                    .iter()
                    .filter(move |t| t.settings.ack == ix)
                    .flat_map(|t| t.partitions.values())
            };
            if state.stage == AckStage::Waiting {
                let read = mine().all(|p| match p.stage {
                    Stage::Replaying(target) => target.is_some_and(|t| p.applied >= t),
                    Stage::Lost(..) | Stage::Live => true,
                });
                if !read {
                    continue;
                }
                let mut from: Vec<(i32, i64)> = Vec::new();
                for (n, start) in &state.log_starts {
                    let rebuilt = mine().filter(|p| p.stage != Stage::Live);
                    let applied = state.topic.applied(*n).unwrap_or(*start);
                    let others = mine().any(|p| p.stage == Stage::Live).then_some(applied);
                    let lowest = rebuilt
                        .map(|p| offset_in(&p.replay_from, *n))
                        .chain(others)
                        .min()
                        .unwrap_or(applied);
                    from.push((*n, lowest.max(*start)));
                }
                from.sort_unstable();
                state.targets = self
                    .topics
                    .iter()
                    .filter(|t| t.settings.ack == ix && Guard::AcksCaughtUp.holds())
                    .filter_map(|t| t.fences.back())
                    .flat_map(|f| f.ack_ends.iter().copied())
                    .collect();
                for (n, _) in &state.targets {
                    if !from.iter().any(|(m, _)| m == n) {
                        from.push((*n, LOG_START));
                    }
                }
                let order = state.topic.restart_at(&from);
                if !order.from.is_empty() {
                    effects.push(order.effect(ix));
                }
                state.stage = AckStage::Replaying;
            }
            if state.stage == AckStage::Replaying
                && state
                    .targets
                    .iter()
                    .all(|(n, end)| *end == 0 || state.topic.applied(*n) >= Some(*end))
            {
                state.stage = AckStage::Live;
            }
            if state.stage == AckStage::Live {
                for p in self
                    .topics
                    .iter_mut()
                    .filter(|t| t.settings.ack == ix)
                    .flat_map(|t| t.partitions.values_mut())
                {
                    if let Stage::Replaying(Some(target)) = p.stage
                        && p.applied >= target
                    {
                        p.stage = Stage::Live;
                    }
                }
            }
        }
    }

    /// Early ACKs that did not fit are read again once the source has passed the fence that was asked after them.
    fn rewind_overflow(&mut self, effects: &mut Vec<Effect>) {
        for topic in &mut self.topics {
            if topic.overflow.is_empty()
                || topic.early_weight() > super::verdicts::EARLY_WEIGHT_MAX / 2
                || self.sources_paused
            {
                continue;
            }
            let Some(fence) = topic.fences.back() else {
                continue;
            };
            if topic.fence_asked.is_some() || topic.fence_newest_asked <= topic.overflow_asked {
                continue;
            }
            let passed = fence.source_ends.iter().all(|(n, end)| {
                topic
                    .partitions
                    .get(n)
                    .is_none_or(|p| p.is_lost() || p.applied >= *end)
            });
            if !passed {
                continue;
            }
            let from: Vec<(i32, i64)> = std::mem::take(&mut topic.overflow).into_iter().collect();
            let state = &mut self.acks[usize::from(topic.settings.ack.0)];
            let order = state.topic.restart_at(&from);
            effects.push(order.effect(state.topic.ix));
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
            topic.retime_details(now, self.seed);
        }
        topic.unpark(now);
        if topic.policy.on_lost_range == OnLostRange::ReportAndContinue {
            let acks = &mut self.acks[usize::from(topic.settings.ack.0)];
            if topic.go_on(effects) {
                acks.stage = AckStage::Waiting;
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn operator(
        &mut self,
        request: RequestId,
        ix: TopicIx,
        at: LogPosition,
        action: OperatorAction,
        actor: Box<str>,
        reason: Option<Box<str>>,
        effects: &mut Vec<Effect>,
    ) {
        let reply = match self.decide(ix, at, action) {
            Err(reply) => reply,
            Ok((msg, newest, attempt)) => {
                self.sequence += 1;
                let topic = &mut self.topics[usize::from(ix.0)];
                topic.decisions.insert(self.sequence, (request, msg));
                effects.push(Effect::Publish(Publish {
                    msg,
                    sequence: self.sequence,
                    what: Publication::Verdict {
                        ack: topic.settings.ack,
                        verdict: action.verdict(),
                        newest,
                        attempt,
                        delay_ms: match action {
                            OperatorAction::Nack { delay_ms }
                            | OperatorAction::Extend { delay_ms } => delay_ms,
                            _ => None,
                        },
                        actor: Some(actor),
                        reason,
                    },
                }));
                return;
            }
        };
        effects.push(Effect::Reply { request, reply });
    }

    /// Whether an operator's wish makes sense in the message's state: (message, newest delivery, attempt).
    fn decide(
        &self,
        ix: TopicIx,
        at: LogPosition,
        action: OperatorAction,
    ) -> Result<(MsgRef, i64, u32), OperatorReply> {
        if !self.is_ready() {
            return Err(OperatorReply::Recovering);
        }
        let Some(topic) = self.topics.get(usize::from(ix.0)) else {
            return Err(OperatorReply::NotFound("no such topic"));
        };
        if topic.policy.observe_only {
            return Err(OperatorReply::ReadOnly(
                "the topic is observe_only: nothing is written for it",
            ));
        }
        if self.acks[usize::from(topic.settings.ack.0)]
            .topic
            .missing
            .is_some()
        {
            return Err(OperatorReply::ReadOnly(
                "the ack topic does not exist, and a decision is a record on it: create it",
            ));
        }
        let (state, msg, newest, attempt) = match topic.locate(at) {
            Ok(found) => found,
            Err(Lookup::Settled) if action == OperatorAction::Ack => {
                return Err(OperatorReply::AlreadyHolds(State::Acked));
            }
            Err(Lookup::Settled) => {
                return Err(OperatorReply::NotAllowed {
                    state: State::Acked,
                    detail: "the message is settled",
                });
            }
            Err(_) => {
                return Err(OperatorReply::NotFound(
                    "the position is not tracked: before the start, in a lost range, or not read yet",
                ));
            }
        };
        let refuse = |detail| Err(OperatorReply::NotAllowed { state, detail });
        match (action, state) {
            (OperatorAction::Ack, State::Acked | State::OperatorAcked) => {
                Err(OperatorReply::AlreadyHolds(state))
            }
            (OperatorAction::DeadLetter, State::Dead) => Err(OperatorReply::AlreadyHolds(state)),
            (_, state) if state.is_settled() => refuse("the message is settled"),
            (OperatorAction::DeadLetter, _) if topic.policy.dead_letter.is_none() => {
                refuse("the topic has no dead-letter topic: set `dead_letter`")
            }
            (OperatorAction::Extend { .. }, State::Parked) => {
                refuse("a parked message waits for nothing")
            }
            _ => Ok((msg, newest, attempt)),
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

    /// Whether any unaccounted submission is still out: what a shutdown waits for.
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

    pub(super) fn is_replaying(&self, topic: &Topic) -> bool {
        self.acks[usize::from(topic.settings.ack.0)].stage != AckStage::Live
    }

    pub(super) fn ack_targets(&self, ix: AckIx) -> &[(i32, i64)] {
        &self.acks[usize::from(ix.0)].targets
    }
}

fn source_batch(topics: &mut [Topic], batch: &SourceBatch, cx: &mut Cx<'_>) {
    for record in &batch.records {
        if let Some(topic) = topics.get_mut(usize::from(record.topic.0)) {
            topic.on_source(record, cx);
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
        if topic.has_early() {
            topic.drop_orphans(None, cx);
        }
    }
}

fn ack_batch(topics: &mut [Topic], acks: &mut [AckState], batch: &AckBatch, cx: &mut Cx<'_>) {
    let Some(state) = acks.get_mut(usize::from(batch.ack.0)) else {
        return;
    };
    if batch.generation != state.topic.generation && Guard::ReaderOrder.holds() {
        return;
    }
    for record in &batch.records {
        let ix = match &record.target {
            AckTarget::Position { topic, .. } | AckTarget::Id { topic, .. } => Some(*topic),
            // Shown with the first topic that the ACK topic serves.
            AckTarget::Nothing { .. } => topics
                .iter()
                .find(|t| t.settings.ack == batch.ack)
                .map(|t| t.ix),
        };
        if let Some(topic) = ix.and_then(|ix| topics.get_mut(usize::from(ix.0))) {
            topic.apply_ack(record, cx);
        }
    }
    for (partition, position) in &batch.applied {
        state.topic.set_applied(*partition, *position);
    }
    for topic in topics.iter_mut().filter(|t| t.settings.ack == batch.ack) {
        topic.moved = true;
    }
    state.topic.advanced();
}

/// ACK partitions that were not known, beside those that are read.
fn read_new_acks(acks: &AckTopic, from: Vec<(i32, i64)>, cx: &mut Cx<'_>) {
    if !from.is_empty() {
        cx.effects.push(Effect::ReadAcks {
            ack: acks.ix,
            from,
            generation: acks.generation,
        });
    }
}
