//! The faults of the chaos test: what is done to coordinators, their stores, brokers and Service B, and in which order.
//!
//! Each is written down with its beginning and its end, since the judges allow for what was in flight around it.

use std::path::Path;
use std::time::{Duration, Instant};

use ackwarden::clock;

use crate::scene::{Scene, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::cluster::Cluster;
use crate::support::damage;
use crate::support::dice::Dice;
use crate::support::judge_time::Window;
use crate::support::process::Signal;
use crate::support::produce::NewRecord;
use crate::support::service_b::ServiceB;
use crate::support::small_disk::SmallDisk;

/// Longer than the coordinators' session, and than the brokers'.
const STANDSTILL: Duration = Duration::from_secs(8);
/// Until all replicas are in step again, on a machine that has much else to do.
const REPLICAS_BACK_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    CoordinatorKilled,
    StoreDeleted,
    StoreTruncated,
    StoreBitsFlipped,
    DiskFull,
    CoordinatorStopped,
    ClockStepped,
    BrokerKilled,
    BrokerStopped,
    AllBrokersKilled,
    LeadersMoved,
    ServiceBKilled,
    ServiceBDown,
    AcksFlooded,
}

use Fault::{
    AcksFlooded, AllBrokersKilled, BrokerKilled, BrokerStopped, ClockStepped, CoordinatorKilled,
    CoordinatorStopped, DiskFull, LeadersMoved, ServiceBDown, ServiceBKilled, StoreBitsFlipped,
    StoreDeleted, StoreTruncated,
};

impl Fault {
    /// What was submitted before may be appended when it is over.
    pub fn is_a_standstill(self) -> bool {
        matches!(
            self,
            CoordinatorStopped | BrokerKilled | BrokerStopped | AllBrokersKilled | LeadersMoved
        )
    }

    /// And for how long, when brokers are back. What a leader had and its followers had not when all were killed, an ACK, say, can be
    /// read only once they have it.
    fn felt_for_ms(self) -> i64 {
        match self {
            AllBrokersKilled => REPLICAS_BACK_MS,
            _ => 0,
        }
    }

    /// What it was about to do may be done twice.
    pub fn harms_a_coordinator(self) -> bool {
        matches!(
            self,
            CoordinatorKilled | StoreDeleted | StoreTruncated | StoreBitsFlipped | DiskFull
        )
    }
}

/// Once through, each of them at least once.
pub const ONCE: [Fault; 24] = [
    CoordinatorKilled,
    ServiceBKilled,
    LeadersMoved,
    StoreTruncated,
    BrokerKilled,
    CoordinatorKilled,
    ClockStepped,
    CoordinatorKilled,
    ServiceBDown,
    CoordinatorKilled,
    CoordinatorStopped,
    StoreDeleted,
    AcksFlooded,
    CoordinatorKilled,
    BrokerStopped,
    DiskFull,
    ServiceBKilled,
    ClockStepped,
    StoreBitsFlipped,
    AllBrokersKilled,
    CoordinatorKilled,
    CoordinatorStopped,
    CoordinatorKilled,
    StoreDeleted,
];

/// A checkpoint a second, on a busy machine.
const CHECKPOINT_WITHIN_MS: i64 = 3_000;
/// A coordinator that was started is caught up, and has sent what was due.
const BACK_WITHIN_MS: i64 = 10_000;

/// What a longer run draws from: how often each.
const SHARES: [(Fault, u64); 14] = [
    (CoordinatorKilled, 40),
    (StoreDeleted, 3),
    (StoreTruncated, 3),
    (StoreBitsFlipped, 3),
    (DiskFull, 2),
    (CoordinatorStopped, 3),
    (ClockStepped, 2),
    (BrokerKilled, 2),
    (BrokerStopped, 2),
    (AllBrokersKilled, 1),
    (LeadersMoved, 2),
    (ServiceBKilled, 3),
    (ServiceBDown, 1),
    (AcksFlooded, 1),
];

pub fn draw(dice: &mut Dice) -> Fault {
    let all: u64 = SHARES.iter().map(|(_, share)| share).sum();
    let mut at = dice.below(all);
    for (fault, share) in SHARES {
        if at < share {
            return fault;
        }
        at -= share;
    }
    unreachable!("the shares add up");
}

/// Everything that can be harmed.
pub struct Stage {
    /// Of the two topics; the second one's Service B never acknowledges some orders.
    pub scenes: [Scene; 2],
    pub coordinators: Vec<Ackwarden>,
    /// The disk of the first one's store, where it may have one of its own.
    pub disk: Option<SmallDisk>,
    pub services: [ServiceB; 2],
    pub dice: Dice,
    /// What was done, and from when to when.
    pub done: Vec<(Fault, Window)>,
    /// SIGKILLs of coordinators.
    pub kills: u64,
    /// Partitions that another broker led afterwards.
    pub leaders_moved: usize,
    /// The longest that Service B is down.
    pub down_max: Duration,
    /// Service B is down until then.
    b_back_at: Option<(Instant, i64)>,
}

impl Stage {
    pub fn new(
        scenes: [Scene; 2],
        coordinators: Vec<Ackwarden>,
        disk: Option<SmallDisk>,
        services: [ServiceB; 2],
        dice: Dice,
    ) -> Self {
        Self {
            scenes,
            coordinators,
            disk,
            services,
            dice,
            done: Vec::new(),
            kills: 0,
            leaders_moved: 0,
            down_max: secs(15),
            b_back_at: None,
        }
    }

    /// Whether it can be done here; that it cannot is said by whoever asks.
    pub fn can(&self, fault: Fault) -> bool {
        match fault {
            DiskFull => self.disk.is_some(),
            ClockStepped => cfg!(debug_assertions),
            _ => true,
        }
    }

    /// From when to when such faults were.
    pub fn windows(&self, wanted: impl Fn(Fault) -> bool) -> Vec<Window> {
        let done = self.done.iter().filter(|(fault, _)| wanted(*fault));
        done.map(|(fault, window)| Window {
            from_ms: window.from_ms,
            to_ms: window.to_ms + fault.felt_for_ms(),
        })
        .collect()
    }

    /// From where a wall clock was set and a coordinator died before it can have taken a checkpoint since, to where what it
    /// comes back with was due: the store's times are those of the other clock (docs/guarantees.md).
    pub fn unlucky_steps(&self) -> Vec<Window> {
        let steps = self.windows(|fault| fault == ClockStepped);
        let deaths = self.windows(Fault::harms_a_coordinator);
        let unlucky = |step: &Window| {
            let soon = (step.from_ms, step.to_ms + CHECKPOINT_WITHIN_MS);
            let death = deaths.iter().find(|d| d.touches(soon.0, soon.1))?;
            Some(Window {
                from_ms: step.from_ms,
                to_ms: death.to_ms + BACK_WITHIN_MS,
            })
        };
        steps.iter().filter_map(unlucky).collect()
    }

    pub fn cause(&mut self, cluster: &Cluster, fault: Fault) {
        self.b_comes_back(false);
        let from_ms = clock::wall_ms();
        self.inflict(cluster, fault);
        self.done.push((
            fault,
            Window {
                from_ms,
                to_ms: clock::wall_ms(),
            },
        ));
        for (i, coordinator) in self.coordinators.iter_mut().enumerate() {
            if let Some(status) = coordinator.wait_exit(Duration::ZERO) {
                panic!(
                    "coordinator {i} ended by itself with {status} after {fault:?}:\n{}",
                    coordinator.log()
                );
            }
        }
    }

    fn inflict(&mut self, cluster: &Cluster, fault: Fault) {
        let which = self.dice.below(self.coordinators.len() as u64) as usize;
        let node = &cluster.nodes[self.dice.below(3) as usize];
        let pause = self.dice.ms(0, 1_500);
        match fault {
            CoordinatorKilled => self.kill_and_restart(which, pause, |_, _| {}),
            StoreDeleted => self.kill_and_restart(which, Duration::ZERO, |store, _| {
                std::fs::remove_dir_all(store).expect("the store goes");
            }),
            StoreTruncated => self.kill_and_restart(which, pause, damage::truncate_one),
            StoreBitsFlipped => self.kill_and_restart(which, pause, damage::flip_bits),
            DiskFull => self.fill_the_disk(pause),
            CoordinatorStopped => {
                self.coordinators[which].signal(Signal::Stop);
                std::thread::sleep(STANDSTILL);
                self.coordinators[which].signal(Signal::Cont);
            }
            ClockStepped => {
                let step_ms = [HOUR_MS, -HOUR_MS, 0][self.dice.below(3) as usize];
                self.coordinators[which].set_wall_clock_off_by(step_ms);
            }
            BrokerKilled => {
                node.kill9();
                std::thread::sleep(pause + secs(2));
                node.start_again();
            }
            BrokerStopped => {
                node.pause();
                std::thread::sleep(STANDSTILL);
                node.resume();
            }
            AllBrokersKilled => {
                cluster.nodes.iter().for_each(|n| n.kill9());
                std::thread::sleep(pause);
                cluster.launch_all();
            }
            LeadersMoved => {
                let each = self.scenes.iter();
                let topics: Vec<String> = each.flat_map(Scene::topics).collect();
                self.leaders_moved += cluster.move_leaders(&topics);
            }
            ServiceBKilled => {
                let b = &mut self.services[self.dice.below(2) as usize];
                if self.b_back_at.is_none() {
                    b.kill9();
                    std::thread::sleep(pause);
                    b.start();
                }
            }
            ServiceBDown => {
                if self.b_back_at.is_none() {
                    self.services.iter_mut().for_each(ServiceB::kill9);
                    let down = self.dice.ms(10_000, self.down_max.as_millis() as u64);
                    self.b_back_at = Some((clock::instant() + down, clock::wall_ms()));
                }
            }
            AcksFlooded => self.flood(),
        }
    }

    /// When its time has come; the faults go on meanwhile. At once where one gave up on brokers that started slowly.
    pub fn b_comes_back(&mut self, at_once: bool) {
        let due = |(at, _): &mut (Instant, i64)| at_once || clock::instant() >= *at;
        if self.b_back_at.take_if(due).is_some() {
            self.services.iter_mut().for_each(ServiceB::start);
        }
        self.services.iter_mut().for_each(ServiceB::start_if_ended);
    }

    fn kill_and_restart(
        &mut self,
        which: usize,
        pause: Duration,
        harm: impl FnOnce(&Path, &mut Dice),
    ) {
        let coordinator = &mut self.coordinators[which];
        coordinator.kill9();
        self.kills += 1;
        std::thread::sleep(pause);
        let store = coordinator.store_path();
        if store.exists() {
            harm(&store, &mut self.dice);
        }
        coordinator.start_again_unready();
    }

    /// Half of the time the coordinator is killed while there is no room, and starts again without any.
    fn fill_the_disk(&mut self, pause: Duration) {
        let filler = self.disk.as_ref().expect("a disk").fill();
        std::thread::sleep(secs(1) + pause);
        if self.dice.below(2) == 0 {
            self.kill_and_restart(0, pause, |_, _| {});
            std::thread::sleep(secs(2));
        }
        std::fs::remove_file(filler).expect("the filler goes");
    }

    /// ACKs of nothing: of what is not there yet, of no partition, of ids that nobody has.
    fn flood(&self) {
        let topic = &self.scenes[0].topic;
        let nothing: Vec<NewRecord> = (0..20_000)
            .map(|n| match n % 3 {
                0 => NewRecord::ack(&format!("{topic}/0/{}", 10_000_000 + n)),
                1 => NewRecord::ack(&format!("nobody-{n}")),
                _ => NewRecord::ack(&format!("{topic}/99/{n}")),
            })
            .collect();
        self.scenes[0].say(&nothing);
    }

    /// Together they track all partitions of both topics, and nothing of them is unsettled.
    pub fn is_drained(&self, partitions: usize) -> bool {
        self.coordinators.iter().all(Ackwarden::is_ready)
            && self.scenes.iter().all(|scene| {
                let path = format!("/topics/{}", scene.topic);
                let mut tracked = 0;
                for coordinator in &self.coordinators {
                    let (status, view) = coordinator.try_get(&path);
                    let counts = view["counts"].as_object().cloned().unwrap_or_default();
                    if status != 200 || counts.values().any(|n| n.as_u64() != Some(0)) {
                        return false;
                    }
                    tracked += view["partitions"].as_array().map_or(0, Vec::len);
                }
                tracked == partitions
            })
    }
}
