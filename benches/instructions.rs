//! How many instructions the core and the decoders take for a fixed workload, and whether that is more than it was.
//!
//! Counted by callgrind, so that the answer is the same on a busy machine and on an idle one. The counts that hold are in
//! `benches/instructions.txt`; more than 5 % above one of them fails. Whoever makes something slower on purpose, or
//! faster, writes them anew with `-- --bless` and says why in the commit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is the report"
)]

mod records;
mod workload;

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use ackwarden::core::{CoreLimits, Event};
use ackwarden::wire::stored::{decode_block, encode_block};
use records::Records;
use workload::{BATCH, Rig, Shape, Traffic};

const BOUNDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// Above the bound by more than that many per cent is a failure.
const SLACK_PERCENT: u64 = 5;
/// Batches of a thousand messages and their ACKs.
const BATCHES: usize = 50;

const WORKLOADS: [&str; 11] = [
    "core-positions",
    "core-64-partitions",
    "core-acks-first",
    "core-ids",
    "core-storm",
    "decode-sources",
    "decode-sources-ids",
    "decode-acks",
    "decode-acks-ids",
    "encode-blocks-ids",
    "decode-blocks-ids",
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|a| a == "--workload") {
        work(&args[at + 1]);
        return ExitCode::SUCCESS;
    }
    let counts: Vec<(&str, u64)> = WORKLOADS.iter().map(|name| (*name, count(name))).collect();
    if args.iter().any(|a| a == "--bless") {
        let mut text = String::new();
        for (name, count) in &counts {
            writeln!(text, "{name} {count}").unwrap();
        }
        std::fs::write(BOUNDS, text).unwrap();
    }
    let bounds = std::fs::read_to_string(BOUNDS).unwrap();
    let mut failed = false;
    for (name, count) in counts {
        let line = bounds
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        let bound: u64 = line.expect("a bound for each workload").parse().unwrap();
        let change = 100.0 * (count as f64 / bound as f64 - 1.0);
        let over = count * 100 > bound * (100 + SLACK_PERCENT);
        let verdict = if over { "  TOO MANY" } else { "" };
        println!("{name:<20} {count:>12} instructions, {change:+6.2} % of {bound}{verdict}");
        failed |= over;
    }
    if failed {
        println!(
            "more than {SLACK_PERCENT} % above benches/instructions.txt: see the head of benches/instructions.rs"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The instructions between begin and end of [`measured`], in a process of its own.
fn count(name: &str) -> u64 {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*measured*")
        .arg(std::env::current_exe().unwrap())
        .args(["--workload", name])
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&out.stderr);
    let count = said.lines().find_map(|l| l.split("Collected :").nth(1));
    let count = count.unwrap_or_else(|| panic!("callgrind counted nothing for {name}:\n{said}"));
    count.trim().parse().unwrap()
}

#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn work(name: &str) {
    let plain = Shape::default();
    match name {
        "core-positions" => core(plain),
        "core-64-partitions" => core(Shape {
            partitions: 64,
            ack_partitions: 64,
            ..plain
        }),
        "core-acks-first" => core(Shape {
            lag: -20_000,
            ..plain
        }),
        "core-ids" => core(Shape { ids: true, ..plain }),
        "core-storm" => {
            let mut rig = Rig::new(plain, Rig::limits());
            let mut traffic = Traffic::new(plain);
            let sources: Vec<Event> = (0..BATCHES).map(|_| traffic.sources()).collect();
            rig.run(sources);
            let mut copies = 0;
            measured(&mut || copies = rig.storm());
            assert_eq!(copies, (BATCHES * BATCH) as u64, "not all were sent again");
        }
        "decode-sources" | "decode-sources-ids" => {
            let mut records = Records::new(name.ends_with("ids"));
            records.decode_sources();
            measured(&mut || records.decode_sources());
        }
        "decode-acks" | "decode-acks-ids" => {
            let mut records = Records::new(name.ends_with("ids"));
            records.decode_acks();
            measured(&mut || records.decode_acks());
        }
        "encode-blocks-ids" => {
            let block = records::block(true);
            measured(&mut || (0..10).for_each(|_| drop(black_box(encode_block(&block)))));
        }
        "decode-blocks-ids" => {
            let bytes = encode_block(&records::block(true));
            measured(&mut || (0..10).for_each(|_| drop(black_box(decode_block(&bytes)))));
        }
        other => panic!("no workload {other}"),
    }
}

fn core(shape: Shape) {
    let limits = CoreLimits {
        early_weight_max: 200_000,
        settled_max: 20_000,
        ..Rig::limits()
    };
    let mut rig = Rig::new(shape, limits);
    let mut traffic = Traffic::new(shape);
    rig.run(traffic.batches(rig.generation, BATCHES + BATCHES / 2));
    let mut events: Vec<Event> = traffic.batches(rig.generation, BATCHES);
    measured(&mut || rig.run(std::mem::take(&mut events)));
}
