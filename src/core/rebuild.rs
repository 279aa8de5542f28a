//! Partitions that come to us while others are tracked are rebuilt beside them: by a coordinator of their own, which reads
//! their source to the end, then the ACKs from E with a reader of its own, and never fires, commits, or is shown. The others
//! go on meanwhile. When it has caught up, what it knows is adopted, and the main reader of the ACK topic steps back to where
//! it stood: what is applied twice changes nothing, and what would be missed in between is none.

use super::ack_topic::AckTopic;
use super::coordinator::Coordinator;
use super::effect::Effect;
use super::event::{Assignment, Event};
use super::guards::Guard;
use super::low_water::{KeptFence, offset_in};
use super::partition::{Partition, Stage};
use super::stages::{AckStage, AckState};
use super::topic::{Topic, carries};
use super::types::{AckIx, Lane, LogPosition, Now, Round, TopicIx};
use super::view::Counters;

/// Rounds that a rebuild asks begin here, so that no answer is taken for one of the others'.
pub(super) const REBUILD_ROUNDS: Round = 1 << 62;
/// A rebuild that is no further behind the main reader than this many records is adopted.
const BEHIND_MAX: i64 = 10_000;
/// One that is further behind is adopted all the same after this, ms: both read as fast as they can.
const ADOPT_AFTER_MS: u64 = 10_000;

impl Coordinator {
    /// Whether what becomes ours on this ACK topic is rebuilt beside others, rather than holding them up.
    fn rebuilds_beside(&self, ack: AckIx) -> bool {
        let tracked = self
            .topics
            .iter()
            .filter(|t| t.settings.ack == ack)
            .flat_map(|t| t.partitions.values());
        self.acks[usize::from(ack.0)].stage == AckStage::Live
            && tracked.into_iter().any(|p| p.stage == Stage::Live)
    }

    /// Takes those assignments that are rebuilt beside others; gives back the rest.
    pub(super) fn rebuild_beside(
        &mut self,
        assignments: Vec<Assignment>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Vec<Assignment> {
        if self.lane == Lane::Rebuild {
            return assignments;
        }
        let (beside, rest): (Vec<_>, Vec<_>) = assignments.into_iter().partition(|a| {
            let ack = self.ack_of(a.topic);
            ack.is_some_and(|ack| self.rebuilds_beside(ack))
        });
        for assignment in &beside {
            if let Some(ack) = self.ack_of(assignment.topic) {
                self.acks_are_named(ack, &assignment.ack_log_starts, now, effects);
            }
        }
        if !beside.is_empty() {
            let mut rebuild = self
                .rebuild
                .take()
                .unwrap_or_else(|| Box::new(self.begin_rebuild()));
            rebuild.sequence = self.sequence;
            rebuild.tell_reports_out(&self.topics);
            rebuild.handle_event(Event::Assigned(beside), now, effects);
            self.rebuild = Some(rebuild);
        }
        rest
    }

    pub(super) fn ack_of(&self, topic: TopicIx) -> Option<AckIx> {
        let topic = self.topics.get(usize::from(topic.0))?;
        Some(topic.settings.ack)
    }

    /// One that knows what concerns all partitions, and no partition.
    fn begin_rebuild(&self) -> Self {
        let settings = self.topics.iter().map(|t| t.settings.clone()).collect();
        let mut rebuild = Self::new(settings, self.limits, self.seed);
        rebuild.lane = Lane::Rebuild;
        rebuild.round = self.rebuild_rounds.max(REBUILD_ROUNDS);
        for (theirs, ours) in rebuild.topics.iter_mut().zip(&self.topics) {
            theirs.policy = ours.policy.clone();
            theirs.overrides = ours.overrides.clone();
            theirs.paused = ours.paused;
            theirs.fences.clone_from(&ours.fences);
        }
        for (theirs, ours) in rebuild.acks.iter_mut().zip(&self.acks) {
            theirs.log_starts.clone_from(&ours.log_starts);
            theirs.topic.lane = Lane::Rebuild;
            theirs.topic.generation = ours.rebuild_generation;
        }
        rebuild
    }

    /// What was submitted for its partitions when they were ours before, and is not reported yet.
    fn tell_reports_out(&mut self, main: &[Topic]) {
        for (theirs, ours) in self.topics.iter_mut().zip(main) {
            theirs.reports_out = ours.publishing.values().map(|s| s.partition).collect();
        }
    }

    /// What concerns the partitions that are rebuilt; the rest is the main coordinator's alone.
    pub(super) fn tell_rebuild(&mut self, event: &Event, now: Now, effects: &mut Vec<Effect>) {
        let Some(mut rebuild) = self.rebuild.take() else {
            return;
        };
        rebuild.tell_reports_out(&self.topics);
        if let Event::Published { msg, .. } = event
            && let Some(topic) = rebuild.topics.get_mut(usize::from(msg.topic.0))
            && let Some(p) = topic.partitions.get(&msg.partition)
            && p.stage == Stage::Replaying(None)
        {
            // It may have landed behind an end that is being read.
            topic.ask_fence_anew();
        }
        rebuild.hear(event, now, effects);
        rebuild.advance(now, effects);
        self.rebuild = Some(rebuild);
    }

    /// Adopts what is rebuilt.
    pub(super) fn adopt_rebuilt(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(mut rebuild) = self.rebuild.take() else {
            return;
        };
        for ix in 0..self.acks.len() {
            let ack = AckIx(ix as u16);
            if rebuild.is_caught_up(ack, &self.acks[ix], now) {
                self.adopt(&mut rebuild, ack, effects);
            }
        }
        if rebuild.topics.iter().any(|t| !t.partitions.is_empty()) {
            self.rebuild = Some(rebuild);
            return;
        }
        self.rebuild_rounds = rebuild.round;
        for (ours, theirs) in self.acks.iter_mut().zip(&rebuild.acks) {
            ours.rebuild_generation = theirs.topic.generation + 1;
            if theirs.topic.reading {
                effects.push(Effect::StopRebuildAcks {
                    ack: theirs.topic.ix,
                });
            }
        }
    }

    fn is_caught_up(&mut self, ack: AckIx, main: &AckState, now: Now) -> bool {
        let mut mine = self
            .topics
            .iter()
            .filter(|t| t.settings.ack == ack)
            .flat_map(|t| t.partitions.values())
            .peekable();
        if mine.peek().is_none()
            || !mine.all(|p| p.stage == Stage::Live || p.is_lost())
            || main.stage != AckStage::Live
        {
            return false;
        }
        let state = &mut self.acks[usize::from(ack.0)];
        if state.stage != AckStage::Live {
            return false;
        }
        let since = *state.live_since.get_or_insert(now.mono_ms);
        let behind: i64 = main
            .topic
            .applied
            .iter()
            .map(|(n, at)| (*at - state.topic.applied(*n).unwrap_or(0)).max(0))
            .sum();
        behind <= BEHIND_MAX || now.mono_ms >= since + ADOPT_AFTER_MS
    }

    fn adopt(&mut self, rebuild: &mut Self, ack: AckIx, effects: &mut Vec<Effect>) {
        let applied = &self.acks[usize::from(ack.0)].topic.applied;
        let rebuilt = &rebuild.acks[usize::from(ack.0)].topic.applied;
        for (ours, theirs) in self.topics.iter_mut().zip(&mut rebuild.topics) {
            if ours.settings.ack == ack {
                ours.acks_are_done(applied, Partition::hears);
                theirs.acks_are_done(rebuilt, Partition::hears);
                ours.adopt(theirs);
            }
        }
        let theirs = &mut rebuild.acks[usize::from(ack.0)];
        let ours = &mut self.acks[usize::from(ack.0)];
        theirs.live_since = None;
        let back = steps_back(&ours.topic, &theirs.topic);
        if !back.is_empty() && Guard::StepBack.holds() {
            // Of what is read again, the barrier knows nothing yet.
            ours.topic.caught_up_as_of = None;
            let order = ours.topic.restart_at(&back);
            effects.push(order.effect(&ours.topic));
        }
    }

    /// Whether the partition is being rebuilt beside others.
    #[must_use]
    pub fn is_rebuilt_beside(&self, topic: TopicIx, partition: i32) -> bool {
        self.rebuild.as_ref().is_some_and(|r| {
            let topic = r.topics.get(usize::from(topic.0));
            topic.is_some_and(|t| t.partitions.contains_key(&partition))
        })
    }
}

/// Where the main reader is past what was applied to the partitions that it adopts.
fn steps_back(main: &AckTopic, rebuild: &AckTopic) -> Vec<(i32, i64)> {
    let applied = main.applied.iter().copied();
    applied
        .filter_map(|(n, at)| {
            let theirs = rebuild.applied(n).unwrap_or(-1);
            (theirs < at).then_some((n, theirs))
        })
        .collect()
}

impl Topic {
    /// ACKs are read again: of those by id below the ends of a fence that the source has passed, what finds no message now is
    /// settled, or never had one.
    pub(super) fn begin_replay(&mut self) {
        let read = |f: &&KeptFence| {
            let mut each = self.partitions.values();
            each.all(|p| {
                let to = offset_in(&f.fence.source_ends, p.number);
                !p.is_lost() && f.holds_for(p.number) && p.applied >= to
            })
        };
        let passed = self.fences.iter().rev().find(read);
        self.replay_ends = passed.map(|f| f.fence.ack_ends.clone()).unwrap_or_default();
    }

    /// Everything that `rebuilt` knows.
    fn adopt(&mut self, rebuilt: &mut Self) {
        let asked = self.fence_newest_asked;
        for (number, mut p) in std::mem::take(&mut rebuilt.partitions) {
            p.early.asked_is(asked);
            p.applied_at_fence = None;
            self.partitions.insert(number, p);
            self.overflow.is_known_to_all = false;
            // What is said of it by id is read again by us.
            self.replay_ends = Vec::new();
            let Self {
                partitions,
                labels,
                counters,
                ..
            } = self;
            if let Some(p) = partitions.get(&number) {
                p.each_label(|id, at| {
                    let hash = labels.hash(id);
                    let reused = labels.add(hash, at, |other| carries(partitions, other, id));
                    counters.ids_reused += u64::from(reused);
                });
            }
        }
        for (id, ack) in rebuilt.early_by_id.take_all() {
            self.early_by_id.keep(id, asked, ack);
        }
        let let_go = std::mem::take(&mut rebuilt.overflow);
        self.overflow.absorb(let_go, asked);
        self.settled.absorb(&mut rebuilt.settled);
        self.counters.absorb(&std::mem::take(&mut rebuilt.counters));
        self.unmatched.extend(rebuilt.unmatched.drain(..));
        while self.unmatched.len() > super::topic::UNMATCHED_MAX {
            self.unmatched.pop_front();
        }
        self.lost_untold.append(&mut rebuilt.lost_untold);
        self.moved = true;
    }
}

impl Partition {
    /// Visits the ids of what is outstanding.
    pub(super) fn each_label(&self, mut visit: impl FnMut(&str, LogPosition)) {
        let mut at = i64::MIN;
        while let Some((offset, _)) = self.slots.next_first(at, i64::MAX) {
            if let Some(id) = self.slots.id(offset) {
                visit(id, self.at(offset));
            }
            at = offset + 1;
        }
        for d in self.details.values().filter(|d| !d.is_settled()) {
            if let Some(id) = &d.id {
                visit(id, self.at(d.origin));
            }
        }
    }
}

impl Counters {
    fn absorb(&mut self, other: &Self) {
        self.tracked += other.tracked;
        self.acked += other.acked;
        add(&mut self.republished, &other.republished);
        add(&mut self.dead_lettered, &other.dead_lettered);
        for (ours, theirs) in self.verdicts.iter_mut().zip(&other.verdicts) {
            add(ours, theirs);
        }
        self.ids_fell_back += other.ids_fell_back;
        self.bad_timeouts += other.bad_timeouts;
        self.unfaithful += other.unfaithful;
        self.lost_ranges += other.lost_ranges;
        self.ack_latency_ms.absorb(&other.ack_latency_ms);
        self.retry_lateness_ms.absorb(&other.retry_lateness_ms);
    }
}

fn add(ours: &mut [u64], theirs: &[u64]) {
    for (a, b) in ours.iter_mut().zip(theirs) {
        *a += b;
    }
}
