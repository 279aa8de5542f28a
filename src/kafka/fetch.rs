//! Payload by reference: fetches single records at known offsets, in offset order, on a thread of its own.
//!
//! All partitions of which something is wanted are read at once, and neighbours in one go, so that a million contiguous
//! ones stream. A record that is not there any more (the log begins past it, or another stands where it stood) is told as
//! gone, never replaced by the next one.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaProblem;
use super::learned::LearnedTopics;
use super::lifeline::Lifeline;
use super::raw::{BatchQueue, Item, Waker};
use super::settings::refused;
use super::trouble::{Context, Trouble};
use crate::clock;
use crate::ports::{OwnedHeader, OwnedRecord, RawHeaders, RawRecord};

/// Records that are read over rather than sought past: about what one fetch brings anyway.
const READ_OVER_MAX: i64 = 2_000;
/// Without any progress for that long, the rest is told as failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where nothing came for that long, the client is asked whether it reaches a broker.
const QUIET_AFTER: Duration = Duration::from_secs(2);
/// How long is waited for records before patience is looked at.
const BUSY_WAIT: Duration = Duration::from_millis(100);
/// An idle client is served all the same, so that its log is read. Requests wake it.
const IDLE_WAIT: Duration = Duration::from_secs(1);
const BATCH_MAX: usize = 500;

/// Records of one topic that are asked for; each token comes back with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest<T> {
    pub topic: String,
    pub wanted: Vec<Wanted<T>>,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<T> {
    pub token: T,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Debug)]
pub enum FetchAnswer {
    Record(Box<OwnedRecord>),
    Gone(String),
    Failed(String),
}

/// What is told at once, in the order in which it was found.
pub type Answers<T> = Vec<(T, FetchAnswer)>;

/// A handle to the fetching thread.
pub struct Fetcher<T> {
    requests: Option<Sender<FetchRequest<T>>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Fetcher<T> {
    /// # Errors
    /// The settings make no client, or no thread could be started.
    pub fn spawn(
        settings: &ClientConfig,
        trouble: &Trouble,
        answers: impl Fn(Answers<T>) + Send + 'static,
    ) -> Result<Self, KafkaProblem> {
        let context = Context::new("fetcher", trouble);
        let consumer: BaseConsumer<Context> = settings
            .create_with_context(context.clone())
            .map_err(|e| refused(settings, &e))?;
        let (requests, received) = channel();
        let queue = BatchQueue::new(&consumer, BATCH_MAX);
        let waker = queue.waker();
        let lifeline = Lifeline::new(settings);
        let thread = std::thread::Builder::new()
            .name("fetcher".into())
            .spawn(move || {
                Fetching {
                    queue,
                    consumer,
                    context,
                    learned: LearnedTopics::default(),
                    lifeline,
                    places: Vec::new(),
                    found: Vec::new(),
                }
                .run(&received, &answers);
            })
            .map_err(|e| KafkaProblem::Thread(e.to_string()))?;
        Ok(Self {
            requests: Some(requests),
            waker,
            thread: Some(thread),
        })
    }

    /// Never waits.
    pub fn fetch(&self, request: FetchRequest<T>) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
            self.waker.wake();
        }
    }

    /// Ends the thread; does not wait for it.
    pub fn close(&mut self) {
        self.requests = None;
        self.waker.wake();
        self.thread = None;
    }
}

struct Fetching<T> {
    queue: BatchQueue,
    consumer: BaseConsumer<Context>,
    context: Context,
    learned: LearnedTopics,
    lifeline: Lifeline,
    /// Where something is wanted, or was in the last round.
    places: Vec<Place<T>>,
    /// What was found in this round.
    found: Answers<T>,
}

/// A partition from which something is wanted.
struct Place<T> {
    topic: String,
    partition: i32,
    /// By offset.
    wanted: VecDeque<(i64, T)>,
    assigned: bool,
    /// What the client reads next; `None`: it has to be told.
    at: Option<i64>,
    /// The end was met, and something behind it is wanted.
    ended: bool,
    progress: Instant,
}

impl<T> Fetching<T> {
    fn run(mut self, requests: &Receiver<FetchRequest<T>>, answers: &impl Fn(Answers<T>)) {
        loop {
            loop {
                match requests.try_recv() {
                    Ok(request) => self.want(request),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let began = clock::instant();
            self.aim();
            self.read();
            if began.elapsed() > QUIET_AFTER {
                // It was us who waited, for something else.
                let now = clock::instant();
                self.places
                    .iter_mut()
                    .for_each(|place| place.progress = now);
            }
            self.lose_patience();
            if !self.found.is_empty() {
                answers(std::mem::take(&mut self.found));
            }
        }
    }

    fn want(&mut self, request: FetchRequest<T>) {
        for wanted in request.wanted {
            let known = place_of(&self.places, 0, &request.topic, wanted.partition);
            let ix = known.unwrap_or_else(|| {
                self.places.push(Place {
                    topic: request.topic.clone(),
                    partition: wanted.partition,
                    wanted: VecDeque::new(),
                    assigned: false,
                    at: None,
                    ended: false,
                    progress: clock::instant(),
                });
                self.places.len() - 1
            });
            let place = &mut self.places[ix];
            if place.wanted.is_empty() {
                place.progress = clock::instant();
            }
            place.wanted.push_back((wanted.offset, wanted.token));
        }
    }

    /// Has the client read where something is wanted, and nowhere else.
    fn aim(&mut self) {
        let (mut leave, mut go) = (TopicPartitionList::new(), TopicPartitionList::new());
        // Once for all of its partitions, also where nobody answers.
        let mut asked: Option<String> = None;
        for place in &mut self.places {
            // What came is sorted, and so is what was there: this merges the two.
            let wanted = place.wanted.make_contiguous();
            wanted.sort_by_key(|(offset, _)| *offset);
            let next = wanted.first().map(|(offset, _)| *offset);
            if let (Some(at), Some(next)) = (place.at, next)
                && (at..=at + READ_OVER_MAX).contains(&next)
            {
                continue;
            }
            if place.assigned {
                leave.add_partition(&place.topic, place.partition);
                place.assigned = false;
            }
            place.at = next;
            if let Some(next) = next {
                let to = Offset::Offset(next);
                if asked.as_ref() != Some(&place.topic) {
                    self.learned.learn(&self.consumer, &place.topic);
                    asked = Some(place.topic.clone());
                }
                match go.add_partition_offset(&place.topic, place.partition, to) {
                    Ok(()) => place.assigned = true,
                    Err(error) => fail(place, &mut self.found, &error.to_string()),
                }
            }
        }
        self.places.retain(|place| !place.wanted.is_empty());
        if leave.count() > 0
            && let Err(error) = self.consumer.incremental_unassign(&leave)
        {
            self.context.complain(&error.to_string());
        }
        if go.count() > 0
            && let Err(error) = self.consumer.incremental_assign(&go)
        {
            // All or nothing: nothing was assigned.
            for place in &mut self.places {
                let here = go.find_partition(&place.topic, place.partition);
                if here.is_some() {
                    place.assigned = false;
                    fail(place, &mut self.found, &error.to_string());
                }
            }
        }
    }

    fn read(&mut self) {
        let Self {
            queue,
            consumer,
            context,
            places,
            found,
            ..
        } = self;
        let wait = match (found.is_empty(), places.is_empty()) {
            (false, _) => Duration::ZERO,
            (true, true) => IDLE_WAIT,
            (true, false) => BUSY_WAIT,
        };
        let mut ix = 0;
        let mut problems: Vec<(usize, String)> = Vec::new();
        queue.take(wait, |item| match item {
            Item::Record(record) => {
                if let Some(here) = place_of(places, ix, record.topic, record.partition) {
                    ix = here;
                    places[ix].hear(&record, found);
                }
            }
            Item::End {
                topic,
                partition,
                offset,
            } => {
                if let Some(here) = place_of(places, ix, topic, partition) {
                    places[here].hear_end(offset, found);
                }
            }
            Item::Problem {
                topic,
                partition,
                text,
                ..
            } => match place_of(places, ix, topic, partition) {
                Some(here) => problems.push((here, text)),
                None => context.complain(&text),
            },
            Item::Said {
                level,
                facility,
                text,
            } => context.said(level, facility, text),
        });
        for (ix, text) in problems {
            places[ix].hear_problem(&text, consumer, found);
        }
    }

    fn lose_patience(&mut self) {
        let is_quiet = |place: &&Place<T>| place.progress.elapsed() > QUIET_AFTER;
        if let Some(place) = self.places.iter().find(is_quiet) {
            self.lifeline.look(self.consumer.client(), &place.topic);
        }
        for place in &mut self.places {
            if !place.wanted.is_empty() && place.progress.elapsed() > PATIENCE {
                fail(place, &mut self.found, "kafka does not answer");
                // What is wanted of it next is asked for anew.
                place.at = None;
            }
        }
    }
}

/// Which of them it is; items come in runs of one partition, so that it is looked for from `from` on.
fn place_of<T>(places: &[Place<T>], from: usize, topic: &str, partition: i32) -> Option<usize> {
    let (before, behind) = places.split_at(from.min(places.len()));
    let same = |place: &Place<T>| place.partition == partition && place.topic == topic;
    let found = behind.iter().position(same).map(|ix| before.len() + ix);
    found.or_else(|| before.iter().position(same))
}

impl<T> Place<T> {
    fn hear(&mut self, record: &RawRecord<'_>, found: &mut Answers<T>) {
        self.progress = clock::instant();
        self.ended = false;
        self.at = self.at.map(|_| record.offset + 1);
        self.gone_below(record.offset, found);
        while let Some((_, token)) = self.pop_if(|at| at == record.offset) {
            found.push((token, FetchAnswer::Record(Box::new(owned(record)))));
        }
    }

    /// Below the end, and passed without a record: compacted, or aborted.
    fn hear_end(&mut self, end: i64, found: &mut Answers<T>) {
        self.gone_below(end, found);
        if self.wanted.is_empty() {
            return;
        }
        // It may have been asked for behind the end that is told here, and be there by now: the client has to look again.
        if self.ended {
            fail(self, found, "the log ends before the offset");
        }
        self.ended = true;
        self.at = None;
    }

    fn hear_problem(
        &mut self,
        text: &str,
        consumer: &BaseConsumer<Context>,
        found: &mut Answers<T>,
    ) {
        // The client has stopped reading here.
        self.at = None;
        let Some((next, _)) = self.wanted.front() else {
            return;
        };
        match consumer.fetch_watermarks(&self.topic, self.partition, PATIENCE) {
            Ok((low, _)) if low > *next => self.gone_below(low, found),
            Ok(_) => fail(self, found, text),
            Err(error) => fail(self, found, &format!("{text}; {error}")),
        }
    }

    fn pop_if(&mut self, is_it: impl Fn(i64) -> bool) -> Option<(i64, T)> {
        let (first, _) = self.wanted.front()?;
        if is_it(*first) {
            return self.wanted.pop_front();
        }
        None
    }

    fn gone_below(&mut self, offset: i64, found: &mut Answers<T>) {
        while let Some((gone, token)) = self.pop_if(|at| at < offset) {
            self.progress = clock::instant();
            let why = format!("the record at offset {gone} is not in the log any more");
            found.push((token, FetchAnswer::Gone(why)));
        }
    }
}

fn fail<T>(place: &mut Place<T>, found: &mut Answers<T>, why: &str) {
    for (_, token) in place.wanted.drain(..) {
        found.push((token, FetchAnswer::Failed(why.to_owned())));
    }
}

fn owned(record: &RawRecord<'_>) -> OwnedRecord {
    let mut headers: Vec<OwnedHeader> = Vec::new();
    let raw: &dyn RawHeaders = record.headers;
    raw.visit(&mut |name, value| {
        headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
        std::ops::ControlFlow::Continue(())
    });
    OwnedRecord {
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers,
    }
}
