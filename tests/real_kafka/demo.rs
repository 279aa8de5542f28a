//! The demo on its embedded broker, with no coordinator and with a naive one: its verdict is not a decoration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ackwarden::demo::{Coordinator, DemoOptions, Stage, run::run_on};

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
    let options = DemoOptions {
        duration: Some(Duration::from_secs(9)),
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
    let text = String::from_utf8(out).expect("text");
    eprintln!("{text}");
    assert_eq!(text.lines().last(), Some(tally.to_string().as_str()));
    assert!(tally.kills > 0 && tally.sent > 0, "{text}");
    assert!(tally.lost() > 0 && !tally.is_good(), "{text}");
    assert_eq!(tally.retries, 0);
    assert!(seen.expect("a stage").contains("[topics.\"orders\"]"));
}
