//! Composition: what is started in which order, and how it ends.
//!
//! Start: the HTTP listener (a port in use is an error at once), the store, Kafka (waited for, saying so), the state
//! topic, births, the group, what each partition needs; then the engine runs. Until it does, the API says `recovering`.
//! End: the engine stops firing and waits for reports, checkpoints and commits; then the member leaves.

mod shown;
mod store;
mod supervisor;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::shown::directory;
use self::store::{load_store, open_store};
use self::supervisor::Supervisor;
use crate::config::{Config, TopicConfig};
use crate::http::ApiState;
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, Broker};
use crate::kafka::member::Member;
use crate::kafka::publisher::{PartitionCounts, Publisher};
use crate::kafka::settings::ClientSettings;
use crate::kafka::trouble::Trouble;
use crate::ports::{ApiRequest, Refusal, Stats, Store, StoreError};
use crate::runtime::prepare::{self, PrepareError, Scribe};
use crate::runtime::{Answer, Inbox, Input, Names, RequestLine, TopicIds, lines, refresh_counts};

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
    engine: Mutex<Option<RequestLine>>,
}

impl StopSwitch {
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn engine(&self) -> Option<RequestLine> {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.clone()
    }

    fn set_engine(&self, requests: Option<RequestLine>) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = requests;
    }
}

impl Service {
    /// Starts everything; what cannot be known at once (Kafka is away, a topic is refused) comes out of
    /// [`wait`](Self::wait).
    ///
    /// `stop` may be used already while this starts.
    ///
    /// # Errors
    /// The port is in use, or the store.
    pub fn start(
        config: Config,
        broker: Broker,
        stop: Arc<StopSwitch>,
    ) -> Result<Self, ServeError> {
        let address = config.http.listen;
        let listener = TcpListener::bind(address)
            .and_then(|l| l.set_nonblocking(true).map(|()| l))
            .map_err(|detail| ServeError::Listen { address, detail })?;
        let http = listener
            .local_addr()
            .map_err(|detail| ServeError::Listen { address, detail })?;
        let store = open_store(&config)?;
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let trouble = Trouble::default();
        let state = ApiState::new(requests.clone(), Arc::new(directory(&config)), http);
        let (http_stop, http_stopped) = oneshot::channel();
        let http_thread = spawn_http(listener, state, http_stopped)?;
        let max_outstanding = config.limits.max_outstanding;
        spawn_bridge(
            received,
            Arc::clone(&stop),
            trouble.clone(),
            max_outstanding,
        )?;
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
    max_outstanding: u64,
) -> Result<(), ServeError> {
    std::thread::Builder::new()
        .name("bridge".into())
        .spawn(move || {
            while let Some(request) = requests.blocking_recv() {
                let unanswered = match stop.engine() {
                    Some(engine) => engine.put(request),
                    None => Some(request),
                };
                if let Some(request) = unanswered {
                    not_yet(request, &trouble, max_outstanding);
                }
            }
        })?;
    Ok(())
}

/// The answers without an engine. No topics at all is what the API takes for that where an answer cannot say it.
fn not_yet(request: ApiRequest, trouble: &Trouble, max_outstanding: u64) {
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
        ApiRequest::Unmatched { reply, .. } => drop(reply.send((Vec::new(), false))),
        ApiRequest::Stats { reply } => drop(reply.send(Stats {
            recovering: Some(progress),
            max_outstanding,
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
    let kept = load_store(&mut store, &config, &cluster_id)?;
    let names = Names::new(Arc::clone(&config), cluster_id, kept.owner);
    let (instance_id, images) = (kept.instance_id, kept.images);
    let look = || prepare::look_at_topics(&names, &admin);
    if until_answered(&stopped, look)?.is_none() {
        return Ok(());
    }
    let read = || prepare::read_state(&names, &admin, &settings, trouble, &stopped);
    let Some(prepare::ReadState { mut state, to }) = until_answered(&stopped, read)? else {
        return Ok(());
    };
    state.keep_what_fits(&names);
    let (inputs, ack_line, request_line, received) = lines();
    let counts = PartitionCounts::default();
    refresh_counts(&names, &admin, &counts);
    let inbox = Inbox::new(inputs.clone());
    let reports = Arc::new({
        let inbox = inbox.clone();
        move |token, outcome| inbox.put([Answer::Reported { token, outcome }])
    });
    let publisher = Publisher::spawn(&settings.publisher(), trouble, Arc::clone(&counts), reports)?;
    // A topic that is not there is followed from its first record when it appears: this look is its first.
    let bear = || {
        let missing = |t: &TopicConfig| prepare::is_missing(&admin, &t.name, &stopped);
        let unborn = |t: &&TopicConfig| state.birth(&t.name).is_none() && missing(t);
        let names_of: Vec<String> = config
            .topics
            .iter()
            .filter(unborn)
            .map(|t| t.name.clone())
            .collect();
        if names_of.is_empty() {
            return Ok(());
        }
        let scribe = Scribe::spawn(&settings, trouble)?;
        let wanted = |t: &TopicConfig| names_of.contains(&t.name);
        prepare::give_birth(&names, &admin, &mut state, &scribe, &[], wanted)
    };
    if until_answered(&stopped, bear)?.is_none() {
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
        joined_anew: None,
        session: Duration::from_millis(settings.session_timeout_ms()),
        stop,
        ours: Vec::new(),
        pending: Vec::new(),
        settings,
        trouble: trouble.clone(),
        broker,
    };
    let engine =
        supervisor.start_engine(store, to, publisher, counts, inbox, (ack_line, received))?;
    stop.set_engine(Some(request_line));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_engine_the_limit_is_that_of_the_configuration() {
        let (reply, mut answer) = oneshot::channel();
        not_yet(ApiRequest::Stats { reply }, &Trouble::default(), 7);
        let stats = answer.try_recv().unwrap();
        assert_eq!(stats.max_outstanding, 7);
        assert!(!stats.ready && stats.recovering.is_some());
    }
}
