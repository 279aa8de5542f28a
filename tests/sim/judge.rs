//! The judges: they know the whole truth, and each names the invariant that it holds.

use ackwarden::core::effect::Headers;
use ackwarden::core::{AckTarget, MsgRef, Verdict};

use crate::world::World;

impl World {
    /// B's ACKs of a message, however they name it.
    fn acked_at(&self, message: u64) -> Vec<u64> {
        self.acks
            .iter()
            .flatten()
            .flatten()
            .filter(|a| a.message == Some(message) && a.verdict == Verdict::Ack && !a.estranged)
            .map(|a| a.at_ms)
            .collect()
    }

    fn is_settled(&self, message: u64) -> bool {
        self.acks.iter().flatten().flatten().any(|a| {
            a.message == Some(message) && matches!(a.verdict, Verdict::Ack | Verdict::DeadLettered)
        })
    }

    /// 5, 6, 7: attempts ascend without gaps, none is past the maximum, and none is sent once an ACK of the message was
    /// applied, or was on the topic before the deadline of the delivery before.
    pub fn judge_copy(&mut self, msg: MsgRef, message: u64, headers: &Headers) {
        let max = self.policy.max_attempts;
        if headers.attempt > max {
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
            .map(|s| (s.attempt, s.at_ms))
            .max();
        let now_incarnation = self.incarnation;
        let twins = log
            .iter()
            .flatten()
            .any(|s| s.message == message && s.late_twin && s.incarnation < now_incarnation);
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
        self.judge_evidence(message, headers, newest);
    }

    fn judge_evidence(&mut self, message: u64, headers: &Headers, newest: Option<(u32, u64)>) {
        let applied = self.acks.iter().enumerate().any(|(a, log)| {
            let to = self.ack_position(a as i32) as usize;
            log[..to.min(log.len())].iter().flatten().any(|x| {
                let by_id = matches!(x.record.target, AckTarget::Id { .. });
                x.message == Some(message) && x.verdict == Verdict::Ack && !by_id && !x.estranged
            })
        });
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
            let earliest_deadline = at_ms + self.policy.timeout_ms * 9 / 10;
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
        let rejected = self
            .acks
            .iter()
            .flatten()
            .flatten()
            .any(|a| a.message == Some(message) && a.verdict == Verdict::Reject);
        if !rejected && attempt != self.policy.max_attempts {
            self.breach(
                5,
                format!("{message} at {} dead after attempt {attempt}", msg.origin),
            );
        }
    }

    /// 2: never past the lowest unsettled anchor: of each unsettled message below L, a copy lies at or past it.
    pub fn judge_commit(&mut self, partition: i32, low: i64) {
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
            if !self.is_settled(message) && !above.contains(&message) {
                self.breach(
                    2,
                    format!("{partition} committed to {low}, {message} is unsettled below"),
                );
                return;
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
            if !self.is_settled(message) {
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
