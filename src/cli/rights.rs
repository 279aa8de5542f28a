//! What the user of the configuration may do with the topics and the group that it names. A broker tells it since 2.3;
//! one without an authorizer allows everything.

use super::report::Report;
use crate::config::{Config, TopicConfig};
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, Rights};

/// Looks at all of them; each right that is missing is a failure.
pub(super) fn check_rights(admin: &Admin, config: &Config, report: &mut Report) {
    let before = report.failures();
    let group = &config.kafka.group_id;
    let group_rights = admin.group_rights(group);
    say(
        &format!("the group {group}"),
        group_rights,
        READ,
        "membership and commits",
        report,
    );
    topic(
        admin,
        &config.kafka.state_topic,
        READ_WRITE,
        "what users change",
        report,
    );
    for tracked in &config.topics {
        check_topic(admin, tracked, report);
    }
    if report.failures() == before {
        report.ok("the user may do what is needed, as far as it is told");
    }
}

fn check_topic(admin: &Admin, tracked: &TopicConfig, report: &mut Report) {
    let writes = !tracked.policy.observe_only;
    let needed = |read| Rights {
        read,
        write: writes,
    };
    topic(
        admin,
        &tracked.name,
        needed(true),
        "tracking, and retries",
        report,
    );
    let acks = "verdicts, and settlements and operators' decisions";
    topic(admin, &tracked.ack_topic, needed(true), acks, report);
    if let Some(dead_letter) = tracked.policy.dead_letter.as_deref().filter(|_| writes) {
        topic(admin, dead_letter, needed(false), "dead letters", report);
    }
}

const READ: Rights = Rights {
    read: true,
    write: false,
};
const READ_WRITE: Rights = Rights {
    read: true,
    write: true,
};

/// One that is not there is another check's business.
fn topic(admin: &Admin, name: &str, needed: Rights, what_for: &str, report: &mut Report) {
    if matches!(admin.topic(name), Ok(Some(_))) {
        let rights = admin.topic_rights(name);
        say(
            &format!("the topic {name}"),
            rights,
            needed,
            what_for,
            report,
        );
    }
}

fn say(
    what: &str,
    rights: Result<Option<Rights>, KafkaProblem>,
    needed: Rights,
    what_for: &str,
    report: &mut Report,
) {
    let rights = match rights {
        Ok(Some(rights)) => rights,
        Ok(None) => {
            report.warn(&format!(
                "what the user may do with {what} is not told: give it DESCRIBE there to have it checked"
            ));
            return;
        }
        Err(problem) => {
            report.warn(&format!(
                "what the user may do with {what} cannot be checked: {problem}"
            ));
            return;
        }
    };
    let missing = [
        ("READ", needed.read && !rights.read),
        ("WRITE", needed.write && !rights.write),
    ];
    for (right, _) in missing.iter().filter(|(_, is_missing)| *is_missing) {
        report.fail(&format!(
            "the user may not {right} {what}, which is needed for {what_for}. kafka-acls.sh --add --allow-principal \
             User:… --operation {right} …"
        ));
    }
}
