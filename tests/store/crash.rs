//! SIGKILL at any instant: what is found is a checkpoint, whole, and no older than the last one that was acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use ackwarden::clock;
use ackwarden::ports::{Checkpoint, Store};
use ackwarden::store::SledStore;

use super::model::{Model, block, checkpoint, delta, detail, loaded};

const CHILD_PATH: &str = "ACKWARDEN_TEST_STORE_PATH";
const CHILD_FROM: &str = "ACKWARDEN_TEST_STORE_FROM";
const CHILD_FLOOR: &str = "ACKWARDEN_TEST_STORE_REWRITE_FLOOR";
const KILLS: u64 = 24;

/// Checkpoint number `n` of a partition population in which blocks are filled, thinned out and removed, and now and
/// then a partition begins anew.
fn numbered(n: u64) -> Checkpoint {
    let partitions = [("orders", 0), ("orders", 1), ("payments", 0)].map(|(topic, partition)| {
        let mut delta = delta(topic, partition, n as i64);
        let newest = (n % 64) as i64;
        delta.blocks = vec![
            block(newest * 1_024, 1_024, n),
            block((newest - 1) * 1_024, 300 + (n % 700) as u16, n),
            block((newest - 6) * 1_024, 0, n),
            block(100 * 1_024, 50, n),
        ];
        delta.details = (0..20)
            .map(|i| detail((n as i64 * 7 + i * 13) % 900, n))
            .collect();
        delta.details.sort_by_key(|detail| detail.origin);
        delta.details.dedup_by_key(|detail| detail.origin);
        delta.details_gone = (0..10).map(|i| (n as i64 * 5 + i * 31) % 900).collect();
        delta.replace = n % 17 == 3 && partition == 1;
        delta
    });
    checkpoint(partitions)
}

/// Not a test: what the killed process runs. Says `begin N` and `done N` on its standard output.
#[test]
#[ignore = "the child process of the test below"]
fn child_writes_checkpoints_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD_PATH) else {
        return;
    };
    let number = |name: &str| {
        std::env::var(name)
            .expect("set")
            .parse::<u64>()
            .expect("a number")
    };
    let mut store = SledStore::open(Path::new(&path))
        .expect("open")
        .with_rewrite_floor(number(CHILD_FLOOR));
    for n in number(CHILD_FROM).. {
        say(&format!("begin {n}"));
        store.write(&numbered(n)).expect("write");
        say(&format!("done {n}"));
    }
}

/// Past the test harness' capture, in one piece.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{text}\n").as_bytes())
        .expect("pipe");
    out.flush().expect("pipe");
}

/// The child, killed when dropped.
struct Writer {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// The last checkpoint that it said it began, and the last that it said was done.
    begun: u64,
    done: u64,
}

impl Writer {
    fn start(path: &Path, from: u64, rewrite_floor_bytes: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("the test binary"))
            .args([
                "--exact",
                "crash::child_writes_checkpoints_until_it_is_killed",
            ])
            .args(["--ignored", "--nocapture", "--test-threads=1"])
            .env(CHILD_PATH, path)
            .env(CHILD_FROM, from.to_string())
            .env(CHILD_FLOOR, rewrite_floor_bytes.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let out = child.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            lines,
            begun: 0,
            done: 0,
        }
    }

    /// Waits until it has begun so many checkpoints.
    fn wait_begun(&mut self, count: u64) {
        for _ in 0..count {
            while !self.hear() {}
        }
    }

    /// The next thing that it says: whether it begins a checkpoint.
    fn hear(&mut self) -> bool {
        let line = self
            .lines
            .recv_timeout(Duration::from_secs(60))
            .expect("a line");
        self.note(&line)
    }

    fn note(&mut self, line: &str) -> bool {
        match line.split_once(' ') {
            Some(("begin", n)) => {
                self.begun = n.parse().expect("a number");
                return true;
            }
            Some(("done", n)) => self.done = n.parse().expect("a number"),
            _ => {}
        }
        false
    }

    /// Kills it and reads what it still said: the last checkpoint that was begun, and the last acknowledged.
    fn kill(mut self) -> (u64, u64) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        while let Ok(line) = self.lines.recv() {
            self.note(&line);
        }
        (self.begun, self.done)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The states after checkpoints 0, 1, 2 …
fn states() -> impl Iterator<Item = Model> {
    let mut model = Model::default();
    std::iter::once(model.clone()).chain((1..).map(move |n| {
        model.apply(&numbered(n));
        model.clone()
    }))
}

fn kill_again_and_again(rewrite_floor_bytes: u64) {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("store");
    let mut states = states().enumerate().peekable();
    let mut in_flight = 0;
    let mut known = 0_u64;
    for kill in 0..KILLS {
        let mut writer = Writer::start(&path, known + 1, rewrite_floor_bytes);
        let random = kill * 2_654_435_761 + u64::from(std::process::id());
        // Some while the store is opened, most somewhere within one of some writes, or just behind it.
        let wait_us = if kill % 8 == 0 {
            random % 20_000
        } else {
            writer.wait_begun(2 + kill % 5);
            random % 5_000
        };
        std::thread::sleep(Duration::from_micros(wait_us));
        let (begun, done) = writer.kill();
        let (begun, done) = (begun.max(known), done.max(known));
        in_flight += u64::from(begun > done);

        let started = clock::instant();
        let found = loaded(&mut SledStore::open(&path).expect("free at once")).1;
        assert!(started.elapsed() < Duration::from_secs(5));
        while states.next_if(|(n, _)| (*n as u64) < done).is_some() {}
        let before = states.peek().expect("endless").clone();
        let matched = if found == before.1 {
            done
        } else {
            states.next();
            let (n, after) = states.peek().expect("endless");
            assert!(
                *n as u64 <= begun,
                "acknowledged {done}, begun {begun}: found something else"
            );
            assert!(
                found == *after,
                "acknowledged {done}, begun {begun}: found a mixture"
            );
            begun
        };
        known = matched;
    }
    eprintln!("{KILLS} kills, {in_flight} of them within one of {known} writes");
    assert!(known > KILLS, "only {known} checkpoints were written");
    assert!(in_flight > KILLS / 4, "only {in_flight} kills hit a write");
}

#[test]
fn a_killed_writer_leaves_a_whole_checkpoint() {
    kill_again_and_again(u64::MAX);
}

#[test]
fn a_writer_killed_while_it_wins_back_space_leaves_a_whole_checkpoint() {
    kill_again_and_again(0);
}
