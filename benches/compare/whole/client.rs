//! Another's client, as a process that says "ready" and "done".

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::process::Guarded;
use crate::support::{eventually, scratch_dir, tail};

use super::DONE_WITHIN;

pub struct Client {
    process: Guarded,
    pub dir: PathBuf,
}

impl Client {
    pub fn start(command: &mut Command) -> Self {
        let dir = scratch_dir("compare-client");
        let out = File::create(dir.join("out")).expect("its output");
        let errors = File::create(dir.join("errors")).expect("its errors");
        command.stdout(out).stderr(errors).current_dir(&dir);
        Self {
            process: Guarded::spawn(command, Some(&dir)),
            dir,
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn wait_ready(&mut self) {
        eventually("the client is ready", DONE_WITHIN, || {
            self.has_said("ready")
        });
    }

    /// Looks each few milliseconds, unlike `eventually`: this is measured.
    pub fn wait_done(&mut self) {
        let start = ::ackwarden::clock::instant();
        while self.has_said("done").is_none() {
            assert!(start.elapsed() < DONE_WITHIN, "{}", self.errors());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn has_said(&mut self, word: &str) -> Option<()> {
        let said = fs::read_to_string(self.dir.join("out")).unwrap_or_default();
        if said.lines().any(|line| line == word) {
            return Some(());
        }
        if let Some(status) = self.process.exited() {
            panic!("the client ended with {status}:\n{}", self.errors());
        }
        None
    }

    fn errors(&self) -> String {
        tail(&self.dir.join("errors"), 40)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.process.kill9();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
