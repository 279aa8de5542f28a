//! The group's side of things: nobody else in it, what becomes ours and what is taken from us, while the engine runs.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{ServeError, StopSwitch};
use crate::clock;
use crate::core::{Coordinator, Event};
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, Broker};
use crate::kafka::fetch::{FetchAnswer, Fetcher};
use crate::kafka::member::{Member, MemberEvent};
use crate::kafka::publisher::{PartitionCounts, Publisher};
use crate::kafka::reader::Reader;
use crate::kafka::settings::ClientSettings;
use crate::kafka::trouble::Trouble;
use crate::ports::{Store, StoreError};
use crate::runtime::{
    AckSink, Checkpoints, Engine, EngineParts, Fetched, Images, Input, KafkaHands, KnownState,
    Look, Names, SourceSink, TopicIds, answer_asks, keep_round, take_over,
};
use crate::store::{SledStore, move_aside};

/// With other members in the group, ours does not get all partitions: that is waited for no longer than this.
const ALONE_WITHIN: Duration = Duration::from_secs(75);

/// Joining takes partitions from the members that are there. One that died is gone when its session ends; one that lives
/// is left alone, and it is we who end. False: stopped meanwhile.
pub(super) fn wait_until_alone(
    names: &Names,
    admin: &Admin,
    instance_id: &str,
    session_ms: u64,
    stopped: &dyn Fn() -> bool,
) -> Result<bool, ServeError> {
    let group_id = &names.config.kafka.group_id;
    let patience = Duration::from_millis(session_ms + (session_ms / 2).max(5_000));
    let began = clock::instant();
    let mut told = false;
    while !stopped() {
        match admin.other_members(group_id, instance_id) {
            Ok(others) if others.is_empty() => return Ok(true),
            Ok(others) => {
                let detail = others.join(", ");
                if began.elapsed() > patience {
                    return Err(ServeError::NotAlone {
                        group_id: group_id.clone(),
                        detail,
                    });
                }
                if !told {
                    told = true;
                    tracing::warn!(
                        group_id,
                        "the group has another member ({detail}): if it is dead, its session ends within {session_ms} \
                         ms; this is waited for"
                    );
                }
            }
            Err(problem) if began.elapsed() > patience => {
                tracing::warn!(%problem, "whether the group has another member cannot be told; joining it");
                return Ok(true);
            }
            Err(problem) => tracing::debug!(%problem, "the group's members cannot be told"),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(false)
}

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
    pub(super) stop: &'a Arc<StopSwitch>,
    pub(super) ours: Vec<(String, i32)>,
    pub(super) broker: Broker,
}

impl Supervisor<'_> {
    fn fatal(&self, fenced: bool, message: String) -> ServeError {
        if fenced {
            ServeError::Fenced {
                instance_id: self.instance_id.clone(),
                group_id: self.names.config.kafka.group_id.clone(),
            }
        } else {
            ServeError::Fatal(message)
        }
    }

    fn not_alone(&self, detail: String) -> ServeError {
        ServeError::NotAlone {
            group_id: self.names.config.kafka.group_id.clone(),
            detail,
        }
    }

    /// All partitions that there are, as metadata has them.
    fn expected(&self) -> Result<Vec<(String, i32)>, KafkaProblem> {
        let mut all = Vec::new();
        for topic in &self.names.config.topics {
            if let Some(info) = self.admin.topic(&topic.name)? {
                all.extend(info.partitions.iter().map(|p| (topic.name.clone(), *p)));
            }
        }
        Ok(all)
    }

    /// Waits until the group has given us everything; `None`: stopped meanwhile.
    pub(super) fn first_assignment(
        &mut self,
    ) -> Result<Option<Vec<crate::core::Assignment>>, ServeError> {
        let began = clock::instant();
        let mut expected = self.expected();
        loop {
            if self.stop.is_stopped() {
                return Ok(None);
            }
            match self.member_events.recv_timeout(Duration::from_millis(100)) {
                Ok(MemberEvent::Assigned(partitions)) => self.ours.extend(partitions),
                Ok(MemberEvent::Revoked(gone)) => self.ours.retain(|p| !gone.contains(p)),
                Ok(MemberEvent::Fatal { fenced, message }) => {
                    return Err(self.fatal(fenced, message));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ServeError::Fatal("the member ended".to_owned()));
                }
            }
            match &expected {
                Ok(all) if all.iter().all(|p| self.ours.contains(p)) => break,
                Ok(all) if began.elapsed() > ALONE_WITHIN => {
                    let detail =
                        format!("{} of {} partitions are ours", self.ours.len(), all.len());
                    return Err(self.not_alone(detail));
                }
                Ok(_) => {}
                Err(_) => expected = self.expected(),
            }
        }
        let ours = self.ours.clone();
        Ok(self.look_up(&ours, false))
    }

    /// Looks partitions up, again and again until Kafka answers; `None`: stopped meanwhile.
    fn look_up(
        &mut self,
        partitions: &[(String, i32)],
        running: bool,
    ) -> Option<Vec<crate::core::Assignment>> {
        while !self.stop.is_stopped() {
            let look = Look {
                names: &self.names,
                admin: &self.admin,
                member: &self.member,
                state: &self.state,
                ids: &self.ids,
            };
            match take_over(&look, &mut self.images, partitions, running) {
                Ok(assignments) => return Some(assignments),
                Err(problem) => tracing::warn!("waiting for kafka: {problem}"),
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        None
    }

    #[expect(clippy::too_many_arguments)]
    pub(super) fn start_engine(
        &self,
        store: Box<dyn Store>,
        settings: &ClientSettings,
        trouble: &Trouble,
        publisher: Publisher,
        counts: PartitionCounts,
        inputs: SyncSender<Input>,
        received: Receiver<Input>,
    ) -> Result<JoinHandle<()>, ServeError> {
        let names = self.names.clone();
        let (lost, lost_received) = channel();
        let rules = &names.rules;
        let source_sink = SourceSink::new(Arc::clone(rules), inputs.clone(), lost.clone());
        let ack_sink = AckSink::new(Arc::clone(rules), inputs.clone(), lost);
        let fetched = inputs.clone();
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
        let hands = KafkaHands {
            source_reader: Reader::spawn(
                "source-reader",
                &settings.reader("source-reader"),
                trouble,
                source_sink,
            )?,
            ack_reader: Reader::spawn(
                "ack-reader",
                &settings.reader("ack-reader"),
                trouble,
                ack_sink,
            )?,
            asks,
            fetcher: Fetcher::spawn(
                &settings.reader("fetcher"),
                trouble,
                move |purpose, answer| {
                    let result = match answer {
                        FetchAnswer::Record(record) => Fetched::Record(record),
                        FetchAnswer::Gone(why) => Fetched::Gone(why),
                        FetchAnswer::Failed(why) => Fetched::Failed(why),
                    };
                    let _ = fetched.send(Input::Fetched { purpose, result });
                },
            )?,
            publisher,
            member: Arc::clone(&self.member),
            topic_ids: Arc::clone(&self.ids),
            inputs: inputs.clone(),
            trouble: trouble.clone(),
            names: names.clone(),
        };
        let path = names.config.store.path.clone();
        let reopen = Box::new(move || -> Result<Box<dyn Store>, StoreError> {
            if let Err(error) = move_aside(&path) {
                tracing::warn!(%error, "the broken store could not be moved aside");
            }
            Ok(Box::new(SledStore::open(&path)?))
        });
        let store_size_bytes = store.size_bytes();
        let checkpoints = Checkpoints::spawn(store, reopen, inputs)?;
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
            .spawn(move || engine.run(&received))?)
    }

    /// Until somebody stops us, or Kafka does.
    pub(super) fn supervise(
        &mut self,
        inputs: &SyncSender<Input>,
        engine: &JoinHandle<()>,
    ) -> Result<(), ServeError> {
        loop {
            if self.stop.is_stopped() {
                return Ok(());
            }
            if engine.is_finished() {
                return Err(ServeError::Engine);
            }
            match self.member_events.recv_timeout(Duration::from_millis(100)) {
                Ok(MemberEvent::Assigned(partitions)) => {
                    let new: Vec<(String, i32)> = partitions
                        .into_iter()
                        .filter(|p| !self.ours.contains(p))
                        .collect();
                    if new.is_empty() {
                        continue;
                    }
                    tracing::info!(partitions = new.len(), "new partitions");
                    let Some(assignments) = self.look_up(&new, true) else {
                        return Ok(());
                    };
                    self.ours.extend(new);
                    let _ = inputs.send(Input::Event(Event::Assigned(assignments)));
                }
                Ok(MemberEvent::Revoked(gone)) => self.revoked(gone, inputs)?,
                Ok(MemberEvent::Fatal { fenced, message }) => {
                    return Err(self.fatal(fenced, message));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ServeError::Fatal("the member ended".to_owned()));
                }
            }
        }
    }

    /// Partitions are taken from us: they were deleted, or there is somebody else.
    fn revoked(
        &mut self,
        gone: Vec<(String, i32)>,
        inputs: &SyncSender<Input>,
    ) -> Result<(), ServeError> {
        let there = self.expected().unwrap_or_default();
        if let Some((topic, partition)) = gone.iter().find(|p| there.contains(p)) {
            return Err(self.not_alone(format!("{topic}/{partition} was taken from us")));
        }
        self.ours.retain(|p| !gone.contains(p));
        for (name, partition) in gone {
            if let Some(topic) = self.names.topic_ix(&name) {
                tracing::warn!(topic = name, partition, "the partition was deleted");
                let _ = inputs.send(Input::Event(Event::Revoked {
                    topic,
                    partitions: vec![partition],
                }));
            }
        }
        Ok(())
    }
}
