//! The stages of an ACK topic: after an assignment the sources are read to their ends, then the ACKs from E to theirs, and
//! then it is followed live.

use super::ack_topic::AckTopic;
use super::coordinator::Coordinator;
use super::effect::Effect;
use super::event::Assignment;
use super::guards::Guard;
use super::low_water::{named, raise};
use super::overflow::ReadAgain;
use super::partition::{Partition, Stage};
use super::topic::Topic;
use super::types::{AckIx, LOG_START, Lane, Now, Round};

/// Where an ACK topic is on its way to being followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckStage {
    /// Its sources are not read to their ends yet.
    Waiting,
    /// From E on, up to the ends of the fence after the assignment.
    Replaying,
    Live,
}

pub(super) struct AckState {
    pub topic: AckTopic,
    pub stage: AckStage,
    /// Early ACKs that were let go, while they are read again.
    pub again: ReadAgain,
    /// While replaying: (partition, end) to be reached.
    pub targets: Vec<(i32, i64)>,
    /// Where each partition began when it was last looked at.
    pub log_starts: Vec<(i32, i64)>,
    /// In a rebuild beside others: when it was first caught up, as far as it knew.
    pub live_since: Option<u64>,
    /// Where the next rebuild's orders begin to be numbered.
    pub rebuild_generation: u64,
    /// The newest rounds, of our own and of a rebuild beside us, when the topic was made anew last.
    pub rounds_of_before: (Round, Round),
}

impl AckState {
    /// What a replay was to reach is not there any more: it begins anew.
    pub fn replay_anew(&mut self) {
        if self.stage == AckStage::Replaying {
            self.stage = AckStage::Waiting;
            self.targets.clear();
        }
    }

    /// The partitions that are known, and how far each is read, or begins.
    pub fn known(&self) -> Vec<(i32, i64)> {
        let mut known = self.topic.applied.clone();
        for (n, start) in &self.log_starts {
            raise(&mut known, *n, *start);
        }
        known
    }
}

impl Coordinator {
    /// What was read of an ACK topic by now was applied to those that heard, unless its sources are waited for.
    pub(super) fn acks_heard_are_done(&mut self, ack: AckIx) {
        let state = &self.acks[usize::from(ack.0)];
        if state.stage != AckStage::Waiting {
            for topic in self.topics.iter_mut().filter(|t| t.settings.ack == ack) {
                topic.acks_are_done(&state.topic.applied, Partition::hears);
            }
        }
    }

    pub(super) fn assigned(
        &mut self,
        assignments: Vec<Assignment>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        for assignment in assignments {
            let Some(topic) = self.topics.get(usize::from(assignment.topic.0)) else {
                continue;
            };
            let ack = topic.settings.ack;
            if Guard::SourceBeforeAcks.holds() {
                // Its verdicts since E are read again, once its source is read to the end. Applying them twice to the
                // others changes nothing.
                self.acks_heard_are_done(ack);
                self.acks[usize::from(ack.0)].stage = AckStage::Waiting;
            }
            let Some(topic) = self.topics.get_mut(usize::from(assignment.topic.0)) else {
                continue;
            };
            let acks = &mut self.acks[usize::from(ack.0)];
            for (partition, start) in &mut acks.log_starts {
                // Who was asked has not heard of it.
                if named(&assignment.ack_log_starts, *partition).is_none() {
                    *start = LOG_START;
                }
            }
            for (partition, start) in &assignment.ack_log_starts {
                match acks.log_starts.iter_mut().find(|(p, _)| p == partition) {
                    // Retention went on since the last look: what a checkpoint would read from may be gone, and not needed.
                    Some((_, known)) => *known = *start,
                    None => acks.log_starts.push((*partition, *start)),
                }
            }
            let mut partition = topic.take_over(assignment, now);
            partition.sequence_before = self.sequence;
            let number = partition.number;
            if !partition.is_lost() {
                effects.push(Effect::ReadSource {
                    topic: topic.ix,
                    partition: number,
                    from: partition.applied,
                });
            }
            topic.partitions.insert(number, partition);
            topic.overflow.is_known_to_all = false;
            topic.replay_ends = Vec::new();
            topic.ask_fence_anew();
        }
    }

    /// Sources first, then ACKs, then live.
    pub(super) fn advance_stages(&mut self, effects: &mut Vec<Effect>) {
        if !self.assigned_once {
            return;
        }
        for state in &mut self.acks {
            let ix = state.topic.ix;
            let mine = || {
                self.topics
                    .iter()
                    .filter(move |t| t.settings.ack == ix)
                    .flat_map(|t| t.partitions.values())
            };
            if state.stage == AckStage::Waiting {
                if state.topic.lane == Lane::Rebuild && mine().next().is_none() {
                    // Nothing is rebuilt that it has ACKs for.
                    continue;
                }
                let read = mine().all(|p| match p.stage {
                    Stage::Replaying(target) => target.is_some_and(|t| p.applied >= t),
                    Stage::Lost(..) | Stage::Live => true,
                });
                // What was lost meanwhile took the fences with it: another one comes.
                let fenced = self.topics.iter().filter(|t| t.settings.ack == ix);
                let mut fenced = fenced.map(|t| t.partitions.is_empty() || !t.fences.is_empty());
                if !read || !fenced.all(|is| is) {
                    continue;
                }
                state.targets = self
                    .topics
                    .iter()
                    .filter(|t| t.settings.ack == ix && Guard::AcksCaughtUp.holds())
                    .filter_map(|t| t.fences.back())
                    .flat_map(|f| f.fence.ack_ends.iter().copied())
                    .collect();
                let mut known = state.log_starts.clone();
                for (n, _) in state.topic.applied.iter().chain(&state.targets) {
                    // Where it begins, was not looked up.
                    if named(&known, *n).is_none() {
                        known.push((*n, LOG_START));
                    }
                }
                let mut from: Vec<(i32, i64)> = Vec::new();
                for (n, start) in known {
                    let rebuilt = mine().filter(|p| p.stage != Stage::Live);
                    let applied = state.topic.applied(n).unwrap_or(start);
                    // Of one that is known and was not read yet, all that there is.
                    let others = mine()
                        .any(|p| p.stage == Stage::Live)
                        .then(|| match applied {
                            ..0 => start.max(0),
                            at => at,
                        });
                    // What is gone since is told by the reader.
                    let lowest = rebuilt
                        .map(|p| p.needs_acks_from(n))
                        .chain(others)
                        .min()
                        .unwrap_or(applied);
                    let lowest = if Guard::AcksFromWhereNeeded.holds() {
                        lowest
                    } else {
                        lowest.max(start)
                    };
                    let is_named = || mine().any(|p| named(&p.replay_from, n).is_some());
                    from.push(match lowest {
                        ..0 => (n, start),
                        // What was gone of it before anybody knew it is no loss.
                        0 if start == LOG_START && !is_named() => (n, LOG_START),
                        at => (n, at),
                    });
                }
                from.sort_unstable();
                for topic in self.topics.iter_mut().filter(|t| t.settings.ack == ix) {
                    if state.topic.lane == Lane::Rebuild {
                        topic.begin_replay();
                    }
                    topic.acks_are_done(&state.topic.applied, |p| p.stage == Stage::Live);
                }
                // What was caught up before says nothing of what is read again.
                state.topic.caught_up_as_of = None;
                let order = state.topic.restart_at(&from);
                if !order.from.is_empty() {
                    effects.push(order.effect(&state.topic));
                }
                state.stage = AckStage::Replaying;
            }
            if state.stage == AckStage::Replaying
                && state
                    .targets
                    .iter()
                    .all(|(n, end)| *end == 0 || state.topic.applied(*n) >= Some(*end))
            {
                state.stage = AckStage::Live;
            }
            if state.stage == AckStage::Live {
                for p in self
                    .topics
                    .iter_mut()
                    .filter(|t| t.settings.ack == ix)
                    .flat_map(|t| t.partitions.values_mut())
                {
                    if let Stage::Replaying(Some(target)) = p.stage
                        && p.applied >= target
                    {
                        p.stage = Stage::Live;
                    }
                }
            }
        }
    }

    pub(super) fn is_replaying(&self, topic: &Topic) -> bool {
        self.acks[usize::from(topic.settings.ack.0)].stage != AckStage::Live
    }

    pub(super) fn ack_targets(&self, ix: AckIx) -> &[(i32, i64)] {
        &self.acks[usize::from(ix.0)].targets
    }
}
