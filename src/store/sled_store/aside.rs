//! Out of the way, but not lost: what could not be used is kept for a look.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::directory::{create_private, is_ours, lock};
use super::trouble::Trouble;
use crate::clock;

/// How many broken stores are kept beside the one in use; older ones are deleted.
const KEPT_MAX: usize = 2;

/// Moves a store that is [`Broken`](crate::ports::StoreError::Broken) out of the way, so that opening `path` begins a
/// new one: `path` becomes `path.broken-TIME`, and of those the newest two are kept. Where the directory cannot be
/// renamed (a mount point; a parent that is not ours) or holds files that are not the store's, the store's own are moved
/// to `path/broken-TIME` instead. Returns where it went.
///
/// Drop the store first.
///
/// # Errors
/// `WouldBlock` while somebody has the store open; else whatever the file system says.
pub fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let _lock = lock(path).map_err(|trouble| match trouble {
        Trouble::InUse => io::Error::new(io::ErrorKind::WouldBlock, "the store is in use"),
        Trouble::Io(error) => error,
        other => io::Error::other(other.to_string()),
    })?;
    let name = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let beside = format!("{name}.broken-");
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !name.is_empty() && all_ours(path)? {
        let target = unused(parent, &beside)?;
        if fs::rename(path, &target).is_ok() {
            forget_older(parent, &beside);
            return Ok(target);
        }
    }
    let within = "broken-";
    let target = unused(path, within)?;
    create_private(&target)?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            fs::rename(entry.path(), target.join(entry.file_name()))?;
        }
    }
    forget_older(path, within);
    Ok(target)
}

fn all_ours(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if !entry?.file_name().to_str().is_some_and(is_ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `NAME` in `directory`, made of `prefix` and the time; a number behind it if that second has one already.
fn unused(directory: &Path, prefix: &str) -> io::Result<PathBuf> {
    let wall_ms = u64::try_from(clock::wall_ms()).unwrap_or(0);
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(wall_ms);
    let time = humantime::format_rfc3339_seconds(now)
        .to_string()
        .replace(['-', ':'], "");
    let name = format!("{prefix}{time}");
    let mut last = None;
    for entry in fs::read_dir(directory)? {
        let other = entry?.file_name();
        let number = match other.to_string_lossy().strip_prefix(&name) {
            Some("") => Some(0),
            Some(suffix) => suffix.strip_prefix('-').and_then(|n| n.parse::<u32>().ok()),
            None => None,
        };
        last = last.max(number);
    }
    Ok(directory.join(match last {
        None => name,
        Some(last) => format!("{name}-{:03}", last + 1),
    }))
}

/// Their names sort by time. What cannot be deleted stays: it is in nobody's way.
fn forget_older(directory: &Path, prefix: &str) {
    let mut broken: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    broken.sort();
    let surplus = broken.len().saturating_sub(KEPT_MAX);
    for path in &broken[..surplus] {
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::warn!(path = %path.display(), %error, "an old broken store cannot be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_at(path: &Path) {
        fs::create_dir_all(path.join("data-1")).expect("create");
        fs::write(path.join("CURRENT"), "x").expect("write");
    }

    #[test]
    fn a_broken_store_is_moved_and_the_newest_two_are_kept() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("store");
        let mut moved = Vec::new();
        for _ in 0..4 {
            store_at(&path);
            moved.push(move_aside(&path).expect("moved"));
            assert!(!path.exists());
        }
        let exist: Vec<_> = moved.iter().map(|path| path.exists()).collect();
        assert_eq!(exist, [false, false, true, true]);
        assert!(moved[3].join("data-1").exists());
    }

    #[test]
    fn files_that_are_not_the_stores_stay_where_they_are() {
        let dir = tempfile::tempdir().expect("tempdir");
        store_at(dir.path());
        fs::write(dir.path().join("precious"), "x").expect("write");
        let target = move_aside(dir.path()).expect("moved");
        assert_eq!(target.parent(), Some(dir.path()));
        assert!(target.join("data-1").exists() && target.join("CURRENT").exists());
        assert!(dir.path().join("precious").exists() && !dir.path().join("CURRENT").exists());
    }

    #[test]
    fn a_store_that_is_open_is_not_moved() {
        let dir = tempfile::tempdir().expect("tempdir");
        let _held = lock(dir.path()).expect("locked");
        let error = move_aside(dir.path()).expect_err("held");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
