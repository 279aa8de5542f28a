//! Early ACKs for which there was no room (12).
//!
//! They are let go, E stays at the lowest of them, and they are read again: once there is room and the source has passed
//! the fence that was asked after them, or as soon as something is due that one of them may be about. Until then nothing
//! fires that was read since the first of them was let go: its ACK may be among them (6).
//!
//! What is read again says nothing new of what it was applied to. It may fill the room again, and then it is read once
//! more; but only what was read of the source meanwhile has to wait for that, so each time leads further.

use std::collections::{BTreeMap, BTreeSet};

use super::ack_topic::AckTopic;
use super::coordinator::Coordinator;
use super::effect::Effect;
use super::guards::Guard;
use super::low_water::offset_in;
use super::partition::Partition;
use super::stages::AckStage;
use super::topic::Topic;
use super::types::{LogPosition, Now};

/// Between the end of one reading again and the next, ms: the barrier has to open in between.
const REST_MS: u64 = 2_000;
/// A reading that does not come back to where the last had been is given up after this, ms.
const GIVEN_UP_AFTER_MS: u64 = 30_000;

#[derive(Debug, Default)]
pub(super) struct Overflow {
    /// By partition of the ACK topic, the lowest that was let go.
    lowest: BTreeMap<i32, i64>,
    /// The newest fence that had been asked for by then.
    asked: u64,
    /// One of them may be about something that is due.
    is_waited_for: bool,
    /// They are on their way to be read again: the barrier has not opened since.
    pub is_read_again: bool,
    /// Every partition has its [`Unheard`].
    pub is_known_to_all: bool,
}

/// The reading again of an ACK topic: its reader goes back for all topics that it serves.
#[derive(Debug, Default)]
pub(super) struct ReadAgain {
    /// Where ACKs had been applied when it began, and when that was.
    to: Vec<(i32, i64)>,
    began_ms: u64,
    rests_until_ms: u64,
}

impl ReadAgain {
    /// Whether the next may begin.
    fn may_begin(&mut self, acks: &AckTopic, now_ms: u64) -> bool {
        if !self.to.is_empty() {
            let reached = self.to.iter().all(|(n, to)| acks.applied(*n) >= Some(*to));
            // What it was to reach may be gone.
            let given_up = now_ms >= self.began_ms + GIVEN_UP_AFTER_MS;
            if !reached && !given_up && acks.caught_up_as_of.is_none() {
                return false;
            }
            self.to.clear();
            self.rests_until_ms = now_ms + REST_MS;
        }
        now_ms >= self.rests_until_ms
    }
}

impl Overflow {
    pub fn is_empty(&self) -> bool {
        self.lowest.is_empty()
    }

    /// E stays there.
    pub fn lowest(&self, ack_partition: i32) -> Option<i64> {
        self.lowest.get(&ack_partition).copied()
    }

    fn add(&mut self, partition: i32, offset: i64, asked: u64) {
        let lowest = self.lowest.entry(partition).or_insert(offset);
        *lowest = (*lowest).min(offset);
        self.asked = asked;
    }

    /// What stood before that cannot be read again.
    pub fn are_gone(&mut self, partition: i32, log_start: i64) {
        if let Some(lowest) = self.lowest.get_mut(&partition) {
            *lowest = (*lowest).max(log_start);
        }
    }

    /// That of what was rebuilt beside us.
    pub fn absorb(&mut self, other: Self, asked: u64) {
        for (partition, offset) in other.lowest {
            self.add(partition, offset, asked);
        }
    }
}

impl Topic {
    /// There is no room for it.
    pub(super) fn let_go(&mut self, at: LogPosition) {
        self.overflow
            .add(at.partition, at.offset, self.fence_newest_asked);
        self.moved = true;
        if !std::mem::replace(&mut self.overflow.is_known_to_all, true) {
            for p in self.partitions.values_mut().filter(|p| p.unheard.is_none()) {
                p.unheard = Some(Unheard::from_now_on(p));
            }
        }
    }

    /// Whether an ACK that was let go may be about the message. It is waited for.
    pub(super) fn is_unheard(&mut self, number: i32, origin: i64) -> bool {
        let p = self.partitions.get(&number);
        let unheard = p.is_some_and(|p| p.is_unheard(origin)) && Guard::OverflowWaits.holds();
        self.overflow.is_waited_for |= unheard;
        unheard
    }

    /// What stands before it is about no message of ours, and may be gone.
    fn needed_from(&self, ack_partition: i32) -> i64 {
        let each = self.partitions.values().map(|p| {
            let base = offset_in(&p.base.1, ack_partition);
            base.max(offset_in(&p.committed_acks, ack_partition))
        });
        each.min().unwrap_or(0)
    }

    /// Something of which an ACK may have been let go.
    fn has_read_since(&self) -> bool {
        let mut unheard = self
            .partitions
            .values()
            .filter_map(|p| Some((p.applied, p.unheard.as_ref()?)));
        unheard.any(|(applied, unheard)| applied > unheard.from)
    }

    /// There is room, and what they are about was read.
    fn has_room_again(&self) -> bool {
        let Some(fence) = self.fences.back() else {
            return false;
        };
        self.early_weight() <= self.early_max / 2
            && self.fence_asked.is_none()
            && self.fence_newest_asked > self.overflow.asked
            && fence.fence.source_ends.iter().all(|(n, end)| {
                let p = self.partitions.get(n);
                p.is_none_or(|p| p.is_lost() || p.applied >= *end)
            })
    }
}

/// Deliveries of a partition that were not known yet when an ACK was let go: it may have been about one of them.
pub(super) struct Unheard {
    from: i64,
    /// At or past it, and known by then: reported, and not read yet.
    known: BTreeSet<i64>,
}

impl Unheard {
    fn from_now_on(p: &Partition) -> Self {
        let known = p.by_offset.keys().copied();
        Self {
            from: p.applied,
            known: known.filter(|offset| *offset >= p.applied).collect(),
        }
    }

    fn has(&self, offset: i64) -> bool {
        offset >= self.from && !self.known.contains(&offset)
    }
}

impl Partition {
    fn is_unheard(&self, origin: i64) -> bool {
        let Some(unheard) = &self.unheard else {
            return false;
        };
        let detail = self.details.get(&origin);
        unheard.has(origin)
            || detail.is_some_and(|d| d.deliveries.iter().any(|d| unheard.has(d.offset)))
    }
}

impl Coordinator {
    /// Has what was let go read again, where it is time.
    pub(super) fn read_overflow_again(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for state in &mut self.acks {
            let ack = state.topic.ix;
            let open = state.topic.caught_up_as_of.is_some();
            let mut wanted = false;
            for topic in self.topics.iter_mut().filter(|t| t.settings.ack == ack) {
                topic.overflow.is_read_again &= !open;
                let is_waited_for = std::mem::take(&mut topic.overflow.is_waited_for);
                if !topic.overflow.is_empty() {
                    // What is read waits for its ACKs, and the sources wait for that.
                    let stands_still = self.sources_paused && topic.has_read_since();
                    wanted |= is_waited_for || stands_still || topic.has_room_again();
                }
            }
            let may = state.again.may_begin(&state.topic, now.mono_ms);
            if !wanted || !may || state.stage != AckStage::Live {
                continue;
            }
            let mut from: BTreeMap<i32, i64> = BTreeMap::new();
            for topic in self.topics.iter_mut().filter(|t| t.settings.ack == ack) {
                topic.acks_are_done(&state.topic.applied, Partition::hears);
                // What was settled meanwhile is not to take the room again.
                topic.begin_replay();
                topic.overflow.is_read_again = Guard::OverflowWaits.holds();
                topic.overflow.is_known_to_all = false;
                for p in topic.partitions.values_mut() {
                    p.unheard = None;
                }
                for (n, at) in std::mem::take(&mut topic.overflow.lowest) {
                    let at = at.max(topic.needed_from(n));
                    for p in topic.partitions.values_mut() {
                        p.needs_acks_again(n, at);
                    }
                    // Where the reader is sent back for something else already, it comes by there.
                    let applied = state.topic.applied(n).unwrap_or(at);
                    let lowest = from.entry(n).or_insert(applied);
                    *lowest = (*lowest).min(at);
                }
            }
            let from: Vec<(i32, i64)> = from.into_iter().collect();
            let applied = |n: i32| Some((n, state.topic.applied(n)?));
            state.again.to = from.iter().filter_map(|(n, _)| applied(*n)).collect();
            state.again.began_ms = now.mono_ms;
            if Guard::OverflowShutsBarrier.holds() {
                // It says that everything up to then was applied.
                state.topic.caught_up_as_of = None;
            }
            let order = state.topic.restart_at(&from);
            effects.push(order.effect(&state.topic));
        }
    }
}
