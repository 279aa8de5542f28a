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
use super::topic::{Cx, Topic};
use super::types::{Now, Round};

/// Fences kept a topic; between the oldest and the newest, every other one goes. An older fence than necessary is
/// still right: E only stays further back.
const FENCES_MAX: usize = 64;
/// A fence is asked for at most that often while things move.
const FENCE_EVERY_MS: u64 = 1_000;
/// And this often while a partition waits for one to be caught up.
const FENCE_EVERY_MS_REPLAYING: u64 = 200;
/// A question without an answer is given up after this.
const FENCE_LOST_MS: u64 = 30_000;

impl Topic {
    /// Asks for a fence where one is wanted.
    pub fn want_fence(&mut self, next_round: &mut Round, cx: &mut Cx<'_>) {
        if self.partitions.is_empty() {
            return;
        }
        let now_ms = cx.now.mono_ms;
        let replaying = self.partitions.values().any(|p| {
            matches!(p.stage, Stage::Replaying(None)) && now_ms >= p.former_owner_until_ms
        });
        let wanted = replaying || self.moved || self.has_early() || !self.overflow.is_empty();
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

    pub fn on_fence(&mut self, round: Round, answer: &Result<Fence, AskError>, cx: &mut Cx<'_>) {
        let asked_ms = match self.fence_asked {
            Some((asked, at)) if asked == round => at.mono_ms,
            _ => return,
        };
        self.fence_asked = None;
        let fence = match answer {
            Ok(fence) if fence.source_ends.iter().all(|(_, end)| *end >= 0) => fence,
            _ => {
                self.moved = true;
                return;
            }
        };
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
        self.fences.push_back(fence.clone());
        if self.fences.len() > FENCES_MAX {
            let mut index = 0;
            let last = self.fences.len() - 1;
            self.fences.retain(|_| {
                index += 1;
                index == 1 || index > last || index % 2 == 0
            });
        }
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
            .find(|f| source_end(f, p.number) <= low || !Guard::FenceBelowLow.holds());
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
            if let Some(overflow) = self.overflow.get(n) {
                e = e.min(*overflow);
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

/// Where the source ended at the fence. A partition that was not there had no records: 0.
fn source_end(fence: &Fence, partition: i32) -> i64 {
    offset_in(&fence.source_ends, partition)
}

pub(super) fn offset_in(offsets: &[(i32, i64)], partition: i32) -> i64 {
    // Mostly all partitions are there, in order.
    let guess = usize::try_from(partition).ok().and_then(|n| offsets.get(n));
    guess
        .filter(|(n, _)| *n == partition)
        .or_else(|| offsets.iter().find(|(n, _)| *n == partition))
        .map_or(0, |(_, offset)| *offset)
}
