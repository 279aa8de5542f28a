//! The one kind of reader: `assign()` of numeric offsets, in batches, on a thread of its own.
//!
//! How far a partition is applied travels in band, behind its batch: the offset behind the last record, or that of the
//! end that the broker told, whichever is larger; so commit and abort markers at the tail count, and an idle partition
//! too. After a re-position nothing of the old position is handed on: librdkafka drops what is outdated when it is
//! served. An offset that the broker has not got is told, never skipped (`auto.offset.reset=error`).
//!
//! librdkafka's own pause is not used. It goes on from the position that it keeps for us, and a batch call that hands out
//! an end sets that one past the end: the record that comes next would be skipped in silence. Its pause also outlives the
//! assignment. A paused partition is not assigned here, and goes on from where we know it is applied.
//!
//! librdkafka has been seen to stop fetching a partition for good after its broker had stood still. So the reader is told
//! where the logs end, and what stands still below its end is assigned anew.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaProblem;
use super::learned::LearnedTopics;
use super::lifeline::Lifeline;
use super::raw::{BatchQueue, Item, Waker};
use super::settings::refused;
use super::trouble::{Context, Trouble};
use crate::clock;
use crate::core::types::LOG_START;
use crate::ports::RawRecord;

/// Records handed on at once.
pub const BATCH_MAX: usize = 1_000;
/// How long a reader without records waits before it looks at its client's log. Orders wake it.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Of a client from which nothing came for that long it is asked whether it reaches a broker.
const QUIET_AFTER: Duration = Duration::from_secs(5);
/// A partition of which nothing came for that long, although there is something to be read, is assigned anew; after twice
/// as long the next time, up to the maximum, so that a record that takes long to come does come.
const STUCK_AFTER: Duration = Duration::from_secs(10);
const STUCK_AFTER_MAX: Duration = Duration::from_secs(600);

/// How far a partition is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub topic: String,
    pub partition: i32,
    /// Everything below it was handed on, or is no record.
    pub position: i64,
    /// Of the newest order to read the topic: each topic counts its own.
    pub generation: u64,
}

/// Takes what a reader reads. May wait: then the reader waits, and that is the back-pressure.
pub trait RecordSink: Send {
    fn record(&mut self, record: &RawRecord<'_>);
    /// Behind each batch: the positions that moved.
    fn end_of_batch(&mut self, applied: &[Applied]);
    /// The broker has not got the offset that was to be read next, by the topic's order of that generation.
    fn out_of_range(&mut self, topic: &str, partition: i32, generation: u64);
}

#[derive(Debug)]
enum Order {
    Read {
        topic: String,
        partitions: Vec<(i32, i64)>,
        generation: u64,
    },
    Stop {
        topic: String,
        partition: i32,
    },
    Pause {
        topic: String,
        partition: i32,
        paused: bool,
    },
    Ends {
        topic: String,
        ends: Vec<(i32, i64)>,
    },
    Close,
}

/// A handle to the reading thread. Orders never wait.
pub struct Reader {
    orders: Sender<Order>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// # Errors
    /// The settings make no client, or no thread could be started.
    pub fn spawn(
        name: &'static str,
        settings: &ClientConfig,
        trouble: &Trouble,
        sink: impl RecordSink + 'static,
    ) -> Result<Self, KafkaProblem> {
        let context = Context::new(name, trouble);
        let consumer: BaseConsumer<Context> = settings
            .create_with_context(context.clone())
            .map_err(|e| refused(settings, &e))?;
        let (orders, received) = channel();
        let queue = BatchQueue::new(&consumer, BATCH_MAX);
        let waker = queue.waker();
        let lifeline = Lifeline::new(settings);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                Reading {
                    queue,
                    consumer,
                    places: HashMap::new(),
                    generations: HashMap::new(),
                    learned: LearnedTopics::default(),
                    lifeline,
                    heard: clock::instant(),
                    looked: clock::instant(),
                    context,
                }
                .run(sink, &received);
            })
            .map_err(|e| KafkaProblem::Thread(e.to_string()))?;
        Ok(Self {
            orders,
            waker,
            thread: Some(thread),
        })
    }

    /// Reads these partitions from these offsets from now on ([`LOG_START`]: from where the log begins).
    pub fn read(&self, topic: &str, partitions: &[(i32, i64)], generation: u64) {
        self.order(Order::Read {
            topic: topic.to_owned(),
            partitions: partitions.to_vec(),
            generation,
        });
    }

    pub fn stop_reading(&self, topic: &str, partition: i32) {
        self.order(Order::Stop {
            topic: topic.to_owned(),
            partition,
        });
    }

    pub fn pause(&self, topic: &str, partition: i32, paused: bool) {
        self.order(Order::Pause {
            topic: topic.to_owned(),
            partition,
            paused,
        });
    }

    /// Where these partitions end, as a reader of what is committed sees them. Wakes nobody.
    pub fn told_ends(&self, topic: &str, ends: &[(i32, i64)]) {
        let _ = self.orders.send(Order::Ends {
            topic: topic.to_owned(),
            ends: ends.to_vec(),
        });
    }

    fn order(&self, order: Order) {
        // The thread ends before us only if its sink's receiver is gone: then nobody needs it.
        let _ = self.orders.send(order);
        self.waker.wake();
    }

    /// Ends the thread; does not wait for it, since a client can hang in its end.
    pub fn close(&mut self) {
        self.order(Order::Close);
        self.thread = None;
    }
}

struct Reading {
    queue: BatchQueue,
    consumer: BaseConsumer<Context>,
    places: HashMap<(String, i32), Place>,
    generations: HashMap<String, u64>,
    learned: LearnedTopics,
    lifeline: Lifeline,
    /// When anything came at all.
    heard: Instant,
    /// When it was last looked for partitions that stand still.
    looked: Instant,
    context: Context,
}

/// Where a partition is that is to be read.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// What is to be read next ([`LOG_START`]: where the log begins).
    next: i64,
    paused: bool,
    /// Whether the client fetches it.
    assigned: bool,
    /// Whether `next` was handed on since the last re-position: an idle partition is told of once.
    told: bool,
    /// The broker has not got `next`: somebody has to decide.
    lost: bool,
    /// It was said before anything came since the last re-position, and was asked for once more.
    doubted: bool,
    /// Where the log was told to end.
    end: i64,
    /// When anything came of it, or it was assigned anew, and how long it may stand still from then on.
    moved: Instant,
    patience: Duration,
}

impl Reading {
    fn run(mut self, mut sink: impl RecordSink, orders: &Receiver<Order>) {
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Close) | Err(TryRecvError::Disconnected) => return,
                    Ok(order) => self.carry_out(order),
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.read_batch(&mut sink);
            self.look_for_stuck();
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Read {
                topic,
                partitions,
                generation,
            } => {
                self.reposition(&topic, &partitions);
                self.generations.insert(topic, generation);
            }
            Order::Stop { topic, partition } => {
                self.unassign(&topic, &[partition]);
                self.places.remove(&(topic, partition));
            }
            Order::Pause {
                topic,
                partition,
                paused,
            } => {
                if paused {
                    self.unassign(&topic, &[partition]);
                }
                if let Some(place) = self.places.get_mut(&(topic.clone(), partition)) {
                    place.paused = paused;
                    self.assign(&topic, &[partition]);
                }
            }
            Order::Ends { topic, ends } => {
                for (partition, end) in ends {
                    if let Some(place) = self.places.get_mut(&(topic.clone(), partition)) {
                        place.end = end;
                    }
                }
            }
            Order::Close => {}
        }
    }

    fn reposition(&mut self, topic: &str, partitions: &[(i32, i64)]) {
        let numbers: Vec<i32> = partitions.iter().map(|(p, _)| *p).collect();
        self.unassign(topic, &numbers);
        for (partition, from) in partitions {
            let place = Place {
                next: *from,
                paused: false,
                assigned: false,
                told: false,
                lost: false,
                doubted: false,
                end: LOG_START,
                moved: clock::instant(),
                patience: STUCK_AFTER,
            };
            self.places.insert((topic.to_owned(), *partition), place);
        }
        self.assign(topic, &numbers);
    }

    /// Fetches those of the partitions that are to be read, are not paused, and are not fetched yet.
    fn assign(&mut self, topic: &str, partitions: &[i32]) {
        let mut wanted = TopicPartitionList::new();
        for partition in partitions {
            let Some(place) = self.places.get_mut(&(topic.to_owned(), *partition)) else {
                continue;
            };
            if place.paused || place.assigned {
                continue;
            }
            let offset = match place.next {
                LOG_START => Offset::Beginning,
                next => Offset::Offset(next),
            };
            match wanted.add_partition_offset(topic, *partition, offset) {
                Ok(()) => {
                    place.assigned = true;
                    place.moved = clock::instant();
                }
                Err(error) => self.context.complain(&error.to_string()),
            }
        }
        if wanted.count() == 0 {
            return;
        }
        self.learned.learn(&self.consumer, topic);
        if let Err(error) = self.consumer.incremental_assign(&wanted) {
            // All or nothing: nothing was assigned.
            for element in wanted.elements() {
                let place = (topic.to_owned(), element.partition());
                if let Some(place) = self.places.get_mut(&place) {
                    place.assigned = false;
                }
            }
            let what = format!("cannot read {topic}: {error}");
            self.context.complain(&what);
        }
    }

    fn unassign(&mut self, topic: &str, partitions: &[i32]) {
        let mut ours = TopicPartitionList::new();
        for partition in partitions {
            let place = self.places.get_mut(&(topic.to_owned(), *partition));
            if let Some(place) = place
                && place.assigned
            {
                place.assigned = false;
                ours.add_partition(topic, *partition);
            }
        }
        if ours.count() > 0
            && let Err(error) = self.consumer.incremental_unassign(&ours)
        {
            self.context.complain(&error.to_string());
        }
    }

    /// Has the client begin anew where it stands still, although there is more to be read.
    fn look_for_stuck(&mut self) {
        if self.looked.elapsed() < IDLE_WAIT {
            return;
        }
        // Where we stood still ourselves, or waited for the sink, it says nothing of the client.
        if self.looked.elapsed() > STUCK_AFTER / 2 {
            let now = clock::instant();
            self.places.values_mut().for_each(|place| place.moved = now);
        }
        self.looked = clock::instant();
        if self.heard.elapsed() > QUIET_AFTER
            && let Some((topic, _)) = self.places.keys().next()
            && !self.lifeline.look(self.consumer.client(), topic)
        {
            // Nobody is reached: that is not the partitions' fault.
            let now = clock::instant();
            self.places.values_mut().for_each(|place| place.moved = now);
        }
        let mut stuck: Vec<(String, i32)> = Vec::new();
        let mut first = None;
        for ((topic, partition), place) in &mut self.places {
            let readable = !place.paused && !place.lost && place.next < place.end;
            if readable && place.moved.elapsed() > place.patience {
                first.get_or_insert((place.moved.elapsed(), place.next, place.end));
                stuck.push((topic.clone(), *partition));
                place.moved = clock::instant();
                place.patience = (2 * place.patience).min(STUCK_AFTER_MAX);
            }
        }
        if let (Some((topic, partition)), Some((stood, next, end))) = (stuck.first(), first) {
            let what = format!(
                "nothing came from {} partitions for {} s although their logs go on, the first of them {topic}/{partition} \
                 at {next} of {end}: they are assigned anew",
                stuck.len(),
                stood.as_secs(),
            );
            self.context.complain(&what);
        }
        for (topic, partition) in stuck {
            self.unassign(&topic, &[partition]);
            self.assign(&topic, &[partition]);
        }
    }

    fn read_batch(&mut self, sink: &mut impl RecordSink) {
        let mut moved: Vec<Applied> = Vec::new();
        let mut lost: Vec<(String, i32)> = Vec::new();
        let context = &self.context;
        let heard = self.queue.take(IDLE_WAIT, |item| match item {
            Item::Record(record) => {
                sink.record(&record);
                note(
                    &mut moved,
                    record.topic,
                    record.partition,
                    record.offset + 1,
                );
            }
            Item::End {
                topic,
                partition,
                offset,
            } => note(&mut moved, topic, partition, offset),
            Item::Problem {
                topic,
                partition,
                code:
                    Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
                    | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
                ..
            } => lost.push((topic.to_owned(), partition)),
            Item::Problem {
                topic,
                partition,
                text,
                ..
            } => context.complain(&format!("reading {topic}/{partition}: {text}")),
            Item::Said {
                level,
                facility,
                text,
            } => context.said(level, facility, text),
        });
        let now = clock::instant();
        if heard > 0 {
            self.heard = now;
        }
        // What says nothing new does not count.
        moved.retain_mut(
            |a| match self.places.get_mut(&(a.topic.clone(), a.partition)) {
                Some(place) if place.next < a.position || !place.told => {
                    place.next = a.position;
                    place.told = true;
                    place.moved = now;
                    place.patience = STUCK_AFTER;
                    a.generation = self.generations.get(&a.topic).copied().unwrap_or(0);
                    true
                }
                _ => false,
            },
        );
        if !moved.is_empty() {
            sink.end_of_batch(&moved);
        }
        for (topic, partition) in lost {
            if self.is_lost(&topic, partition) {
                let generation = self.generations.get(&topic).copied().unwrap_or(0);
                sink.out_of_range(&topic, partition, generation);
            }
        }
    }

    /// The client says that the broker has not got what is to be read next. Of all that it queues, this alone bears no
    /// version (`rd_kafka_offset_reset`, 2.12): what it says of the position before a re-position is served behind that.
    /// So before anything came of the new position, it is believed the second time.
    fn is_lost(&mut self, topic: &str, partition: i32) -> bool {
        let Some(place) = self.places.get_mut(&(topic.to_owned(), partition)) else {
            return false;
        };
        if place.told || place.doubted {
            place.lost = true;
            return true;
        }
        place.doubted = true;
        self.unassign(topic, &[partition]);
        self.assign(topic, &[partition]);
        false
    }
}

fn note(moved: &mut Vec<Applied>, topic: &str, partition: i32, position: i64) {
    // Records come in runs of one partition: the last entry is nearly always the one.
    let same = |a: &Applied| a.partition == partition && a.topic == topic;
    if let Some(applied) = moved.iter_mut().rev().find(|a| same(a)) {
        applied.position = applied.position.max(position);
    } else {
        moved.push(Applied {
            topic: topic.to_owned(),
            partition,
            position,
            generation: 0,
        });
    }
}
