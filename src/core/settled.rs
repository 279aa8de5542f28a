//! Settled messages, kept for the API: bounded in number and time, the uneventful ones go first.

use std::collections::{HashMap, VecDeque};

use super::briefs::{Brief, Briefs};
use super::offset_hash::ByOffset;
use super::types::LogPosition;
use super::view::MessageDetail;

/// The settled shelf of one topic.
pub(super) struct Settled {
    max: usize,
    retention_ms: i64,
    pub uneventful: Briefs,
    /// Each with the offsets by which it is found.
    pub eventful: VecDeque<(u64, MessageDetail)>,
    by_delivery: HashMap<LogPosition, u64, ByOffset>,
    sequence: u64,
}

impl Settled {
    pub fn new(max: usize, retention_ms: u64) -> Self {
        Self {
            max,
            retention_ms: i64::try_from(retention_ms).unwrap_or(i64::MAX),
            uneventful: Briefs::default(),
            eventful: VecDeque::new(),
            by_delivery: HashMap::default(),
            sequence: 0,
        }
    }

    #[inline]
    pub fn keep_brief(&mut self, brief: &Brief<'_>) {
        if self.max == 0 {
            return;
        }
        self.make_room();
        self.uneventful.push(brief);
    }

    pub fn keep(&mut self, detail: MessageDetail) {
        if self.max == 0 {
            return;
        }
        self.make_room();
        self.sequence += 1;
        let partition = detail.message.position.partition;
        self.by_delivery
            .insert(detail.message.position, self.sequence);
        for attempt in &detail.attempts {
            self.by_delivery
                .insert(LogPosition::new(partition, attempt.offset), self.sequence);
        }
        self.eventful.push_back((self.sequence, detail));
    }

    /// What the shelf of a rebuild holds.
    pub fn absorb(&mut self, other: &mut Self) {
        while let Some(brief) = other.uneventful.oldest() {
            self.keep_brief(&brief);
            other.uneventful.drop_oldest();
        }
        for (_, detail) in std::mem::take(&mut other.eventful) {
            self.keep(detail);
        }
        other.by_delivery.clear();
    }

    /// The topic is another one: its positions are of other messages.
    pub fn forget_all(&mut self) {
        *self = Self::new(self.max, u64::try_from(self.retention_ms).unwrap_or(0));
    }

    fn make_room(&mut self) {
        while self.uneventful.len() + self.eventful.len() >= self.max {
            if !self.uneventful.drop_oldest() {
                self.drop_oldest_eventful();
            }
        }
    }

    fn drop_oldest_eventful(&mut self) {
        let Some((sequence, detail)) = self.eventful.pop_front() else {
            return;
        };
        let position = detail.message.position;
        let offsets = detail.attempts.iter().map(|a| a.offset);
        for offset in offsets.chain([position.offset]) {
            let at = LogPosition::new(position.partition, offset);
            if self.by_delivery.get(&at) == Some(&sequence) {
                self.by_delivery.remove(&at);
            }
        }
    }

    /// Drops what is older than the retention; a bounded number a call.
    pub fn expire(&mut self, wall_ms: i64) {
        for _ in 0..10_000 {
            match self.uneventful.oldest() {
                Some(b) if wall_ms - b.settled_wall_ms > self.retention_ms => {
                    self.uneventful.drop_oldest();
                }
                _ => break,
            }
        }
        for _ in 0..100 {
            match self.eventful.front() {
                Some((_, d))
                    if d.message.settled_wall_ms.unwrap_or(wall_ms) + self.retention_ms
                        < wall_ms =>
                {
                    self.drop_oldest_eventful();
                }
                _ => break,
            }
        }
    }

    pub fn find_eventful(&mut self, at: LogPosition) -> Option<&mut MessageDetail> {
        let sequence = *self.by_delivery.get(&at)?;
        let first = self.eventful.front()?.0;
        let index = usize::try_from(sequence.checked_sub(first)?).ok()?;
        self.eventful.get_mut(index).map(|(_, detail)| detail)
    }

    pub fn peek_eventful(&self, at: LogPosition) -> Option<&MessageDetail> {
        let sequence = *self.by_delivery.get(&at)?;
        let first = self.eventful.front()?.0;
        let index = usize::try_from(sequence.checked_sub(first)?).ok()?;
        self.eventful.get(index).map(|(_, detail)| detail)
    }
}
