//! The mutation check: with one guard of the core switched off, the judges must find a breach within a bounded number of
//! schedules. A guard that nobody misses is a hole in the simulation, or not needed. `SIM_GUARD=Name` tries one alone,
//! `SIM_RUNS=n` for longer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ackwarden::core::guards::Guard;

use crate::world::World;

/// Schedules that a breach may take to be found.
const SCHEDULES_MAX: u64 = 300_000;

/// The first seed with a breach, and what it was.
fn first_breach(guard: Guard) -> Option<(u64, String)> {
    let schedules = crate::from_env("SIM_RUNS").unwrap_or(SCHEDULES_MAX);
    (0..schedules).find_map(|seed| {
        let run = || {
            let mut world = World::new(seed);
            world.run();
            world.violations.first().cloned()
        };
        // A world that comes apart is a breach too.
        let found = guard.without(|| catch_unwind(AssertUnwindSafe(run)));
        let breach = found.unwrap_or_else(|_| Some("it panicked".to_owned()))?;
        // Of the guard, and not of what the simulation would find anyway.
        assert_eq!(run(), None, "seed {seed} with all guards on");
        Some((seed, breach))
    })
}

#[test]
fn every_guard_is_missed_when_it_is_switched_off() {
    std::panic::set_hook(Box::new(|_| {}));
    let one = std::env::var("SIM_GUARD").ok();
    let all = Guard::ALL.iter().copied();
    let guards: Vec<Guard> = all
        .filter(|g| one.as_ref().is_none_or(|one| *one == format!("{g:?}")))
        .collect();
    let half = guards.len().div_ceil(2).max(1);
    let found: Vec<(Guard, Option<(u64, String)>)> = std::thread::scope(|scope| {
        let halves: Vec<_> = guards
            .chunks(half)
            .map(|guards| {
                scope.spawn(move || {
                    let each = guards.iter().map(|g| (*g, first_breach(*g)));
                    each.collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = halves.into_iter().map(|h| h.join().unwrap_or_default());
        joined.flatten().collect()
    });
    let _ = std::panic::take_hook();
    for (guard, breach) in &found {
        match breach {
            Some((seed, what)) => println!("{guard:?}: seed {seed}: {what}"),
            None => println!("{guard:?}: not missed"),
        }
    }
    assert!(!found.is_empty() && found.len() == guards.len());
    let unmissed: Vec<Guard> = found
        .iter()
        .filter(|(_, breach)| breach.is_none())
        .map(|(guard, _)| *guard)
        .collect();
    assert_eq!(unmissed, []);
}

#[test]
fn every_guard_is_asked() {
    for seed in 0..3_000 {
        World::new(seed).run();
    }
    let asked = Guard::asked();
    for (guard, times) in &asked {
        println!("{guard:?}: asked {times} times in 3,000 schedules");
    }
    let never = asked.iter().filter(|(_, times)| *times == 0);
    let never: Vec<_> = never.collect();
    assert!(never.is_empty(), "{never:?}");
}
