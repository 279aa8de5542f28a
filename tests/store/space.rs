//! A disk that is full, or read-only. Needs the right to mount a tmpfs; says so where it is missing.

use ackwarden::ports::{Store, StoreError};
use ackwarden::store::{SledStore, move_aside};

use super::model::{Model, block, checkpoint, delta, loaded};
use super::small_disk::{SmallDisk, mount};

#[test]
fn a_full_disk_is_told_and_gone_on_from() {
    let Some(disk) = SmallDisk::mount("24m") else {
        return;
    };
    let path = disk.path().join("store");
    let mut store = SledStore::open(&path).expect("open");
    let mut model = Model::default();
    let numbered = |n: i64| {
        let mut delta = delta("orders", 0, n);
        delta.blocks = (0..8)
            .map(|i| block((n * 8 + i) * 1_024, 1_024, n as u64))
            .collect();
        checkpoint([delta])
    };
    let (mut refused, mut n) = (0, 0);
    while refused < 5 {
        let checkpoint = numbered(n);
        match store.write(&checkpoint) {
            Ok(()) => {
                model.apply(&checkpoint);
                n += 1;
            }
            Err(StoreError::NoSpace { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(n < 1_000);
    }
    assert!(n > 10, "full after {n}");
    drop(store);

    // More room: what was acknowledged is there (or the one that was reported as failed), and writing goes on.
    assert!(mount(&["-o", "remount,size=96m"], disk.path()));
    let mut store = SledStore::open(&path).expect("open");
    let found = loaded(&mut store).1;
    let mut next = model.clone();
    next.apply(&numbered(n));
    assert!(found == model || found == next);
    for n in n..n + 5 {
        store.write(&numbered(n)).expect("write");
        model.apply(&numbered(n));
    }
    assert_eq!(loaded(&mut store).1, model);
}

#[test]
fn the_same_store_writes_again_when_space_is_freed() {
    let Some(disk) = SmallDisk::mount("24m") else {
        return;
    };
    let mut store = SledStore::open(&disk.path().join("store")).expect("open");
    let mut model = Model::default();
    for round in 0..4_i64 {
        let filler = disk.fill();
        let numbered = |n: i64| {
            let mut delta = delta("orders", 0, round * 100 + n);
            delta.blocks = (0..8)
                .map(|i| block((n % 4 * 8 + i) * 1_024, 1_024, n as u64))
                .collect();
            checkpoint([delta])
        };
        let mut failed = 0;
        for n in 0..50 {
            match store.write(&numbered(n)) {
                Ok(()) => model.apply(&numbered(n)),
                Err(StoreError::NoSpace { .. }) => failed += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(failed > 0);
        std::fs::remove_file(filler).expect("remove");
        store.write(&numbered(50)).expect("there is room again");
        model.apply(&numbered(50));
        assert_eq!(loaded(&mut store).1, model);
    }
}

#[test]
fn a_store_begun_on_a_full_disk_opens_when_space_is_freed() {
    let Some(disk) = SmallDisk::mount("4m") else {
        return;
    };
    let path = disk.path().join("store");
    let filler = disk.fill();
    for _ in 0..3 {
        let opened = SledStore::open(&path).and_then(|mut store| {
            let mut full = delta("orders", 0, 1);
            full.blocks = vec![block(0, 1_024, 1)];
            store.write(&checkpoint([full]))
        });
        assert!(
            matches!(opened, Err(StoreError::NoSpace { .. })),
            "{opened:?}"
        );
    }
    std::fs::remove_file(filler).expect("remove");
    let mut store = SledStore::open(&path).expect("there is room again");
    store
        .write(&checkpoint([delta("orders", 0, 1)]))
        .expect("write");
}

#[test]
fn a_read_only_disk_is_an_error_and_not_a_panic() {
    let Some(disk) = SmallDisk::mount("24m") else {
        return;
    };
    let path = disk.path().join("store");
    drop(SledStore::open(&path).expect("open"));
    assert!(mount(&["-o", "remount,ro"], disk.path()));
    let error = SledStore::open(&path).map(drop).expect_err("read-only");
    assert!(
        matches!(&error, StoreError::Broken { detail, .. } if detail.contains("Read-only")),
        "{error}"
    );
}

#[test]
fn a_store_on_its_own_mount_point_is_moved_aside_within_it() {
    let Some(disk) = SmallDisk::mount("24m") else {
        return;
    };
    let mut store = SledStore::open(disk.path()).expect("open");
    store
        .write(&checkpoint([delta("orders", 0, 1)]))
        .expect("write");
    drop(store);
    for _ in 0..3 {
        let target = move_aside(disk.path()).expect("moved");
        assert_eq!(target.parent(), Some(disk.path()));
        assert!(target.join("CURRENT").exists());
        let partitions = SledStore::open(disk.path())
            .expect("open")
            .load()
            .expect("load")
            .1;
        assert_eq!(partitions, []);
    }
}
