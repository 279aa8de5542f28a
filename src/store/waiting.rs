//! A store for which there was no room at the start: it says so to each checkpoint, and opens when there is.
//!
//! The checkpoint that finds room again fails all the same: it may be a delta to what nobody has. After an error the next one is
//! whole.

use std::path::{Path, PathBuf};

use super::{SledStore, move_aside};
use crate::ports::{Checkpoint, Store, StoreError, StoreIdentity, StoredPartition};

pub struct WaitingStore {
    path: PathBuf,
    identity: StoreIdentity,
    opened: Option<SledStore>,
}

impl WaitingStore {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            identity: StoreIdentity::default(),
            opened: None,
        }
    }
}

impl Store for WaitingStore {
    fn load(&mut self) -> Result<(Option<StoreIdentity>, Vec<StoredPartition>), StoreError> {
        Ok((None, Vec::new()))
    }

    fn set_identity(&mut self, identity: &StoreIdentity) -> Result<(), StoreError> {
        self.identity = identity.clone();
        match &mut self.opened {
            Some(store) => store.set_identity(identity),
            None => Ok(()),
        }
    }

    fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        if let Some(store) = &mut self.opened {
            return store.write(checkpoint);
        }
        let mut store = SledStore::open(&self.path)?;
        if !matches!(store.load(), Ok((None, _))) {
            // What an earlier process kept is not ours: it was not read.
            drop(store);
            if let Err(error) = move_aside(&self.path) {
                let (path, detail) = (self.path.display().to_string(), error.to_string());
                return Err(StoreError::NoSpace { path, detail });
            }
            store = SledStore::open(&self.path)?;
        }
        store.set_identity(&self.identity)?;
        self.opened = Some(store);
        Err(StoreError::NoSpace {
            path: self.path.display().to_string(),
            detail: "there is room again: it was opened, and the next checkpoint is written"
                .to_owned(),
        })
    }

    fn size_bytes(&self) -> u64 {
        self.opened.as_ref().map_or(0, Store::size_bytes)
    }
}
