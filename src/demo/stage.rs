//! What the coordinator of the demo is given: addresses, names, a directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::DemoError;
use crate::clock;

/// Where the coordinator is to play.
#[derive(Debug)]
pub struct Stage {
    pub brokers: String,
    pub source: String,
    pub ack_topic: String,
    pub dead_letter_topic: String,
    pub state_topic: String,
    pub group_id: String,
    /// A directory of the demo's own, removed at its end.
    pub dir: PathBuf,
}

impl Stage {
    /// A configuration for the coordinator, in the words of its own file. The timeout is many times what
    /// Service B needs for a batch.
    #[must_use]
    pub fn config(&self, listen: SocketAddr) -> String {
        format!(
            "[kafka]\nbrokers = {:?}\ngroup_id = {:?}\nstate_topic = {:?}\n\
             [store]\npath = {:?}\n\
             [http]\nlisten = \"{listen}\"\n\
             [topics.{:?}]\nack_topic = {:?}\ndead_letter = {:?}\n\
             start = \"earliest\"\ntimeout = \"2s\"\nbackoff = 1.5\nmax_attempts = 10\n",
            self.brokers,
            self.group_id,
            self.state_topic,
            self.dir.join("store"),
            self.source,
            self.ack_topic,
            self.dead_letter_topic,
        )
    }
}

/// A directory that goes with the demo.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Self, DemoError> {
        let dir = std::env::temp_dir().join(format!(
            "ackwarden-demo-{}-{}",
            std::process::id(),
            clock::now().wall_ms
        ));
        std::fs::create_dir_all(&dir).map_err(DemoError::io("cannot create", &dir))?;
        Ok(Self(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
