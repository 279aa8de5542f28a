//! Ids as labels on outstanding messages: a keyed 128-bit hash of the id, to the positions that carry it.
//!
//! 128 bits, because chance is not evidence: with 64, a wrong settlement would come up some times a year.

use std::collections::HashMap;

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use super::types::LogPosition;

/// The outstanding messages of one topic, by id.
pub(super) struct Labels {
    key: (u64, u64),
    by_id: HashMap<u128, Positions>,
}

/// Nearly always one.
enum Positions {
    One(LogPosition),
    Several(Vec<LogPosition>),
}

impl Labels {
    pub fn new(seed: u64) -> Self {
        Self {
            key: (seed, seed.rotate_left(32) ^ 0x5bd1_e995_9d1b_54a3),
            by_id: HashMap::new(),
        }
    }

    pub fn hash(&self, id: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write(id.as_bytes());
        hasher.finish128().as_u128()
    }

    /// True if another outstanding message carries the id already.
    pub fn add(&mut self, id: &str, at: LogPosition) -> bool {
        match self.by_id.entry(self.hash(id)) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Positions::One(at));
                false
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                match entry.get_mut() {
                    Positions::One(first) if *first == at => return false,
                    Positions::One(first) => {
                        let first = *first;
                        entry.insert(Positions::Several(vec![first, at]));
                    }
                    Positions::Several(all) if all.contains(&at) => return false,
                    Positions::Several(all) => all.push(at),
                }
                true
            }
        }
    }

    pub fn remove(&mut self, id: &str, at: LogPosition) {
        let hash = self.hash(id);
        match self.by_id.get_mut(&hash) {
            Some(Positions::One(one)) if *one == at => {
                self.by_id.remove(&hash);
            }
            Some(Positions::Several(all)) => {
                all.retain(|p| *p != at);
                if let [one] = all[..] {
                    self.by_id.insert(hash, Positions::One(one));
                }
            }
            _ => {}
        }
    }

    /// Origins of the outstanding messages with that id.
    pub fn find(&self, id: &str) -> Vec<LogPosition> {
        match self.by_id.get(&self.hash(id)) {
            None => Vec::new(),
            Some(Positions::One(one)) => vec![*one],
            Some(Positions::Several(all)) => all.clone(),
        }
    }
}
