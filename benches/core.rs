//! The core alone on one thread: lifecycles (a message read, its ACK read, settled, checkpoints and commits on) a second.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is the report"
)]

mod workload;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use workload::{Rig, Shape, Traffic};

/// Batches in one measurement: few, as few are under way between the readers and the core.
const BATCHES: usize = 20;
/// Lifecycles until the shelf of settled messages is full, and some more.
const WARM_BATCHES: usize = 1_200;

fn lifecycles(c: &mut Criterion, name: &str, shape: Shape) {
    let mut group = c.benchmark_group("core");
    group.throughput(Throughput::Elements((BATCHES * workload::BATCH) as u64));
    group.sample_size(20);
    let mut rig = Rig::new(shape, Rig::limits());
    let mut traffic = Traffic::new(shape);
    for _ in 0..WARM_BATCHES / BATCHES {
        rig.run(traffic.batches(rig.generation, BATCHES));
    }
    let (settled, generation) = (rig.settled(), rig.generation);
    let mut is_run = false;
    group.bench_function(name, |b| {
        b.iter_batched(
            || traffic.batches(generation, BATCHES),
            |events| {
                is_run = true;
                rig.run(events);
            },
            BatchSize::PerIteration,
        );
    });
    // Not where the command line asks for others alone.
    assert_eq!(rig.settled() > settled, is_run);
    group.finish();
}

fn core(c: &mut Criterion) {
    let plain = Shape::default();
    lifecycles(c, "positions", plain);
    let many = Shape {
        partitions: 64,
        ack_partitions: 64,
        ..plain
    };
    lifecycles(c, "positions, 64 partitions", many);
    let far = Shape {
        lag: 1_000_000,
        ..plain
    };
    lifecycles(c, "positions, a million outstanding", far);
    let early = Shape {
        lag: -20_000,
        ..plain
    };
    lifecycles(c, "positions, ACKs read first", early);
    let ids = Shape { ids: true, ..plain };
    lifecycles(c, "36-character ids", ids);
    let many_ids = Shape { ids: true, ..far };
    lifecycles(c, "36-character ids, a million outstanding", many_ids);
}

criterion_group!(benches, core);
criterion_main!(benches);
