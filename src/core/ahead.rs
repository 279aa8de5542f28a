//! Ids of a batch, looked up once before they are worked on.
//!
//! With a million outstanding, nearly every step of a look-up waits for memory that no cache holds. One message after the
//! other waits one step after the other; of look-ups that do not depend on each other the processor does several at once.
//! So what a batch will need is touched first. Nothing is decided here, and nothing changes.

use std::hint::black_box;

use super::record::{AckRecord, AckTarget, SourceRecord};
use super::topic::Topic;
use super::types::LogPosition;

/// Messages that are looked up together: few enough that what was fetched is still there when it is needed.
pub(super) const TOGETHER: usize = 64;

impl Topic {
    /// Where the ids of these records will be labels.
    pub fn look_ahead_of_sources(&self, records: &[SourceRecord]) {
        let ids = records
            .iter()
            .map(|record| record.extra.as_ref().and_then(|e| e.id.as_deref()));
        black_box(self.first_of_each(ids));
    }

    /// The messages that these ACKs name by id.
    pub fn look_ahead_of_acks(&self, acks: &[AckRecord]) {
        let ids = acks.iter().map(|ack| match &ack.target {
            AckTarget::Id { topic, id } if *topic == self.ix => Some(&**id),
            _ => None,
        });
        for LogPosition { partition, offset } in self.first_of_each(ids).into_iter().flatten() {
            let id = self
                .partitions
                .get(&partition)
                .and_then(|p| p.id_of(offset));
            black_box(id.and_then(|id| id.as_bytes().first()));
        }
    }

    /// First all hashes, then all look-ups: what lies between two look-ups is what keeps the processor from doing both.
    fn first_of_each<'a>(
        &self,
        ids: impl Iterator<Item = Option<&'a str>>,
    ) -> [Option<LogPosition>; TOGETHER] {
        let mut hashes = [None; TOGETHER];
        for (id, hash) in ids.zip(&mut hashes) {
            *hash = id.map(|id| self.labels.hash(id));
        }
        hashes.map(|hash| self.labels.first(hash?))
    }
}
