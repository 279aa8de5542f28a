//! The engine with hands that only pretend, and a store that fails when told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use ackwarden::config::{Overrides, load_text};
use ackwarden::core::event::{Assignment, Fence, PublishOutcome};
use ackwarden::core::types::AckIx;
use ackwarden::core::{
    AckBatch, CommitOrder, Coordinator, Event, SourceBatch, SourceRecord, TopicIx,
};
use ackwarden::ports::{ApiRequest, Stats, Store};
use ackwarden::runtime::{
    Checkpoints, Engine, EngineParts, FetchFor, Hands, INPUTS_MAX, Input, KnownState, Names,
    Outgoing,
};
use ackwarden::store::{Fault, FaultyStore, MemoryStore};
use tokio::sync::oneshot;

const T: TopicIx = TopicIx(0);

/// One source partition and one ACK partition, both empty but for what the test says.
struct Pretending(SyncSender<Input>);

impl Pretending {
    fn say(&self, event: Event) {
        self.0.send(Input::Event(event)).expect("the engine runs");
    }
}

impl Hands for Pretending {
    fn read_source(&mut self, _topic: &str, partition: i32, from: i64) {
        self.say(Event::SourceBatch(SourceBatch {
            records: Vec::new(),
            applied: vec![(T, partition, from)],
        }));
    }
    fn stop_source(&mut self, _topic: &str, _partition: i32) {}
    fn pause_source(&mut self, _topic: &str, _partition: i32, _paused: bool) {}
    fn read_acks(&mut self, _topic: &str, from: &[(i32, i64)], generation: u64) {
        self.say(Event::AckBatch(AckBatch {
            ack: AckIx(0),
            records: Vec::new(),
            applied: from.to_vec(),
            generation,
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
    fn fetch(&mut self, _purpose: FetchFor, _topic: &str, _partition: i32, _offset: i64) {}
    fn publish(&mut self, _token: u64, _record: Outgoing) -> Result<(), PublishOutcome> {
        Err(PublishOutcome::Refused("pretending".into()))
    }
    fn commit(&mut self, orders: Vec<CommitOrder>) {
        for order in orders {
            self.say(Event::Committed {
                topic: order.topic,
                partition: order.partition,
                low: order.low,
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
}

impl Running {
    fn start(store: Box<dyn Store>) -> Self {
        let text = "[kafka]\nbrokers = \"nowhere:1\"\n[store]\ncheckpoint_interval = \"100ms\"\n\
                    [topics.orders]\ntimeout = \"10m\"\n";
        let loaded = load_text("test", text, std::iter::empty(), &Overrides::default());
        let names = Names::new(
            Arc::new(loaded.expect("a configuration").config),
            "c".into(),
        );
        let (inputs, received): (SyncSender<Input>, Receiver<Input>) = sync_channel(INPUTS_MAX);
        let reopen = Box::new(|| -> Result<Box<dyn Store>, _> { Ok(Box::new(MemoryStore::new())) });
        let checkpoints =
            Checkpoints::spawn(store, reopen, inputs.clone()).expect("a thread for checkpoints");
        let engine = Engine::new(EngineParts {
            coordinator: Coordinator::new(names.topic_settings(), names.core_limits(), 1),
            names,
            hands: Box::new(Pretending(inputs.clone())),
            checkpoints: Some(checkpoints),
            store_size_bytes: 0,
            state: KnownState::default(),
        });
        let thread = std::thread::spawn(move || engine.run(&received));
        let running = Self { inputs, thread };
        running.send(Event::Assigned(vec![Assignment {
            topic: T,
            partition: 0,
            low: 0,
            born: 0,
            log_start: 0,
            acks: Some(vec![(0, 0)]),
            ack_log_starts: vec![(0, 0)],
            appeared: false,
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
        self.send(Event::SourceBatch(SourceBatch {
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
    running.message(0);
    let settled = running.wait("a checkpoint of it", |stats| stats.checkpoints > 1);
    std::thread::sleep(Duration::from_millis(500));
    let writes = faults.writes();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(faults.writes(), writes, "after {}", settled.checkpoints);
    running.stop();
}
