//! An ACK topic as the core knows it: how far it is applied, and the barrier.
//!
//! The barrier: a round is asked at t0; its answer is the end of every partition that fresh metadata names; when every
//! applied position has reached it, everything that was on the topic at t0 is applied: `caught_up_as_of = t0`.

use super::effect::Effect;
use super::event::AskError;
use super::guards::Guard;
use super::low_water::named;
use super::types::{AckIx, LOG_START, Lane, Now, Round};

/// A barrier that stays closed for longer than this is shown as a frozen topic, ms.
pub(super) const BARRIER_ALERT_MS: u64 = 30_000;
/// After an error, the question is asked again no sooner than this, ms.
const ASK_AGAIN_MS: u64 = 500;

#[derive(Debug)]
enum Barrier {
    Idle,
    Asked {
        round: Round,
        t0: Now,
        /// By then.
        applied: Vec<(i32, i64)>,
    },
    Reaching {
        t0: Now,
        ends: Vec<(i32, i64)>,
    },
    /// The last answer was an error.
    Failed {
        retry_at: u64,
    },
}

pub(super) struct AckTopic {
    pub ix: AckIx,
    pub lane: Lane,
    /// By partition number, ascending: everything below is applied. −1: nothing is known yet.
    pub applied: Vec<(i32, i64)>,
    /// Of the readers' orders; batches of an earlier one are dropped.
    pub generation: u64,
    pub reading: bool,
    barrier: Barrier,
    pub caught_up_as_of: Option<u64>,
    pub missing: Option<Now>,
    /// Since when somebody waits for the barrier in vain.
    pub waiting_since: Option<Now>,
    /// Somebody does, as of the last look at all that is due.
    is_waited_for: bool,
    pub trouble: Option<Box<str>>,
}

/// What is to be read from now on, all partitions of it.
#[derive(Debug)]
pub(super) struct ReadOrder {
    pub from: Vec<(i32, i64)>,
    pub generation: u64,
}

impl ReadOrder {
    pub fn effect(self, acks: &AckTopic) -> Effect {
        Effect::ReadAcks {
            ack: acks.ix,
            from: self.from,
            generation: self.generation,
            lane: acks.lane,
        }
    }
}

/// What the barrier wants done.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub ask: Option<Round>,
    pub read: Vec<(i32, i64)>,
}

impl AckTopic {
    pub fn new(ix: AckIx) -> Self {
        Self {
            ix,
            lane: Lane::Main,
            applied: Vec::new(),
            generation: 0,
            reading: false,
            barrier: Barrier::Idle,
            caught_up_as_of: None,
            missing: None,
            waiting_since: None,
            is_waited_for: false,
            trouble: None,
        }
    }

    pub fn applied(&self, partition: i32) -> Option<i64> {
        let at = self
            .applied
            .binary_search_by_key(&partition, |(p, _)| *p)
            .ok()?;
        Some(self.applied[at].1)
    }

    pub fn set_applied(&mut self, partition: i32, to: i64) {
        match self.applied.binary_search_by_key(&partition, |(p, _)| *p) {
            Ok(at) => self.applied[at].1 = self.applied[at].1.max(to),
            Err(at) => self.applied.insert(at, (partition, to)),
        }
    }

    /// Nothing is known of where it is read.
    pub fn forget_position(&mut self, partition: i32) {
        self.applied.retain(|(n, _)| *n != partition);
    }

    /// It was known to be applied further than that. Nothing is ordered.
    pub fn set_back(&mut self, partition: i32, to: i64) {
        if let Ok(at) = self.applied.binary_search_by_key(&partition, |(p, _)| *p) {
            self.applied[at].1 = to;
        }
    }

    /// Goes back (a rebuild, a rewind): the barrier starts anew, and batches of the former order do not count. So every
    /// partition is read anew, those that `from` does not name from where they are applied: what of them is under way
    /// in such a batch would be missed otherwise.
    pub fn restart_at(&mut self, from: &[(i32, i64)]) -> ReadOrder {
        for (partition, offset) in from {
            let offset = if *offset == LOG_START { -1 } else { *offset };
            match self.applied.binary_search_by_key(partition, |(p, _)| *p) {
                Ok(at) => self.applied[at].1 = offset,
                Err(at) => self.applied.insert(at, (*partition, offset)),
            }
        }
        self.barrier = Barrier::Idle;
        self.generation += 1;
        self.reading = true;
        ReadOrder {
            from: self
                .applied
                .iter()
                .map(|(n, at)| (*n, if *at < 0 { LOG_START } else { *at }))
                .collect(),
            generation: self.generation,
        }
    }

    /// It was made anew: what was known of the old one is void.
    pub fn forget(&mut self) {
        self.applied.clear();
        self.barrier = Barrier::Idle;
        // What was read of it and is on its way says nothing of this one.
        self.generation += 1;
    }

    /// Somebody waits until everything that was there at `deadline_ms` is applied.
    pub fn want(&mut self, deadline_ms: i64, now: Now, next_round: &mut Round) -> (bool, Wants) {
        let mut wants = Wants::default();
        if self.open_for(deadline_ms) {
            return (true, wants);
        }
        self.waiting_since.get_or_insert(now);
        self.is_waited_for = true;
        let ask = match &self.barrier {
            Barrier::Idle => true,
            Barrier::Failed { retry_at } => *retry_at <= now.mono_ms,
            Barrier::Asked { .. } | Barrier::Reaching { .. } => false,
        };
        if ask && self.reading {
            *next_round += 1;
            self.barrier = Barrier::Asked {
                round: *next_round,
                t0: now,
                applied: self.applied.clone(),
            };
            wants.ask = Some(*next_round);
        }
        (false, wants)
    }

    /// All that is due was looked at. Where nothing asked for the barrier, nobody waits for it (any more).
    pub fn all_have_asked(&mut self) {
        if !std::mem::take(&mut self.is_waited_for) {
            self.waiting_since = None;
        }
    }

    pub fn open_for(&self, deadline_ms: i64) -> bool {
        self.caught_up_as_of.is_some_and(|t| {
            let as_of = i64::try_from(t).unwrap_or(i64::MAX);
            as_of >= deadline_ms || !Guard::BarrierAtDeadline.holds()
        })
    }

    /// The answer of a round. Partitions that are new are to be read from their start.
    pub fn answered(
        &mut self,
        round: Round,
        answer: Result<Vec<(i32, i64)>, AskError>,
        now: Now,
    ) -> Wants {
        let mut wants = Wants::default();
        let Barrier::Asked {
            round: asked,
            t0,
            applied,
        } = &self.barrier
        else {
            return wants;
        };
        if *asked != round {
            return wants;
        }
        let t0 = *t0;
        // As for a fence: an answer that has less than was read by then is none.
        let knows_all = |ends: &[(i32, i64)]| {
            applied.iter().all(|(n, at)| {
                named(ends, *n).is_some_and(|end| end >= *at) || !Guard::BarrierKnowsAll.holds()
            })
        };
        match answer {
            // An offset below 0 looks like "caught up" and is no answer.
            Ok(ends)
                if ends.iter().all(|(_, end)| *end >= 0)
                    && !ends.is_empty()
                    && knows_all(&ends) =>
            {
                self.trouble = None;
                let partitions: Vec<i32> = ends.iter().map(|(partition, _)| *partition).collect();
                wants.read = self.found(&partitions, now);
                let t0 = if Guard::BarrierAsOfAsking.holds() {
                    t0
                } else {
                    now
                };
                self.barrier = Barrier::Reaching { t0, ends };
                self.advanced();
            }
            Ok(_) => self.failed(
                now,
                "a partition has no leader that answers, or a broker that answers does not know all of the topic yet".into(),
            ),
            Err(AskError::TopicMissing) => {
                self.missing.get_or_insert(now);
                self.failed(now, "the ack topic does not exist".into());
            }
            Err(AskError::Failed(why)) => self.failed(now, why),
        }
        wants
    }

    /// The topic has these partitions; none: it is not there. Gives those that are new, to be read from their start: an
    /// ACK on them counts at once, not only when somebody waits for the barrier.
    pub fn found(&mut self, partitions: &[i32], now: Now) -> Vec<(i32, i64)> {
        self.missing = partitions.is_empty().then(|| self.missing.unwrap_or(now));
        let new: Vec<(i32, i64)> = partitions
            .iter()
            .filter(|partition| self.applied(**partition).is_none())
            .map(|partition| (*partition, LOG_START))
            .collect();
        for (partition, _) in &new {
            self.set_applied(*partition, -1);
        }
        if !new.is_empty() && Guard::NewAcksShutBarrier.holds() {
            // Who was asked before may not have heard of it.
            self.barrier = Barrier::Idle;
            self.caught_up_as_of = None;
        }
        // The first order will be to read all that are known.
        if !self.reading {
            return Vec::new();
        }
        new
    }

    fn failed(&mut self, now: Now, why: Box<str>) {
        self.trouble = Some(why);
        self.barrier = Barrier::Failed {
            retry_at: now.mono_ms + ASK_AGAIN_MS,
        };
    }

    /// Applied positions moved: the round may be reached.
    pub fn advanced(&mut self) {
        if let Barrier::Reaching { t0, ends } = &self.barrier {
            let reached = ends
                .iter()
                .all(|(partition, end)| *end == 0 || self.applied(*partition) >= Some(*end));
            if reached {
                self.caught_up_as_of = Some(self.caught_up_as_of.unwrap_or(0).max(t0.mono_ms));
                self.barrier = Barrier::Idle;
            }
        }
    }

    /// What the barrier hangs on, for the operator.
    pub fn hangs_on(&self) -> Box<str> {
        match &self.barrier {
            Barrier::Idle => "nothing".into(),
            Barrier::Asked { .. } => "kafka has not answered a ListOffsets of the ack topic".into(),
            Barrier::Failed { .. } => self.trouble.clone().unwrap_or_default(),
            Barrier::Reaching { ends, .. } => ends
                .iter()
                .find(|(p, end)| *end > 0 && self.applied(*p) < Some(*end))
                .map_or_else(Box::default, |(p, end)| {
                    format!(
                        "ack partition {p} ends at {end}, and is applied up to {}: records that cannot be read yet \
                         (an open transaction?), or a reader that stands still",
                        self.applied(*p).unwrap_or(-1)
                    )
                    .into()
                }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall_ms: 0,
        }
    }

    fn reading() -> AckTopic {
        let mut topic = AckTopic::new(AckIx(0));
        topic.restart_at(&[(0, 0)]);
        topic
    }

    #[test]
    fn it_opens_only_when_everything_that_was_there_when_it_was_asked_is_applied() {
        let mut topic = reading();
        let mut round = 0;
        let (open, wants) = topic.want(100, at(100), &mut round);
        assert!(!open);
        assert!(
            topic
                .answered(wants.ask.unwrap(), Ok(vec![(0, 8)]), at(105))
                .read
                .is_empty()
        );
        topic.set_applied(0, 7);
        topic.advanced();
        assert!(!topic.open_for(100));
        topic.set_applied(0, 8);
        topic.advanced();
        assert!(topic.open_for(100));
        assert!(!topic.open_for(101));
    }

    #[test]
    fn reading_one_partition_anew_reads_the_others_from_where_they_are_applied() {
        let mut topic = AckTopic::new(AckIx(0));
        topic.restart_at(&[(0, 4), (1, 7), (2, LOG_START)]);
        topic.set_applied(1, 9);
        let order = topic.restart_at(&[(0, 2)]);
        assert_eq!(order.from, [(0, 2), (1, 9), (2, LOG_START)]);
        assert_eq!(order.generation, 2);
    }

    #[test]
    fn an_error_or_an_offset_below_zero_is_not_an_answer() {
        let mut topic = reading();
        let mut round = 0;
        for answer in [
            Ok(vec![(0, -1001)]),
            Ok(vec![]),
            Err(AskError::Failed("x".into())),
        ] {
            let now = at(1_000 * (round + 1));
            let (_, wants) = topic.want(0, now, &mut round);
            topic.set_applied(0, 100);
            topic.answered(wants.ask.unwrap(), answer, now);
            assert!(!topic.open_for(0));
        }
    }

    #[test]
    fn a_partition_that_appears_is_read_from_its_start_once_and_none_before_anything_is_read() {
        let mut topic = AckTopic::new(AckIx(0));
        assert_eq!(topic.found(&[2], at(0)), []);
        let order = topic.restart_at(&[(0, 4)]);
        assert_eq!(order.from, [(0, 4), (2, LOG_START)]);
        assert_eq!(topic.found(&[0, 1], at(1)), [(1, LOG_START)]);
        assert_eq!(topic.found(&[0, 1], at(2)), []);
        assert_eq!(topic.applied(0), Some(4));
    }

    #[test]
    fn it_is_missing_since_it_was_not_found_first_until_it_is_there() {
        let mut topic = reading();
        topic.found(&[], at(7));
        topic.found(&[], at(8));
        assert_eq!(topic.missing, Some(at(7)));
        topic.found(&[0], at(9));
        assert_eq!(topic.missing, None);
    }

    #[test]
    fn a_partition_that_was_added_is_part_of_it() {
        let mut topic = reading();
        let mut round = 0;
        let (_, wants) = topic.want(10, at(10), &mut round);
        let wants = topic.answered(wants.ask.unwrap(), Ok(vec![(0, 0), (1, 2)]), at(11));
        assert_eq!(wants.read, [(1, LOG_START)]);
        assert!(!topic.open_for(10));
        topic.set_applied(1, 2);
        topic.advanced();
        assert!(topic.open_for(10));
    }
}
