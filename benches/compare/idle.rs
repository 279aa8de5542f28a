//! What Ackwarden costs while nothing happens: ten topics of four partitions, all read to their ends.

use std::time::Duration;

use ::ackwarden::clock;

use super::arguments::Arguments;
use super::procfs;
use super::serve::{self, Serve, Setup};
use super::support::kafka::{Kafka, KafkaOptions};
use super::support::say_loudly;
use super::support::topics::{self, TopicSpec, acks_of};
use super::table::Table;
use super::workload::{Ids, SOURCE};

const TOPICS: usize = 10;
/// Births, first commits and the first checkpoint are over by then.
const SETTLES: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(30);

pub fn run(arguments: &Arguments) {
    let Some(kafka) = Kafka::start(KafkaOptions::default().measured()) else {
        return;
    };
    let brokers = kafka.brokers();
    let mut more = String::new();
    for n in 0..TOPICS {
        let name = if n == 0 {
            SOURCE.to_owned()
        } else {
            format!("idle-{n}")
        };
        topics::create(&brokers, &TopicSpec::new(&name, 4));
        topics::create(&brokers, &TopicSpec::new(&acks_of(&name), 4));
        if n > 0 {
            more.push_str(&format!("[topics.{name:?}]\nstart = \"earliest\"\n"));
        }
    }
    let mut serve = Serve::start(
        serve::built(),
        &brokers,
        Setup {
            more: &more,
            ..Setup::of(Ids::Positions)
        },
    );
    serve.wait_ready();
    std::thread::sleep(SETTLES);
    let mut table = Table::new("idle");
    let pid = serve.pid();
    for _ in 0..arguments.rounds.min(3) {
        let before = (
            procfs::cpu_by_thread(pid),
            procfs::written_by(pid),
            procfs::switches_of(pid),
        );
        let start = clock::instant();
        std::thread::sleep(MEASURED);
        let took = start.elapsed();
        let (after, sum) = (procfs::cpu_by_thread(pid), |t: &[(String, Duration)]| {
            t.iter().map(|(_, spent)| spent.as_secs_f64()).sum::<f64>()
        });
        for (thread, spent) in after.iter().take(8) {
            let earlier = before.0.iter().find(|(name, _)| name == thread);
            let used = *spent - earlier.map_or(Duration::ZERO, |(_, spent)| *spent);
            let share = used.as_secs_f64() / took.as_secs_f64() * 100.0;
            say_loudly(&format!("    {thread}: {share:.2} % of a core"));
        }
        let seconds = took.as_secs_f64();
        table.add(
            "ackwarden",
            0,
            took,
            &[
                (
                    "cpu_percent",
                    (sum(&after) - sum(&before.0)) / seconds * 100.0,
                ),
                ("written_bytes", (procfs::written_by(pid) - before.1) as f64),
                (
                    "switches_a_second",
                    (procfs::switches_of(pid) - before.2) as f64 / seconds,
                ),
            ],
        );
    }
    table.write(&arguments.out);
    table.print_all();
}
