//! The directory: whose it is, which version it has, and that it does not grow for ever.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ackwarden::ports::{Store, StoreError};
use ackwarden::store::{SledStore, move_aside};

use super::model::{Model, block, checkpoint, delta, loaded};

#[test]
fn a_second_one_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let store = SledStore::open(&path).expect("open");
    assert!(matches!(
        SledStore::open(&path),
        Err(StoreError::InUse { .. })
    ));
    assert!(move_aside(&path).is_err());
    drop(store);
    SledStore::open(&path).expect("free at once");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    drop(SledStore::open(&path).expect("open"));
    let current = fs::read_to_string(path.join("CURRENT")).expect("read");
    assert_eq!(current, "ackwarden-store 1 1\n");
    fs::write(path.join("CURRENT"), "ackwarden-store 7 something else").expect("write");
    let error = SledStore::open(&path).map(drop).expect_err("newer");
    assert!(
        matches!(
            error,
            StoreError::Newer {
                found: 7,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(path.join("data-1/db").exists());
}

#[test]
fn directories_are_for_their_owner_only() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("deep/store");
    let _store = SledStore::open(&path).expect("open");
    for directory in [path.clone(), path.join("data-1")] {
        let mode = fs::metadata(&directory)
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
    }
}

#[test]
fn space_is_won_back_after_a_spike() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let floor_bytes = 4 << 20;
    let mut store = SledStore::open(&path)
        .expect("open")
        .with_rewrite_floor(floor_bytes);
    let mut model = Model::default();
    let mut spike_bytes = 0;
    for n in 0..60_i64 {
        let mut delta = delta("orders", 0, n);
        delta.blocks = match n {
            0..10 => (0..50)
                .map(|i| block((n * 50 + i) * 1_024, 1_024, 1))
                .collect(),
            10..50 => (0..12)
                .map(|i| block(((n - 10) * 12 + i) * 1_024, 0, 0))
                .collect(),
            _ => vec![block(n * 1_024 * 50, 5, 1)],
        };
        let checkpoint = checkpoint([delta]);
        store.write(&checkpoint).expect("write");
        model.apply(&checkpoint);
        spike_bytes = spike_bytes.max(store.size_bytes());
    }
    assert!(spike_bytes > 2 * floor_bytes, "{spike_bytes}");
    assert!(store.size_bytes() <= floor_bytes, "{}", store.size_bytes());
    assert_eq!(loaded(&mut store).1, model);
    drop(store);
    let mut store = SledStore::open(&path).expect("open");
    assert_eq!(loaded(&mut store).1, model);
}

#[test]
fn what_an_interrupted_rewriting_left_is_removed() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let mut store = SledStore::open(&path).expect("open");
    store
        .write(&checkpoint([delta("orders", 0, 1)]))
        .expect("write");
    drop(store);
    fs::create_dir_all(path.join("data-2/blobs")).expect("create");
    fs::write(path.join("data-2/db"), "half a database").expect("write");
    let mut store = SledStore::open(&path).expect("open");
    assert_eq!(loaded(&mut store).1.partitions.len(), 1);
    assert!(!path.join("data-2").exists());
}
