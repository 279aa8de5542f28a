//! The low-water mark: what is committed as the group's offset, and up to where ACKs may be forgotten.
//!
//! A fence reads the ACK end E, then the source end S: every ACK for a record at or past S lies at or past E. For the
//! commit (L, E): L is the lowest unsettled anchor; E is the least of the newest fence with S ≤ L, the applied
//! position, and the pinned verdicts (invariants 2 and 3).

use super::ack_topic::AckTopic;
use super::effect::{CommitOrder, Effect};
use super::event::{AskError, Fence};
use super::guards::Guard;
use super::partition::{Partition, Stage};
use super::stages::AckState;
use super::topic::{Cx, Topic};
use super::types::{Now, Round};

/// Fences kept a topic; between the oldest and the newest, every other one goes. An older fence than necessary is
/// still right: E only stays further back.
const FENCES_MAX: usize = 64;
/// A fence is asked for at most that often while things move.
const FENCE_EVERY_MS: u64 = 1_000;
/// And this often while a partition waits for one to be caught up.
const FENCE_EVERY_MS_REPLAYING: u64 = 200;
/// An ACK partition that ends before what is known of it, by all answers for that long, has lost its end.
const BELIEVED_AFTER_MS: u64 = 30_000;
/// Answers that are further apart are none in a row.
const IN_A_ROW_WITHIN_MS: u64 = 10_000;
/// A question without an answer is given up after this.
pub(super) const FENCE_LOST_MS: u64 = 30_000;

/// An answer that knew all there was to know.
#[derive(Clone)]
pub(super) struct KeptFence {
    pub asked_ms: u64,
    pub fence: Fence,
    /// Partitions that were ours then, ascending. Of the others nobody could tell whether who answered knew them.
    holds_for: Vec<i32>,
}

impl KeptFence {
    pub fn holds_for(&self, partition: i32) -> bool {
        self.holds_for.binary_search(&partition).is_ok() || !Guard::FenceHoldsForItsOwn.holds()
    }
}

/// What an answer is worth.
enum Knows {
    All,
    Less,
    /// All, but a partition of the ACK topic was known up to there, and ends before it, there.
    ShorterAcks(i32, i64, i64),
}

/// Which, since when, and when that was told last, monotonic ms.
#[derive(Clone, Copy)]
pub(super) struct Shorter {
    partition: i32,
    since_ms: u64,
    heard_ms: u64,
}

impl Topic {
    /// Asks for a fence where one is wanted.
    pub fn want_fence(&mut self, acks: &AckState, next_round: &mut Round, cx: &mut Cx<'_>) {
        if self.partitions.is_empty() {
            return;
        }
        let now_ms = cx.now.mono_ms;
        let replaying = self.partitions.values().any(|p| {
            matches!(p.stage, Stage::Replaying(None)) && now_ms >= p.former_owner_until_ms
        });
        let wanted = replaying || self.moved || self.awaits_acks();
        let every = if replaying {
            FENCE_EVERY_MS_REPLAYING
        } else {
            FENCE_EVERY_MS
        };
        let pending = self
            .fence_asked
            .is_some_and(|(_, at)| cx.now.mono_ms < at.mono_ms + FENCE_LOST_MS);
        if !wanted || pending || cx.now.mono_ms < self.fence_last.mono_ms + every {
            return;
        }
        self.acks_at_fence = acks.known();
        for p in self.partitions.values_mut() {
            p.applied_at_fence = Some(p.applied);
            // Of what is followed live, ACKs are applied past it.
            if matches!(p.stage, Stage::Replaying(_)) {
                for (n, from) in &p.replay_from {
                    raise(&mut self.acks_at_fence, *n, *from);
                }
            }
        }
        *next_round += 1;
        self.fence_asked = Some((*next_round, cx.now));
        self.fence_newest_asked = *next_round;
        self.fence_last = cx.now;
        self.moved = false;
        cx.effects.push(Effect::AskFence {
            topic: self.ix,
            round: *next_round,
        });
    }

    /// What becomes ours now is read to an end that is asked for from now on: an answer that is still out does not count.
    pub fn ask_fence_anew(&mut self) {
        if Guard::FenceSinceAssignment.holds() {
            self.fence_asked = None;
        }
        self.moved = true;
    }

    /// `no_acks`: the ACK topic was found not to be there. Gives a partition of the ACK topic that has lost its end,
    /// how far it was known, and where it ends.
    pub fn on_fence(
        &mut self,
        no_acks: bool,
        round: Round,
        answer: &Result<Fence, AskError>,
        cx: &mut Cx<'_>,
    ) -> Option<(i32, i64, i64)> {
        let asked_ms = match self.fence_asked {
            Some((asked, at)) if asked == round => at.mono_ms,
            _ => return None,
        };
        self.fence_asked = None;
        let fence = match answer {
            Ok(fence) => fence,
            Err(_) => {
                self.moved = true;
                return None;
            }
        };
        match self.what_it_knows(fence, no_acks) {
            Knows::All => self.shorter = None,
            Knows::Less => {
                self.moved = true;
                return None;
            }
            Knows::ShorterAcks(partition, was, end) => {
                self.moved = true;
                let now_ms = cx.now.mono_ms;
                let before = self.shorter.take().filter(|s| {
                    s.partition == partition && now_ms < s.heard_ms + IN_A_ROW_WITHIN_MS
                });
                let since_ms = before.map_or(now_ms, |s| s.since_ms);
                if now_ms >= since_ms + BELIEVED_AFTER_MS {
                    return Some((partition, was, end));
                }
                self.shorter = Some(Shorter {
                    partition,
                    since_ms,
                    heard_ms: now_ms,
                });
                return None;
            }
        }
        for p in self.partitions.values_mut() {
            // What was submitted when it was ours before has to be in the log first, if it ever will be.
            let ours = self.publishing.values().map(|s| s.partition);
            let settled = ours
                .chain(self.reports_out.iter().copied())
                .all(|n| n != p.number)
                || !Guard::ReportsBeforeRebuild.holds();
            // And what its former owner submitted.
            let theirs = asked_ms >= p.former_owner_until_ms || !Guard::FormerOwner.holds();
            if p.stage == Stage::Replaying(None) && settled && theirs {
                let end = fence.source_ends.iter().find(|(n, _)| *n == p.number);
                if let Some((_, end)) = end {
                    let end = if Guard::SourceCaughtUp.holds() {
                        *end
                    } else {
                        p.applied
                    };
                    p.stage = Stage::Replaying(Some(end));
                }
            }
        }
        self.drop_orphans(Some((round, &fence.source_ends)), cx);
        self.fences.push_back(KeptFence {
            asked_ms,
            fence: fence.clone(),
            holds_for: self.asked_about().map(|(n, _)| n).collect(),
        });
        if self.fences.len() > FENCES_MAX {
            let mut index = 0;
            let last = self.fences.len() - 1;
            self.fences.retain(|_| {
                index += 1;
                index == 1 || index > last || index % 2 == 0
            });
        }
        None
    }

    /// What was ours when the newest fence was asked for, and still is; and how far it was read by then.
    fn asked_about(&self) -> impl Iterator<Item = (i32, i64)> {
        let ours = self.partitions.values().filter(|p| !p.is_lost());
        ours.filter_map(|p| Some((p.number, p.applied_at_fence?)))
    }

    /// A broker that has just started, or lags behind, may answer for a topic of which it knows nothing yet, or only part;
    /// a leader of before may tell an end of before. What was read by then was there: an answer that has less of it is none.
    fn what_it_knows(&self, fence: &Fence, no_acks: bool) -> Knows {
        let (sources, ack_ends) = (&fence.source_ends, &fence.ack_ends);
        if !sources.iter().chain(ack_ends).all(|(_, end)| *end >= 0) {
            return Knows::Less;
        }
        let reaches = |ends: &[(i32, i64)], n: i32, at: i64| {
            let end = named(ends, n);
            end.is_some_and(|end| end >= at) || !Guard::FenceKnowsAll.holds()
        };
        let mut ours = self.asked_about();
        if !ours.all(|(n, at)| reaches(sources, n, at)) {
            return Knows::Less;
        }
        if no_acks && ack_ends.is_empty() {
            return Knows::All;
        }
        let mut shorter = None;
        for (n, at) in &self.acks_at_fence {
            match named(ack_ends, *n) {
                _ if reaches(ack_ends, *n, *at) => {}
                Some(end) => shorter = shorter.or(Some((*n, *at, end))),
                None => return Knows::Less,
            }
        }
        shorter.map_or(Knows::All, |(n, was, end)| Knows::ShorterAcks(n, was, end))
    }

    /// What could be committed of a partition now: (L, E).
    pub fn low_water(&self, p: &Partition, acks: &AckTopic) -> Option<(i64, Vec<(i32, i64)>)> {
        let mut low = p.low();
        if low < 0 || p.is_lost() {
            return None;
        }
        if !Guard::LowestAnchor.holds() && low < p.applied {
            low += 1;
        }
        let fence = self
            .fences
            .iter()
            .rev()
            .filter(|f| f.holds_for(p.number))
            .map(|f| &f.fence)
            .find(|f| offset_in(&f.source_ends, p.number) <= low || !Guard::FenceBelowLow.holds());
        let mut es = Vec::with_capacity(acks.applied.len());
        for (n, applied) in &acks.applied {
            let base = offset_in(&p.base.1, *n);
            let fenced = fence.map_or(0, |f| offset_in(&f.ack_ends, *n));
            let mut e = base.max(fenced);
            if Guard::EApplied.holds() {
                e = e.min((*applied).max(0));
            }
            if let Some(pinned) = p.pins.lowest(*n) {
                e = e.min(pinned);
            }
            // No guard: the fence holds E back far enough already, since what an ACK that was let go is about is not below L.
            if let Some(let_go) = self.overflow.lowest(*n) {
                e = e.min(let_go);
            }
            if Guard::CommittedE.holds() {
                // Whatever holds it back was not needed when that was committed, and L has not gone back since.
                e = e.max(offset_in(&p.committed_acks, *n));
            }
            es.push((*n, e));
        }
        Some((low, es))
    }

    /// Orders commits of what has moved since the last, and of what is to be `renewed`.
    pub fn commit_orders(
        &mut self,
        acks: &AckTopic,
        now: Now,
        renewed: impl Fn(&Partition) -> bool,
        orders: &mut Vec<CommitOrder>,
    ) {
        let mut next = self.partition_behind(None);
        while let Some(number) = next {
            next = self.partition_behind(Some(number));
            let Some(p) = self.partitions.get_mut(&number) else {
                continue;
            };
            if p.low() != p.low_last {
                p.low_last = p.low();
                p.low_moved = now;
            }
            let low = p.low();
            p.pins.low_is(low);
            if p.commit_in_flight.is_some() {
                continue;
            }
            let Some(p) = self.partitions.get(&number) else {
                continue;
            };
            // Before the ACKs are replayed, nothing new is known.
            if p.stage != Stage::Live {
                continue;
            }
            let Some(mark) = self.low_water(p, acks) else {
                continue;
            };
            if p.committed.as_ref() == Some(&mark) && !renewed(p) {
                continue;
            }
            orders.push(CommitOrder {
                topic: self.ix,
                partition: number,
                low: mark.0,
                acks: mark.1.clone(),
            });
            if let Some(p) = self.partitions.get_mut(&number) {
                p.commit_in_flight = Some(mark);
                p.commit_tried_ms = now.mono_ms;
            }
        }
    }
}

pub(super) fn raise(offsets: &mut Vec<(i32, i64)>, partition: i32, to: i64) {
    // Mostly all partitions are there, in order.
    let guess = usize::try_from(partition).ok();
    let at = guess
        .filter(|at| offsets.get(*at).is_some_and(|(n, _)| *n == partition))
        .or_else(|| offsets.iter().position(|(n, _)| *n == partition));
    match at.map(|at| &mut offsets[at]) {
        Some((_, at)) => *at = (*at).max(to),
        None => offsets.push((partition, to)),
    }
}

pub(super) fn offset_in(offsets: &[(i32, i64)], partition: i32) -> i64 {
    named(offsets, partition).unwrap_or(0)
}

/// The offset of that partition, if it is among them.
pub(super) fn named(offsets: &[(i32, i64)], partition: i32) -> Option<i64> {
    // Mostly all partitions are there, in order.
    let guess = usize::try_from(partition).ok().and_then(|n| offsets.get(n));
    guess
        .filter(|(n, _)| *n == partition)
        .or_else(|| offsets.iter().find(|(n, _)| *n == partition))
        .map(|(_, offset)| *offset)
}
