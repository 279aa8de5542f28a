//! Damaged files: an error, a partition that is not trusted, or an older checkpoint; never wrong data in silence.

use std::fs;
use std::path::{Path, PathBuf};

use ackwarden::ports::{PartitionDelta, Store, StoreError};
use ackwarden::store::{SledStore, move_aside};

use super::model::{Model, block, checkpoint, delta, detail, identity, loaded};

const FLIPS: u64 = 300;

/// A store with some history, closed; and every state that it was in.
fn with_history(path: &Path) -> Vec<Model> {
    let mut store = SledStore::open(path).expect("open");
    store.set_identity(&identity("me")).expect("set");
    let mut states = vec![Model::default()];
    for n in 1..12_u64 {
        let partitions: [PartitionDelta; 3] = [0, 1, 2].map(|partition| {
            let mut delta = delta("orders", partition, n as i64);
            delta.blocks = vec![
                block(1_024 * (n as i64 % 5), 600, n),
                block(1_024 * (n as i64 - 4), 0, 0),
            ];
            delta.details = (0..15).map(|i| detail(i * 50 + n as i64, n)).collect();
            delta
        });
        let checkpoint = checkpoint(partitions);
        store.write(&checkpoint).expect("write");
        let mut next = states[states.len() - 1].clone();
        next.apply(&checkpoint);
        states.push(next);
    }
    states
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("within"));
        fs::create_dir_all(target.parent().expect("parent")).expect("create");
        fs::copy(&file, &target).expect("copy");
    }
    fs::create_dir_all(to.join("data-1/blobs")).expect("create");
}

#[derive(Debug, Default)]
struct Outcomes {
    refused: u64,
    distrusted: u64,
    missing: u64,
    older: u64,
    unharmed: u64,
}

/// Opens and loads; each partition must be as it once was, or not be handed out.
fn look(path: &Path, states: &[Model], outcomes: &mut Outcomes) {
    let loaded = SledStore::open(path).and_then(|mut store| store.load());
    let partitions = match loaded {
        Err(StoreError::Broken { .. }) => {
            outcomes.refused += 1;
            return;
        }
        Err(other) => panic!("{other}"),
        Ok((_, partitions)) => partitions,
    };
    if partitions.len() < 3 {
        outcomes.missing += 1;
    }
    for stored in partitions {
        let Some(image) = &stored.image else {
            outcomes.distrusted += 1;
            continue;
        };
        let state = states
            .iter()
            .rposition(|state| state.image(&stored.topic, stored.partition) == Some(image));
        match state {
            Some(n) if n + 1 == states.len() => outcomes.unharmed += 1,
            Some(_) => outcomes.older += 1,
            None => panic!(
                "{}/{} is wrong, and trusted",
                stored.topic, stored.partition
            ),
        }
    }
}

#[test]
fn a_flipped_bit_is_never_wrong_data_in_silence() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    let states = with_history(&good);
    let mut outcomes = Outcomes::default();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..FLIPS {
        copy(&good, &bad);
        let files = files(&bad);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Most of them where most of the bytes are.
        let file = match random % 10 {
            0 => &files[(random / 10) as usize % files.len()],
            _ => files
                .iter()
                .find(|file| file.ends_with("db"))
                .expect("a database"),
        };
        let mut bytes = fs::read(file).expect("read");
        if !bytes.is_empty() {
            let bit = (random >> 8) as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(file, bytes).expect("write");
        }
        look(&bad, &states, &mut outcomes);
    }
    assert!(outcomes.unharmed > 0, "{outcomes:?}");
    assert!(
        outcomes.refused + outcomes.distrusted + outcomes.missing + outcomes.older > FLIPS / 20,
        "{outcomes:?}"
    );
}

#[test]
fn a_file_cut_short_or_deleted_is_never_wrong_data_in_silence() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    let states = with_history(&good);
    let mut outcomes = Outcomes::default();
    for file in files(&good) {
        let len = fs::metadata(&file).expect("metadata").len();
        for part in 0..8 {
            copy(&good, &bad);
            let file = bad.join(file.strip_prefix(&good).expect("within"));
            if part == 0 {
                fs::remove_file(&file).expect("remove");
            } else {
                let file = fs::File::options().write(true).open(&file).expect("open");
                file.set_len(len * (part - 1) / 7).expect("cut");
            }
            look(&bad, &states, &mut outcomes);
        }
    }
    assert!(outcomes.refused > 0, "{outcomes:?}");
}

/// A database that was just closed: sled's own threads may hold its lock for a moment longer.
fn reopened(path: &Path) -> sled::Db {
    for _ in 0..100 {
        match sled::open(path) {
            Ok(db) => return db,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
    sled::open(path).expect("open")
}

/// Overwrites one stored value behind the store's back, in sled itself, so that sled's own checksums hold.
fn tamper(path: &Path, change: impl Fn(&[u8], &mut Vec<u8>) -> bool) {
    let db = reopened(&path.join("data-1"));
    let mut changed = 0;
    for pair in db.iter() {
        let (key, value) = pair.expect("pair");
        let mut value = value.to_vec();
        if change(&key, &mut value) {
            db.insert(key, value).expect("insert");
            changed += 1;
        }
    }
    assert!(changed > 0);
    db.flush().expect("flush");
}

const ROOT: u8 = 0;
const BLOCK: u8 = 1;

#[test]
fn a_damaged_block_costs_its_partition_and_no_other() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let states = with_history(&path);
    tamper(&path, |key, value| {
        let hit = key.len() > 6 && key[3] == 2 && key[4] == BLOCK;
        if hit {
            value[50] ^= 1;
        }
        hit
    });
    let mut outcomes = Outcomes::default();
    look(&path, &states, &mut outcomes);
    assert_eq!((outcomes.distrusted, outcomes.unharmed), (1, 2));

    // Deltas on top do not make it whole; a replacement does.
    let trusted = || {
        let mut store = SledStore::open(&path).expect("open");
        let partitions = store.load().expect("load").1;
        partitions.iter().filter(|p| p.image.is_some()).count()
    };
    let all = |replace| {
        let deltas = [0, 1, 2].map(|partition| PartitionDelta {
            replace,
            blocks: vec![block(0, 1_024, 99)],
            details: vec![detail(3, 3)],
            ..delta("orders", partition, 99)
        });
        SledStore::open(&path)
            .expect("open")
            .write(&checkpoint(deltas))
            .expect("write");
    };
    all(false);
    assert_eq!(trusted(), 2);
    all(true);
    assert_eq!(trusted(), 3);
}

#[test]
fn a_damaged_header_is_not_handed_out_and_its_remains_go() {
    for at in 0..40 {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("store");
        let states = with_history(&path);
        tamper(&path, |key, value| {
            let hit = key.len() > 6 && key[3] == 2 && key[4] == ROOT;
            if hit {
                value[at] ^= 1;
            }
            hit
        });
        let mut outcomes = Outcomes::default();
        look(&path, &states, &mut outcomes);
        assert_eq!(
            (outcomes.missing, outcomes.unharmed),
            (1, 2),
            "{outcomes:?}"
        );

        let anew = checkpoint([delta("orders", 1, 500)]);
        SledStore::open(&path)
            .expect("open")
            .write(&anew)
            .expect("write");
        let (_, model) = loaded(&mut SledStore::open(&path).expect("open"));
        assert_eq!(model.partitions.len(), 3);
        let image = model.image("orders", 1).expect("kept");
        assert_eq!((image.blocks.len(), image.details.len()), (0, 0));
        let db = reopened(&path.join("data-1"));
        assert!(
            db.iter()
                .keys()
                .flatten()
                .all(|key| key.len() <= 6 || key[3] != 2),
            "remains"
        );
    }
}

#[test]
fn a_value_that_vanished_or_came_back_is_noticed() {
    for (vanish, bring_back) in [(true, false), (false, true)] {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("store");
        let mut store = SledStore::open(&path).expect("open");
        let mut first = delta("orders", 0, 1);
        first.blocks = vec![block(0, 5, 1), block(1_024, 5, 1)];
        store.write(&checkpoint([first])).expect("write");
        drop(store);
        let saved: Vec<_> = {
            let db = reopened(&path.join("data-1"));
            let pairs = db
                .iter()
                .flatten()
                .filter(|(key, _)| key.len() > 6 && key[4] == BLOCK);
            let pairs: Vec<_> = pairs.collect();
            if vanish {
                db.remove(&pairs[0].0).expect("remove");
            }
            pairs
        };
        if bring_back {
            let mut second = delta("orders", 0, 2);
            second.blocks = vec![block(0, 0, 0)];
            SledStore::open(&path)
                .expect("open")
                .write(&checkpoint([second]))
                .expect("write");
            let db = reopened(&path.join("data-1"));
            db.insert(&saved[0].0, &saved[0].1).expect("insert");
        }
        let partitions = SledStore::open(&path)
            .expect("open")
            .load()
            .expect("load")
            .1;
        assert_eq!(partitions.len(), 1);
        assert_eq!(partitions[0].image, None);
    }
}

/// sled alone would refuse to open for ever after.
#[test]
fn an_opening_that_was_broken_off_is_harmless() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let states = with_history(&path);
    for half in [&b""[..], b"half a snapshot"] {
        fs::write(path.join("data-1/snap.7FFFFFFFFFFFFFFF.generating"), half).expect("write");
        let mut outcomes = Outcomes::default();
        look(&path, &states, &mut outcomes);
        assert_eq!(outcomes.unharmed, 3, "{outcomes:?}");
    }
}

#[test]
fn a_broken_store_moved_aside_makes_room_for_a_new_one() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    with_history(&path);
    fs::write(path.join("CURRENT"), "nonsense").expect("write");
    assert!(matches!(
        SledStore::open(&path),
        Err(StoreError::Broken { .. })
    ));
    let target = move_aside(&path).expect("moved");
    assert!(target.exists());
    let (identity, partitions) = SledStore::open(&path).expect("open").load().expect("load");
    assert_eq!((identity, partitions.len()), (None, 0));
}
