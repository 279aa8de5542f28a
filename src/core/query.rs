//! What is shown: snapshots of messages, topics and totals, each bounded in work.

use super::coordinator::Coordinator;
use super::detail::{Detail, Phase};
use super::firing::is_reason_to_park;
use super::partition::{Partition, Stage};
use super::record::Verdict;
use super::reports::Refused;
use super::schedule;
use super::slots::Mark;
use super::topic::{Topic, wall_of};
use super::types::{LogPosition, MsgRef, Now, TopicIx};
use super::view::{
    AttemptView, Frozen, FrozenWhy, Lookup, MessageDetail, MessageView, PartitionView, Progress,
    ShownCause, State, TopicView, UnmatchedAck,
};

impl Topic {
    pub fn detail_view(&self, partition: i32, d: &Detail, now: Now) -> MessageDetail {
        let state = d.state();
        let settled = d.is_settled();
        let cause = match d.phase {
            Phase::Settling { cause, .. } | Phase::SettlementDue(cause) => {
                Some(ShownCause::DeadLetter(cause))
            }
            _ => d
                .deliveries
                .last()
                .and_then(|x| x.cause)
                .map(ShownCause::Delivery),
        };
        let last = d.deliveries.len().saturating_sub(1);
        MessageDetail {
            message: MessageView {
                topic: self.ix,
                position: LogPosition::new(partition, d.origin),
                id: d.id.clone(),
                state,
                attempt: d.attempt,
                max_attempts: self.policy.max_attempts,
                seen_wall_ms: wall_of(d.seen_ms, now),
                deadline_wall_ms: d
                    .deadline
                    .filter(|_| !settled && self.paused.is_none())
                    .map(|at| wall_of(at, now)),
                age_ms: u64::try_from(now.mono_ms as i64 - d.seen_ms).unwrap_or(0),
                newest_delivery: d.newest(),
                cause,
                reason: d.reason.clone(),
                size_bytes: d.len,
                late_ack: d.ack_beside_death.is_some(),
                settled_wall_ms: settled.then_some(now.wall_ms),
            },
            attempts: d
                .deliveries
                .iter()
                .enumerate()
                .map(|(i, x)| AttemptView {
                    attempt: x.attempt,
                    offset: x.offset,
                    at_wall_ms: x.at_wall_ms,
                    cause: x.cause,
                    outcome: match (i == last, state) {
                        (true, state) if settled => state.as_str(),
                        (true, State::Parked | State::Overdue) => state.as_str(),
                        (true, _) => match d.pending.as_ref().map(|p| p.verdict) {
                            Some(Verdict::Nack | Verdict::OperatorNack) => "nacked",
                            Some(Verdict::Reject) => "rejected",
                            Some(Verdict::Extend | Verdict::OperatorExtend) => "extended",
                            _ => "under-way",
                        },
                        (false, _) => match d.deliveries[i + 1].cause.map(|c| c.kind) {
                            Some(super::record::CauseKind::Nack) => "nacked",
                            Some(super::record::CauseKind::Operator) => "retried-by-operator",
                            _ => "timed-out",
                        },
                    },
                })
                .collect(),
        }
    }

    pub(super) fn first_view(
        &self,
        p: &Partition,
        offset: i64,
        seen_ms: i64,
        len: u32,
        now: Now,
    ) -> MessageView {
        let deadline = seen_ms.saturating_add(p.timeout_at(offset) as i64);
        MessageView {
            topic: self.ix,
            position: p.at(offset),
            id: p.slots.id(offset).map(Into::into),
            state: State::Outstanding,
            attempt: 1,
            max_attempts: self.policy.max_attempts,
            seen_wall_ms: wall_of(seen_ms, now),
            deadline_wall_ms: self.paused.is_none().then(|| wall_of(deadline, now)),
            age_ms: u64::try_from(now.mono_ms as i64 - seen_ms).unwrap_or(0),
            newest_delivery: offset,
            cause: None,
            reason: None,
            size_bytes: len,
            late_ack: false,
            settled_wall_ms: None,
        }
    }

    /// The message with a delivery there: (state, message, newest delivery, attempt); else what can be said of the place.
    pub fn locate(&self, at: LogPosition) -> Result<(State, MsgRef, i64, u32), Lookup> {
        let Some(p) = self.partitions.get(&at.partition) else {
            return Err(Lookup::NoSuchPartition);
        };
        if let Some(origin) = p.origin_at(at.offset) {
            let msg = self.msg(at.partition, origin);
            return Ok(match p.details.get(&origin) {
                Some(d) => (d.state(), msg, d.newest(), d.attempt),
                None => (State::Outstanding, msg, origin, 1),
            });
        }
        if let Some(kept) = self.settled.peek_eventful(at) {
            let m = &kept.message;
            let msg = self.msg(at.partition, m.position.offset);
            return Ok((m.state, msg, m.newest_delivery, m.attempt));
        }
        // Of one that stands still on the way to being rebuilt, a copy that keeps the message may lie in what was not read.
        let is_unread = matches!(&p.stage, Stage::Lost(_, lost) if lost.replay_acks);
        let untracked = at.offset < p.born || p.was_lost(at.offset);
        if at.offset >= p.applied || untracked || is_unread {
            return Err(Lookup::Untracked);
        }
        Err(Lookup::Settled)
    }

    pub fn lookup(&self, at: LogPosition, now: Now) -> Lookup {
        let Some(p) = self.partitions.get(&at.partition) else {
            return Lookup::NoSuchPartition;
        };
        match self.locate(at) {
            Ok((_, msg, _, _)) => {
                if let Some(d) = p.details.get(&msg.origin) {
                    // As it was when it settled, where that is kept.
                    let origin = LogPosition::new(at.partition, msg.origin);
                    let kept = self
                        .settled
                        .peek_eventful(origin)
                        .filter(|_| d.is_settled());
                    let found = kept.cloned();
                    let found = found.unwrap_or_else(|| self.detail_view(at.partition, d, now));
                    return Lookup::Found(Box::new(found));
                }
                if let Some(slot) = p.slots.get(msg.origin).filter(|s| s.mark == Mark::First) {
                    let message = self.first_view(p, msg.origin, slot.seen_ms, slot.len, now);
                    let attempts = vec![AttemptView {
                        attempt: 1,
                        offset: msg.origin,
                        at_wall_ms: message.seen_wall_ms,
                        cause: None,
                        outcome: "under-way",
                    }];
                    return Lookup::Found(Box::new(MessageDetail { message, attempts }));
                }
                match self.settled.peek_eventful(at) {
                    Some(kept) => Lookup::Found(Box::new(kept.clone())),
                    None => Lookup::Settled,
                }
            }
            Err(Lookup::Settled) => match self.settled.uneventful.find(at) {
                Some(brief) => {
                    Lookup::Found(Box::new(brief.detail(self.ix, self.policy.max_attempts)))
                }
                None => Lookup::Settled,
            },
            Err(other) => other,
        }
    }

    /// It is there, and none of its partitions is ours.
    fn is_all_elsewhere(&self) -> bool {
        self.partitions.is_empty() && self.source_missing.is_none()
    }

    /// All that waits is timed anew, by the policy in force.
    pub fn retime_details(&mut self, seed: u64) {
        let policy = self.policy.clone();
        for p in self.partitions.values_mut() {
            let origins: Vec<i64> = p.details.keys().copied().collect();
            for origin in origins {
                p.update(origin, |d| {
                    // What waits for its backoff, or to be sent again, is timed by that.
                    let timed = d.phase == Phase::Waiting
                        && d.pending.is_none()
                        && d.doomed.is_none()
                        && d.pending_attempt <= d.attempt;
                    if timed && d.deadline.is_some() && d.refusals == 0 {
                        let wait =
                            schedule::wait_ms(&policy, d.own_timeout_ms, d.attempt, seed, origin);
                        d.deadline = Some(d.delivered_ms.saturating_add(wait as i64));
                    }
                });
            }
        }
    }

    /// It stands until the message is settled, is published after all, or goes to another instance.
    pub(super) fn is_refused(&self, refused: &Refused) -> bool {
        let partition = self.partitions.get(&refused.msg.partition);
        let detail = partition.and_then(|p| p.details.get(&refused.msg.origin));
        detail.is_some_and(|d| !d.is_settled() && d.refusals > 0)
    }

    /// Parked for want of a dead-letter topic or of attempts, and there is one now: due at once.
    pub fn unpark(&mut self, now: Now) {
        let (dead_letter, max) = (self.policy.dead_letter.is_some(), self.policy.max_attempts);
        for p in self.partitions.values_mut() {
            let parked: Vec<i64> = p
                .details
                .iter()
                .filter(|(_, d)| d.phase == Phase::Parked && !d.unfaithful)
                .filter(|(_, d)| dead_letter || max == 0 || d.attempt < max)
                .map(|(origin, _)| *origin)
                .collect();
            for origin in parked {
                p.update(origin, |d| {
                    d.phase = Phase::Waiting;
                    d.deadline = Some(now.mono_ms as i64);
                    // It is no dead letter's reason.
                    d.reason.take_if(|why| is_reason_to_park(why));
                });
            }
        }
    }
}

impl Coordinator {
    #[must_use]
    pub fn lookup(&self, topic: TopicIx, at: LogPosition, now: Now) -> Lookup {
        let found = self
            .topics
            .get(usize::from(topic.0))
            .map_or(Lookup::NoSuchPartition, |t| t.lookup(at, now));
        match found {
            Lookup::NoSuchPartition if self.is_rebuilt_beside(topic, at.partition) => {
                Lookup::Rebuilding
            }
            Lookup::NoSuchPartition if self.is_elsewhere(topic, at.partition) => Lookup::Elsewhere,
            found => found,
        }
    }

    fn is_elsewhere(&self, topic: TopicIx, partition: i32) -> bool {
        self.topics
            .get(usize::from(topic.0))
            .is_some_and(|t| t.is_all_elsewhere() || self.elsewhere(t).contains(&partition))
    }

    /// Partitions that are there, as far as we know, and not ours.
    fn elsewhere(&self, t: &Topic) -> Vec<i32> {
        let ends = t.fences.back().map_or(&[][..], |f| &f.fence.source_ends);
        let ours = |n: &i32| t.partitions.contains_key(n) || self.is_rebuilt_beside(t.ix, *n);
        let there = ends.iter().map(|(n, _)| *n);
        there.filter(|n| !ours(n)).collect()
    }

    /// Whether another instance tracks partitions of one of these topics.
    #[must_use]
    pub fn is_partial(&self, topic: Option<TopicIx>) -> bool {
        let mut asked = self
            .topics
            .iter()
            .filter(|t| topic.is_none_or(|ix| ix == t.ix));
        asked.any(|t| t.is_all_elsewhere() || !self.elsewhere(t).is_empty())
    }

    /// Where the newest copy of a message lies that can be fetched: offset, length, digest.
    #[must_use]
    pub fn payload_of(&self, topic: TopicIx, at: LogPosition) -> Option<(i64, u32, u64)> {
        let t = self.topics.get(usize::from(topic.0))?;
        let p = t.partitions.get(&at.partition)?;
        let origin = p.origin_at(at.offset)?;
        match p.details.get(&origin) {
            Some(d) => Some((d.anchor, d.len, d.digest)),
            None => p.slots.get(origin).map(|s| (origin, s.len, s.digest)),
        }
    }

    /// All topics, as `GET /topics` and the metrics show them.
    #[must_use]
    pub fn topic_views(&self, now: Now) -> Vec<TopicView> {
        self.topics
            .iter()
            .map(|t| self.topic_view(t, now))
            .collect()
    }

    /// Which topics stand still, and why.
    #[must_use]
    pub fn frozen_topics(&self, now: Now) -> Vec<(TopicIx, Frozen)> {
        self.topics
            .iter()
            .flat_map(|t| self.frozen(t, now).into_iter().map(|f| (t.ix, f)))
            .collect()
    }

    fn topic_view(&self, t: &Topic, now: Now) -> TopicView {
        let mut counts = [0; 5];
        let mut oldest: Option<i64> = None;
        for p in t.partitions.values() {
            for (total, n) in counts.iter_mut().zip(p.detail_counts) {
                *total += n;
            }
            counts[0] += p.firsts();
            let first = p
                .slots
                .next_first(i64::MIN, i64::MAX)
                .map(|(_, s)| s.seen_ms);
            let detail = p
                .details
                .values()
                .find(|d| !d.is_settled())
                .map(|d| d.seen_ms);
            oldest = oldest.into_iter().chain(first).chain(detail).min();
        }
        let window = t
            .retries_by_second
            .iter()
            .filter(|(second, _)| second + 60 > now.mono_ms / 1_000)
            .map(|(_, n)| *n)
            .sum::<u64>();
        TopicView {
            topic: t.ix,
            policy: t.policy.clone(),
            overrides: t.overrides.clone(),
            counts,
            oldest_age_ms: oldest.map(|at| u64::try_from(now.mono_ms as i64 - at).unwrap_or(0)),
            frozen: self.frozen(t, now),
            counters: t.counters.clone(),
            retries_per_second: window as f64 / 60.0,
            recovering: self.recovering_topic(t),
            elsewhere: self.elsewhere(t),
            partitions: t
                .partitions
                .values()
                .map(|p| PartitionView {
                    partition: p.number,
                    source_applied: p.applied.max(0),
                    low: p.low().max(0),
                    low_age_ms: if p.low() < p.applied {
                        now.mono_ms.saturating_sub(p.low_moved.mono_ms)
                    } else {
                        0
                    },
                    outstanding: p.unsettled(),
                    paused: p.paused,
                })
                .collect(),
        }
    }

    fn frozen(&self, t: &Topic, now: Now) -> Vec<Frozen> {
        let mut frozen = Vec::new();
        for p in t.partitions.values() {
            if let Stage::Lost(why, _) = &p.stage
                && !frozen.iter().any(|f: &Frozen| f.why == why.why)
            {
                frozen.push(why.clone());
            }
        }
        let acks = self.ack_topic(t.settings.ack);
        if let Some(since) = acks.missing {
            let name = &t.settings.ack_name;
            frozen.push(Frozen {
                why: FrozenWhy::AckTopicMissing,
                since_wall_ms: since.wall_ms,
                detail: format!("the ack topic {name} does not exist: messages are tracked, none is retried").into(),
                cure: format!("create the topic {name}, with cleanup.policy=delete and at least the source's retention")
                    .into(),
            });
        }
        if let Some(since) = t.source_missing {
            frozen.push(Frozen {
                why: FrozenWhy::SourceMissing,
                since_wall_ms: since.wall_ms,
                detail: format!("the source topic {} does not exist", t.settings.name).into(),
                cure: "create it: it is followed from its first record".into(),
            });
        }
        if let Some(since) = t.paused {
            frozen.push(Frozen {
                why: FrozenWhy::Paused,
                since_wall_ms: since.wall_ms,
                detail: "retries were paused by an operator".into(),
                cure: format!("POST /api/v1/topics/{}/resume", t.settings.name).into(),
            });
        }
        frozen.extend(t.lapsed(now, self.limits.lease_ms));
        let refused = [&t.refused_dead_letter, &t.refused_copy];
        let refused = refused.into_iter().flatten();
        frozen.extend(
            refused
                .filter(|r| t.is_refused(r))
                .map(|r| r.frozen.clone()),
        );
        if let Some(since) = acks.waiting_since
            && acks.missing.is_none()
            && now.mono_ms > since.mono_ms + super::ack_topic::BARRIER_ALERT_MS
        {
            frozen.push(Frozen {
                why: FrozenWhy::BarrierClosed,
                since_wall_ms: since.wall_ms,
                detail: format!("retries wait for the ack topic to be read to its end: {}", acks.hangs_on()).into(),
                cure: "look for hanging transactions on the ack topic (kafka-transactions.sh find-hanging) and at the \
                       brokers; it goes on by itself"
                    .into(),
            });
        }
        frozen
    }

    fn recovering_topic(&self, t: &Topic) -> Option<Progress> {
        let rebuilding = t
            .partitions
            .values()
            .any(|p| matches!(p.stage, Stage::Replaying(_)));
        if !rebuilding && !self.is_replaying(t) {
            return None;
        }
        let mut progress = Progress::default();
        for p in t.partitions.values() {
            if let Stage::Replaying(Some(target)) = p.stage {
                progress.total += u64::try_from(target - p.start).unwrap_or(0);
                progress.done += u64::try_from(p.applied.min(target) - p.start).unwrap_or(0);
            }
        }
        let acks = self.ack_topic(t.settings.ack);
        for (n, end) in self.ack_targets(t.settings.ack) {
            let at = acks.applied(*n).unwrap_or(0).max(0);
            progress.total += u64::try_from(*end).unwrap_or(0);
            progress.done += u64::try_from(at.min(*end)).unwrap_or(0);
        }
        Some(progress)
    }

    /// How far the rebuild is, over all topics; `None` once ready.
    #[must_use]
    pub fn recovering(&self) -> Option<Progress> {
        if self.is_ready() {
            return None;
        }
        let mut sum = Progress::default();
        for progress in self.topics.iter().filter_map(|t| self.recovering_topic(t)) {
            sum.done += progress.done;
            sum.total += progress.total;
        }
        Some(sum)
    }

    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.topics.iter().map(Topic::unsettled).sum()
    }

    /// ACKs by id that are kept for messages which were not read yet.
    #[must_use]
    pub fn early_by_id(&self) -> usize {
        self.topics.iter().map(|t| t.early_by_id.weight()).sum()
    }

    /// Whether there is more to be read of a source than was read, by the newest fence.
    #[must_use]
    pub fn are_sources_behind(&self) -> bool {
        self.topics.iter().any(Topic::is_behind_its_fence)
    }

    /// The newest unmatched ACKs, newest first.
    #[must_use]
    pub fn unmatched(&self, limit: usize) -> Vec<UnmatchedAck> {
        let mut all: Vec<UnmatchedAck> = self
            .topics
            .iter()
            .flat_map(|t| t.unmatched.iter().rev().take(limit).cloned())
            .collect();
        all.sort_by_key(|u| std::cmp::Reverse(u.seen_wall_ms));
        all.truncate(limit);
        all
    }
}
