//! One commit: versions beside the ones before, then the one key, then what they replaced goes.

use std::collections::BTreeSet;

use super::key::{FRAGMENT_KEY_BYTES, RecordId, STORE_SPACE};
use super::records::{Live, Records, VALUE_BYTES_MAX, digest};
use super::trouble::Trouble;
use crate::wire::stored::{ENVELOPE_BYTES, seal};

const PARTS_BYTES: usize = 2;
const CHUNK_BYTES_MAX: usize = VALUE_BYTES_MAX - ENVELOPE_BYTES - PARTS_BYTES;

/// Changes that count together once [`finish`](Self::finish) has returned `Ok`.
pub(super) struct Commit<'a> {
    records: &'a mut Records,
    version: u64,
    superseded: Vec<(RecordId, Live)>,
    tombstones: BTreeSet<RecordId>,
}

impl<'a> Commit<'a> {
    pub(super) fn new(records: &'a mut Records) -> Self {
        Self {
            version: records.committed + 1,
            records,
            superseded: Vec::new(),
            tombstones: BTreeSet::new(),
        }
    }

    /// The records as they will be.
    pub fn records(&self) -> &Records {
        self.records
    }

    /// Sets a record.
    pub fn put(&mut self, id: RecordId, body: &[u8]) -> Result<(), Trouble> {
        let parts = body.len().div_ceil(CHUNK_BYTES_MAX).max(1);
        let parts = u16::try_from(parts)
            .map_err(|_| Trouble::Damaged("a record of more than 400 MB".into()))?;
        let mut chunks = body.chunks(CHUNK_BYTES_MAX);
        let mut bytes = 0;
        for part in 0..parts {
            bytes += self.insert(id, part, parts, chunks.next().unwrap_or_default())?;
        }
        self.tombstones.remove(&id);
        let before = self.records.enter(
            id,
            Live {
                version: self.version,
                parts,
                bytes,
                digest: digest(id, body),
            },
        );
        if let Some(before) = before {
            self.supersede(id, before, parts)?;
        }
        Ok(())
    }

    /// Removes a record, if there is one.
    pub fn remove(&mut self, id: RecordId) -> Result<(), Trouble> {
        if let Some(before) = self.records.strike(id) {
            self.insert(id, 0, 0, &[])?;
            self.tombstones.insert(id);
            self.supersede(id, before, 1)?;
        }
        Ok(())
    }

    /// Removes all of a space.
    pub fn drop_space(&mut self, space: u32) -> Result<(), Trouble> {
        debug_assert_ne!(space, STORE_SPACE);
        self.remove(RecordId::root(space))?;
        let range = self.records.index.range(RecordId::all_of(space));
        for id in range.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(live) = self.records.strike(id) {
                self.superseded.push((id, live));
            }
        }
        self.records.tallies.remove(&space);
        Ok(())
    }

    /// Makes it all durable, and deletes what it replaced.
    pub fn finish(self) -> Result<(), Trouble> {
        self.records.sync()?;
        self.records.mark_committed(self.version)?;
        // From here on nothing can go wrong that a scan does not clear up.
        for (id, live) in &self.superseded {
            for part in 0..live.parts {
                self.records.unset(id.fragment(live.version, part))?;
            }
        }
        for id in &self.tombstones {
            self.records.unset(id.fragment(self.version, 0))?;
        }
        Ok(())
    }

    fn insert(&self, id: RecordId, part: u16, parts: u16, chunk: &[u8]) -> Result<u64, Trouble> {
        let key = id.fragment(self.version, part);
        let mut body = Vec::with_capacity(PARTS_BYTES + chunk.len());
        body.extend_from_slice(&parts.to_le_bytes());
        body.extend_from_slice(chunk);
        let sealed = seal(&key, &body);
        let bytes = (FRAGMENT_KEY_BYTES + sealed.len()) as u64;
        self.records.set(&key, &sealed)?;
        Ok(bytes)
    }

    /// `before` counts no more. Where it was written in this very commit, its first `kept` parts are overwritten.
    fn supersede(&mut self, id: RecordId, before: Live, kept: u16) -> Result<(), Trouble> {
        if before.version == self.version {
            for part in kept..before.parts {
                self.records.unset(id.fragment(self.version, part))?;
            }
        } else {
            self.superseded.push((id, before));
        }
        Ok(())
    }
}
