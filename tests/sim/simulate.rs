//! The simulation for long. `cargo run --profile simulation --example simulate -- --runs 10000000` ends at the first breach,
//! with its seed; `--every-breach` counts them.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// What worlds were like before is asked by the tests alone.
#![allow(dead_code)]

mod actors;
mod broker;
mod coverage;
mod damage;
mod faults;
mod group;
mod growth;
mod instance;
mod judge;
mod logs;
mod readers;
mod reference;
mod rng;
mod runs;
mod truth;
mod world;

use clap::Parser;
use mimalloc::MiMalloc;

use world::World;

/// A fifth of the time goes into allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Seeded schedules of the core in a world of faults, judged from outside.
#[derive(Parser)]
struct Arguments {
    /// How many.
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Say of each breach what it was, instead of ending at the first.
    #[arg(long)]
    every_breach: bool,
}

fn main() {
    let arguments = Arguments::parse();
    if arguments.every_breach {
        say_every_breach(arguments.from, arguments.runs);
    } else {
        runs::run_and_tell(arguments.from, arguments.runs);
    }
}

fn say_every_breach(from: u64, runs: u64) {
    let mut breached = 0;
    for seed in from..from + runs {
        let found = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            let instances = world.instances().count();
            let first = world.violations.into_iter().next()?;
            Some(format!("{instances} instances: {first}"))
        });
        if let Some(first) = found.unwrap_or_else(|_| Some("it panicked".into())) {
            breached += 1;
            println!("seed {seed}, {first}");
        }
    }
    println!("{breached} of {runs}");
    if breached > 0 {
        std::process::exit(1);
    }
}
