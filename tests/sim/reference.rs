//! The naive reference: what is outstanding follows from the two logs alone, read from their beginnings. And two ways to
//! get there from what is kept, which must come to the same (9): a checkpoint and the tails, and (L, E) with nothing.

use std::collections::{BTreeMap, HashMap};

use ackwarden::core::event::Fence;
use ackwarden::core::image::PartitionImage;
use ackwarden::core::view::Lookup;
use ackwarden::core::{AckBatch, AckTarget, Effect, Event, LogPosition, Now, SourceBatch};

use crate::logs::LogState;
use crate::readers::record;
use crate::truth::settles;
use crate::world::{A, Sent, T, World, coordinator};

/// Original's position → newest delivery: (attempt, offset).
type Outstanding = BTreeMap<(i32, i64), (u32, i64)>;

/// Enough for a rebuild that is answered at once.
const ROUNDS_MAX: usize = 50;

impl World {
    /// Obviously right, as long as all copies are known for what they are.
    fn naive(&self, partitions: &[i32]) -> Outstanding {
        let mut open = Outstanding::new();
        let mut origins = HashMap::new();
        let mut by_id: HashMap<String, (i32, i64)> = HashMap::new();
        for p in partitions {
            for (offset, sent) in self.visible(*p) {
                let origin = sent.copy.as_ref().map_or(offset, |h| h.origin);
                origins.insert((*p, offset), (*p, origin));
                by_id.insert(format!("m{}", sent.id), (*p, origin));
                let newest = open.entry((*p, origin)).or_default();
                *newest = (*newest).max((sent.attempt, offset));
            }
        }
        for (a, log) in self.acks.iter().enumerate() {
            let stable = self.ack_logs[a].stable(log.len());
            let settling = log[..stable].iter().flatten();
            for acked in settling.filter(|a| settles(a.verdict) && a.message.is_some()) {
                let origin = match &acked.record.target {
                    AckTarget::Position {
                        partition, offset, ..
                    } => origins.get(&(*partition, *offset)),
                    AckTarget::Id { id, .. } => by_id.get(&**id),
                    AckTarget::Nothing { .. } => None,
                };
                origin.map(|origin| open.remove(origin));
            }
        }
        open
    }

    fn visible(&self, p: i32) -> impl Iterator<Item = (i64, &Sent)> {
        let log = &self.source[p as usize];
        let stable = self.source_logs[p as usize].stable(log.len());
        let records = log[..stable].iter().enumerate();
        records.filter_map(|(offset, sent)| Some((offset as i64, sent.as_ref()?)))
    }

    /// 9, before it starts again: with its store and without, it will know what the logs say.
    pub fn judge_replay(&mut self, mine: &[i32]) {
        // What stands behind an open transaction is durable, and whoever published it knows it; the logs do not show it.
        let hides = |logs: &[LogState]| logs.iter().any(|log| log.open.is_some());
        let hidden = hides(&self.source_logs) || hides(&self.ack_logs);
        if mine.is_empty() || hidden || self.faults_drawn.kafka.may_lose() {
            return;
        }
        let naive = self.naive(mine);
        self.seen.replays_compared += 1;
        for with_store in [true, false] {
            let Some(replayed) = self.replayed(mine, with_store) else {
                self.breach(
                    13,
                    format!("a replay, with the store: {with_store}, does not end"),
                );
                return;
            };
            let differs = |key: &(i32, i64)| naive.get(key) != replayed.get(key);
            let wrong = naive
                .keys()
                .chain(replayed.keys())
                .copied()
                .find(|key| differs(key) && !self.is_undecidable(*key));
            if let Some(key) = wrong {
                self.breach(
                    9,
                    format!(
                        "{key:?} after a replay, with the store: {with_store}: {:?}; by the logs: {:?}",
                        replayed.get(&key),
                        naive.get(&key)
                    ),
                );
            }
        }
    }

    /// Of twins, of what is tracked as a message of its own, and of what shares an id, the naive model knows nothing.
    fn is_undecidable(&self, (partition, origin): (i32, i64)) -> bool {
        let at = self.source[partition as usize].get(origin as usize);
        let Some(Some(sent)) = at else {
            return false;
        };
        self.is_shared(sent.message)
            || self.has_twins(sent.message)
            || self
                .records_of(sent.message)
                .any(|(_, s)| s.estranged || s.forged || s.unclear)
    }

    /// A coordinator that reads to the ends, undisturbed; `None` if it does not come to an end.
    fn replayed(&self, mine: &[i32], with_store: bool) -> Option<Outstanding> {
        let mut core = coordinator(&self.policy, self.early_max, 0);
        let mut now = self.now();
        let store = |p: &i32| -> Option<PartitionImage> {
            self.me.store.get(p).filter(|_| with_store).cloned()
        };
        let assignments = mine
            .iter()
            .map(|p| self.assignment(*p, self.committed.get(p).cloned(), store(p)));
        let mut events = vec![Event::Assigned(assignments.collect())];
        for _ in 0..ROUNDS_MAX {
            events.push(Event::Tick);
            let mut effects = Vec::new();
            for event in events.drain(..) {
                core.handle_event(event, now, &mut effects);
            }
            if core.is_ready() {
                return Some(self.outstanding_of(&core, mine, now));
            }
            for effect in effects {
                events.extend(self.answer_at_once(effect));
            }
            now.mono_ms += 10;
        }
        None
    }

    fn outstanding_of(
        &self,
        core: &ackwarden::core::Coordinator,
        mine: &[i32],
        now: Now,
    ) -> Outstanding {
        let mut open = Outstanding::new();
        for p in mine {
            for (offset, _) in self.visible(*p) {
                if let Lookup::Found(found) = core.lookup(T, LogPosition::new(*p, offset), now)
                    && !found.message.state.is_settled()
                {
                    let m = found.message;
                    let newest = (m.attempt, m.newest_delivery);
                    open.insert((*p, m.position.offset), newest);
                }
            }
        }
        open
    }

    fn answer_at_once(&self, effect: Effect) -> Option<Event> {
        let stable = |ends: Vec<(i32, i64)>, logs: &[LogState]| -> Vec<(i32, i64)> {
            let each = ends.into_iter().zip(logs);
            each.map(|((n, end), log)| (n, log.stable(end as usize) as i64))
                .collect()
        };
        let ack_ends = || stable(Self::ends(&self.acks), &self.ack_logs);
        Some(match effect {
            Effect::ReadSource {
                partition, from, ..
            } => {
                let log = self
                    .visible(partition)
                    .filter(|(o, s)| *o >= from && !s.gone);
                let end = self.source_logs[partition as usize]
                    .stable(self.source[partition as usize].len());
                Event::SourceBatch(SourceBatch {
                    records: log.map(|(o, sent)| record(partition, o, sent)).collect(),
                    applied: vec![(T, partition, end as i64)],
                })
            }
            Effect::ReadAcks {
                from,
                generation,
                lane,
                ..
            } => {
                let ends = ack_ends();
                let records = from.iter().flat_map(|(a, from)| {
                    let end = ends[*a as usize].1 as usize;
                    let from = (*from).max(0) as usize;
                    self.acks[*a as usize][from.min(end)..end].iter().flatten()
                });
                Event::AckBatch(AckBatch {
                    ack: A,
                    records: records.map(|a| a.record.clone()).collect(),
                    applied: from.iter().map(|(a, _)| ends[*a as usize]).collect(),
                    generation,
                    lane,
                })
            }
            Effect::AskFence { topic, round } => Event::Fence {
                topic,
                round,
                answer: Ok(Fence {
                    ack_ends: ack_ends(),
                    source_ends: stable(Self::ends(&self.source), &self.source_logs),
                }),
            },
            Effect::AskAckEnds { ack, round } => Event::AckEnds {
                ack,
                round,
                answer: Ok(ack_ends()),
            },
            _ => return None,
        })
    }
}
