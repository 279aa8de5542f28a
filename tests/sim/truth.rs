//! What is true of each message, by its number: where its records lie, and where something was said of it. The judges
//! would find all of it in the logs; they ask too often to look there each time.

use ackwarden::core::{LogPosition, Verdict};

use crate::world::{Acked, Sent, World};

#[derive(Default)]
pub struct Truth {
    records: Vec<Vec<LogPosition>>,
    said: Vec<Vec<LogPosition>>,
    ids: Vec<Option<u64>>,
}

fn entry<R: Default>(list: &mut Vec<R>, message: u64) -> &mut R {
    let n = message as usize;
    if list.len() <= n {
        list.resize_with(n + 1, R::default);
    }
    &mut list[n]
}

impl World {
    /// To the end of the log; whoever sends it.
    pub fn append(&mut self, partition: i32, sent: Sent) -> LogPosition {
        let log = &mut self.source[partition as usize];
        let at = LogPosition::new(partition, log.len() as i64);
        entry(&mut self.truth.records, sent.message).push(at);
        *entry(&mut self.truth.ids, sent.message) = Some(sent.id);
        log.push(Some(sent));
        at
    }

    pub fn append_said(&mut self, partition: i32, acked: Acked) -> LogPosition {
        let log = &mut self.acks[partition as usize];
        let at = LogPosition::new(partition, log.len() as i64);
        if let Some(message) = acked.message {
            entry(&mut self.truth.said, message).push(at);
        }
        log.push(Some(acked));
        at
    }

    /// Its original and copies, in order within a partition.
    pub fn records_of(&self, message: u64) -> impl Iterator<Item = (LogPosition, &Sent)> {
        let places = self.truth.records.get(message as usize);
        let places = places.map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|at| {
            let sent = &self.source[at.partition as usize][at.offset as usize];
            Some((*at, sent.as_ref()?))
        })
    }

    /// All verdicts about it, aborted ones aside.
    pub fn said_of(&self, message: u64) -> impl Iterator<Item = (LogPosition, &Acked)> {
        let places = self.truth.said.get(message as usize);
        let places = places.map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|at| {
            let acked = &self.acks[at.partition as usize][at.offset as usize];
            Some((*at, acked.as_ref()?))
        })
    }

    /// Somebody gave its id to another message too: which of them an ACK by id is about, nobody can tell.
    pub fn is_shared(&self, message: u64) -> bool {
        if self.faults_drawn.more.shared_ids == 0 {
            return false;
        }
        // Ids are the number of the message, or of the one before.
        let id_of = |m: u64| self.truth.ids.get(m as usize).copied().flatten();
        let Some(id) = id_of(message) else {
            return false;
        };
        [id, id + 1]
            .into_iter()
            .any(|other| other != message && id_of(other) == Some(id))
    }

    /// An ACK or a settlement of it is durable.
    pub fn is_settled(&self, message: u64) -> bool {
        self.said_of(message).any(|(_, a)| settles(a.verdict))
    }
}

pub fn is_ack(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Ack | Verdict::OperatorAck)
}

pub fn settles(verdict: Verdict) -> bool {
    is_ack(verdict) || matches!(verdict, Verdict::DeadLettered | Verdict::PayloadLost)
}
