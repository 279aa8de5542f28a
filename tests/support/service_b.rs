//! Service B as the tests start, kill and watch it: the hidden command of the built binary.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ::ackwarden::clock;

use super::process::Guarded;
use super::topics::acks_of;
use super::{scratch_dir, tail};

/// One Service B at a time; all incarnations share arguments and log.
pub struct ServiceB {
    arguments: Vec<String>,
    dir: PathBuf,
    process: Option<Guarded>,
    kills: u32,
}

/// One thing that Service B did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkLine {
    /// `P` processed, `N` nacked, `R` rejected, `E` extended, `I` ignored.
    pub what: char,
    /// Of the delivery that it read.
    pub position: String,
    pub order: Option<u64>,
}

impl ServiceB {
    /// Of that topic and its default ACK topic; not started yet. The session is short, so that a successor need not
    /// wait long for the dead.
    pub fn new(brokers: &str, topic: &str) -> Self {
        let dir = scratch_dir("service-b");
        let arguments = [
            "--brokers",
            brokers,
            "--topic",
            topic,
            "--ack-topic",
            &acks_of(topic),
            "--group",
            &format!("{topic}-service-b"),
            "--session-timeout-ms",
            "1500",
            "--work-log",
            &dir.join("work.log").display().to_string(),
        ];
        Self {
            arguments: arguments.map(str::to_owned).to_vec(),
            dir,
            process: None,
            kills: 0,
        }
    }

    /// Another argument of `ServiceBArgs`, e.g. `("--work-us", "2000")`.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    pub fn start(&mut self) {
        assert!(self.process.is_none(), "service B is running already");
        let errors = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("errors.log"))
            .expect("service B's error log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ackwarden"));
        command
            .arg("demo-service-b")
            .args(&self.arguments)
            .stdout(errors.try_clone().expect("service B's error log"))
            .stderr(errors);
        self.process = Some(Guarded::spawn(&mut command, Some(&self.dir)));
    }

    /// Starts the next one if this one has ended by itself: Kafka was away for longer than it waits.
    pub fn start_if_ended(&mut self) {
        let ended = |process: &mut Guarded| process.exited().is_some();
        if self.process.as_mut().is_some_and(ended) {
            self.process = None;
            self.start();
        }
    }

    /// SIGKILL: what it pulled and did not get done is gone, and so are the ACKs that it did not flush.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
            self.kills += 1;
        }
    }

    /// Lets it get `lines` more things done, kills it, and starts its successor; `times` over.
    pub fn kill_in_mid_work(&mut self, times: u32, lines: usize) {
        self.kill_in_mid_work_of(times, lines, |_, _| ());
    }

    /// [`kill_in_mid_work`](Self::kill_in_mid_work), and `more` may give it more to do meanwhile. It is told how much is done
    /// so far, and now and then that nothing was for a second: on a slow machine B gets more done than was asked for before it is
    /// killed.
    pub fn kill_in_mid_work_of(
        &mut self,
        times: u32,
        lines: usize,
        mut more: impl FnMut(usize, bool),
    ) {
        for _ in 0..times {
            let before = self.work().len();
            let (mut done, mut since) = (before, clock::instant());
            self.wait_for("service B works", Duration::from_secs(180), |work| {
                let idle = work.len() == done && since.elapsed() > Duration::from_secs(1);
                if idle || work.len() > done {
                    (done, since) = (work.len(), clock::instant());
                }
                more(done, idle);
                work.len() >= before + lines
            });
            self.kill9();
            self.start();
        }
    }

    pub fn kills(&self) -> u32 {
        self.kills
    }

    /// All that it did so far, in order; a line that is half-written is not there yet.
    pub fn work(&self) -> Vec<WorkLine> {
        let text = std::fs::read_to_string(self.dir.join("work.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(parse).collect()
    }

    /// The orders that it processed, in order, with repetitions.
    pub fn processed(&self) -> Vec<u64> {
        self.work()
            .into_iter()
            .filter(|line| line.what == 'P')
            .filter_map(|line| line.order)
            .collect()
    }

    /// Waits until it has processed all of these orders.
    pub fn wait_processed(&mut self, orders: &BTreeSet<u64>, limit: Duration) {
        self.wait_for("all orders are processed", limit, |work| {
            let processed = work.iter().filter(|line| line.what == 'P');
            let done: BTreeSet<u64> = processed.filter_map(|line| line.order).collect();
            orders.is_subset(&done)
        });
    }

    /// Waits until its work satisfies `done`.
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&[WorkLine]) -> bool,
    ) {
        let start = clock::instant();
        loop {
            let errors = || tail(&self.dir.join("errors.log"), 20);
            if let Some(process) = &mut self.process
                && let Some(status) = process.exited()
            {
                panic!("service B ended by itself with {status}:\n{}", errors());
            }
            let work = self.work();
            if done(&work) {
                return;
            }
            assert!(
                start.elapsed() < limit,
                "not within {limit:?}: {what}; it has done {} things so far, and said:\n{}",
                work.len(),
                errors()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for ServiceB {
    fn drop(&mut self) {
        self.process = None;
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn parse(line: &str) -> WorkLine {
    let mut words = line.split(' ');
    let (Some(what), Some(position), Some(order), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        panic!("not a line of service B: {line:?}");
    };
    WorkLine {
        what: what.chars().next().expect("a letter"),
        position: position.to_owned(),
        order: order.parse().ok(),
    }
}
