//! The lease: for how long after the group confirmed us last we may publish for a partition.
//!
//! It counts from the *send* of the last successful commit of the partition itself, and lasts half a session: the group
//! gives our partitions to nobody else before a whole session has passed without a word from us. So a process that stood
//! still for too long finds its lease lapsed, and publishes nothing more, whatever it believes. Who takes a partition over
//! waits until what the owner before may have submitted has landed or timed out, and only then reads to the end.
//!
//! The first commit after an assignment comes when the partition is rebuilt: it carries our name, and from then on what is
//! in flight for the partition may be ours.

use super::coordinator::Coordinator;
use super::effect::{CommitOrder, Effect};
use super::guards::Guard;
use super::partition::{Partition, Stage};
use super::topic::{Cx, Topic};
use super::types::Now;
use super::view::{Frozen, FrozenWhy};

/// How often it is looked at whether a lease is to be renewed, or has lapsed, ms.
const LOOK_EVERY_MS: u64 = 50;
/// A commit that failed is tried again no sooner than this, ms.
const COMMIT_AGAIN_MS: u64 = 500;
/// When one is renewed, those that are older than this are renewed with it, ms: one request instead of many.
const TOGETHER_MS: u64 = 1_000;

/// Blocks of a partition that are packed at a turn: each takes some microseconds.
const TIDY_BLOCKS_MAX: usize = 500;

impl Partition {
    /// Whether the group has confirmed us recently enough.
    pub fn is_leased(&self, now_ms: u64, lease_ms: u64) -> bool {
        !Guard::Lease.holds()
            || self
                .leased_from
                .is_some_and(|from| now_ms < from.saturating_add(lease_ms))
    }

    /// It is rebuilt, and had a lease once.
    pub fn has_lapsed(&self, now_ms: u64, lease_ms: u64) -> bool {
        self.stage == Stage::Live && self.leased_from.is_some() && !self.is_leased(now_ms, lease_ms)
    }

    fn wants_renewal(&self, now_ms: u64, older_than_ms: u64) -> bool {
        let old = |from: u64| now_ms >= from.saturating_add(older_than_ms);
        self.stage == Stage::Live
            && self.leased_from.is_none_or(old)
            && self.commit_in_flight.is_none()
            && now_ms >= self.commit_tried_ms.saturating_add(COMMIT_AGAIN_MS)
    }
}

impl Coordinator {
    /// Commits what moved, and renews leases at a quarter of the session.
    pub(super) fn commit(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let now_ms = now.mono_ms;
        let lease_ms = self.limits.lease_ms;
        let regular = now_ms >= self.last_commit + self.limits.commit_every_ms;
        if !regular && now_ms < self.lease_looked_at + LOOK_EVERY_MS {
            return;
        }
        self.lease_looked_at = now_ms;
        let mut each = self.topics.iter().flat_map(|t| t.partitions.values());
        let renew = each.any(|p| p.wants_renewal(now_ms, lease_ms / 2));
        for topic in &mut self.topics {
            topic.purge_if_lapsed(now_ms, lease_ms, effects);
        }
        if !regular && !renew {
            return;
        }
        let mut orders: Vec<CommitOrder> = Vec::new();
        for topic in &mut self.topics {
            let acks = &self.acks[usize::from(topic.settings.ack.0)].topic;
            let renewed = |p: &Partition| renew && p.wants_renewal(now_ms, TOGETHER_MS);
            topic.commit_orders(acks, now, renewed, &mut orders);
        }
        if !orders.is_empty() {
            effects.push(Effect::Commit(orders));
        }
        if regular {
            self.last_commit = now_ms;
            for topic in &mut self.topics {
                topic.settled.expire(now.wall_ms);
                for p in topic.partitions.values_mut() {
                    p.slots.tidy(p.applied, TIDY_BLOCKS_MAX);
                }
            }
        }
    }
}

impl Topic {
    /// Whether anything may be submitted for the partition.
    pub fn may_publish(&self, number: i32, cx: &Cx<'_>) -> bool {
        let p = self.partitions.get(&number);
        p.is_some_and(|p| p.is_leased(cx.now.mono_ms, cx.lease_ms))
    }

    /// What an operator is told while there is no lease although there should be one.
    pub fn lapsed(&self, now: Now, lease_ms: u64) -> Option<Frozen> {
        let lapsed = |p: &&Partition| {
            let refused = p.stage == Stage::Live && p.commit_fails.is_some();
            p.has_lapsed(now.mono_ms, lease_ms) || (refused && !p.is_leased(now.mono_ms, lease_ms))
        };
        let p = self.partitions.values().find(lapsed)?;
        Some(Frozen {
            why: FrozenWhy::LeaseLapsed,
            since_wall_ms: p.commit_fails.unwrap_or(now).wall_ms,
            detail: format!(
                "the group {}: partition {} may be another instance's by now, so nothing is published for it",
                match p.leased_from {
                    Some(_) => "has taken no commit from us for half a session",
                    None => "takes no commit from us",
                },
                p.number
            )
            .into(),
            cure: "look at the brokers, and whether the user has READ on the group; it goes on by itself".into(),
        })
    }

    /// What waits in the producer's queue was submitted under a lease that is no more.
    fn purge_if_lapsed(&mut self, now_ms: u64, lease_ms: u64, effects: &mut Vec<Effect>) {
        let Self {
            partitions,
            publishing,
            ..
        } = self;
        for p in partitions.values_mut().filter(|p| !p.purged) {
            let number = p.number;
            let waits = || publishing.values().any(|s| s.partition == number);
            if p.has_lapsed(now_ms, lease_ms) && waits() {
                p.purged = true;
                if effects.last() != Some(&Effect::PurgeQueue) {
                    effects.push(Effect::PurgeQueue);
                }
            }
        }
    }
}
