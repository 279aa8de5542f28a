//! Topics that get partitions while the world runs. A sends to a new one, and B reads it and acknowledges on it, at once;
//! the brokers hear of it one after another, and the coordinators from them.

use std::collections::BTreeMap;

use ackwarden::core::Event;

use crate::logs::LogState;
use crate::rng::Rng;
use crate::world::{A, ACK_PARTITIONS, PARTITIONS, World};

/// How often an instance looks which partitions there are, as `ROUND` in `src/runtime/lookups.rs`.
const ROUND_MS: u64 = 10_000;
/// That a topic gets, at most.
const ADDED_MAX: usize = 2;
/// All brokers have heard of a new partition after that long; where everything is slow, after nearly as long as the core
/// takes for granted (`HEARD_OF_WITHIN_MS`), by a clock that goes too fast or too slow.
const HEARD_WITHIN_MS: u64 = 3_000;
const HEARD_WITHIN_SLOW_MS: u64 = 55_000;
/// For so long it may not be answered where a new partition begins.
const LOOK_UP_SLOW_MS: u64 = 90_000;

pub struct Growth {
    pub rng: Rng,
    /// Of each partition that was added: by when all brokers have heard of it.
    sources: Vec<u64>,
    acks: Vec<u64>,
    /// Source partitions that the one instance has not got yet, and when it will.
    to_come: BTreeMap<i32, u64>,
}

#[derive(Clone, Copy)]
pub enum Of {
    Sources,
    Acks,
}

impl Growth {
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            sources: Vec::new(),
            acks: Vec::new(),
            to_come: BTreeMap::new(),
        }
    }

    pub fn is_to_come(&self, partition: i32) -> bool {
        self.to_come.contains_key(&partition)
    }

    /// Whoever was asked for the partitions of the ACK topic since then knew this one.
    pub fn is_heard_of(&self, ack_partition: i32, since_ms: u64) -> bool {
        // Who does not know one knows none behind it.
        let added = usize::try_from(ack_partition + 1 - ACK_PARTITIONS).unwrap_or(0);
        self.acks.iter().take(added).all(|by| *by <= since_ms)
    }
}

impl World {
    pub fn topics_grow(&mut self) {
        let rates = &self.faults.growth;
        let (sources, acks) = (rates.sources, rates.acks);
        if self.growth.rng.chance(sources) && self.growth.sources.len() < ADDED_MAX {
            self.a_source_partition_is_added();
        }
        if self.growth.rng.chance(acks) && self.growth.acks.len() < ADDED_MAX {
            self.seen.acks_grown += 1;
            self.acks.push(Vec::new());
            self.ack_logs.push(LogState::default());
            let heard_by = self.now_ms + self.lag_ms();
            self.growth.acks.push(heard_by);
        }
    }

    fn a_source_partition_is_added(&mut self) {
        self.seen.sources_grown += 1;
        let p = self.source.len() as i32;
        self.source.push(Vec::new());
        self.source_logs.push(LogState::default());
        self.b_position.push(0);
        let lag_ms = self.lag_ms();
        self.growth.sources.push(self.now_ms + lag_ms);
        // The group gives it to somebody once one of its members, in its round, asks a broker that has heard of it.
        let round_ms = match self.growth.rng.below(3) {
            0 => 500,
            1 => ROUND_MS,
            _ if self.faults.growth.slow => LOOK_UP_SLOW_MS,
            _ => ROUND_MS,
        };
        let at = self.now_ms + self.growth.rng.below(lag_ms + 1) + self.growth.rng.below(round_ms);
        if self.group.is_one() {
            self.growth.to_come.insert(p, at);
        } else {
            self.group.is_to_give(p, at);
        }
    }

    fn lag_ms(&mut self) -> u64 {
        let within = if self.faults.growth.slow {
            HEARD_WITHIN_SLOW_MS
        } else {
            HEARD_WITHIN_MS
        };
        self.growth.rng.below(within)
    }

    /// With the faults, brokers that hear of nothing for long, and questions without an answer.
    pub fn growth_is_heard_of(&mut self) {
        let soon = self.now_ms + ROUND_MS;
        let growth = &mut self.growth;
        let heard = growth.sources.iter_mut().chain(&mut growth.acks);
        for at in heard.chain(growth.to_come.values_mut()) {
            *at = soon.min(*at);
        }
        self.group.gives_by(soon);
    }

    /// How many partitions there are, by the broker that is asked now.
    pub fn partitions_told(&mut self, of: Of) -> usize {
        let now = self.now_ms;
        let (before, added) = match of {
            Of::Sources => (PARTITIONS, &self.growth.sources),
            Of::Acks => (ACK_PARTITIONS, &self.growth.acks),
        };
        let rng = &mut self.growth.rng;
        let is_known = |heard_by: &&u64| **heard_by <= now || rng.chance(500);
        before as usize + added.iter().take_while(is_known).count()
    }

    /// The one instance gets what the group has heard of; when it `starts`, it asks anew.
    pub fn new_partitions_are_given(&mut self, starts: bool) {
        if self.growth.to_come.is_empty() {
            return;
        }
        let known = if starts {
            self.partitions_told(Of::Sources)
        } else {
            0
        };
        let now = self.now_ms;
        let given = |p: &i32, at: &mut u64| *at <= now || (*p as usize) < known;
        let given = self.growth.to_come.extract_if(.., given);
        let given: Vec<i32> = given.map(|(p, _)| p).collect();
        if !starts && !given.is_empty() {
            self.assign(&given);
        }
    }

    /// What an instance asks in rounds, and tells its core.
    pub fn looks_at_partitions(&mut self) {
        if !self.faults_drawn.growth.any() || self.now_ms < self.me.looks_at {
            return;
        }
        self.me.looks_at = self.now_ms + ROUND_MS;
        let told = self.partitions_told(Of::Acks) as i32;
        let partitions = (0..told).collect();
        let at = self.now_ms + self.growth.rng.below(200);
        let event = Event::AckPartitions { ack: A, partitions };
        self.me.inbox.push((at, event));
    }

    /// What the core is told names partitions of the ACK topic; an answer for the barrier may leave out one of which nothing
    /// has told it before.
    pub fn hears_of_ack_partitions(&mut self, told: &Event) {
        let named: Vec<i32> = match told {
            Event::AckPartitions { partitions, .. } => partitions.clone(),
            Event::AckEnds {
                answer: Ok(ends), ..
            } => numbers(ends).collect(),
            Event::Fence {
                answer: Ok(fence), ..
            } => numbers(&fence.ack_ends).collect(),
            Event::Assigned(all) => all
                .iter()
                .flat_map(|a| numbers(&a.ack_log_starts))
                .collect(),
            _ => return,
        };
        self.me.acks_heard_of.extend(&named);
        if matches!(told, Event::AckEnds { answer: Ok(_), .. }) {
            for n in 0..self.acks.len() as i32 {
                if !self.me.acks_heard_of.contains(&n) {
                    self.me.missed.insert(n, self.now_ms);
                }
            }
        }
    }
}

fn numbers(offsets: &[(i32, i64)]) -> impl Iterator<Item = i32> {
    offsets.iter().map(|(n, _)| *n)
}
