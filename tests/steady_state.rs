//! That the core allocates nothing in its steady state: what comes, is acknowledged and goes is worked on in memory that
//! is used again. A new block of offsets now and then moves a node of an index; that is all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is the report"
)]

#[path = "../benches/workload/mod.rs"]
mod workload;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use workload::{BATCH, Rig, Shape, Traffic};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: usize = 100;

/// Allocations for each thousand messages that come, are acknowledged and go.
fn allocations_per_batch(shape: Shape, checkpoint_every_ms: u64) -> f64 {
    let limits = ackwarden::core::CoreLimits {
        early_weight_max: 200_000,
        settled_max: 50_000,
        ..Rig::limits()
    };
    let mut rig = Rig::new(shape, limits);
    rig.checkpoint_every_ms = checkpoint_every_ms;
    let mut traffic = Traffic::new(shape);
    rig.run(traffic.batches(rig.generation, 2 * BATCHES));
    let events = traffic.batches(rig.generation, BATCHES);
    let settled = rig.settled();
    let region = Region::new(ALLOCATOR);
    rig.run(events);
    let change = region.change();
    assert!(rig.settled() - settled >= ((BATCHES - 10) * BATCH) as u64);
    (change.allocations + change.reallocations) as f64 / BATCHES as f64
}

// One test: the allocator counts for all threads.
#[test]
fn in_the_steady_state_nothing_is_allocated() {
    let plain = Shape::default();
    let many = Shape {
        partitions: 16,
        ack_partitions: 16,
        ..plain
    };
    let early = Shape {
        lag: -20_000,
        ..plain
    };
    let ids = Shape { ids: true, ..plain };
    for (name, shape, most) in [
        ("positions", plain, 0.5),
        ("16 partitions", many, 0.5),
        ("ACKs that come first", early, 3.0),
        ("36-character ids", ids, 0.5),
    ] {
        let found = allocations_per_batch(shape, 0);
        println!("{name}: {found} allocations for {BATCH} messages");
        assert!(found <= most, "{name}: {found} for {BATCH} messages");
    }
    // Ten checkpoints in these hundred batches: each lends the blocks that changed.
    let found = allocations_per_batch(plain, 10);
    println!("with ten checkpoints: {found} allocations for {BATCH} messages");
    assert!(found <= 20.0, "with checkpoints: {found}");
}
