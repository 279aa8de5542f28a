//! What is done once, before anything is tracked: reach Kafka, read the state topic, look at the topics, and give birth
//! to those that are new.
//!
//! Birth: ACK ends E0 are read, then source ends S0 (as `start` says), then one record with all of them is durable on
//! the state topic. Only then is anything committed or read. So a crash at any point begins again at the same place. Of
//! several instances, the one that has partition 0 writes it; the others wait for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::names::Names;
use super::state::{KnownState, state_record};
use crate::clock;
use crate::config::{Start, TopicConfig};
use crate::core::event::{Fence, PublishOutcome};
use crate::core::types::LOG_START;
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, At};
use crate::kafka::publisher::{PartitionCounts, Publisher};
use crate::kafka::reader::{Applied, Reader, RecordSink};
use crate::kafka::settings::ClientSettings;
use crate::kafka::trouble::Trouble;
use crate::ports::{Outgoing, RawRecord};
use crate::wire::state::{Birth, StateError, StateRecord};

/// Why there is no Kafka yet is said again that often, ms.
const WAITING_MS: u64 = 60_000;

/// A reader of the state topic from which nothing comes for that long is given up, and begun anew.
const STATE_STANDS_STILL: Duration = Duration::from_secs(20);

/// So many brokers' answers in a row, that far apart, have to say that a topic is not there.
const MISSING_LOOKS: u32 = 6;
const MISSING_LOOK_EVERY: Duration = Duration::from_millis(500);

/// What keeps the service from starting; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(transparent)]
    Kafka(#[from] KafkaProblem),
    #[error(transparent)]
    State(#[from] StateError),
    /// The broker does not make the state topic, and it is not there.
    #[error(
        "the state topic {topic} does not exist and cannot be created ({why}): create it with one partition and cleanup.policy=compact"
    )]
    StateTopic { topic: String, why: String },
    /// A topic that would lose messages if it were tracked.
    #[error("{0}")]
    TopicRefused(String),
    /// SIGTERM while waiting.
    #[error("stopped before it was ready")]
    Stopped,
}

/// Waits for a broker, saying so. Gives the cluster's id.
///
/// # Errors
/// [`PrepareError::Stopped`] once `stopped` says so.
pub fn wait_for_kafka(
    admin: &Admin,
    brokers: &str,
    stopped: &dyn Fn() -> bool,
) -> Result<String, PrepareError> {
    let mut told: Option<u64> = None;
    loop {
        if stopped() {
            return Err(PrepareError::Stopped);
        }
        match admin.reach() {
            Ok(()) => {
                if let Some(id) = admin.cluster_id() {
                    return Ok(id);
                }
            }
            Err(problem) => {
                let now = clock::now().mono_ms;
                if told.is_none_or(|at| now >= at + WAITING_MS) {
                    told = Some(now);
                    match admin.complaint() {
                        // Logged already, as a line of its own.
                        Some(_) => tracing::warn!("waiting for kafka at {brokers}"),
                        None => tracing::warn!("waiting for kafka at {brokers}: {problem}"),
                    }
                }
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Key and value.
type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

struct StateSink {
    records: Vec<KeyValue>,
    /// Records, and the position behind them.
    batches: std::sync::mpsc::Sender<(Vec<KeyValue>, i64)>,
}

impl RecordSink for StateSink {
    fn record(&mut self, record: &RawRecord<'_>) {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        self.records.push((owned(record.key), owned(record.value)));
    }

    fn end_of_batch(&mut self, applied: &[Applied]) {
        let position = applied.first().map_or(0, |a| a.position);
        let _ = self
            .batches
            .send((std::mem::take(&mut self.records), position));
    }

    fn out_of_range(&mut self, _topic: &str, _partition: i32, _generation: u64) {}
}

/// The state topic, and how far it was read.
pub struct ReadState {
    pub state: KnownState,
    pub to: i64,
}

/// Reads the state topic to its end; creates it if it is missing.
///
/// # Errors
/// [`PrepareError`].
pub fn read_state(
    names: &Names,
    admin: &Admin,
    settings: &ClientSettings,
    trouble: &Trouble,
    stopped: &dyn Fn() -> bool,
) -> Result<ReadState, PrepareError> {
    let topic = names.config.kafka.state_topic.as_str();
    let missing = |why: String| PrepareError::StateTopic {
        topic: topic.to_owned(),
        why,
    };
    if admin.topic(topic)?.is_none() {
        // Like the sources; with none there yet, as the broker has it.
        let mut replication = None;
        for source in &names.config.topics {
            let info = admin.topic(&source.name)?;
            replication = replication.max(info.map(|info| info.replication));
        }
        match admin.create_compacted(topic, replication) {
            Ok(()) => {}
            Err(problem @ KafkaProblem::Unreachable(_)) => return Err(problem.into()),
            Err(problem) => return Err(missing(problem.to_string())),
        }
        tracing::info!(topic, "created the state topic");
        let mut tries = 0;
        while admin.topic(topic)?.is_none() {
            tries += 1;
            if tries > 50 {
                return Err(missing("it was created, and is not seen".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    match admin.topic_config(topic) {
        Ok(config) if !config.compacted => {
            return Err(PrepareError::TopicRefused(format!(
                "the state topic {topic} is not compacted, so that what users changed would be forgotten with its \
                 retention: set cleanup.policy=compact"
            )));
        }
        Ok(_) => {}
        Err(problem) => {
            tracing::warn!(topic, %problem, "cannot be checked: is the state topic compacted?");
        }
    }
    let end = match admin.offsets(topic, &[0], At::Latest, false)?.first() {
        Some((_, end)) => *end,
        None => 0,
    };
    let mut state = KnownState::default();
    if end == 0 {
        return Ok(ReadState { state, to: 0 });
    }
    let (batches, received) = channel();
    let sink = StateSink {
        records: Vec::new(),
        batches,
    };
    let mut reader = Reader::spawn("state", &settings.reader("state"), trouble, sink)?;
    reader.read(topic, &[(0, LOG_START)], 0);
    reader.told_ends(topic, &[(0, end)]);
    let mut position = 0;
    let mut moved = clock::instant();
    while position < end {
        if stopped() {
            return Err(PrepareError::Stopped);
        }
        if moved.elapsed() > STATE_STANDS_STILL {
            return Err(KafkaProblem::Unreachable(format!(
                "nothing came from the state topic {topic} at {position} of {end}: look at its leader"
            ))
            .into());
        }
        if let Ok((records, applied)) = received.recv_timeout(Duration::from_millis(200)) {
            for (key, value) in records {
                state.apply(names, key.as_deref(), value.as_deref())?;
            }
            position = applied;
            moved = clock::instant();
        }
    }
    reader.close();
    Ok(ReadState {
        state,
        to: position,
    })
}

/// Refuses what would lose messages, warns of what might. What a broker cannot or may not tell is a warning.
///
/// # Errors
/// [`PrepareError::TopicRefused`]; [`PrepareError::Kafka`]: Kafka did not answer.
pub fn look_at_topics(names: &Names, admin: &Admin) -> Result<(), PrepareError> {
    for topic in &names.config.topics {
        let source = existing_config(
            admin,
            &topic.name,
            "it is waited for, and followed from its first record",
        )?;
        let acks = existing_config(
            admin,
            &topic.ack_topic,
            "messages are tracked, and none is retried until it is created, with cleanup.policy=delete and at least the \
             source's retention",
        )?;
        if let Some(dead_letter) = &topic.policy.dead_letter {
            existing_config(
                admin,
                dead_letter,
                "exhausted and rejected messages stay, visible, until it is created",
            )?;
        }
        if source.as_ref().is_some_and(|c| c.compacted) {
            return Err(PrepareError::TopicRefused(format!(
                "the source topic {} is compacted: a retry in place would be put over a newer value of its key. Track a \
                 topic with cleanup.policy=delete",
                topic.name
            )));
        }
        if acks.as_ref().is_some_and(|c| c.compacted) {
            return Err(PrepareError::TopicRefused(format!(
                "the ack topic {} is compacted: an ACK that is still needed could be removed. Set \
                 cleanup.policy=delete, with at least the retention of the source",
                topic.ack_topic
            )));
        }
        if let (Some(source), Some(acks)) = (source, acks) {
            let unbounded = |ms: Option<i64>| ms.filter(|ms| *ms >= 0).unwrap_or(i64::MAX);
            if unbounded(acks.retention_ms) < unbounded(source.retention_ms) {
                tracing::warn!(
                    ack_topic = topic.ack_topic,
                    source = topic.name,
                    "the ack topic keeps its records for a shorter time than the source: ACKs could be gone while their \
                     messages are still tracked. Raise its retention.ms"
                );
            }
        }
    }
    Ok(())
}

/// Where there is none, the log says so, and what follows.
fn existing_config(
    admin: &Admin,
    name: &str,
    if_missing: &str,
) -> Result<Option<crate::kafka::admin::TopicConfigInfo>, KafkaProblem> {
    match admin.topic(name) {
        Ok(Some(_)) => {}
        Ok(None) => {
            tracing::warn!(topic = name, "the topic does not exist: {if_missing}");
            return Ok(None);
        }
        Err(away @ KafkaProblem::Unreachable(_)) => return Err(away),
        // Forbidden, say: what needs it says so when it does.
        Err(problem) => {
            tracing::warn!(topic = name, %problem, "the topic cannot be looked at");
            return Ok(None);
        }
    }
    match admin.topic_config(name) {
        Ok(config) => Ok(Some(config)),
        // The right to ask may be missing.
        Err(problem) => {
            tracing::warn!(topic = name, %problem, "cannot be checked: cleanup.policy and retention");
            Ok(None)
        }
    }
}

/// Whether the topic is not there. A broker that has just started may not know of it yet: it has to say so for a while.
#[must_use]
pub fn is_missing(admin: &Admin, topic: &str, stopped: &dyn Fn() -> bool) -> bool {
    for look in 0..MISSING_LOOKS {
        if look > 0 {
            std::thread::sleep(MISSING_LOOK_EVERY);
        }
        if stopped() || !matches!(admin.topic(topic), Ok(None)) {
            return false;
        }
    }
    true
}

/// Writes the birth of those of the topics that have none yet. `ours`: partitions that are there, whatever a broker that has
/// just started says.
///
/// # Errors
/// Kafka did not answer, or did not take the record.
pub fn give_birth(
    names: &Names,
    admin: &Admin,
    state: &mut KnownState,
    scribe: &Scribe,
    ours: &[(String, i32)],
    wanted: impl Fn(&TopicConfig) -> bool,
) -> Result<(), PrepareError> {
    for topic in names.config.topics.iter().filter(|t| wanted(t)) {
        if state.birth(&topic.name).is_some() {
            continue;
        }
        let birth = conceive(names, admin, topic)?;
        let mut there = ours.iter().filter(|(name, _)| *name == topic.name);
        if let Some((name, partition)) =
            there.find(|(_, p)| birth.source.iter().all(|(known, _)| known != p))
        {
            return Err(KafkaProblem::Unreachable(format!(
                "who answers does not know {name}/{partition} yet, which the group gave to us"
            ))
            .into());
        }
        let record = StateRecord::Birth {
            topic: topic.name.clone(),
            birth: Some(birth.clone()),
        };
        let outgoing = state_record(names, &record);
        scribe.write_durably(&outgoing)?;
        tracing::info!(
            topic = topic.name,
            partitions = birth.source.len(),
            "first look: tracked from here on"
        );
        state.set_birth(&topic.name, birth);
    }
    Ok(())
}

fn conceive(names: &Names, admin: &Admin, topic: &TopicConfig) -> Result<Birth, PrepareError> {
    // Of an old message, the ACK may stand anywhere; of what comes from now on, only from now on.
    let ack_at = match topic.start {
        Start::Now => At::Latest,
        Start::Earliest | Start::At(_) => At::Earliest,
    };
    let acks = |(): &mut ()| match admin.topic(&topic.ack_topic)? {
        Some(info) => admin.offsets(&topic.ack_topic, &info.partitions, ack_at, false),
        None => Ok(Vec::new()),
    };
    let source = |(): &mut ()| match admin.topic(&topic.name)? {
        None => Ok(Vec::new()),
        Some(info) => {
            let (name, partitions) = (&topic.name, &info.partitions);
            match topic.start {
                Start::Now => admin.offsets(name, partitions, At::Latest, false),
                Start::Earliest => admin.offsets(name, partitions, At::Earliest, false),
                Start::At(ms) => {
                    let found = admin.offsets(name, partitions, At::Timestamp(ms), false)?;
                    let ends = admin.offsets(name, partitions, At::Latest, false)?;
                    let pairs = found.into_iter().zip(ends);
                    Ok(pairs
                        .map(|((p, at), (_, end))| (p, if at < 0 { end } else { at }))
                        .collect())
                }
            }
        }
    };
    let born = Fence::ask(&mut (), acks, source)?;
    let mut ids = admin
        .topic_ids(&[&topic.name, &topic.ack_topic])?
        .into_iter();
    Ok(Birth {
        source: born.source_ends,
        acks: born.ack_ends,
        cluster_id: names.cluster_id.clone(),
        source_topic_id: ids.next().flatten(),
        ack_topic_id: ids.next().flatten(),
        at_ms: clock::wall_ms(),
    })
}

/// A producer for the few records that are written beside the engine: each is waited for.
pub struct Scribe {
    publisher: Publisher,
    reports: Receiver<(u64, PublishOutcome)>,
}

impl Scribe {
    /// # Errors
    /// The settings make no client.
    pub fn spawn(settings: &ClientSettings, trouble: &Trouble) -> Result<Self, KafkaProblem> {
        let (reported, reports) = channel();
        let report = Arc::new(move |token, outcome| {
            // Given up waiting: it is written again, or not needed any more.
            let _ = reported.send((token, outcome));
        });
        let counts = PartitionCounts::default();
        Ok(Self {
            publisher: Publisher::spawn(&settings.publisher(), trouble, counts, report)?,
            reports,
        })
    }

    fn write_durably(&self, record: &Outgoing) -> Result<(), PrepareError> {
        let topic = &record.topic;
        for token in 0..5 {
            let outcome = match self.publisher.publish(token, record) {
                Ok(()) => self.report_of(token),
                Err(outcome) => Some(outcome),
            };
            match outcome {
                Some(PublishOutcome::Durable(_)) => return Ok(()),
                // A birth that is written twice says the same.
                Some(PublishOutcome::Ambiguous(_) | PublishOutcome::Dropped) | None => {}
                Some(PublishOutcome::Refused(why)) => {
                    return Err(KafkaProblem::Refused(format!(
                        "the state topic {topic} does not take a record: {why}"
                    ))
                    .into());
                }
                Some(PublishOutcome::TooLarge) => {
                    return Err(KafkaProblem::Refused(format!(
                        "a record for the state topic {topic} is too large: raise its max.message.bytes"
                    ))
                    .into());
                }
            }
        }
        Err(KafkaProblem::Unreachable(format!(
            "the state topic {topic} did not report a record in time"
        ))
        .into())
    }

    fn report_of(&self, token: u64) -> Option<PublishOutcome> {
        loop {
            match self.reports.recv_timeout(Duration::from_secs(60)) {
                Ok((of, outcome)) if of == token => return Some(outcome),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}
