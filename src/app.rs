//! Composition: what is started in which order, and how it ends.
//!
//! Start: the HTTP listener (a port in use is an error at once), the store, Kafka (waited for, saying so), the state
//! topic, births, the group, what each partition needs; then the engine runs. Until it does, the API says `recovering`.
//! End: the engine stops firing and waits for reports, checkpoints and commits; then the member leaves.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::config::{self, Config};
use crate::core::{Coordinator, Event};
use crate::http::{ApiState, Directory, TopicEntry};
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, Broker};
use crate::kafka::fetch::{FetchAnswer, Fetcher};
use crate::kafka::member::{Member, MemberEvent};
use crate::kafka::publisher::{PartitionCounts, Publisher};
use crate::kafka::reader::Reader;
use crate::kafka::settings::ClientSettings;
use crate::kafka::trouble::Trouble;
use crate::ports::{ApiRequest, Refusal, Stats, Store, StoreError, StoreIdentity};
use crate::runtime::prepare::{self, PrepareError};
use crate::runtime::{
    AckSink, Checkpoints, Engine, EngineParts, Fetched, INPUTS_MAX, Images, Input, KafkaHands,
    KnownState, Look, Names, SourceSink, TopicIds, answer_asks, keep_round, refresh_counts,
    take_over,
};
use crate::store::{SledStore, move_aside};

/// With other members in the group, ours does not get all partitions: that is waited for no longer than this.
const ALONE_WITHIN: Duration = Duration::from_secs(75);
/// The member's end.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// API requests that may wait for the engine.
const REQUESTS_MAX: usize = 256;

/// Why the service ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "cannot listen on {address}: {detail}: is another service running there? set http.listen, or stop it"
    )]
    Listen {
        address: SocketAddr,
        detail: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Kafka(#[from] KafkaProblem),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(
        "another process uses instance_id {instance_id} in the group {group_id}: stop it, or give each its own kafka.instance_id"
    )]
    Fenced {
        instance_id: String,
        group_id: String,
    },
    #[error(
        "not all partitions are ours: the group {group_id:?} has another member ({detail}). Several instances are not built yet: stop the other one, or give this one a kafka.group_id of its own"
    )]
    NotAlone { group_id: String, detail: String },
    #[error("kafka's client gave up: {0}")]
    Fatal(String),
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    #[error("the engine ended by itself: this is a bug; the log says more")]
    Engine,
}

/// A running service.
pub struct Service {
    http: SocketAddr,
    requests: mpsc::Sender<ApiRequest>,
    stop: Arc<StopSwitch>,
    main: Option<JoinHandle<Result<(), ServeError>>>,
    http_stop: Option<oneshot::Sender<()>>,
    http_thread: Option<JoinHandle<()>>,
}

/// Ends the service from anywhere, once or often.
#[derive(Default)]
pub struct StopSwitch {
    stopped: AtomicBool,
    engine: Mutex<Option<SyncSender<Input>>>,
}

impl StopSwitch {
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn engine(&self) -> Option<SyncSender<Input>> {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.clone()
    }

    fn set_engine(&self, inputs: Option<SyncSender<Input>>) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = inputs;
    }
}

impl Service {
    /// Starts everything; what cannot be known at once (Kafka is away, a topic is refused) comes out of
    /// [`wait`](Self::wait).
    ///
    /// # Errors
    /// The port is in use, or the store.
    pub fn start(config: Config, broker: Broker) -> Result<Self, ServeError> {
        let address = config.http.listen;
        let listener = TcpListener::bind(address)
            .and_then(|l| l.set_nonblocking(true).map(|()| l))
            .map_err(|detail| ServeError::Listen { address, detail })?;
        let http = listener
            .local_addr()
            .map_err(|detail| ServeError::Listen { address, detail })?;
        let store = open_store(&config)?;
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let stop = Arc::new(StopSwitch::default());
        let trouble = Trouble::default();
        let state = ApiState::new(requests.clone(), Arc::new(directory(&config)), http);
        let (http_stop, http_stopped) = oneshot::channel();
        let http_thread = spawn_http(listener, state, http_stopped)?;
        spawn_bridge(received, Arc::clone(&stop), trouble.clone())?;
        tracing::info!(%http, "the API listens");
        let main = std::thread::Builder::new().name("service".into()).spawn({
            let stop = Arc::clone(&stop);
            move || run(Arc::new(config), store, &stop, &trouble, broker)
        })?;
        Ok(Self {
            http,
            requests,
            stop,
            main: Some(main),
            http_stop: Some(http_stop),
            http_thread: Some(http_thread),
        })
    }

    /// Where the API listens.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    #[must_use]
    pub fn switch(&self) -> Arc<StopSwitch> {
        Arc::clone(&self.stop)
    }

    /// Totals, as the API has them; `None` while there is no answer.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .blocking_send(ApiRequest::Stats { reply })
            .ok()?;
        answer.blocking_recv().ok()
    }

    /// Waits for the end, however it comes.
    ///
    /// # Errors
    /// Why it ended, if nobody asked for it.
    pub fn wait(mut self) -> Result<(), ServeError> {
        let outcome = match self.main.take() {
            Some(main) => main.join().unwrap_or(Err(ServeError::Engine)),
            None => Ok(()),
        };
        if let Some(stop) = self.http_stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.http_thread.take() {
            let _ = thread.join();
        }
        outcome
    }
}

fn open_store(config: &Config) -> Result<Box<dyn Store>, ServeError> {
    let path = &config.store.path;
    match SledStore::open(path) {
        Ok(store) => Ok(Box::new(store)),
        Err(error @ (StoreError::InUse { .. } | StoreError::Newer { .. })) => Err(error.into()),
        Err(error @ StoreError::NoSpace { .. }) => {
            tracing::warn!(%error, "going on without a store; nothing is lost: a restart rebuilds everything from kafka");
            Ok(Box::new(crate::store::MemoryStore::new()))
        }
        Err(error) => {
            let aside = move_aside(path);
            tracing::warn!(%error, ?aside, "the store is moved aside and rebuilt from kafka");
            Ok(Box::new(SledStore::open(path)?))
        }
    }
}

fn directory(config: &Config) -> Directory {
    let mut ack_topics: Vec<String> = Vec::new();
    for topic in &config.topics {
        if !ack_topics.contains(&topic.ack_topic) {
            ack_topics.push(topic.ack_topic.clone());
        }
    }
    let topics = config
        .topics
        .iter()
        .map(|t| TopicEntry {
            name: t.name.clone(),
            ack_topic: t.ack_topic.clone(),
            set_by_file: t.set_by_file.clone(),
        })
        .collect();
    Directory::new(topics, ack_topics, settings_shown(config))
}

/// `GET /config`: by allow-list, secrets masked.
fn settings_shown(config: &Config) -> serde_json::Value {
    let kafka = config::redacted(&config.kafka);
    let text = |d: Duration| humantime::format_duration(d).to_string();
    serde_json::json!({
        "kafka": {
            "brokers": kafka.brokers,
            "group_id": kafka.group_id,
            "instance_id": kafka.instance_id,
            "state_topic": kafka.state_topic,
            "properties": kafka.properties,
            "consumer": kafka.consumer,
            "producer": kafka.producer,
        },
        "store": {
            "path": config.store.path.display().to_string(),
            "checkpoint_interval": text(config.store.checkpoint_interval),
        },
        "http": { "listen": config.http.listen.to_string() },
        "limits": {
            "max_outstanding": config.limits.max_outstanding,
            "settled_max": config.limits.settled_max,
            "settled_retention": text(config.limits.settled_retention),
        },
        "topics": config.topics.iter().map(|t| {
            let policy: serde_json::Map<String, serde_json::Value> =
                config::policy_json::show(&t.policy)
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect();
            (t.name.clone(), serde_json::json!({"ack_topic": t.ack_topic, "policy": policy}))
        }).collect::<serde_json::Map<_, _>>(),
    })
}

fn spawn_http(
    listener: TcpListener,
    state: ApiState,
    stopped: oneshot::Receiver<()>,
) -> Result<JoinHandle<()>, ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("http")
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name("http".into())
        .spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                crate::http::serve(listener, crate::http::router(state), async {
                    let _ = stopped.await;
                })
                .await
            });
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP listener ended");
            }
        })?;
    Ok(thread)
}

/// From the API's channel to the engine's; until there is an engine, `recovering` is the answer.
fn spawn_bridge(
    mut requests: mpsc::Receiver<ApiRequest>,
    stop: Arc<StopSwitch>,
    trouble: Trouble,
) -> Result<(), ServeError> {
    std::thread::Builder::new()
        .name("bridge".into())
        .spawn(move || {
            while let Some(request) = requests.blocking_recv() {
                let request = match stop.engine() {
                    Some(engine) => match engine.send(Input::Api(request)) {
                        Ok(()) => continue,
                        Err(std::sync::mpsc::SendError(Input::Api(request))) => request,
                        Err(_) => continue,
                    },
                    None => request,
                };
                not_yet(request, &trouble);
            }
        })?;
    Ok(())
}

fn not_yet(request: ApiRequest, trouble: &Trouble) {
    let progress = Default::default();
    let recovering = || Refusal::Recovering(progress);
    match request {
        ApiRequest::Topics { reply } => drop(reply.send(Vec::new())),
        ApiRequest::Messages { reply, .. } => drop(reply.send(Err(recovering()))),
        ApiRequest::Message { reply, .. } => drop(reply.send(Err(recovering()))),
        ApiRequest::Payload { reply, .. } => drop(reply.send(Err(recovering()))),
        ApiRequest::Act { reply, .. } => {
            drop(reply.send(crate::core::view::OperatorReply::Recovering));
        }
        ApiRequest::PatchPolicy { reply, .. }
        | ApiRequest::ResetPolicy { reply, .. }
        | ApiRequest::Pause { reply, .. } => drop(reply.send(Err(recovering()))),
        ApiRequest::Unmatched { reply, .. } => drop(reply.send(Vec::new())),
        ApiRequest::Stats { reply } => drop(reply.send(Stats {
            recovering: Some(progress),
            kafka_trouble: trouble.recent(),
            ..Stats::default()
        })),
    }
}

/// The service's own thread, from the first look at Kafka to the end.
fn run(
    config: Arc<Config>,
    mut store: Box<dyn Store>,
    stop: &Arc<StopSwitch>,
    trouble: &Trouble,
    broker: Broker,
) -> Result<(), ServeError> {
    let stopped = || stop.is_stopped();
    let settings = ClientSettings::new(&config.kafka);
    let admin = Admin::new("admin", &settings.admin(), trouble, broker)?;
    let reach = || prepare::wait_for_kafka(&admin, &config.kafka.brokers, &stopped);
    let Some(cluster_id) = until_answered(&stopped, reach)? else {
        return Ok(());
    };
    tracing::info!(brokers = config.kafka.brokers, cluster_id, "kafka answers");
    let names = Names::new(Arc::clone(&config), cluster_id);
    let (instance_id, images) = load_store(&mut store, &names)?;
    prepare::look_at_topics(&names, &admin)?;
    let read = || prepare::read_state(&names, &admin, &settings, trouble, &stopped);
    let Some(mut state) = until_answered(&stopped, read)? else {
        return Ok(());
    };
    let (inputs, received) = sync_channel(INPUTS_MAX);
    let counts = PartitionCounts::default();
    refresh_counts(&names, &admin, &counts);
    let reports = Arc::new({
        let inputs = inputs.clone();
        move |token, outcome| {
            // The engine is gone: nobody waits for it any more.
            let _ = inputs.send(Input::Reported { token, outcome });
        }
    });
    let publisher = Publisher::spawn(&settings.publisher(), trouble, Arc::clone(&counts), reports)?;
    let bear = || prepare::give_birth(&names, &admin, &mut state, &publisher, &received);
    if until_answered(&stopped, bear)?.is_none() {
        return Ok(());
    }
    let session_ms = settings.session_timeout_ms();
    if !wait_until_alone(&names, &admin, &instance_id, session_ms, &stopped)? {
        return Ok(());
    }
    let (events, member_events) = channel();
    let topics: Vec<&str> = config.topics.iter().map(|t| t.name.as_str()).collect();
    let member = Arc::new(Member::spawn(
        &settings.member(&instance_id),
        &topics,
        trouble,
        events,
    )?);
    let mut supervisor = Supervisor {
        names,
        admin,
        member,
        member_events,
        state,
        ids: TopicIds::default(),
        images,
        instance_id,
        stop,
        ours: Vec::new(),
        broker,
    };
    let Some(first) = supervisor.first_assignment()? else {
        supervisor.member.close(LEAVE_WITHIN);
        return Ok(());
    };
    let engine = supervisor.start_engine(
        store,
        &settings,
        trouble,
        publisher,
        counts,
        inputs.clone(),
        received,
    )?;
    let _ = inputs.send(Input::Event(Event::Assigned(first)));
    stop.set_engine(Some(inputs.clone()));
    let outcome = supervisor.supervise(&inputs, &engine);
    let _ = inputs.send(Input::Stop);
    let joined = engine.join();
    stop.set_engine(None);
    supervisor.member.close(LEAVE_WITHIN);
    match (outcome, joined) {
        (Ok(()), Err(_)) => Err(ServeError::Engine),
        (outcome, _) => outcome,
    }
}

/// Kafka may go away again while we prepare: what it did not answer is asked again. `None`: stopped meanwhile.
fn until_answered<T>(
    stopped: &dyn Fn() -> bool,
    mut ask: impl FnMut() -> Result<T, PrepareError>,
) -> Result<Option<T>, ServeError> {
    while !stopped() {
        match ask() {
            Ok(answer) => return Ok(Some(answer)),
            Err(PrepareError::Stopped) => break,
            Err(PrepareError::Kafka(problem @ KafkaProblem::Unreachable(_))) => {
                tracing::warn!("waiting for kafka: {problem}");
            }
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(None)
}

/// Joining takes partitions from the members that are there. One that died is gone when its session ends; one that lives
/// is left alone, and it is we who end. False: stopped meanwhile.
fn wait_until_alone(
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

/// What the store knows: who we are, and images that count (the cluster is the same).
fn load_store(store: &mut Box<dyn Store>, names: &Names) -> Result<(String, Images), ServeError> {
    let (identity, stored) = match store.load() {
        Ok(found) => found,
        Err(error @ (StoreError::InUse { .. } | StoreError::Newer { .. })) => {
            return Err(error.into());
        }
        Err(error) => {
            tracing::warn!(%error, "what the store holds cannot be used: everything is rebuilt from kafka");
            (None, Vec::new())
        }
    };
    let same_cluster = identity
        .as_ref()
        .is_none_or(|i| i.cluster_id.is_empty() || i.cluster_id == names.cluster_id);
    let instance_id = match (&names.config.kafka.instance_id, &identity) {
        (Some(id), _) => id.clone(),
        (None, Some(identity)) if !identity.instance_id.is_empty() => identity.instance_id.clone(),
        (None, _) => random_id(),
    };
    if let Err(error) = store.set_identity(&StoreIdentity {
        instance_id: instance_id.clone(),
        cluster_id: names.cluster_id.clone(),
        topic_ids: Vec::new(),
    }) {
        tracing::warn!(%error, "the store's identity could not be written");
    }
    let mut images = Images::new();
    for partition in stored {
        match partition.image {
            Some(image) if same_cluster => {
                images.insert((partition.topic, partition.partition), image);
            }
            Some(_) => {}
            None => tracing::warn!(
                topic = partition.topic,
                partition = partition.partition,
                "what the store has of the partition cannot be trusted: it is rebuilt from kafka"
            ),
        }
    }
    Ok((instance_id, images))
}

fn random_id() -> String {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = clock::now().wall_ms.to_be_bytes();
    }
    format!("ackwarden-{:016x}", u64::from_be_bytes(bytes))
}

/// Keeps the group's side of things while the engine runs.
struct Supervisor<'a> {
    names: Names,
    admin: Admin,
    member: Arc<Member>,
    member_events: Receiver<MemberEvent>,
    state: KnownState,
    ids: TopicIds,
    images: Images,
    instance_id: String,
    stop: &'a Arc<StopSwitch>,
    ours: Vec<(String, i32)>,
    broker: Broker,
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
    fn first_assignment(&mut self) -> Result<Option<Vec<crate::core::Assignment>>, ServeError> {
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
    fn start_engine(
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
    fn supervise(
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
