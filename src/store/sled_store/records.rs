//! Records that change together or not at all, over one sled tree.
//!
//! A commit writes every changed record as a new version beside the one before, makes that durable, then writes the one
//! key that says "this version is whole" and makes that durable, then deletes what was superseded. Until the one key is
//! on disk the version before is what counts, complete; after it, the new one. Nothing needs sled's own transactions,
//! which hold all of it in memory (docs/decisions/0002).
//!
//! Invariants:
//! - For every record, the newest version at or below the committed one is what counts; a removal is a version, too.
//! - A space without a root is nothing: dropping the root drops the space.
//! - A value never exceeds [`VALUE_BYTES_MAX`].
//! - After an error nothing in here is to be used again: drop it, and open anew.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::commit::Commit;
use super::directory::{size_bytes, sync_directory};
use super::key::{COMMIT_KEY, FragmentKey, RecordId, STORE_SPACE};
use super::scan::Version;
use super::trouble::Trouble;
use crate::clock;
use crate::wire::stored::{seal, unseal};

/// A leaf of sled's tree holds up to 17 values and is itself one value of its log, which goes to a file of its own (and
/// leaks, when neighbours come and go) from 128 KiB on. 17 of these with their keys stay below that.
pub(super) const VALUE_BYTES_MAX: usize = 7_000;

/// Pages sled keeps in memory. Everything is read once, at start; later only the chunks of details that change.
const CACHE_BYTES: u64 = 32 << 20;

/// sled's threads give its lock back a moment after a database was dropped.
const SLED_LOCK_WAIT: Duration = Duration::from_secs(5);
const SLED_LOCK_POLL: Duration = Duration::from_millis(10);

/// A record as it counts now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub version: u64,
    pub parts: u16,
    /// Keys and values.
    pub bytes: u64,
    pub digest: u64,
}

/// What the records of a space, its root aside, come to: a mixture of versions does not add up to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub records: u64,
    pub digest_sum: u64,
}

/// The records of one data directory.
pub(super) struct Records {
    pub(super) db: sled::Db,
    /// Kept open, so that an error of an earlier write-back is not missed.
    db_file: File,
    path: PathBuf,
    pub(super) committed: u64,
    pub(super) index: BTreeMap<RecordId, Live>,
    pub(super) tallies: HashMap<u32, Tally>,
    pub(super) live_bytes: u64,
    /// What no checkpoint needs: left by a commit that was broken off, or not deleted yet. Goes before the next commit.
    pub(super) doomed: Vec<FragmentKey>,
    /// No space after this one was ever met.
    pub(super) last_space: u32,
    /// After so many steps the disk "fails", and the test looks at what is left.
    #[cfg(test)]
    pub(super) steps_left: std::cell::Cell<u64>,
}

impl Records {
    /// Opens or creates; what is there is not known before a [scan](Self::scan).
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        remove_half_snapshots(path)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            // Flushing is ours to do and to check: sled's own flusher ends, unnoticed, at its first error.
            .flush_every_ms(None);
        let give_up = clock::instant() + SLED_LOCK_WAIT;
        let db = loop {
            match config.open().map_err(Trouble::from) {
                Ok(db) => break db,
                Err(trouble) if trouble.is_sled_lock() => {
                    if clock::instant() > give_up {
                        return Err(Trouble::InUse);
                    }
                    std::thread::sleep(SLED_LOCK_POLL);
                }
                Err(trouble) => return Err(trouble),
            }
        };
        let db_file = File::open(path.join("db"))?;
        sync_directory(path)?;
        let committed = match db.get(COMMIT_KEY)? {
            None => 0,
            Some(sealed) => match unseal(COMMIT_KEY, &sealed)?.try_into() {
                Ok(version) => u64::from_le_bytes(version),
                Err(_) => return Err(Trouble::Damaged("the commit record is malformed".into())),
            },
        };
        Ok(Self {
            db,
            db_file,
            path: path.to_owned(),
            committed,
            index: BTreeMap::new(),
            tallies: HashMap::new(),
            live_bytes: 0,
            doomed: Vec::new(),
            last_space: STORE_SPACE,
            #[cfg(test)]
            steps_left: std::cell::Cell::new(u64::MAX),
        })
    }

    /// The body of a record; `None` if there is none.
    pub fn get(&self, id: RecordId) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(live) = self.index.get(&id) else {
            return Ok(None);
        };
        let mut version = Version::new(live.version);
        for part in 0..live.parts {
            let key = id.fragment(live.version, part);
            match self.db.get(key)? {
                Some(sealed) => version.add(key, part, &sealed)?,
                None => return Err(Trouble::Damaged("a part of a record is missing".into())),
            }
        }
        match version.body() {
            Some(body) => Ok(Some(body.to_vec())),
            None => Err(Trouble::Damaged("a record is damaged".into())),
        }
    }

    /// What the records of a space come to now.
    pub fn tally(&self, space: u32) -> Tally {
        self.tallies.get(&space).copied().unwrap_or_default()
    }

    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub fn disk_bytes(&self) -> u64 {
        size_bytes(&self.path)
    }

    /// Begins a commit. Only one that [finishes](Commit::finish) counts.
    pub fn begin(&mut self) -> Result<Commit<'_>, Trouble> {
        for key in std::mem::take(&mut self.doomed) {
            self.unset(key)?;
        }
        Ok(Commit::new(self))
    }

    /// The same records in a new database, and nothing else. The old one is closed, its files are left.
    pub fn copy_into(self, path: &Path) -> Result<Self, Trouble> {
        let mut copy = Self::open(path)?;
        for (id, live) in &self.index {
            for part in 0..live.parts {
                let key = id.fragment(live.version, part);
                if let Some(value) = self.db.get(key)? {
                    copy.set(&key, &value)?;
                }
            }
        }
        copy.sync()?;
        copy.mark_committed(self.committed)?;
        copy.index = self.index;
        copy.tallies = self.tallies;
        copy.live_bytes = self.live_bytes;
        copy.last_space = self.last_space;
        Ok(copy)
    }

    pub(super) fn mark_committed(&mut self, version: u64) -> Result<(), Trouble> {
        self.set(COMMIT_KEY, &seal(COMMIT_KEY, &version.to_le_bytes()))?;
        self.sync()?;
        self.committed = version;
        Ok(())
    }

    pub(super) fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Trouble> {
        self.step()?;
        self.db.insert(key, value)?;
        Ok(())
    }

    pub(super) fn unset(&self, key: FragmentKey) -> Result<(), Trouble> {
        self.step()?;
        self.db.remove(key)?;
        Ok(())
    }

    #[cfg_attr(
        not(test),
        expect(clippy::unnecessary_wraps, reason = "tests fail here")
    )]
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests count here"))]
    fn step(&self) -> Result<(), Trouble> {
        #[cfg(test)]
        match self.steps_left.get() {
            0 => return Err(Trouble::Damaged("a step that fails".into())),
            left => self.steps_left.set(left - 1),
        }
        Ok(())
    }

    /// sled's flush hands the bytes to the kernel; this hands them to the disk.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        self.step()?;
        self.db.flush()?;
        self.db_file.sync_all()?;
        // There are none while values are small; sled would write them without a sync.
        for blob in fs::read_dir(self.path.join("blobs"))? {
            match File::open(blob?.path()) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn enter(&mut self, id: RecordId, live: Live) -> Option<Live> {
        let before = self.index.insert(id, live);
        self.live_bytes += live.bytes;
        if let Some(before) = before {
            self.live_bytes -= before.bytes;
        }
        if id != RecordId::root(id.space) {
            let tally = self.tallies.entry(id.space).or_default();
            tally.records += u64::from(before.is_none());
            tally.digest_sum = tally
                .digest_sum
                .wrapping_sub(before.map_or(0, |before| before.digest))
                .wrapping_add(live.digest);
        }
        before
    }

    pub(super) fn strike(&mut self, id: RecordId) -> Option<Live> {
        let before = self.index.remove(&id)?;
        self.live_bytes -= before.bytes;
        if id != RecordId::root(id.space)
            && let Some(tally) = self.tallies.get_mut(&id.space)
        {
            tally.records -= 1;
            tally.digest_sum = tally.digest_sum.wrapping_sub(before.digest);
        }
        Some(before)
    }
}

/// sled writes a snapshot of its page table whenever it opens, under a name of its own until it is whole; if it is broken
/// off there (killed, disk full), it takes the half for a whole one ever after, and refuses to open.
fn remove_half_snapshots(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Of a record's name and body.
pub(super) fn digest(id: RecordId, body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64_with_seed(&id.fragment(0, 0), 0))
}
