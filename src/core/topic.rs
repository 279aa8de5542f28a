//! One source topic: records come in here, and what is settled goes out.
//!
//! The other halves of a topic's behaviour have files of their own: `verdicts` (what an ACK does), `firing` (what a
//! passed deadline does), `low_water` (fences and commits), `query` (what is shown).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;

use super::ahead::TOGETHER;
use super::briefs::Brief;
use super::coordinator::CoreLimits;
use super::detail::{Delivery, Detail, Pending, Phase, UnderWay};
use super::early::EarlyById;
use super::effect::{DeadLetterCause, Effect};
use super::guards::Guard;
use super::labels::Labels;
use super::low_water::{KeptFence, Shorter, named};
use super::offset_hash::ByOffset;
use super::overflow::Overflow;
use super::partition::{Partition, Stage};
use super::policy::{Policy, PolicyPatch};
use super::record::{AckRecord, CopyMark, SourceExtra, SourceRecord, Verdict};
use super::reports::Refused;
use super::schedule;
use super::settled::Settled;
use super::slots::{Mark, Slot};
use super::types::{AckIx, LogPosition, MsgRef, Now, RequestId, TopicIx};
use super::view::{Counters, Frozen, ShownCause, State, UnmatchedAck, VerdictResult};

/// Unmatched ACKs kept for a look, a topic.
pub(super) const UNMATCHED_MAX: usize = 1_000;

/// What a topic's code needs of its surroundings while an event is handled.
pub(super) struct Cx<'a> {
    pub now: Now,
    /// `now.mono_ms` as the signed number that deadlines are.
    pub mono: i64,
    pub effects: &'a mut Vec<Effect>,
    pub sequence: &'a mut u64,
    pub seed: u64,
    /// SIGTERM came: nothing is submitted any more.
    pub stopping: bool,
    pub lease_ms: u64,
}

/// How a topic is set up; fixed while the process lives, the policy's overrides aside.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    pub name: Box<str>,
    pub ack: AckIx,
    pub ack_name: Box<str>,
    /// As the file has it.
    pub policy: Policy,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Submitted {
    pub partition: i32,
    pub len: u32,
    /// The attempt, if it is a copy rather than a dead letter.
    pub copy: Option<u32>,
}

pub(super) struct Topic {
    pub ix: TopicIx,
    pub settings: TopicSettings,
    pub overrides: PolicyPatch,
    /// In force.
    pub policy: Policy,
    /// By partition number.
    pub partitions: BTreeMap<i32, Partition>,
    pub labels: Labels,
    pub early_by_id: EarlyById,
    /// What early ACKs may cost together.
    pub early_max: usize,
    pub overflow: Overflow,
    pub fences: VecDeque<KeptFence>,
    /// The fence asked for and not answered.
    pub fence_asked: Option<(u64, Now)>,
    pub fence_newest_asked: u64,
    /// Answers say that the ACKs end before what is known of them.
    pub shorter: Option<Shorter>,
    /// How far ACKs were known to go when it was asked.
    pub acks_at_fence: Vec<(i32, i64)>,
    pub fence_last: Now,
    /// Something moved since the last fence was asked.
    pub moved: bool,
    pub settled: Settled,
    pub counters: Counters,
    pub unmatched: VecDeque<UnmatchedAck>,
    pub paused: Option<Now>,
    pub source_missing: Option<Now>,
    /// Refused publications, by what they concern; gone with the next that succeeds.
    pub refused_copy: Option<Refused>,
    pub refused_dead_letter: Option<Refused>,
    /// When what is outstanding was timed anew, monotonic ms: what is due by that, and was not before, is due as of then.
    pub retimed_at: i64,
    /// Retries allowed at once; refilled with time.
    pub tokens: f64,
    pub tokens_at: u64,
    /// If the rate or a bound cut a partition short: the next time, the one behind this is the first to fire.
    pub had_turn: Option<i32>,
    /// Payloads being fetched or published, and their bytes: counted anew before anything fires.
    pub in_flight: usize,
    pub in_flight_bytes: u64,
    /// Copies and dead letters submitted and not reported, by sequence.
    pub publishing: HashMap<u64, Submitted, ByOffset>,
    pub publishing_bytes: u64,
    pub retries_by_second: VecDeque<(u64, u64)>,
    /// Operators' decisions submitted, by sequence.
    pub decisions: HashMap<u64, (RequestId, MsgRef)>,
    /// The ACKs are to be read again, from E of what is rebuilt, once that is read to its end.
    pub acks_again: bool,
    /// In a rebuild beside others: partitions for which something is submitted and not reported yet.
    pub reports_out: Vec<i32>,
    /// In a rebuild beside others: ACKs by id below these, for which there is no message now, never will have one.
    pub replay_ends: Vec<(i32, i64)>,
    /// Lost ranges that it went on from by itself, to be told.
    pub lost_untold: Vec<Frozen>,
}

impl Topic {
    pub fn new(
        ix: TopicIx,
        settings: TopicSettings,
        settled_max: usize,
        limits: &CoreLimits,
        seed: u64,
    ) -> Self {
        Self {
            ix,
            overrides: PolicyPatch::default(),
            policy: settings.policy.clone(),
            settings,
            partitions: BTreeMap::new(),
            labels: Labels::new(seed),
            early_by_id: EarlyById::default(),
            early_max: limits.early_weight_max,
            overflow: Overflow::default(),
            fences: VecDeque::new(),
            fence_asked: None,
            fence_newest_asked: 0,
            shorter: None,
            acks_at_fence: Vec::new(),
            fence_last: Now::default(),
            moved: false,
            settled: Settled::new(settled_max, limits.settled_retention_ms),
            counters: Counters::default(),
            unmatched: VecDeque::new(),
            paused: None,
            source_missing: None,
            refused_copy: None,
            refused_dead_letter: None,
            tokens: 0.0,
            tokens_at: 0,
            had_turn: None,
            in_flight: 0,
            in_flight_bytes: 0,
            publishing: HashMap::default(),
            publishing_bytes: 0,
            retimed_at: i64::MIN,
            retries_by_second: VecDeque::new(),
            decisions: HashMap::new(),
            acks_again: false,
            reports_out: Vec::new(),
            replay_ends: Vec::new(),
            lost_untold: Vec::new(),
        }
    }

    pub fn msg(&self, partition: i32, origin: i64) -> MsgRef {
        MsgRef {
            topic: self.ix,
            partition,
            origin,
        }
    }

    /// Records of one partition, in order.
    pub fn on_sources(&mut self, records: &[SourceRecord], cx: &mut Cx<'_>) {
        let mut rest = records;
        let mut ahead = 0;
        while let Some(first) = rest.first() {
            let plain = self.on_plain_sources(first.partition, rest, cx);
            rest = &rest[plain..];
            if let Some((record, behind)) = rest.split_first() {
                if ahead == 0 {
                    ahead = TOGETHER.min(rest.len());
                    self.look_ahead_of_sources(&rest[..ahead]);
                }
                ahead -= 1;
                self.on_source(record, cx);
                rest = behind;
            }
        }
    }

    /// Those at the front that are nothing but new messages; gives how many.
    fn on_plain_sources(
        &mut self,
        partition: i32,
        records: &[SourceRecord],
        cx: &mut Cx<'_>,
    ) -> usize {
        let Some(p) = self.partitions.get_mut(&partition) else {
            return records.len();
        };
        if p.is_lost() {
            return records.len();
        }
        let early = !p.early.is_empty();
        if early && (p.early.has_others() || !p.by_offset.is_empty()) {
            return 0;
        }
        let mut done = 0;
        for record in records {
            if record.extra.is_some() {
                break;
            }
            done += 1;
            if record.offset < p.applied {
                continue;
            }
            p.set_applied(record.offset + 1);
            self.moved = true;
            self.counters.tracked += 1;
            let slot = Slot {
                mark: Mark::First,
                seen_ms: cx.mono,
                len: record.len,
                digest: record.digest,
            };
            if early && p.early.take_plain(record.offset) {
                let at = LogPosition::new(partition, record.offset);
                note_acked(
                    &mut self.counters,
                    &mut self.settled,
                    at,
                    &slot,
                    None,
                    false,
                    cx,
                );
            } else {
                p.put_first(record.offset, slot, None);
            }
        }
        done
    }

    /// A record of one of our partitions, in order.
    fn on_source(&mut self, record: &SourceRecord, cx: &mut Cx<'_>) {
        let Some(p) = self.partitions.get_mut(&record.partition) else {
            return;
        };
        // Read again after a re-position: known.
        if record.offset < p.applied || p.is_lost() {
            return;
        }
        p.set_applied(record.offset + 1);
        self.moved = true;
        let slot = Slot {
            mark: Mark::First,
            seen_ms: cx.mono,
            len: record.len,
            digest: record.digest,
        };
        let Some(extra) = &record.extra else {
            self.counters.tracked += 1;
            p.put_first(record.offset, slot, None);
            self.take_early(record.partition, record.offset, cx);
            return;
        };
        self.on_marked_source(record, extra, slot, cx);
    }

    /// A record with an id, a timeout of its own, or the headers of a copy.
    fn on_marked_source(
        &mut self,
        record: &SourceRecord,
        extra: &SourceExtra,
        slot: Slot,
        cx: &mut Cx<'_>,
    ) {
        self.counters.ids_fell_back += u64::from(extra.id_fell_back);
        self.counters.bad_timeouts += u64::from(extra.bad_timeout);
        if let Some(mark) = &extra.copy
            && mark.by_us
            && self.link_copy(record, extra, mark, cx)
        {
            self.take_early(record.partition, record.offset, cx);
            return;
        }
        self.counters.tracked += 1;
        self.counters.unfaithful += u64::from(extra.unfaithful);
        let at = LogPosition::new(record.partition, record.offset);
        let hash = extra.id.as_ref().map(|id| self.labels.hash(id));
        if let (Some(id), Some(hash)) = (&extra.id, hash) {
            let partitions = &self.partitions;
            let reused = self
                .labels
                .add(hash, at, |other| carries(partitions, other, id));
            self.counters.ids_reused += u64::from(reused);
        }
        let Some(p) = self.partitions.get_mut(&record.partition) else {
            return;
        };
        let attempt = extra.copy.as_ref().map_or(1, |mark| mark.attempt);
        if attempt == 1 && extra.timeout_ms.is_none() && !extra.unfaithful {
            p.put_first(record.offset, slot, extra.id.as_deref());
        } else {
            let wait = schedule::wait_ms(
                &self.policy,
                extra.timeout_ms,
                attempt,
                cx.seed,
                record.offset,
            );
            let mut detail = Self::new_detail(record.offset, slot, cx.now);
            detail.origin_timestamp_ms = record.timestamp_ms;
            detail.id.clone_from(&extra.id);
            detail.attempt = attempt;
            detail.own_timeout_ms = extra.timeout_ms;
            detail.unfaithful = extra.unfaithful;
            detail.deadline = Some(cx.mono + wait as i64);
            detail.deliveries.push(Delivery {
                attempt,
                offset: record.offset,
                at_wall_ms: cx.now.wall_ms,
                cause: extra.copy.as_ref().map(|mark| mark.cause),
                read: true,
            });
            p.insert_detail(detail);
        }
        let acked = p.early.take_plain(record.offset);
        let mut others = p.early.take_others(record.offset);
        if let Some(hash) = hash
            && !self.early_by_id.is_empty()
            && !self.comes_again(record.partition)
        {
            others.extend(self.early_by_id.take(hash));
        }
        self.apply_early(record.partition, record.offset, acked, others, cx);
    }

    pub fn new_detail(origin: i64, slot: Slot, now: Now) -> Detail {
        let _ = now;
        Detail {
            origin,
            origin_timestamp_ms: -1,
            id: None,
            seen_ms: slot.seen_ms,
            delivered_ms: slot.seen_ms,
            len: slot.len,
            digest: slot.digest,
            attempt: 1,
            // Most are sent again once.
            deliveries: Vec::with_capacity(2),
            anchor: origin,
            own_timeout_ms: None,
            unfaithful: false,
            phase: Phase::Waiting,
            deadline: None,
            under_way: UnderWay::default(),
            unclear: 0,
            unclear_from: 0,
            unclear_to: 0,
            pending_attempt: 0,
            unseen_since: None,
            extended_ms: 0,
            pending: None,
            reason: None,
            virtual_attempt: 1,
            ack_beside_death: None,
            refusals: 0,
            doomed: None,
            fired_deadline: None,
        }
    }

    /// While a partition is rebuilt, or stands still on the way to that, its source is read first: a message that is settled before its copies are read would
    /// leave them without a home. What is said of it meanwhile is read again.
    pub fn comes_again(&self, partition: i32) -> bool {
        let rebuilt = match self.partitions.get(&partition).map(|p| &p.stage) {
            Some(Stage::Replaying(_)) => self.acks_again,
            Some(Stage::Lost(_, lost)) => lost.replay_acks && Guard::HeardWhileFrozen.holds(),
            Some(Stage::Live) | None => false,
        };
        rebuilt && Guard::SourceBeforeAcks.holds()
    }

    /// ACKs that had come before the record, or before the report of the copy, at `offset`.
    pub fn take_early(&mut self, partition: i32, offset: i64, cx: &mut Cx<'_>) {
        let Some(p) = self.partitions.get_mut(&partition) else {
            return;
        };
        let acked = p.early.take_plain(offset);
        let others = p.early.take_others(offset);
        self.apply_early(partition, offset, acked, others, cx);
    }

    fn apply_early(
        &mut self,
        partition: i32,
        offset: i64,
        plain: bool,
        others: Vec<AckRecord>,
        cx: &mut Cx<'_>,
    ) {
        if plain {
            // A plain ACK has no evidence of its own to pin: the message has one delivery at or past L, so its ACK
            // lies at or past the fence. Of a copy, the fence of the copy's own offset does the same.
            let at = LogPosition::new(-1, -1);
            self.settle_delivery(partition, offset, State::Acked, at, cx);
        }
        for ack in others {
            self.apply_ack(&ack, cx);
        }
    }

    /// Takes a record for our own copy only with proof that we sent it: its offset was reported to us, or the attempt
    /// is in flight, or it is what our predecessor must have sent (in a replay). False: it is to be tracked.
    fn link_copy(
        &mut self,
        record: &SourceRecord,
        extra: &SourceExtra,
        mark: &CopyMark,
        cx: &mut Cx<'_>,
    ) -> bool {
        let Some(p) = self.partitions.get_mut(&record.partition) else {
            return false;
        };
        let replays = p.replays(record.offset);
        if p.by_offset.contains_key(&record.offset) {
            let origin = p.by_offset[&record.offset];
            self.delivery_read(record.partition, origin, record.offset, mark, cx);
            return true;
        }
        let same = |len: u32, digest: u64| {
            len == record.len && digest == record.digest || !Guard::CopyPayload.holds()
        };
        if let Some(detail) = p.details.get(&mark.origin) {
            if !same(detail.len, detail.digest) {
                return false;
            }
            let proof = detail.proof_of(mark.attempt, record.offset);
            let predecessors =
                replays && mark.attempt == detail.attempt + 1 && !detail.is_settled();
            if proof.is_none() && !predecessors && Guard::CopyProof.holds() {
                return false;
            }
            if let Some(proof) = proof {
                p.update(mark.origin, |d| d.accounts_for(proof, mark.attempt));
            }
            self.delivery_read(record.partition, mark.origin, record.offset, mark, cx);
            return true;
        }
        if !replays {
            return false;
        }
        if let Some(slot) = p.slots.get(mark.origin) {
            if slot.mark != Mark::First || !same(slot.len, slot.digest) || mark.attempt != 2 {
                return false;
            }
            self.promote(record.partition, mark.origin, cx);
            self.delivery_read(record.partition, mark.origin, record.offset, mark, cx);
            return true;
        }
        if mark.origin >= p.start && !p.was_lost(mark.origin) {
            return false;
        }
        // The original lies below the low-water mark, or is lost: the copy carries everything. But for what was said of it
        // before the checkpoint was taken, which did not know of this copy: it may have landed only since.
        p.hear_again();
        let slot = Slot {
            mark: Mark::Anchor,
            seen_ms: cx.mono,
            len: record.len,
            digest: record.digest,
        };
        let mut detail = Self::new_detail(mark.origin, slot, cx.now);
        detail.anchor = record.offset;
        detail.origin_timestamp_ms = mark.origin_timestamp_ms;
        detail.id.clone_from(&extra.id);
        detail.attempt = mark.attempt;
        detail.own_timeout_ms = extra.timeout_ms;
        let known = mark.deliveries.len() as u32;
        let origin_and_between =
            std::iter::once(mark.origin).chain(mark.deliveries.iter().copied());
        for (i, offset) in origin_and_between.enumerate() {
            // Of more than 16 in between, the oldest are not named.
            let attempt = if i == 0 {
                1
            } else {
                (mark.attempt).saturating_sub(known + 1 - i as u32)
            };
            detail.add_delivery(Delivery {
                attempt,
                offset,
                at_wall_ms: if i == 0 { mark.origin_timestamp_ms } else { -1 },
                cause: None,
                read: true,
            });
        }
        detail.add_delivery(Delivery {
            attempt: mark.attempt,
            offset: record.offset,
            at_wall_ms: record.timestamp_ms,
            cause: Some(mark.cause),
            read: true,
        });
        let wait = schedule::wait_ms(
            &self.policy,
            extra.timeout_ms,
            mark.attempt,
            cx.seed,
            mark.origin,
        );
        detail.deadline = Some(cx.mono + wait as i64);
        self.counters.tracked += 1;
        if let Some(id) = &extra.id {
            let hash = self.labels.hash(id);
            let at = LogPosition::new(record.partition, mark.origin);
            self.labels.add(hash, at, |_| false);
        }
        p.insert_detail(detail);
        true
    }

    /// Our copy was read back: the anchor moves to it, and if its attempt did not count yet, it does now.
    fn delivery_read(
        &mut self,
        partition: i32,
        origin: i64,
        offset: i64,
        mark: &CopyMark,
        cx: &mut Cx<'_>,
    ) {
        let Some(p) = self.partitions.get_mut(&partition) else {
            return;
        };
        let wall_ms = cx.now.wall_ms;
        // One whose report was unclear, and that was about to be sent again.
        let fetching = p
            .details
            .get(&origin)
            .is_some_and(|d| matches!(d.phase, Phase::Fetching(_)));
        let counts = p.update(origin, |d| {
            d.add_delivery(Delivery {
                attempt: mark.attempt,
                offset,
                at_wall_ms: wall_ms,
                cause: Some(mark.cause),
                read: true,
            });
            if !d.is_settled() && offset > d.anchor {
                d.anchor = offset;
            }
            !d.is_settled() && mark.attempt > d.attempt
        });
        if counts == Some(true) {
            if fetching {
                self.discard(partition, origin, cx);
            }
            self.attempt_counts(partition, origin, mark.attempt, mark.cause, cx);
        }
        self.drop_if_over(partition, origin);
    }

    /// A first delivery becomes a message with a history.
    pub fn promote(&mut self, partition: i32, offset: i64, cx: &Cx<'_>) -> bool {
        let Some(p) = self.partitions.get_mut(&partition) else {
            return false;
        };
        let timeout_ms = p.timeout_at(offset);
        let applied = p.applied;
        let taken = p
            .slots
            .take_first(offset, applied, |slot, id| (slot, id.map(Box::<str>::from)));
        let Some((slot, id)) = taken else {
            return false;
        };
        let mut detail = Self::new_detail(offset, slot, cx.now);
        detail.id = id;
        detail.deadline = Some(slot.seen_ms + timeout_ms as i64);
        detail.deliveries.push(Delivery {
            attempt: 1,
            offset,
            at_wall_ms: wall_of(slot.seen_ms, cx.now),
            cause: None,
            read: true,
        });
        p.insert_detail(detail);
        true
    }

    /// Settles the message with a delivery at `offset`, whatever it is; false if there is none unsettled.
    pub fn settle_delivery(
        &mut self,
        partition: i32,
        offset: i64,
        state: State,
        evidence: LogPosition,
        cx: &mut Cx<'_>,
    ) -> bool {
        let Some(p) = self.partitions.get_mut(&partition) else {
            return false;
        };
        let Some(origin) = p.by_offset.get(&offset).copied() else {
            let at = p.at(offset);
            let by_operator = state == State::OperatorAcked;
            let (labels, counters, settled) =
                (&mut self.labels, &mut self.counters, &mut self.settled);
            let taken = p.slots.take_first(offset, p.applied, |slot, id| {
                if let Some(id) = id {
                    labels.remove(labels.hash(id), at);
                }
                note_acked(counters, settled, at, &slot, id, by_operator, cx);
            });
            self.moved |= taken.is_some();
            return taken.is_some();
        };
        self.settle_detail(partition, origin, state, evidence, cx)
    }

    /// Settles a message with a history. What is in flight keeps it as a tombstone.
    pub fn settle_detail(
        &mut self,
        partition: i32,
        origin: i64,
        state: State,
        evidence: LogPosition,
        cx: &mut Cx<'_>,
    ) -> bool {
        let Some(p) = self.partitions.get_mut(&partition) else {
            return false;
        };
        let Some(detail) = p.details.get(&origin) else {
            return false;
        };
        if detail.is_settled() {
            return false;
        }
        // Nothing is known of where the evidence of a plain early ACK lies but that it is at or past E now.
        let evidence = if evidence.partition < 0 {
            None
        } else {
            Some(evidence)
        };
        let fetching = matches!(detail.phase, Phase::Fetching(_));
        let died_of = match detail.phase {
            Phase::Settling { cause, .. } | Phase::SettlementDue(cause) => Some(cause),
            _ if state == State::PayloadLost => Some(DeadLetterCause::PayloadLost),
            // Read back after a restart: a settlement does not tell.
            _ => None,
        };
        let mono = cx.mono;
        let seen_ms = detail.seen_ms;
        let id = detail.id.clone();
        p.update(origin, |d| {
            d.phase = Phase::Settled(state);
            d.deadline = None;
            d.ack_beside_death = d.ack_beside_death.filter(|_| state == State::Dead);
            d.pending = evidence.map(|at| Pending {
                verdict: match state {
                    State::OperatorAcked => Verdict::OperatorAck,
                    State::Dead => Verdict::DeadLettered,
                    State::PayloadLost => Verdict::PayloadLost,
                    _ => Verdict::Ack,
                },
                at,
                delay_ms: None,
                reason: None,
            });
            if d.may_come() {
                d.unseen_since.get_or_insert(mono);
                d.deadline = Some(mono + super::firing::AMBIGUOUS_KEPT_MS);
            }
        });
        if fetching {
            self.discard(partition, origin, cx);
        }
        if let Some(id) = &id {
            let hash = self.labels.hash(id);
            self.labels
                .remove(hash, LogPosition::new(partition, origin));
        }
        if matches!(state, State::Acked | State::OperatorAcked) {
            self.counters.acked += 1;
            self.counters
                .ack_latency_ms
                .observe(u64::try_from(cx.mono - seen_ms).unwrap_or(0));
        }
        self.moved = true;
        let kept = self
            .partitions
            .get(&partition)
            .and_then(|p| p.details.get(&origin))
            .map(|d| self.detail_view(partition, d, cx.now));
        if let Some(mut kept) = kept {
            if matches!(state, State::Dead | State::PayloadLost) {
                kept.message.cause = died_of.map(ShownCause::DeadLetter);
            }
            self.settled.keep(kept);
        }
        self.drop_if_over(partition, origin);
        true
    }

    /// A settled message of which nothing is in flight is forgotten, its evidence pinned as long as needed.
    pub fn drop_if_over(&mut self, partition: i32, origin: i64) {
        let Some(p) = self.partitions.get_mut(&partition) else {
            return;
        };
        let detail = p.details.get(&origin);
        if detail.is_some_and(|d| Partition::is_over(d))
            && let Some(detail) = p.remove_detail(origin)
        {
            p.pin_settled(&detail);
        }
    }

    /// It is not ours any more; what waits in the producer's queue for it is not to be sent.
    pub fn revoke(&mut self, number: i32, effects: &mut Vec<Effect>) {
        if !self.partitions.contains_key(&number) {
            return;
        }
        self.drop_partition(number, effects);
        effects.push(Effect::StopSource {
            topic: self.ix,
            partition: number,
        });
        if self.publishing.values().any(|s| s.partition == number) {
            effects.push(Effect::PurgeQueue);
        }
        if self.partitions.is_empty() {
            // Nobody tells us any more if one of the topics is made anew.
            self.forget_fences();
        }
    }

    /// Forgets a partition, with what the topic knows of it.
    pub fn drop_partition(&mut self, number: i32, effects: &mut Vec<Effect>) {
        let Some(p) = self.partitions.remove(&number) else {
            return;
        };
        let labels = &mut self.labels;
        p.each_label(|id, at| labels.remove(labels.hash(id), at));
        for d in p.details.values() {
            if matches!(d.phase, Phase::Fetching(_)) {
                effects.push(Effect::DiscardPayload {
                    msg: self.msg(number, d.origin),
                });
            }
        }
    }

    pub fn count_verdict(&mut self, verdict: Verdict, result: VerdictResult) {
        self.count_verdicts(verdict, result, 1);
    }

    /// Both are numbered as `ALL` has them.
    pub fn count_verdicts(&mut self, verdict: Verdict, result: VerdictResult, count: u64) {
        self.counters.verdicts[verdict as usize][result as usize] += count;
    }

    /// The next partition of ours, by number; the first behind none.
    pub fn partition_behind(&self, number: Option<i32>) -> Option<i32> {
        let from = number.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.partitions.range((from, Bound::Unbounded));
        behind.next().map(|(number, _)| *number)
    }

    /// Unsettled messages of all partitions.
    pub fn unsettled(&self) -> u64 {
        self.partitions.values().map(Partition::unsettled).sum()
    }

    pub fn early_weight(&self) -> usize {
        self.partitions
            .values()
            .map(|p| p.early.weight())
            .sum::<usize>()
            + self.early_by_id.weight()
    }

    pub fn is_behind_its_fence(&self) -> bool {
        let Some(KeptFence { fence, .. }) = self.fences.back() else {
            return false;
        };
        let mut reading = self
            .partitions
            .values()
            .filter(|p| !p.is_lost() && !p.paused);
        reading.any(|p| named(&fence.source_ends, p.number).is_some_and(|end| p.applied < end))
    }

    pub fn has_early(&self) -> bool {
        self.early_weight() > 0
    }

    /// Some that are applied are not in force yet: they wait for their messages, or are to be read again.
    pub fn awaits_acks(&self) -> bool {
        self.has_early() || !self.overflow.is_empty()
    }
}

/// Whether an unsettled message carries that id.
pub(super) fn carries(partitions: &BTreeMap<i32, Partition>, at: LogPosition, id: &str) -> bool {
    let p = partitions.get(&at.partition);
    p.is_some_and(|p| p.id_of(at.offset) == Some(id))
}

/// A first delivery was acknowledged: counted, and put on the shelf.
#[inline]
pub(super) fn note_acked(
    counters: &mut Counters,
    settled: &mut Settled,
    at: LogPosition,
    slot: &Slot,
    id: Option<&str>,
    by_operator: bool,
    cx: &Cx<'_>,
) {
    counters.acked += 1;
    let latency = u64::try_from(cx.mono - slot.seen_ms).unwrap_or(0);
    counters.ack_latency_ms.observe(latency);
    settled.keep_brief(&Brief {
        at,
        id,
        seen_wall_ms: wall_of(slot.seen_ms, cx.now),
        settled_wall_ms: cx.now.wall_ms,
        size_bytes: slot.len,
        by_operator,
    });
}

/// The wall-clock time of a monotonic one, as the clocks stand now.
pub(super) fn wall_of(mono_ms: i64, now: Now) -> i64 {
    now.wall_ms - (now.mono_ms as i64 - mono_ms)
}
