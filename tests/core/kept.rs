//! A store that keeps what it is given.

use ackwarden::core::image::{PartitionChange, PartitionImage};
use ackwarden::core::{Coordinator, Now};

#[derive(Default)]
pub struct Kept(pub PartitionImage);

impl Kept {
    pub fn checkpoint(&mut self, core: &mut Coordinator, now: Now) {
        for (_, _, change) in core.take_checkpoint(now) {
            self.keep(change);
        }
    }

    fn keep(&mut self, change: PartitionChange) {
        if change.replace {
            self.0 = PartitionImage::default();
        }
        self.0.header = change.header;
        for block in change.blocks {
            self.0.blocks.retain(|b| b.base != block.base);
            self.0.blocks.push(block);
        }
        self.0.blocks.retain(|b| !b.entries.is_empty());
        self.0.blocks.sort_by_key(|b| b.base);
        let gone = |origin: i64| {
            let replaced = change.details.iter().any(|d| d.origin == origin);
            replaced || change.details_gone.contains(&origin)
        };
        self.0.details.retain(|d| !gone(d.origin));
        self.0.details.extend(change.details);
        self.0.details.sort_by_key(|d| d.origin);
    }
}
