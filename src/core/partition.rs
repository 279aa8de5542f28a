//! One source partition: what is outstanding in it, when it is due, and what its low-water mark stands on.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::detail::{Detail, Phase};
use super::early::{EarlyById, EarlyByOffset};
use super::guards::Guard;
use super::low_water::offset_in;
use super::offset_hash::ByOffset;
use super::overflow::Unheard;
use super::pins::{IN_FLIGHT, Pins};
use super::slots::{Mark, Slot, Slots, split};
use super::types::{LogPosition, Now};
use super::view::{Frozen, State};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Something was lost before it was read: nothing is read, nothing fires, until an operator decides.
    Lost(Frozen, LostRange),
    /// Reading up to an end that was read after the assignment (`None`: not asked yet).
    Replaying(Option<i64>),
    /// The source is caught up since the assignment.
    Live,
}

/// What was lost, so that it can be gone on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LostRange {
    /// Where reading of the source can go on.
    pub resume_source: i64,
    /// The ACKs are to be read again from E once the source is read to its end: copies of what is below the low-water
    /// mark are known only then.
    pub replay_acks: bool,
}

/// First deliveries from `from` on (up to the next span) have this timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub from: i64,
    pub timeout_ms: u64,
    /// Nothing below it is waiting.
    pub cursor: i64,
}

pub(super) struct Partition {
    pub number: i32,
    pub stage: Stage,
    /// Everything below is applied; negative: nothing is known yet.
    pub applied: i64,
    /// What lies below was never ours to track, or was settled when we began.
    pub start: i64,
    /// What lies below was never ours to track.
    pub born: i64,
    /// [from, to): gone before they were read.
    pub lost: Vec<(i64, i64)>,
    pub slots: Slots,
    /// By origin. Boxed: they come in order, which leaves the nodes of a tree half empty.
    pub details: BTreeMap<i64, Box<Detail>>,
    /// Any delivery's offset of a detail, to its origin.
    pub by_offset: HashMap<i64, i64, ByOffset>,
    /// (deadline, origin) of details.
    pub due: BTreeSet<(i64, i64)>,
    /// Those of them that wait for no turn under `retry_rate`.
    pub urgent: BTreeSet<(i64, i64)>,
    /// Payloads being fetched, and their bytes.
    pub fetching: (usize, u64),
    /// First deliveries come due in order.
    pub spans: VecDeque<Span>,
    /// When the newest fence was asked for, if it was ours then.
    pub applied_at_fence: Option<i64>,
    pub early: EarlyByOffset,
    /// Since an early ACK was let go.
    pub unheard: Option<Unheard>,
    pub pins: Pins,
    /// A fence that held when we began: (L, E).
    pub base: (i64, Vec<(i32, i64)>),
    /// The E that is committed, or what is gone before, which was told: no lower one is ever needed again, and what lies before it
    /// may be gone.
    pub committed_acks: Vec<(i32, i64)>,
    /// From where the ACKs are to be read again: E, or where the checkpoint had them applied.
    pub replay_from: Vec<(i32, i64)>,
    /// Of the ACKs before these, none is read for it again: they were applied, or are gone, which was told.
    pub acks_done: Vec<(i32, i64)>,
    pub committed: Option<(i64, Vec<(i32, i64)>)>,
    pub commit_in_flight: Option<(i64, Vec<(i32, i64)>)>,
    pub commit_tried_ms: u64,
    /// Since when commits fail.
    pub commit_fails: Option<Now>,
    /// When the last commit that succeeded was sent.
    pub leased_from: Option<u64>,
    /// The lease has lapsed, and the producer's queue was purged for it.
    pub purged: bool,
    /// Until then, what its former owner submitted may still land.
    pub former_owner_until_ms: u64,
    pub paused: bool,
    /// Publications up to this number were submitted before it was ours (again).
    pub sequence_before: u64,
    pub low_moved: Now,
    pub low_last: i64,
    /// Unsettled details by state, in the order of `State::UNSETTLED`.
    pub detail_counts: [u64; 5],
    pub dirty: BTreeSet<i64>,
    pub gone: BTreeSet<i64>,
    pub replace_image: bool,
    /// What the store keeps has its times as of then, ms since the epoch: that of the last image as a whole.
    pub image_wall_ms: i64,
}

impl Partition {
    pub fn new(number: i32, from: i64, timeout_ms: u64, now: Now) -> Self {
        Self {
            number,
            stage: Stage::Replaying(None),
            applied: from,
            start: from,
            born: 0,
            lost: Vec::new(),
            slots: Slots::default(),
            details: BTreeMap::new(),
            by_offset: HashMap::default(),
            due: BTreeSet::new(),
            urgent: BTreeSet::new(),
            fetching: (0, 0),
            spans: VecDeque::from([Span {
                from: i64::MIN,
                timeout_ms,
                cursor: i64::MIN,
            }]),
            applied_at_fence: None,
            early: EarlyByOffset::default(),
            unheard: None,
            pins: Pins::default(),
            base: (from, Vec::new()),
            committed_acks: Vec::new(),
            replay_from: Vec::new(),
            acks_done: Vec::new(),
            committed: None,
            commit_in_flight: None,
            commit_tried_ms: 0,
            commit_fails: None,
            leased_from: None,
            purged: false,
            former_owner_until_ms: 0,
            paused: false,
            sequence_before: 0,
            low_moved: now,
            low_last: from,
            detail_counts: [0; 5],
            dirty: BTreeSet::new(),
            gone: BTreeSet::new(),
            replace_image: true,
            image_wall_ms: now.wall_ms,
        }
    }

    pub fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Lost(..))
    }

    /// Whether a record stood there that was gone before it was read.
    pub fn was_lost(&self, offset: i64) -> bool {
        self.lost
            .iter()
            .any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// In a replay, up to an end that was read after the assignment, what our predecessor sent is taken for ours.
    pub fn replays(&self, offset: i64) -> bool {
        match self.stage {
            Stage::Replaying(None) => true,
            Stage::Replaying(Some(target)) => offset < target,
            Stage::Lost(..) | Stage::Live => false,
        }
    }

    /// How many first deliveries are outstanding in slots.
    pub fn firsts(&self) -> u64 {
        // Each unsettled detail has exactly one anchor slot.
        self.slots.live() - self.detail_counts.iter().sum::<u64>()
    }

    /// What is not settled.
    pub fn unsettled(&self) -> u64 {
        self.slots.live()
    }

    /// The lowest unsettled anchor, or where the source is applied up to.
    pub fn low(&self) -> i64 {
        let first = self.slots.first().map(|(offset, _)| offset);
        first.unwrap_or(self.applied).min(self.applied)
    }

    /// Whether what is read of its ACK topic is applied to it, unless its sources are waited for.
    pub fn hears(&self) -> bool {
        match &self.stage {
            Stage::Live | Stage::Replaying(_) => true,
            Stage::Lost(_, lost) => !lost.replay_acks,
        }
    }

    /// From where it needs the ACKs of that partition of the ACK topic, while it is rebuilt.
    pub fn needs_acks_from(&self, ack_partition: i32) -> i64 {
        let from = offset_in(&self.replay_from, ack_partition);
        let done = offset_in(&self.acks_done, ack_partition);
        let committed = offset_in(&self.committed_acks, ack_partition);
        from.max(done).max(committed)
    }

    /// Early ACKs that it holds, or may be about something of it: while its source is read again, it takes none of them. Plain
    /// ones by position it takes.
    pub fn needs_what_is_kept(&mut self, by_id: &EarlyById) {
        let kept: Vec<LogPosition> = self.early.kept_whole().chain(by_id.kept()).collect();
        for at in kept {
            self.needs_acks_again(at.partition, at.offset);
        }
    }

    /// Those from there on were applied, but for some.
    pub fn needs_acks_again(&mut self, ack_partition: i32, from: i64) {
        for (n, done) in &mut self.acks_done {
            if *n == ack_partition {
                *done = (*done).min(from);
            }
        }
    }

    /// ACKs that the checkpoint had applied are read again, too, from E on.
    pub fn hear_again(&mut self) {
        for (n, from) in &mut self.replay_from {
            *from = (*from).min(offset_in(&self.base.1, *n));
        }
    }

    /// The position moved on; blocks that it left may go.
    #[inline]
    pub fn set_applied(&mut self, to: i64) {
        if to <= self.applied {
            return;
        }
        let left = split(self.applied.max(0)).0;
        self.applied = to;
        if split(to).0 != left {
            self.slots.head_left(left);
        }
    }

    /// From `offset` on, first deliveries wait that long; with `all`, what is outstanding too.
    pub fn set_timeout(&mut self, timeout_ms: u64, all: bool) {
        if all {
            self.spans = VecDeque::from([Span {
                from: i64::MIN,
                timeout_ms,
                cursor: i64::MIN,
            }]);
        } else if self.spans.back().is_none_or(|s| s.timeout_ms != timeout_ms) {
            self.spans.push_back(Span {
                from: self.applied,
                timeout_ms,
                cursor: self.applied,
            });
        }
    }

    /// The first delivery that is due next: (deadline, offset). Spans that hold nothing any more go.
    pub fn next_first_due(&mut self) -> Option<(i64, i64)> {
        let mut best: Option<(i64, i64)> = None;
        let mut index = 0;
        while index < self.spans.len() {
            let end = self.spans.get(index + 1).map_or(i64::MAX, |s| s.from);
            let is_last = index + 1 == self.spans.len();
            let span = &mut self.spans[index];
            match self.slots.next_first(span.cursor.max(span.from), end) {
                Some((offset, slot)) => {
                    span.cursor = offset;
                    let deadline = slot
                        .seen_ms
                        .saturating_add(i64::try_from(span.timeout_ms).unwrap_or(i64::MAX));
                    if best.is_none_or(|b| (deadline, offset) < b) {
                        best = Some((deadline, offset));
                    }
                    index += 1;
                }
                // The last one is open: what comes next belongs to it, and is put behind what was looked through.
                None if is_last => {
                    span.cursor = span.cursor.max(self.applied);
                    index += 1;
                }
                None => {
                    self.spans.remove(index);
                }
            }
        }
        best
    }

    /// The timeout that governs the first delivery at `offset`.
    pub fn timeout_at(&self, offset: i64) -> u64 {
        self.spans
            .iter()
            .rev()
            .find(|s| s.from <= offset)
            .map_or(0, |s| s.timeout_ms)
    }

    /// Puts a first delivery into its slot; the cursors must not have passed it.
    #[inline]
    pub fn put_first(&mut self, offset: i64, slot: Slot, id: Option<&str>) {
        self.slots.put(offset, slot, id);
        if let Some(span) = self.spans.iter_mut().rev().find(|s| s.from <= offset)
            && span.cursor > offset
        {
            span.cursor = offset;
        }
    }

    pub fn insert_detail(&mut self, detail: Detail) {
        let origin = detail.origin;
        if !detail.is_settled() {
            self.slots.put(detail.anchor, anchor_slot(&detail), None);
        }
        self.by_offset.insert(origin, origin);
        for delivery in &detail.deliveries {
            self.by_offset.insert(delivery.offset, origin);
        }
        self.account(origin, &Account::of(&detail), true);
        self.details.insert(origin, Box::new(detail));
        self.dirty.insert(origin);
        self.gone.remove(&origin);
    }

    /// The only way in which a detail changes: what hangs on it (counts, due times, pins, the anchor's slot) follows.
    pub fn update<R>(&mut self, origin: i64, change: impl FnOnce(&mut Detail) -> R) -> Option<R> {
        let detail = self.details.get_mut(&origin)?;
        let before = Account::of(detail);
        let deliveries = detail.deliveries.len();
        let result = change(detail);
        let after = Account::of(detail);
        let moved = detail.anchor != before.anchor;
        if !before.is_settled && (after.is_settled || moved) {
            self.slots.clear(before.anchor, self.applied);
        }
        if !after.is_settled && (before.is_settled || moved) {
            self.slots.put(detail.anchor, anchor_slot(detail), None);
        }
        // They are only ever added.
        if detail.deliveries.len() != deliveries {
            for delivery in &detail.deliveries {
                self.by_offset.insert(delivery.offset, origin);
            }
        }
        if before != after {
            self.account(origin, &before, false);
            self.account(origin, &after, true);
        }
        self.dirty.insert(origin);
        Some(result)
    }

    /// A settled detail of which nothing is in flight any more.
    pub fn remove_detail(&mut self, origin: i64) -> Option<Box<Detail>> {
        let detail = self.details.remove(&origin)?;
        self.account(origin, &Account::of(&detail), false);
        if !detail.is_settled() {
            self.slots.clear(detail.anchor, self.applied);
        }
        self.by_offset.remove(&origin);
        for delivery in &detail.deliveries {
            self.by_offset.remove(&delivery.offset);
        }
        self.dirty.remove(&origin);
        self.gone.insert(origin);
        Some(detail)
    }

    fn account(&mut self, origin: i64, of: &Account, add: bool) {
        if let Some(i) = State::UNSETTLED.iter().position(|s| *s == of.state) {
            if add {
                self.detail_counts[i] += 1;
            } else {
                self.detail_counts[i] -= 1;
            }
        }
        if let Some(deadline) = of.deadline {
            let urgent = of.is_urgent.then_some(&mut self.urgent);
            for due in std::iter::once(&mut self.due).chain(urgent) {
                if add {
                    due.insert((deadline, origin));
                } else {
                    due.remove(&(deadline, origin));
                }
            }
        }
        if let Some(len) = of.fetching {
            let (count, bytes) = &mut self.fetching;
            if add {
                (*count, *bytes) = (*count + 1, *bytes + u64::from(len));
            } else {
                (*count, *bytes) = (*count - 1, *bytes - u64::from(len));
            }
        }
        for at in of.evidence.into_iter().flatten() {
            match (of.is_settled, add) {
                (false, true) => self.pins.add_verdict(at, origin),
                (false, false) => self.pins.remove_verdict(at, origin),
                // Settled by it, with a copy in flight.
                (true, true) => self.pins.add_evidence(IN_FLIGHT, at, origin),
                (true, false) => self.pins.remove_evidence(IN_FLIGHT, at, origin),
            }
        }
    }

    /// The origin of the message with a delivery at `offset`, be it in a slot or a detail.
    pub fn origin_at(&self, offset: i64) -> Option<i64> {
        if let Some(origin) = self.by_offset.get(&offset) {
            return Some(*origin);
        }
        self.slots
            .get(offset)
            .filter(|slot| slot.mark == Mark::First)
            .map(|_| offset)
    }

    /// The label of an unsettled message.
    pub fn id_of(&self, origin: i64) -> Option<&str> {
        match self.details.get(&origin) {
            Some(detail) => detail.id.as_deref(),
            None => self.slots.id(origin),
        }
    }

    pub fn at(&self, offset: i64) -> LogPosition {
        LogPosition::new(self.number, offset)
    }

    /// Evidence of a settled message stays pinned until L has passed its last copy.
    pub fn pin_settled(&mut self, detail: &Detail) {
        let last_copy = detail.deliveries.iter().map(|d| d.offset).max();
        let at = detail
            .ack_beside_death
            .or(detail.pending.as_ref().map(|p| p.at));
        if let (Some(until), Some(at)) = (last_copy.filter(|o| *o != detail.origin), at) {
            self.pins.add_evidence(until, at, detail.origin);
        }
    }

    /// Settled, and all that was sent is accounted for and read back: nothing of it can still surprise us.
    pub fn is_over(detail: &Detail) -> bool {
        detail.is_settled()
            && (!detail.may_come() || !Guard::Tombstone.holds())
            && detail.deliveries.iter().all(|d| d.read)
            && !matches!(detail.phase, Phase::Publishing { .. })
    }
}

/// What a partition keeps an account of, of each detail.
#[derive(PartialEq, Eq)]
struct Account {
    state: State,
    is_settled: bool,
    anchor: i64,
    deadline: Option<i64>,
    is_urgent: bool,
    /// If its payload is being fetched: its length.
    fetching: Option<u32>,
    /// Of its pending verdict, and of the ACK beside its dead letter.
    evidence: [Option<LogPosition>; 2],
}

impl Account {
    fn of(detail: &Detail) -> Self {
        Self {
            state: detail.state(),
            is_settled: detail.is_settled(),
            anchor: detail.anchor,
            deadline: detail.deadline,
            is_urgent: detail.is_urgent(),
            fetching: matches!(detail.phase, Phase::Fetching(_)).then_some(detail.len),
            evidence: [
                detail.pending.as_ref().map(|p| p.at),
                detail.ack_beside_death,
            ],
        }
    }
}

fn anchor_slot(detail: &Detail) -> Slot {
    Slot {
        mark: Mark::Anchor,
        seen_ms: detail.seen_ms,
        len: detail.len,
        digest: detail.digest,
    }
}
