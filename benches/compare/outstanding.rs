//! Ten million outstanding messages, by positions and by ids: what one costs in memory, how long a restart takes (from the
//! store, after a kill, from Kafka alone), how soon the API answers a page, idle and while messages go by, and what
//! checkpoints hold up meanwhile.

use std::time::Duration;

use ::ackwarden::clock;

use super::arguments::Arguments;
use super::bare_reader;
use super::checkpoints;
use super::flow::{Flow, Pace};
use super::loaded::Loaded;
use super::procfs;
use super::serve::{self, Serve, Setup};
use super::support::kafka::{Kafka, KafkaOptions};
use super::support::say_loudly;
use super::table::{Table, spread_ms};
use super::workload::{self, Codec, Ids, SOURCE, Shape};

const PAGES: usize = 400;
/// What a page may be asked for: all, by state, the newest, the old, in the middle.
const FILTERS: [&str; 6] = [
    "",
    "&state=outstanding",
    "&state=retrying",
    "&order=newest",
    "&older_than=1s",
    "&due_within=1m",
];
/// What goes by while pages are asked for.
const PACE: Pace = Pace {
    per_second: 200_000,
    acked_after: Duration::from_millis(100),
    lost_one_in: None,
};
const PACE_VALUE_BYTES: usize = 200;
/// Between two pages while messages go by: four seconds for each filter at least, so that checkpoints are among them.
const PAUSE: Duration = Duration::from_millis(10);

pub fn run(records: u64, arguments: &Arguments) {
    measure("outstanding", Ids::Positions, records, arguments);
}

pub fn run_ids(records: u64, arguments: &Arguments) {
    measure("outstanding-ids", Ids::Header, records, arguments);
}

fn measure(name: &'static str, ids: Ids, records: u64, arguments: &Arguments) {
    let Some(kafka) = Kafka::start(KafkaOptions::default().measured()) else {
        return;
    };
    let brokers = kafka.brokers();
    let shape = Shape {
        records,
        partitions: 4,
        value_bytes: 40,
        ids,
        codec: Codec::None,
    };
    say_loudly(&format!("{name}: writing {shape:?}"));
    workload::write_source(&brokers, shape);
    let setup = Setup {
        more: "[limits]\nmax_outstanding = 100_000_000\n",
        ..Setup::of(ids)
    };
    let rounds = arguments.rounds.min(3);
    let mut table = Table::new(name);
    let mut serve = from_kafka_alone(&brokers, shape, setup, rounds, &mut table);
    pages(&serve, &mut table);
    restarts(&mut serve, records, rounds, &mut table);
    let passing = Shape {
        value_bytes: PACE_VALUE_BYTES,
        ..shape
    };
    let mut loaded = Loaded {
        serve,
        brokers: &brokers,
        setup,
        outstanding: records,
        flow: Flow::behind(&brokers, passing, PACE),
    };
    pages_under_load(&mut loaded, &mut table);
    checkpoints::stalls(&mut loaded, rounds, &mut table);
    checkpoints::churn(loaded, &mut table);
    table.write(&arguments.out);
    table.print_all();
}

/// Each round with a group and a store of its own; the last one stays.
fn from_kafka_alone(
    brokers: &str,
    shape: Shape,
    setup: Setup<'_>,
    rounds: usize,
    table: &mut Table,
) -> Serve {
    bare_reader::read_source(brokers, shape);
    let mut last = None;
    for _ in 0..rounds {
        let took = bare_reader::read_source(brokers, shape);
        table.add("bare-source", shape.records, took, &[]);
        // A group and a store of its own: it has no former owner to wait for.
        drop(last.take());
        let mut serve = Serve::start(serve::built(), brokers, setup);
        serve.wait_said("partitions are ours");
        let start = clock::instant();
        let before = procfs::memory_of(serve.pid());
        serve.wait_ready();
        let took = start.elapsed();
        let grown = procfs::memory_of(serve.pid()).saturating_sub(before);
        assert_eq!(serve.stats()["outstanding"], shape.records);
        table.add(
            "from-kafka-alone",
            shape.records,
            took,
            &[("bytes_each", grown as f64 / shape.records as f64)],
        );
        last = Some(serve);
    }
    last.expect("a round")
}

fn restarts(serve: &mut Serve, records: u64, rounds: usize, table: &mut Table) {
    // Until a checkpoint holds everything.
    serve.wait_checkpoints(3);
    for who in ["after-sigterm", "after-kill-9"] {
        for _ in 0..rounds {
            if who == "after-kill-9" {
                serve.kill9();
            } else {
                serve.terminate();
            }
            let start = clock::instant();
            serve.start_again();
            serve.wait_said("the API listens");
            let listens = start.elapsed();
            serve.wait_ready();
            let took = start.elapsed();
            assert_eq!(serve.stats()["outstanding"], records);
            let memory = procfs::memory_of(serve.pid()) as f64 / 1e6;
            table.add(
                who,
                records,
                took,
                &[("listens_s", listens.as_secs_f64()), ("memory_mb", memory)],
            );
            serve.wait_checkpoints(1);
        }
    }
}

fn pages(serve: &Serve, table: &mut Table) {
    for filter in FILTERS {
        let mut taken = pages_of(serve, filter, Duration::ZERO);
        let sum: Duration = taken.iter().sum();
        table.add(
            &format!("page {filter}"),
            PAGES as u64,
            sum,
            &spread_ms(&mut taken),
        );
    }
}

fn pages_under_load(loaded: &mut Loaded<'_>, table: &mut Table) {
    for filter in FILTERS {
        let serve = &loaded.serve;
        let ((mut taken, settled_per_second), sent) = loaded.flow.beside(|| {
            let (acked, start) = (serve.count("acked"), clock::instant());
            let taken = pages_of(serve, filter, PAUSE);
            let settled = serve.count("acked") - acked;
            (taken, settled as f64 / start.elapsed().as_secs_f64())
        });
        let sum: Duration = taken.iter().sum();
        let mut more = spread_ms(&mut taken).to_vec();
        more.push(("sent_per_second", sent.per_second()));
        more.push(("settled_per_second", settled_per_second));
        let who = format!("page-under-load {filter}");
        table.add(&who, PAGES as u64, sum, &more);
        loaded.wait_settled();
    }
}

/// How long each took: pages of 50, one after the other, each from where the last one ended.
fn pages_of(serve: &Serve, filter: &str, pause: Duration) -> Vec<Duration> {
    let mut taken = Vec::with_capacity(PAGES);
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let after = cursor.map_or_else(String::new, |c| format!("&cursor={c}"));
        let start = clock::instant();
        let page = serve.get(&format!("/messages?topic={SOURCE}&limit=50{filter}{after}"));
        taken.push(start.elapsed());
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        std::thread::sleep(pause);
    }
    taken
}
