//! A disk of a size of its own, to be filled. Needs the right to mount a tmpfs.

#![allow(dead_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A small file system, unmounted when dropped.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// `None`, and a loud line, where it may not be mounted.
    pub fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("tempdir");
        let disk = Self { dir };
        if mount(
            &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"],
            disk.path(),
        ) {
            Some(disk)
        } else {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: no right to mount a tmpfs here, so a full disk was NOT tested"
            );
            None
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Until not a byte fits; gives the file that is to go.
    pub fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).expect("create");
        while std::io::Write::write(&mut file, &[1; 4_096]).is_ok_and(|n| n > 0) {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

pub fn mount(args: &[&str], at: &Path) -> bool {
    let output = Command::new("mount").args(args).arg(at).output();
    output.is_ok_and(|output| output.status.success())
}
