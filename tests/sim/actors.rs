//! Who speaks in the world: A sends, B works and crashes, operators decide, and somebody writes what is not true.

use ackwarden::core::effect::Headers;
use ackwarden::core::{
    AckExtra, AckRecord, AckTarget, Event, LogPosition, Verdict, view::OperatorAction,
};

use crate::world::{ACK_PARTITIONS, Acked, PARTITIONS, Sent, T, World};

impl World {
    pub fn a_sends(&mut self) {
        let p = self.rng.below(PARTITIONS as u64) as usize;
        let message = self.sent;
        self.sent += 1;
        let shared = message > 0 && self.later.chance(self.faults.more.shared_ids);
        self.source[p].push(Some(Sent {
            message,
            attempt: 1,
            copy: None,
            at_ms: self.now_ms,
            submitted_ms: self.now_ms,
            incarnation: 0,
            estranged: false,
            late_twin: false,
            id: message - u64::from(shared),
            digest: message,
            forged: false,
        }));
    }

    /// A record of somebody else with the headers of one of our copies: another payload, or an attempt that is long in
    /// the log.
    pub fn somebody_forges(&mut self) {
        let p = self.later.below(PARTITIONS as u64) as usize;
        let old = self.now_ms.saturating_sub(1_000);
        let copies: Vec<(Headers, u64)> = self.source[p]
            .iter()
            .flatten()
            .filter(|s| s.at_ms < old && !s.forged)
            .filter_map(|s| Some((s.copy.clone()?, s.digest)))
            .collect();
        if copies.is_empty() {
            return;
        }
        let (mut headers, mut digest) =
            copies[self.later.below(copies.len() as u64) as usize].clone();
        let message = self.sent;
        self.sent += 1;
        self.to_send += 1;
        self.seen.forged += 1;
        if self.later.chance(500) {
            digest = u64::MAX - message;
            headers.attempt += self.later.below(2) as u32;
        }
        self.source[p].push(Some(Sent {
            message,
            attempt: headers.attempt,
            copy: Some(headers),
            at_ms: self.now_ms,
            submitted_ms: self.now_ms,
            incarnation: 0,
            estranged: false,
            late_twin: false,
            id: message,
            digest,
            forged: true,
        }));
    }

    pub fn somebody_acks_nothing(&mut self) {
        let target = if self.later.chance(500) {
            AckTarget::Id {
                topic: T,
                id: "nobody".into(),
            }
        } else {
            let far = self.later.below(2_000) as i64;
            let partition = self.later.below(PARTITIONS as u64 + 1) as i32;
            let log = self.source.get(partition as usize).map_or(0, Vec::len);
            // Past all that will ever be there, but for a whole block of offsets in between.
            AckTarget::Position {
                topic: T,
                partition,
                offset: log as i64 + 2_000 + far,
            }
        };
        self.append_ack(target, None, None, Verdict::Ack);
    }

    pub fn operator_acts(&mut self) {
        let p = self.later.below(PARTITIONS as u64) as i32;
        let log = self.source[p as usize].len() as u64;
        if log == 0 {
            return;
        }
        let offset = self.later.below(log) as i64;
        let action = match self.later.below(5) {
            0 => OperatorAction::Ack,
            1 => OperatorAction::Nack { delay_ms: None },
            2 => OperatorAction::Retry,
            3 => OperatorAction::DeadLetter,
            _ => OperatorAction::Extend { delay_ms: None },
        };
        self.requests += 1;
        self.handle(Event::Operator {
            request: self.requests,
            topic: T,
            msg: LogPosition::new(p, offset),
            action,
            actor: "ops".into(),
            reason: None,
        });
    }

    /// B pulls a batch, and with it commits; what it does not get done when it crashes is lost to it.
    pub fn b_works(&mut self) {
        for p in 0..PARTITIONS {
            if !self.rng.chance(300) {
                continue;
            }
            let from = self.b_position[p as usize];
            let to = (from + 1 + self.rng.below(5) as usize).min(self.source[p as usize].len());
            self.b_position[p as usize] = to;
            for offset in from..to {
                if self.rng.chance(self.faults.b_crashes) {
                    break;
                }
                if self.source[p as usize][offset].is_none() {
                    continue;
                }
                if self.later.chance(self.faults.more.b_wavers) {
                    let all = [Verdict::Nack, Verdict::Reject, Verdict::Extend];
                    for _ in 0..2 {
                        let verdict = all[self.later.below(3) as usize];
                        self.b_says(p, offset as i64, verdict);
                    }
                } else if self.later.chance(self.faults.more.b_extends) {
                    self.b_says(p, offset as i64, Verdict::Extend);
                    let at = self.now_ms + self.later.below(3_000);
                    self.b_pending.push((at, p, offset as i64));
                } else if self.rng.chance(self.faults.b_nacks) {
                    self.b_says(p, offset as i64, Verdict::Nack);
                } else if self.rng.chance(self.faults.b_rejects) {
                    self.b_says(p, offset as i64, Verdict::Reject);
                } else if self.rng.chance(self.faults.b_acks_late) {
                    let at = self.now_ms + self.rng.below(6_000);
                    self.b_pending.push((at, p, offset as i64));
                } else {
                    self.b_says(p, offset as i64, Verdict::Ack);
                    if self.rng.chance(self.faults.b_acks_twice) {
                        self.b_says(p, offset as i64, Verdict::Ack);
                    }
                }
            }
        }
        let now = self.now_ms;
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.b_pending)
            .into_iter()
            .partition(|(at, ..)| *at <= now);
        self.b_pending = rest;
        for (_, p, offset) in due {
            self.b_says(p, offset, Verdict::Ack);
        }
    }

    pub fn b_says(&mut self, partition: i32, offset: i64, verdict: Verdict) {
        let Some(Some(sent)) = self.source[partition as usize].get(offset as usize) else {
            return;
        };
        let message = sent.message;
        let by_id = self.rng.chance(self.faults.by_id);
        let (attempt, estranged, id) = (sent.attempt, sent.estranged, sent.id);
        let target = if by_id {
            AckTarget::Id {
                topic: T,
                id: format!("m{id}").into(),
            }
        } else {
            AckTarget::Position {
                topic: T,
                partition,
                offset,
            }
        };
        let extra = (verdict != Verdict::Ack || (by_id && self.rng.chance(500))).then(|| {
            Box::new(AckExtra {
                verdict,
                attempt: by_id.then_some(attempt),
                ..AckExtra::default()
            })
        });
        let estranged = estranged && !by_id;
        let at = self.append_ack(target, extra, Some(message), verdict);
        if let Some(Some(acked)) = self.acks[at.partition as usize].get_mut(at.offset as usize) {
            acked.estranged = estranged;
            acked.attempt = (!by_id).then_some(attempt);
        }
    }

    pub fn append_ack(
        &mut self,
        target: AckTarget,
        extra: Option<Box<AckExtra>>,
        message: Option<u64>,
        verdict: Verdict,
    ) -> LogPosition {
        let a = self.rng.below(ACK_PARTITIONS as u64) as i32;
        let at = LogPosition::new(a, self.acks[a as usize].len() as i64);
        self.acks[a as usize].push(Some(Acked {
            record: AckRecord { at, target, extra },
            message,
            verdict,
            at_ms: self.now_ms,
            estranged: false,
            attempt: None,
        }));
        at
    }
}
