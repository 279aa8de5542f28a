//! How fast and how large; prints, and asserts only what must not slip. `cargo test --test store -- --ignored --nocapture measure`

use std::time::{Duration, Instant};

use ackwarden::clock;
use ackwarden::ports::Store;
use ackwarden::store::SledStore;

use ackwarden::wire::stored::encode_block;

use super::model::{block, checkpoint, delta, detail};

const PARTITIONS: i32 = 4;

fn report(what: &str, since: Instant, store: &SledStore) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or_default();
    let memory = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<u64>().ok());
    println!(
        "{what}: {:.2} s, {} MB on disk, {} MB of memory",
        since.elapsed().as_secs_f64(),
        store.size_bytes() / 1_000_000,
        memory.unwrap_or(0) / 1_000,
    );
}

#[test]
#[ignore = "takes a while, and 1 GB of disk"]
fn measure_ten_million_outstanding() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let mut store = SledStore::open(&path).expect("open");
    let blocks_each = 10_000_000 / 1_024 / i64::from(PARTITIONS);
    for round in 0..3 {
        let full = checkpoint(
            (0..PARTITIONS)
                .map(|partition| {
                    let mut delta = delta("orders", partition, 1);
                    delta.blocks = (0..blocks_each)
                        .map(|n| block(n * 1_024, 1_024, round + n as u64))
                        .collect();
                    delta
                })
                .collect::<Vec<_>>(),
        );
        let started = clock::instant();
        store.write(&full).expect("write");
        report(&format!("all 10M written, round {round}"), started, &store);
    }
    for n in 0..5 {
        let small = checkpoint(
            (0..PARTITIONS)
                .map(|partition| {
                    let mut delta = delta("orders", partition, n);
                    delta.blocks = (0..25)
                        .map(|i| block((n * 25 + i) * 1_024, 700, 7))
                        .collect();
                    delta
                })
                .collect::<Vec<_>>(),
        );
        let started = clock::instant();
        store.write(&small).expect("write");
        report("100 blocks written", started, &store);
    }
    let started = clock::instant();
    drop(store);
    let mut store = SledStore::open(&path).expect("open");
    report("closed and opened", started, &store);
    let started = clock::instant();
    let partitions = store.load().expect("load").1;
    report("loaded", started, &store);
    let entries = |p: &ackwarden::ports::StoredPartition| {
        let image = p.image.as_ref().expect("trusted");
        image
            .blocks
            .iter()
            .map(|block| block.entries.len())
            .sum::<usize>()
    };
    println!("{} entries", partitions.iter().map(entries).sum::<usize>());
}

#[test]
#[ignore = "takes a while"]
fn measure_a_million_retried_at_once() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let mut store = SledStore::open(&path).expect("open");
    for (what, step) in [
        ("neighbours", 1),
        ("one in ten", 10),
        ("one in a hundred", 100),
    ] {
        let mut many = delta("orders", 0, 1);
        many.replace = true;
        many.details = (0..1_000_000).map(|i| detail(i * step, 1)).collect();
        let many = checkpoint([many]);
        let started = clock::instant();
        store.write(&many).expect("write");
        report(&format!("a million details, {what}"), started, &store);
        let mut few = delta("orders", 0, 2);
        few.details = (0..1_000).map(|i| detail(i * step * 1_000, 2)).collect();
        let few = checkpoint([few]);
        let started = clock::instant();
        store.write(&few).expect("write");
        report("a thousand of them changed, scattered", started, &store);
        let started = clock::instant();
        assert!(store.load().expect("load").1[0].image.is_some());
        report("loaded", started, &store);
    }
}

#[test]
#[ignore = "takes a while"]
fn measure_an_hour_of_checkpoints() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let mut store = SledStore::open(&path).expect("open");
    let started = clock::instant();
    let (mut largest_bytes, mut slowest) = (0, 0.0_f64);
    let (mut ratios, mut written) = (Vec::new(), Duration::ZERO);
    let live_each = encode_block(&block(0, 200, 7)).len() as f64;
    // 100 blocks a second come, all but one in 40 go again 20 s later: some messages are stuck.
    for n in 0..3_600_i64 {
        let mut delta = delta("orders", 0, n);
        delta.blocks = (n * 100..(n + 1) * 100)
            .map(|b| block(b * 1_024, 200, n as u64))
            .collect();
        let gone = ((n - 20) * 100..(n - 19) * 100).filter(|b| *b >= 0 && b % 40 != 0);
        delta.blocks.extend(gone.map(|b| block(b * 1_024, 0, 0)));
        let checkpoint = checkpoint([delta]);
        let write = clock::instant();
        store.write(&checkpoint).expect("write");
        slowest = slowest.max(write.elapsed().as_secs_f64());
        written += write.elapsed();
        // The newest 2,000, and one in 40 of those before.
        let live = ((n + 1).min(20) * 100 + (n - 19).max(0) * 100 / 40) as f64;
        if n >= 600 {
            ratios.push(store.size_bytes() as f64 / (live * live_each));
        }
        largest_bytes = largest_bytes.max(store.size_bytes());
        if n % 400 == 399 {
            report(&format!("checkpoint {n}"), started, &store);
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "largest {} MB, slowest {slowest:.2} s, {:.0} s of writing; of what is live it takes {:.2} times in the median, {:.2} \
         at most, since the tenth minute",
        largest_bytes / 1_000_000,
        written.as_secs_f64(),
        ratios[ratios.len() / 2],
        ratios[ratios.len() - 1],
    );
}
