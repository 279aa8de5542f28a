//! The whole way: Service A sends, Service B does nothing with a message and acknowledges it, and it is settled. Ackwarden
//! beside what else redelivers single messages: Kafka's share groups, kmq, and NATS JetStream; and beside the same without
//! a coordinator.
//!
//! Each does it in turn on the same machine, with a Service A that sends as fast as it can from the same moment. Service A
//! and Ackwarden's Service B are threads of this process; the others' Service B is a process of its own, in the language of
//! its client. What is counted is the CPU time of all of them together, brokers and servers included.

mod ackwarden;
mod client;
mod others;

use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::producer::{BaseRecord, Producer as _};

use super::arguments::Arguments;
use super::procfs;
use super::support::kafka::{Kafka, KafkaOptions};
use super::support::topics::{self, TopicSpec, acks_of};
use super::table::Table;
use super::workload::{self, Codec, SOURCE};

pub const PARTITIONS: i32 = 4;
pub const VALUE_BYTES: usize = 200;
pub const DONE_WITHIN: Duration = Duration::from_secs(180);

/// Who takes part, and with how many messages of a thousand: enough for each to take seconds.
const CONTESTANTS: [(&str, u64, Contestant); 5] = [
    ("ackwarden", 1_000, ackwarden::run),
    ("no-coordinator", 1_000, ackwarden::unguarded),
    ("share-groups", 250, others::share_groups),
    ("kmq", 250, others::kmq),
    ("nats-jetstream", 500, others::jetstream),
];

/// Brings so many messages the whole way. `None`: what it needs is not there, and it was said.
type Contestant = fn(&Kafka, u64) -> Option<Done>;

/// How long it took, and the CPU time of all processes.
pub struct Done {
    pub took: Duration,
    pub cpu: Duration,
}

pub fn run(records: u64, arguments: &Arguments) {
    let Some(kafka) = Kafka::start(KafkaOptions::default().measured()) else {
        return;
    };
    // Ackwarden's configuration names it beside the topic of a round.
    for name in [SOURCE.to_owned(), acks_of(SOURCE)] {
        topics::create(&kafka.brokers(), &TopicSpec::new(&name, PARTITIONS));
    }
    let mut table = Table::new("whole");
    for round in 0..=arguments.rounds {
        for (who, share, bring) in CONTESTANTS {
            let records = records * share / 1_000;
            let Some(done) = bring(&kafka, records) else {
                continue;
            };
            // The first compiles the code of the JVMs' hot paths.
            if round > 0 {
                let cpu_us = done.cpu.as_secs_f64() * 1e6 / records as f64;
                table.add(who, records, done.took, &[("cpu_us", cpu_us)]);
            }
        }
    }
    table.write(&arguments.out);
    table.print_all();
}

/// Counts time and CPU from here to [`Stopwatch::done`], of this process and of those.
pub struct Stopwatch {
    since: std::time::Instant,
    pids: Vec<u32>,
    before: Duration,
}

impl Stopwatch {
    pub fn start(pids: &[u32]) -> Self {
        let mut pids = pids.to_vec();
        pids.push(std::process::id());
        Self {
            since: clock::instant(),
            before: pids.iter().map(|pid| procfs::cpu_of(*pid)).sum(),
            pids,
        }
    }

    pub fn done(self) -> Done {
        let took = self.since.elapsed();
        let after: Duration = self.pids.iter().map(|pid| procfs::cpu_of(*pid)).sum();
        Done {
            took,
            cpu: after - self.before,
        }
    }
}

/// Service A, as fast as it goes.
pub fn send_all(brokers: &str, topic: &str, records: u64) {
    let producer = workload::producer(brokers, Codec::None);
    let value = vec![b'x'; VALUE_BYTES];
    for i in 0..records {
        let partition = i32::try_from(i % 4).expect("a partition");
        let record = BaseRecord::<[u8], [u8]>::to(topic);
        workload::send(&producer, record.partition(partition).payload(&value));
    }
    producer.flush(DONE_WITHIN).expect("flushed");
}
