//! Questions to Kafka that wait for an answer, on threads of their own: the barrier's and the fences' (they must not
//! wait for anything else), and the slow round of metadata, lag and log starts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::time::Duration;

use super::hands::{Ask, TopicIds};
use super::input::Input;
use super::made_anew::MadeAnew;
use super::names::Names;
use super::sinks::OutOfRange;
use crate::core::event::{AskError, Fence};
use crate::core::types::AckIx;
use crate::core::{Event, TopicIx};
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, At};
use crate::kafka::publisher::PartitionCounts;

/// How often metadata, lag and retention are looked at.
const ROUND: Duration = Duration::from_secs(10);

/// An offset that is out of range is looked into again after this, if Kafka did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// A topic's retention is looked up every so many rounds: hardly anybody changes it, and it takes a client of its own.
const RETENTION_EVERY: u64 = 30;

/// Answers the core's questions until the engine is gone: those about one topic in order, and each topic on a thread of its
/// own, since one partition without a leader takes seconds to say so.
pub fn answer_asks(
    names: &Names,
    admin: &Admin,
    ids: &TopicIds,
    asks: &Receiver<Ask>,
    inputs: &SyncSender<Input>,
) {
    let answer_each = |asks: &Receiver<Ask>| {
        while let Ok(ask) = asks.recv() {
            let event = answer(names, admin, ids, ask);
            if inputs.send(Input::Event(event)).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        let mut threads: HashMap<About, Sender<Ask>> = HashMap::new();
        while let Ok(ask) = asks.recv() {
            let thread = match threads.entry(ask.about()) {
                Entry::Occupied(thread) => thread.into_mut(),
                Entry::Vacant(place) => {
                    let (asks, received) = channel();
                    let named = std::thread::Builder::new().name("asks".into());
                    if let Err(error) = named.spawn_scoped(scope, move || answer_each(&received)) {
                        let why = format!("no thread could be started: {error}");
                        if inputs.send(Input::Event(unanswered(ask, why))).is_err() {
                            return;
                        }
                        continue;
                    }
                    place.insert(asks)
                }
            };
            // It ends only when the engine is gone.
            if thread.send(ask).is_err() {
                return;
            }
        }
    });
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Acks(AckIx),
    Topic(TopicIx),
}

impl Ask {
    const fn about(&self) -> About {
        match self {
            Self::AckEnds { ack, .. } => About::Acks(*ack),
            Self::Fence { topic, .. } => About::Topic(*topic),
        }
    }
}

fn unanswered(ask: Ask, why: String) -> Event {
    match ask {
        Ask::AckEnds { ack, round } => Event::AckEnds {
            ack,
            round,
            answer: Err(AskError::Failed(why.into())),
        },
        Ask::Fence { topic, round } => Event::Fence {
            topic,
            round,
            answer: Err(AskError::Failed(why.into())),
        },
    }
}

fn answer(names: &Names, admin: &Admin, ids: &TopicIds, ask: Ask) -> Event {
    match ask {
        Ask::AckEnds { ack, round } => Event::AckEnds {
            ack,
            round,
            answer: same_ack_ends(names, admin, ids, ack),
        },
        Ask::Fence { topic, round } => Event::Fence {
            topic,
            round,
            answer: fence(names, admin, topic),
        },
    }
}

/// The ends that `read_uncommitted` sees, of all partitions that fresh metadata names.
fn ack_ends(names: &Names, admin: &Admin, ack: AckIx) -> Result<Vec<(i32, i64)>, AskError> {
    let topic = names.ack_topic(ack);
    match admin.topic(topic).map_err(failed)? {
        None => Err(AskError::TopicMissing),
        Some(info) => admin
            .offsets(topic, &info.partitions, At::Latest, false)
            .map_err(failed),
    }
}

/// Of the topic that is read: where one that was made anew ends says nothing of what is applied. The id is asked for after
/// the ends, and never comes back: if it is the same then, it was the same before.
fn same_ack_ends(
    names: &Names,
    admin: &Admin,
    ids: &TopicIds,
    ack: AckIx,
) -> Result<Vec<(i32, i64)>, AskError> {
    let ends = ack_ends(names, admin, ack)?;
    let topic = names.ack_topic(ack);
    let known = ids.read().ok().and_then(|ids| ids.get(topic).cloned());
    let known = known.filter(|id| !id.is_empty());
    let told = admin.topic_ids(&[topic]).map_err(failed)?;
    if let (Some(known), Some(Some(id))) = (known, told.first())
        && known != *id
    {
        return Err(AskError::Failed(
            "the ack topic was deleted and made anew".into(),
        ));
    }
    Ok(ends)
}

/// Ends of what fresh metadata names. A topic that is missing has no partitions; whether that is an answer, the core knows.
fn fence(names: &Names, admin: &Admin, topic: TopicIx) -> Result<Fence, AskError> {
    let acks = |(): &mut ()| match ack_ends(names, admin, names.ack_ix(topic)) {
        Err(AskError::TopicMissing) => Ok(Vec::new()),
        other => other,
    };
    let source = names.topic(topic);
    let sources = |(): &mut ()| match admin.topic(source).map_err(failed)? {
        None => Ok(Vec::new()),
        Some(info) => admin
            .offsets(source, &info.partitions, At::Latest, false)
            .map_err(failed),
    };
    Fence::ask(&mut (), acks, sources)
}

fn failed(problem: KafkaProblem) -> AskError {
    AskError::Failed(problem.to_string().into())
}

/// Keeps partition counts, lag and retention fresh, and looks up where a log begins whose offset was out of range.
pub fn keep_round(
    names: &Names,
    admin: &Admin,
    counts: &PartitionCounts,
    ids: &TopicIds,
    lost: &Receiver<OutOfRange>,
    inputs: &SyncSender<Input>,
) {
    let mut anew = MadeAnew::default();
    let mut pending: Vec<OutOfRange> = Vec::new();
    let mut retention = vec![None; names.config.topics.len()];
    for round in 0_u64.. {
        if round % RETENTION_EVERY == 0 {
            for (topic, kept) in names.config.topics.iter().zip(&mut retention) {
                *kept = retention_ms(admin, &topic.name);
            }
        }
        if look_round(names, admin, counts, &retention, inputs).is_err() {
            return;
        }
        if anew.look(names, admin, ids, inputs).is_err() {
            return;
        }
        // Who has no answer yet does not read on: it is asked again soon.
        let wait = if pending.is_empty() { ROUND } else { AGAIN };
        match lost.recv_timeout(wait) {
            Ok(out) => pending.push(out),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        pending.extend(lost.try_iter());
        pending.dedup();
        // Of a topic that was made anew it is told as such, and its offsets are read anew.
        if !pending.is_empty() {
            match anew.look(names, admin, ids, inputs) {
                Ok(found) => pending.retain(|out| !found.contains(&out.topic)),
                Err(Gone) => return,
            }
        }
        let mut unanswered = Vec::new();
        for out in pending {
            match tell_lost(names, admin, &out, inputs) {
                Ok(true) => {}
                Ok(false) => unanswered.push(out),
                Err(Gone) => return,
            }
        }
        pending = unanswered;
    }
}

/// The engine is gone.
pub(super) struct Gone;

pub(super) fn send(inputs: &SyncSender<Input>, input: Input) -> Result<(), Gone> {
    inputs.send(input).map_err(|_| Gone)
}

/// False: Kafka did not tell where the log begins and ends.
fn tell_lost(
    names: &Names,
    admin: &Admin,
    out: &OutOfRange,
    inputs: &SyncSender<Input>,
) -> Result<bool, Gone> {
    let bound = |at| -> Result<i64, KafkaProblem> {
        let found = admin.offsets(&out.topic, &[out.partition], at, false)?;
        Ok(found.first().map_or(0, |(_, offset)| *offset))
    };
    let bounds = bound(At::Earliest).and_then(|start| Ok((start, bound(At::Latest)?)));
    let (log_start, log_end) = match bounds {
        Ok(bounds) => bounds,
        Err(problem) => {
            tracing::warn!(topic = out.topic, partition = out.partition, %problem, "an offset is out of range, and where the log begins is not told");
            return Ok(false);
        }
    };
    let partition = out.partition;
    if let Some(topic) = names.topic_ix(&out.topic) {
        tracing::warn!(
            topic = out.topic,
            partition,
            log_start,
            "the offset to be read next is not in the log"
        );
        send(
            inputs,
            Input::OfOrder {
                order: out.generation,
                topic,
                partition,
                event: Event::SourceOutOfRange {
                    topic,
                    partition,
                    log_start,
                    log_end,
                },
            },
        )?;
    }
    if let Some(ack) = names.ack_names().iter().position(|n| *n == out.topic) {
        tracing::warn!(
            topic = out.topic,
            partition,
            log_start,
            "the ACK to be read next is not in the log"
        );
        send(
            inputs,
            Input::Event(Event::AckOutOfRange {
                ack: AckIx(ack as u16),
                lane: out.lane,
                generation: out.generation,
                partition,
                log_start,
            }),
        )?;
    }
    Ok(true)
}

/// `None`: without end, or it cannot be told.
fn retention_ms(admin: &Admin, topic: &str) -> Option<i64> {
    let config = admin.topic_config(topic).ok()?;
    config.retention_ms.filter(|ms| *ms >= 0)
}

fn look_round(
    names: &Names,
    admin: &Admin,
    counts: &PartitionCounts,
    retention: &[Option<i64>],
    inputs: &SyncSender<Input>,
) -> Result<(), Gone> {
    let mut source_ends = Vec::new();
    for (i, topic) in names.config.topics.iter().enumerate() {
        let mut ends = Vec::new();
        if let Ok(found) = admin.topic(&topic.name) {
            let partitions = found.map(|info| info.partitions).unwrap_or_default();
            send(
                inputs,
                Input::Event(Event::SourceMissing {
                    topic: TopicIx(i as u16),
                    missing: partitions.is_empty(),
                }),
            )?;
            ends = admin
                .offsets(&topic.name, &partitions, At::Latest, false)
                .unwrap_or_default();
            tell_readable(admin, &topic.name, &partitions, inputs)?;
        }
        source_ends.push(ends);
    }
    for (i, name) in names.ack_names().iter().enumerate() {
        if let Ok(found) = admin.topic(name) {
            let partitions = found.map(|info| info.partitions).unwrap_or_default();
            let ack = AckIx(i as u16);
            tell_readable(admin, name, &partitions, inputs)?;
            send(
                inputs,
                Input::Event(Event::AckPartitions { ack, partitions }),
            )?;
        }
    }
    tell_readable(admin, &names.config.kafka.state_topic, &[0], inputs)?;
    refresh_counts(names, admin, counts);
    send(
        inputs,
        Input::Lag {
            source_ends,
            retention_ms: retention.to_vec(),
        },
    )
}

/// How far the topic can be read: behind a transaction that is not over there may be more.
fn tell_readable(
    admin: &Admin,
    topic: &str,
    partitions: &[i32],
    inputs: &SyncSender<Input>,
) -> Result<(), Gone> {
    match admin.offsets(topic, partitions, At::Latest, true) {
        Ok(ends) => send(
            inputs,
            Input::Ends {
                topic: topic.to_owned(),
                ends,
            },
        ),
        // It is asked again in the next round.
        Err(_) => Ok(()),
    }
}

/// How many partitions the topics have that records are spread over.
pub fn refresh_counts(names: &Names, admin: &Admin, counts: &PartitionCounts) {
    let mut wanted: Vec<&str> = names.ack_names();
    for topic in &names.config.topics {
        if let Some(dead_letter) = topic.policy.dead_letter.as_deref()
            && !wanted.contains(&dead_letter)
        {
            wanted.push(dead_letter);
        }
    }
    // Names that operators set at runtime are known only by what was asked for.
    let asked: Vec<String> = counts
        .read()
        .map(|counts| counts.keys().cloned().collect())
        .unwrap_or_default();
    let all = wanted.into_iter().map(str::to_owned).chain(asked);
    let found: Vec<(String, i32)> = all
        .filter_map(|name| {
            let count = match admin.topic(&name).ok()? {
                Some(info) => info.partitions.len(),
                None => 0,
            };
            Some((name, i32::try_from(count).unwrap_or(0)))
        })
        .collect();
    if let Ok(mut counts) = counts.write() {
        counts.extend(found);
    }
}
