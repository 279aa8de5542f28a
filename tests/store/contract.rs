//! What every adapter promises, run on each of them.

use std::path::PathBuf;

use ackwarden::ports::{Checkpoint, Store};
use ackwarden::store::{FaultyStore, MemoryStore, SledStore};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::model::{Model, any_checkpoint, block, checkpoint, delta, detail, identity, loaded};

/// An adapter, and how to restart it.
trait Adapter {
    fn fresh() -> Self;
    /// The store as a new process would open it; the one before is dropped.
    fn open(&self) -> Box<dyn Store>;
}

struct OnDisk {
    dir: TempDir,
    rewrite_floor_bytes: u64,
}

impl OnDisk {
    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }
}

impl Adapter for OnDisk {
    fn fresh() -> Self {
        Self {
            dir: tempfile::tempdir().expect("tempdir"),
            rewrite_floor_bytes: u64::MAX,
        }
    }

    fn open(&self) -> Box<dyn Store> {
        let store = SledStore::open(&self.path()).expect("open");
        Box::new(store.with_rewrite_floor(self.rewrite_floor_bytes))
    }
}

/// Rewrites its database after every checkpoint.
struct OnDiskRewriting(OnDisk);

impl Adapter for OnDiskRewriting {
    fn fresh() -> Self {
        Self(OnDisk {
            rewrite_floor_bytes: 0,
            ..OnDisk::fresh()
        })
    }

    fn open(&self) -> Box<dyn Store> {
        self.0.open()
    }
}

struct InMemory(MemoryStore);

impl Adapter for InMemory {
    fn fresh() -> Self {
        Self(MemoryStore::new())
    }

    fn open(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }
}

/// A faulty store without faults is a store.
struct Faultless(MemoryStore);

impl Adapter for Faultless {
    fn fresh() -> Self {
        Self(MemoryStore::new())
    }

    fn open(&self) -> Box<dyn Store> {
        Box::new(FaultyStore::new(self.0.clone()).0)
    }
}

macro_rules! contract {
    ($($adapter:ident in $module:ident),*; $($case:ident),* $(,)?) => {
        contract!(@ [$($adapter in $module),*] [$($case),*]);
    };
    (@ [] [$($case:ident),*]) => {};
    (@ [$adapter:ident in $module:ident $(, $more:ident in $more_module:ident)*] [$($case:ident),*]) => {
        mod $module {
            $(#[test] fn $case() { super::$case::<super::$adapter>(); })*
        }
        contract!(@ [$($more in $more_module),*] [$($case),*]);
    };
}

contract! {
    OnDisk in on_disk, OnDiskRewriting in on_disk_rewriting, InMemory in in_memory, Faultless in faultless;
    a_new_store_is_empty,
    the_identity_survives_and_is_replaced,
    a_checkpoint_survives_a_restart,
    a_block_without_entries_is_removed,
    a_changed_block_takes_the_place_of_the_one_before,
    details_come_change_and_go_one_by_one,
    many_details_come_and_go_at_random,
    replace_forgets_all_that_was_kept_before,
    partitions_do_not_touch_each_other,
    an_empty_checkpoint_changes_nothing,
    a_large_header_survives,
    loading_twice_gives_the_same,
    any_series_of_checkpoints_and_restarts_is_what_the_model_says,
}

/// Writes the checkpoints, with a restart after each, and compares with the model.
fn check<A: Adapter>(checkpoints: &[Checkpoint]) {
    let adapter = A::fresh();
    let mut model = Model::default();
    for checkpoint in checkpoints {
        adapter.open().write(checkpoint).expect("write");
        model.apply(checkpoint);
        assert_eq!(loaded(&mut *adapter.open()).1, model);
    }
}

fn a_new_store_is_empty<A: Adapter>() {
    let (identity, partitions) = A::fresh().open().load().expect("load");
    assert_eq!(identity, None);
    assert_eq!(partitions, []);
}

fn the_identity_survives_and_is_replaced<A: Adapter>() {
    let adapter = A::fresh();
    for name in ["first", "second"] {
        adapter.open().set_identity(&identity(name)).expect("set");
        let (found, model) = loaded(&mut *adapter.open());
        assert_eq!(found, Some(identity(name)));
        assert_eq!(model, Model::default());
    }
    let written = checkpoint([delta("orders", 0, 5)]);
    adapter.open().write(&written).expect("write");
    assert_eq!(loaded(&mut *adapter.open()).0, Some(identity("second")));
}

fn a_checkpoint_survives_a_restart<A: Adapter>() {
    let mut first = delta("orders", 3, 4_096);
    first.blocks = vec![block(1_024, 1_024, 1), block(3_072, 1, 2)];
    first.details = vec![detail(17, 4), detail(18, 5), detail(9_000, 6)];
    check::<A>(&[checkpoint([first])]);
}

fn a_block_without_entries_is_removed<A: Adapter>() {
    let mut first = delta("orders", 0, 1);
    first.blocks = vec![block(0, 1_024, 1), block(1_024, 9, 1)];
    let mut second = delta("orders", 0, 2);
    second.blocks = vec![block(0, 0, 0), block(512 * 1_024, 0, 0)];
    check::<A>(&[checkpoint([first]), checkpoint([second])]);
}

fn a_changed_block_takes_the_place_of_the_one_before<A: Adapter>() {
    let checkpoints: Vec<_> = [(1_024, 1), (3, 2), (900, 3), (1_024, 4), (1, 5)]
        .into_iter()
        .map(|(count, mark)| {
            let mut delta = delta("orders", 0, mark);
            delta.blocks = vec![block(2_048, count, mark as u64)];
            checkpoint([delta])
        })
        .collect();
    check::<A>(&checkpoints);
}

fn details_come_change_and_go_one_by_one<A: Adapter>() {
    let mut checkpoints = Vec::new();
    for step in 0..8_i64 {
        let mut delta = delta("orders", 0, step);
        delta.details = vec![
            detail(60 + step, 1),
            detail(61 + step, step as u64),
            detail(10_000 * step, 2),
        ];
        delta.details_gone = vec![60 + step - 1, 10_000 * (step - 1), 77];
        checkpoints.push(checkpoint([delta]));
    }
    check::<A>(&checkpoints);
}

fn many_details_come_and_go_at_random<A: Adapter>() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below) as i64
    };
    let mut checkpoints = Vec::new();
    for step in 0..24_u64 {
        let mut delta = delta("orders", 0, step as i64);
        // Grows first, then shrinks; now and then by a whole stretch.
        let (come, go) = if step < 10 { (400, 50) } else { (40, 600) };
        let mut origins: Vec<i64> = (0..come).map(|_| next(3_000) - 500).collect();
        origins.sort_unstable();
        origins.dedup();
        delta.details = origins
            .into_iter()
            .map(|origin| detail(origin, step))
            .collect();
        delta.details_gone = (0..go).map(|_| next(3_000) - 500).collect();
        if step % 5 == 4 {
            delta
                .details_gone
                .extend(step as i64 * 50..step as i64 * 50 + 400);
        }
        checkpoints.push(checkpoint([delta]));
    }
    check::<A>(&checkpoints);
}

fn replace_forgets_all_that_was_kept_before<A: Adapter>() {
    let mut first = delta("orders", 0, 1);
    first.blocks = vec![block(0, 500, 1), block(1_024, 500, 1)];
    first.details = vec![detail(1, 1), detail(999, 2)];
    let mut second = delta("orders", 0, 2);
    second.blocks = vec![block(1_024, 5, 2)];
    second.details = vec![detail(2, 1)];
    second.replace = true;
    let third = delta("orders", 0, 3);
    check::<A>(&[first, second, third].map(|delta| checkpoint([delta])));
}

fn partitions_do_not_touch_each_other<A: Adapter>() {
    let names = [
        ("a", 0),
        ("a", 1),
        ("a", i32::MAX),
        ("a.b", 0),
        ("", 0),
        ("A", 1),
    ];
    let of = |step: u64| {
        names.map(|(topic, partition)| {
            let mut delta = delta(topic, partition, i64::from(partition) + step as i64);
            let mark = step * 100 + topic.len() as u64 + partition as u64;
            delta.blocks = vec![block(1_024 * i64::from(partition % 7), 20, mark)];
            delta.details = vec![detail(i64::from(partition), mark)];
            delta.replace = step == 2 && topic == "a";
            delta
        })
    };
    let mut last = of(3);
    last.reverse();
    check::<A>(&[checkpoint(of(1)), checkpoint(of(2)), checkpoint(last)]);
}

fn an_empty_checkpoint_changes_nothing<A: Adapter>() {
    let mut first = delta("orders", 0, 1);
    first.blocks = vec![block(0, 10, 1)];
    check::<A>(&[checkpoint([]), checkpoint([first]), checkpoint([])]);
}

fn a_large_header_survives<A: Adapter>() {
    let mut large = delta("orders", 0, 1);
    large.header.acks_applied = (0..20_000).map(|p| (p, i64::from(p) << 30)).collect();
    large.header.low_acks = (0..20_000).map(|p| (p, i64::from(p) << 29)).collect();
    let small = delta("orders", 0, 2);
    check::<A>(&[
        checkpoint([large.clone()]),
        checkpoint([small]),
        checkpoint([large]),
    ]);
}

fn loading_twice_gives_the_same<A: Adapter>() {
    let adapter = A::fresh();
    let mut store = adapter.open();
    let mut written = delta("orders", 0, 1);
    written.blocks = vec![block(0, 10, 1)];
    let mut model = Model::default();
    for step in 0..3 {
        written.header.source_applied = step;
        written.details.push(detail(step, 2));
        let checkpoint = checkpoint([written.clone()]);
        store.write(&checkpoint).expect("write");
        model.apply(&checkpoint);
        assert_eq!(loaded(&mut *store).1, model);
        assert_eq!(loaded(&mut *store).1, model);
    }
}

fn any_series_of_checkpoints_and_restarts_is_what_the_model_says<A: Adapter>() {
    let step = (any_checkpoint(), prop::bool::weighted(0.4));
    let series = prop::collection::vec(step, 1..8);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(40)
    });
    let outcome = runner.run(&series, |series| {
        let adapter = A::fresh();
        let mut model = Model::default();
        let mut store = adapter.open();
        for (checkpoint, restart) in &series {
            store.write(checkpoint).expect("write");
            model.apply(checkpoint);
            if *restart {
                drop(store);
                store = adapter.open();
                prop_assert_eq!(&loaded(&mut *store).1, &model);
            }
        }
        drop(store);
        prop_assert_eq!(&loaded(&mut *adapter.open()).1, &model);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
