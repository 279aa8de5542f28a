//! Who speaks in the world: A sends, B works and crashes, operators decide, and somebody writes what is not true.

use ackwarden::core::effect::Headers;
use ackwarden::core::{
    AckExtra, AckRecord, AckTarget, Event, LogPosition, OnLostRange, Verdict, view::OperatorAction,
};

use crate::world::{Acked, Sent, T, World};

/// From when a copy lands for the first time until it is reported: up to two seconds until it lands for the second (see
/// `World::publish`), and as long for the report (`World::answer`).
const REPORTED_WITHIN_MS: u64 = 4_100;

impl World {
    pub fn a_sends(&mut self) {
        let p = self.rng.below(self.source.len() as u64) as usize;
        let message = self.sent;
        self.sent += 1;
        let shared = message > 0 && self.later.chance(self.faults.more.shared_ids);
        let sent = Sent {
            message,
            attempt: 1,
            copy: None,
            at_ms: self.now_ms,
            submitted_ms: self.now_ms,
            incarnation: 0,
            estranged: false,
            late_twin: false,
            unclear: false,
            id: message - u64::from(shared),
            digest: message,
            forged: false,
            gone: false,
        };
        let at = self.append(p as i32, sent);
        self.may_be_in_a_transaction(false, p, at.offset as usize);
    }

    /// A record of somebody else with the headers of one of our copies: another payload, or an attempt that is long in
    /// the log, and was reported.
    pub fn somebody_forges(&mut self) {
        let p = self.later.below(self.source.len() as u64) as usize;
        let old = self.now_ms.saturating_sub(REPORTED_WITHIN_MS);
        let copies: Vec<(Headers, u64)> = self.source[p]
            .iter()
            .flatten()
            .filter(|s| s.at_ms < old && !s.forged && !s.gone)
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
        let sent = Sent {
            message,
            attempt: headers.attempt,
            copy: Some(headers),
            at_ms: self.now_ms,
            submitted_ms: self.now_ms,
            incarnation: 0,
            estranged: false,
            late_twin: false,
            unclear: false,
            id: message,
            digest,
            forged: true,
            gone: false,
        };
        self.append(p as i32, sent);
    }

    pub fn somebody_acks_nothing(&mut self) {
        let target = if self.later.chance(500) {
            AckTarget::Id {
                topic: T,
                id: "nobody".into(),
            }
        } else {
            let far = self.later.below(2_000) as i64;
            let partition = self.later.below(self.source.len() as u64 + 1) as i32;
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

    /// A settlement of a real message by another group's coordinator, or a record that says nothing.
    pub fn strangers_write(&mut self) {
        if !self.latest.chance(self.faults.kafka.strangers) {
            return;
        }
        let partition = self.latest.below(self.source.len() as u64) as i32;
        let end = self.source[partition as usize].len() as u64;
        let offset = self.latest.below(end + 3) as i64;
        let position = AckTarget::Position {
            topic: T,
            partition,
            offset,
        };
        let (target, extra) = match self.latest.below(4) {
            0 => {
                let text = "???".into();
                (AckTarget::Nothing { text }, None)
            }
            1 => {
                let extra = AckExtra {
                    invalid: Some("an unknown verdict"),
                    ..AckExtra::default()
                };
                (position, Some(Box::new(extra)))
            }
            n => {
                let verdict = if n == 2 {
                    Verdict::DeadLettered
                } else {
                    Verdict::OperatorAck
                };
                let extra = AckExtra {
                    verdict,
                    other_group: true,
                    ..AckExtra::default()
                };
                (position, Some(Box::new(extra)))
            }
        };
        let verdict = extra.as_ref().map_or(Verdict::Ack, |e| e.verdict);
        self.append_ack(target, extra, None, verdict);
    }

    pub fn operator_acts(&mut self) {
        let p = self.later.below(self.source.len() as u64) as i32;
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
        let asked = self.source[p as usize][offset as usize].as_ref();
        if let Some(message) = asked.map(|s| s.message) {
            self.asked_for.insert(self.requests, message);
        }
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
        for p in 0..self.source.len() as i32 {
            if !self.rng.chance(300) {
                continue;
            }
            let (log, state) = (&self.source[p as usize], &self.source_logs[p as usize]);
            // What is gone before B came to it, B never sees.
            let from = self.b_position[p as usize].max(state.start);
            let to = (from + 1 + self.rng.below(5) as usize).min(state.stable(log.len()));
            let to = to.max(from);
            self.b_position[p as usize] = to;
            for offset in from..to {
                if self.rng.chance(self.faults.b_crashes) {
                    break;
                }
                if self.source[p as usize][offset]
                    .as_ref()
                    .is_none_or(|s| s.gone)
                {
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
        let due: Vec<_> = self
            .b_pending
            .extract_if(.., |(at, ..)| *at <= now)
            .collect();
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
        self.may_be_in_a_transaction(true, at.partition as usize, at.offset as usize);
    }

    pub fn append_ack(
        &mut self,
        target: AckTarget,
        extra: Option<Box<AckExtra>>,
        message: Option<u64>,
        verdict: Verdict,
    ) -> LogPosition {
        let a = self.rng.below(self.acks.len() as u64) as i32;
        let at = LogPosition::new(a, self.acks[a as usize].len() as i64);
        let acked = Acked {
            record: AckRecord { at, target, extra },
            message,
            verdict,
            at_ms: self.now_ms,
            estranged: false,
            attempt: None,
        };
        self.append_said(a, acked)
    }

    /// A change is a record on the state topic: all instances that are there hear of it, the others when they start.
    pub fn operators_change(&mut self) {
        if self.fifth.chance(self.faults.host.dead_letter_changes) {
            self.seen.changes += 1;
            self.dead_letters_taken = true;
            self.overrides.dead_letter = match self.overrides.dead_letter {
                None => Some(None),
                Some(_) => None,
            };
            self.tell_changes(false);
        }
        self.operators_change_limits();
        if !self.latest.chance(self.faults.host.changes) {
            return;
        }
        self.seen.changes += 1;
        let apply_pending = self.latest.chance(500);
        if self.latest.chance(500) {
            let timeout_ms = 300 + self.latest.below(1_500);
            self.least_timeout_ms = self.least_timeout_ms.min(timeout_ms);
            self.overrides.timeout_ms = Some(timeout_ms);
        } else {
            self.paused = !self.paused;
        }
        self.tell_changes(apply_pending);
    }

    fn operators_change_limits(&mut self) {
        if !self.sixth.chance(self.faults.host.limit_changes) {
            return;
        }
        self.seen.changes += 1;
        let (all, rng) = (&mut self.overrides, &mut self.sixth);
        match rng.below(5) {
            0 => all.retry_rate = Some(rng.below(2) as u32 * (5 + rng.below(60) as u32)),
            1 => all.nack_delay_ms = Some(rng.below(2_000)),
            2 => all.delay_max_ms = Some(500 + rng.below(10_000)),
            3 => all.backoff = Some(1.0 + rng.below(20) as f64 / 10.0),
            _ => {
                let max = 1 + rng.below(6) as u32;
                all.max_attempts = Some(max);
                self.most_attempts = self.most_attempts.max(max);
                self.limits_changed = true;
            }
        }
        let apply_pending = self.sixth.chance(500);
        self.tell_changes(apply_pending);
    }

    /// When the faults have stopped: nothing stays paused or stopped.
    pub fn operators_tidy_up(&mut self) {
        self.paused = false;
        self.overrides.timeout_ms = None;
        self.overrides.dead_letter = None;
        self.overrides.retry_rate = None;
        self.overrides.on_lost_range = Some(OnLostRange::ReportAndContinue);
        self.tell_changes(false);
    }

    fn tell_changes(&mut self, apply_pending: bool) {
        let now = self.now_ms;
        let (overrides, paused) = (self.overrides.clone(), self.paused);
        self.each_instance(|world| {
            if world.me.up {
                let changed = Event::PolicyChanged {
                    topic: T,
                    overrides: overrides.clone(),
                    apply_pending,
                };
                let paused = Event::Paused { topic: T, paused };
                world.me.inbox.extend([(now, changed), (now, paused)]);
            }
        });
    }

    /// What an instance reads on the state topic before anything else.
    pub fn changes_in_force(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if !self.overrides.is_empty() {
            events.push(Event::PolicyChanged {
                topic: T,
                overrides: self.overrides.clone(),
                apply_pending: false,
            });
        }
        if self.paused {
            let paused = true;
            events.push(Event::Paused { topic: T, paused });
        }
        events
    }
}
