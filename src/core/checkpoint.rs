//! What a checkpoint takes of a topic, and how a partition comes back from one.
//!
//! A message's age is kept as the wall-clock time at which it was seen; when it comes back, the age is the wall-clock
//! time since, never below 0: a crash loop cannot postpone a deadline for ever.

use super::coordinator::Coordinator;
use super::detail::{Delivery, Detail, LANDS_MAX, Pending, Phase};
use super::guards::Guard;
use super::image::{
    BlockImage, DeliveryImage, DetailImage, DetailState, Entries, Ids, PartitionChange,
    PartitionHeader, PartitionImage, VerdictImage,
};
use super::partition::{Partition, Span, Stage};
use super::policy::Policy;
use super::record::Verdict;
use super::slots::{Mark, Slot};
use super::topic::{Topic, wall_of};
use super::types::{LogPosition, Now, TopicIx};
use super::view::State;

/// A wall clock that moved by more than this against the monotonic one between two checkpoints was set: what the store has
/// of times would be off by as much.
const CLOCK_STEP_MS: u64 = 1_000;

impl Coordinator {
    /// What changed since the last call; ask only while [`is_ready`](Self::is_ready), so that no half-read rebuild is
    /// kept. What it returns is to be written all or nothing.
    pub fn take_checkpoint(&mut self, now: Now) -> Vec<(TopicIx, i32, PartitionChange)> {
        let ahead_ms = wall_of(0, now);
        let before = self.wall_ahead_ms.replace(ahead_ms);
        if before.is_some_and(|before| before.abs_diff(ahead_ms) > CLOCK_STEP_MS) {
            self.checkpoint_anew();
        }
        let mut changes = Vec::new();
        for ix in 0..self.topics.len() {
            let ack = self.topics[ix].settings.ack;
            let numbers: Vec<i32> = self.topics[ix].partitions.keys().copied().collect();
            for number in numbers {
                let topic = &self.topics[ix];
                // Without a lease it may be another's already, and its copies are not known for ours.
                let ours = |p: &&Partition| {
                    let leased = p.is_leased(now.mono_ms, self.limits.lease_ms);
                    p.stage == Stage::Live && (leased || !Guard::CheckpointUnderLease.holds())
                };
                let Some(p) = topic.partitions.get(&number).filter(ours) else {
                    continue;
                };
                let Some((low, low_acks)) = topic.low_water(p, self.ack_topic(ack)) else {
                    continue;
                };
                let header = PartitionHeader {
                    source_applied: p.applied,
                    // An early ACK is not in the image, be it held or let go: it is read again.
                    acks_applied: if topic.awaits_acks() && Guard::EarlyInCheckpoint.holds() {
                        low_acks.clone()
                    } else {
                        let applied = self.ack_topic(ack).applied.iter();
                        applied.map(|(n, at)| (*n, (*at).max(0))).collect()
                    },
                    low,
                    low_acks,
                    taken_wall_ms: p.image_wall_ms,
                    timeouts: p.spans.iter().map(|s| (s.from, s.timeout_ms)).collect(),
                };
                let topic = &mut self.topics[ix];
                if let Some(p) = topic.partitions.get_mut(&number) {
                    changes.push((TopicIx(ix as u16), number, take_change(p, header, now)));
                }
            }
        }
        changes
    }

    /// The next checkpoint is to hold everything: one could not be written, or its times are off.
    pub fn checkpoint_anew(&mut self) {
        for p in self
            .topics
            .iter_mut()
            .flat_map(|t| t.partitions.values_mut())
        {
            p.replace_image = true;
        }
    }
}

fn take_change(p: &mut Partition, mut header: PartitionHeader, now: Now) -> PartitionChange {
    let replace = std::mem::take(&mut p.replace_image);
    if replace {
        p.image_wall_ms = now.wall_ms;
        header.taken_wall_ms = now.wall_ms;
        p.slots.mark_all_dirty();
        p.dirty = p.details.keys().copied().collect();
        p.gone.clear();
    }
    let mut blocks = Vec::new();
    let ahead_ms = wall_of(0, now);
    p.slots.take_dirty(|base, lent, shift_ms, ids| {
        blocks.push(BlockImage {
            base,
            entries: Entries::new(lent, ahead_ms.wrapping_add(shift_ms)),
            ids: Ids(ids),
        });
    });
    let dirty = std::mem::take(&mut p.dirty);
    let details = dirty
        .iter()
        .filter_map(|origin| p.details.get(origin))
        .map(|d| detail_image(d, now, header.taken_wall_ms))
        .collect();
    PartitionChange {
        header,
        blocks,
        details,
        details_gone: std::mem::take(&mut p.gone).into_iter().collect(),
        replace,
    }
}

/// With its deadline as of `taken_wall_ms`, like those of the image that were written before it.
fn detail_image(d: &Detail, now: Now, taken_wall_ms: i64) -> DetailImage {
    let since_ms = now.wall_ms - taken_wall_ms;
    let dying = !d.is_settled() && Guard::AckBesideDeath.holds();
    let acked = d.ack_beside_death.filter(|_| dying);
    let beside = acked.map(|at| VerdictImage {
        verdict: Verdict::Ack,
        at,
        delay_ms: None,
        reason: None,
    });
    DetailImage {
        origin: d.origin,
        origin_timestamp_ms: d.origin_timestamp_ms,
        id: d.id.clone(),
        seen_wall_ms: wall_of(d.seen_ms, now),
        len: d.len,
        digest: d.digest,
        attempt: d.attempt,
        deliveries: d
            .deliveries
            .iter()
            .map(|x| DeliveryImage {
                attempt: x.attempt,
                offset: x.offset,
                at_wall_ms: x.at_wall_ms,
                cause: x.cause,
            })
            .collect(),
        unaccounted: d.unclear + LANDS_MAX * d.under_way.count(),
        pending_attempt: d.pending_attempt,
        // What was being fetched or published is due again at once, behind the barrier.
        due_in_ms: match d.phase {
            Phase::Parked => None,
            _ => Some(since_ms + d.deadline.map_or(0, |at| at - now.mono_ms as i64)),
        },
        extended_ms: d.extended_ms,
        timeout_ms: d.own_timeout_ms,
        state: match d.state() {
            // Acknowledged while its dead letter was on its way: whether that came through, only the topics can tell.
            // A replay of them begins with the ACK too.
            _ if beside.is_some() => DetailState::Acked,
            State::Outstanding | State::Retrying | State::Waiting => DetailState::Outstanding,
            State::Overdue => DetailState::Overdue,
            State::Parked => DetailState::Parked,
            State::Acked => DetailState::Acked,
            State::OperatorAcked => DetailState::OperatorAcked,
            State::Dead => DetailState::Dead,
            State::PayloadLost => DetailState::PayloadLost,
            State::Missed => DetailState::Missed,
        },
        verdict: beside.or(d.pending.as_ref().map(|p| VerdictImage {
            verdict: p.verdict,
            at: p.at,
            delay_ms: p.delay_ms,
            reason: p.reason.clone(),
        })),
        unfaithful: d.unfaithful,
    }
}

impl Topic {
    /// A partition as the checkpoint has it. `low` is the committed L: entries anchored below it are dropped, whatever
    /// the checkpoint says of them.
    pub fn restore(&mut self, number: i32, image: PartitionImage, low: i64, now: Now) -> Partition {
        let mut header = image.header;
        let mut p = Partition::new(number, low, self.policy.timeout_ms, now);
        p.applied = header.source_applied.max(low);
        p.replace_image = false;
        p.image_wall_ms = header.taken_wall_ms;
        // Verdicts applied before the checkpoint are not read again, so they are not pinned again one by one: until L has
        // passed all copies that may need them, E stays where it was.
        p.base = (header.low, header.low_acks.clone());
        p.replay_from = std::mem::take(&mut header.acks_applied);
        for (n, e) in &header.low_acks {
            let at = LogPosition::new(*n, *e);
            if Guard::EvidenceInCheckpoint.holds() {
                p.pins.add_evidence(header.source_applied, at, -1);
            }
        }
        // A timeout set to something else while we were away holds for what comes, as if it had been changed then.
        p.spans = header
            .timeouts
            .iter()
            .map(|(from, timeout_ms)| Span {
                from: *from,
                timeout_ms: *timeout_ms,
                cursor: *from,
            })
            .collect();
        p.set_timeout(self.policy.timeout_ms, p.spans.is_empty());
        let mut dropped = Vec::new();
        self.labels
            .reserve(image.blocks.iter().map(BlockImage::labels_at_most).sum());
        let mut found: Vec<(u64, LogPosition)> = Vec::new();
        for block in image.blocks {
            let base = block.base;
            for (slot, id) in block.labels() {
                let offset = base + i64::from(slot);
                if offset >= low || !Guard::CheckpointBelowLow.holds() {
                    found.push((self.labels.hash(id), p.at(offset)));
                }
            }
            self.labels.add_all(&found);
            found.clear();
            if !p.restore_block(block, low, now) {
                dropped.push(base);
            }
        }
        p.slots.loaded(&dropped);
        let header_times = Taken {
            wall_ms: header.taken_wall_ms,
            source_applied: header.source_applied,
        };
        for image in image.details {
            let mut detail = restore_detail(image, &header_times, &self.policy, now);
            if !detail.is_settled() && detail.anchor < low && Guard::CheckpointBelowLow.holds() {
                // L may have moved on to a copy that was reported, and read only after the checkpoint: what B said of it is
                // known here alone.
                let newer = detail.deliveries.iter().rev().map(|d| d.offset);
                match newer.take_while(|offset| *offset >= low).next() {
                    Some(copy) => detail.anchor = copy,
                    None => {
                        p.gone.insert(detail.origin);
                        continue;
                    }
                }
            }
            if let Some(id) = detail.id.as_ref().filter(|_| !detail.is_settled()) {
                let hash = self.labels.hash(id);
                self.labels.add(hash, p.at(detail.origin), |_| false);
            }
            p.insert_detail(detail);
        }
        p.dirty.clear();
        p
    }
}

impl Partition {
    /// Takes a block of the checkpoint; false if some of it lies below L and was left out.
    fn restore_block(&mut self, block: BlockImage, low: i64, now: Now) -> bool {
        let below = block.base < low && Guard::CheckpointBelowLow.holds();
        let latest = block.entries.seen_wall_ms_max();
        if !below && latest.is_some_and(|at| at <= now.wall_ms) {
            let Entries { lent, ahead_ms, .. } = block.entries;
            let shift_ms = ahead_ms.wrapping_sub(wall_of(0, now));
            self.slots.adopt(block.base, lent, shift_ms, block.ids.0);
            return true;
        }
        let mut whole = true;
        for entry in block.entries.iter() {
            let offset = block.base + i64::from(entry.slot);
            if offset < low && below {
                whole = false;
                continue;
            }
            let slot = Slot {
                mark: Mark::First,
                seen_ms: seen_ms(entry.seen_wall_ms, now),
                len: entry.len,
                digest: entry.digest,
            };
            self.put_first(offset, slot, block.ids.0.get(entry.slot));
        }
        whole
    }
}

fn seen_ms(seen_wall_ms: i64, now: Now) -> i64 {
    let age = (now.wall_ms - seen_wall_ms).max(0);
    now.mono_ms as i64 - age
}

/// When and where the checkpoint was taken.
struct Taken {
    wall_ms: i64,
    source_applied: i64,
}

fn restore_detail(image: DetailImage, taken: &Taken, policy: &Policy, now: Now) -> Detail {
    let slot = Slot {
        mark: Mark::Anchor,
        seen_ms: seen_ms(image.seen_wall_ms, now),
        len: image.len,
        digest: image.digest,
    };
    let away_ms = now.wall_ms - taken.wall_ms;
    // A clock that was set back while we were away postpones it by no more than what one wait can take.
    let asked_for = image.verdict.is_some() || image.extended_ms > 0;
    let wait_ms_max = [
        policy.timeout_ms,
        policy.timeout_max_ms,
        image.timeout_ms.unwrap_or(0),
        if asked_for { policy.delay_max_ms } else { 0 },
    ];
    let wait_ms_max = wait_ms_max.into_iter().max().unwrap_or(0) as f64 * (1.0 + policy.jitter);
    let mut d = Topic::new_detail(image.origin, slot, now);
    d.origin_timestamp_ms = image.origin_timestamp_ms;
    d.id = image.id;
    d.attempt = image.attempt;
    d.virtual_attempt = image.attempt.max(1);
    for x in image.deliveries {
        d.add_delivery(Delivery {
            attempt: x.attempt,
            offset: x.offset,
            at_wall_ms: x.at_wall_ms,
            cause: x.cause,
            // What was reported and not read yet comes by again.
            read: x.offset < taken.source_applied,
        });
    }
    if let Some(newest) = d.deliveries.last().filter(|_| d.attempt > 1) {
        d.delivered_ms = seen_ms(newest.at_wall_ms, now).max(d.seen_ms);
    }
    let newest_read = d.deliveries.iter().rev().find(|x| x.read);
    d.anchor = newest_read.map_or(d.origin, |x| x.offset);
    d.unclear = image.unaccounted;
    d.unclear_from = image.attempt.min(image.pending_attempt);
    d.unclear_to = image.pending_attempt;
    d.pending_attempt = image.pending_attempt;
    d.extended_ms = image.extended_ms;
    d.own_timeout_ms = image.timeout_ms;
    d.unfaithful = image.unfaithful;
    d.pending = image.verdict.map(|v| Pending {
        verdict: v.verdict,
        at: v.at,
        delay_ms: v.delay_ms,
        reason: v.reason,
    });
    d.reason = d.pending.as_ref().and_then(|p| p.reason.clone());
    d.deadline = image
        .due_in_ms
        .map(|due| now.mono_ms as i64 + (due - away_ms).min(wait_ms_max as i64));
    d.phase = match image.state {
        DetailState::Outstanding => Phase::Waiting,
        DetailState::Overdue => Phase::Overdue,
        // What it was parked for may be there by now: it is looked at again, and parked again if not.
        DetailState::Parked => {
            d.deadline = Some(now.mono_ms as i64);
            Phase::Waiting
        }
        DetailState::Acked => Phase::Settled(State::Acked),
        DetailState::OperatorAcked => Phase::Settled(State::OperatorAcked),
        DetailState::Dead => Phase::Settled(State::Dead),
        DetailState::PayloadLost => Phase::Settled(State::PayloadLost),
        DetailState::Missed => Phase::Settled(State::Missed),
    };
    if d.is_settled() || d.may_come() {
        d.unseen_since = Some(now.mono_ms as i64);
    }
    if d.is_settled() {
        d.deadline = Some(now.mono_ms as i64 + super::firing::AMBIGUOUS_KEPT_MS);
    }
    d
}
