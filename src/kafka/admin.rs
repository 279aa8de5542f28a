//! Look-ups: metadata, offsets, ids, configs; and the creation of the state topic. All wait, so they are for threads.
//!
//! An answer is an answer only if it says so: an error, or an offset below 0 ("success with −1001" of a stopped broker),
//! is `Err`. Offsets are asked for only after fresh metadata, since a client without it asks a stopped leader for ever.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::groups::GroupInfo;

use super::KafkaProblem;
use super::lifeline::Lifeline;
use super::raw;
pub use super::raw::{At, Rights};
use super::settings::refused;
use super::trouble::{Context, Trouble};

/// One question waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
/// A poll without a wait serves one thing; with one, all that is there.
const SERVE_FOR: Duration = Duration::from_millis(2);
/// Errors that are served in one go; each ends a poll.
const ERRORS_MAX: usize = 1_000;

/// A broker makes a static member's id of its `group.instance.id`, a hyphen and a UUID.
fn instance_of(member_id: &str) -> &str {
    const HYPHEN_AND_UUID: usize = 37;
    let end = member_id.len().saturating_sub(HYPHEN_AND_UUID);
    member_id.get(..end).unwrap_or(member_id)
}

/// As consumers write it: a version, then how many topics follow.
fn is_empty_assignment(assignment: &[u8]) -> bool {
    assignment.is_empty() || matches!(assignment, [_, _, 0, 0, 0, 0, ..])
}

pub struct Admin {
    consumer: BaseConsumer<Context>,
    config: ClientConfig,
    trouble: Trouble,
    broker: Broker,
    lifeline: Lifeline,
}

/// What kind of broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broker {
    #[default]
    Kafka,
    /// The demo's: it has no topic configurations and no topic ids, and leaves who asks for them waiting.
    Embedded,
}

/// A topic as metadata shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicInfo {
    /// Ascending.
    pub partitions: Vec<i32>,
    pub replication: i32,
}

/// What is asked of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicConfigInfo {
    /// `cleanup.policy`.
    pub compacted: bool,
    pub deleted: bool,
    /// `retention.ms`; −1: without end.
    pub retention_ms: Option<i64>,
    pub max_message_bytes: Option<i64>,
    pub min_insync_replicas: Option<i64>,
}

impl Admin {
    /// # Errors
    /// The settings make no client.
    pub fn new(
        name: &'static str,
        settings: &ClientConfig,
        trouble: &Trouble,
        broker: Broker,
    ) -> Result<Self, KafkaProblem> {
        let consumer = settings
            .create_with_context(Context::new(name, trouble))
            .map_err(|e| refused(settings, &e))?;
        Ok(Self {
            consumer,
            config: settings.clone(),
            trouble: trouble.clone(),
            broker,
            lifeline: Lifeline::new(settings),
        })
    }

    /// Fresh metadata of a topic; `None`: it does not exist.
    ///
    /// # Errors
    /// No answer, or one with an error in it.
    pub fn topic(&self, name: &str) -> Result<Option<TopicInfo>, KafkaProblem> {
        self.lifeline.look(self.consumer.client(), name);
        // Serves what the client has to say: errors come in no other way.
        self.serve();
        let metadata = self
            .consumer
            .fetch_metadata(Some(name), PATIENCE)
            .map_err(|e| KafkaProblem::Unreachable(self.with_trouble(&e.to_string())))?;
        let Some(topic) = metadata.topics().iter().find(|t| t.name() == name) else {
            return Ok(None);
        };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(KafkaProblem::Refused(format!(
                    "the user may not see the topic {name}: give it READ and DESCRIBE"
                )));
            }
            Some(code) => {
                return Err(KafkaProblem::Unreachable(format!(
                    "metadata of {name}: {code}"
                )));
            }
        }
        let mut partitions: Vec<i32> = topic.partitions().iter().map(|p| p.id()).collect();
        partitions.sort_unstable();
        if partitions.is_empty() {
            return Ok(None);
        }
        let replicas = topic.partitions().first().map_or(0, |p| p.replicas().len());
        Ok(Some(TopicInfo {
            partitions,
            replication: i32::try_from(replicas).unwrap_or(0),
        }))
    }

    /// Whether any broker answers.
    ///
    /// # Errors
    /// None does; with what the client complained about.
    pub fn reach(&self) -> Result<(), KafkaProblem> {
        let answer = self
            .consumer
            .fetch_metadata(Some("__ackwarden_probe__"), PATIENCE);
        self.serve();
        match answer {
            Ok(_) => {
                self.trouble.over();
                Ok(())
            }
            Err(error) => Err(KafkaProblem::Unreachable(
                self.with_trouble(&error.to_string()),
            )),
        }
    }

    /// What clients complained about of late.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        self.trouble.recent()
    }

    /// All that the client has to say by now: what is left would be told as news when it is none any more.
    fn serve(&self) {
        for _ in 0..ERRORS_MAX {
            if self.consumer.poll(SERVE_FOR).is_none() {
                return;
            }
        }
    }

    /// What the client complained about says more than that there was no answer.
    fn with_trouble(&self, error: &str) -> String {
        self.serve();
        self.trouble.recent().unwrap_or_else(|| error.to_owned())
    }

    /// The offsets of these partitions, in order: all of them, or an error.
    ///
    /// # Errors
    /// Any partition without an answer.
    pub fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        at: At,
        committed_only: bool,
    ) -> Result<Vec<(i32, i64)>, KafkaProblem> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<(String, i32)> = partitions.iter().map(|p| (topic.to_owned(), *p)).collect();
        let answers = raw::list_offsets(&self.consumer, &asked, at, committed_only, PATIENCE)?;
        let mut offsets = Vec::with_capacity(asked.len());
        for ((_, partition), answer) in asked.iter().zip(answers) {
            match answer {
                Ok(offset) if offset >= 0 => offsets.push((*partition, offset)),
                // After the last record there is none at or past a time.
                Ok(-1) if matches!(at, At::Timestamp(_)) => offsets.push((*partition, -1)),
                Ok(offset) => {
                    return Err(KafkaProblem::Unreachable(format!(
                        "{topic}/{partition}: {offset} is no offset (its leader does not answer)"
                    )));
                }
                Err(why) => {
                    return Err(KafkaProblem::Unreachable(format!(
                        "{topic}/{partition}: {why}"
                    )));
                }
            }
        }
        Ok(offsets)
    }

    /// Topic ids; `None` where the broker does not tell.
    ///
    /// # Errors
    /// No answer: it may have one.
    pub fn topic_ids(&self, topics: &[&str]) -> Result<Vec<Option<String>>, KafkaProblem> {
        if self.broker == Broker::Embedded {
            return Ok(vec![None; topics.len()]);
        }
        match raw::describe_topics(&self.consumer, topics, false, PATIENCE) {
            Ok(all) => Ok(all.into_iter().map(|d| d.id).collect()),
            Err(problem @ KafkaProblem::Unreachable(_)) => Err(problem),
            Err(error) => {
                tracing::debug!(%error, "topic ids cannot be told");
                Ok(vec![None; topics.len()])
            }
        }
    }

    /// What we may do with a topic; `None`: it is not told, or the topic is not there.
    ///
    /// # Errors
    /// No answer: the broker may be too old to tell.
    pub fn topic_rights(&self, topic: &str) -> Result<Option<Rights>, KafkaProblem> {
        let described = raw::describe_topics(&self.consumer, &[topic], true, PATIENCE)?;
        Ok(described.into_iter().next().and_then(|d| d.rights))
    }

    /// What we may do with a group; `None`: it is not told.
    ///
    /// # Errors
    /// No answer: the broker may be too old to tell.
    pub fn group_rights(&self, group: &str) -> Result<Option<Rights>, KafkaProblem> {
        raw::group_rights(&self.consumer, group, PATIENCE)
    }

    #[must_use]
    pub fn cluster_id(&self) -> Option<String> {
        raw::cluster_id(&self.consumer, PATIENCE)
    }

    /// Whether the group is at rest, and gives nothing to us: there are more members than partitions.
    ///
    /// # Errors
    /// No answer.
    pub fn is_idle_member(&self, group_id: &str, instance_id: &str) -> Result<bool, KafkaProblem> {
        if self.broker == Broker::Embedded {
            return Ok(false);
        }
        let groups = self
            .consumer
            .fetch_group_list(Some(group_id), PATIENCE)
            .map_err(|e| KafkaProblem::Unreachable(self.with_trouble(&e.to_string())))?;
        let stable = groups.groups().iter().filter(|g| g.state() == "Stable");
        let mut members = stable.flat_map(GroupInfo::members);
        Ok(members.any(|m| {
            instance_of(m.id()) == instance_id && m.assignment().is_none_or(is_empty_assignment)
        }))
    }

    /// Whether a member of that name is in the group. Who it is the group does not say: when another process takes the
    /// name over, the member keeps the client id and host of the first one.
    ///
    /// # Errors
    /// No answer.
    pub fn is_member(&self, group_id: &str, instance_id: &str) -> Result<bool, KafkaProblem> {
        if self.broker == Broker::Embedded {
            return Ok(false);
        }
        let groups = self
            .consumer
            .fetch_group_list(Some(group_id), PATIENCE)
            .map_err(|e| KafkaProblem::Unreachable(self.with_trouble(&e.to_string())))?;
        let mut members = groups.groups().iter().flat_map(GroupInfo::members);
        Ok(members.any(|m| instance_of(m.id()) == instance_id))
    }

    /// A topic's configuration.
    ///
    /// # Errors
    /// It cannot be checked: the broker does not tell, or we may not ask (DESCRIBE_CONFIGS).
    pub fn topic_config(&self, name: &str) -> Result<TopicConfigInfo, KafkaProblem> {
        if self.broker == Broker::Embedded {
            return Err(KafkaProblem::Refused(
                "the embedded broker has none".to_owned(),
            ));
        }
        let (admin, runtime) = self.client()?;
        let resource = ResourceSpecifier::Topic(name);
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let found = runtime
            .block_on(admin.describe_configs([&resource], &options))
            .map_err(|e| KafkaProblem::Unreachable(e.to_string()))?;
        let config = match found.into_iter().next() {
            Some(Ok(config)) => config,
            Some(Err(code)) => return Err(KafkaProblem::Refused(code.to_string())),
            None => return Err(KafkaProblem::Unreachable("no answer".to_owned())),
        };
        let get = |key: &str| config.get(key).and_then(|e| e.value.clone());
        let number = |key: &str| get(key).and_then(|v| v.parse().ok());
        let cleanup = get("cleanup.policy").unwrap_or_default();
        Ok(TopicConfigInfo {
            compacted: cleanup.contains("compact"),
            deleted: cleanup.contains("delete"),
            retention_ms: number("retention.ms"),
            max_message_bytes: number("max.message.bytes"),
            min_insync_replicas: number("min.insync.replicas"),
        })
    }

    /// Creates a compacted topic with one partition.
    ///
    /// # Errors
    /// It could not be created; an existing one is no error.
    pub fn create_compacted(
        &self,
        name: &str,
        replication: Option<i32>,
    ) -> Result<(), KafkaProblem> {
        let (admin, runtime) = self.client()?;
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(replication.unwrap_or(-1)))
            .set("cleanup.policy", "compact")
            .set("min.cleanable.dirty.ratio", "0.1");
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let made = runtime
            .block_on(admin.create_topics([&topic], &options))
            .map_err(|e| KafkaProblem::Unreachable(e.to_string()))?;
        match made.into_iter().next() {
            Some(Ok(_)) | Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((
                _,
                code @ (RDKafkaErrorCode::RequestTimedOut | RDKafkaErrorCode::NotController),
            ))) => Err(KafkaProblem::Unreachable(code.to_string())),
            Some(Err((_, code))) => Err(KafkaProblem::Refused(code.to_string())),
            None => Err(KafkaProblem::Unreachable("no answer".to_owned())),
        }
    }

    fn client(&self) -> Result<(AdminClient<Context>, tokio::runtime::Runtime), KafkaProblem> {
        let admin = self
            .config
            .create_with_context(Context::new("admin", &self.trouble))
            .map_err(|e| refused(&self.config, &e))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| KafkaProblem::Thread(e.to_string()))?;
        Ok((admin, runtime))
    }
}
