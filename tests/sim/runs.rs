//! Many seeds, on all cores: some thousands of them in `cargo test`, millions with `simulate.rs`.

use std::thread::available_parallelism;

use crate::world::{Seen, World};

/// A long run says after so many what it has seen, in case that it is not let come to its end.
const CHUNK: u64 = 500_000;

/// Runs it, and panics at a breach.
pub fn judged(seed: u64, mut world: World) -> World {
    world.run();
    assert!(
        world.violations.is_empty(),
        "seed {seed}: {:#?}\n{:?}\npolicy {:?}",
        &world.violations[..world.violations.len().min(5)],
        world.faults_drawn,
        world.policy,
    );
    world
}

/// Runs so many seeds, and says what was seen in them; panics at a breach, or where too little was seen.
pub fn run_and_tell(from: u64, runs: u64) {
    let mut total = Seen::default();
    let mut done = 0;
    while done < runs {
        let chunk = (runs - done).min(CHUNK);
        total += run_all(from + done, chunk);
        done += chunk;
        println!("{done} schedules from seed {from}: {total:#?}");
    }
    // A world in which nothing happens would prove nothing.
    if runs >= 400 {
        assert_eq!(total.coverage.effects_not_seen(), Vec::<&str>::new());
    }
    assert!(total.crashes > runs / 4 && total.republished > runs && total.dead > runs / 4);
    assert!(total.ambiguous > runs / 10 && total.rebalances > runs / 4);
    assert!(total.together > runs);
    assert!(total.sources_grown > runs / 20 && total.acks_grown > runs / 20);
    assert!(total.appeared > runs / 20);
}

fn run_all(from: u64, runs: u64) -> Seen {
    let threads = available_parallelism().map_or(2, |n| n.get() as u64);
    std::thread::scope(|scope| {
        let each: Vec<_> = (0..threads)
            .map(|n| {
                scope.spawn(move || {
                    let mine = (from..from + runs).filter(|seed| seed % threads == n);
                    let mut total = Seen::default();
                    mine.for_each(|seed| total += judged(seed, World::new(seed)).seen);
                    total
                })
            })
            .collect();
        let mut total = Seen::default();
        for thread in each {
            total += thread.join().expect("a breach was found: it is above");
        }
        total
    })
}
