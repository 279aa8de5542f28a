//! A commit that is broken off at every single step counts whole or not at all; what it left is cleared up.

use std::collections::BTreeMap;
use std::path::Path;

use super::key::{Kind, RecordId};
use super::records::{Records, VALUE_BYTES_MAX};
use super::trouble::Trouble;

type Contents = BTreeMap<RecordId, Vec<u8>>;

const SPACES: u32 = 4;

fn block(space: u32, at: i64) -> RecordId {
    RecordId {
        space,
        kind: Kind::Block,
        at,
    }
}

/// Opens and reads all; nothing may be damaged.
fn read(path: &Path) -> (Records, Contents) {
    let mut records = Records::open(path).expect("open");
    let mut contents = Contents::new();
    records
        .scan(&mut |id, body| {
            contents.insert(id, body.expect("intact").to_vec());
            Ok(())
        })
        .expect("scan");
    for (id, body) in &contents {
        assert_eq!(records.get(*id).expect("get").as_ref(), Some(body));
    }
    (records, contents)
}

/// Commit number `n`, as changes of the expected contents and of the records alike.
fn commit(n: u64, records: &mut Records, contents: &mut Contents) -> Result<(), Trouble> {
    let mut commit = records.begin()?;
    let mut put = |commit: &mut super::commit::Commit<'_>, id: RecordId, bytes: usize| {
        let body: Vec<u8> = (0..bytes).map(|i| (i as u64 * 31 + n) as u8).collect();
        contents.insert(id, body.clone());
        commit.put(id, &body)
    };
    for space in 0..SPACES {
        put(&mut commit, RecordId::root(space), 40 + n as usize)?;
    }
    // Records that grow and shrink by whole fragments, one written twice in a commit, one removed and written again.
    put(&mut commit, block(1, 0), (n as usize % 4) * VALUE_BYTES_MAX)?;
    put(&mut commit, block(1, 1), 3 * VALUE_BYTES_MAX)?;
    put(&mut commit, block(1, 1), 10)?;
    commit.remove(block(1, 1))?;
    if n.is_multiple_of(2) {
        put(&mut commit, block(1, 1), 20)?;
    } else {
        put(&mut commit, block(2, n as i64), VALUE_BYTES_MAX)?;
    }
    put(&mut commit, block(3, n as i64), 9)?;
    commit.remove(block(2, n as i64 - 2))?;
    if n.is_multiple_of(3) {
        commit.drop_space(3)?;
    }
    if !n.is_multiple_of(2) {
        contents.remove(&block(1, 1));
    }
    contents.remove(&block(2, n as i64 - 2));
    if n.is_multiple_of(3) {
        contents.retain(|id, _| id.space != 3);
    }
    commit.finish()
}

#[test]
fn a_commit_broken_off_at_any_step_counts_whole_or_not_at_all() {
    let (mut kept, mut gone) = (0, 0);
    for n in 1..=6 {
        for steps in 0.. {
            let dir = tempfile::tempdir().expect("tempdir");
            let (mut records, mut before) = read(dir.path());
            for earlier in 1..n {
                commit(earlier, &mut records, &mut before).expect("commit");
            }
            let mut after = before.clone();
            records.steps_left.set(steps);
            let finished = commit(n, &mut records, &mut after).is_ok();
            drop(records);
            // An error stops `commit` before it has told all that it meant to do.
            if !finished {
                after.clone_from(&before);
                let scratch = tempfile::tempdir().expect("tempdir");
                commit(n, &mut read(scratch.path()).0, &mut after).expect("commit");
            }

            let (mut records, found) = read(dir.path());
            assert!(
                found == before || found == after,
                "commit {n}, step {steps}: a mixture"
            );
            assert!(!finished || found == after);
            if found == before {
                gone += 1;
            } else {
                kept += 1;
            }
            // Whatever was left behind does not shine through later.
            let mut expected = found;
            for later in n + 1..n + 4 {
                commit(later, &mut records, &mut expected).expect("commit");
            }
            let live: u64 = records.live_bytes();
            drop(records);
            let (records, found) = read(dir.path());
            assert!(found == expected, "commit {n}, step {steps}: left-overs");
            assert_eq!(records.live_bytes(), live);
            assert_eq!(records.doomed, Vec::<super::key::FragmentKey>::new());
            let stored: u64 = records
                .db
                .iter()
                .flatten()
                .map(|(k, v)| (k.len() + v.len()) as u64)
                .sum();
            assert!(
                stored - live < 60,
                "{stored} bytes kept for {live} that count"
            );
            if finished {
                break;
            }
        }
    }
    assert!(kept > 50 && gone > 50, "{kept} {gone}");
}

#[test]
fn a_copy_holds_the_same_and_nothing_else() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    for path in [&old, &new] {
        std::fs::create_dir(path).expect("create");
    }
    let (mut records, mut expected) = read(&old);
    for n in 1..40 {
        commit(n, &mut records, &mut expected).expect("commit");
    }
    let mut copy = records.copy_into(&new).expect("copy");
    commit(40, &mut copy, &mut expected).expect("commit");
    drop(copy);
    let (records, found) = read(&new);
    assert!(found == expected);
    assert_eq!(records.committed, 40);
}

/// The fact that the size of a value follows from: larger leaves become files that sled leaks.
#[test]
fn values_are_small_enough_to_stay_out_of_blob_files() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut records, _) = read(dir.path());
    for n in 0..30_i64 {
        let mut commit = records.begin().expect("begin");
        commit.put(RecordId::root(1), &[]).expect("put");
        for at in 0..40 {
            let body = vec![n as u8; 3 * VALUE_BYTES_MAX];
            commit.put(block(1, n * 10 + at), &body).expect("put");
        }
        commit.finish().expect("finish");
    }
    let blobs = std::fs::read_dir(dir.path().join("blobs")).expect("blobs");
    assert_eq!(blobs.count(), 0);
}
