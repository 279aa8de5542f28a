//! What a record of the ACK topic does: which message it is about, which delivery it binds to, and whether it still
//! counts. What cannot be decided is kept and counted, never settled (invariant 14).

use super::detail::{Pending, Phase, strength};
use super::guards::Guard;
use super::labels::Carriers;
use super::low_water::{KeptFence, named, offset_in};
use super::partition::Stage;
use super::policy::SameId;
use super::record::{AckExtra, AckRecord, AckTarget, Verdict};
use super::schedule;
use super::topic::{Cx, Topic, UNMATCHED_MAX, carries, note_acked};
use super::types::LogPosition;
use super::view::{State, UnmatchedAck, VerdictResult};

/// Which delivery a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// By position, or by `ackwarden-attempt`.
    Attempt(u32),
    /// By id alone.
    Unbound,
}

const PLAIN: AckExtra = AckExtra {
    verdict: Verdict::Ack,
    attempt: None,
    delay_ms: None,
    reason: None,
    by: None,
    origin: None,
    other_group: false,
    invalid: None,
};

impl Topic {
    /// Applies plain ACKs by position, all about one partition and from one partition of the ACK topic.
    pub fn apply_plain_acks(&mut self, partition: i32, acks: &[AckRecord], cx: &mut Cx<'_>) {
        let mut rest = acks;
        while !rest.is_empty() {
            let settled = self.settle_firsts(partition, rest, cx);
            rest = &rest[settled..];
            let kept = self.keep_early(partition, rest);
            rest = &rest[kept..];
            if settled + kept == 0
                && let Some((ack, behind)) = rest.split_first()
            {
                self.apply_ack(ack, cx);
                rest = behind;
            }
        }
    }

    /// Those at the front that settle first deliveries; gives how many.
    fn settle_firsts(&mut self, partition: i32, acks: &[AckRecord], cx: &mut Cx<'_>) -> usize {
        if self.comes_again(partition) {
            return 0;
        }
        let Self {
            partitions,
            labels,
            counters,
            settled,
            ..
        } = self;
        let (Some(p), Some(first)) = (partitions.get_mut(&partition), acks.first()) else {
            return 0;
        };
        let ours_from = offset_in(&p.replay_from, first.at.partition);
        let mut done = 0;
        for ack in acks {
            let AckTarget::Position { offset, .. } = ack.target else {
                break;
            };
            let elsewhere = !p.by_offset.is_empty() && p.by_offset.contains_key(&offset);
            if elsewhere || ack.at.offset < ours_from {
                break;
            }
            let at = LogPosition::new(partition, offset);
            let taken = p.slots.take_first(offset, p.applied, |slot, id| {
                if let Some(id) = id {
                    labels.remove(labels.hash(id), at);
                }
                note_acked(counters, settled, at, &slot, id, false, cx);
            });
            if taken.is_none() {
                break;
            }
            done += 1;
        }
        self.moved |= done > 0;
        self.count_verdicts(Verdict::Ack, VerdictResult::Matched, done as u64);
        done
    }

    /// Those at the front that came before their messages; gives how many.
    fn keep_early(&mut self, partition: i32, acks: &[AckRecord]) -> usize {
        if acks.is_empty() || self.comes_again(partition) || !Guard::EarlyAck.holds() {
            return 0;
        }
        let asked = self.fence_newest_asked;
        let (weight, max) = (self.early_weight(), self.early_max);
        let (Some(p), Some(first)) = (self.partitions.get_mut(&partition), acks.first()) else {
            return 0;
        };
        // While something of the partition is retried, they are kept whole.
        if !p.details.is_empty() || !p.by_offset.is_empty() {
            return 0;
        }
        let ours_from = offset_in(&p.replay_from, first.at.partition);
        let of_others = weight - p.early.weight();
        let (mut new, mut again) = (0, 0);
        for ack in acks {
            let AckTarget::Position { offset, .. } = ack.target else {
                break;
            };
            let early = offset >= p.applied && p.slots.get(offset).is_none();
            let full = of_others + p.early.weight() >= max;
            if !early || full || ack.at.offset < ours_from {
                break;
            }
            if p.early.keep_plain(offset, asked) {
                new += 1;
            } else {
                again += 1;
            }
        }
        self.count_verdicts(Verdict::Ack, VerdictResult::Early, new);
        self.count_verdicts(Verdict::Ack, VerdictResult::Duplicate, again);
        (new + again) as usize
    }

    /// Applies a record of the ACK topic that is about this topic.
    pub fn apply_ack(&mut self, ack: &AckRecord, cx: &mut Cx<'_>) {
        let extra = ack.extra.as_deref().unwrap_or(&PLAIN);
        if extra.other_group {
            self.count_verdict(extra.verdict, VerdictResult::OtherGroup);
            return;
        }
        if let Some(why) = extra.invalid {
            self.count_other_invalid(extra.verdict, why);
            self.keep_unmatched(ack, VerdictResult::Invalid, why, cx);
            return;
        }
        match &ack.target {
            AckTarget::Position {
                partition, offset, ..
            } => {
                if self.is_before_ours(*partition, ack.at) {
                    self.count_verdict(extra.verdict, VerdictResult::Unknown);
                } else if self.knows(*partition, *offset) {
                    self.apply_at(*partition, *offset, ack, extra, cx);
                } else if let Some((_, origin)) = extra.origin.filter(|(t, _)| *t == self.ix)
                    && self.knows(origin.partition, origin.offset)
                {
                    self.apply_to_origin(origin, ack, extra, cx);
                } else {
                    self.apply_unknown(*partition, *offset, ack, extra, cx);
                }
            }
            AckTarget::Id { id, .. } => match extra.origin.filter(|(t, _)| *t == self.ix) {
                Some((_, origin)) if self.knows(origin.partition, origin.offset) => {
                    self.apply_to_origin(origin, ack, extra, cx);
                }
                Some((_, origin)) => {
                    self.apply_unknown(origin.partition, origin.offset, ack, extra, cx);
                }
                None => self.apply_by_id(id, ack, extra, cx),
            },
            AckTarget::Nothing { .. } => {
                self.count_verdict(extra.verdict, VerdictResult::Invalid);
                self.keep_unmatched(ack, VerdictResult::Invalid, "names no message", cx);
            }
        }
    }

    /// Nothing that stands before E is about a message of the partition. It is read all the same where another partition
    /// needs it; and a topic that was made anew has the positions of the old one's messages, with the old one's ACKs.
    fn is_before_ours(&self, partition: i32, at: LogPosition) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|p| at.offset < offset_in(&p.replay_from, at.partition))
    }

    fn knows(&self, partition: i32, offset: i64) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|p| p.origin_at(offset).is_some())
    }

    /// By the position of a delivery that we know: it binds to that delivery.
    fn apply_at(
        &mut self,
        partition: i32,
        offset: i64,
        ack: &AckRecord,
        extra: &AckExtra,
        cx: &mut Cx<'_>,
    ) {
        let Some(p) = self.partitions.get(&partition) else {
            return;
        };
        let Some(origin) = p.origin_at(offset) else {
            return;
        };
        let attempt = match p.details.get(&origin) {
            Some(detail) => detail.attempt_at(offset).unwrap_or(1),
            None => 1,
        };
        self.apply_bound(partition, origin, Bound::Attempt(attempt), ack, extra, cx);
    }

    /// By the echo of `ackwarden-origin`: the message is certain, the delivery only with `ackwarden-attempt`.
    fn apply_to_origin(
        &mut self,
        origin: LogPosition,
        ack: &AckRecord,
        extra: &AckExtra,
        cx: &mut Cx<'_>,
    ) {
        let known = self
            .partitions
            .get(&origin.partition)
            .and_then(|p| p.origin_at(origin.offset));
        if let Some(known) = known {
            let bound = extra.attempt.map_or(Bound::Unbound, Bound::Attempt);
            self.apply_bound(origin.partition, known, bound, ack, extra, cx);
        }
    }

    fn apply_by_id(&mut self, id: &str, ack: &AckRecord, extra: &AckExtra, cx: &mut Cx<'_>) {
        let hash = self.labels.hash(id);
        let partitions = &self.partitions;
        let found = self.labels.find(hash, |at| carries(partitions, at, id));
        let bound = extra.attempt.map_or(Bound::Unbound, Bound::Attempt);
        match found {
            Carriers::None if ack.at.offset < offset_in(&self.replay_ends, ack.at.partition) => {}
            // If a partition becomes ours, it is read again.
            Carriers::None if self.partitions.is_empty() => {}
            Carriers::None => {
                if self.early_weight() >= self.early_max {
                    self.let_go(ack.at);
                } else {
                    self.early_by_id
                        .keep(hash, self.fence_newest_asked, ack.clone());
                    self.count_verdict(extra.verdict, VerdictResult::Early);
                }
            }
            Carriers::One(one) => {
                self.apply_bound(one.partition, one.offset, bound, ack, extra, cx);
            }
            Carriers::Several(found) => {
                let settles = matches!(extra.verdict, Verdict::Ack | Verdict::OperatorAck);
                let one = self.policy.same_id == SameId::OneMessage;
                if one || (settles && self.are_equal(&found)) || !Guard::SharedId.holds() {
                    for at in found {
                        self.apply_bound(at.partition, at.offset, bound, ack, extra, cx);
                    }
                } else {
                    self.count_verdict(extra.verdict, VerdictResult::Ambiguous);
                    self.keep_unmatched(
                        ack,
                        VerdictResult::Ambiguous,
                        "several outstanding messages have this id: acknowledge by position",
                        cx,
                    );
                }
            }
        }
    }

    /// All were read before this ACK; with equal content they are one message that was sent several times.
    fn are_equal(&self, found: &[LogPosition]) -> bool {
        let content = |at: &LogPosition| {
            let p = self.partitions.get(&at.partition)?;
            match p.details.get(&at.offset) {
                Some(detail) => Some((detail.len, detail.digest)),
                None => p.slots.get(at.offset).map(|s| (s.len, s.digest)),
            }
        };
        let Some(first) = found.first().and_then(content) else {
            return false;
        };
        found.iter().all(|at| content(at) == Some(first))
    }

    /// About a position at which nothing unsettled is known.
    fn apply_unknown(
        &mut self,
        partition: i32,
        offset: i64,
        ack: &AckRecord,
        extra: &AckExtra,
        cx: &mut Cx<'_>,
    ) {
        if self.comes_again(partition) {
            return;
        }
        let asked = self.fence_newest_asked;
        let full = self.early_weight() >= self.early_max;
        let plain = ack.extra.is_none();
        let Some(p) = self.partitions.get_mut(&partition) else {
            // Of another instance, or not there (yet): if it becomes ours, its ACKs are read again.
            let fence = self.fences.back();
            let there = |f: &KeptFence| f.fence.source_ends.iter().any(|(n, _)| *n == partition);
            if fence.is_some_and(|f| !there(f)) {
                self.count_verdict(extra.verdict, VerdictResult::Unknown);
                self.keep_unmatched(
                    ack,
                    VerdictResult::Unknown,
                    "there is no such partition",
                    cx,
                );
            }
            return;
        };
        if offset >= p.applied && Guard::EarlyAck.holds() {
            if full {
                self.let_go(ack.at);
                return;
            }
            // While something of the partition is retried, an early ACK may be about a copy in flight, and then its
            // place matters as evidence: it is kept whole.
            if plain && p.details.is_empty() {
                if p.early.keep_plain(offset, asked) {
                    self.count_verdict(extra.verdict, VerdictResult::Early);
                } else {
                    self.count_verdict(extra.verdict, VerdictResult::Duplicate);
                }
            } else {
                p.early.keep(offset, asked, ack.clone());
                self.count_verdict(extra.verdict, VerdictResult::Early);
            }
            return;
        }
        let start = p.start;
        let at = LogPosition::new(partition, offset);
        if let Some(kept) = self.settled.find_eventful(at) {
            let dead = matches!(kept.message.state, State::Dead | State::PayloadLost);
            if dead && extra.verdict == Verdict::Ack {
                kept.message.late_ack = true;
                self.count_verdict(extra.verdict, VerdictResult::Late);
                return;
            }
        }
        let result = if offset < start {
            // Settled before we began, or never ours.
            VerdictResult::Unknown
        } else {
            VerdictResult::Duplicate
        };
        self.count_verdict(extra.verdict, result);
        if result == VerdictResult::Unknown {
            self.keep_unmatched(ack, result, "below what is tracked", cx);
        }
    }

    /// The message is certain, and unsettled or a tombstone.
    fn apply_bound(
        &mut self,
        partition: i32,
        origin: i64,
        bound: Bound,
        ack: &AckRecord,
        extra: &AckExtra,
        cx: &mut Cx<'_>,
    ) {
        let verdict = extra.verdict;
        if self.comes_again(partition) {
            return;
        }
        let Some(p) = self.partitions.get_mut(&partition) else {
            return;
        };
        if !p.details.contains_key(&origin) {
            if matches!(verdict, Verdict::Ack | Verdict::OperatorAck) {
                let state = settled_as(verdict);
                if self.settle_delivery(partition, origin, state, ack.at, cx) {
                    self.count_verdict(verdict, VerdictResult::Matched);
                }
                return;
            }
            if matches!(bound, Bound::Attempt(n) if n != 1) {
                self.count_verdict(verdict, VerdictResult::Stale);
                return;
            }
            if !self.promote(partition, origin, cx) {
                return;
            }
        }
        let result = match verdict {
            Verdict::Ack | Verdict::OperatorAck => {
                self.ack_detail(partition, origin, ack, verdict, cx)
            }
            Verdict::DeadLettered | Verdict::PayloadLost => {
                let state = if verdict == Verdict::DeadLettered {
                    State::Dead
                } else {
                    State::PayloadLost
                };
                if self.settle_detail(partition, origin, state, ack.at, cx) {
                    VerdictResult::Matched
                } else {
                    self.outranks_ack(LogPosition::new(partition, origin), state);
                    VerdictResult::Duplicate
                }
            }
            _ => self.pend(partition, origin, bound, ack, extra, cx),
        };
        self.count_verdict(verdict, result);
    }

    fn ack_detail(
        &mut self,
        partition: i32,
        origin: i64,
        ack: &AckRecord,
        verdict: Verdict,
        cx: &mut Cx<'_>,
    ) -> VerdictResult {
        let Some(p) = self.partitions.get_mut(&partition) else {
            return VerdictResult::Unknown;
        };
        let Some(detail) = p.details.get(&origin) else {
            return VerdictResult::Unknown;
        };
        match detail.phase {
            Phase::Settled(State::Dead | State::PayloadLost) => {
                if let Some(kept) = self
                    .settled
                    .find_eventful(LogPosition::new(partition, origin))
                {
                    kept.message.late_ack = true;
                }
                VerdictResult::Late
            }
            Phase::Settled(_) => VerdictResult::Duplicate,
            // A dead letter on its way: if it turns out durable, it outranks the ACK.
            Phase::Publishing {
                fate: super::detail::Fate::Dead(_),
                ..
            }
            | Phase::SettlementDue(_)
            | Phase::Settling { .. } => {
                p.update(origin, |d| {
                    d.ack_beside_death.get_or_insert(ack.at);
                });
                VerdictResult::Late
            }
            _ => {
                self.settle_detail(partition, origin, settled_as(verdict), ack.at, cx);
                VerdictResult::Matched
            }
        }
    }

    /// The ACK was read first, in a replay: the dead letter is there all the same, and counts.
    fn outranks_ack(&mut self, at: LogPosition, state: State) {
        if let Some(kept) = self.settled.find_eventful(at)
            && matches!(kept.message.state, State::Acked | State::OperatorAcked)
        {
            kept.message.state = state;
            kept.message.late_ack = true;
        }
    }

    /// A nack, reject, extend or operator's decision: kept until it is acted upon, if it still can be.
    fn pend(
        &mut self,
        partition: i32,
        origin: i64,
        bound: Bound,
        ack: &AckRecord,
        extra: &AckExtra,
        cx: &mut Cx<'_>,
    ) -> VerdictResult {
        let verdict = extra.verdict;
        let operators = verdict.is_coordinators();
        let policy = self.policy.clone();
        let Some(p) = self.partitions.get_mut(&partition) else {
            return VerdictResult::Unknown;
        };
        let Some(detail) = p.details.get(&origin) else {
            return VerdictResult::Unknown;
        };
        if detail.is_settled() {
            return VerdictResult::Duplicate;
        }
        let current = match bound {
            Bound::Attempt(n) => n == detail.attempt,
            // It must not be able to be about an older delivery.
            Bound::Unbound => detail.deliveries.len() <= 1,
        };
        let parked = detail.phase == Phase::Parked;
        let too_late = detail.is_decided() || (detail.doomed.is_some() && !parked);
        if (!current && Guard::BoundVerdict.holds()) || too_late {
            return VerdictResult::Stale;
        }
        // What is parked waits for nobody; but what B has rejected is not sent again, whatever is allowed by then.
        if parked && !operators && verdict != Verdict::Reject {
            return VerdictResult::Stale;
        }
        if let Some(pending) = &detail.pending {
            if pending.at == ack.at {
                return VerdictResult::Duplicate;
            }
            let (old, new) = (strength(pending.verdict), strength(verdict));
            // An operator may overrule what is equally strong.
            let weaker = old > new || (old == new && old > 1 && !operators);
            if weaker && Guard::StrongestVerdict.holds() {
                return if old == new {
                    VerdictResult::Duplicate
                } else {
                    VerdictResult::Stale
                };
            }
        }
        let attempt = detail.attempt;
        let own = detail.own_timeout_ms;
        let mono = cx.mono;
        let asked_ms = extra.delay_ms.map(|ms| ms.min(policy.delay_max_ms));
        let fetching = matches!(detail.phase, Phase::Fetching(_));
        let observing = policy.observe_only;
        let seed = cx.seed;
        p.update(origin, |d| {
            match verdict {
                Verdict::Nack | Verdict::OperatorNack => {
                    let wait = asked_ms
                        .unwrap_or_else(|| schedule::nack_wait_ms(&policy, attempt, seed, origin));
                    d.deadline = Some(mono + wait as i64);
                }
                Verdict::Extend | Verdict::OperatorExtend => {
                    let wait = asked_ms
                        .unwrap_or_else(|| schedule::wait_ms(&policy, own, attempt, seed, origin));
                    let old = d.deadline.unwrap_or(mono).max(mono);
                    let room = policy.delay_max_ms.saturating_sub(d.extended_ms) as i64;
                    let restarted = mono + wait as i64;
                    // Restarting the wait never shortens it below what stands, unless it names a delay.
                    let wanted = match asked_ms {
                        Some(_) => restarted,
                        None => restarted.max(old),
                    };
                    let new = wanted.min(old.saturating_add(room));
                    d.extended_ms += u64::try_from(new - old).unwrap_or(0);
                    d.deadline = Some(new);
                }
                _ => d.deadline = Some(mono),
            }
            if !(observing && d.phase == Phase::Overdue) {
                d.phase = Phase::Waiting;
            }
            d.reason.clone_from(&extra.reason);
            if matches!(verdict, Verdict::OperatorRetry | Verdict::OperatorNack) {
                // It did not fit; whoever wants it sent all the same has made room.
                d.doomed = None;
            }
            d.pending = Some(Pending {
                verdict,
                at: ack.at,
                delay_ms: extra.delay_ms,
                reason: extra.reason.clone(),
            });
        });
        if fetching {
            self.discard(partition, origin, cx);
        }
        VerdictResult::Matched
    }

    /// Orphans: early ACKs that have found no message by the fence that was asked after them.
    pub fn drop_orphans(&mut self, fence: Option<(u64, &[(i32, i64)])>, cx: &mut Cx<'_>) {
        let mut plain: Vec<LogPosition> = Vec::new();
        let mut others = Vec::new();
        let end_of = |partition: i32| {
            let (round, ends) = fence?;
            Some((round, named(ends, partition)?))
        };
        for (number, p) in &mut self.partitions {
            // Of one that stands still nobody can tell whether who answered knew it.
            if p.early.is_empty() || p.is_lost() {
                continue;
            }
            let (offsets, rest) = p.early.take_orphans(p.applied, end_of(*number));
            plain.extend(offsets.into_iter().map(|o| LogPosition::new(*number, o)));
            others.extend(rest);
        }
        if let Some((round, ends)) = fence {
            self.early_by_id.fence(round, ends);
        }
        // One that stands still reads nothing: it is not waited for, and has the ACKs read again when it goes on.
        let partitions = &self.partitions;
        let by_id = self.early_by_id.take_orphans(|n| {
            let p = partitions.get(&n).filter(|p| !p.is_lost());
            p.map(|p| p.applied)
        });
        if !by_id.is_empty() {
            for p in self.partitions.values_mut() {
                if let Stage::Lost(_, lost) = &mut p.stage {
                    lost.replay_acks = true;
                    p.needs_what_is_kept(&self.early_by_id);
                    for ack in &by_id {
                        p.needs_acks_again(ack.at.partition, ack.at.offset);
                    }
                }
            }
        }
        others.extend(by_id);
        for at in plain {
            self.count_verdict(Verdict::Ack, VerdictResult::Unknown);
            let target = format!("{}/{}/{}", self.settings.name, at.partition, at.offset);
            self.push_unmatched(UnmatchedAck {
                ack: self.settings.ack,
                at: LogPosition::new(-1, -1),
                seen_wall_ms: cx.now.wall_ms,
                target: target.into(),
                verdict: Verdict::Ack,
                result: VerdictResult::Unknown,
                detail: "no record stands at this position",
            });
        }
        for ack in others {
            let verdict = ack.extra.as_deref().unwrap_or(&PLAIN).verdict;
            self.count_verdict(verdict, VerdictResult::Unknown);
            self.keep_unmatched(
                &ack,
                VerdictResult::Unknown,
                "no outstanding message has it; if its message was settled before, it is a duplicate",
                cx,
            );
        }
    }

    fn count_other_invalid(&mut self, verdict: Verdict, why: &'static str) {
        if why == super::record::UNKNOWN_VERDICT {
            let other = Verdict::ALL.len();
            self.counters.verdicts[other][VerdictResult::Invalid as usize] += 1;
        } else {
            self.count_verdict(verdict, VerdictResult::Invalid);
        }
    }

    fn keep_unmatched(
        &mut self,
        ack: &AckRecord,
        result: VerdictResult,
        detail: &'static str,
        cx: &Cx<'_>,
    ) {
        let target = match &ack.target {
            AckTarget::Position {
                partition, offset, ..
            } => format!("{}/{partition}/{offset}", self.settings.name).into(),
            AckTarget::Id { id, .. } => id.clone(),
            AckTarget::Nothing { text } => text.clone(),
        };
        self.push_unmatched(UnmatchedAck {
            ack: self.settings.ack,
            at: ack.at,
            seen_wall_ms: cx.now.wall_ms,
            target,
            verdict: ack.extra.as_deref().unwrap_or(&PLAIN).verdict,
            result,
            detail,
        });
    }

    fn push_unmatched(&mut self, ack: UnmatchedAck) {
        if self.unmatched.len() >= UNMATCHED_MAX {
            self.unmatched.pop_front();
        }
        self.unmatched.push_back(ack);
    }
}

const fn settled_as(verdict: Verdict) -> State {
    match verdict {
        Verdict::OperatorAck => State::OperatorAcked,
        _ => State::Acked,
    }
}
