//! The demo on its embedded broker, with no coordinator and with a naive one: its verdict is not a decoration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ackwarden::demo::{Coordinator, DemoOptions, Stage, Tally, run::run_on};

/// Stands where the coordinator should be, and does nothing.
struct Absent;

impl Coordinator for Absent {
    fn http(&self) -> Option<SocketAddr> {
        None
    }

    fn outstanding(&self) -> Option<u64> {
        None
    }

    fn stop(&mut self) {}
}

#[test]
fn the_demo_without_a_coordinator_says_what_was_lost() {
    // On a busy machine Service B has hardly begun when a short one ends.
    let (tally, text) = [9, 30, 90]
        .into_iter()
        .map(play)
        .find(|(tally, _)| tally.kills > 1)
        .expect("a Service B that gets enough done to be killed");
    eprintln!("{text}");
    assert_eq!(text.lines().last(), Some(tally.to_string().as_str()));
    assert!(tally.sent > 0, "{text}");
    assert!(tally.lost() > 0 && !tally.is_good(), "{text}");
    assert_eq!(tally.retries, 0);
}

/// For so many seconds; the verdict, and all that was shown.
fn play(seconds: u64) -> (Tally, String) {
    let options = DemoOptions {
        duration: Some(Duration::from_secs(seconds)),
        drain_max: Duration::from_secs(3),
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_ackwarden"))),
        ..DemoOptions::default()
    };
    let mut out = Vec::new();
    let mut seen = None;
    let tally = run_on(&mut out, false, &options, |stage: &Stage| {
        seen = Some(stage.config("127.0.0.1:1".parse()?));
        Ok(Box::new(Absent))
    })
    .expect("the demo");
    assert!(seen.expect("a stage").contains("[topics.\"orders\"]"));
    (tally, String::from_utf8(out).expect("text"))
}
