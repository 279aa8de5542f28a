//! Pages of messages: oldest or newest first, filtered, each bounded in work.
//!
//! A page looks at no more than [`SCAN_BUDGET`] messages, and only those that it shows are made into views: with ten
//! million outstanding, no page may hold up the readers for more than some milliseconds. Who asks for an id is answered from
//! the index of ids.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::briefs::Brief;
use super::coordinator::Coordinator;
use super::detail::Detail;
use super::labels::Carriers;
use super::partition::Partition;
use super::slots::{Mark, Slot};
use super::topic::{Topic, carries, wall_of};
use super::types::{LogPosition, Now, TopicIx};
use super::view::{Cursor, MessageFilter, MessagePage, MessageView, State};

/// Entries that one call of `messages` may look at before it hands back a page as it is, with a cursor.
const SCAN_BUDGET: usize = 20_000;

/// By when it was seen; ties by topic, partition, offset.
type Key = (i64, TopicIx, i32, i64);

/// The greatest comes first on the page.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Oldest(Reverse<Key>),
    Newest(Key),
}

impl Order {
    fn new(key: Key, newest_first: bool) -> Self {
        if newest_first {
            Self::Newest(key)
        } else {
            Self::Oldest(Reverse(key))
        }
    }
}

/// An unsettled message, not made into a view yet.
#[derive(Clone, Copy)]
enum Found<'a> {
    First(i64, Slot),
    Detail(&'a Detail),
}

impl Found<'_> {
    fn origin(self) -> i64 {
        match self {
            Self::First(offset, _) => offset,
            Self::Detail(d) => d.origin,
        }
    }

    fn seen_ms(self) -> i64 {
        match self {
            Self::First(_, slot) => slot.seen_ms,
            Self::Detail(d) => d.seen_ms,
        }
    }
}

/// The unsettled messages of one partition behind (or, newest first, before) a place, in the order of their origins.
struct Lane<'a> {
    t: &'a Topic,
    p: &'a Partition,
    newest_first: bool,
    /// Where to look for more.
    firsts_at: i64,
    details_at: i64,
    first: Option<Found<'a>>,
    detail: Option<Found<'a>>,
}

impl<'a> Lane<'a> {
    fn new(t: &'a Topic, p: &'a Partition, behind: Option<i64>, newest_first: bool) -> Self {
        let at = match behind {
            None if newest_first => i64::MAX,
            None => i64::MIN,
            Some(origin) if newest_first => origin,
            Some(origin) => origin.saturating_add(1),
        };
        let mut lane = Self {
            t,
            p,
            newest_first,
            firsts_at: at,
            details_at: at,
            first: None,
            detail: None,
        };
        lane.next_first();
        lane.next_detail();
        lane
    }

    fn next_first(&mut self) {
        let slots = &self.p.slots;
        let found = if self.newest_first {
            loop {
                match slots.previous(self.firsts_at) {
                    Some((at, slot)) if slot.mark == Mark::Anchor => self.firsts_at = at,
                    found => break found,
                }
            }
        } else {
            slots.next_first(self.firsts_at, i64::MAX)
        };
        if let Some((at, _)) = found {
            self.firsts_at = if self.newest_first { at } else { at + 1 };
        }
        self.first = found.map(|(at, slot)| Found::First(at, slot));
    }

    fn next_detail(&mut self) {
        let unsettled = |d: &Detail| !d.is_settled();
        let found = if self.newest_first {
            self.p
                .details
                .range(..self.details_at)
                .rev()
                .find(|(_, d)| unsettled(d))
        } else {
            self.p
                .details
                .range(self.details_at..)
                .find(|(_, d)| unsettled(d))
        };
        if let Some((at, _)) = found {
            self.details_at = if self.newest_first { *at } else { at + 1 };
        }
        self.detail = found.map(|(_, d)| Found::Detail(d));
    }

    fn peek(&self) -> Option<Found<'a>> {
        match (self.first, self.detail) {
            (Some(a), Some(b)) => Some(if (a.origin() < b.origin()) != self.newest_first {
                a
            } else {
                b
            }),
            (a, b) => a.or(b),
        }
    }

    fn advance(&mut self) {
        match self.peek() {
            Some(Found::First(..)) => self.next_first(),
            Some(Found::Detail(_)) => self.next_detail(),
            None => {}
        }
    }

    fn key(&self, found: Found<'_>, now: Now) -> Key {
        let seen = wall_of(found.seen_ms(), now);
        (seen, self.t.ix, self.p.number, found.origin())
    }
}

impl Topic {
    /// The message as a view, if the filter wants it.
    fn shown(
        &self,
        p: &Partition,
        found: Found<'_>,
        filter: &MessageFilter,
        now: Now,
    ) -> Option<MessageView> {
        let age_ms = u64::try_from(now.mono_ms as i64 - found.seen_ms()).unwrap_or(0);
        let (state, attempt, id, deadline) = match found {
            Found::First(offset, slot) => {
                let deadline = slot.seen_ms.saturating_add(p.timeout_at(offset) as i64);
                (State::Outstanding, 1, None, Some(deadline))
            }
            Found::Detail(d) => (d.state(), d.attempt, d.id.as_deref(), d.deadline),
        };
        let deadline = deadline.filter(|_| self.paused.is_none());
        let wanted = filter.wants(
            state,
            attempt,
            age_ms,
            deadline.map(|at| wall_of(at, now)),
            now,
        ) && filter.id.as_deref().is_none_or(|wanted| match found {
            Found::First(offset, _) => p.slots.id(offset) == Some(wanted),
            Found::Detail(_) => id == Some(wanted),
        });
        wanted.then(|| match found {
            Found::First(offset, slot) => self.first_view(p, offset, slot.seen_ms, slot.len, now),
            Found::Detail(d) => self.detail_view(p.number, d, now).message,
        })
    }

    /// The unsettled messages with that id.
    fn with_id(&self, id: &str) -> Vec<LogPosition> {
        let carried = |at| carries(&self.partitions, at, id);
        match self.labels.find(self.labels.hash(id), carried) {
            Carriers::None => Vec::new(),
            Carriers::One(one) => vec![one],
            Carriers::Several(all) => all,
        }
    }
}

impl MessageFilter {
    fn wants(
        &self,
        state: State,
        attempt: u32,
        age_ms: u64,
        deadline_wall_ms: Option<i64>,
        now: Now,
    ) -> bool {
        (self.states.is_empty() || self.states.contains(&state))
            && attempt >= self.min_attempt
            && self.older_than_ms.is_none_or(|ms| age_ms >= ms)
            && self.due_within_ms.is_none_or(|ms| {
                let until = now
                    .wall_ms
                    .saturating_add(i64::try_from(ms).unwrap_or(i64::MAX));
                deadline_wall_ms.is_some_and(|at| at <= until)
            })
    }

    fn wants_view(&self, m: &MessageView) -> bool {
        let id = self.id.as_deref();
        self.wants(
            m.state,
            m.attempt,
            m.age_ms,
            m.deadline_wall_ms,
            Now::default(),
        ) && id.is_none_or(|id| m.id.as_deref() == Some(id))
    }

    fn wants_brief(&self, b: &Brief<'_>) -> bool {
        self.wants(b.state(), 1, b.age_ms(), None, Now::default())
            && self.id.as_deref().is_none_or(|id| b.id == Some(id))
    }
}

impl Coordinator {
    /// A page of messages, oldest (or newest) first by when they were seen; ties by topic, partition, offset.
    #[must_use]
    pub fn messages(&self, filter: &MessageFilter, now: Now) -> MessagePage {
        let unsettled = filter.states.is_empty() || filter.states.iter().any(|s| !s.is_settled());
        let settled = filter.states.iter().any(|s| s.is_settled());
        let mut page = MessagePage {
            partial: self.is_partial(filter.topic),
            ..MessagePage::default()
        };
        let mut budget = SCAN_BUDGET;
        let shelf = filter.cursor.map_or(0, |c| c.shelf);
        if unsettled && shelf == 0 {
            match &filter.id {
                Some(id) => self.page_with_id(id, filter, now, &mut page),
                None => self.page_unsettled(filter, now, &mut page, &mut budget),
            }
            if page.next.is_some() || page.messages.len() >= filter.limit {
                return page;
            }
        }
        if settled {
            self.page_settled(filter, &mut page, &mut budget);
        }
        page
    }

    fn topics_of<'a>(&'a self, filter: &'a MessageFilter) -> impl Iterator<Item = &'a Topic> {
        self.topics
            .iter()
            .filter(|t| filter.topic.is_none_or(|ix| ix == t.ix))
    }

    fn page_unsettled(
        &self,
        filter: &MessageFilter,
        now: Now,
        page: &mut MessagePage,
        budget: &mut usize,
    ) {
        let cursor = filter.cursor.filter(|c| c.shelf == 0);
        let newest = filter.newest_first;
        let mut lanes: Vec<Lane<'_>> = self
            .topics_of(filter)
            .flat_map(|t| t.partitions.values().map(move |p| (t, p)))
            .map(|(t, p)| {
                let from = cursor.and_then(|c| lane_start(t, p, c, newest, now));
                Lane::new(t, p, from, newest)
            })
            .collect();
        // Of each lane its next one, by what comes first on the page.
        let mut heads: BinaryHeap<(Order, usize)> = BinaryHeap::with_capacity(lanes.len());
        let head = |lane: &Lane<'_>| Some(Order::new(lane.key(lane.peek()?, now), newest));
        for (i, lane) in lanes.iter().enumerate() {
            heads.extend(head(lane).map(|order| (order, i)));
        }
        while let Some((_, i)) = heads.pop() {
            let lane = &mut lanes[i];
            let Some(found) = lane.peek() else {
                return;
            };
            let (t, p) = (lane.t, lane.p);
            let (seen_wall_ms, topic, partition, origin) = lane.key(found, now);
            lane.advance();
            page.messages.extend(t.shown(p, found, filter, now));
            *budget = budget.saturating_sub(1);
            if page.messages.len() >= filter.limit || *budget == 0 {
                page.next = Some(Cursor {
                    seen_wall_ms,
                    topic,
                    partition,
                    origin,
                    shelf: 0,
                });
                return;
            }
            heads.extend(head(&lanes[i]).map(|order| (order, i)));
        }
    }

    /// Those that carry the id, asked of the index.
    fn page_with_id(&self, id: &str, filter: &MessageFilter, now: Now, page: &mut MessagePage) {
        let cursor = filter.cursor.filter(|c| c.shelf == 0);
        let mut found: Vec<(Key, MessageView)> = Vec::new();
        for t in self.topics_of(filter) {
            for at in t.with_id(id) {
                let Some(p) = t.partitions.get(&at.partition) else {
                    continue;
                };
                let message = match p.details.get(&at.offset) {
                    Some(d) => Some(Found::Detail(d)),
                    None => p.slots.get(at.offset).map(|s| Found::First(at.offset, s)),
                };
                let shown = message.and_then(|m| t.shown(p, m, filter, now));
                let key = |m: &MessageView| (m.seen_wall_ms, t.ix, at.partition, at.offset);
                found.extend(shown.map(|m| (key(&m), m)));
            }
        }
        found.sort_unstable_by_key(|(key, _)| *key);
        if filter.newest_first {
            found.reverse();
        }
        let passed = |key: &Key| {
            cursor.is_some_and(|c| {
                let place = (c.topic, c.partition);
                let behind = match place == (key.1, key.2) {
                    true => key.3.cmp(&c.origin),
                    false => key.cmp(&(c.seen_wall_ms, c.topic, c.partition, c.origin)),
                };
                if filter.newest_first {
                    behind.is_ge()
                } else {
                    behind.is_le()
                }
            })
        };
        for (key, message) in found.into_iter().filter(|(key, _)| !passed(key)) {
            page.messages.push(message);
            if page.messages.len() >= filter.limit {
                page.next = Some(Cursor {
                    seen_wall_ms: key.0,
                    topic: key.1,
                    partition: key.2,
                    origin: key.3,
                    shelf: 0,
                });
                return;
            }
        }
    }

    /// Settled ones: newest settled first, whatever the order asked for the unsettled; a cursor counts them.
    fn page_settled(&self, filter: &MessageFilter, page: &mut MessagePage, budget: &mut usize) {
        let mut passed = 0;
        let cursor = filter.cursor.filter(|c| c.shelf == 1);
        let skip = cursor.map_or(0, |c| usize::try_from(c.origin).unwrap_or(0));
        for t in self.topics_of(filter) {
            let (eventful, briefs) = (&t.settled.eventful, &t.settled.uneventful);
            let all = eventful.len() + briefs.len();
            for nth in skip.saturating_sub(passed)..all {
                let shown = match nth.checked_sub(eventful.len()) {
                    None => {
                        let kept = eventful.get(eventful.len() - 1 - nth);
                        kept.map(|(_, d)| &d.message)
                            .filter(|m| filter.wants_view(m))
                            .cloned()
                    }
                    Some(nth) => {
                        let brief = briefs.newest(nth).filter(|b| filter.wants_brief(b));
                        brief.map(|b| b.view(t.ix, t.policy.max_attempts))
                    }
                };
                page.messages.extend(shown);
                *budget = budget.saturating_sub(1);
                if page.messages.len() >= filter.limit || *budget == 0 {
                    page.next = Some(Cursor {
                        seen_wall_ms: 0,
                        topic: filter.topic.unwrap_or(TopicIx(0)),
                        partition: 0,
                        origin: (passed + nth) as i64 + 1,
                        shelf: 1,
                    });
                    return;
                }
            }
            passed += all;
        }
    }
}

/// Where a lane goes on behind the cursor: pages are ordered by time, so each partition has its own place.
fn lane_start(t: &Topic, p: &Partition, c: Cursor, newest: bool, now: Now) -> Option<i64> {
    if (t.ix, p.number) == (c.topic, c.partition) {
        return Some(c.origin);
    }
    // By the clock of now, when the cursor's message was seen; times in a partition ascend with the offsets.
    let ago = now.wall_ms.saturating_sub(c.seen_wall_ms);
    let seen_ms = (now.mono_ms as i64).saturating_sub(ago);
    let tie = (t.ix.0, p.number) < (c.topic.0, c.partition);
    let passed = |seen: i64| match newest {
        false => seen < seen_ms || (seen == seen_ms && tie),
        true => seen > seen_ms || (seen == seen_ms && !tie),
    };
    let (mut low, mut high) = (p.start.min(p.low()), p.applied);
    if newest {
        // The lowest origin that was shown already.
        while low < high {
            let middle = low + (high - low) / 2;
            match seen_at_or_after(p, middle) {
                Some(seen) if !passed(seen) => low = middle + 1,
                _ => high = middle,
            }
        }
        return Some(high);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match seen_at_or_after(p, middle) {
            Some(seen) if passed(seen) => low = middle + 1,
            _ => high = middle,
        }
    }
    Some(low - 1)
}

fn seen_at_or_after(p: &Partition, offset: i64) -> Option<i64> {
    let first = p
        .slots
        .next_first(offset, i64::MAX)
        .map(|(o, s)| (o, s.seen_ms));
    let detail = p
        .details
        .range(offset..)
        .find(|(_, d)| !d.is_settled())
        .map(|(o, d)| (*o, d.seen_ms));
    first.into_iter().chain(detail).min().map(|(_, seen)| seen)
}
