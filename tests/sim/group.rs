//! The consumer group of worlds with several instances: who has which partition, who was not heard for too long, and what
//! moves. As Kafka's: what is moved is given to nobody before its owner let go of it, or its session ended.

use std::collections::BTreeMap;

use ackwarden::core::{Event, Policy};

use crate::instance::Instance;
use crate::rng::Rng;
use crate::world::{EARLY_MAX, PARTITIONS, T, World, coordinator};

/// Without a word for so long, a member is none any more.
pub const SESSION_MS: u64 = 8_000;
pub const LEASE_MS: u64 = SESSION_MS / 2;
/// What was submitted has landed or timed out after it.
pub const PUBLISH_MS: u64 = SESSION_MS / 4;

pub struct Group {
    pub rng: Rng,
    /// All instances but the one whose turn it is.
    #[expect(
        clippy::vec_box,
        reason = "each changes places with the one whose turn it is, at each step"
    )]
    pub others: Vec<Box<Instance>>,
    pub owner: BTreeMap<i32, usize>,
    /// Partitions without an owner: from when on, and to whom (if it is decided).
    free: BTreeMap<i32, (u64, Option<usize>)>,
    /// Whose store the last commit names.
    pub committed_by: BTreeMap<i32, u64>,
    /// Rates in a thousand.
    moves: u64,
    freezes: u64,
    pub sleepy: bool,
    stores: u64,
}

impl Group {
    /// Most worlds have one instance.
    pub fn draw(seed: u64, policy: &Policy) -> Self {
        let mut rng = Rng::new(seed ^ 0x6a09_e667_f3bc_c908);
        let several = rng.chance(350);
        let count = if several {
            2 + rng.below(2) as usize
        } else {
            1
        };
        let others = (1..count)
            .map(|n| Box::new(Instance::new(n, coordinator(policy, EARLY_MAX, seed))))
            .collect();
        let mut rate = |max: u64| if rng.chance(300) { 0 } else { rng.below(max) };
        let (mut moves, mut freezes) = (rate(15), rate(6));
        // They stand still often, and come back to what others did meanwhile.
        let sleepy = several && rng.chance(200);
        if sleepy {
            moves = 0;
            freezes = 1 + rng.below(6);
        }
        Self {
            moves,
            freezes,
            sleepy,
            rng,
            others,
            owner: BTreeMap::new(),
            free: (0..PARTITIONS).map(|p| (p, (0, None))).collect(),
            committed_by: BTreeMap::new(),
            stores: count as u64,
        }
    }

    pub fn is_one(&self) -> bool {
        self.others.is_empty()
    }

    pub fn next_store(&mut self) -> u64 {
        self.stores += 1;
        self.stores
    }

    /// A partition that was added, from then on, to whomever.
    pub fn is_to_give(&mut self, partition: i32, at_ms: u64) {
        self.free.insert(partition, (at_ms, None));
    }

    /// It keeps nothing for longer.
    pub fn gives_by(&mut self, ms: u64) {
        for (at, _) in self.free.values_mut() {
            *at = ms.min(*at);
        }
    }

    pub fn stop_faults(&mut self) {
        self.moves = 0;
        self.freezes = 0;
    }
}

impl World {
    /// Gives the turn to each instance.
    pub fn each_instance(&mut self, mut turn: impl FnMut(&mut Self)) {
        turn(self);
        for i in 0..self.group.others.len() {
            std::mem::swap(&mut self.me, &mut self.group.others[i]);
            turn(self);
            std::mem::swap(&mut self.me, &mut self.group.others[i]);
        }
    }

    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        std::iter::once(&self.me)
            .chain(&self.group.others)
            .map(AsRef::as_ref)
    }

    fn instance(&self, number: usize) -> Option<&Instance> {
        self.instances().find(|i| i.number == number)
    }

    pub fn owner_of(&self, partition: i32) -> Option<&Instance> {
        self.instance(*self.group.owner.get(&partition)?)
    }

    /// Heartbeats, evictions, moves, assignments.
    pub fn group_works(&mut self) {
        let now = self.now_ms;
        self.each_instance(World::is_heard);
        if self.group.rng.chance(self.group.moves) {
            let p = self.group.rng.below(self.source.len() as u64) as i32;
            self.moves(p);
        }
        let due: Vec<(i32, Option<usize>)> = self
            .group
            .free
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(p, (_, to))| (*p, *to))
            .collect();
        for (p, to) in due {
            let able: Vec<usize> = self
                .instances()
                .filter(|i| i.joined && i.up && i.frozen_until <= now && !i.is_to_lose(p))
                .map(|i| i.number)
                .collect();
            let to = match to {
                Some(to) if able.contains(&to) => to,
                _ if able.is_empty() => continue,
                _ => able[self.group.rng.below(able.len() as u64) as usize],
            };
            self.group.free.remove(&p);
            self.group.owner.insert(p, to);
            self.seen.rebalances += 1;
            self.each_instance(|world| {
                if world.me.number == to {
                    world.assign(&[p]);
                }
            });
        }
    }

    fn is_heard(&mut self) {
        let now = self.now_ms;
        if self.me.up && self.me.frozen_until <= now {
            self.me.heard_ms = now;
            if self.me.lost.is_empty() {
                self.me.joined = true;
            } else {
                // It hears of what it lost a moment after it goes on, and only then joins again.
                let partitions = std::mem::take(&mut self.me.lost);
                let at = now + self.group.rng.below(300);
                self.me.inbox.push((
                    at,
                    Event::Revoked {
                        topic: T,
                        partitions,
                    },
                ));
            }
            if self.group.rng.chance(self.group.freezes) {
                let sessions = if self.group.sleepy { 4 } else { 2 };
                self.me.frozen_until = now + self.group.rng.below(SESSION_MS * sessions);
                self.seen.freezes += 1;
            }
        } else if self.me.joined && now > self.me.heard_ms + SESSION_MS {
            self.me.joined = false;
            let number = self.me.number;
            let mine: Vec<i32> = self
                .group
                .owner
                .iter()
                .filter(|(_, o)| **o == number)
                .map(|(p, _)| *p)
                .collect();
            for p in mine {
                self.group.owner.remove(&p);
                let at = now + self.group.rng.below(500);
                self.group.free.insert(p, (at, None));
                if self.me.up {
                    self.me.lost.push(p);
                }
            }
        }
    }

    /// From one that answers to anybody: it lets go of it, and its engine hears so a moment later.
    fn moves(&mut self, p: i32) {
        let now = self.now_ms;
        let Some(from) = self.group.owner.get(&p).copied() else {
            return;
        };
        let told_at = now + 1 + self.group.rng.below(400);
        let to = self.group.rng.below(self.group.others.len() as u64 + 1) as usize;
        let free_at = if to == from {
            told_at + 40
        } else {
            now + self.group.rng.below(300)
        };
        let mut let_go = false;
        self.each_instance(|world| {
            let me = &mut world.me;
            if me.number == from && me.joined && me.up && me.frozen_until <= now {
                let partitions = vec![p];
                me.inbox.push((
                    told_at,
                    Event::Revoked {
                        topic: T,
                        partitions,
                    },
                ));
                let_go = true;
            }
        });
        if let_go {
            self.group.owner.remove(&p);
            self.group.free.insert(p, (free_at, Some(to)));
        }
    }
}
