//! A store without a disk: for tests, and to go on where there is no place to write.
//!
//! Clones share what is kept, so that dropping one and loading from another is a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::image::{BlockImage, DetailImage, PartitionHeader, PartitionImage};
use crate::ports::{Checkpoint, PartitionDelta, Store, StoreError, StoreIdentity, StoredPartition};

/// Keeps the newest checkpoint in memory. Never fails.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    identity: Option<StoreIdentity>,
    partitions: BTreeMap<(String, i32), KeptPartition>,
}

#[derive(Debug, Default)]
struct KeptPartition {
    topic_id: String,
    header: PartitionHeader,
    blocks: BTreeMap<i64, BlockImage>,
    details: BTreeMap<i64, DetailImage>,
}

impl MemoryStore {
    /// A store that is new.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<(Option<StoreIdentity>, Vec<StoredPartition>), StoreError> {
        let kept = self.kept();
        let partitions = kept
            .partitions
            .iter()
            .map(|((topic, partition), kept)| StoredPartition {
                topic: topic.clone(),
                partition: *partition,
                topic_id: kept.topic_id.clone(),
                image: Some(kept.image()),
            })
            .collect();
        Ok((kept.identity.clone(), partitions))
    }

    fn set_identity(&mut self, identity: &StoreIdentity) -> Result<(), StoreError> {
        self.kept().identity = Some(identity.clone());
        Ok(())
    }

    fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mut kept = self.kept();
        for delta in &checkpoint.partitions {
            let key = (delta.topic.clone(), delta.partition);
            kept.partitions.entry(key).or_default().apply(delta);
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        0
    }
}

impl KeptPartition {
    fn apply(&mut self, delta: &PartitionDelta) {
        if delta.replace {
            *self = Self::default();
        }
        self.topic_id.clone_from(&delta.topic_id);
        self.header = delta.header.clone();
        for block in &delta.blocks {
            if block.entries.is_empty() {
                self.blocks.remove(&block.base);
            } else {
                self.blocks.insert(block.base, block.clone());
            }
        }
        for origin in &delta.details_gone {
            self.details.remove(origin);
        }
        for detail in &delta.details {
            self.details.insert(detail.origin, detail.clone());
        }
    }

    fn image(&self) -> PartitionImage {
        PartitionImage {
            header: self.header.clone(),
            blocks: self.blocks.values().cloned().collect(),
            details: self.details.values().cloned().collect(),
        }
    }
}
