//! The store on disk: checkpoints as records in sled, all or nothing.
//!
//! Promises: when `write` has returned `Ok`, the checkpoint survives a crash of the process and of the machine; at any
//! instant before, the one before is what a restart finds, whole. A value that was damaged makes its partition
//! `image: None`, never wrong; partitions do not harm each other. One process at a time, held by a lock that dies with
//! the process. Disk space that sled does not give back is won back by rewriting.
//!
//! After an error the database is closed, and the next call opens it anew: a disk that was full may have room again.
//!
//! The layers: `directory` (lock, which database), `records`, `commit` and `scan` (atomic sets of records in sled), `image`
//! and `details` (partitions as records), `trouble` (errors), `aside` (what becomes of a broken store).

mod aside;
mod commit;
mod details;
mod directory;
mod image;
mod key;
mod records;
mod scan;
mod trouble;

#[cfg(test)]
mod records_tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::ports::{Checkpoint, Store, StoreError, StoreIdentity, StoredPartition};
use crate::wire::stored::encode_identity;

pub use aside::move_aside;

use directory::Directory;
use image::{Catalog, Loaded};
use key::{RecordId, STORE_SPACE};
use records::Records;
use trouble::Trouble;

/// A database smaller than that is not rewritten, whatever share of it is live.
const REWRITE_FLOOR_BYTES: u64 = 64 << 20;

/// So many times the live bytes may a database take on disk. Written in one go it takes about 1.6 times; some thousand
/// checkpoints of churn make that 4 to 6 times.
const REWRITE_FACTOR: u64 = 3;

/// A store in a directory of its own; see the module.
pub struct SledStore {
    /// Closed before the directory is let go of.
    open: Option<Open>,
    directory: Directory,
    rewrite_floor_bytes: u64,
    disk_bytes: u64,
}

struct Open {
    records: Records,
    /// `None` until the records were scanned.
    catalog: Option<Catalog>,
}

impl SledStore {
    /// Opens the store in the directory `path`, or creates it, for its owner only.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process (or another store of this one) has it open; the others as they say.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = catch_unwind(|| {
            let directory = Directory::open(path)?;
            let records = Records::open(&directory.current())?;
            Ok((directory, records))
        })
        .unwrap_or_else(|payload| Err(Trouble::panicked(&*payload)));
        let (directory, records) = opened.map_err(|trouble| trouble.into_store_error(path))?;
        Ok(Self {
            disk_bytes: records.disk_bytes(),
            directory,
            open: Some(Open {
                records,
                catalog: None,
            }),
            rewrite_floor_bytes: REWRITE_FLOOR_BYTES,
        })
    }

    /// Win space back from this size of the database on, instead of 64 MiB: for tests.
    #[must_use]
    pub fn with_rewrite_floor(mut self, bytes: u64) -> Self {
        self.rewrite_floor_bytes = bytes;
        self
    }

    /// Runs `work` on the open database. Whatever goes wrong in there, the database is closed and opened anew by the next call.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let result = catch_unwind(AssertUnwindSafe(|| work(self)))
            .unwrap_or_else(|payload| Err(Trouble::panicked(&*payload)));
        result.map_err(|trouble| {
            let open = self.open.take();
            // sled may meet the same trouble again when it closes.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
            trouble.into_store_error(self.directory.path())
        })
    }

    /// The open database.
    fn opened(&mut self) -> Result<&mut Open, Trouble> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                self.directory.settle()?;
                Open {
                    records: Records::open(&self.directory.current())?,
                    catalog: None,
                }
            }
        };
        Ok(self.open.insert(open))
    }

    /// The open database, scanned.
    fn scanned(&mut self) -> Result<(&mut Records, &mut Catalog), Trouble> {
        let Open { records, catalog } = self.opened()?;
        let known = match catalog.take() {
            Some(known) => known,
            None => Catalog::load(records, false)?.catalog,
        };
        Ok((records, catalog.insert(known)))
    }

    /// Rewrites the database if too little of it is live. Failing to is no failure of what was asked for.
    fn win_back_space(&mut self) -> Result<(), Trouble> {
        let (records, _) = self.scanned()?;
        let (disk_bytes, live_bytes) = (records.disk_bytes(), records.live_bytes());
        self.disk_bytes = disk_bytes;
        if disk_bytes <= self.rewrite_floor_bytes.max(REWRITE_FACTOR * live_bytes) {
            return Ok(());
        }
        let path = self.directory.path().display().to_string();
        match self.rewrite() {
            Ok(()) => {
                self.disk_bytes = self.opened()?.records.disk_bytes();
                tracing::info!(
                    path,
                    live_bytes,
                    disk_bytes_before = disk_bytes,
                    disk_bytes = self.disk_bytes,
                    "rewrote the store to win back disk space"
                );
                Ok(())
            }
            Err(error) => {
                tracing::warn!(path, live_bytes, disk_bytes, %error, "the store could not be rewritten to win back disk space: trying again when it has doubled");
                self.rewrite_floor_bytes = 2 * disk_bytes;
                self.open = None;
                self.scanned().map(drop)
            }
        }
    }

    fn rewrite(&mut self) -> Result<(), Trouble> {
        let next = self.directory.create_next()?;
        let Some(Open { records, catalog }) = self.open.take() else {
            return Ok(());
        };
        let records = records.copy_into(&next)?;
        self.directory.switch_to_next()?;
        self.open = Some(Open { records, catalog });
        self.directory.remove_others()
    }
}

impl Store for SledStore {
    fn load(&mut self) -> Result<(Option<StoreIdentity>, Vec<StoredPartition>), StoreError> {
        self.guarded(|store| {
            let open = store.opened()?;
            let Loaded {
                catalog,
                identity,
                partitions,
            } = Catalog::load(&mut open.records, true)?;
            open.catalog = Some(catalog);
            store.win_back_space()?;
            Ok((identity, partitions))
        })
    }

    fn set_identity(&mut self, identity: &StoreIdentity) -> Result<(), StoreError> {
        self.guarded(|store| {
            let (records, _) = store.scanned()?;
            let mut commit = records.begin()?;
            commit.put(RecordId::root(STORE_SPACE), &encode_identity(identity))?;
            commit.finish()
        })
    }

    fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        if checkpoint.partitions.is_empty() {
            return Ok(());
        }
        self.guarded(|store| {
            let (records, catalog) = store.scanned()?;
            let mut commit = records.begin()?;
            for delta in &checkpoint.partitions {
                catalog.write(&mut commit, delta)?;
            }
            commit.finish()?;
            store.win_back_space()
        })
    }

    fn size_bytes(&self) -> u64 {
        self.disk_bytes
    }
}
