//! The engine's hands: what the core wants done, done with Kafka's clients. Nothing in here waits.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{Sender, SyncSender};
use std::sync::{Arc, RwLock};

use super::engine::Hands;
use super::input::{FetchFor, Input};
use super::names::Names;
use crate::core::event::PublishOutcome;
use crate::core::types::{AckIx, Lane};
use crate::core::{CommitOrder, Event, TopicIx};
use crate::kafka::KafkaProblem;
use crate::kafka::fetch::{FetchRequest, Fetcher, Wanted};
use crate::kafka::member::Member;
use crate::kafka::publisher::Publisher;
use crate::kafka::reader::Reader;
use crate::kafka::readers::Readers;
use crate::kafka::trouble::Trouble;
use crate::ports::Outgoing;
use crate::wire::commit::{CommitMeta, encode};

/// Topic ids by name, as far as the broker tells them.
pub type TopicIds = Arc<RwLock<HashMap<String, String>>>;

/// A question for the look-up thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    AckEnds { ack: AckIx, round: u64 },
    Fence { topic: TopicIx, round: u64 },
}

/// Kafka, as the engine uses it.
pub struct KafkaHands {
    pub names: Names,
    pub source_readers: Readers,
    pub ack_readers: Readers,
    pub rebuild_reader: RebuildReader,
    pub state_reader: Reader,
    pub asks: Sender<Ask>,
    pub fetcher: Fetcher<FetchFor>,
    /// What is to be fetched, and is not handed over yet.
    pub fetches: Vec<FetchRequest<FetchFor>>,
    pub publisher: Publisher,
    pub member: Arc<Member>,
    pub topic_ids: TopicIds,
    pub inputs: SyncSender<Input>,
    pub trouble: Trouble,
}

/// Makes the reader for a rebuild beside others.
pub type MakeReader = Box<dyn Fn() -> Result<Reader, KafkaProblem> + Send>;

/// A second reader of ACK topics, there only while something is rebuilt beside others.
pub struct RebuildReader {
    make: MakeReader,
    reader: Option<Reader>,
    topics: BTreeSet<String>,
}

impl RebuildReader {
    #[must_use]
    pub fn new(make: MakeReader) -> Self {
        Self {
            make,
            reader: None,
            topics: BTreeSet::new(),
        }
    }

    fn read(&mut self, topic: &str, from: &[(i32, i64)], generation: u64) {
        if self.reader.is_none() {
            match (self.make)() {
                Ok(reader) => self.reader = Some(reader),
                // The partitions stay as they are; a restart rebuilds them with the main reader.
                Err(problem) => {
                    tracing::error!(%problem, "new partitions cannot be rebuilt: there is no reader for their ACKs");
                }
            }
        }
        if let Some(reader) = &self.reader {
            reader.read(topic, from, generation);
            self.topics.insert(topic.to_owned());
        }
    }

    fn stop(&mut self, topic: &str) {
        self.topics.remove(topic);
        if self.topics.is_empty() {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            reader.close();
        }
    }
}

impl Hands for KafkaHands {
    fn read_source(&mut self, topic: &str, partition: i32, from: i64, order: u64) {
        self.source_readers.read(topic, &[(partition, from)], order);
    }

    fn stop_source(&mut self, topic: &str, partition: i32) {
        self.source_readers.stop_reading(topic, partition);
    }

    fn pause_source(&mut self, topic: &str, partition: i32, paused: bool) {
        self.source_readers.pause(topic, partition, paused);
    }

    fn read_acks(&mut self, lane: Lane, topic: &str, from: &[(i32, i64)], generation: u64) {
        match lane {
            Lane::Main => self.ack_readers.read(topic, from, generation),
            Lane::Rebuild => self.rebuild_reader.read(topic, from, generation),
        }
    }

    fn stop_rebuild_acks(&mut self, topic: &str) {
        self.rebuild_reader.stop(topic);
    }

    fn purge_queue(&mut self) {
        tracing::warn!(
            "the group has not confirmed that partitions are ours (any more): what waits to be sent is dropped; what is ours is \
             sent again once it has"
        );
        self.publisher.purge_queue();
    }

    fn ask_ack_ends(&mut self, ack: AckIx, round: u64) {
        // The thread ends only with us.
        let _ = self.asks.send(Ask::AckEnds { ack, round });
    }

    fn ask_fence(&mut self, topic: TopicIx, round: u64) {
        let _ = self.asks.send(Ask::Fence { topic, round });
    }

    fn fetch(&mut self, purpose: FetchFor, topic: &str, partition: i32, offset: i64) {
        let wanted = Wanted {
            token: purpose,
            partition,
            offset,
        };
        match self.fetches.last_mut() {
            Some(request) if request.topic == topic => request.wanted.push(wanted),
            _ => self.fetches.push(FetchRequest {
                topic: topic.to_owned(),
                wanted: vec![wanted],
            }),
        }
    }

    fn hand_over(&mut self) {
        for request in self.fetches.drain(..) {
            self.fetcher.fetch(request);
        }
    }

    fn publish(&mut self, token: u64, record: &Outgoing) -> Result<(), PublishOutcome> {
        self.publisher.publish(token, record)
    }

    fn commit(&mut self, orders: Vec<CommitOrder>) {
        let records = orders
            .iter()
            .map(|order| {
                let topic = self.names.topic(order.topic);
                let meta = CommitMeta {
                    acks: order.acks.clone(),
                    cluster_id: self.names.cluster_id.clone(),
                    source_topic_id: self.topic_id(topic),
                    ack_topic_id: self.topic_id(self.names.ack_topic_of(order.topic)),
                    owner: self.names.owner.clone(),
                };
                (topic.to_owned(), order.partition, order.low, encode(&meta))
            })
            .collect();
        let inputs = self.inputs.clone();
        self.member.commit(records, move |sent_ms, results| {
            for (i, order) in orders.iter().enumerate() {
                let outcome: Result<(), Box<str>> = match &results {
                    Ok(each) => match each.get(i) {
                        Some(Ok(())) => Ok(()),
                        Some(Err(why)) => Err(why.as_str().into()),
                        None => Err("no result".into()),
                    },
                    Err(problem) => Err(problem.to_string().into()),
                };
                if let Err(why) = &outcome {
                    tracing::warn!(partition = order.partition, offset = order.low, %why, "a low-water mark was not committed; it is tried again");
                }
                let _ = inputs.send(Input::Event(Event::Committed {
                    topic: order.topic,
                    partition: order.partition,
                    low: order.low,
                    sent_ms,
                    outcome,
                }));
            }
        });
    }

    fn told_ends(&mut self, topic: &str, ends: &[(i32, i64)]) {
        self.source_readers.told_ends(topic, ends);
        self.ack_readers.told_ends(topic, ends);
        self.state_reader.told_ends(topic, ends);
        if let Some(reader) = &self.rebuild_reader.reader {
            reader.told_ends(topic, ends);
        }
    }

    fn topic_id(&self, topic: &str) -> String {
        self.topic_ids
            .read()
            .ok()
            .and_then(|ids| ids.get(topic).cloned())
            .unwrap_or_default()
    }

    fn made_anew(&mut self, topic: &str, id: String) {
        // Where nothing of it is ours any more, nothing is to be known of it.
        if let Ok(mut ids) = self.topic_ids.write()
            && let Some(known) = ids.get_mut(topic)
        {
            *known = id;
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.recent()
    }

    fn stop_reading(&mut self) {
        self.source_readers.close();
        self.ack_readers.close();
        self.rebuild_reader.close();
        self.state_reader.close();
        self.fetcher.close();
    }
}
