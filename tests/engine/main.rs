//! The engine with hands that only pretend, and a store that fails when told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod changes;

use std::sync::mpsc::{Sender, SyncSender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ackwarden::config::{Overrides, load_text};
use ackwarden::core::event::{Assignment, Fence, PublishOutcome};
use ackwarden::core::types::{AckIx, Lane};
use ackwarden::core::{
    AckBatch, CommitOrder, Coordinator, Event, SourceBatch, SourceRecord, TopicIx,
};
use ackwarden::ports::{ApiRequest, Outgoing, OwnedRecord, Stats, Store, StoreIdentity};
use ackwarden::runtime::{
    Answer, Checkpoints, Engine, EngineParts, FetchFor, Fetched, Hands, Inbox, Input, KnownState,
    Names, lines,
};
use ackwarden::store::{Fault, FaultyStore, MemoryStore};
use ackwarden::wire::digest;
use tokio::sync::oneshot;

const T: TopicIx = TopicIx(0);
const STATE_TOPIC: &str = "ackwarden-state";

/// One source partition and one ACK partition, both empty but for what the test says.
struct Pretending {
    inbox: Inbox,
    /// What it says goes through another thread: the engine's own may not wait for its inputs.
    says: Sender<Input>,
    /// What stands at each offset of the source when it is fetched.
    log: Vec<&'static str>,
    /// All that was to be published, and was refused.
    published: Published,
    /// Tokens of the records for the state topic: the test reports them.
    changes: Changes,
    source_orders: Orders,
}

type Orders = Arc<Mutex<Vec<u64>>>;
type Published = Arc<Mutex<Vec<Outgoing>>>;
type Changes = Arc<Mutex<Vec<u64>>>;

impl Pretending {
    fn say(&self, event: Event) {
        let _ = self.says.send(Input::Event(event));
    }
}

impl Hands for Pretending {
    fn read_source(&mut self, _topic: &str, partition: i32, from: i64, order: u64) {
        self.source_orders.lock().expect("the test").push(order);
        self.say(Event::SourceBatch(SourceBatch {
            records: Vec::new(),
            applied: vec![(T, partition, from)],
        }));
    }
    fn stop_source(&mut self, _topic: &str, _partition: i32) {}
    fn pause_source(&mut self, _topic: &str, _partition: i32, _paused: bool) {}
    fn read_acks(&mut self, lane: Lane, _topic: &str, from: &[(i32, i64)], generation: u64) {
        self.say(Event::AckBatch(AckBatch {
            ack: AckIx(0),
            records: Vec::new(),
            applied: from.to_vec(),
            generation,
            lane,
        }));
    }
    fn ask_ack_ends(&mut self, ack: AckIx, round: u64) {
        let answer = Ok(vec![(0, 0)]);
        self.say(Event::AckEnds { ack, round, answer });
    }
    fn ask_fence(&mut self, topic: TopicIx, round: u64) {
        let answer = Ok(Fence {
            ack_ends: vec![(0, 0)],
            source_ends: vec![(0, 0)],
        });
        self.say(Event::Fence {
            topic,
            round,
            answer,
        });
    }
    fn fetch(&mut self, purpose: FetchFor, _topic: &str, partition: i32, offset: i64) {
        let Some(value) = self.log.get(offset as usize) else {
            return;
        };
        let record = OwnedRecord {
            partition,
            offset,
            timestamp_ms: 0,
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        };
        let result = Fetched::Record(Box::new(record));
        self.inbox.put([Answer::Fetched { purpose, result }]);
    }
    fn publish(&mut self, token: u64, record: &Outgoing) -> Result<(), PublishOutcome> {
        self.published
            .lock()
            .expect("the test")
            .push(record.clone());
        if record.topic == STATE_TOPIC {
            self.changes.lock().expect("the test").push(token);
            return Ok(());
        }
        Err(PublishOutcome::Refused("pretending".into()))
    }
    fn commit(&mut self, orders: Vec<CommitOrder>) {
        for order in orders {
            self.say(Event::Committed {
                topic: order.topic,
                partition: order.partition,
                low: order.low,
                sent_ms: ackwarden::clock::now().mono_ms,
                outcome: Ok(()),
            });
        }
    }
    fn trouble(&self) -> Option<String> {
        None
    }
    fn stop_reading(&mut self) {}
}

struct Running {
    inputs: SyncSender<Input>,
    thread: std::thread::JoinHandle<()>,
    published: Published,
    changes: Changes,
    source_orders: Orders,
}

impl Running {
    fn start(store: Box<dyn Store>) -> Self {
        Self::start_on(store, "10m", Vec::new())
    }

    fn start_on(store: Box<dyn Store>, timeout: &str, log: Vec<&'static str>) -> Self {
        let text = format!(
            "[kafka]\nbrokers = \"nowhere:1\"\nstate_topic = {STATE_TOPIC:?}\n[store]\ncheckpoint_interval = \"100ms\"\n\
             [topics.orders]\ntimeout = {timeout:?}\nretry_rate = 0\non_lost_range = \"report-and-continue\"\n"
        );
        let loaded = load_text("test", &text, std::iter::empty(), &Overrides::default());
        let names = Names::new(
            Arc::new(loaded.expect("a configuration").config),
            "c".into(),
            "o".into(),
        );
        let (inputs, _acks, _requests, received) = lines();
        let reopen = Box::new(|| -> Result<Box<dyn Store>, _> { Ok(Box::new(MemoryStore::new())) });
        let checkpoints =
            Checkpoints::spawn(store, StoreIdentity::default(), reopen, inputs.clone())
                .expect("a thread for checkpoints");
        let (says, said) = channel();
        let forward = inputs.clone();
        std::thread::spawn(move || {
            for input in said {
                // The engine has ended.
                if forward.send(input).is_err() {
                    return;
                }
            }
        });
        let published = Published::default();
        let changes = Changes::default();
        let source_orders = Orders::default();
        let engine = Engine::new(EngineParts {
            coordinator: Coordinator::new(names.topic_settings(), names.core_limits(), 1),
            names,
            hands: Box::new(Pretending {
                inbox: Inbox::new(inputs.clone()),
                says,
                log,
                published: Arc::clone(&published),
                changes: Arc::clone(&changes),
                source_orders: Arc::clone(&source_orders),
            }),
            checkpoints: Some(checkpoints),
            store_size_bytes: 0,
            state: KnownState::default(),
        });
        let thread = std::thread::spawn(move || engine.run(received));
        let running = Self {
            inputs,
            thread,
            published,
            changes,
            source_orders,
        };
        running.send(Event::Assigned(vec![Assignment {
            topic: T,
            partition: 0,
            low: 0,
            born: 0,
            log_start: 0,
            acks: Some(vec![(0, 0)]),
            ack_log_starts: vec![(0, 0)],
            appeared: false,
            former_owner_until_ms: 0,
            recreated: None,
            image: None,
        }]));
        running.wait("it is ready", |stats| stats.ready);
        running
    }

    fn send(&self, event: Event) {
        self.inputs
            .send(Input::Event(event))
            .expect("the engine runs");
    }

    fn message(&self, offset: i64) {
        self.message_of(offset, "v");
    }

    fn message_of(&self, offset: i64, value: &str) {
        let value = Some(value.as_bytes());
        self.send(Event::SourceBatch(SourceBatch {
            records: vec![SourceRecord {
                topic: T,
                partition: 0,
                offset,
                timestamp_ms: 0,
                len: digest::size(None, value),
                digest: digest::digest(None, value),
                extra: None,
            }],
            applied: vec![(T, 0, offset + 1)],
        }));
    }

    fn wait(&self, what: &str, done: impl Fn(&Stats) -> bool) -> Stats {
        let began = ackwarden::clock::instant();
        loop {
            let (reply, answer) = oneshot::channel();
            let ask = Input::Api(ApiRequest::Stats { reply });
            self.inputs.send(ask).expect("the engine runs");
            let stats = answer.blocking_recv().expect("an answer");
            if done(&stats) {
                return stats;
            }
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{what}: {stats:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(self) {
        self.inputs.send(Input::Stop).expect("the engine runs");
        drop(self.inputs);
        self.thread.join().expect("it ends in order");
    }
}

#[test]
fn without_disk_space_it_goes_on_says_so_and_writes_everything_once_there_is_room() {
    let memory = MemoryStore::new();
    let (store, faults) = FaultyStore::new(memory.clone());
    let running = Running::start(Box::new(store));
    running.wait("a first checkpoint", |stats| stats.checkpoints > 0);
    faults.inject(Fault::NoSpace, 1);
    running.message(0);
    let stats = running.wait("the trouble is told", |stats| stats.store_trouble.is_some());
    assert!(stats.store_trouble.is_some_and(|t| t.contains("no space")));
    running.message(1);
    let stats = running.wait("it goes on", |stats| stats.outstanding == 2);
    assert!(stats.ready);
    running.wait("checkpoints are written again", |stats| {
        stats.store_trouble.is_none()
    });
    running.stop();
    let mut after = memory;
    let (_, partitions) = after.load().expect("what was kept");
    let image = partitions[0].image.as_ref().expect("it can be trusted");
    assert_eq!(image.header.source_applied, 2);
    let kept: usize = image.blocks.iter().map(|b| b.entries.len()).sum();
    assert_eq!(kept, 2);
}

#[test]
fn an_idle_service_writes_no_checkpoints() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let running = Running::start(Box::new(store));
    let first = running.wait("the first checkpoint", |stats| stats.checkpoints > 0);
    running.message(0);
    let settled = running.wait("a checkpoint of it", |stats| {
        stats.checkpoints > first.checkpoints
    });
    std::thread::sleep(Duration::from_millis(500));
    let writes = faults.writes();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(faults.writes(), writes, "after {}", settled.checkpoints);
    running.stop();
}

/// More answers at once than are told to the core in one go.
#[test]
fn all_that_is_due_at_once_is_published_once_and_in_order() {
    const MESSAGES: usize = 300;
    let log = vec!["v"; MESSAGES];
    let running = Running::start_on(Box::new(MemoryStore::new()), "1s", log);
    for offset in 0..MESSAGES {
        running.message(offset as i64);
    }
    let published = Arc::clone(&running.published);
    running.wait("all of them", |_| {
        published.lock().expect("the test").len() >= MESSAGES
    });
    let origin_of = |record: &Outgoing| {
        let mut headers = record.headers.iter();
        let origin = headers.find(|(name, _)| name == b"ackwarden-origin");
        String::from_utf8(origin.and_then(|(_, v)| v.clone()).unwrap_or_default()).expect("text")
    };
    let published: Vec<String> = published.lock().expect("the test")[..MESSAGES]
        .iter()
        .map(origin_of)
        .collect();
    let wanted: Vec<String> = (0..MESSAGES).map(|n| format!("orders/0/{n}")).collect();
    assert_eq!(published, wanted);
    running.stop();
}

/// Another record at the offset, as compaction or an unclean election leaves it: of the same length, too.
#[test]
fn what_is_fetched_is_sent_only_if_it_is_what_was_read() {
    let running = Running::start_on(
        Box::new(MemoryStore::new()),
        "1s",
        vec!["what was read", "another thing"],
    );
    running.message_of(0, "what was read");
    running.message_of(1, "what was lost");
    let published = Arc::clone(&running.published);
    let dead_letter = || {
        let published = published.lock().expect("the test");
        published.iter().find(|r| r.topic == "orders-dlq").cloned()
    };
    running.wait("a copy and a dead letter", |_| {
        let copied = |r: &Outgoing| r.topic == "orders";
        dead_letter().is_some() && published.lock().expect("the test").iter().any(copied)
    });
    let dead_letter = dead_letter().expect("one");
    let header = |name: &str| {
        let found = dead_letter
            .headers
            .iter()
            .find(|(n, _)| n == name.as_bytes());
        let value = found.and_then(|(_, v)| v.clone()).unwrap_or_default();
        String::from_utf8(value).expect("text")
    };
    assert_eq!(header("ackwarden-cause"), "payload-lost");
    assert_eq!(header("ackwarden-origin"), "orders/0/1");
    assert_eq!(dead_letter.value, None);
    for record in published.lock().expect("the test").iter() {
        assert!(
            record.topic != "orders" || record.value.as_deref() == Some(b"what was read"),
            "{record:?}"
        );
    }
    running.stop();
}

#[test]
fn what_was_read_before_its_partition_was_ordered_anew_is_dropped() {
    let running = Running::start(Box::new(MemoryStore::new()));
    let tracked = |running: &Running| running.wait("", |_| true).outstanding;
    let batch = |offset: i64, order: u64| Input::Source {
        batch: SourceBatch {
            records: vec![SourceRecord {
                topic: T,
                partition: 0,
                offset,
                timestamp_ms: 0,
                len: 1,
                digest: 1,
                extra: None,
            }],
            applied: vec![(T, 0, offset + 1)],
        },
        orders: vec![order],
    };
    let order = running.source_orders.lock().expect("the test")[0];
    running.inputs.send(batch(5, order)).expect("it runs");
    assert_eq!(tracked(&running), 1);
    // The topic is made anew, and is read from its beginning; a reader had taken a batch of the old one.
    running.send(Event::SourceMadeAnew {
        topic: T,
        log_starts: vec![(0, 0)],
        ack_ends: vec![(0, 0)],
    });
    running.inputs.send(batch(6, order)).expect("it runs");
    assert_eq!(tracked(&running), 0);
    let anew = *running
        .source_orders
        .lock()
        .expect("the test")
        .last()
        .expect("an order");
    assert!(anew > order);
    running.inputs.send(batch(0, anew)).expect("it runs");
    assert_eq!(tracked(&running), 1);
    running.stop();
}
