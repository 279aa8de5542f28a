//! The wall clock steps while it runs, through `src/clock.rs` and not the machine's: nothing is due by that.

use std::time::Duration;

use ackwarden::clock;
use serde_json::Value;

use crate::require_kafka;
use crate::scene::{Scene, let_pass, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::{eventually, say_loudly};

const HOUR: Duration = Duration::from_secs(3_600);

/// How far off the message's deadline is shown to be, by our own clock.
fn due_in_ms(message: &Value) -> i64 {
    let text = message["deadline"].as_str().expect("a deadline");
    let at = humantime::parse_rfc3339(text).expect("a time");
    let at_ms = at.duration_since(std::time::UNIX_EPOCH).expect("a time");
    i64::try_from(at_ms.as_millis()).expect("a time") - clock::wall_ms()
}

#[test]
fn a_step_of_the_wall_clock_by_an_hour_makes_nothing_due() {
    if !cfg!(debug_assertions) {
        say_loudly(
            "SKIPPED: a release build has no hook in its clock, so its steps were NOT tested",
        );
        return;
    }
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "clock", 1);
    let service = Ackwarden::start(scene.config("timeout = \"10m\"\n"));
    let position = scene.send_one("due in ten minutes");
    let path = format!("/messages/{position}");
    service.wait_state(&position, "outstanding", secs(60));
    for hours in [1, -1, 0] {
        let step_ms = hours * i64::try_from(HOUR.as_millis()).expect("an hour");
        service.set_wall_clock_off_by(step_ms);
        // It does see another time.
        eventually("it shows the deadline by its own clock", secs(60), || {
            let off_ms = due_in_ms(&service.get(&path)) - step_ms;
            (0..=600_000).contains(&off_ms).then_some(())
        });
        let_pass(2.0);
        assert_eq!(scene.copies_of(&position), [], "{hours}");
    }
    scene.ack(&position);
    service.wait_state(&position, "acked", secs(60));
}
