//! Three brokers, two coordinators, two Services B, and everything that can be killed, stopped or spoilt is, one after the
//! other. The judges read the topics themselves. `CHAOS_FOR=30m` makes it longer, `CHAOS_SEED=n` draws the same faults.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ackwarden::clock;
use ackwarden::demo::order;
use ackwarden::demo::service_a::{ServiceA, ServiceAOptions};

use crate::chaos_faults::{Fault, ONCE, Stage, draw};
use crate::scene::{IN_FLIGHT_MS, Scene, let_pass, secs};
use crate::support::ackwarden::{Ackwarden, ServeConfig};
use crate::support::cluster::Cluster;
use crate::support::commits::commits_of;
use crate::support::dice::Dice;
use crate::support::judge_dead::{Promise, dead_lettered_as_promised};
use crate::support::judge_time::{self, Standstills, Window};
use crate::support::judge_twins::twins_are_messages;
use crate::support::records::{SeenRecord, committed};
use crate::support::service_b::ServiceB;
use crate::support::small_disk::SmallDisk;
use crate::support::topics::{self, TopicSpec};
use crate::support::{eventually, judge, machine, say_loudly, unique};

const PARTITIONS: i32 = 4;
const TIMEOUT_MS: i64 = 3_000;
/// On the topic with a limit: deliveries, and which orders its Service B never acknowledges.
const MAX_ATTEMPTS: u32 = 3;
const IGNORE_EVERY: u64 = 10;
/// Behind a standstill: a publish's own timeout of 1.5 s, and what brokers and clients take to find each other.
const SETTLING_MS: i64 = 3_000 + IN_FLIGHT_MS;
/// What a killed coordinator had sent may land that much later: its rebuild, and what is between.
const TWINS_FELT_MS: i64 = 2 * SETTLING_MS;
/// For what came when the faults were over.
const DRAINED_WITHIN: Duration = Duration::from_secs(400);
/// And after a long run, in which a Service B may be down for a minute.
const DRAINED_WITHIN_LONG: Duration = Duration::from_secs(1_800);

/// What `CHAOS_FOR` and `CHAOS_SEED` say.
fn wishes() -> (Option<Duration>, u64) {
    let wanted = std::env::var("CHAOS_FOR").ok();
    let wanted =
        wanted.map(|text| humantime::parse_duration(&text).expect("CHAOS_FOR is a duration"));
    let seed = std::env::var("CHAOS_SEED").ok();
    let seed = seed.map_or_else(
        || clock::wall_ms() as u64 % 100_000,
        |text| text.parse().expect("CHAOS_SEED is a number"),
    );
    (wanted, seed)
}

fn set(cluster: &Cluster, disk: Option<SmallDisk>, seed: u64) -> Stage {
    let brokers = cluster.brokers();
    let scenes = ["chaos", "chaos-limited"].map(|name| Scene {
        brokers: brokers.clone(),
        topic: unique(name),
    });
    for name in scenes.iter().flat_map(Scene::topics) {
        topics::create(&brokers, &TopicSpec::new(&name, PARTITIONS).replicated());
    }
    let keys = |max_attempts| {
        format!(
            "timeout = \"{TIMEOUT_MS}ms\"\nbackoff = 1.0\njitter = 0.0\nretry_rate = 300\nmax_attempts = {max_attempts}\n"
        )
    };
    let config = ServeConfig::new(&brokers, &scenes[0].group())
        .topic(&scenes[0].topic, &keys(0))
        .topic(&scenes[1].topic, &keys(MAX_ATTEMPTS));
    let first = match &disk {
        Some(disk) => config.clone().store(&disk.path().join("store")),
        None => config.clone(),
    };
    let coordinators = [first, config].map(Ackwarden::start).into();
    let b = |scene: &Scene| {
        // By hand: a group may take a member of before an outage for somebody else of its name.
        ServiceB::new(&brokers, &scene.topic)
            .with("--assign", &PARTITIONS.to_string())
            .with("--work-us", "500")
            .with("--batch", "100")
    };
    let services = [
        b(&scenes[0]).started(),
        b(&scenes[1])
            .with("--ignore-every", &IGNORE_EVERY.to_string())
            .started(),
    ];
    Stage::new(scenes, coordinators, disk, services, Dice(seed))
}

fn service_a(scene: &Scene, rate: u32) -> ServiceA {
    let options = ServiceAOptions {
        brokers: scene.brokers.clone(),
        topic: scene.topic.clone(),
        rate,
        count: None,
        first: 1,
        id_header: false,
    };
    ServiceA::start(options).expect("service A")
}

/// What the topics look like when all is over.
struct Seen {
    source: Vec<SeenRecord>,
    acks: Vec<SeenRecord>,
    dead: Vec<SeenRecord>,
}

impl Seen {
    fn of(scene: &Scene) -> Self {
        Self {
            source: scene.source(),
            acks: scene.acks(),
            dead: scene.dead_letters(),
        }
    }

    /// The originals whose order satisfies `wanted`.
    fn originals(&self, wanted: impl Fn(u64) -> bool) -> BTreeSet<String> {
        let is_wanted = |r: &&SeenRecord| {
            let number = r.value.as_deref().and_then(order::number);
            r.origin().is_none() && number.is_some_and(&wanted)
        };
        let originals = self.source.iter().filter(is_wanted);
        originals.map(SeenRecord::position).collect()
    }
}

/// What the group has committed of a topic, by partition.
fn newest_commits(brokers: &str, group: &str, topic: &str) -> Vec<(i32, i64)> {
    let newest = |p| committed(brokers, group, topic, p);
    let each = (0..PARTITIONS).map(|p| (p, newest(p).expect("a commit of each partition").0));
    each.collect()
}

#[test]
fn everything_is_killed_stopped_or_spoilt_in_turn_and_nothing_is_lost() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (wanted, seed) = wishes();
    say_loudly(&format!("CHAOS_SEED={seed}"));
    let mut stage = set(&cluster, SmallDisk::mount("200m"), seed);
    // Slower when it is for long: the judges keep all of it in memory.
    let (rate, drained_within) = match wanted {
        None => (50, DRAINED_WITHIN),
        Some(_) => (20, DRAINED_WITHIN_LONG),
    };
    let (a, limited_a) = (
        service_a(&stage.scenes[0], 3 * rate),
        service_a(&stage.scenes[1], rate),
    );
    let began = clock::instant();
    for fault in ONCE {
        if stage.can(fault) {
            stage.cause(&cluster, fault);
            let calm = stage.dice.ms(200, 2_000);
            std::thread::sleep(calm);
        } else {
            say_loudly(&format!("SKIPPED {fault:?}: it was NOT tested"));
        }
    }
    stage.down_max = secs(60);
    // A long run has this many at least, however slow the machine is.
    let kills_min = match wanted {
        Some(wanted) if wanted >= secs(1_800) => 200,
        _ => 10,
    };
    while wanted.is_some_and(|wanted| began.elapsed() < wanted || stage.kills < kills_min) {
        let fault = draw(&mut stage.dice);
        if stage.can(fault) {
            stage.cause(&cluster, fault);
            let calm = stage.dice.ms(200, 2_000);
            std::thread::sleep(calm);
        }
    }
    stage.b_comes_back(true);
    let faults_took = began.elapsed();
    // Told before anything is judged: a run that does not drain has told at least this.
    let mut counts: BTreeMap<Fault, u64> = BTreeMap::new();
    for (fault, _) in &stage.done {
        *counts.entry(*fault).or_default() += 1;
    }
    for (fault, times) in &counts {
        say_loudly(&format!("  {fault:?}: {times}"));
    }
    for (fault, window) in &stage.done {
        println!("  {fault:?} {} to {}", window.from_ms, window.to_ms);
    }
    say_loudly(&format!(
        "{} faults in {:.0} s (seed {seed}), {} SIGKILLs of a coordinator, {} leaders moved",
        stage.done.len(),
        faults_took.as_secs_f64(),
        stage.kills,
        stage.leaders_moved,
    ));
    let sent = a.stop().expect("service A").numbers();
    let limited_sent = limited_a.stop().expect("service A").numbers();
    stage.services[0].wait_for("all orders are processed", drained_within, |work| {
        std::thread::sleep(Duration::from_millis(500));
        let done: BTreeSet<u64> = work
            .iter()
            .filter(|w| w.what == 'P')
            .filter_map(|w| w.order)
            .collect();
        sent.is_subset(&done)
    });
    eventually("everything is settled", drained_within, || {
        std::thread::sleep(Duration::from_millis(500));
        stage.is_drained(PARTITIONS as usize).then_some(())
    });
    let drained_in = began.elapsed() - faults_took;
    let_pass(1.0);

    let [mut seen, mut limited] = [&stage.scenes[0], &stage.scenes[1]].map(Seen::of);
    let processed = stage.services[0].processed();
    let again = judge::all_processed(&sent, &processed);
    let standstills = Standstills {
        windows: stage.windows(Fault::is_a_standstill),
        settling_ms: SETTLING_MS,
    };
    let harmed: Vec<Window> =
        stage.windows(|fault| fault.harms_a_coordinator() || fault.is_a_standstill());
    let mut twins = Vec::new();
    for each in [&mut seen, &mut limited] {
        twins.extend(twins_are_messages(
            &mut each.source,
            &each.dead,
            &harmed,
            TWINS_FELT_MS,
        ));
    }
    let mut held_up = 0;
    let mut late = 0;
    let mut copies = 0;
    for each in [&seen, &limited] {
        let (source, acks) = (&each.source, &each.acks);
        held_up += judge_time::late_only_by_a_standstill(source, acks, IN_FLIGHT_MS, &standstills);
        late += judge::lateness_after_ack(source, acks).len();
        copies += judge::copies_identical(source);
        judge_time::none_before_its_timeout(source, TIMEOUT_MS, &stage.unlucky_steps());
    }
    judge::attempts_without_gaps(&seen.source, &[], u32::MAX, 1 + harmed.len());
    judge::attempts_without_gaps(
        &limited.source,
        &limited.dead,
        MAX_ATTEMPTS,
        1 + harmed.len(),
    );
    let promise = Promise {
        timeout_ms: TIMEOUT_MS,
        max_attempts: MAX_ATTEMPTS,
        slack_ms: IN_FLIGHT_MS,
        standstills,
    };
    let is_ignored = |n| n % IGNORE_EVERY == 0;
    let ignored = limited.originals(is_ignored);
    let ignored_sent = limited_sent.iter().filter(|n| is_ignored(**n)).count();
    assert!(
        ignored_sent > 20 && ignored.len() >= ignored_sent,
        "{ignored_sent} orders to be ignored were sent, {} are there",
        ignored.len()
    );
    let records = (
        limited.source.as_slice(),
        limited.acks.as_slice(),
        limited.dead.as_slice(),
    );
    let tally = dead_lettered_as_promised(records, &promise, &ignored, &harmed);
    judge::dead_letters_identical(&limited.source, &limited.dead);
    assert_eq!(seen.dead, [], "dead letters of a topic without a limit");
    // Asked for before they are read, since more of them may come.
    let (brokers, group) = (&stage.scenes[0].brokers, stage.scenes[0].group());
    let newest = [0, 1].map(|i| newest_commits(brokers, &group, &stage.scenes[i].topic));
    let commits = commits_of(brokers, &group);
    let mut looked_at = 0;
    for ((scene, each), newest) in stage.scenes.iter().zip([&seen, &limited]).zip(newest) {
        let commits = commits.get(&scene.topic).map_or(&[][..], Vec::as_slice);
        let missing = |of: &(i32, i64)| !commits.iter().any(|(_, p, offset)| (*p, *offset) == *of);
        let missing: Vec<_> = newest.into_iter().filter(missing).collect();
        assert_eq!(missing, [], "commits of {} that were not read", scene.topic);
        looked_at +=
            judge_time::never_committed_past_the_unsettled(commits, &each.source, &each.acks);
    }

    say_loudly(&format!(
        "drained in {:.0} s: sent {} and {}, processed {} of the first ({again} again), lost 0; of the second {} dead-lettered ({} of them never \
         acknowledged, {} with a late ACK, {} twice)",
        drained_in.as_secs_f64(),
        sent.len(),
        limited_sent.len(),
        processed.len(),
        tally.dead,
        ignored.len(),
        tally.late_acks,
        tally.twice,
    ));
    say_loudly(&format!(
        "copies {copies}, of them {} within 1 s after an ACK and {held_up} held up by a standstill, {} tracked as messages of \
         their own {:?}; the machine was late {} \
         times; {looked_at} commits looked at",
        late - held_up,
        twins.len(),
        &twins[..twins.len().min(10)],
        machine::standstills().windows.len(),
    ));
    assert!(stage.kills >= kills_min, "{} kills", stage.kills);
    assert!(stage.leaders_moved > 0);
}
