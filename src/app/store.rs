//! The store at the start: opened, or moved aside, or done without; and what it knows of us.

use std::path::Path;

use super::ServeError;
use crate::clock;
use crate::config::{Config, user};
use crate::ports::{Store, StoreError, StoreIdentity};
use crate::runtime::{Images, KeptImage};
use crate::store::{MemoryStore, SledStore, WaitingStore, move_aside};

pub(super) fn open_store(config: &Config) -> Result<Box<dyn Store>, ServeError> {
    let path = &config.store.path;
    match SledStore::open(path) {
        Ok(store) => Ok(Box::new(store)),
        Err(error @ (StoreError::InUse { .. } | StoreError::Newer { .. })) => Err(error.into()),
        Err(error @ StoreError::NoSpace { .. }) => {
            tracing::warn!(%error, "going on without a store until there is room; nothing is lost: a restart before that rebuilds everything from kafka");
            Ok(Box::new(WaitingStore::new(path)))
        }
        Err(error) => {
            tracing::warn!(%error, "the store cannot be opened");
            let is_aside = put_aside(path);
            match SledStore::open(path) {
                Ok(store) => Ok(Box::new(store)),
                Err(StoreError::Broken { path, detail }) if !is_aside => Err(StoreError::Broken {
                    path,
                    detail: format!(
                        "{detail}: make it writable for {}, or set store.path",
                        user()
                    ),
                }
                .into()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// In place of one that broke while it was in use.
pub(super) fn open_store_anew(path: &Path) -> Result<Box<dyn Store>, StoreError> {
    put_aside(path);
    match SledStore::open(path) {
        Ok(store) => Ok(Box::new(store)),
        Err(StoreError::NoSpace { .. }) => Ok(Box::new(WaitingStore::new(path))),
        Err(error) => Err(error),
    }
}

/// Whether it is out of the way.
fn put_aside(path: &Path) -> bool {
    match move_aside(path) {
        Ok(aside) => {
            tracing::warn!(aside = %aside.display(), "the store is moved aside, and rebuilt from kafka");
            true
        }
        Err(error) => {
            tracing::warn!(%error, "the store cannot be moved aside");
            false
        }
    }
}

/// What the store knows.
pub(super) struct Kept {
    /// The store's own id, made once at random: whoever has the store open is the only process with it.
    pub owner: String,
    /// For static membership: as configured, else the store's.
    pub instance_id: String,
    /// Those that count: the cluster is the same.
    pub images: Images,
}

pub(super) fn load_store(
    store: &mut Box<dyn Store>,
    config: &Config,
    cluster_id: &str,
) -> Result<Kept, ServeError> {
    let (identity, stored) = match store.load() {
        Ok(found) => found,
        Err(error @ (StoreError::InUse { .. } | StoreError::Newer { .. })) => {
            return Err(error.into());
        }
        Err(error) => {
            tracing::warn!(%error, "what the store holds cannot be used: everything is rebuilt from kafka");
            if matches!(error, StoreError::Broken { .. }) {
                // Closed before it is moved: it would not take a checkpoint either.
                *store = Box::new(MemoryStore::new());
                put_aside(&config.store.path);
                *store = open_store(config)?;
            }
            (None, Vec::new())
        }
    };
    let same_cluster = identity
        .as_ref()
        .is_none_or(|i| i.cluster_id.is_empty() || i.cluster_id == cluster_id);
    let owner = match identity {
        Some(identity) if !identity.instance_id.is_empty() => identity.instance_id,
        _ => random_id(),
    };
    if let Err(error) = store.set_identity(&StoreIdentity {
        instance_id: owner.clone(),
        cluster_id: cluster_id.to_owned(),
    }) {
        tracing::warn!(%error, "the store's identity could not be written");
    }
    let mut images = Images::new();
    for partition in stored {
        match partition.image {
            Some(image) if same_cluster => {
                let kept = KeptImage {
                    topic_id: partition.topic_id,
                    image,
                };
                images.insert((partition.topic, partition.partition), kept);
            }
            Some(_) => {}
            None => tracing::warn!(
                topic = partition.topic,
                partition = partition.partition,
                "what the store has of the partition cannot be trusted: it is rebuilt from kafka"
            ),
        }
    }
    let configured = config.kafka.instance_id.clone();
    Ok(Kept {
        instance_id: configured.unwrap_or_else(|| owner.clone()),
        owner,
        images,
    })
}

fn random_id() -> String {
    format!("ackwarden-{}", random_hex())
}

pub(super) fn random_hex() -> String {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = clock::now().wall_ms.to_be_bytes();
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load_text};

    fn open_at(path: &Path) -> Result<Box<dyn Store>, ServeError> {
        let text = format!("[store]\npath = {path:?}\n[topics.orders]");
        let loaded = load_text("", &text, std::iter::empty(), &Overrides::default());
        open_store(&loaded.unwrap().config)
    }

    #[test]
    fn a_store_that_cannot_be_written_says_for_whom_it_has_to_be_made_writable() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "not a store").unwrap();
        let error = open_at(&file).err().unwrap().to_string();
        assert!(error.contains("make it writable for uid "), "{error}");
        assert!(error.contains("store.path"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), b"not a store");
    }

    #[test]
    fn a_store_that_is_damaged_is_moved_aside_and_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        drop(open_at(&path).unwrap());
        std::fs::write(path.join("CURRENT"), "nonsense").unwrap();
        assert!(open_at(&path).is_ok());
        let names = std::fs::read_dir(dir.path()).unwrap();
        let mut names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
        assert!(names.any(|name| name.starts_with("store.broken-")));
    }
}
