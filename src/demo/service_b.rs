//! Service B: a consumer like many others, as a process of its own, so that it can be killed in mid-work.
//!
//! It pulls a batch, has the offsets committed at once (from then on Kafka counts the batch as read), works through it,
//! and acknowledges each message with a record on the ACK topic, flushed once a batch. Killed in between, it leaves
//! messages that Kafka will never deliver to it again: the problem that Ackwarden is there for. It does not skip
//! duplicates, so that an observer can count them.
//!
//! One line for each thing done goes to the log, at once, so that a SIGKILL loses none:
//! `P POSITION ORDER` processed, `N` nacked, `R` rejected, `E` asked for more time, `I` ignored.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{DemoError, order};
use crate::clock;
use crate::kafka::lifeline::Lifeline;

/// How long the first message of a batch is waited for.
const PULL_WAIT: Duration = Duration::from_millis(200);
/// How long one question for the group's offsets may take, and all of them together.
const COMMITTED_WAIT: Duration = Duration::from_secs(5);
const COMMITTED_MAX: Duration = Duration::from_secs(60);
/// How long the ACKs of a batch may take.
const FLUSH_MAX: Duration = Duration::from_secs(30);

/// `ackwarden demo-service-b`: hidden; for the demo and the tests.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceBArgs {
    #[arg(long)]
    pub brokers: String,
    #[arg(long)]
    pub topic: String,
    #[arg(long)]
    pub ack_topic: String,
    #[arg(long, default_value = "service-b")]
    pub group: String,
    /// Static membership: its successor need not wait for the end of the session
    #[arg(long)]
    pub instance_id: Option<String>,
    /// How long the group waits for a killed member
    #[arg(long, default_value_t = 6_000)]
    pub session_timeout_ms: u32,
    /// Read the partitions 0 to n−1, assigned by hand, offsets still committed to the group: nobody waits for the dead
    #[arg(long)]
    pub assign: Option<i32>,
    /// Where the lines go (appended); standard output without it
    #[arg(long = "work-log", id = "work_log")]
    pub log: Option<PathBuf>,
    /// Work for each message
    #[arg(long, default_value_t = 5_000)]
    pub work_us: u64,
    /// Messages pulled, and committed, before the first of them is processed
    #[arg(long, default_value_t = 20)]
    pub batch: usize,
    /// How long the rest of a batch is waited for, once its first message is there
    #[arg(long, default_value_t = 5)]
    pub fill_ms: u64,
    /// What an ACK says
    #[arg(long, value_enum, default_value_t = AckMode::Position)]
    pub ack: AckMode,
    /// Nack the first delivery of every n-th order
    #[arg(long, default_value_t = 0)]
    pub nack_every: u64,
    /// `ackwarden-delay` of those nacks
    #[arg(long)]
    pub nack_delay: Option<String>,
    /// Reject every n-th order
    #[arg(long, default_value_t = 0)]
    pub reject_every: u64,
    /// Ask for more time for every n-th order, then work `extended_work_ms` on it
    #[arg(long, default_value_t = 0)]
    pub extend_every: u64,
    #[arg(long, default_value_t = 1_000)]
    pub extended_work_ms: u64,
    /// Neither process nor acknowledge every n-th order
    #[arg(long, default_value_t = 0)]
    pub ignore_every: u64,
    /// End when standard input ends: with the process that started it
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// What Service B puts into the key of an ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AckMode {
    /// The position of the delivery that it read.
    Position,
    /// The message's `message-id` header, or the position where there is none.
    IdHeader,
    /// It acknowledges nothing.
    None,
}

/// Pulls, commits, works and acknowledges until it is killed.
///
/// # Errors
/// [`DemoError`]: Kafka or the log cannot be reached.
pub fn run(args: ServiceBArgs) -> Result<(), DemoError> {
    if args.until_stdin_closes {
        std::thread::spawn(end_with_stdin);
    }
    let consumer = consumer(&args)?;
    // What Ackwarden's own clients have, and a service's own should: docs/guarantees.md.
    let (consumers, producers) = (Lifeline::of(&args.brokers), Lifeline::of(&args.brokers));
    let mut worker = Worker {
        producer: ClientConfig::new()
            .set("bootstrap.servers", &args.brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("log_level", "3")
            .create()
            .map_err(DemoError::kafka("cannot make service B's producer"))?,
        log: log(&args)?,
        args,
    };
    loop {
        let batch = pull(&consumer, &worker.args)?;
        producers.look(worker.producer.client(), &worker.args.topic);
        if batch.is_empty() {
            consumers.look(consumer.client(), &worker.args.topic);
            continue;
        }
        // Before the work is done: this is the mistake that so many consumers make. A refusal (a rebalance is under
        // way) changes nothing about it.
        if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync) {
            tracing::debug!(%error, "service B could not commit");
        }
        for message in &batch {
            worker.work(message)?;
        }
        worker
            .producer
            .flush(FLUSH_MAX)
            .map_err(DemoError::kafka("service B's ACKs are not confirmed"))?;
    }
}

fn consumer(args: &ServiceBArgs) -> Result<BaseConsumer, DemoError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.brokers)
        .set("group.id", &args.group)
        .set("session.timeout.ms", args.session_timeout_ms.to_string())
        .set(
            "heartbeat.interval.ms",
            (args.session_timeout_ms / 4).max(1).to_string(),
        )
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "100")
        .set("enable.auto.offset.store", "true")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "20")
        .set("topic.metadata.refresh.interval.ms", "2000")
        .set("log_level", "3");
    if let Some(id) = &args.instance_id {
        config.set("group.instance.id", id);
    }
    let consumer: BaseConsumer = config
        .create()
        .map_err(DemoError::kafka("cannot make service B's consumer"))?;
    match args.assign {
        None => consumer.subscribe(&[&args.topic]),
        Some(partitions) => {
            let mut list = TopicPartitionList::new();
            for partition in 0..partitions {
                list.add_partition_offset(&args.topic, partition, Offset::Stored)
                    .map_err(DemoError::kafka("service B cannot be assigned"))?;
            }
            wait_for_offsets(&consumer, &list)?;
            consumer.assign(&list)
        }
    }
    .map_err(DemoError::kafka("service B cannot subscribe"))?;
    Ok(consumer)
}

/// Waits until the group's coordinator tells its offsets.
///
/// Where it has just started, its answer is an error, and librdkafka, which `assign` with stored offsets has ask once,
/// neither asks again nor begins to read (<https://github.com/confluentinc/librdkafka/issues/5586>).
fn wait_for_offsets(consumer: &BaseConsumer, asked: &TopicPartitionList) -> Result<(), DemoError> {
    let until = clock::instant() + COMMITTED_MAX;
    loop {
        let answer = consumer.committed_offsets(asked.clone(), COMMITTED_WAIT);
        let told = answer.and_then(|found| found.elements().iter().try_for_each(|p| p.error()));
        match told {
            Ok(()) => return Ok(()),
            Err(error) if clock::instant() > until => {
                return Err(DemoError::kafka(
                    "service B does not learn its group's offsets",
                )(error));
            }
            Err(error) => {
                tracing::debug!(%error, "service B's offsets");
                std::thread::sleep(PULL_WAIT);
            }
        }
    }
}

fn pull(consumer: &BaseConsumer, args: &ServiceBArgs) -> Result<Vec<OwnedMessage>, DemoError> {
    let mut batch = Vec::with_capacity(args.batch);
    let mut full_at = clock::instant() + PULL_WAIT;
    while batch.len() < args.batch {
        match consumer.poll(full_at.saturating_duration_since(clock::instant())) {
            Some(Ok(message)) => {
                if batch.is_empty() {
                    full_at = clock::instant() + Duration::from_millis(args.fill_ms);
                }
                batch.push(message.detach());
            }
            // The client goes on by itself: a broker that restarts, a topic that is not there yet.
            Some(Err(KafkaError::MessageConsumption(error))) => {
                tracing::debug!(%error, "service B's consumer");
            }
            Some(Err(error)) => return Err(DemoError::kafka("service B cannot read")(error)),
            None => break,
        }
    }
    Ok(batch)
}

struct Worker {
    args: ServiceBArgs,
    producer: BaseProducer,
    log: Box<dyn Write>,
}

impl Worker {
    fn work(&mut self, message: &OwnedMessage) -> Result<(), DemoError> {
        let position = format!(
            "{}/{}/{}",
            message.topic(),
            message.partition(),
            message.offset()
        );
        let number = message.payload().and_then(order::number);
        let every = |n: u64| n > 0 && number.is_some_and(|number| number % n == 0);
        if every(self.args.ignore_every) {
            return self.line('I', &position, number);
        }
        if every(self.args.reject_every) {
            self.line('R', &position, number)?;
            return self.acknowledge(message, &position, Some("reject"), None);
        }
        if every(self.args.nack_every) && header(message, "ackwarden-attempt").is_none() {
            self.line('N', &position, number)?;
            let delay = self.args.nack_delay.clone();
            return self.acknowledge(message, &position, Some("nack"), delay.as_deref());
        }
        if every(self.args.extend_every) {
            self.line('E', &position, number)?;
            self.acknowledge(message, &position, Some("extend"), None)?;
            self.producer
                .flush(FLUSH_MAX)
                .map_err(DemoError::kafka("service B's extend is not confirmed"))?;
            std::thread::sleep(Duration::from_millis(self.args.extended_work_ms));
        } else {
            std::thread::sleep(Duration::from_micros(self.args.work_us));
        }
        self.line('P', &position, number)?;
        self.acknowledge(message, &position, None, None)
    }

    /// The one line that a user's Service B adds, in all its variants.
    fn acknowledge(
        &self,
        message: &OwnedMessage,
        position: &str,
        verdict: Option<&str>,
        delay: Option<&str>,
    ) -> Result<(), DemoError> {
        let key = match self.args.ack {
            AckMode::None => return Ok(()),
            AckMode::Position => position.to_owned(),
            AckMode::IdHeader => {
                header(message, "message-id").unwrap_or_else(|| position.to_owned())
            }
        };
        let mut headers = OwnedHeaders::new();
        for (name, value) in [("ackwarden-verdict", verdict), ("ackwarden-delay", delay)] {
            if let Some(value) = value {
                headers = headers.insert(Header {
                    key: name,
                    value: Some(value),
                });
            }
        }
        let record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&self.args.ack_topic)
            .key(key.as_str())
            .headers(headers);
        self.producer
            .send(record)
            .map_err(|(error, _)| DemoError::kafka("service B cannot acknowledge")(error))
    }

    /// One write for a line: whole or not there.
    fn line(&mut self, what: char, position: &str, number: Option<u64>) -> Result<(), DemoError> {
        let number = number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        self.log
            .write_all(format!("{what} {position} {number}\n").as_bytes())
            .and_then(|()| self.log.flush())
            .map_err(DemoError::io(
                "cannot write",
                self.args
                    .log
                    .clone()
                    .unwrap_or_else(|| "standard output".into()),
            ))
    }
}

fn log(args: &ServiceBArgs) -> Result<Box<dyn Write>, DemoError> {
    let Some(path) = &args.log else {
        return Ok(Box::new(io::stdout()));
    };
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(DemoError::io("cannot open", path))?;
    Ok(Box::new(file))
}

fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().filter(|h| h.key == name).last()?;
    Some(String::from_utf8_lossy(found.value?).into_owned())
}

fn end_with_stdin() {
    let mut buffer = [0; 64];
    while io::stdin().read(&mut buffer).is_ok_and(|n| n > 0) {}
    std::process::exit(0);
}
