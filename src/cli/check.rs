//! `ackwarden check`: looks at everything that a configuration names on the brokers, changes nothing, and says what is
//! wrong, where, and what to do. What a broker cannot or may not tell is a warning, never a failure.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::report::Report;
use super::rights::check_rights;
use crate::clock;
use crate::config::{Config, TopicConfig, user};
use crate::core::Policy;
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, Broker, TopicConfigInfo, TopicInfo};
use crate::kafka::settings::ClientSettings;
use crate::kafka::trouble::Trouble;

/// A broker that does not answer is waited for no longer than this.
const REACH_WITHIN: Duration = Duration::from_secs(12);

/// Checks all of it.
#[must_use]
pub fn check(config: &Config, warnings: &[String]) -> Report {
    let mut report = Report::default();
    report.ok("the configuration is valid");
    for warning in warnings {
        report.warn(warning);
    }
    check_port(config, &mut report);
    let settings = ClientSettings::new(&config.kafka);
    let trouble = Trouble::default();
    let admin = match Admin::new("check", &settings.admin(), &trouble, Broker::Kafka) {
        Ok(admin) => admin,
        Err(problem) => {
            report.fail(&problem.to_string());
            return report;
        }
    };
    if !reach(&admin, config, &mut report) {
        return report;
    }
    check_state_topic(&admin, config, &mut report);
    for topic in &config.topics {
        check_topic(&admin, topic, &mut report);
    }
    check_rights(&admin, config, &mut report);
    report
}

fn check_port(config: &Config, report: &mut Report) {
    let listen = config.http.listen;
    say_port(listen, TcpListener::bind(listen).map(drop), report);
}

fn say_port(listen: SocketAddr, bound: io::Result<()>, report: &mut Report) {
    match bound {
        Ok(()) => report.ok(&format!("http.listen {listen} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => report.warn(&format!(
            "http.listen {listen}: {error}: if it is not the service itself that runs there, set another port"
        )),
        Err(error) => report.fail(&format!(
            "http.listen {listen}: {error}: name an address of this machine, and a port that {} may listen on",
            user()
        )),
    }
}

fn reach(admin: &Admin, config: &Config, report: &mut Report) -> bool {
    let brokers = &config.kafka.brokers;
    let began = clock::instant();
    loop {
        let problem = match admin.reach() {
            Ok(()) => {
                let id = admin.cluster_id().unwrap_or_else(|| "?".to_owned());
                report.ok(&format!("kafka at {brokers} answers (cluster {id})"));
                return true;
            }
            Err(problem) => problem,
        };
        // Once the client says why, trying again says nothing else.
        if admin.complaint().is_some() || began.elapsed() > REACH_WITHIN {
            report.fail(&format!("kafka at {brokers}: {problem}"));
            return false;
        }
    }
}

/// What a look at a topic found.
enum Seen {
    There(TopicInfo, Option<TopicConfigInfo>),
    Missing,
    /// It was said why.
    Unclear,
}

impl Seen {
    fn config(self) -> Option<TopicConfigInfo> {
        match self {
            Self::There(_, config) => config,
            Self::Missing | Self::Unclear => None,
        }
    }
}

/// A topic and its configuration; what goes wrong is said.
fn look(admin: &Admin, name: &str, report: &mut Report) -> Seen {
    let info = match admin.topic(name) {
        Ok(Some(info)) => info,
        Ok(None) => return Seen::Missing,
        Err(problem @ KafkaProblem::Refused(_)) => {
            report.fail(&problem.to_string());
            return Seen::Unclear;
        }
        Err(problem) => {
            report.warn(&format!("the topic {name} cannot be checked: {problem}"));
            return Seen::Unclear;
        }
    };
    let config = match admin.topic_config(name) {
        Ok(config) => Some(config),
        Err(problem) => {
            report.warn(&format!(
                "the configuration of {name} cannot be checked: {problem}: give the user DESCRIBE_CONFIGS on it"
            ));
            None
        }
    };
    Seen::There(info, config)
}

fn check_state_topic(admin: &Admin, config: &Config, report: &mut Report) {
    let name = &config.kafka.state_topic;
    match look(admin, name, report) {
        Seen::Unclear => {}
        Seen::Missing => report.ok(&format!(
            "the state topic {name} will be created, if the user has CREATE on it"
        )),
        Seen::There(info, found) => {
            warn_of_more_than_partition_0(name, info.partitions.len(), report);
            match found {
                Some(found) if !found.compacted => report.fail(&format!(
                    "the state topic {name} is not compacted: what users change would be forgotten with its \
                     retention. Set cleanup.policy=compact"
                )),
                _ => report.ok(&format!("the state topic {name}")),
            }
        }
    }
}

/// All that is written to it goes to partition 0, and nothing else is read.
fn warn_of_more_than_partition_0(name: &str, partitions: usize, report: &mut Report) {
    if partitions > 1 {
        report.warn(&format!(
            "the state topic {name} has {partitions} partitions: the first alone is written and read, the others stay \
             empty. One is enough"
        ));
    }
}

fn check_topic(admin: &Admin, topic: &TopicConfig, report: &mut Report) {
    let source = look(admin, &topic.name, report);
    let acks = look(admin, &topic.ack_topic, report);
    let name = &topic.name;
    match &source {
        Seen::Unclear => {}
        Seen::Missing => report.warn(&format!(
            "the source topic {name} does not exist: it is followed from its first record when it appears"
        )),
        Seen::There(info, _) => {
            report.ok(&format!("the source topic {name}: {} partitions", info.partitions.len()));
            warn_of_one_replica(name, info, report);
        }
    }
    match &acks {
        Seen::Unclear => {}
        Seen::Missing => report.warn(&format!(
            "the ack topic {} does not exist: messages are tracked and none is retried until it does. \
             kafka-topics.sh --create --topic {} --partitions {} --config cleanup.policy=delete",
            topic.ack_topic,
            topic.ack_topic,
            match &source {
                Seen::There(info, _) => info.partitions.len(),
                _ => 1,
            }
        )),
        Seen::There(info, _) => {
            report.ok(&format!(
                "the ack topic {}: {} partitions",
                topic.ack_topic,
                info.partitions.len()
            ));
            warn_of_one_replica(&topic.ack_topic, info, report);
        }
    }
    let (source, acks) = (source.config(), acks.config());
    if source.as_ref().is_some_and(|c| c.compacted) {
        report.fail(&format!(
            "the source topic {name} is compacted: a retry in place would be put over a newer value of its key. Track a \
             topic with cleanup.policy=delete"
        ));
    }
    if acks.as_ref().is_some_and(|c| c.compacted) {
        report.fail(&format!(
            "the ack topic {} is compacted: an ACK that is still needed could be removed. Set cleanup.policy=delete",
            topic.ack_topic
        ));
    }
    check_retention(topic, source.as_ref(), acks.as_ref(), report);
    check_dead_letter(admin, topic, source.as_ref(), report);
}

fn warn_of_one_replica(name: &str, info: &TopicInfo, report: &mut Report) {
    if info.replication == 1 {
        report.warn(&format!(
            "{name} has one replica: with its broker, its records are gone, and no coordinator can bring them back"
        ));
    }
}

fn bounded(ms: Option<i64>) -> i64 {
    ms.filter(|ms| *ms >= 0).unwrap_or(i64::MAX)
}

fn check_retention(
    topic: &TopicConfig,
    source: Option<&TopicConfigInfo>,
    acks: Option<&TopicConfigInfo>,
    report: &mut Report,
) {
    let Some(source) = source else { return };
    let kept = bounded(source.retention_ms);
    if let Some(acks) = acks
        && bounded(acks.retention_ms) < kept
    {
        report.warn(&format!(
            "the ack topic {} keeps its records for a shorter time than {}: ACKs could be gone while their messages are \
             still tracked. Raise its retention.ms to at least {kept}",
            topic.ack_topic, topic.name
        ));
    }
    let longest = longest_wait_ms(&topic.policy);
    if u64::try_from(kept).unwrap_or(u64::MAX) < longest {
        report.warn(&format!(
            "{} keeps its records for {kept} ms, and the waits of one attempt may take {longest} ms: a message could be \
             gone before it is sent again. Raise its retention.ms, or lower timeout and timeout_max",
            topic.name
        ));
    }
}

/// The longest wait of any one attempt: each copy is a new record, so only one wait lies between record and retry.
fn longest_wait_ms(policy: &Policy) -> u64 {
    policy
        .timeout_max_ms
        .max(policy.timeout_ms)
        .max(policy.delay_max_ms)
}

fn check_dead_letter(
    admin: &Admin,
    topic: &TopicConfig,
    source: Option<&TopicConfigInfo>,
    report: &mut Report,
) {
    let Some(name) = topic.policy.dead_letter.as_deref() else {
        report.warn(&format!(
            "{} has no dead-letter topic: exhausted messages are parked, and hold the low-water mark back",
            topic.name
        ));
        return;
    };
    match look(admin, name, report) {
        Seen::Unclear => {}
        Seen::Missing => report.warn(&format!(
            "the dead-letter topic {name} does not exist: exhausted messages stay, visible, until it does. Create it"
        )),
        Seen::There(_, found) => {
            report.ok(&format!("the dead-letter topic {name}"));
            let limit = |c: &TopicConfigInfo| c.max_message_bytes;
            if let (Some(theirs), Some(ours)) =
                (found.as_ref().and_then(limit), source.and_then(limit))
                && theirs < ours
            {
                report.warn(&format!(
                    "the dead-letter topic {name} takes records of {theirs} bytes at most, the source of {ours}: larger \
                     ones lose their value there. Raise its max.message.bytes, with some room for headers"
                ));
            }
            if found.is_some_and(|c| c.compacted) {
                report.warn(&format!(
                    "the dead-letter topic {name} is compacted: of several dead letters with one key, one is kept"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(what: impl FnOnce(&mut Report)) -> (String, u8) {
        let mut report = Report::default();
        what(&mut report);
        (report.text(), report.code())
    }

    #[test]
    fn a_port_in_use_may_be_the_services_own_and_any_other_trouble_is_a_failure() {
        let listen = "127.0.0.1:80".parse().unwrap();
        let bound = |kind: io::ErrorKind| {
            told(|report| say_port(listen, Err(io::Error::from(kind)), report))
        };
        let (text, code) = bound(io::ErrorKind::AddrInUse);
        assert!(text.starts_with("warn") && code == 0, "{text}");
        for kind in [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::AddrNotAvailable,
        ] {
            let (text, code) = bound(kind);
            assert!(text.starts_with("FAIL") && code == 1, "{text}");
        }
    }

    #[test]
    fn partitions_of_the_state_topic_that_stay_empty_are_a_warning() {
        let (text, code) = told(|report| warn_of_more_than_partition_0("s", 3, report));
        assert!(text.starts_with("warn") && code == 0, "{text}");
        let (text, _) = told(|report| warn_of_more_than_partition_0("s", 1, report));
        assert_eq!(text, "0 failures, 0 warnings\n");
    }
}
