//! What becomes of what the coordinator wants done: records land, late or twice or never, and questions are answered.

use ackwarden::core::effect::DeadLetterPayload;
use ackwarden::core::event::{Fence, FetchOutcome, PublishOutcome};
use ackwarden::core::types::LOG_START;
use ackwarden::core::{
    AckExtra, AckTarget, Effect, Event, LogPosition, MsgRef, Publication, Verdict,
};

use crate::world::{Limbo, Sent, T, World};

impl World {
    pub fn limbo_lands(&mut self) {
        let now = self.now_ms;
        let (landed, rest): (Vec<Limbo>, _) = std::mem::take(&mut self.limbo)
            .into_iter()
            .partition(|l| l.at_ms <= now);
        self.limbo = rest;
        for Limbo {
            partition,
            mut sent,
            report,
            ..
        } in landed
        {
            sent.at_ms = now;
            let ours = sent.incarnation == self.incarnation;
            let rebuilt = self.is_rebuilt_since(partition, sent.submitted_ms);
            sent.estranged |= !ours || (rebuilt && report.is_none());
            sent.late_twin = report.is_none() || !ours;
            let log = &mut self.source[partition as usize];
            log.push(Some(sent));
            let at = LogPosition::new(partition, log.len() as i64 - 1);
            if let Some((msg, sequence)) = report.filter(|_| ours && self.up) {
                self.answer(Event::Published {
                    msg,
                    sequence,
                    outcome: PublishOutcome::Durable(at),
                });
            }
        }
    }

    /// The partition was taken from us, and came back, after that.
    pub fn is_rebuilt_since(&self, partition: i32, ms: u64) -> bool {
        self.assigned_ms.get(&partition).is_some_and(|at| *at > ms)
    }

    pub fn answer(&mut self, event: Event) {
        let mut at = self.now_ms + self.rng.below(60);
        let slow = match event {
            Event::AckEnds { .. } | Event::Fence { .. } => self.faults.more.slow_answers,
            Event::Published { .. } => self.faults.more.slow_publish,
            _ => 0,
        };
        if self.later.chance(slow) {
            at += self.later.below(2_000);
        }
        self.inbox.push((at, event));
    }

    pub fn ends<R>(logs: &[Vec<R>]) -> Vec<(i32, i64)> {
        let ends = logs.iter().enumerate();
        ends.map(|(i, log)| (i as i32, log.len() as i64)).collect()
    }

    pub fn carry_out(&mut self, effect: Effect) {
        if std::env::var_os("SIM_TRACE").is_some() {
            println!("{} {effect:?}", self.now_ms);
        }
        match effect {
            Effect::ReadSource {
                partition, from, ..
            } => {
                self.source_reader.insert(partition, from.max(0));
                self.paused.remove(&partition);
            }
            Effect::StopSource { partition, .. } => {
                self.source_reader.remove(&partition);
            }
            Effect::PauseSource { partition, .. } => {
                self.paused.insert(partition);
            }
            Effect::ResumeSource { partition, .. } => {
                self.paused.remove(&partition);
            }
            Effect::ReadAcks {
                from, generation, ..
            } => {
                self.ack_generation = generation;
                for (a, offset) in from {
                    let offset = if offset == LOG_START { 0 } else { offset };
                    self.ack_reader.insert(a, offset);
                    self.acks_applied.insert(a, offset);
                }
            }
            Effect::AskAckEnds { ack, round } => {
                let answer = Ok(Self::ends(&self.acks));
                self.answer(Event::AckEnds { ack, round, answer });
            }
            Effect::AskFence { topic, round } => {
                let fence = Fence {
                    ack_ends: Self::ends(&self.acks),
                    source_ends: Self::ends(&self.source),
                };
                self.answer(Event::Fence {
                    topic,
                    round,
                    answer: Ok(fence),
                });
            }
            Effect::FetchPayload { msg, offset, .. } => {
                let there = self.source[msg.partition as usize].get(offset as usize);
                assert!(matches!(there, Some(Some(_))), "fetched where nothing is");
                self.answer(Event::Fetched {
                    msg,
                    outcome: FetchOutcome::Found { size_bytes: 1 },
                });
            }
            Effect::DiscardPayload { .. } | Effect::Reply { .. } => {}
            Effect::Publish(publish) => {
                self.publish(publish.msg, publish.sequence, publish.what);
            }
            Effect::Commit(orders) => {
                for order in orders {
                    if self.away.contains_key(&order.partition) {
                        continue;
                    }
                    self.judge_commit(order.partition, order.low, &order.acks);
                    self.committed
                        .insert(order.partition, (order.low, order.acks));
                    self.answer(Event::Committed {
                        topic: T,
                        partition: order.partition,
                        low: order.low,
                        outcome: Ok(()),
                    });
                }
            }
        }
    }

    pub fn publish(&mut self, msg: MsgRef, sequence: u64, what: Publication) {
        let mut outcome = None;
        if self.rng.chance(self.faults.refused) {
            outcome = Some(PublishOutcome::Refused("drawn".into()));
        }
        match what {
            Publication::Copy(headers) => {
                let message = self.message_at(msg);
                self.judge_copy(msg, message, &headers);
                self.submitted.insert((message, headers.attempt));
                if outcome.is_none() {
                    let sent = Sent {
                        message,
                        attempt: headers.attempt,
                        copy: Some(headers),
                        at_ms: self.now_ms,
                        submitted_ms: self.now_ms,
                        incarnation: self.incarnation,
                        // What is sent for one that is tracked as a message of its own, is so too.
                        estranged: self.sent_at(msg).estranged,
                        late_twin: false,
                        id: self.sent_at(msg).id,
                        digest: self.sent_at(msg).digest,
                        forged: false,
                    };
                    if self.rng.chance(self.faults.ambiguous) {
                        self.seen.ambiguous += 1;
                        outcome = Some(PublishOutcome::Ambiguous("drawn".into()));
                        match self.rng.below(3) {
                            0 => {}
                            1 => self.source[msg.partition as usize].push(Some(sent)),
                            _ => self.limbo.push(Limbo {
                                at_ms: self.now_ms + self.rng.below(7_000),
                                partition: msg.partition,
                                sent,
                                report: None,
                            }),
                        }
                    } else if self.later.chance(self.faults.more.slow_publish) {
                        self.seen.republished += 1;
                        self.limbo.push(Limbo {
                            at_ms: self.now_ms + self.later.below(2_000),
                            partition: msg.partition,
                            sent,
                            report: Some((msg, sequence)),
                        });
                    } else {
                        let log = &mut self.source[msg.partition as usize];
                        log.push(Some(sent));
                        let at = LogPosition::new(msg.partition, log.len() as i64 - 1);
                        self.seen.republished += 1;
                        outcome = Some(PublishOutcome::Durable(at));
                    }
                }
            }
            Publication::DeadLetter {
                headers, payload, ..
            } => {
                assert_eq!(payload, DeadLetterPayload::Whole);
                let message = self.message_at(msg);
                self.judge_dead_letter(msg, message, headers.attempt);
                if outcome.is_none() {
                    self.seen.dead += 1;
                    self.dead_letters.push((message, headers.attempt));
                    outcome = Some(if self.rng.chance(self.faults.ambiguous) {
                        PublishOutcome::Ambiguous("drawn".into())
                    } else {
                        PublishOutcome::Durable(LogPosition::new(0, 0))
                    });
                }
            }
            Publication::Verdict {
                verdict,
                newest,
                attempt,
                ..
            } => {
                let message = self.message_at(msg);
                if outcome.is_none() {
                    let settlement = verdict == Verdict::DeadLettered;
                    self.seen.decisions += u64::from(!settlement);
                    if settlement && !self.dead_letters.iter().any(|(m, _)| *m == message) {
                        self.breach(4, format!("settlement of {message} before its dead letter"));
                    }
                    let target = AckTarget::Position {
                        topic: T,
                        partition: msg.partition,
                        offset: newest,
                    };
                    let extra = Some(Box::new(AckExtra {
                        verdict,
                        attempt: Some(attempt),
                        ..AckExtra::default()
                    }));
                    let at = self.append_ack(target, extra, Some(message), verdict);
                    let acked = &mut self.acks[at.partition as usize][at.offset as usize];
                    if let Some(acked) = acked {
                        acked.attempt = Some(attempt);
                    }
                    outcome = Some(if self.rng.chance(self.faults.ambiguous) {
                        PublishOutcome::Ambiguous("drawn".into())
                    } else {
                        PublishOutcome::Durable(at)
                    });
                }
            }
        }
        if let Some(outcome) = outcome {
            self.answer(Event::Published {
                msg,
                sequence,
                outcome,
            });
        }
    }

    pub fn message_at(&self, msg: MsgRef) -> u64 {
        self.sent_at(msg).message
    }

    pub fn sent_at(&self, msg: MsgRef) -> &Sent {
        self.source[msg.partition as usize][msg.origin as usize]
            .as_ref()
            .expect("a message has a record")
    }
}
