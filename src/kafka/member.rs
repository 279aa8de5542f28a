//! The group member: subscribes, polls, commits. It reads nothing: its partitions are paused as soon as they come.
//!
//! It lives on a thread of its own. A fenced one (another process uses our instance id) is told as fatal.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaProblem;
use super::raw;
pub use super::raw::Committed;
use super::settings::refused;
use super::trouble::{Context, Trouble};

const POLL: Duration = Duration::from_millis(50);

/// What the group says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
    /// The client is of no use any more.
    Fatal {
        /// Another process uses our instance id.
        fenced: bool,
        message: String,
    },
}

/// A low-water mark to be committed: topic, partition, offset, metadata.
pub type CommitRecord = (String, i32, i64, String);
/// The result of each, in order.
pub type CommitResults = Result<Vec<Result<(), String>>, KafkaProblem>;

enum Order {
    Commit(Vec<CommitRecord>, Box<dyn FnOnce(CommitResults) + Send>),
    Committed(
        Vec<(String, i32)>,
        SyncSender<Result<Vec<Committed>, KafkaProblem>>,
    ),
    Close,
}

struct MemberContext {
    inner: Context,
    events: Sender<MemberEvent>,
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if !message.contains("No offset stored") {
            self.inner.log(level, facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // A partition that is not committed yet: its birth will be.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::AutoOffsetReset)
        {
            self.inner.error(error, reason);
        }
    }
}

impl ConsumerContext for MemberContext {
    fn post_rebalance(&self, member: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (list, assigned) = match rebalance {
            Rebalance::Assign(list) => (list, true),
            Rebalance::Revoke(list) => (list, false),
            Rebalance::Error(error) => {
                self.inner.trouble.say("member", &error.to_string());
                return;
            }
        };
        if assigned && let Err(error) = member.pause(list) {
            self.inner.trouble.say("member", &error.to_string());
        }
        let partitions: Vec<(String, i32)> = list
            .elements()
            .iter()
            .map(|e| (e.topic().to_owned(), e.partition()))
            .collect();
        let event = if assigned {
            MemberEvent::Assigned(partitions)
        } else {
            MemberEvent::Revoked(partitions)
        };
        // Nobody listens any more: we are ending.
        let _ = self.events.send(event);
    }
}

/// A handle to the member's thread.
pub struct Member {
    orders: Sender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Member {
    /// Subscribes to the topics; those that are not there yet are found when they appear.
    ///
    /// # Errors
    /// The settings make no client, or it cannot subscribe.
    pub fn spawn(
        settings: &ClientConfig,
        topics: &[&str],
        trouble: &Trouble,
        events: Sender<MemberEvent>,
    ) -> Result<Self, KafkaProblem> {
        let context = MemberContext {
            inner: Context::new("member", trouble),
            events: events.clone(),
        };
        let consumer: BaseConsumer<MemberContext> = settings
            .create_with_context(context)
            .map_err(|e| refused(settings, &e))?;
        consumer
            .subscribe(topics)
            .map_err(|e| KafkaProblem::Refused(e.to_string()))?;
        let (orders, received) = channel();
        let thread = std::thread::Builder::new()
            .name("member".into())
            .spawn(move || run(&consumer, &received, &events))
            .map_err(|e| KafkaProblem::Thread(e.to_string()))?;
        Ok(Self {
            orders,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Commits; `done` is called on the member's thread with the result of each partition.
    pub fn commit(
        &self,
        records: Vec<CommitRecord>,
        done: impl FnOnce(CommitResults) + Send + 'static,
    ) {
        // A member that has ended is told as fatal: then nothing is committed any more, and nobody waits for it.
        let _ = self.orders.send(Order::Commit(records, Box::new(done)));
    }

    /// The group's committed offsets; waits for the answer.
    ///
    /// # Errors
    /// Kafka did not answer, or refused.
    pub fn committed(
        &self,
        partitions: Vec<(String, i32)>,
    ) -> Result<Vec<Committed>, KafkaProblem> {
        let (answer, answered) = sync_channel(1);
        let gone = || KafkaProblem::Unreachable("the member has ended".to_owned());
        self.orders
            .send(Order::Committed(partitions, answer))
            .map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    /// Leaves in order; waits no longer than `timeout`.
    pub fn close(&self, timeout: Duration) {
        let _ = self.orders.send(Order::Close);
        let thread = self.thread.lock().ok().and_then(|mut t| t.take());
        if let Some(thread) = thread {
            let (done, ended) = sync_channel::<()>(1);
            // A client can hang in its end: then the process ends without it.
            let waiter = std::thread::Builder::new().spawn(move || {
                let _ = thread.join();
                let _ = done.send(());
            });
            if waiter.is_ok() {
                let _ = ended.recv_timeout(timeout);
            }
        }
    }
}

fn run(
    consumer: &BaseConsumer<MemberContext>,
    orders: &Receiver<Order>,
    events: &Sender<MemberEvent>,
) {
    loop {
        loop {
            match orders.try_recv() {
                Ok(Order::Close) | Err(TryRecvError::Disconnected) => return,
                Ok(Order::Commit(records, done)) => done(raw::commit(consumer, &records)),
                Ok(Order::Committed(partitions, answer)) => {
                    let timeout = Duration::from_secs(10);
                    let _ = answer.send(raw::committed(consumer, &partitions, timeout));
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        // Nothing is fetched: what comes are rebalances and errors. A partition without a committed offset says so.
        if let Some(Err(error)) = consumer.poll(POLL) {
            tracing::debug!(%error, "the member's poll");
        }
        if let Some((code, message)) = fatal(consumer.client()) {
            let fenced = code == RDKafkaErrorCode::FencedInstanceId;
            let _ = events.send(MemberEvent::Fatal { fenced, message });
            return;
        }
    }
}

fn fatal(client: &Client<MemberContext>) -> Option<(RDKafkaErrorCode, String)> {
    client.fatal_error()
}
