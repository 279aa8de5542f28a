//! Which order to read a partition of a source topic is the newest: what was read under an older one is dropped.
//!
//! The core takes whatever lies past where it is for what comes next. A batch that was taken by a reader, or waited to be handed
//! over, when its partition was ordered to be read from further back, would have it pass over all that lies between.

use std::collections::HashMap;

use crate::core::{SourceBatch, TopicIx};

#[derive(Debug, Default)]
pub(super) struct SourceOrders {
    last: u64,
    /// Of the partitions that are read.
    newest: HashMap<(TopicIx, i32), u64>,
}

impl SourceOrders {
    /// The partition is to be read from somewhere: gives the order's number.
    pub fn given(&mut self, topic: TopicIx, partition: i32) -> u64 {
        self.last += 1;
        self.newest.insert((topic, partition), self.last);
        self.last
    }

    /// It is not to be read any more.
    pub fn taken_back(&mut self, topic: TopicIx, partition: i32) {
        self.newest.remove(&(topic, partition));
    }

    /// Whether a reader that had heard of that order had heard of the partition's newest one.
    pub fn is_current(&self, topic: TopicIx, partition: i32, order: u64) -> bool {
        let newest = self.newest.get(&(topic, partition));
        newest.is_some_and(|newest| order >= *newest)
    }

    /// `orders` belong to the batch's positions.
    pub fn drop_outdated(&self, batch: &mut SourceBatch, orders: &[u64]) {
        let outdated: Vec<(TopicIx, i32)> = batch
            .applied
            .iter()
            .zip(orders)
            .filter(|((topic, partition, _), order)| !self.is_current(*topic, *partition, **order))
            .map(|((topic, partition, _), _)| (*topic, *partition))
            .collect();
        if outdated.is_empty() {
            return;
        }
        let is_current = |topic, partition| !outdated.contains(&(topic, partition));
        batch.applied.retain(|(t, p, _)| is_current(*t, *p));
        batch.records.retain(|r| is_current(r.topic, r.partition));
    }
}
