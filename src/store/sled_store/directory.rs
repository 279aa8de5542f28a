//! The store's directory: its lock, its format, and which of its data directories is the one in use.
//!
//! ```text
//! path/lock      held while a process has the store open; the kernel frees it when that process dies
//! path/CURRENT   format version, and the number of the data directory in use; replaced atomically
//! path/data-N/   a sled database
//! ```
//!
//! sled does not give space back, so now and then what is live is written to `data-(N+1)`, and `CURRENT` moves on. Other
//! data directories are leftovers of that and are removed at the next open.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::trouble::Trouble;
use crate::wire::stored::FORMAT;

/// Files and directories are for their owner alone: ids and reasons are the users' data.
const DIRECTORY_MODE: u32 = 0o700;

const LOCK: &str = "lock";
const CURRENT: &str = "CURRENT";
const CURRENT_NEW: &str = "CURRENT.new";
const DATA_PREFIX: &str = "data-";
/// First word of `CURRENT`.
const MAGIC: &str = "ackwarden-store";

/// An open store directory. The lock is held while it lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    generation: u64,
    _lock: Lock,
}

/// The lock of a store's directory. It is let go by name, not by closing its file: a process that is just being started by
/// another thread has that file open, too, until it becomes another program.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it lets go of it, too, a moment later.
        let _ = self.0.unlock();
    }
}

impl Directory {
    /// Creates what is missing, and locks.
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        create_private(path)?;
        let lock = lock(path)?;
        let mut directory = Self {
            path: path.to_owned(),
            generation: 0,
            _lock: lock,
        };
        directory.settle()?;
        Ok(directory)
    }

    /// Finds out which data directory is in use, creates it if it is not there, and removes the others: at the start,
    /// and after a [switch](Self::switch_to_next) of which it is not known whether it took place.
    pub fn settle(&mut self) -> Result<(), Trouble> {
        self.generation = match read_current(&self.path)? {
            Some(generation) => generation,
            None if !generations(&self.path)?.is_empty() => {
                return Err(Trouble::Damaged(format!(
                    "{CURRENT} is missing beside data directories"
                )));
            }
            None => {
                write_current(&self.path, 1)?;
                1
            }
        };
        self.remove_others()?;
        create_private(&self.current())?;
        sync_directory(&self.path)?;
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The data directory in use.
    pub fn current(&self) -> PathBuf {
        self.data(self.generation)
    }

    /// A new, empty data directory beside it.
    pub fn create_next(&self) -> Result<PathBuf, Trouble> {
        self.remove_others()?;
        let next = self.data(self.generation + 1);
        create_private(&next)?;
        Ok(next)
    }

    /// Makes the next data directory the one in use, durably. After an error, [`settle`](Self::settle).
    pub fn switch_to_next(&mut self) -> Result<(), Trouble> {
        write_current(&self.path, self.generation + 1)?;
        self.generation += 1;
        Ok(())
    }

    /// Removes the data directories that are not in use.
    pub fn remove_others(&self) -> Result<(), Trouble> {
        for other in generations(&self.path)? {
            if other != self.generation {
                fs::remove_dir_all(self.data(other))?;
            }
        }
        Ok(())
    }

    fn data(&self, generation: u64) -> PathBuf {
        self.path.join(format!("{DATA_PREFIX}{generation}"))
    }
}

/// Bytes of the files in a directory, one level of subdirectories included. What vanishes meanwhile counts as 0.
pub(super) fn size_bytes(directory: &Path) -> u64 {
    let mut size = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let files = fs::read_dir(entry.path()).into_iter().flatten().flatten();
                size += files
                    .filter_map(|file| Some(file.metadata().ok()?.len()))
                    .sum::<u64>();
            }
            Ok(metadata) => size += metadata.len(),
            Err(_) => {}
        }
    }
    size
}

/// Makes created, renamed and removed names in it durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Whether a name in a store's directory is one of the store's own.
pub(super) fn is_ours(name: &str) -> bool {
    matches!(name, LOCK | CURRENT | CURRENT_NEW) || generation_of(name).is_some()
}

/// Takes the lock of a store's directory; [`Trouble::InUse`] while another has it.
pub(super) fn lock(path: &Path) -> Result<Lock, Trouble> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(Trouble::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

pub(super) fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
}

fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix(DATA_PREFIX)?.parse().ok()
}

fn generations(path: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        found.extend(entry?.file_name().to_str().and_then(generation_of));
    }
    Ok(found)
}

fn read_current(path: &Path) -> Result<Option<u64>, Trouble> {
    let text = match fs::read(path.join(CURRENT)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = || Trouble::Damaged(format!("{CURRENT} is damaged"));
    let mut words = text.split_ascii_whitespace();
    if words.next() != Some(MAGIC) {
        return Err(damaged());
    }
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (format, generation) = (number().ok_or_else(damaged)?, number());
    if format > u64::from(FORMAT) {
        return Err(Trouble::Newer {
            found: u32::try_from(format).unwrap_or(u32::MAX),
        });
    }
    generation.map(Some).ok_or_else(damaged)
}

fn write_current(path: &Path, generation: u64) -> Result<(), Trouble> {
    let new = path.join(CURRENT_NEW);
    let mut file = File::create(&new)?;
    writeln!(file, "{MAGIC} {FORMAT} {generation}")?;
    file.sync_all()?;
    fs::rename(&new, path.join(CURRENT))?;
    sync_directory(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_locks_file_that_a_starting_process_has_does_not_hold_it() {
        let dir = tempfile::tempdir().expect("tempdir");
        let held = lock(dir.path()).expect("locked");
        let copy = held.0.try_clone().expect("cloned");
        assert!(matches!(lock(dir.path()), Err(Trouble::InUse)));
        drop(held);
        lock(dir.path()).expect("locked again");
        drop(copy);
    }
}
