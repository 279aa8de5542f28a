//! The judges: they know the whole truth, and each names the invariant that it holds.

use ackwarden::core::effect::Headers;
use ackwarden::core::record::CauseKind;
use ackwarden::core::{AckBatch, AckTarget, MsgRef, Verdict};

use crate::world::{Acked, Sent, World};

impl World {
    fn sent(&self) -> impl Iterator<Item = &Sent> {
        self.source.iter().flatten().flatten()
    }

    fn said(&self) -> impl Iterator<Item = &Acked> {
        self.acks.iter().flatten().flatten()
    }

    /// Two copies of one attempt, of which neither names the other: an unclear report was behind it, and one of them may
    /// have landed late. Who was rebuilt since then tracks the second as a message of its own (decision 0003).
    fn is_twin(&self, copy: &Sent) -> bool {
        let same = |s: &&Sent| s.message == copy.message && s.attempt == copy.attempt;
        copy.late_twin || (copy.copy.is_some() && self.sent().filter(same).count() > 1)
    }

    fn has_twins(&self, message: u64) -> bool {
        self.sent().any(|s| s.message == message && self.is_twin(s))
    }

    /// Somebody gave its id to another message too: which of them an ACK by id is about, nobody can tell.
    fn is_shared(&self, message: u64) -> bool {
        self.faults_drawn.more.shared_ids > 0
            && self.sent().any(|s| {
                s.message == message && self.sent().any(|o| o.message != message && o.id == s.id)
            })
    }

    /// B's ACKs of a message, however they name it.
    fn acked_at(&self, message: u64) -> Vec<u64> {
        self.said()
            .filter(|a| a.message == Some(message) && is_ack(a.verdict) && !a.estranged)
            .map(|a| a.at_ms)
            .collect()
    }

    /// By an ACK that names a delivery of it and lies below where ACKs are applied.
    fn is_acked_and_applied(&self, message: u64) -> bool {
        self.acks.iter().enumerate().any(|(a, log)| {
            let to = self.acks_applied.get(&(a as i32)).copied().unwrap_or(0) as usize;
            log[..to.min(log.len())].iter().flatten().any(|x| {
                let by_id = matches!(x.record.target, AckTarget::Id { .. });
                x.message == Some(message) && is_ack(x.verdict) && !by_id && !x.estranged
            })
        })
    }

    fn is_estranged(&self, (partition, offset): (i32, i64)) -> bool {
        let sent = &self.source[partition as usize][offset as usize];
        sent.as_ref().is_some_and(|s| s.estranged)
    }

    /// 9: who says that it is rebuilt knows what was acknowledged before it began.
    pub fn judge_rebuilt(&mut self) {
        let began = self.started_ms;
        let mut open = None;
        for (p, log) in self.source.iter().enumerate() {
            for (offset, sent) in log.iter().enumerate() {
                if let Some(sent) = sent
                    && sent.copy.is_none()
                    && self.said().any(|a| {
                        let by_id = matches!(a.record.target, AckTarget::Id { .. });
                        let about = a.message == Some(sent.message) && is_ack(a.verdict);
                        about && !by_id && !a.estranged && a.at_ms < began
                    })
                    && !self.has_twins(sent.message)
                    && self.is_open(p as i32, offset as i64)
                {
                    open = Some(sent.message);
                }
            }
        }
        if let Some(message) = open {
            self.breach(
                9,
                format!("{message} is outstanding after the rebuild, and was acknowledged before"),
            );
        }
    }

    fn is_settled(&self, message: u64) -> bool {
        self.said()
            .any(|a| a.message == Some(message) && settles(a.verdict))
    }

    /// 5, 6, 7: attempts ascend without gaps, none is past the maximum, and none is sent once an ACK of the message was
    /// applied, or was on the topic before the deadline of the delivery before.
    pub fn judge_copy(&mut self, msg: MsgRef, message: u64, headers: &Headers) {
        let max = self.policy.max_attempts;
        let asked = self
            .said()
            .any(|a| a.message == Some(message) && a.verdict == Verdict::OperatorRetry);
        if headers.attempt > max && !asked {
            self.breach(
                5,
                format!("attempt {} of {message}, of {max}", headers.attempt),
            );
        }
        let log = &self.source[msg.partition as usize];
        // Tracked as a message of its own, with a history of its own.
        if log[msg.origin as usize]
            .as_ref()
            .is_some_and(|s| s.estranged)
        {
            return;
        }
        let newest = log
            .iter()
            .flatten()
            .filter(|s| s.message == message && s.attempt < headers.attempt)
            // Of twins, the wait begins with the first.
            .map(|s| (s.attempt, std::cmp::Reverse(s.at_ms)))
            .max()
            .map(|(attempt, at_ms)| (attempt, at_ms.0));
        let twins = log.iter().flatten().any(|s| {
            let before = s.incarnation < self.incarnation
                || self.is_rebuilt_since(msg.partition, s.submitted_ms);
            s.message == message && before && self.is_twin(s)
        });
        match newest {
            Some((attempt, _)) if attempt + 1 != headers.attempt => {
                self.breach(
                    5,
                    format!("attempt {} of {message} after {attempt}", headers.attempt),
                );
            }
            None => self.breach(
                5,
                format!("attempt {} of {message} from nothing", headers.attempt),
            ),
            Some(_) => {}
        }
        // An ambiguous copy that landed late, then a crash and a rebuild from Kafka alone: the ACK may name a twin that no
        // record at or past L mentions. What cannot be decided is kept (14), at the price of this one retry (8).
        if twins {
            return;
        }
        self.judge_cause(message, headers);
        if !self.is_shared(message) {
            self.judge_evidence(message, headers, newest);
        }
    }

    /// 1, 5: a nack counts for the delivery that it names, and not beside a reject of the same.
    fn judge_cause(&mut self, message: u64, headers: &Headers) {
        let before = headers.attempt - 1;
        let record = headers.cause.and_then(|c| c.record);
        let named = record
            .and_then(|at| self.acks[at.partition as usize].get(at.offset as usize))
            .and_then(|a| a.as_ref()?.attempt);
        if let Some(named) = named
            && named != before
        {
            self.breach(
                5,
                format!("attempt {} of {message} for a nack of {named}", before + 1),
            );
        }
        // Submitted before: the reject may have come too late for it.
        let operator = headers.cause.is_some_and(|c| c.kind == CauseKind::Operator);
        if operator || self.submitted.contains(&(message, headers.attempt)) {
            return;
        }
        let rejected = self.acks.iter().enumerate().any(|(a, log)| {
            let to = self.acks_applied.get(&(a as i32)).copied().unwrap_or(0);
            log[..(to as usize).min(log.len())]
                .iter()
                .flatten()
                .any(|x| {
                    x.message == Some(message)
                        && x.verdict == Verdict::Reject
                        && x.attempt == Some(before)
                        && !x.estranged
                })
        });
        if rejected {
            self.breach(
                1,
                format!(
                    "attempt {} of {message}, of which {before} was rejected",
                    before + 1
                ),
            );
        }
    }

    fn judge_evidence(&mut self, message: u64, headers: &Headers, newest: Option<(u32, u64)>) {
        let applied = self.is_acked_and_applied(message);
        if applied {
            self.breach(
                7,
                format!(
                    "attempt {} of {message} after its ack was applied",
                    headers.attempt
                ),
            );
        }
        let nacked = headers.cause.is_some_and(|c| c.record.is_some());
        if let Some((_, at_ms)) = newest
            && !nacked
        {
            // Jitter takes a tenth at most; the wait begins when the coordinator sees the delivery, not before.
            let mut earliest_deadline = at_ms + self.policy.timeout_ms * 9 / 10;
            if self.faults_drawn.more.clock_jumps > 0 {
                // The deadline may have come with the clock. What was there when it started is known all the same.
                earliest_deadline = earliest_deadline.min(self.started_ms);
            }
            if let Some(acked) = self
                .acked_at(message)
                .iter()
                .find(|at| **at <= earliest_deadline)
            {
                let now = self.now_ms;
                self.breach(
                    6,
                    format!(
                        "attempt {} of {message} published at {now}, acked at {acked}, its delivery was at {at_ms}",
                        headers.attempt
                    ),
                );
            }
        }
    }

    /// 5: for exhaustion only after the last attempt.
    pub fn judge_dead_letter(&mut self, msg: MsgRef, message: u64, attempt: u32) {
        // What claims to be a later attempt is taken at its word.
        let claimed = self.sent().filter(|s| s.message == message && s.forged);
        let claimed = claimed.map(|s| s.attempt).max().unwrap_or(0);
        let max = self.policy.max_attempts.max(claimed);
        let asked = |a: &Acked| {
            let all = [
                Verdict::Reject,
                Verdict::OperatorDeadLetter,
                Verdict::OperatorRetry,
            ];
            a.message == Some(message) && all.contains(&a.verdict)
        };
        let rejected = self.said().any(asked);
        let at = (msg.partition, msg.origin);
        let twin = self.has_twins(message);
        if self.is_acked_and_applied(message) && !twin && !self.is_estranged(at) {
            self.breach(7, format!("{message} dead after its ack was applied"));
        }
        if !rejected && attempt != max && !self.is_shared(message) {
            self.breach(
                5,
                format!("{message} at {} dead after attempt {attempt}", msg.origin),
            );
        }
    }

    /// 2: never past the lowest unsettled anchor: of each unsettled message below L, a copy lies at or past it.
    pub fn judge_commit(&mut self, partition: i32, low: i64, acks: &[(i32, i64)]) {
        let log = &self.source[partition as usize];
        if low > log.len() as i64 {
            self.breach(2, format!("{partition} committed to {low} past its end"));
            return;
        }
        let below: Vec<u64> = log[..low as usize]
            .iter()
            .flatten()
            .map(|s| s.message)
            .collect();
        let above: Vec<u64> = log[low as usize..]
            .iter()
            .flatten()
            .map(|s| s.message)
            .collect();
        for message in below {
            if !self.is_settled(message) && !above.contains(&message) && !self.is_shared(message) {
                self.breach(
                    2,
                    format!("{partition} committed to {low}, {message} is unsettled below"),
                );
                return;
            }
        }
        self.judge_forgotten(partition, low, acks);
    }

    /// 3: of each settled message of which a copy lies at or past L, a verdict that settles it lies at or past E.
    fn judge_forgotten(&mut self, partition: i32, low: i64, acks: &[(i32, i64)]) {
        let from = |n: usize| acks.iter().find(|(m, _)| *m == n as i32).map_or(0, |e| e.1);
        let mut kept = std::collections::BTreeSet::new();
        let mut forgotten = std::collections::BTreeSet::new();
        for (n, log) in self.acks.iter().enumerate() {
            for (offset, acked) in log.iter().enumerate() {
                if let Some(acked) = acked
                    && let Some(message) = acked.message
                    && settles(acked.verdict)
                    && !acked.estranged
                {
                    if (offset as i64) < from(n) {
                        forgotten.insert(message);
                    } else {
                        kept.insert(message);
                    }
                }
            }
        }
        let coming = self.limbo.iter().filter(|l| {
            l.partition == partition && l.report.is_some() && l.sent.incarnation == self.incarnation
        });
        let needed = self.source[partition as usize][low as usize..]
            .iter()
            .flatten()
            .chain(coming.map(|l| &l.sent))
            .filter(|s| !s.estranged)
            .map(|s| s.message)
            .filter(|m| forgotten.contains(m) && !kept.contains(m))
            // Which of the twins it was about, is not told once the first is below L.
            .find(|m| !self.is_shared(*m) && !self.has_twins(*m));
        if let Some(message) = needed {
            self.breach(
                3,
                format!("{partition} committed to {low} with {acks:?}: what settled {message} lies before"),
            );
        }
    }

    /// Before a batch: positions of messages that share an id which an ACK in it names, and that are all outstanding.
    pub fn shared_and_open(&self, batch: &AckBatch) -> Vec<(i32, i64)> {
        if self.faults_drawn.more.shared_ids == 0 || batch.records.len() != 1 {
            return Vec::new();
        }
        let AckTarget::Id { id, .. } = &batch.records[0].target else {
            return Vec::new();
        };
        if batch.records[0].extra.is_some() {
            return Vec::new();
        }
        let mut open: Vec<(u64, (i32, i64))> = Vec::new();
        for (p, log) in self.source.iter().enumerate() {
            for (offset, sent) in log.iter().enumerate() {
                if let Some(sent) = sent
                    && **id == format!("m{}", sent.id)
                    && sent.copy.is_none()
                    && self.is_open(p as i32, offset as i64)
                {
                    open.push((sent.message, (p as i32, offset as i64)));
                }
            }
        }
        let several = open.iter().any(|(m, _)| *m != open[0].0);
        open.retain(|_| several);
        open.into_iter().map(|(_, at)| at).collect()
    }

    /// 14: an ACK by an id that several outstanding messages have settles none of them.
    pub fn judge_shared(&mut self, were_open: &[(i32, i64)]) {
        for (partition, offset) in were_open {
            if !self.is_open(*partition, *offset) {
                self.breach(
                    14,
                    format!("{partition}/{offset} was settled by an id that others have"),
                );
            }
        }
    }

    /// 1 and 13: when faults have stopped, everything drains, and nothing was lost.
    pub fn judge_end(&mut self) {
        if self.outstanding() != 0 {
            let n = self.outstanding();
            self.breach(
                13,
                format!("{n} still outstanding two minutes after the faults stopped"),
            );
        }
        for message in 0..self.sent {
            if !self.is_settled(message) && !self.is_shared(message) {
                self.breach(
                    1,
                    format!("{message} was neither acknowledged nor dead-lettered"),
                );
            }
        }
        for (partition, (low, _)) in self.committed.clone() {
            let end = self.source[partition as usize].len() as i64;
            if low != end {
                self.breach(13, format!("{partition} is committed to {low} of {end}"));
            }
        }
    }
}

fn is_ack(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Ack | Verdict::OperatorAck)
}

fn settles(verdict: Verdict) -> bool {
    is_ack(verdict) || verdict == Verdict::DeadLettered
}
