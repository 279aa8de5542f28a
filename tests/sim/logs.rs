//! What Kafka does with its logs: open transactions hide what stands behind them, retention and DeleteRecords cut the
//! beginning off, compaction takes a record out of the middle.

use std::collections::BTreeSet;

use crate::world::{ACK_PARTITIONS, World};

/// Records of one transaction at most.
const TRANSACTION_MAX: usize = 3;

/// What is true of a log beside its records.
#[derive(Default)]
pub struct LogState {
    /// What lies below is gone.
    pub start: usize,
    pub open: Option<Transaction>,
}

pub struct Transaction {
    first: usize,
    until_ms: u64,
    commits: bool,
    members: Vec<usize>,
}

impl LogState {
    /// Up to where those that read committed records see it.
    pub fn stable(&self, end: usize) -> usize {
        self.open.as_ref().map_or(end, |t| t.first)
    }

    /// The record there, just appended, is part of a transaction, if it is so drawn.
    fn joins(&mut self, at: usize, begins: bool, joins: bool, until_ms: u64, commits: bool) {
        match &mut self.open {
            Some(t) if joins && t.members.len() < TRANSACTION_MAX => t.members.push(at),
            None if begins => {
                self.open = Some(Transaction {
                    first: at,
                    until_ms,
                    commits,
                    members: vec![at],
                });
            }
            _ => {}
        }
    }
}

/// Whom the cuts have hurt: of what was taken away before its time, less is promised.
#[derive(Default)]
pub struct Losses {
    /// No record of it is left, and it was not settled.
    pub robbed: BTreeSet<u64>,
    /// Some record of it is gone that was still needed.
    pub touched: BTreeSet<u64>,
    /// Something that was said of it is gone, perhaps unread.
    pub unheard: BTreeSet<u64>,
    /// Of those, what is gone of a partition that was added, perhaps before anybody knew it.
    pub excused: BTreeSet<u64>,
    /// Of an aborted transaction: it never was.
    pub aborted: BTreeSet<u64>,
    /// Compaction took it: that is no cut that anybody could report.
    pub compacted: BTreeSet<u64>,
}

impl Losses {
    pub fn is_hurt(&self, message: u64) -> bool {
        self.touched.contains(&message) || self.unheard.contains(&message)
    }
}

impl World {
    /// One partition's turn in each step, drawn.
    pub fn logs_change(&mut self) {
        self.transactions_end();
        let kafka = &self.faults.kafka;
        let (retention, deletions, compaction) =
            (kafka.retention, kafka.deletions, kafka.compaction);
        if self.latest.chance(retention) {
            self.retention_passes();
        }
        if self.latest.chance(deletions) {
            if self.latest.chance(500) {
                self.records_are_deleted();
            } else {
                self.acks_are_deleted();
            }
        }
        if self.latest.chance(compaction) {
            self.one_is_compacted();
        }
    }

    /// A record that A or B just appended.
    pub fn may_be_in_a_transaction(&mut self, acks: bool, partition: usize, at: usize) {
        let rate = self.faults.kafka.transactions;
        if rate == 0 {
            return;
        }
        let begins = self.latest.chance(rate * 3);
        let joins = self.latest.chance(400);
        // Most are short; one in ten hangs.
        let length = if self.latest.chance(100) { 20_000 } else { 600 };
        let until_ms = self.now_ms + self.latest.below(length);
        let commits = self.latest.chance(600);
        let logs = if acks {
            &mut self.ack_logs
        } else {
            &mut self.source_logs
        };
        let hid = logs[partition].open.is_some();
        logs[partition].joins(at, begins, joins, until_ms, commits);
        self.seen.transactions += u64::from(!hid && logs[partition].open.is_some());
    }

    fn transactions_end(&mut self) {
        let now = self.now_ms;
        // With the faults, the patience of Kafka's coordinator with whoever left one open.
        let all = self.faults.kafka.transactions == 0;
        for p in 0..self.source.len() {
            let Some(t) = self.source_logs[p]
                .open
                .take_if(|t| all || t.until_ms <= now)
            else {
                continue;
            };
            for at in t.members.iter().filter(|_| !t.commits) {
                if let Some(sent) = self.source[p][*at].take() {
                    self.losses.aborted.insert(sent.message);
                }
            }
            self.source[p].push(None);
        }
        for a in 0..self.acks.len() {
            let Some(t) = self.ack_logs[a].open.take_if(|t| all || t.until_ms <= now) else {
                continue;
            };
            for at in t.members.iter().filter(|_| !t.commits) {
                let said = self.acks[a][*at].take();
                if let Some(message) = said.and_then(|a| a.message) {
                    self.is_said_no_more(message);
                }
            }
            self.acks[a].push(None);
        }
    }

    /// An ACK was in a transaction that aborted: the message may have been thought settled when it was deleted, or one of
    /// its records compacted away.
    fn is_said_no_more(&mut self, message: u64) {
        let none_left = self.records_of(message).all(|(at, s)| {
            s.gone || at.offset < self.source_logs[at.partition as usize].start as i64
        });
        let hurt = none_left || self.losses.compacted.contains(&message);
        if hurt && !self.is_settled(message) && self.faults_drawn.kafka.may_lose() {
            self.losses.robbed.insert(message);
        }
    }

    /// What nobody needs any more goes: below L of the partition; below each E.
    fn retention_passes(&mut self) {
        let p = self.latest.below(self.source.len() as u64) as usize;
        let low = self.low_of(p as i32) as usize;
        let start = &mut self.source_logs[p].start;
        *start = (*start).max(low - self.latest.below(3).min(low as u64) as usize);
        let a = self.latest.below(self.acks.len() as u64) as usize;
        let e_of = |acks: &[(i32, i64)]| {
            let e = acks.iter().find(|(n, _)| *n == a as i32);
            e.map_or(0, |(_, e)| *e as usize)
        };
        let e = self.committed.values().map(|(_, acks)| e_of(acks)).min();
        // Of a partition that is not committed yet, all ACKs are needed.
        let all_are_committed = self.committed.len() == self.source.len();
        // It looks every few minutes: by then every broker has heard of a partition.
        let is_old = self.growth.is_heard_of(a as i32, self.now_ms);
        let e = e.filter(|_| all_are_committed && is_old).unwrap_or(0);
        let start = &mut self.ack_logs[a].start;
        *start = (*start).max(e);
        self.seen.retention += 1;
    }

    fn records_are_deleted(&mut self) {
        let p = self.latest.below(self.source.len() as u64) as usize;
        let from = self.source_logs[p].start;
        let stable = self.source_logs[p].stable(self.source[p].len());
        let to = from + self.latest.below((stable.max(from) - from) as u64 + 1) as usize;
        self.source_logs[p].start = to;
        self.seen.deletions += 1;
        let gone: BTreeSet<u64> = self.source[p][from..to]
            .iter()
            .flatten()
            .map(|s| s.message)
            .collect();
        for message in gone {
            self.is_hurt_by_a_cut(message, p, to);
        }
    }

    /// What is on its way may never land.
    fn is_hurt_by_a_cut(&mut self, message: u64, p: usize, left_from: usize) {
        self.losses.touched.insert(message);
        let mut left = self.source[p][left_from..].iter().flatten();
        if !self.is_settled(message) && !left.any(|s| s.message == message && !s.gone) {
            self.losses.robbed.insert(message);
        }
    }

    fn acks_are_deleted(&mut self) {
        let a = self.latest.below(self.acks.len() as u64) as usize;
        let from = self.ack_logs[a].start;
        let stable = self.ack_logs[a].stable(self.acks[a].len());
        let to = from + self.latest.below((stable.max(from) - from) as u64 + 1) as usize;
        self.ack_logs[a].start = to;
        self.seen.deletions += 1;
        let gone = self.acks[a][from..to].iter().flatten();
        let gone: Vec<u64> = gone.filter_map(|a| a.message).collect();
        if a >= ACK_PARTITIONS as usize {
            self.losses.excused.extend(&gone);
        }
        self.losses.unheard.extend(gone);
    }

    fn one_is_compacted(&mut self) {
        let p = self.latest.below(self.source.len() as u64) as usize;
        let from = self.source_logs[p].start;
        let stable = self.source_logs[p].stable(self.source[p].len());
        if stable <= from {
            return;
        }
        let at = from + self.latest.below((stable - from) as u64) as usize;
        let Some(sent) = &mut self.source[p][at] else {
            return;
        };
        sent.gone = true;
        let message = sent.message;
        self.seen.compacted += 1;
        self.losses.touched.insert(message);
        self.losses.compacted.insert(message);
        if !self.is_settled(message) {
            // Whichever it was: the low-water mark may stand at this one.
            self.losses.robbed.insert(message);
        }
    }
}
