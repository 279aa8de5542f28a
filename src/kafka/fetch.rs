//! Payload by reference: fetches single records at known offsets, in offset order, on a thread of its own.
//!
//! Neighbours are read in one go, so that a million contiguous ones stream. A record that is not there any more (the
//! log begins past it, or another stands where it stood) is told as gone, never replaced by the next one.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaProblem;
use super::raw::{BatchQueue, Item};
use super::settings::refused;
use super::trouble::{Context, Trouble};
use crate::clock;
use crate::ports::{OwnedHeader, OwnedRecord, RawHeaders, RawRecord};

/// Records that are read over rather than sought past: about what one fetch brings anyway.
const READ_OVER_MAX: i64 = 2_000;
/// Without any progress for that long, the rest is told as failed.
const PATIENCE: Duration = Duration::from_secs(10);
const BATCH_MAX: usize = 500;

/// What is asked for; `token` comes back with the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest<T> {
    pub token: T,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Debug)]
pub enum FetchAnswer {
    Record(Box<OwnedRecord>),
    Gone(String),
    Failed(String),
}

/// A handle to the fetching thread.
pub struct Fetcher<T> {
    requests: Option<Sender<FetchRequest<T>>>,
    thread: Option<JoinHandle<()>>,
}

type Wanted<T> = BTreeMap<i64, Vec<T>>;

impl<T: Send + 'static> Fetcher<T> {
    /// # Errors
    /// The settings make no client, or no thread could be started.
    pub fn spawn(
        settings: &ClientConfig,
        trouble: &Trouble,
        answers: impl Fn(T, FetchAnswer) + Send + 'static,
    ) -> Result<Self, KafkaProblem> {
        let context = Context::new("fetcher", trouble);
        let consumer: BaseConsumer<Context> = settings
            .create_with_context(context.clone())
            .map_err(|e| refused(settings, &e))?;
        let (requests, received) = channel();
        let thread = std::thread::Builder::new()
            .name("fetcher".into())
            .spawn(move || run(&consumer, &context, &received, &answers))
            .map_err(|e| KafkaProblem::Thread(e.to_string()))?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    /// Never waits.
    pub fn fetch(&self, request: FetchRequest<T>) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }

    /// Ends the thread; does not wait for it.
    pub fn close(&mut self) {
        self.requests = None;
        self.thread = None;
    }
}

fn run<T>(
    consumer: &BaseConsumer<Context>,
    context: &Context,
    requests: &Receiver<FetchRequest<T>>,
    answers: &impl Fn(T, FetchAnswer),
) {
    let mut queue = BatchQueue::new(consumer, BATCH_MAX);
    let mut wanted: BTreeMap<(String, i32), Wanted<T>> = BTreeMap::new();
    loop {
        match requests.recv_timeout(Duration::from_millis(200)) {
            Ok(request) => want(&mut wanted, request),
            // An idle client is served all the same, so that it keeps its connections in order.
            Err(RecvTimeoutError::Timeout) => {
                let _ = queue.take(Duration::ZERO, |item| listen(context, &item));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Ok(request) = requests.try_recv() {
            want(&mut wanted, request);
        }
        while let Some(((topic, partition), offsets)) = wanted.pop_first() {
            let queue = &mut queue;
            fetch_partition(
                consumer, context, queue, &topic, partition, offsets, answers,
            );
        }
        let _ = consumer.unassign();
    }
}

fn want<T>(wanted: &mut BTreeMap<(String, i32), Wanted<T>>, request: FetchRequest<T>) {
    wanted
        .entry((request.topic, request.partition))
        .or_default()
        .entry(request.offset)
        .or_default()
        .push(request.token);
}

fn fetch_partition<T>(
    consumer: &BaseConsumer<Context>,
    context: &Context,
    queue: &mut BatchQueue,
    topic: &str,
    partition: i32,
    mut wanted: Wanted<T>,
    answers: &impl Fn(T, FetchAnswer),
) {
    let mut at: Option<i64> = None;
    let mut progress = clock::instant();
    while let Some(next) = wanted.first_key_value().map(|(offset, _)| *offset) {
        if at.is_none_or(|at| next < at || next > at + READ_OVER_MAX) {
            let mut list = TopicPartitionList::new();
            let assigned = list
                .add_partition_offset(topic, partition, Offset::Offset(next))
                .and_then(|()| consumer.assign(&list));
            if let Err(error) = assigned {
                return fail(wanted, answers, &error.to_string());
            }
            at = Some(next);
        }
        let mut end = None;
        let mut problem = None;
        queue.take(Duration::from_millis(100), |item| match item {
            Item::Record(record) if record.topic == topic && record.partition == partition => {
                progress = clock::instant();
                at = Some(record.offset + 1);
                gone_below(&mut wanted, record.offset, answers);
                if let Some(tokens) = wanted.remove(&record.offset) {
                    for token in tokens {
                        answers(token, FetchAnswer::Record(Box::new(owned(&record))));
                    }
                }
            }
            Item::End {
                topic: t,
                partition: p,
                offset,
            } if t == topic && p == partition => end = Some(offset),
            Item::Problem { text, .. } => problem = Some(text),
            said @ Item::Said { .. } => listen(context, &said),
            Item::Record(_) | Item::End { .. } => {}
        });
        if let Some(end) = end {
            progress = clock::instant();
            // Below the end, and passed without a record: compacted, or aborted.
            gone_below(&mut wanted, end, answers);
            if !wanted.is_empty() {
                fail(wanted, answers, "the log ends before the offset");
                return;
            }
        }
        if let Some(text) = problem {
            match consumer.fetch_watermarks(topic, partition, PATIENCE) {
                Ok((low, _)) if low > next => {
                    gone_below(&mut wanted, low, answers);
                    at = None;
                }
                Ok(_) => return fail(wanted, answers, &text),
                Err(error) => return fail(wanted, answers, &format!("{text}; {error}")),
            }
        }
        if progress.elapsed() > PATIENCE {
            return fail(wanted, answers, "kafka does not answer");
        }
    }
}

fn listen(context: &Context, item: &Item<'_>) {
    if let Item::Said {
        level,
        facility,
        text,
    } = item
    {
        context.said(*level, facility, text);
    }
}

fn gone_below<T>(wanted: &mut Wanted<T>, offset: i64, answers: &impl Fn(T, FetchAnswer)) {
    while let Some(entry) = wanted.first_entry() {
        if *entry.key() >= offset {
            break;
        }
        let (gone, tokens) = entry.remove_entry();
        for token in tokens {
            let why = format!("the record at offset {gone} is not in the log any more");
            answers(token, FetchAnswer::Gone(why));
        }
    }
}

fn fail<T>(wanted: Wanted<T>, answers: &impl Fn(T, FetchAnswer), why: &str) {
    for token in wanted.into_values().flatten() {
        answers(token, FetchAnswer::Failed(why.to_owned()));
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
