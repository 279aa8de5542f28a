//! What was gone before it could be read: where a partition stands when it is ours, when it stands still, and how it goes
//! on.
//!
//! Something is lost if the log begins past the lowest unsettled message (its payload, and whatever was not read yet, is
//! gone), past the ACKs to be read next, or if the topic is another one of the same name. What is known already stays
//! known, as long as the source is the same one: whose payload is gone becomes a dead letter that says so. Nothing that
//! lies before the ACKs to be read next is about a message of the partition.

use super::coordinator::Coordinator;
use super::effect::Effect;
use super::event::{Assignment, Recreated};
use super::guards::Guard;
use super::low_water::{FENCE_LOST_MS, KeptFence, offset_in};
use super::overflow::Overflow;
use super::partition::{LostRange, Partition, Stage};
use super::policy::OnLostRange;
use super::stages::AckStage;
use super::topic::Topic;
use super::types::{AckIx, LOG_START, LogPosition, Now, TopicIx};
use super::view::{Frozen, FrozenWhy};

/// All brokers have heard of a new partition after that long, ms.
const HEARD_OF_WITHIN_MS: u64 = 60_000;
/// Lost ranges that a partition remembers, to say of a position in them that it is not known what became of it.
const LOST_RANGES_MAX: usize = 256;

impl Coordinator {
    /// The broker has not got the record that we were to read next.
    pub(super) fn source_lost(
        &mut self,
        ix: TopicIx,
        partition: i32,
        log_start: i64,
        log_end: i64,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(ack) = self.ack_of(ix) else {
            return;
        };
        // Before anything is begun anew.
        self.acks_heard_are_done(ack);
        let topic = &mut self.topics[usize::from(ix.0)];
        let name = topic.settings.name.clone();
        let Some(p) = topic.partitions.get_mut(&partition) else {
            return;
        };
        if p.is_lost() {
            return;
        }
        if p.applied <= 0 && log_start == 0 {
            // It was to be read from where its log begins, and has not lost its beginning: its leader did not know it yet.
            p.paused = false;
            effects.push(Effect::ReadSource {
                topic: ix,
                partition,
                from: p.applied,
            });
            return;
        }
        let cut = log_start <= p.applied;
        let (frozen, resume_source) = if cut {
            // What was read is gone, and other records have its offsets. Of what lies below the low-water mark nothing
            // is needed; the rest is known only by reading it again.
            let from = p.low().clamp(log_start, log_end.max(log_start));
            let committed = p.committed.as_ref().filter(|(low, _)| from >= *low);
            let (low, mut acks) = committed.unwrap_or(&p.base).clone();
            if from < low {
                acks.clear();
            } else {
                raise(&mut acks, &p.committed_acks);
            }
            let frozen = cut_frozen(&name, partition, p.applied, log_end, now);
            let mut begun = Partition::begun(p.number, from, &acks, topic.policy.timeout_ms, now);
            begun.born = p.born;
            begun.lost = std::mem::take(&mut p.lost);
            topic.replace_partition(begun, effects);
            (frozen, from)
        } else {
            let frozen = source_frozen(&name, partition, p.applied, log_start, now);
            (frozen, log_start)
        };
        let lost = LostRange {
            resume_source,
            replay_acks: cut,
        };
        if topic.lose(&[partition], &frozen, Some(lost), effects) {
            self.acks[usize::from(ack.0)].stage = AckStage::Waiting;
        }
    }

    /// The broker has not got the ACKs that we were to read next, by the order of that generation.
    pub(super) fn acks_lost(
        &mut self,
        (ack, generation): (AckIx, u64),
        partition: i32,
        log_start: i64,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(state) = self.acks.get_mut(usize::from(ack.0)) else {
            return;
        };
        if generation != state.topic.generation && Guard::ReaderOrder.holds() {
            return;
        }
        match state.log_starts.iter_mut().find(|(n, _)| *n == partition) {
            Some((_, start)) => *start = log_start,
            None => state.log_starts.push((partition, log_start)),
        }
        let mut ours = self
            .topics
            .iter()
            .filter(|t| t.settings.ack == ack)
            .flat_map(|t| t.partitions.values())
            .peekable();
        let read_anew = |p: &Partition| match &p.stage {
            Stage::Replaying(_) => true,
            Stage::Lost(_, lost) => lost.replay_acks,
            Stage::Live => false,
        };
        if state.stage == AckStage::Waiting && ours.peek().is_some() && ours.all(read_anew) {
            // Where the reader stood says nothing of these: their ACKs are read from E, once their sources are at their
            // ends. If E is gone too, that is told then, or by the fence that they wait for.
            state.topic.forget_position(partition);
            return;
        }
        let was = state.topic.applied(partition).unwrap_or(-1);
        if was <= 0 && log_start == 0 {
            // As for a source.
            let order = state.topic.restart_at(&[(partition, LOG_START)]);
            effects.push(order.effect(&state.topic));
            return;
        }
        let cut = log_start <= was;
        for topic in self.topics.iter_mut().filter(|t| t.settings.ack == ack) {
            if cut {
                topic.forget_acks_from(partition, log_start);
                let frozen = acks_cut_frozen(topic, partition, was, now);
                let all: Vec<i32> = topic.partitions.keys().copied().collect();
                topic.lose(&all, &frozen, None, effects);
            } else {
                topic.lose_acks(partition, was, log_start, now, effects);
            }
        }
        if cut {
            state.replay_anew();
        }
        // Reading goes on in any case: what is frozen does not fire, the rest needs its ACKs.
        let order = state.topic.restart_at(&[(partition, log_start)]);
        effects.push(order.effect(&state.topic));
    }

    /// A partition of the ACK topic has lost its end, and other records will have the offsets of what stood there.
    pub(super) fn acks_cut(
        &mut self,
        ack: AckIx,
        (partition, was, end): (i32, i64, i64),
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(state) = self.acks.get_mut(usize::from(ack.0)) else {
            return;
        };
        for topic in self.topics.iter_mut().filter(|t| t.settings.ack == ack) {
            topic.forget_acks_from(partition, end);
            let frozen = acks_cut_frozen(topic, partition, was, now);
            let all: Vec<i32> = topic.partitions.keys().copied().collect();
            topic.lose(&all, &frozen, None, effects);
        }
        // What lies below the end is what it was.
        let to = state.topic.applied(partition).map_or(end, |at| at.min(end));
        state.replay_anew();
        if state.stage == AckStage::Live {
            let order = state.topic.restart_at(&[(partition, to)]);
            effects.push(order.effect(&state.topic));
        } else {
            state.topic.set_back(partition, to);
        }
    }

    /// Another topic of the same name: nothing that is known of the old one is about its messages.
    pub(super) fn source_made_anew(
        &mut self,
        ix: TopicIx,
        log_starts: &[(i32, i64)],
        ack_ends: &[(i32, i64)],
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(topic) = self.topics.get_mut(usize::from(ix.0)) else {
            return;
        };
        let timeout_ms = topic.policy.timeout_ms;
        let mut numbers = Vec::new();
        for (number, start) in log_starts {
            if topic.partitions.contains_key(number) {
                let mut begun = Partition::begun(*number, *start, ack_ends, timeout_ms, now);
                begun.born = *start;
                topic.replace_partition(begun, effects);
                numbers.push(*number);
            }
        }
        // Reports of what was submitted for old messages say nothing of new ones at their positions.
        topic.publishing.clear();
        topic.publishing_bytes = 0;
        topic.settled.forget_all();
        topic.forget_fences();
        let frozen = recreated_frozen(&topic.settings.name, FrozenWhy::SourceLost, now);
        topic.lose(&numbers, &frozen, None, effects);
    }

    /// Another ACK topic of the same name: the ACKs that stood on the old one and were not read are lost.
    pub(super) fn ack_topic_made_anew(
        &mut self,
        ack: AckIx,
        log_starts: &[(i32, i64)],
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(state) = self.acks.get_mut(usize::from(ack.0)) else {
            return;
        };
        for topic in self.topics.iter_mut().filter(|t| t.settings.ack == ack) {
            topic.forget_ack_positions();
            let frozen = recreated_frozen(&topic.settings.ack_name, FrozenWhy::AcksLost, now);
            let all: Vec<i32> = topic.partitions.keys().copied().collect();
            topic.lose(&all, &frozen, None, effects);
        }
        state.topic.forget();
        let rebuilds = self.rebuild.as_ref().map(|rebuild| rebuild.round);
        state.rounds_of_before = (self.round, rebuilds.unwrap_or(self.rebuild_rounds));
        state.targets.clear();
        state.log_starts = log_starts.to_vec();
        match state.stage {
            AckStage::Waiting => {}
            AckStage::Replaying => state.stage = AckStage::Waiting,
            AckStage::Live => {
                let order = state.topic.restart_at(&state.log_starts);
                effects.push(order.effect(&state.topic));
            }
        }
    }

    /// Lost ranges that were reported and gone on from since the last call, for the log.
    pub fn take_lost_ranges(&mut self) -> Vec<(TopicIx, Frozen)> {
        let each = self.topics.iter_mut();
        each.flat_map(|t| {
            t.lost_untold
                .drain(..)
                .map(|f| (t.ix, f))
                .collect::<Vec<_>>()
        })
        .collect()
    }
}

impl Topic {
    /// Something of these partitions is lost: they stand still, or go on from there (from where they are, without
    /// `lost`), as the policy says. True if the ACKs since E are to be read again now.
    fn lose(
        &mut self,
        partitions: &[i32],
        frozen: &Frozen,
        lost: Option<LostRange>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if partitions.is_empty() {
            return false;
        }
        self.counters.lost_ranges += 1;
        let stop = self.policy.on_lost_range == OnLostRange::Stop;
        if !stop {
            self.lost_untold.push(frozen.clone());
        }
        let mut replay = false;
        for number in partitions {
            let Some(p) = self.partitions.get_mut(number).filter(|p| !p.is_lost()) else {
                continue;
            };
            let mut go_on = lost.unwrap_or(LostRange {
                resume_source: p.applied,
                replay_acks: false,
            });
            // While it is rebuilt, copies of what it knows, or will know, may lie in what was not read of its source yet.
            go_on.replay_acks |= p.stage != Stage::Live;
            if stop {
                p.stage = Stage::Lost(frozen.clone(), go_on);
                effects.push(Effect::StopSource {
                    topic: self.ix,
                    partition: *number,
                });
            } else if lost.is_some() || matches!(p.stage, Stage::Replaying(None)) {
                p.skip_to(go_on.resume_source);
                // Whoever reads anew is not paused.
                p.paused = false;
                replay |= go_on.replay_acks;
                effects.push(Effect::ReadSource {
                    topic: self.ix,
                    partition: *number,
                    from: p.applied,
                });
            }
        }
        self.moved = true;
        replay
    }

    /// The ACKs from `was`, where the reader stood, to `log_start` are gone: whoever needed any of them has lost it.
    fn lose_acks(
        &mut self,
        ack_partition: i32,
        was: i64,
        log_start: i64,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let needed = |p: &Partition| p.needs_acks_from(ack_partition).max(was);
        let theirs = self.partitions.values().filter(|p| needed(p) < log_start);
        let Some(from) = theirs.map(needed).min() else {
            return;
        };
        self.overflow.are_gone(ack_partition, log_start);
        let frozen = acks_frozen(self, ack_partition, from, log_start, now);
        let mut numbers = Vec::new();
        for p in self.partitions.values_mut() {
            if needed(p) < log_start {
                p.do_without_acks(&[(ack_partition, log_start)]);
                if let Stage::Lost(stands_for, _) = &mut p.stage
                    && stands_for.why != FrozenWhy::AcksLost
                {
                    // It is decided of with the rest.
                    *stands_for = frozen.and(stands_for);
                }
                numbers.push(p.number);
            }
        }
        self.lose(&numbers, &frozen, None, effects);
    }

    /// The reader goes back for others. What was applied to those that hear need not be read again for them, but for what
    /// was let go. Those that are rebuilt take nothing early while their sources are read: what is kept is read again.
    pub(super) fn acks_are_done(
        &mut self,
        applied: &[(i32, i64)],
        hears: impl Fn(&Partition) -> bool,
    ) {
        let applied = applied.iter().map(|(n, at)| {
            let let_go = self.overflow.lowest(*n);
            (*n, let_go.map_or(*at, |lowest| lowest.min(*at)))
        });
        let applied: Vec<(i32, i64)> = applied.collect();
        for p in self.partitions.values_mut().filter(|p| hears(p)) {
            raise(&mut p.acks_done, &applied);
            if p.stage != Stage::Live {
                p.needs_what_is_kept(&self.early_by_id);
            }
        }
    }

    fn replace_partition(&mut self, partition: Partition, effects: &mut Vec<Effect>) {
        self.drop_partition(partition.number, effects);
        self.partitions.insert(partition.number, partition);
        self.overflow.is_known_to_all = false;
    }

    /// Where anything stood on the ACK topic says nothing any more.
    fn forget_ack_positions(&mut self) {
        self.forget_fences();
        self.overflow = Overflow::default();
        self.replay_ends = Vec::new();
        self.shorter = None;
        for p in self.partitions.values_mut() {
            p.forget_ack_positions();
        }
    }

    /// Of a partition of the ACK topic, what stood from there on stands there no more, and what will is about something else.
    /// What is known of the others holds.
    fn forget_acks_from(&mut self, partition: i32, end: i64) {
        self.forget_fences();
        self.overflow = Overflow::default();
        self.replay_ends = Vec::new();
        self.shorter = None;
        for p in self.partitions.values_mut() {
            p.forget_acks_from(partition, end);
        }
    }

    /// They compare logs of which one is another now.
    pub(super) fn forget_fences(&mut self) {
        self.fences.clear();
        self.fence_asked = None;
        self.moved = true;
    }

    /// Somebody decided: what stood still goes on, without the ACKs that are known to be gone, if it stood still for some.
    /// True if the ACKs since E are to be read again.
    pub(super) fn go_on(
        &mut self,
        ack_log_starts: &[(i32, i64)],
        effects: &mut Vec<Effect>,
    ) -> bool {
        let mut replay_acks = false;
        for p in self.partitions.values_mut() {
            let Stage::Lost(frozen, lost) = &p.stage else {
                continue;
            };
            let lost = *lost;
            let acks_were_lost = frozen.why == FrozenWhy::AcksLost;
            replay_acks |= lost.replay_acks;
            p.stage = Stage::Replaying(None);
            p.needs_what_is_kept(&self.early_by_id);
            if acks_were_lost {
                p.do_without_acks(ack_log_starts);
            }
            p.skip_to(lost.resume_source);
            p.paused = false;
            effects.push(Effect::ReadSource {
                topic: self.ix,
                partition: p.number,
                from: p.applied,
            });
        }
        // Where what stood still ends was compared with nothing.
        self.early_by_id.wait_anew();
        self.ask_fence_anew();
        replay_acks
    }

    /// The ACK ends of a fence at which the partition was not there. That it was not named proves nothing: who answers may
    /// hear of it later than those who write to it. That another one, a minute later, did not name it either is proof; that it
    /// became ours only now is none, since it may have been there for long.
    fn fence_without(&self, number: i32) -> Option<Vec<(i32, i64)>> {
        let named = self.fences.iter().position(|f| {
            let mut named = f.fence.source_ends.iter();
            named.any(|(n, _)| *n == number)
        });
        let without = self.fences.iter().take(named.unwrap_or(self.fences.len()));
        let mut without = without.rev();
        let newest = without.next()?;
        // An answer may have been given at any time until it was given up.
        let proves_ms = HEARD_OF_WITHIN_MS + FENCE_LOST_MS;
        let not_there = |f: &&KeptFence| f.asked_ms + proves_ms <= newest.asked_ms;
        let fence = if Guard::AppearedBehindFence.holds() {
            without.find(not_there)?
        } else {
            newest
        };
        Some(fence.fence.ack_ends.clone())
    }

    /// Where a partition stands when it is ours: from its image, or from (L, E); frozen, if something was lost.
    pub(super) fn take_over(&mut self, assignment: Assignment, now: Now) -> Partition {
        let (number, log_start) = (assignment.partition, assignment.log_start);
        let recreated = assignment.recreated;
        let mut acks = match assignment.acks.clone() {
            // What is said of it was said after a fence at which it was not there.
            None if assignment.appeared => self.fence_without(number).unwrap_or_default(),
            acks => acks.unwrap_or_default(),
        };
        if assignment.acks.is_none() {
            // What was gone by then cannot be missed later: to commit an E before it would look like a loss.
            raise(&mut acks, &assignment.ack_log_starts);
        }
        let low = match assignment.low {
            // It appeared: what is gone of it was there.
            LOG_START => 0,
            // L is of another log.
            _ if recreated == Some(Recreated::Source) => log_start,
            low => low,
        };
        let mut p = match assignment.image {
            Some(image) if recreated != Some(Recreated::Source) => {
                let mut image = *image;
                if Guard::ReplayFromE.holds() {
                    // What lies before E is not needed, whatever the store has applied; and it may be gone at any moment.
                    raise(&mut image.header.acks_applied, &acks);
                    raise(&mut image.header.low_acks, &acks);
                }
                self.restore(number, image, low, now)
            }
            _ => Partition::begun(number, low, &acks, self.policy.timeout_ms, now),
        };
        p.born = assignment.born;
        p.committed_acks.clone_from(&acks);
        p.former_owner_until_ms = assignment.former_owner_until_ms;
        let mut frozen = None;
        if recreated == Some(Recreated::Source) {
            p.born = log_start;
            frozen = Some(recreated_frozen(
                &self.settings.name,
                FrozenWhy::SourceLost,
                now,
            ));
        } else if p.low() < log_start {
            let from = p.low();
            frozen = Some(source_frozen(
                &self.settings.name,
                number,
                from,
                log_start,
                now,
            ));
        }
        self.counters.lost_ranges += u64::from(frozen.is_some());
        if recreated == Some(Recreated::AckTopic) {
            p.forget_ack_positions();
            self.counters.lost_ranges += 1;
            let name = &self.settings.ack_name;
            frozen.get_or_insert_with(|| recreated_frozen(name, FrozenWhy::AcksLost, now));
        } else if assignment.acks.is_some()
            && let Some((n, start)) = assignment
                .ack_log_starts
                .iter()
                .find(|(n, start)| offset_in(&p.replay_from, *n) < *start)
        {
            self.counters.lost_ranges += 1;
            let from = offset_in(&p.replay_from, *n);
            let acks = acks_frozen(self, *n, from, *start, now);
            frozen = Some(match frozen {
                Some(source) => acks.and(&source),
                None => acks,
            });
            p.do_without_acks(&assignment.ack_log_starts);
        }
        let resume_source = p.applied.max(log_start);
        match frozen {
            Some(frozen) if self.policy.on_lost_range == OnLostRange::Stop => {
                let lost = LostRange {
                    resume_source,
                    replay_acks: true,
                };
                p.stage = Stage::Lost(frozen, lost);
            }
            Some(frozen) => {
                self.lost_untold.push(frozen);
                p.skip_to(resume_source);
            }
            None => p.skip_to(resume_source),
        }
        p
    }
}

impl Partition {
    /// From (L, E), with nothing known.
    fn begun(number: i32, low: i64, acks: &[(i32, i64)], timeout_ms: u64, now: Now) -> Self {
        let mut p = Self::new(number, low, timeout_ms, now);
        p.replay_from = acks.to_vec();
        p.base = (low, acks.to_vec());
        p
    }

    /// What is gone before there was told: it is not asked for again, neither now nor by a later owner.
    fn do_without_acks(&mut self, gone_before: &[(i32, i64)]) {
        raise(&mut self.acks_done, gone_before);
        raise(&mut self.committed_acks, gone_before);
    }

    /// What lies between where it is applied and `offset` can never be read.
    fn skip_to(&mut self, offset: i64) {
        if offset > self.applied {
            if self.lost.len() >= LOST_RANGES_MAX {
                self.lost.remove(0);
            }
            self.lost.push((self.applied, offset));
            self.set_applied(offset);
        }
    }

    /// The ACK topic was made anew: where anything stood on the old one says nothing any more.
    fn forget_ack_positions(&mut self) {
        self.replay_from = Vec::new();
        self.acks_done = Vec::new();
        self.unheard = None;
        self.committed_acks = Vec::new();
        self.base.1 = Vec::new();
        // What is being committed says nothing of them, whether it succeeds or not; and it is to be committed anew.
        self.committed = None;
        if let Some((_, acks)) = &mut self.commit_in_flight {
            acks.clear();
        }
        self.pins = super::pins::Pins::default();
        let nowhere = LogPosition::new(-1, -1);
        let origins: Vec<i64> = self.details.keys().copied().collect();
        for origin in origins {
            self.update(origin, |d| {
                if let Some(pending) = &mut d.pending {
                    pending.at = nowhere;
                }
                d.ack_beside_death = d.ack_beside_death.map(|_| nowhere);
            });
        }
    }
}

impl Partition {
    fn forget_acks_from(&mut self, partition: i32, end: i64) {
        self.unheard = None;
        self.committed = None;
        let in_flight = self.commit_in_flight.as_mut().map(|(_, acks)| acks);
        let known = [
            &mut self.replay_from,
            &mut self.acks_done,
            &mut self.base.1,
            &mut self.committed_acks,
        ];
        for acks in known.into_iter().chain(in_flight) {
            for (n, at) in acks {
                if *n == partition {
                    *at = (*at).min(end);
                }
            }
        }
        let is_gone = |at: LogPosition| at.partition == partition && at.offset >= end;
        let nowhere = LogPosition::new(-1, -1);
        let origins: Vec<i64> = self.details.keys().copied().collect();
        for origin in origins {
            self.update(origin, |d| {
                if let Some(pending) = d.pending.as_mut().filter(|p| is_gone(p.at)) {
                    pending.at = nowhere;
                }
                d.ack_beside_death = d
                    .ack_beside_death
                    .map(|at| if is_gone(at) { nowhere } else { at });
            });
        }
    }
}

/// Each offset is at least that of `to`.
fn raise(offsets: &mut Vec<(i32, i64)>, to: &[(i32, i64)]) {
    for (n, least) in to {
        match offsets.iter_mut().find(|(m, _)| m == n) {
            Some((_, offset)) => *offset = (*offset).max(*least),
            None => offsets.push((*n, *least)),
        }
    }
}

impl Frozen {
    /// That was lost, too.
    fn and(&self, other: &Self) -> Self {
        Self {
            detail: format!("{}; and {}", self.detail, other.detail).into(),
            ..self.clone()
        }
    }
}

/// What an operator does who wants to go on.
fn cure(what: &str, then: &str) -> Box<str> {
    format!("{what}, set on_lost_range = \"report-and-continue\" (PATCH the topic); and {then}")
        .into()
}

fn source_frozen(name: &str, partition: i32, from: i64, log_start: i64, now: Now) -> Frozen {
    Frozen {
        why: FrozenWhy::SourceLost,
        since_wall_ms: now.wall_ms,
        detail: format!(
            "{name}/{partition}: records {from} to {} were gone before they were settled (retention or DeleteRecords)",
            log_start - 1
        )
        .into(),
        cure: cure(
            "to go on from where the log begins now",
            "give the topic more retention than a message may be outstanding and the coordinator away",
        ),
    }
}

fn cut_frozen(name: &str, partition: i32, applied: i64, log_end: i64, now: Now) -> Frozen {
    Frozen {
        why: FrozenWhy::SourceLost,
        since_wall_ms: now.wall_ms,
        detail: format!(
            "{name}/{partition}: records up to {applied} were read, and the log ends at {log_end}: it was cut (an unclean \
             leader election), or the topic was made anew"
        )
        .into(),
        cure: cure(
            "to read again what there is from the low-water mark on",
            "set unclean.leader.election.enable=false",
        ),
    }
}

fn acks_frozen(topic: &Topic, partition: i32, from: i64, log_start: i64, now: Now) -> Frozen {
    Frozen {
        why: FrozenWhy::AcksLost,
        since_wall_ms: now.wall_ms,
        detail: format!(
            "{}/{partition}: ACKs {from} to {} were gone before they were read; who was acknowledged in them cannot be \
             told, so nothing is retried",
            topic.settings.ack_name,
            log_start - 1
        )
        .into(),
        cure: cure(
            "to retry what is not known to be acknowledged",
            "give the ack topic at least the retention of the source",
        ),
    }
}

fn acks_cut_frozen(topic: &Topic, partition: i32, was: i64, now: Now) -> Frozen {
    Frozen {
        why: FrozenWhy::AcksLost,
        since_wall_ms: now.wall_ms,
        detail: format!(
            "{}/{partition} ends before offset {was}, up to which its ACKs were known: its log has lost its end; who was \
             acknowledged in it cannot be told, so nothing is retried",
            topic.settings.ack_name,
        )
        .into(),
        cure: cure(
            "to retry what is not known to be acknowledged",
            "keep the ack topic on several brokers, without unclean elections",
        ),
    }
}

fn recreated_frozen(name: &str, why: FrozenWhy, now: Now) -> Frozen {
    let cure = match why {
        FrozenWhy::AcksLost => cure(
            "to retry what is not known to be acknowledged",
            "keep the ack topic for as long as its messages are tracked",
        ),
        _ => cure(
            "to track the topic that is there now, from its first record",
            "let messages be settled before their topic is made anew",
        ),
    };
    Frozen {
        why,
        since_wall_ms: now.wall_ms,
        detail: format!("{name} is not the topic that was read before: it was made anew").into(),
        cure,
    }
}
