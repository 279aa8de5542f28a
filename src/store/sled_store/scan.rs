//! Reading all records once, in order: which versions count, which are intact, which are to go.

use super::key::{COMMIT_KEY, FragmentKey, RecordId, STORE_SPACE};
use super::records::{Live, Records, digest};
use super::trouble::Trouble;
use crate::wire::stored::{StoredError, unseal};

/// Receives each record that counts: its body, or `None` where it is damaged.
pub(super) type Visitor<'v> = dyn FnMut(RecordId, Option<&[u8]>) -> Result<(), Trouble> + 'v;

impl Records {
    /// Visits what counts, space by space, the root first; afterwards the index is complete. Writes nothing.
    pub fn scan(&mut self, visit: &mut Visitor<'_>) -> Result<(), Trouble> {
        self.index.clear();
        self.tallies.clear();
        self.doomed.clear();
        self.live_bytes = 0;
        let mut candidate: Option<(RecordId, Candidate)> = None;
        for pair in self.db.iter() {
            let (key, value) = pair?;
            if key.as_ref() == COMMIT_KEY {
                continue;
            }
            let (Some((id, version, part)), Ok(key)) =
                (RecordId::parse(&key), FragmentKey::try_from(key.as_ref()))
            else {
                return Err(Trouble::Damaged("a key that is no key of a store".into()));
            };
            self.last_space = self.last_space.max(id.space);
            let same = candidate.as_ref().is_some_and(|(other, _)| *other == id);
            if !same && let Some((id, candidate)) = candidate.take() {
                self.settle(id, candidate, visit)?;
            }
            if version > self.committed {
                self.doomed.push(key);
                continue;
            }
            let (_, candidate) = candidate.get_or_insert_with(|| (id, Candidate::default()));
            candidate.begin(version, &mut self.doomed);
            if let Some(current) = &mut candidate.current {
                current.add(key, part, &value)?;
                current.stored_bytes += (key.len() + value.len()) as u64;
            }
        }
        if let Some((id, candidate)) = candidate {
            self.settle(id, candidate, visit)?;
        }
        Ok(())
    }

    fn settle(
        &mut self,
        id: RecordId,
        candidate: Candidate,
        visit: &mut Visitor<'_>,
    ) -> Result<(), Trouble> {
        let Some(version) = candidate.current else {
            return Ok(());
        };
        let rootless = id.space != STORE_SPACE
            && id != RecordId::root(id.space)
            && !self.index.contains_key(&RecordId::root(id.space));
        if rootless || version.is_tombstone() {
            self.doomed.extend(version.keys);
            return Ok(());
        }
        let body = version.body();
        let parts = version.parts_present();
        self.enter(
            id,
            Live {
                version: version.number,
                parts,
                bytes: version.stored_bytes,
                digest: body.map_or(0, |body| digest(id, body)),
            },
        );
        visit(id, body)
    }
}

/// The newest version of a record up to now.
#[derive(Default)]
struct Candidate {
    current: Option<Version>,
}

impl Candidate {
    /// A later version takes the place of the one before.
    fn begin(&mut self, number: u64, doomed: &mut Vec<FragmentKey>) {
        if self.current.as_ref().is_some_and(|v| v.number == number) {
            return;
        }
        if let Some(before) = self.current.replace(Version::new(number)) {
            doomed.extend(before.keys);
        }
    }
}

/// A record put together from its fragments.
pub(super) struct Version {
    number: u64,
    keys: Vec<FragmentKey>,
    /// As each fragment says; `None` before the first.
    parts: Option<u16>,
    last_part: u16,
    bytes: Vec<u8>,
    stored_bytes: u64,
    damaged: bool,
}

impl Version {
    pub fn new(number: u64) -> Self {
        Self {
            number,
            keys: Vec::new(),
            parts: None,
            last_part: 0,
            bytes: Vec::new(),
            stored_bytes: 0,
            damaged: false,
        }
    }

    /// Adds the next fragment. Damage is remembered; only a later format is an error.
    pub fn add(&mut self, key: FragmentKey, part: u16, sealed: &[u8]) -> Result<(), Trouble> {
        let position = self.keys.len();
        self.keys.push(key);
        self.last_part = part;
        let body = match unseal(&key, sealed) {
            Ok(body) => body,
            Err(newer @ StoredError::Newer { .. }) => return Err(newer.into()),
            Err(StoredError::Checksum | StoredError::Malformed(_)) => {
                self.damaged = true;
                return Ok(());
            }
        };
        let Some((parts, chunk)) = body.split_first_chunk::<2>() else {
            self.damaged = true;
            return Ok(());
        };
        let parts = u16::from_le_bytes(*parts);
        self.damaged |= usize::from(part) != position || *self.parts.get_or_insert(parts) != parts;
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// `None`: damaged, or not all there.
    pub fn body(&self) -> Option<&[u8]> {
        let complete = self.parts.map(usize::from) == Some(self.keys.len());
        (complete && !self.damaged).then_some(self.bytes.as_slice())
    }

    fn is_tombstone(&self) -> bool {
        !self.damaged && self.parts == Some(0)
    }

    /// How many parts there may be, for the day they are deleted.
    fn parts_present(&self) -> u16 {
        self.last_part.saturating_add(1)
    }
}
