//! The engine: one thread that owns the coordinator, takes inputs, and carries out effects.
//!
//! It never waits for Kafka or the disk. What it hands out (`Hands`) comes back as inputs.

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tokio::sync::oneshot;

use super::checkpoints::Checkpoints;
use super::frozen::FrozenLog;
use super::inbox::Answer;
use super::input::{FetchFor, Fetched, Input};
use super::lines::Lines;
use super::names::Names;
use super::orders::SourceOrders;
use super::outbox::Outbox;
use super::outgoing;
use crate::clock;
use crate::core::event::{FetchOutcome, PublishOutcome};
use crate::core::image::PartitionHeader;
use crate::core::offset_hash::ByOffset;
use crate::core::types::{AckIx, Lane};
use crate::core::view::{FrozenWhy, Lookup, OperatorReply};
use crate::core::{CommitOrder, Coordinator, Effect, Event, LogPosition, MsgRef, Now, TopicIx};
use crate::ports::{
    ApiRequest, Checkpoint, Outgoing, OwnedRecord, PartitionDelta, Refusal, Stats, StoreError,
};
use crate::wire::{copy, digest};

/// After a SIGTERM, reports of what is in flight are waited for that long.
const STOP_WAIT_MS: u64 = 10_000;
/// A checkpoint that failed is tried again after this.
const CHECKPOINT_AGAIN_MS: u64 = 10_000;

/// With more early ACKs by id than that, and sources that are behind, ACKs wait for what is there of the sources: one that is
/// kept first takes twice as long as one that finds its message. By position one costs a bit, and waiting more than that.
const EARLY_MANY: usize = 64;

/// The core is to hear of time at least that often.
const TICK_EVERY_MS: u64 = 50;
/// So many answers are told at once, with one look at what follows from them: about a millisecond of work, for which the
/// clock stands still.
const ANSWERS_TOGETHER: usize = 64;
/// What the engine has done: none of these may wait.
pub trait Hands: Send {
    /// What is read from now on belongs to `order`: each has a higher one.
    fn read_source(&mut self, topic: &str, partition: i32, from: i64, order: u64);
    fn stop_source(&mut self, topic: &str, partition: i32);
    fn pause_source(&mut self, topic: &str, partition: i32, paused: bool);
    fn read_acks(&mut self, lane: Lane, topic: &str, from: &[(i32, i64)], generation: u64);
    /// What was rebuilt beside the others has caught up.
    fn stop_rebuild_acks(&mut self, _topic: &str) {}
    /// What waits in the producer's queue is dropped, and reported as that.
    fn purge_queue(&mut self) {}
    fn ask_ack_ends(&mut self, ack: AckIx, round: u64);
    fn ask_fence(&mut self, topic: TopicIx, round: u64);
    /// The answer comes through the [`Inbox`](super::Inbox).
    fn fetch(&mut self, purpose: FetchFor, topic: &str, partition: i32, offset: i64);
    /// Behind each input: what was gathered meanwhile is handed over.
    fn hand_over(&mut self) {}
    /// Submits at once; the report comes through the [`Inbox`](super::Inbox).
    ///
    /// # Errors
    /// It could not be submitted: that is its report.
    fn publish(&mut self, token: u64, record: &Outgoing) -> Result<(), PublishOutcome>;
    fn commit(&mut self, orders: Vec<CommitOrder>);
    /// How far the topic can be read by now.
    fn told_ends(&mut self, _topic: &str, _ends: &[(i32, i64)]) {}
    /// The id of the topic that is read, in Kafka's text form; empty: not told.
    fn topic_id(&self, _topic: &str) -> String {
        String::new()
    }
    /// The topic has another id from now on.
    fn made_anew(&mut self, _topic: &str, _id: String) {}
    /// The last thing that Kafka's client complained about, if it is still news.
    fn trouble(&self) -> Option<String>;
    /// Ends readers; what is in flight goes on.
    fn stop_reading(&mut self);
}

/// What the engine is made of.
pub struct EngineParts {
    pub names: Names,
    pub coordinator: Coordinator,
    pub hands: Box<dyn Hands>,
    pub checkpoints: Option<Checkpoints>,
    pub store_size_bytes: u64,
    /// Runtime overrides and pauses found on the state topic.
    pub state: super::state::KnownState,
}

/// What a submitted record was for.
pub(super) enum Submitted {
    Message {
        msg: MsgRef,
        sequence: u64,
        /// A copy that turns out too large loses `ackwarden-deliveries` first.
        again_without_deliveries: Option<Box<Outgoing>>,
        /// The dead-letter topic, if it went there.
        dead_letter: Option<String>,
    },
    /// A record on the state topic.
    State(super::state::StateWrite),
}

/// A user who waits for a payload, and what it must be: length and digest.
pub(super) struct PayloadCall {
    pub reply: oneshot::Sender<Result<OwnedRecord, Refusal>>,
    pub len: u32,
    pub digest: u64,
}

pub struct Engine {
    pub(super) names: Names,
    pub(super) coordinator: Coordinator,
    pub(super) hands: Box<dyn Hands>,
    checkpoints: Option<Checkpoints>,
    checkpoint_under_way: bool,
    next_checkpoint_ms: u64,
    pub(super) stats: Stats,
    pub(super) payloads: HashMap<MsgRef, OwnedRecord, ByOffset>,
    /// What is being fetched for the core, to verify it: length and digest.
    expected: HashMap<MsgRef, (u32, u64), ByOffset>,
    pub(super) submitted: HashMap<u64, Submitted, ByOffset>,
    /// Empty between two inputs, as is the next.
    pub(super) outbox: Outbox,
    /// What the core is to be told of.
    answered: Vec<Event>,
    /// Where the last dead letter of a message went, for its settlement.
    pub(super) dead_letters: HashMap<MsgRef, String>,
    pub(super) next_token: u64,
    pub(super) operators: HashMap<u64, oneshot::Sender<OperatorReply>>,
    pub(super) payload_calls: HashMap<u64, PayloadCall>,
    pub(super) state: super::state::KnownState,
    /// Changes of policies that are merged with one under way: once that is reported.
    pub(super) changes_waiting: Vec<ApiRequest>,
    source_orders: SourceOrders,
    effects: Vec<Effect>,
    /// When the core was last told of anything.
    pub(super) handled_ms: u64,
    /// Reports of what could not even be submitted.
    pub(super) refused: Vec<(u64, PublishOutcome)>,
    refusals: Refusals,
    written: Written,
    frozen_log: FrozenLog,
    was_ready: bool,
}

/// Records that Kafka refused with one input: there may be thousands, and they are told in one line.
#[derive(Default)]
struct Refusals {
    count: u64,
    first: Option<(MsgRef, Box<str>)>,
}

impl Refusals {
    fn count(&mut self, msg: MsgRef, why: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| (msg, why.into()));
    }

    fn say(&mut self, names: &Names) {
        if let Some((msg, why)) = self.first.take() {
            tracing::warn!(
                records = self.count,
                topic = names.topic(msg.topic),
                partition = msg.partition,
                offset = msg.origin,
                %why,
                "kafka refused records, of which this is the first; they are tried again"
            );
        }
        self.count = 0;
    }
}

/// The headers of the last checkpoint: one that says nothing new is not written, so that an idle service leaves the disk
/// alone.
#[derive(Default)]
struct Written(HashMap<(String, i32), PartitionHeader>);

impl Written {
    fn says_more(&mut self, delta: &PartitionDelta) -> bool {
        let header = PartitionHeader {
            // Ages are kept as times: when nothing else changed, this does not either.
            taken_wall_ms: 0,
            ..delta.header.clone()
        };
        let last = self
            .0
            .insert((delta.topic.clone(), delta.partition), header.clone());
        delta.replace
            || !delta.blocks.is_empty()
            || !delta.details.is_empty()
            || !delta.details_gone.is_empty()
            || last != Some(header)
    }
}

impl Engine {
    #[must_use]
    pub fn new(parts: EngineParts) -> Self {
        let topics = parts.names.config.topics.len();
        Self {
            stats: Stats {
                max_outstanding: parts.names.config.limits.max_outstanding,
                consumer_lag: vec![0; topics],
                retention_left_seconds: vec![None; topics],
                store_size_bytes: parts.store_size_bytes,
                ..Stats::default()
            },
            names: parts.names,
            coordinator: parts.coordinator,
            hands: parts.hands,
            checkpoints: parts.checkpoints,
            checkpoint_under_way: false,
            next_checkpoint_ms: 0,
            payloads: HashMap::default(),
            expected: HashMap::default(),
            submitted: HashMap::default(),
            outbox: Outbox::default(),
            answered: Vec::new(),
            dead_letters: HashMap::new(),
            next_token: 0,
            operators: HashMap::new(),
            payload_calls: HashMap::new(),
            state: parts.state,
            changes_waiting: Vec::new(),
            source_orders: SourceOrders::default(),
            effects: Vec::new(),
            handled_ms: 0,
            refused: Vec::new(),
            refusals: Refusals::default(),
            written: Written::default(),
            frozen_log: FrozenLog::default(),
            was_ready: false,
        }
    }

    /// Runs until [`Input::Stop`], or until nobody can send any more; then stops in order, bounded in time.
    pub fn run(mut self, mut inputs: Lines) {
        for event in self.state.initial_events() {
            self.handle(event);
        }
        loop {
            let now = clock::now();
            let wait = self
                .coordinator
                .next_wakeup_ms(now)
                .saturating_sub(now.mono_ms);
            let within = Duration::from_millis(wait.clamp(1, 100));
            match inputs.next(self.are_acks_ahead(), within) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => {
                    self.take(input);
                    // Users who ask all the time must not keep it from its work.
                    if clock::now().mono_ms >= self.handled_ms + TICK_EVERY_MS {
                        self.handle(Event::Tick);
                        self.finish();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.handle(Event::Tick);
                    self.finish();
                }
            }
            self.checkpoint_if_due();
            self.say_ready();
            self.say_frozen();
        }
        self.stop(inputs);
    }

    /// More ACKs are kept for messages that were not read yet than should be.
    fn are_acks_ahead(&self) -> bool {
        self.coordinator.early_by_id() > EARLY_MANY && self.coordinator.are_sources_behind()
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(event) => {
                if let Event::Revoked { topic, partitions } = &event {
                    let gone =
                        |msg: &MsgRef| msg.topic == *topic && partitions.contains(&msg.partition);
                    self.dead_letters.retain(|msg, _| !gone(msg));
                }
                self.handle(event);
            }
            Input::Source { mut batch, orders } => {
                self.source_orders.drop_outdated(&mut batch, &orders);
                self.handle(Event::SourceBatch(batch));
            }
            Input::OfOrder {
                order,
                topic,
                partition,
                event,
            } => {
                if self.source_orders.is_current(topic, partition, order) {
                    self.handle(event);
                }
            }
            Input::Api(request) => self.answer(request),
            Input::Answers(waiting) => self.take_answers(waiting.take()),
            Input::Checkpointed(outcome) => self.checkpointed(outcome),
            Input::Lag {
                source_ends,
                retention_ms,
            } => self.note_lag(&source_ends, &retention_ms),
            Input::Ends { topic, ends } => self.hands.told_ends(&topic, &ends),
            Input::MadeAnew { name, id, event } => {
                self.hands.made_anew(&name, id);
                self.handle(event);
            }
            Input::State { offset, key, value } => {
                let (key, value) = (key.as_deref(), value.as_deref());
                match self.state.hear(&self.names, offset, key, value) {
                    Ok(Some(event)) => self.handle(event),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%error, "a record of the state topic cannot be read: what it says does not hold here");
                    }
                }
            }
            Input::Stop | Input::OthersWait => {}
        }
        self.finish();
    }

    fn take_answers(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            let event = match answer {
                Answer::Fetched { purpose, result } => self.fetched(purpose, result),
                Answer::Reported { token, outcome } => self.reported(token, outcome),
            };
            self.answered.extend(event);
            if self.answered.len() == ANSWERS_TOGETHER {
                self.tell_answers();
                self.submit_outbox_if_full(clock::now());
            }
        }
        self.tell_answers();
    }

    fn tell_answers(&mut self) {
        if self.answered.is_empty() {
            return;
        }
        let mut answered = std::mem::take(&mut self.answered);
        self.handle_at(answered.drain(..), clock::now());
        self.answered = answered;
    }

    /// What an input has led to is handed over, reported and told.
    fn finish(&mut self) {
        self.submit_outbox();
        while !self.refused.is_empty() {
            for (token, outcome) in std::mem::take(&mut self.refused) {
                if let Some(event) = self.reported(token, outcome) {
                    self.handle(event);
                }
            }
            self.submit_outbox();
        }
        self.hands.hand_over();
        self.refusals.say(&self.names);
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.handle_at([event], clock::now());
    }

    fn handle_at(&mut self, events: impl IntoIterator<Item = Event>, now: Now) {
        let mut effects = std::mem::take(&mut self.effects);
        self.handled_ms = now.mono_ms;
        self.coordinator.handle_events(events, now, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::ReadSource {
                topic,
                partition,
                from,
            } => {
                let order = self.source_orders.given(topic, partition);
                let topic = self.names.topic(topic).to_owned();
                self.hands.read_source(&topic, partition, from, order);
            }
            Effect::StopSource { topic, partition } => {
                self.source_orders.taken_back(topic, partition);
                let topic = self.names.topic(topic).to_owned();
                self.hands.stop_source(&topic, partition);
            }
            Effect::PauseSource { topic, partition } => {
                let topic = self.names.topic(topic).to_owned();
                self.hands.pause_source(&topic, partition, true);
            }
            Effect::ResumeSource { topic, partition } => {
                let topic = self.names.topic(topic).to_owned();
                self.hands.pause_source(&topic, partition, false);
            }
            Effect::ReadAcks {
                ack,
                from,
                generation,
                lane,
            } => {
                let topic = self.names.ack_topic(ack).to_owned();
                self.hands.read_acks(lane, &topic, &from, generation);
            }
            Effect::StopRebuildAcks { ack } => {
                let topic = self.names.ack_topic(ack).to_owned();
                self.hands.stop_rebuild_acks(&topic);
            }
            Effect::PurgeQueue => {
                // What was wanted before it waits to be sent, too.
                self.drop_outbox();
                self.hands.purge_queue();
            }
            Effect::AskAckEnds { ack, round } => self.hands.ask_ack_ends(ack, round),
            Effect::AskFence { topic, round } => self.hands.ask_fence(topic, round),
            Effect::FetchPayload {
                msg,
                offset,
                len,
                digest,
            } => {
                self.expected.insert(msg, (len, digest));
                let topic = self.names.topic(msg.topic);
                let purpose = FetchFor::Message(msg);
                self.hands.fetch(purpose, topic, msg.partition, offset);
            }
            Effect::DiscardPayload { msg } => {
                self.payloads.remove(&msg);
                self.expected.remove(&msg);
            }
            Effect::Publish(publish) => self.publish(publish),
            Effect::Commit(orders) => self.hands.commit(orders),
            Effect::Reply { request, reply } => {
                if let Some(call) = self.operators.remove(&request) {
                    // Who asked may have gone away.
                    let _ = call.send(reply);
                }
            }
        }
    }

    /// Gives the token that its report comes with.
    pub(super) fn submit(&mut self, record: &Outgoing) -> u64 {
        self.next_token += 1;
        if let Err(outcome) = self.hands.publish(self.next_token, record) {
            // Not through the inputs: they may be full, and only this thread empties them.
            self.refused.push((self.next_token, outcome));
        }
        self.next_token
    }

    /// What the core is to hear of it.
    fn reported(&mut self, token: u64, outcome: PublishOutcome) -> Option<Event> {
        match self.submitted.remove(&token)? {
            Submitted::State(write) => {
                // What was decided before it is done before the user hears that it holds.
                self.tell_answers();
                self.submit_outbox();
                self.state_written(write, outcome);
                None
            }
            Submitted::Message {
                msg,
                sequence,
                again_without_deliveries,
                dead_letter,
            } => {
                if let (PublishOutcome::TooLarge, Some(mut record)) =
                    (&outcome, again_without_deliveries)
                    && self.is_unsettled(msg)
                {
                    if self.is_lease_lapsed(msg.topic) {
                        // It is not in the log, and what is shorter may not be sent now.
                        return Some(Event::Published {
                            msg,
                            sequence,
                            outcome: PublishOutcome::Dropped,
                        });
                    }
                    record.headers = copy::without_deliveries(record.headers);
                    let what = Submitted::Message {
                        msg,
                        sequence,
                        again_without_deliveries: None,
                        dead_letter: None,
                    };
                    let token = self.submit(&record);
                    self.submitted.insert(token, what);
                    return None;
                }
                if let (Some(topic), PublishOutcome::Durable(at)) = (dead_letter, &outcome)
                    && at.offset >= 0
                {
                    let at = outgoing::dead_letter_position(&topic, at.partition, at.offset);
                    self.dead_letters.insert(msg, at);
                }
                if let PublishOutcome::Refused(why) = &outcome {
                    self.refusals.count(msg, why);
                }
                tracing::debug!(
                    topic = self.names.topic(msg.topic),
                    partition = msg.partition,
                    offset = msg.origin,
                    sequence,
                    ?outcome,
                    "reported"
                );
                Some(Event::Published {
                    msg,
                    sequence,
                    outcome,
                })
            }
        }
    }

    /// Nothing was said meanwhile that settles it.
    fn is_unsettled(&self, msg: MsgRef) -> bool {
        let at = LogPosition::new(msg.partition, msg.origin);
        match self.coordinator.lookup(msg.topic, at, clock::now()) {
            Lookup::Found(found) => !found.message.state.is_settled(),
            _ => false,
        }
    }

    fn is_lease_lapsed(&self, topic: TopicIx) -> bool {
        let frozen = self.coordinator.frozen_topics(clock::now());
        frozen
            .iter()
            .any(|(ix, frozen)| *ix == topic && frozen.why == FrozenWhy::LeaseLapsed)
    }

    /// What the core is to hear of it.
    fn fetched(&mut self, purpose: FetchFor, result: Fetched) -> Option<Event> {
        let msg = match purpose {
            FetchFor::Api(call) => {
                if let Some(call) = self.payload_calls.remove(&call) {
                    let (len, wanted) = (call.len, call.digest);
                    let _ = call.reply.send(match result {
                        Fetched::Record(record) => {
                            verified(*record, len, wanted).map_err(Refusal::PayloadGone)
                        }
                        Fetched::Gone(why) => Err(Refusal::PayloadGone(why)),
                        Fetched::Failed(why) => Err(Refusal::Kafka(why)),
                    });
                }
                return None;
            }
            FetchFor::Message(msg) => msg,
        };
        // Discarded meanwhile: settled, or asked for anew.
        let (len, wanted) = self.expected.remove(&msg)?;
        let outcome = match result {
            Fetched::Record(record) => match verified(*record, len, wanted) {
                Ok(record) => {
                    let headers = record.headers.iter();
                    let bytes: usize = headers
                        .map(|(n, v)| n.len() + v.as_ref().map_or(0, Vec::len))
                        .sum();
                    let size_bytes = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(len);
                    self.payloads.insert(msg, record);
                    FetchOutcome::Found { size_bytes }
                }
                Err(why) => FetchOutcome::Gone(why.into()),
            },
            Fetched::Gone(why) => FetchOutcome::Gone(why.into()),
            Fetched::Failed(why) => FetchOutcome::Failed(why.into()),
        };
        Some(Event::Fetched { msg, outcome })
    }

    fn checkpoint_if_due(&mut self) {
        let now = clock::now();
        if self.checkpoint_under_way || now.mono_ms < self.next_checkpoint_ms {
            return;
        }
        self.checkpoint(now);
    }

    fn checkpoint(&mut self, now: Now) {
        let Some(checkpoints) = &self.checkpoints else {
            return;
        };
        if !self.coordinator.is_ready() {
            return;
        }
        let every = self.names.config.store.checkpoint_interval.as_millis();
        self.next_checkpoint_ms = now.mono_ms + u64::try_from(every).unwrap_or(1_000);
        let changes = self.coordinator.take_checkpoint(now);
        let partitions: Vec<PartitionDelta> = changes
            .into_iter()
            .map(|(topic, partition, change)| PartitionDelta {
                topic: self.names.topic(topic).to_owned(),
                partition,
                topic_id: self.hands.topic_id(self.names.topic(topic)),
                header: change.header,
                blocks: change.blocks,
                details: change.details,
                details_gone: change.details_gone,
                replace: change.replace,
            })
            .filter(|delta: &PartitionDelta| self.written.says_more(delta))
            .collect();
        if partitions.is_empty() {
            return;
        }
        self.checkpoint_under_way = true;
        checkpoints.write(Checkpoint { partitions });
    }

    fn checkpointed(&mut self, outcome: Result<super::input::CheckpointDone, StoreError>) {
        self.checkpoint_under_way = false;
        match outcome {
            Ok(done) => {
                if self.stats.store_trouble.take().is_some() {
                    tracing::info!("checkpoints are written again");
                }
                self.stats.checkpoints += 1;
                self.stats.checkpoint_seconds_last = done.seconds;
                self.stats.checkpoint_seconds_sum += done.seconds;
                self.stats.store_size_bytes = done.store_size_bytes;
            }
            Err(error) => {
                if self.stats.store_trouble.is_none() {
                    tracing::warn!(%error, "no checkpoint was written; nothing is lost: a restart reads more of kafka");
                }
                self.stats.store_trouble = Some(error.to_string());
                self.coordinator.checkpoint_anew();
                self.next_checkpoint_ms = clock::now().mono_ms + CHECKPOINT_AGAIN_MS;
            }
        }
    }

    fn note_lag(&mut self, source_ends: &[Vec<(i32, i64)>], retention_ms: &[Option<i64>]) {
        for view in self.coordinator.topic_views(clock::now()) {
            let ix = usize::from(view.topic.0);
            let applied = |n: i32| view.partitions.iter().find(|p| p.partition == n);
            if let (Some(lag), Some(ends)) =
                (self.stats.consumer_lag.get_mut(ix), source_ends.get(ix))
            {
                // Of those that are ours.
                *lag = ends
                    .iter()
                    .filter_map(|(n, end)| Some(end - applied(*n)?.source_applied))
                    .map(|behind| u64::try_from(behind).unwrap_or(0))
                    .sum();
            }
            if let (Some(left), Some(retention)) = (
                self.stats.retention_left_seconds.get_mut(ix),
                retention_ms.get(ix),
            ) {
                // What is outstanding has been so at least since it was seen.
                let oldest = view.oldest_age_ms.unwrap_or(0) as f64;
                *left = retention.map(|ms| ((ms as f64 - oldest) / 1_000.0).max(0.0));
            }
        }
    }

    fn say_ready(&mut self) {
        let ready = self.coordinator.is_ready();
        if ready && !self.was_ready {
            tracing::info!(
                outstanding = self.coordinator.outstanding(),
                "ready: partitions are assigned and rebuilt"
            );
        }
        self.was_ready = ready;
    }

    fn say_frozen(&mut self) {
        let now = clock::now();
        if self.frozen_log.is_due(now.mono_ms) {
            self.frozen_log
                .look(&self.names, self.coordinator.frozen_topics(now));
            FrozenLog::lost(&self.names, self.coordinator.take_lost_ranges());
        }
    }

    /// Stop firing, wait for reports, checkpoint, commit, close: bounded in time.
    fn stop(mut self, mut inputs: Lines) {
        tracing::info!("stopping: no more retries; waiting for what is in flight");
        self.handle(Event::Stop);
        let until = clock::now().mono_ms + STOP_WAIT_MS;
        while !self.submitted.is_empty() && clock::now().mono_ms < until {
            match inputs.next(false, Duration::from_millis(50)) {
                Ok(Input::Api(_)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(input) => {
                    self.take(input);
                    // Users who ask all the time must not keep it from its work.
                    if clock::now().mono_ms >= self.handled_ms + TICK_EVERY_MS {
                        self.handle(Event::Tick);
                        self.finish();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.hands.stop_reading();
        self.give_up_operators();
        if !self.submitted.is_empty() {
            tracing::warn!(
                records = self.submitted.len(),
                "kafka has not reported on all that was in flight; the next start sorts it out"
            );
        }
        while self.checkpoint_under_way && clock::now().mono_ms < until {
            match inputs.next(false, Duration::from_millis(50)) {
                Ok(Input::Checkpointed(outcome)) => self.checkpointed(outcome),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.checkpoint(clock::now());
        // The last low-water marks: a commit's turn comes with the tick.
        let now = clock::now();
        let later = Now {
            mono_ms: now.mono_ms + 3_600_000,
            ..now
        };
        self.handle_at([Event::Tick], later);
        if let Some(mut checkpoints) = self.checkpoints.take() {
            checkpoints.finish();
            // Whoever still has something to say must not wait for us, least of all the store's thread.
            while !checkpoints.is_finished() && clock::now().mono_ms < until + STOP_WAIT_MS {
                inputs.clear();
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// The record, if it is the one that was read: length and digest of key and value.
fn verified(record: OwnedRecord, len: u32, wanted: u64) -> Result<OwnedRecord, String> {
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    if digest::size(key, value) == len && digest::digest(key, value) == wanted {
        Ok(record)
    } else {
        Err(format!(
            "another record stands at offset {} of partition {}: the topic was made anew",
            record.offset, record.partition
        ))
    }
}
