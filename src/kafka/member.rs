//! The group member: subscribes, polls, commits. It reads nothing: its partitions are paused as soon as they come.
//!
//! It lives on a thread of its own. A fenced one (another process uses our instance id) is told as fatal.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaProblem;
use super::lifeline::Lifeline;
use super::raw;
pub use super::raw::Committed;
use super::settings::refused;
use super::trouble::{Context, Trouble};
use crate::clock;

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
    Commit(
        Vec<CommitRecord>,
        Box<dyn FnOnce(u64, CommitResults) + Send>,
    ),
    Committed(
        Vec<(String, i32)>,
        SyncSender<Result<Vec<Committed>, KafkaProblem>>,
    ),
    Close,
}

/// Partitions that the group has given to us. Rebalances and commits are served on one thread: what was revoked is never
/// committed behind the back of its new owner.
type Owned = Arc<Mutex<HashSet<(String, i32)>>>;

struct MemberContext {
    inner: Context,
    events: Sender<MemberEvent>,
    owned: Owned,
    /// It gave up: what its end says of partitions is nobody's business any more.
    ended: Arc<AtomicBool>,
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
        if self.ended.load(Ordering::SeqCst) {
            return;
        }
        if assigned && let Err(error) = member.pause(list) {
            self.inner.trouble.say("member", &error.to_string());
        }
        let partitions: Vec<(String, i32)> = list
            .elements()
            .iter()
            .map(|e| (e.topic().to_owned(), e.partition()))
            .collect();
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let event = if assigned {
            owned.extend(partitions.iter().cloned());
            MemberEvent::Assigned(partitions)
        } else {
            owned.retain(|p| !partitions.contains(p));
            MemberEvent::Revoked(partitions)
        };
        drop(owned);
        // Nobody listens any more: we are ending.
        let _ = self.events.send(event);
    }
}

/// A handle to the member's thread.
pub struct Member {
    orders: Mutex<Sender<Order>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    settings: ClientConfig,
    topics: Vec<String>,
    trouble: Trouble,
    events: Sender<MemberEvent>,
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
        let (orders, thread) = join(settings, topics, trouble, events.clone())?;
        Ok(Self {
            orders: Mutex::new(orders),
            thread: Mutex::new(Some(thread)),
            settings: settings.clone(),
            topics: topics.iter().map(|t| (*t).to_owned()).collect(),
            trouble: trouble.clone(),
            events,
        })
    }

    /// Another client takes the place of one that ended; what was ordered of that one is lost.
    ///
    /// # Errors
    /// As for [`spawn`](Self::spawn).
    pub fn join_anew(&self) -> Result<(), KafkaProblem> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let (orders, thread) = join(&self.settings, &topics, &self.trouble, self.events.clone())?;
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = orders;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    fn order(&self, order: Order) -> bool {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.send(order).is_ok()
    }

    /// Commits; `done` is called on the member's thread with the monotonic ms at which it was sent, and the result of
    /// each partition. What is not ours (any more) is not committed.
    pub fn commit(
        &self,
        records: Vec<CommitRecord>,
        done: impl FnOnce(u64, CommitResults) + Send + 'static,
    ) {
        // A member that has ended is told as fatal: then nothing is committed any more, and nobody waits for it.
        let _ = self.order(Order::Commit(records, Box::new(done)));
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
        if !self.order(Order::Committed(partitions, answer)) {
            return Err(gone());
        }
        answered.recv().map_err(|_| gone())?
    }

    /// Leaves in order; waits no longer than `timeout`.
    pub fn close(&self, timeout: Duration) {
        let _ = self.order(Order::Close);
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

fn join(
    settings: &ClientConfig,
    topics: &[&str],
    trouble: &Trouble,
    events: Sender<MemberEvent>,
) -> Result<(Sender<Order>, JoinHandle<()>), KafkaProblem> {
    let owned = Owned::default();
    let ended = Arc::new(AtomicBool::new(false));
    let context = MemberContext {
        inner: Context::new("member", trouble),
        events: events.clone(),
        owned: Arc::clone(&owned),
        ended: Arc::clone(&ended),
    };
    let consumer: BaseConsumer<MemberContext> = settings
        .create_with_context(context)
        .map_err(|e| refused(settings, &e))?;
    consumer
        .subscribe(topics)
        .map_err(|e| KafkaProblem::Refused(e.to_string()))?;
    let (orders, received) = channel();
    let lifeline = Lifeline::new(settings);
    let topic = topics.first().map_or_else(String::new, |t| (*t).to_owned());
    let thread = std::thread::Builder::new()
        .name("member".into())
        .spawn(move || {
            let look = || {
                lifeline.look(consumer.client(), &topic);
            };
            let running = AssertUnwindSafe(|| run(&consumer, &received, &owned, &look));
            let last_word = catch_unwind(running).unwrap_or_else(|_| {
                Some(MemberEvent::Fatal {
                    fenced: false,
                    message: "its thread panicked: this is a bug".to_owned(),
                })
            });
            if let Some(fatal) = last_word {
                ended.store(true, Ordering::SeqCst);
                let _ = events.send(fatal);
            }
        })
        .map_err(|e| KafkaProblem::Thread(e.to_string()))?;
    Ok((orders, thread))
}

/// Until it is closed, or the client gives up: then that is its last word.
fn run(
    consumer: &BaseConsumer<MemberContext>,
    orders: &Receiver<Order>,
    owned: &Owned,
    look: &dyn Fn(),
) -> Option<MemberEvent> {
    loop {
        loop {
            match orders.try_recv() {
                Ok(Order::Close) | Err(TryRecvError::Disconnected) => return None,
                Ok(Order::Commit(records, done)) => {
                    let sent_ms = clock::now().mono_ms;
                    done(sent_ms, commit_owned(consumer, &records, owned));
                }
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
        look();
        if let Some((code, message)) = fatal(consumer.client()) {
            let fenced = code == RDKafkaErrorCode::FencedInstanceId;
            return Some(MemberEvent::Fatal { fenced, message });
        }
    }
}

/// Commits those that are ours. The result of each, in order.
fn commit_owned(
    consumer: &BaseConsumer<MemberContext>,
    records: &[CommitRecord],
    owned: &Owned,
) -> CommitResults {
    let ours: Vec<bool> = {
        let owned = owned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_owned = |r: &CommitRecord| owned.contains(&(r.0.clone(), r.1));
        records.iter().map(is_owned).collect()
    };
    let kept: Vec<CommitRecord> = records
        .iter()
        .zip(&ours)
        .filter(|(_, ours)| **ours)
        .map(|(record, _)| record.clone())
        .collect();
    let mut results = if kept.is_empty() {
        Vec::new()
    } else {
        raw::commit(consumer, &kept)?
    }
    .into_iter();
    let not_ours = || Err("the partition is not ours any more".to_owned());
    Ok(ours
        .into_iter()
        .map(|ours| match ours {
            true => results
                .next()
                .unwrap_or_else(|| Err("no result".to_owned())),
            false => not_ours(),
        })
        .collect())
}

fn fatal(client: &Client<MemberContext>) -> Option<(RDKafkaErrorCode, String)> {
    client.fatal_error()
}
