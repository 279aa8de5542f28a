//! The store at the start: opened, or moved aside, or done without; and what it knows of us.

use super::ServeError;
use crate::clock;
use crate::config::Config;
use crate::ports::{Store, StoreError, StoreIdentity};
use crate::runtime::Images;
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
            let aside = move_aside(path);
            tracing::warn!(%error, ?aside, "the store is moved aside and rebuilt from kafka");
            Ok(Box::new(SledStore::open(path)?))
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
                let aside = move_aside(&config.store.path);
                tracing::warn!(?aside, "the store is moved aside and begun anew");
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
        topic_ids: Vec::new(),
    }) {
        tracing::warn!(%error, "the store's identity could not be written");
    }
    let mut images = Images::new();
    for partition in stored {
        match partition.image {
            Some(image) if same_cluster => {
                images.insert((partition.topic, partition.partition), image);
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
