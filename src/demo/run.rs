//! The demo's order of events: broker, coordinator, A, B; B killed again and again; A stopped, the rest drained; the verdict.
//!
//! The coordinator is handed in as a closure, so that nothing here depends on how it is built. The count comes from what
//! was seen on the topics and in Service B's log.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::DemoError;
use super::broker::EmbeddedBroker;
use super::interrupt::Interrupts;
use super::observer::CopyObserver;
use super::screen::Screen;
use super::service_a::{Sent, ServiceA, ServiceAOptions};
use super::service_b_process::ServiceBProcess;
use super::stage::{Scratch, Stage};
use super::tally::{Tally, WorkLog};
use crate::clock;

const SOURCE: &str = "orders";
const ACKS: &str = "orders-acks";
const DEAD_LETTERS: &str = "orders-dlq";
const GROUP: &str = "ackwarden";
const STATE: &str = "ackwarden-state";
const PARTITIONS: i32 = 4;

/// Work on one order. With a batch of up to 20 that is filled for 0.2 s, a Service B can do 60 a second at least, and is in
/// the middle of a batch for about half of its time.
const WORK_US: u64 = 12_000;
const FILL_MS: u64 = 200;
/// What it keeps up with.
const RATE: u32 = 40;
/// Orders that a Service B gets done before it is killed: more than one batch, and never a whole number of them.
const LIFE_MIN: u64 = 30;
const LIFE_SPREAD: u64 = 80;
const STEP: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// About how long in all; `None`: until Ctrl-C.
    pub duration: Option<Duration>,
    /// Orders a second.
    pub rate: u32,
    /// The longest wait for the last order, once Service A has ended.
    pub drain_max: Duration,
    /// The program whose hidden command `demo-service-b` is Service B; `None`: this one.
    pub program: Option<PathBuf>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            duration: None,
            rate: RATE,
            drain_max: Duration::from_secs(60),
            program: None,
        }
    }
}

/// A coordinator that is running in this process.
pub trait Coordinator {
    /// Where its HTTP API listens.
    fn http(&self) -> Option<SocketAddr>;
    /// Messages that it still waits for; `None` while it cannot say.
    fn outstanding(&self) -> Option<u64>;
    /// Ends it, in order.
    fn stop(&mut self);
}

/// What went wrong with a coordinator, in words.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Plays the whole of it on standard output; the last line is the verdict. Ctrl-C ends it early, with the verdict too.
///
/// # Errors
/// [`DemoError`]: something did not start, or Kafka's client gave up.
pub fn run(
    options: &DemoOptions,
    start_coordinator: impl FnOnce(&Stage) -> Result<Box<dyn Coordinator>, StartError>,
) -> Result<Tally, DemoError> {
    let stdout = std::io::stdout();
    let live = stdout.is_terminal();
    run_on(stdout, live, options, start_coordinator)
}

/// [`run`], with the output of one's own.
///
/// # Errors
/// As for [`run`].
pub fn run_on(
    out: impl Write,
    live: bool,
    options: &DemoOptions,
    start_coordinator: impl FnOnce(&Stage) -> Result<Box<dyn Coordinator>, StartError>,
) -> Result<Tally, DemoError> {
    let interrupts = Interrupts::watch();
    let scratch = Scratch::new()?;
    let broker = EmbeddedBroker::start(&[
        (SOURCE, PARTITIONS),
        (ACKS, PARTITIONS),
        (DEAD_LETTERS, PARTITIONS),
        (STATE, 1),
    ])?;
    let stage = Stage {
        brokers: broker.bootstrap_servers().to_owned(),
        source: SOURCE.into(),
        ack_topic: ACKS.into(),
        dead_letter_topic: DEAD_LETTERS.into(),
        state_topic: STATE.into(),
        group_id: GROUP.into(),
        dir: scratch.path().to_path_buf(),
    };
    let coordinator =
        start_coordinator(&stage).map_err(|e| DemoError::Coordinator(e.to_string()))?;
    let mut screen = Screen::new(out, live);
    screen
        .welcome(&stage, coordinator.http())
        .map_err(DemoError::io("cannot write to", "standard output"))?;
    let mut play = Play::open(&stage, options, coordinator, screen, interrupts)?;
    play.act(options.duration)?;
    play.drain()?;
    play.close()
}

struct Play<W: Write> {
    coordinator: Box<dyn Coordinator>,
    screen: Screen<W>,
    interrupts: Interrupts,
    observer: CopyObserver,
    service_a: Option<ServiceA>,
    service_b: ServiceBProcess,
    sent: Sent,
    work: WorkLog,
    kills: u64,
    drain_max: Duration,
    /// `work.lines()` at which the present Service B is killed.
    kill_at: u64,
    started: Instant,
    /// Its numbers are final once Service A has ended.
    all_sent: Option<BTreeSet<u64>>,
}

impl<W: Write> Play<W> {
    fn open(
        stage: &Stage,
        options: &DemoOptions,
        coordinator: Box<dyn Coordinator>,
        screen: Screen<W>,
        interrupts: Interrupts,
    ) -> Result<Self, DemoError> {
        let log = stage.dir.join("service-b.log");
        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(DemoError::io("cannot find", "myself"))?,
        };
        let mut service_b = ServiceBProcess::new(program, service_b_arguments(stage, &log));
        service_b.start()?;
        let observer = CopyObserver::start(&stage.brokers, &stage.source, PARTITIONS)?;
        let service_a = ServiceA::start(ServiceAOptions {
            brokers: stage.brokers.clone(),
            topic: stage.source.clone(),
            rate: options.rate.max(1),
            count: None,
            first: 1,
            id_header: false,
        })?;
        Ok(Self {
            coordinator,
            screen,
            interrupts,
            observer,
            sent: service_a.sent(),
            service_a: Some(service_a),
            service_b,
            work: WorkLog::new(log),
            kills: 0,
            drain_max: options.drain_max,
            kill_at: life(0),
            started: clock::instant(),
            all_sent: None,
        })
    }

    /// A sends, B works and is killed, until it is time to drain.
    fn act(&mut self, duration: Option<Duration>) -> Result<(), DemoError> {
        // What was lost last comes back one timeout later, or two.
        let act_for = duration.map(|d| {
            d.saturating_sub((d / 3).clamp(Duration::from_secs(3), Duration::from_secs(12)))
        });
        while self.interrupts.count() == 0 && act_for.is_none_or(|d| self.started.elapsed() < d) {
            std::thread::sleep(STEP);
            self.look()?;
            if self.work.lines() >= self.kill_at {
                self.service_b.kill();
                self.kills += 1;
                self.service_b.start()?;
                self.kill_at = self.work.lines() + life(self.kills);
            }
        }
        if let Some(service_a) = self.service_a.take() {
            self.all_sent = Some(service_a.stop()?.numbers());
        }
        Ok(())
    }

    /// Until all that was sent is processed and settled; bounded, and given up at another Ctrl-C.
    fn drain(&mut self) -> Result<(), DemoError> {
        let interrupts = self.interrupts.count();
        let started = clock::instant();
        while started.elapsed() < self.drain_max && self.interrupts.count() == interrupts {
            let tally = self.look()?;
            if tally.lost() == 0 && self.coordinator.outstanding().is_none_or(|n| n == 0) {
                break;
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    fn close(mut self) -> Result<Tally, DemoError> {
        self.service_b.kill();
        self.work.read_on()?;
        // Before the verdict, which is to be the last line.
        self.coordinator.stop();
        let tally = self.tally();
        self.screen
            .line(&tally.to_string())
            .map_err(DemoError::io("cannot write to", "standard output"))?;
        Ok(tally)
    }

    fn look(&mut self) -> Result<Tally, DemoError> {
        self.service_b.check()?;
        self.work.read_on()?;
        let tally = self.tally();
        self.screen
            .show(
                self.started.elapsed(),
                &tally,
                self.coordinator.outstanding(),
            )
            .map_err(DemoError::io("cannot write to", "standard output"))?;
        Ok(tally)
    }

    /// Exact once Service A has ended; before, every order in the log counts as one of A's.
    fn tally(&self) -> Tally {
        let (sent, (processed, duplicates)) = match &self.all_sent {
            Some(sent) => (sent.len() as u64, self.work.of(sent)),
            None => {
                let distinct = self.work.processed().len() as u64;
                (self.sent.count(), (distinct, self.work.lines() - distinct))
            }
        };
        Tally {
            sent,
            processed,
            kills: self.kills,
            retries: self.observer.copies(),
            duplicates,
        }
    }
}

/// How many orders the n-th Service B lives for: spread, so that the kills hit each part of a batch.
const fn life(kills: u64) -> u64 {
    LIFE_MIN + (kills * 37 + 11) % LIFE_SPREAD
}

fn service_b_arguments(stage: &Stage, log: &Path) -> Vec<String> {
    [
        "demo-service-b",
        "--brokers",
        &stage.brokers,
        "--topic",
        &stage.source,
        "--ack-topic",
        &stage.ack_topic,
        // The embedded broker takes 3 s to form a group, and lets the next Service B wait out the session of the dead one:
        // by hand, it is back at once.
        "--assign",
        &PARTITIONS.to_string(),
        "--work-us",
        &WORK_US.to_string(),
        "--fill-ms",
        &FILL_MS.to_string(),
        "--until-stdin-closes",
        "--work-log",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([log.display().to_string()])
    .collect()
}
