//! Checkpoints of much that is outstanding while messages go by: how long they hold up the tracking, and what the store
//! takes on the disk.
//!
//! The thread that tracks what the readers hand over answers the API as well, one thing after the other. So it never stood
//! still for longer than from one answer to the next (but for the answer's way back) of a cheap question that is asked again
//! and again. That counts in HTTP, the asker and a busy machine: hence the baseline, the same without checkpoints. How
//! long the number of tracked messages stood still is shown besides; that counts in what had not arrived.

use std::time::Duration;

use ::ackwarden::clock;

use super::flow::{Pace, Sent};
use super::loaded::Loaded;
use super::procfs;
use super::serve::Serve;
use super::store_size;
use super::table::{Table, ms, quantile};

/// Longer than from one checkpoint to the next, so that each message is in one before it is settled.
const ACKED_AFTER: Duration = Duration::from_millis(1_500);
const PACE: Pace = Pace {
    per_second: 200_000,
    acked_after: ACKED_AFTER,
    lost_one_in: None,
};
const ASK_EVERY: Duration = Duration::from_millis(2);
const WATCHED: Duration = Duration::from_secs(20);
/// What the store is set to, and how its row is called.
const STORES: [(&str, &str); 2] = [
    ("checkpoints", ""),
    ("without-checkpoints", "checkpoint_interval = \"1h\"\n"),
];

/// About the most that two cores do beside a broker; the row says what was reached.
const CHURN_PER_SECOND: u64 = 400_000;
const CHURNED: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What `GET /stats` said, and when.
struct Answer {
    asked: Duration,
    at: Duration,
    tracked: u64,
    acked: u64,
    checkpoints: u64,
    checkpoint_last_ms: f64,
}

/// With checkpoints as configured by default, and without, in turn.
pub fn stalls(loaded: &mut Loaded<'_>, rounds: usize, table: &mut Table) {
    loaded.flow.pace = PACE;
    for _ in 0..rounds {
        for (who, store) in STORES {
            loaded.restart(store);
            let size_before = store_size::on_disk(&loaded.serve.store_dir());
            let serve = &loaded.serve;
            let (answers, sent) = loaded.flow.beside(|| watch(serve));
            let size_after = store_size::on_disk(&loaded.serve.store_dir());
            let mut more = stalls_of(&answers, sent);
            more.push(("store_mb_before", size_before as f64 / 1e6));
            more.push(("store_mb_after", size_after as f64 / 1e6));
            let (first, last) = ends(&answers);
            table.add(who, last.tracked - first.tracked, last.at - first.at, &more);
            loaded.wait_settled();
        }
    }
}

fn watch(serve: &Serve) -> Vec<Answer> {
    let start = clock::instant();
    let mut answers = Vec::new();
    while start.elapsed() < WATCHED {
        let asked = start.elapsed();
        let stats = serve.stats();
        let (topic, store) = (&stats["topics"][0], &stats["store"]);
        answers.push(Answer {
            asked,
            at: start.elapsed(),
            tracked: topic["tracked"].as_u64().expect("a number"),
            acked: topic["acked"].as_u64().expect("a number"),
            checkpoints: store["checkpoints"].as_u64().expect("a number"),
            checkpoint_last_ms: store["checkpoint_last_ms"].as_f64().unwrap_or(0.0),
        });
        std::thread::sleep(ASK_EVERY);
    }
    answers
}

fn stalls_of(answers: &[Answer], sent: Sent) -> Vec<(&'static str, f64)> {
    let (first, last) = ends(answers);
    let mut stalls: Vec<Duration> = answers.windows(2).map(|w| w[1].at - w[0].at).collect();
    let mut still = standstills(answers);
    let question_max = answers.iter().map(|a| a.at - a.asked).max();
    let seconds = (last.at - first.at).as_secs_f64();
    // Of those in the window alone.
    let new = answers.iter().filter(|a| a.checkpoints > first.checkpoints);
    let checkpoint_max_ms = new.map(|a| a.checkpoint_last_ms).fold(0.0, f64::max);
    vec![
        ("sent_per_second", sent.per_second()),
        (
            "settled_per_second",
            (last.acked - first.acked) as f64 / seconds,
        ),
        ("stall_p50_ms", ms(quantile(&mut stalls, 0.5))),
        ("stall_p99_ms", ms(quantile(&mut stalls, 0.99))),
        ("stall_max_ms", ms(quantile(&mut stalls, 1.0))),
        ("question_max_ms", ms(question_max.unwrap_or_default())),
        ("untracked_p50_ms", ms(quantile(&mut still, 0.5))),
        ("untracked_p99_ms", ms(quantile(&mut still, 0.99))),
        ("untracked_max_ms", ms(quantile(&mut still, 1.0))),
        ("sender_gap_max_ms", ms(sent.longest_gap)),
        ("checkpoints", (last.checkpoints - first.checkpoints) as f64),
        ("checkpoint_max_ms", checkpoint_max_ms),
    ]
}

/// How long the number of tracked messages was the same, each time; the last one may not be over.
fn standstills(answers: &[Answer]) -> Vec<Duration> {
    let moved = answers
        .windows(2)
        .filter(|w| w[1].tracked > w[0].tracked)
        .map(|w| w[1].at);
    let (first, last) = ends(answers);
    let mut before = first.at;
    moved
        .chain([last.at])
        .map(|at| at - std::mem::replace(&mut before, at))
        .collect()
}

fn ends(answers: &[Answer]) -> (&Answer, &Answer) {
    let first = answers.first().expect("an answer");
    (first, answers.last().expect("an answer"))
}

/// A minute at about full speed (not an hour): what the store takes, beside what of it is live. The coordinator ends, since its
/// store is opened here.
pub fn churn(mut loaded: Loaded<'_>, table: &mut Table) {
    loaded.restart("");
    loaded.flow.pace.per_second = CHURN_PER_SECOND;
    let serve = &loaded.serve;
    let size_before = store_size::on_disk(&serve.store_dir());
    let written = procfs::written_by(serve.pid());
    let counts = || (serve.checkpoints(), serve.count("tracked"));
    let (before, start) = (counts(), clock::instant());
    let (size_max, sent) = loaded.flow.beside(|| largest(serve));
    let (after, took) = (counts(), start.elapsed());
    let written = procfs::written_by(serve.pid()) - written;
    loaded.wait_settled();
    loaded.serve.terminate();
    let store = loaded.serve.store_dir();
    let size_after = store_size::on_disk(&store);
    let live = store_size::live(&store) as f64;
    table.add(
        "churn",
        after.1 - before.1,
        took,
        &[
            ("sent_per_second", sent.per_second()),
            ("checkpoints", (after.0 - before.0) as f64),
            ("written_mb", written as f64 / 1e6),
            ("store_mb_before", size_before as f64 / 1e6),
            ("store_mb_max", size_max as f64 / 1e6),
            ("store_mb_after", size_after as f64 / 1e6),
            ("live_mb", live / 1e6),
            ("max_of_live", size_max as f64 / live),
            ("after_of_live", size_after as f64 / live),
        ],
    );
}

/// The largest that the store was on the disk. While it is rewritten, both count.
fn largest(serve: &Serve) -> u64 {
    let (start, store) = (clock::instant(), serve.store_dir());
    let mut largest = 0;
    while start.elapsed() < CHURNED {
        largest = largest.max(store_size::on_disk(&store));
        std::thread::sleep(LOOK_EVERY);
    }
    largest
}
