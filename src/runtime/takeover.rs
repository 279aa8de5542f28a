//! What a partition needs to be tracked: where it stands (committed, or its birth), where its logs begin, what the store
//! has of it, and whether its topics are still the ones they were.

use std::collections::HashMap;
use std::time::Duration;

use super::hands::TopicIds;
use super::names::Names;
use super::outbox::SUBMIT_WITHIN_MS;
use super::state::KnownState;
use crate::clock;
use crate::config::TopicConfig;
use crate::core::event::{Assignment, Recreated};
use crate::core::image::PartitionImage;
use crate::core::types::LOG_START;
use crate::kafka::KafkaProblem;
use crate::kafka::admin::{Admin, At};
use crate::kafka::member::{CommitRecord, Member};
use crate::wire::commit::{CommitMeta, decode, encode};

/// What the store had, by topic and partition; each is taken once.
pub type Images = HashMap<(String, i32), KeptImage>;

pub struct KeptImage {
    /// Of the topic that it is about; empty: not told.
    pub topic_id: String,
    pub image: PartitionImage,
}

/// Where things are looked up.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    pub names: &'a Names,
    pub admin: &'a Admin,
    pub member: &'a Member,
    pub state: &'a KnownState,
    pub ids: &'a TopicIds,
}

/// Looks everything up. Partitions that are tracked for the first time are committed at their birth, before anything of
/// them is read.
///
/// # Errors
/// Kafka did not answer: try again.
pub fn take_over(
    look: &Look<'_>,
    images: &mut Images,
    partitions: &[(String, i32)],
) -> Result<Vec<Assignment>, KafkaProblem> {
    let found = look_up(look, images, partitions)?;
    // Only now: without an answer, what the store had is wanted the next time.
    let with_image = |(mut assignment, is_trusted): (Assignment, bool)| {
        let name = look.names.topic(assignment.topic).to_owned();
        let kept = images.remove(&(name, assignment.partition));
        let image = kept.filter(|_| is_trusted).map(|kept| kept.image);
        assignment.image = image.map(Box::new);
        assignment
    };
    Ok(found.into_iter().map(with_image).collect())
}

/// Without images: whether each is to be trusted stands beside it.
fn look_up(
    look: &Look<'_>,
    images: &Images,
    partitions: &[(String, i32)],
) -> Result<Vec<(Assignment, bool)>, KafkaProblem> {
    let mut assignments = Vec::new();
    let Look {
        names,
        admin,
        member,
        state,
        ids,
    } = *look;
    // A decision under the former owner's lease, the time to its submission, and the time that that may take.
    let session_ms = names.session_ms();
    let former_owner_until_ms =
        clock::now().mono_ms + session_ms / 2 + SUBMIT_WITHIN_MS + session_ms / 4;
    let mut first_commits: Vec<CommitRecord> = Vec::new();
    let committed = if partitions.is_empty() {
        Vec::new()
    } else {
        member.committed(partitions.to_vec())?
    };
    for config in &names.config.topics {
        let Some(topic) = names.topic_ix(&config.name) else {
            continue;
        };
        let mine: Vec<i32> = partitions
            .iter()
            .filter(|(t, _)| *t == config.name)
            .map(|(_, p)| *p)
            .collect();
        if mine.is_empty() {
            continue;
        }
        let starts = admin.offsets(&config.name, &mine, At::Earliest, false)?;
        let ack_log_starts = match admin.topic(&config.ack_topic)? {
            Some(info) => {
                admin.offsets(&config.ack_topic, &info.partitions, At::Earliest, false)?
            }
            None => Vec::new(),
        };
        // Behind the look at the ACK topic: whoever acknowledged what is gone from there, had its message before that.
        let ends = admin.offsets(&config.name, &mine, At::Latest, false)?;
        let (source_id, ack_id) = learn_ids(admin, ids, &config.name, &config.ack_topic)?;
        let birth = state.birth(&config.name);
        for (partition, log_start) in starts {
            let found = committed
                .iter()
                .find(|c| c.topic == config.name && c.partition == partition);
            let offset = found.and_then(|c| c.offset);
            let born = birth.and_then(|b| {
                let at = b.source.iter().find(|(p, _)| *p == partition)?;
                Some((at.1, b))
            });
            // Before its first commit nobody publishes anything for a partition.
            let mut owned_by_another = false;
            let (low, acks, recreated) = match (offset, born) {
                (Some(low), _) => {
                    let metadata = found.map(|c| c.metadata.as_slice()).unwrap_or_default();
                    match decode(metadata) {
                        Ok(meta) => {
                            remember_ids(ids, config, &meta);
                            owned_by_another = meta.owner != names.owner;
                            let recreated = recreated(names, &meta, &source_id, &ack_id);
                            (low, Some(meta.acks), recreated)
                        }
                        Err(error) => {
                            owned_by_another = true;
                            tracing::warn!(topic = config.name, partition, %error, "what was committed with the offset cannot be read: all ACKs are read again");
                            (low, None, None)
                        }
                    }
                }
                (None, Some((s0, birth))) => {
                    let meta = CommitMeta {
                        acks: birth.acks.clone(),
                        cluster_id: names.cluster_id.clone(),
                        source_topic_id: birth.source_topic_id.clone().unwrap_or_default(),
                        ack_topic_id: birth.ack_topic_id.clone().unwrap_or_default(),
                        owner: names.owner.clone(),
                    };
                    remember_ids(ids, config, &meta);
                    let recreated = recreated(names, &meta, &source_id, &ack_id);
                    first_commits.push((config.name.clone(), partition, s0, encode(&meta)));
                    (s0, Some(birth.acks.clone()), recreated)
                }
                // It appeared after the first look: from its first record.
                (None, None) => (LOG_START, None, None),
            };
            // The ACKs that stand there are about another topic's messages, as far as can be told.
            let acks = match recreated {
                Some(Recreated::Source) => Some(ack_ends(admin, &config.ack_topic)?),
                // There is no message that lost ACKs could be about.
                None if ends.contains(&(partition, low)) => {
                    acks.map(|acks| not_before(acks, &ack_log_starts))
                }
                _ => acks,
            };
            // An image without a commit belongs to another group's time. And where another went on since, the topic may have been
            // made anew in its time: it has committed the new one's id, and what we have may be of the old one. So may what we
            // have of our own time, if no checkpoint could be written since.
            let of_this_topic = images
                .get(&(config.name.clone(), partition))
                .is_some_and(|kept| !differs(&kept.topic_id, &source_id));
            let is_trusted = offset.is_some() && !owned_by_another && of_this_topic;
            let assignment = Assignment {
                topic,
                partition,
                low,
                born: born.map_or(0, |(s0, _)| s0),
                log_start,
                acks,
                ack_log_starts: ack_log_starts.clone(),
                appeared: offset.is_none() && born.is_none(),
                recreated,
                former_owner_until_ms: if owned_by_another {
                    former_owner_until_ms
                } else {
                    0
                },
                image: None,
            };
            assignments.push((assignment, is_trusted));
        }
    }
    if !first_commits.is_empty() {
        commit_first(member, first_commits)?;
    }
    Ok(assignments)
}

fn commit_first(member: &Member, commits: Vec<CommitRecord>) -> Result<(), KafkaProblem> {
    let (done, results) = std::sync::mpsc::sync_channel(1);
    member.commit(commits, move |_, outcome| {
        let _ = done.send(outcome);
    });
    let results = results
        .recv_timeout(Duration::from_secs(30))
        .map_err(|_| KafkaProblem::Unreachable("the first commit was not answered".to_owned()))??;
    match results.into_iter().find_map(Result::err) {
        Some(why) => Err(KafkaProblem::Refused(format!("the first commit: {why}"))),
        None => Ok(()),
    }
}

fn not_before(mut acks: Vec<(i32, i64)>, log_starts: &[(i32, i64)]) -> Vec<(i32, i64)> {
    for (n, start) in log_starts {
        match acks.iter_mut().find(|(m, _)| m == n) {
            Some((_, e)) => *e = (*e).max(*start),
            None => acks.push((*n, *start)),
        }
    }
    acks
}

fn ack_ends(admin: &Admin, ack_topic: &str) -> Result<Vec<(i32, i64)>, KafkaProblem> {
    match admin.topic(ack_topic)? {
        Some(info) => admin.offsets(ack_topic, &info.partitions, At::Latest, false),
        None => Ok(Vec::new()),
    }
}

/// The ids of the two topics as they are now; empty: not told.
fn learn_ids(
    admin: &Admin,
    ids: &TopicIds,
    source: &str,
    acks: &str,
) -> Result<(String, String), KafkaProblem> {
    let mut told = admin.topic_ids(&[source, acks])?.into_iter();
    let source_id = told.next().flatten().unwrap_or_default();
    let ack_id = told.next().flatten().unwrap_or_default();
    if let Ok(mut ids) = ids.write() {
        // One that is in force is changed only by who tells the core so.
        for (name, id) in [(source, &source_id), (acks, &ack_id)] {
            let known = ids.entry(name.to_owned()).or_default();
            if known.is_empty() {
                known.clone_from(id);
            }
        }
    }
    Ok((source_id, ack_id))
}

/// A topic that is not there now, and had an id: if it is there again, it is another one.
fn remember_ids(ids: &TopicIds, config: &TopicConfig, meta: &CommitMeta) {
    if let Ok(mut ids) = ids.write() {
        for (name, then) in [
            (&config.name, &meta.source_topic_id),
            (&config.ack_topic, &meta.ack_topic_id),
        ] {
            let known = ids.entry(name.clone()).or_default();
            if known.is_empty() {
                known.clone_from(then);
            }
        }
    }
}

/// An id that is not known, then or now, proves nothing.
fn differs(then: &str, now: &str) -> bool {
    !then.is_empty() && !now.is_empty() && then != now
}

fn recreated(names: &Names, meta: &CommitMeta, source: &str, acks: &str) -> Option<Recreated> {
    if differs(&meta.cluster_id, &names.cluster_id) || differs(&meta.source_topic_id, source) {
        Some(Recreated::Source)
    } else if differs(&meta.ack_topic_id, acks) {
        Some(Recreated::AckTopic)
    } else {
        None
    }
}
