//! Ten million outstanding messages: what each takes in memory, how long the longest call of the core is while others come
//! and go, how long a page takes, and how long the core takes to come back from a checkpoint.
//!
//! Times are those of the wall clock, and behind them the CPU's: where others use the machine too, that is what counts.
//!
//! `cargo bench --bench outstanding`, or with another number of messages: `cargo bench --bench outstanding -- 1000000`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is the report"
)]

mod workload;

use std::process::Command;
use std::time::Duration;

use ackwarden::clock;
use ackwarden::core::TopicIx;
use ackwarden::core::image::PartitionImage;
use ackwarden::core::view::{MessageFilter, State};
use ackwarden::wire::stored::{decode_block, encode_block};
use workload::{BATCH, Rig, Shape, Traffic};

/// Messages that come and that are acknowledged in each second of the core's time.
const CHANGE_BATCHES: usize = 200;
const SECONDS: usize = 10;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = args.iter().find_map(|arg| arg.parse().ok());
    let count: u64 = number.unwrap_or(10_000_000);
    for (name, ids) in [("positions", false), ("ids", true)] {
        if args.iter().any(|arg| arg == name) {
            let shape = Shape {
                ids,
                lag: i64::MAX / 2,
                ..Shape::default()
            };
            println!("{count} outstanding messages, {name}");
            return measure(shape, count);
        }
    }
    // Each in a process of its own: what one has given back, the other would be given.
    for name in ["positions", "ids"] {
        let mut own = Command::new(std::env::current_exe().unwrap());
        let status = own.args([name, &count.to_string()]).status().unwrap();
        assert!(status.success());
    }
}

fn measure(shape: Shape, count: u64) {
    let before = rss_bytes();
    let mut rig = Rig::new(shape, Rig::limits());
    rig.checkpoint_every_ms = 0;
    let mut traffic = Traffic::new(shape);
    let mut longest = Longest::default();
    for _ in 0..count / BATCH as u64 {
        let batch = traffic.sources();
        longest.time(|| rig.run(vec![batch]));
    }
    rig.pass(1_000);
    let grown = rss_bytes().saturating_sub(before);
    println!("  memory: {:.1} B each", grown as f64 / count as f64);
    println!("  longest call while they came: {longest}");

    let image = timed(|| rig.take_checkpoint());
    println!("  a checkpoint of everything, taken: {}", image.1);
    let stored: Vec<_> = image.0.into_iter().map(stored).collect();
    churn(&mut rig, &mut traffic);
    pages(&rig, shape);
    drop(rig);

    let (images, decoding) = timed(|| stored.iter().map(image_of).collect::<Vec<_>>());
    let mut images = images.into_iter();
    let (back, taking) =
        timed(|| Rig::with_images(shape, Rig::limits(), |_| images.next().map(Box::new)));
    assert_eq!(back.core.outstanding(), count);
    println!("  back from a checkpoint: decoded in {decoding}, taken over in {taking}");
}

/// A partition's checkpoint as bytes, and what else there is of it.
type Stored = (ackwarden::core::image::PartitionHeader, Vec<Vec<u8>>);

fn stored((_, _, change): (TopicIx, i32, ackwarden::core::image::PartitionChange)) -> Stored {
    let blocks = change.blocks.iter().map(encode_block).collect();
    (change.header, blocks)
}

fn image_of((header, blocks): &Stored) -> PartitionImage {
    PartitionImage {
        header: header.clone(),
        blocks: blocks.iter().map(|b| decode_block(b).unwrap()).collect(),
        details: Vec::new(),
    }
}

/// 200,000 messages a second come, as many of the oldest are acknowledged, and each second a checkpoint is taken, which is
/// held for half a second, as if it were being written.
fn churn(rig: &mut Rig, traffic: &mut Traffic) {
    let mut calls = Longest::default();
    let mut taken = Longest::default();
    let mut blocks = 0;
    for _ in 0..SECONDS {
        let checkpoint = taken.time(|| rig.take_checkpoint());
        blocks = checkpoint.iter().map(|(.., c)| c.blocks.len()).sum();
        let mut held = Some(checkpoint);
        for n in 0..CHANGE_BATCHES {
            if n == CHANGE_BATCHES / 2 {
                held = None;
            }
            let sources = traffic.sources();
            calls.time(|| rig.run(vec![sources]));
            for acks in traffic.acks_of(rig.generation, BATCH as u64) {
                calls.time(|| rig.run(vec![acks]));
            }
            calls.time(|| rig.pass(4));
        }
        drop(held);
    }
    println!("  200,000/s come and go: longest call {calls}");
    println!("  checkpoints meanwhile: taken in {taken}, {blocks} blocks in the last");
}

/// Pages of 50, each filter from the first page on along the cursor.
fn pages(rig: &Rig, shape: Shape) {
    let all = MessageFilter {
        limit: 50,
        ..MessageFilter::default()
    };
    let nothing = u64::MAX / 4;
    let filters = [
        ("no filter", all.clone()),
        (
            "newest first",
            MessageFilter {
                newest_first: true,
                ..all.clone()
            },
        ),
        (
            "attempt that none has",
            MessageFilter {
                min_attempt: 9,
                ..all.clone()
            },
        ),
        (
            "age that none has",
            MessageFilter {
                older_than_ms: Some(nothing),
                ..all.clone()
            },
        ),
        (
            "due now, newest first",
            MessageFilter {
                due_within_ms: Some(0),
                newest_first: true,
                ..all.clone()
            },
        ),
        (
            "parked",
            MessageFilter {
                states: vec![State::Parked],
                ..all.clone()
            },
        ),
        (
            "settled",
            MessageFilter {
                states: vec![State::Acked, State::Dead],
                ..all.clone()
            },
        ),
        (
            "dead",
            MessageFilter {
                states: vec![State::Dead],
                ..all.clone()
            },
        ),
        (
            "an id",
            MessageFilter {
                id: Some(workload::id_of(shape.partitions - 1, 700_000)),
                ..all
            },
        ),
    ];
    for (name, mut filter) in filters {
        let (mut calls, mut count) = (Longest::default(), 0);
        let ((), all) = timed(|| {
            while count < 40 {
                count += 1;
                let page = calls.time(|| rig.core.messages(&filter, rig.now));
                filter.cursor = page.next;
                if filter.cursor.is_none() {
                    break;
                }
            }
        });
        let each = all.1 / count;
        println!("  page of 50, {name}: {calls}; {each:.0?} of the CPU each");
    }
}

/// How long calls took.
#[derive(Default)]
struct Longest(Vec<Duration>);

/// By the wall clock and by the CPU, which the kernel tells on the spot only to some milliseconds.
#[derive(Clone, Copy)]
struct Took(Duration, Duration);

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0?} ({:.0?} of the CPU)", self.0, self.1)
    }
}

/// What this thread has used of the CPU.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn timed<R>(call: impl FnOnce() -> R) -> (R, Took) {
    let (began, used) = (clock::instant(), cpu());
    let result = call();
    (result, Took(began.elapsed(), cpu() - used))
}

impl Longest {
    fn time<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let began = clock::instant();
        let result = call();
        self.0.push(began.elapsed());
        result
    }
}

impl std::fmt::Display for Longest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
        write!(
            f,
            "{:?} (p99 {:?}, median {:?})",
            at(1.0),
            at(0.99),
            at(0.5)
        )
    }
}

fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
