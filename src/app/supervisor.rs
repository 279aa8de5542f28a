//! The group's side of things while the engine runs: what becomes ours, and what is taken from us.
//!
//! A partition that the group gave to us is looked up (where it stands, what the store has of it) and then handed to the
//! engine. One of a topic without a birth waits for it: whoever has partition 0 writes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::store::open_store_anew;
use super::{ServeError, StopSwitch};
use crate::clock;
use crate::config::TopicConfig;
use crate::core::types::Lane;
use crate::core::{Coordinator, Event};
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, Broker};
use crate::kafka::fetch::{FetchAnswer, Fetcher};
use crate::kafka::member::{Member, MemberEvent};
use crate::kafka::publisher::{PartitionCounts, Publisher};
use crate::kafka::reader::Reader;
use crate::kafka::readers::Readers;
use crate::kafka::settings::ClientSettings;
use crate::kafka::trouble::Trouble;
use crate::ports::{Store, StoreIdentity};
use crate::runtime::prepare::{self, PrepareError, Scribe};
use crate::runtime::{
    AckLine, AckSink, Answer, Checkpoints, Engine, EngineParts, Fetched, Images, Inbox, Input,
    KafkaHands, KnownState, Lines, Look, Names, RebuildReader, SourceSink, StateSink, TopicIds,
    answer_asks, keep_round, take_over,
};

/// Where not all topics can be taken over together: for how long they are tried one by one.
const EACH_TOPIC_WITHIN: Duration = Duration::from_secs(20);
/// What Kafka did not answer is asked again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Without an assignment for so long, it is asked whether there is any partition for us.
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// Keeps the group's side of things while the engine runs.
pub(super) struct Supervisor<'a> {
    pub(super) names: Names,
    pub(super) admin: Admin,
    pub(super) member: Arc<Member>,
    pub(super) member_events: Receiver<MemberEvent>,
    pub(super) state: KnownState,
    pub(super) ids: TopicIds,
    pub(super) images: Images,
    pub(super) instance_id: String,
    /// When the group last took us for somebody else of our name.
    pub(super) joined_anew: Option<Instant>,
    /// `session.timeout.ms`.
    pub(super) session: Duration,
    pub(super) stop: &'a Arc<StopSwitch>,
    /// What the group gave to us.
    pub(super) ours: Vec<(String, i32)>,
    /// Of that, what is not handed to the engine yet.
    pub(super) pending: Vec<(String, i32)>,
    pub(super) settings: ClientSettings,
    pub(super) trouble: Trouble,
    pub(super) broker: Broker,
}

impl Supervisor<'_> {
    pub(super) fn start_engine(
        &self,
        store: Box<dyn Store>,
        state_read_to: i64,
        publisher: Publisher,
        counts: PartitionCounts,
        inbox: Inbox,
        (ack_line, received): (AckLine, Lines),
    ) -> Result<JoinHandle<()>, ServeError> {
        let inputs = inbox.inputs().clone();
        let names = self.names.clone();
        let (settings, trouble) = (&self.settings, &self.trouble);
        let (lost, lost_received) = channel();
        let rules = &names.rules;
        let source_sink = || SourceSink::new(Arc::clone(rules), inputs.clone(), lost.clone());
        let ack_sink = || {
            AckSink::new(
                Lane::Main,
                Arc::clone(rules),
                ack_line.clone(),
                lost.clone(),
            )
        };
        let source_readers = Readers::spawn(
            "source-reader",
            &settings.reader("source-reader"),
            trouble,
            source_sink,
        )?;
        let ack_readers = Readers::spawn(
            "ack-reader",
            &settings.reader("ack-reader"),
            trouble,
            ack_sink,
        )?;
        let rebuild_reader = RebuildReader::new(Box::new({
            let (rules, line) = (Arc::clone(rules), ack_line.clone());
            let (settings, trouble) = (settings.reader("rebuild-reader"), trouble.clone());
            move || {
                let (rules, line) = (Arc::clone(&rules), line.clone());
                let sink = AckSink::new(Lane::Rebuild, rules, line, lost.clone());
                Reader::spawn("rebuild-reader", &settings, &trouble, sink)
            }
        }));
        let (asks, asked) = channel();
        let ask_admin = Admin::new("asks", &settings.admin(), trouble, self.broker)?;
        let round_admin = Admin::new("round", &settings.admin(), trouble, self.broker)?;
        std::thread::Builder::new().name("asks".into()).spawn({
            let (names, inputs) = (names.clone(), inputs.clone());
            let ids = Arc::clone(&self.ids);
            move || answer_asks(&names, &ask_admin, &ids, &asked, &inputs)
        })?;
        std::thread::Builder::new().name("round".into()).spawn({
            let (names, inputs) = (names.clone(), inputs.clone());
            let ids = Arc::clone(&self.ids);
            move || keep_round(&names, &round_admin, &counts, &ids, &lost_received, &inputs)
        })?;
        let state_reader = Reader::spawn(
            "state",
            &settings.reader("state"),
            trouble,
            StateSink(inputs.clone()),
        )?;
        let state_topic = &names.config.kafka.state_topic;
        state_reader.read(state_topic, &[(0, state_read_to)], 0);
        let hands = KafkaHands {
            state_reader,
            source_readers,
            ack_readers,
            rebuild_reader,
            asks,
            fetcher: Fetcher::spawn(&settings.fetcher(), trouble, move |answers| {
                inbox.put(answers.into_iter().map(|(purpose, answer)| {
                    let result = match answer {
                        FetchAnswer::Record(record) => Fetched::Record(record),
                        FetchAnswer::Gone(why) => Fetched::Gone(why),
                        FetchAnswer::Failed(why) => Fetched::Failed(why),
                    };
                    Answer::Fetched { purpose, result }
                }));
            })?,
            fetches: Vec::new(),
            publisher,
            member: Arc::clone(&self.member),
            topic_ids: Arc::clone(&self.ids),
            inputs: inputs.clone(),
            trouble: trouble.clone(),
            names: names.clone(),
        };
        let path = names.config.store.path.clone();
        let reopen = Box::new(move || open_store_anew(&path));
        let store_size_bytes = store.size_bytes();
        let identity = StoreIdentity {
            instance_id: names.owner.clone(),
            cluster_id: names.cluster_id.clone(),
        };
        let checkpoints = Checkpoints::spawn(store, identity, reopen, inputs)?;
        let seed = clock::now().wall_ms as u64 ^ u64::from(std::process::id());
        let engine = Engine::new(EngineParts {
            coordinator: Coordinator::new(names.topic_settings(), names.core_limits(), seed),
            names,
            hands: Box::new(hands),
            checkpoints: Some(checkpoints),
            store_size_bytes,
            state: self.state.clone(),
        });
        Ok(std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || engine.run(received))?)
    }

    /// Until somebody stops us, or Kafka does.
    pub(super) fn supervise(
        &mut self,
        inputs: &SyncSender<Input>,
        engine: &JoinHandle<()>,
    ) -> Result<(), ServeError> {
        let mut ask_idle = Some(clock::instant() + IDLE_AFTER);
        let mut again = clock::instant();
        loop {
            if self.stop.is_stopped() {
                return Ok(());
            }
            if engine.is_finished() {
                return Err(ServeError::Engine);
            }
            match self.member_events.recv_timeout(Duration::from_millis(100)) {
                Ok(MemberEvent::Assigned(partitions)) => {
                    if partitions.is_empty() && self.ours.is_empty() {
                        stand_by(inputs);
                    }
                    self.assigned(partitions);
                    ask_idle = None;
                    again = clock::instant();
                }
                Ok(MemberEvent::Revoked(gone)) => self.revoked(gone, inputs),
                Ok(MemberEvent::Fatal {
                    fenced: true,
                    message,
                }) => {
                    self.fenced(&message, inputs)?;
                    ask_idle = Some(clock::instant() + IDLE_AFTER);
                }
                Ok(MemberEvent::Fatal { message, .. }) => return Err(ServeError::Fatal(message)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ServeError::Fatal("the member ended".to_owned()));
                }
            }
            if !self.pending.is_empty() && clock::instant() >= again {
                if let Err(problem) = self.hand_over(inputs)? {
                    tracing::warn!("waiting for kafka: {problem}");
                }
                again = clock::instant() + AGAIN_AFTER;
            }
            if ask_idle.is_some_and(|at| clock::instant() >= at) {
                ask_idle = Some(clock::instant() + IDLE_AFTER);
                if self.is_idle() {
                    stand_by(inputs);
                    ask_idle = None;
                }
            }
        }
    }

    /// The group has another member of our name. It may be ourselves (the answer to a join was lost, and librdkafka asks
    /// again as the member that it was before) or one that died (a broker answers its join when it is gone). So we join
    /// anew. If that is soon answered in kind, it may be somebody who lives: then we stay away until the name is free, and
    /// if that takes longer than the group keeps the dead, it is we who end.
    fn fenced(&mut self, message: &str, inputs: &SyncSender<Input>) -> Result<(), ServeError> {
        let ours = std::mem::take(&mut self.ours);
        if !ours.is_empty() {
            self.revoked(ours, inputs);
        }
        // Twice, since the group waits anew for the dead when its coordinator moves to another broker.
        let patience = 2 * self.session;
        if self.joined_anew.is_some_and(|at| at.elapsed() < patience) {
            self.stay_away(patience)?;
        }
        if !self.stop.is_stopped() {
            tracing::warn!(%message, "the group took us for somebody else of our name; joining anew");
            self.joined_anew = Some(clock::instant());
            self.member.join_anew()?;
        }
        Ok(())
    }

    fn stay_away(&self, patience: Duration) -> Result<(), ServeError> {
        let group_id = &self.names.config.kafka.group_id;
        let mut since = clock::instant();
        while !self.stop.is_stopped() {
            match self.admin.is_member(group_id, &self.instance_id) {
                Ok(false) => break,
                Ok(true) if since.elapsed() > patience => {
                    return Err(ServeError::Fenced {
                        instance_id: self.instance_id.clone(),
                        group_id: group_id.clone(),
                    });
                }
                Ok(true) => {}
                // Nobody is dropped from the group meanwhile either.
                Err(problem) => {
                    tracing::warn!("waiting for kafka: {problem}");
                    since = clock::instant();
                }
            }
            std::thread::sleep(AGAIN_AFTER);
        }
        Ok(())
    }

    /// Nothing is to be expected of the group for now: it is at rest without us, or none of the topics is there.
    fn is_idle(&self) -> bool {
        let config = &self.names.config;
        let missing = |t: &TopicConfig| matches!(self.admin.topic(&t.name), Ok(None));
        let group_id = &config.kafka.group_id;
        config.topics.iter().all(missing)
            || matches!(
                self.admin.is_idle_member(group_id, &self.instance_id),
                Ok(true)
            )
    }

    fn assigned(&mut self, partitions: Vec<(String, i32)>) {
        for partition in partitions {
            if !self.ours.contains(&partition) {
                self.ours.push(partition.clone());
                self.pending.push(partition);
            }
        }
    }

    /// Partitions are somebody else's now, or were deleted.
    fn revoked(&mut self, gone: Vec<(String, i32)>, inputs: &SyncSender<Input>) {
        tracing::info!(partitions = gone.len(), "partitions are not ours any more");
        self.ours.retain(|p| !gone.contains(p));
        self.pending.retain(|p| !gone.contains(p));
        self.forget_ids();
        for (name, partition) in gone {
            if let Some(topic) = self.names.topic_ix(&name) {
                let _ = inputs.send(Input::Event(Event::Revoked {
                    topic,
                    partitions: vec![partition],
                }));
            }
        }
    }

    /// Of topics of which nothing is ours any more: another one of the name is for its owners to notice. Those of ACK topics
    /// stay, since their partitions are known for as long as we run.
    fn forget_ids(&self) {
        let is_ours = |t: &&TopicConfig| self.ours.iter().any(|(name, _)| *name == t.name);
        let topics = &self.names.config.topics;
        let ours = topics.iter().filter(is_ours).map(|t| t.name.as_str());
        let acks = topics.iter().map(|t| t.ack_topic.as_str());
        let kept: BTreeSet<&str> = ours.chain(acks).collect();
        if let Ok(mut ids) = self.ids.write() {
            ids.retain(|name, _| kept.contains(name.as_str()));
        }
    }

    /// Looks up what is pending and can be looked up, and hands it to the engine. The inner error is Kafka's silence: to
    /// be tried again.
    fn hand_over(
        &mut self,
        inputs: &SyncSender<Input>,
    ) -> Result<Result<(), KafkaProblem>, ServeError> {
        if let Err(problem) = self.find_births()? {
            return Ok(Err(problem));
        }
        let born = |p: &(String, i32)| self.state.birth(&p.0).is_some();
        let (ready, waiting): (Vec<_>, Vec<_>) = self.pending.iter().cloned().partition(born);
        if ready.is_empty() {
            return Ok(Ok(()));
        }
        let look = Look {
            names: &self.names,
            admin: &self.admin,
            member: &self.member,
            state: &self.state,
            ids: &self.ids,
        };
        let problem = match take_over(&look, &mut self.images, &ready) {
            Ok(assignments) => {
                tracing::info!(partitions = ready.len(), "partitions are ours");
                self.pending = waiting;
                let _ = inputs.send(Input::Event(Event::Assigned(assignments)));
                return Ok(Ok(()));
            }
            Err(problem) => problem,
        };
        // One that has no leader is not to keep the others waiting.
        let topics: BTreeSet<&String> = ready.iter().map(|(topic, _)| topic).collect();
        if topics.len() < 2 {
            return Ok(Err(problem));
        }
        let began = clock::instant();
        for topic in topics {
            // Each may take long to say nothing, and meanwhile nobody hears of what is taken from us.
            if self.stop.is_stopped() || began.elapsed() > EACH_TOPIC_WITHIN {
                break;
            }
            let of_topic: Vec<(String, i32)> =
                ready.iter().filter(|(t, _)| t == topic).cloned().collect();
            if let Ok(assignments) = take_over(&look, &mut self.images, &of_topic) {
                tracing::info!(topic, partitions = of_topic.len(), "partitions are ours");
                self.pending.retain(|p| !of_topic.contains(p));
                let _ = inputs.send(Input::Event(Event::Assigned(assignments)));
            }
        }
        Ok(Err(problem))
    }

    /// Of pending partitions whose topic has no birth yet, as far as we know: it is looked for, or, if we have partition 0,
    /// given.
    fn find_births(&mut self) -> Result<Result<(), KafkaProblem>, ServeError> {
        let unborn = |state: &KnownState, name: &str| state.birth(name).is_none();
        if !self.pending.iter().any(|(t, _)| unborn(&self.state, t)) {
            return Ok(Ok(()));
        }
        let (names, admin) = (&self.names, &self.admin);
        let stopped = || self.stop.is_stopped();
        let given = prepare::read_state(names, admin, &self.settings, &self.trouble, &stopped)
            .and_then(|read| {
                let mut state = read.state;
                let first = |name: &str| self.ours.contains(&(name.to_owned(), 0));
                let to_give = |t: &TopicConfig| unborn(&state, &t.name) && first(&t.name);
                let names_to_give: Vec<String> = names
                    .config
                    .topics
                    .iter()
                    .filter(|t| to_give(t))
                    .map(|t| t.name.clone())
                    .collect();
                if !names_to_give.is_empty() {
                    let scribe = Scribe::spawn(&self.settings, &self.trouble)?;
                    let wanted = |t: &TopicConfig| names_to_give.contains(&t.name);
                    prepare::give_birth(names, admin, &mut state, &scribe, &self.ours, wanted)?;
                }
                Ok(state)
            });
        match given {
            Ok(state) => {
                self.state = state;
                Ok(Ok(()))
            }
            Err(PrepareError::Stopped) => Ok(Ok(())),
            Err(PrepareError::Kafka(problem @ KafkaProblem::Unreachable(_))) => Ok(Err(problem)),
            Err(error) => Err(error.into()),
        }
    }
}

fn stand_by(inputs: &SyncSender<Input>) {
    tracing::info!("no partition is ours: standing by");
    let _ = inputs.send(Input::Event(Event::Assigned(Vec::new())));
}
