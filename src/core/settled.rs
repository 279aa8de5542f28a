//! Settled messages, kept for the API: bounded in number and time, the uneventful ones go first.

use std::collections::{HashMap, VecDeque};

use super::types::{LogPosition, TopicIx};
use super::view::{AttemptView, MessageDetail, MessageView, State};

/// A message that was acknowledged on its first delivery.
#[derive(Debug, Clone)]
pub(super) struct Brief {
    pub at: LogPosition,
    pub id: Option<Box<str>>,
    pub seen_wall_ms: i64,
    pub settled_wall_ms: i64,
    pub size_bytes: u32,
    pub state: State,
}

impl Brief {
    pub fn view(&self, topic: TopicIx, max_attempts: u32) -> MessageView {
        MessageView {
            topic,
            position: self.at,
            id: self.id.clone(),
            state: self.state,
            attempt: 1,
            max_attempts,
            seen_wall_ms: self.seen_wall_ms,
            deadline_wall_ms: None,
            age_ms: u64::try_from(self.settled_wall_ms - self.seen_wall_ms).unwrap_or(0),
            newest_delivery: self.at.offset,
            cause: None,
            reason: None,
            size_bytes: self.size_bytes,
            late_ack: false,
            settled_wall_ms: Some(self.settled_wall_ms),
        }
    }

    pub fn detail(&self, topic: TopicIx, max_attempts: u32) -> MessageDetail {
        MessageDetail {
            message: self.view(topic, max_attempts),
            attempts: vec![AttemptView {
                attempt: 1,
                offset: self.at.offset,
                at_wall_ms: self.seen_wall_ms,
                cause: None,
                outcome: self.state.as_str(),
            }],
        }
    }
}

/// The settled shelf of one topic.
pub(super) struct Settled {
    max: usize,
    retention_ms: i64,
    pub uneventful: VecDeque<Brief>,
    /// Each with the offsets by which it is found.
    pub eventful: VecDeque<(u64, MessageDetail)>,
    by_delivery: HashMap<LogPosition, u64>,
    sequence: u64,
}

impl Settled {
    pub fn new(max: usize, retention_ms: u64) -> Self {
        Self {
            max,
            retention_ms: i64::try_from(retention_ms).unwrap_or(i64::MAX),
            uneventful: VecDeque::new(),
            eventful: VecDeque::new(),
            by_delivery: HashMap::new(),
            sequence: 0,
        }
    }

    pub fn keep_brief(&mut self, brief: Brief) {
        if self.max == 0 {
            return;
        }
        self.make_room();
        self.uneventful.push_back(brief);
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

    /// The topic is another one: its positions are of other messages.
    pub fn forget_all(&mut self) {
        *self = Self::new(self.max, u64::try_from(self.retention_ms).unwrap_or(0));
    }

    fn make_room(&mut self) {
        while self.uneventful.len() + self.eventful.len() >= self.max {
            if self.uneventful.pop_front().is_none() {
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
            match self.uneventful.front() {
                Some(b) if wall_ms - b.settled_wall_ms > self.retention_ms => {
                    self.uneventful.pop_front();
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

    /// Newest first: what is asked for is most often what just happened.
    pub fn find_brief(&self, at: LogPosition) -> Option<&Brief> {
        self.uneventful.iter().rev().find(|b| b.at == at)
    }
}
