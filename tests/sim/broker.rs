//! What becomes of what the coordinator wants done: records land, late or twice or never, and questions are answered.

use std::collections::BTreeMap;

use ackwarden::core::event::{AskError, Fence, FetchOutcome, PublishOutcome};
use ackwarden::core::types::{LOG_START, Lane};
use ackwarden::core::{
    AckExtra, AckTarget, Effect, Event, LogPosition, MsgRef, Publication, Verdict,
};

use crate::growth::Of;
use crate::instance::Instance;
use crate::world::{EARLY_MAX, Limbo, SaidLater, Sent, T, World, tracing};

impl World {
    pub fn limbo_lands(&mut self) {
        let now = self.now_ms;
        let said: Vec<SaidLater> = self.said_later.extract_if(.., |s| s.at_ms <= now).collect();
        said.into_iter().for_each(|said| {
            self.says(said);
        });
        let landed: Vec<Limbo> = self.limbo.extract_if(.., |l| l.at_ms <= now).collect();
        for Limbo {
            partition,
            mut sent,
            report,
            ..
        } in landed
        {
            sent.at_ms = now;
            let life = sent.incarnation;
            let (ours, rebuilt) = self.is_ours_still(partition, &sent);
            // Who lost the partition and has not heard so may come upon it, and not know it; and in its store it may stay so.
            let contested = |i: &&Instance| i.up && i.is_to_lose(partition);
            sent.unclear |= self.instances().any(|i| contested(&i));
            let not_its_own = |i: &Instance| i.incarnation != life;
            let ours = ours && !self.instances().filter(contested).any(not_its_own);
            sent.estranged |= !ours || (rebuilt && report.is_none());
            sent.late_twin = report.is_none() || !ours;
            let at = self.append(partition, sent);
            let outcome = PublishOutcome::Durable(at);
            if let Some((msg, sequence)) = report {
                self.each_instance(|world| {
                    if world.me.up && world.me.incarnation == life {
                        let outcome = outcome.clone();
                        world.answer(Event::Published {
                            msg,
                            sequence,
                            outcome,
                        });
                    }
                });
            }
        }
    }

    /// Whether a copy that lands now is known for ours by whoever has the partition; and whether it was rebuilt since the
    /// copy was submitted.
    fn is_ours_still(&mut self, partition: i32, sent: &Sent) -> (bool, bool) {
        let since = |i: &Instance| {
            let at = i.assigned_ms.get(&partition);
            at.is_some_and(|at| *at > sent.submitted_ms)
        };
        if self.group.is_one() {
            return (sent.incarnation == self.me.incarnation, since(&self.me));
        }
        match self.owner_of(partition) {
            // Whoever gets it reads to an end that is asked for later.
            None => (true, true),
            Some(i) if i.incarnation == sent.incarnation => (true, since(i)),
            Some(i) => {
                let until = i.former_until.get(&partition).copied().unwrap_or(0);
                (i.up && self.now_ms < until, true)
            }
        }
    }

    /// The partition was taken from us, and came back, after that.
    pub fn is_rebuilt_since(&self, partition: i32, ms: u64) -> bool {
        self.me
            .assigned_ms
            .get(&partition)
            .is_some_and(|at| *at > ms)
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
        if matches!(event, Event::Committed { .. })
            && self.seventh.chance(self.faults.answers.commits_late)
        {
            at += self.seventh.below(3_000);
        }
        self.me.inbox.push((at, event));
    }

    /// By a broker that may not have heard of all partitions.
    fn ends_told(&mut self, of: Of) -> Vec<(i32, i64)> {
        let mut ends = match of {
            Of::Sources => Self::ends(&self.source),
            Of::Acks => Self::ends(&self.acks),
        };
        ends.truncate(self.partitions_told(of));
        ends
    }

    pub fn ends<R>(logs: &[Vec<R>]) -> Vec<(i32, i64)> {
        let ends = logs.iter().enumerate();
        ends.map(|(i, log)| (i as i32, log.len() as i64)).collect()
    }

    pub fn carry_out(&mut self, effect: Effect) {
        if tracing() {
            println!("{} i{} {effect:?}", self.now_ms, self.me.number);
        }
        match effect {
            Effect::ReadSource {
                partition, from, ..
            } => {
                self.me.source_reader.insert(partition, from.max(0));
                self.me.paused.remove(&partition);
            }
            Effect::StopSource { partition, .. } => {
                self.me.source_reader.remove(&partition);
            }
            Effect::PauseSource { partition, .. } => {
                self.me.paused.insert(partition);
            }
            Effect::ResumeSource { partition, .. } => {
                self.me.paused.remove(&partition);
            }
            Effect::ReadAcks {
                from,
                generation,
                lane: Lane::Rebuild,
                ..
            } => {
                self.me.rebuild_generation = generation;
                for (a, offset) in from {
                    let (offset, begins) = self.reads_from(a, offset);
                    if begins {
                        self.me.rebuild_begun.insert(a);
                    }
                    self.me.rebuild_reader.insert(a, offset);
                }
            }
            Effect::StopRebuildAcks { .. } => {
                self.me.rebuild_reader.clear();
                self.me.rebuild_begun.clear();
            }
            Effect::PurgeQueue => self.purge_queue(),
            Effect::ReadAcks {
                from, generation, ..
            } => {
                self.me.ack_generation = generation;
                let back = |(a, at): &(i32, i64)| self.me.acks_applied.get(a) > Some(at);
                let again = self.early_max < EARLY_MAX && from.iter().any(back);
                self.seen.overflows += u64::from(again);
                for (a, offset) in from {
                    let (offset, begins) = self.reads_from(a, offset);
                    if begins {
                        self.me.acks_begun.insert(a);
                    }
                    self.me.ack_reader.insert(a, offset);
                    self.me.acks_applied.insert(a, offset);
                }
            }
            Effect::AskAckEnds { ack, round } => {
                let mut answer = Ok(self.ends_told(Of::Acks));
                if let Ok(ends) = &mut answer {
                    self.forgets_some(ends, &self.acks_read());
                }
                if self.is_unanswered() {
                    answer = Err(AskError::Failed("drawn".into()));
                }
                self.answer(Event::AckEnds { ack, round, answer });
            }
            Effect::AskFence { topic, round } => {
                let asked = Fence::ask(
                    self,
                    |world| {
                        let ends = world.ends_told(Of::Acks);
                        world.something_comes_between();
                        Ok::<_, AskError>(ends)
                    },
                    |world| {
                        let ends = world.ends_told(Of::Sources);
                        world.something_comes_between();
                        Ok(ends)
                    },
                );
                let mut fence = asked.expect("both are told");
                self.forgets_some(&mut fence.ack_ends, &self.acks_read());
                self.forgets_some(&mut fence.source_ends, &self.me.source_reader.clone());
                let unanswered = self.is_unanswered();
                let failed = || AskError::Failed("drawn".into());
                self.answer(Event::Fence {
                    topic,
                    round,
                    answer: (!unanswered).then_some(fence).ok_or_else(failed),
                });
            }
            Effect::FetchPayload { msg, offset, .. } => {
                let cut = self.source_logs[msg.partition as usize].start as i64;
                let there = self.source[msg.partition as usize]
                    .get(offset as usize)
                    .and_then(Option::as_ref)
                    .is_some_and(|s| !s.gone && offset >= cut);
                let outcome = if self.is_unanswered() {
                    FetchOutcome::Failed("drawn".into())
                } else if there {
                    FetchOutcome::Found { size_bytes: 1 }
                } else {
                    assert!(
                        self.faults_drawn.kafka.may_lose(),
                        "fetched where nothing is"
                    );
                    FetchOutcome::Gone("drawn".into())
                };
                self.answer(Event::Fetched { msg, outcome });
            }
            Effect::DiscardPayload { .. } => {}
            Effect::Reply { request, reply } => self.judge_reply(request, &reply),
            Effect::Publish(publish) => {
                self.publish(publish.msg, publish.sequence, publish.what);
            }
            Effect::Commit(orders) => {
                for order in orders {
                    if self.me.away.contains_key(&order.partition) {
                        continue;
                    }
                    let p = order.partition;
                    let number = self.me.number;
                    let mine = self.group.is_one()
                        || (self.me.joined && self.group.owner.get(&p) == Some(&number));
                    let mut outcome = Err("not ours".into());
                    let fails = self.seventh.chance(self.faults.answers.commits_fail);
                    self.seen.commits_failed += u64::from(fails);
                    // It may have been taken all the same.
                    if mine && !(fails && self.seventh.chance(500)) {
                        self.judge_commit(p, order.low, &order.acks);
                        self.committed.insert(p, (order.low, order.acks));
                        self.group.committed_by.insert(p, self.me.store_number);
                        outcome = Ok(());
                    }
                    if fails {
                        outcome = Err("drawn".into());
                    }
                    let sent_ms = self.me.clock_ms(self.now_ms);
                    self.answer(Event::Committed {
                        topic: T,
                        partition: p,
                        low: order.low,
                        sent_ms,
                        outcome,
                    });
                }
            }
        }
    }

    /// From which offset, and whether that is the beginning, wherever it is.
    fn reads_from(&self, ack_partition: i32, offset: i64) -> (i64, bool) {
        match offset {
            LOG_START => (self.ack_logs[ack_partition as usize].start as i64, true),
            offset => (offset, false),
        }
    }

    /// Between two questions, a message is sent and acknowledged.
    fn something_comes_between(&mut self) {
        if !self.eighth.chance(self.faults.answers.between) {
            return;
        }
        self.seen.between += 1;
        let message = self.sent;
        self.a_sends();
        let sent = self.records_of(message).next().map(|(at, _)| at);
        if let Some(at) = sent
            && self.source_logs[at.partition as usize].open.is_none()
        {
            self.b_says(at.partition, at.offset, Verdict::Ack);
        }
    }

    /// By whichever of its readers is behind.
    fn acks_read(&self) -> BTreeMap<i32, i64> {
        let mut read = self.me.acks_applied.clone();
        for (n, at) in &self.me.rebuild_reader {
            read.entry(*n).and_modify(|read| *read = (*read).min(*at));
        }
        read
    }

    /// Who answers has just started, or leads no more. Of an end of before that lies past what was `read` nobody could see
    /// that it is one.
    fn forgets_some(&mut self, ends: &mut Vec<(i32, i64)>, read: &BTreeMap<i32, i64>) {
        if !self.seventh.chance(self.faults.answers.partial) {
            return;
        }
        self.seen.partial += 1;
        match self.seventh.below(3) {
            0 => ends.clear(),
            1 => {
                ends.swap_remove(self.seventh.below(ends.len() as u64) as usize);
            }
            _ => {
                let of = self.seventh.below(ends.len() as u64) as usize;
                let (n, end) = &mut ends[of];
                if let Some(read) = read.get(n).filter(|read| **read > 0) {
                    *end = self.seventh.below(*read as u64) as i64;
                }
            }
        }
    }

    fn is_unanswered(&mut self) -> bool {
        let unanswered = self.latest.chance(self.faults.kafka.no_answer);
        self.seen.unanswered += u64::from(unanswered);
        unanswered
    }

    /// A copy of this message is larger than the topic allows.
    pub fn is_too_large(&self, message: u64) -> bool {
        let one_in_a_thousand = message.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        one_in_a_thousand % 1_000 < self.faults_drawn.kafka.too_large
    }

    /// What is not on its way yet is not sent any more.
    fn purge_queue(&mut self) {
        let (mut kept, mut purged) = (Vec::new(), Vec::new());
        for limbo in std::mem::take(&mut self.limbo) {
            let mine = limbo.sent.incarnation == self.me.incarnation && limbo.report.is_some();
            if mine && self.group.rng.chance(500) {
                purged.push(limbo);
            } else {
                kept.push(limbo);
            }
        }
        self.limbo = kept;
        for limbo in purged {
            let Some((msg, sequence)) = limbo.report else {
                continue;
            };
            self.seen.purged += 1;
            let outcome = if limbo.sent_before {
                PublishOutcome::Ambiguous("purged, and sent before".into())
            } else {
                PublishOutcome::Dropped
            };
            self.answer(Event::Published {
                msg,
                sequence,
                outcome,
            });
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
                self.judge_ownership(msg);
                self.judge_again(msg, message, headers.attempt);
                self.judge_copy(msg, message, &headers);
                self.judge_own(msg, message);
                self.submitted.insert((message, headers.attempt));
                if outcome.is_none() && self.is_too_large(message) {
                    outcome = Some(PublishOutcome::TooLarge);
                }
                if outcome.is_none() {
                    let mut sent = Sent {
                        message,
                        attempt: headers.attempt,
                        copy: Some(headers),
                        at_ms: self.now_ms,
                        submitted_ms: self.now_ms,
                        incarnation: self.me.incarnation,
                        // What is sent for one that is tracked as a message of its own, is so too.
                        estranged: self.sent_at(msg).estranged,
                        late_twin: false,
                        unclear: false,
                        id: self.sent_at(msg).id,
                        digest: self.sent_at(msg).digest,
                        forged: false,
                        gone: false,
                    };
                    let twice = self.client.chance(self.faults.client.twice);
                    self.seen.written_twice += u64::from(twice);
                    if self.rng.chance(self.faults.ambiguous) {
                        self.seen.ambiguous += 1;
                        sent.unclear = true;
                        outcome = Some(PublishOutcome::Ambiguous("drawn".into()));
                        let twin = twice.then(|| sent.clone());
                        let lands = self.rng.below(3);
                        match lands {
                            0 => {}
                            1 => {
                                self.append(msg.partition, sent);
                            }
                            _ => {
                                let at_ms = self.now_ms + self.rng.below(7_000);
                                self.lands_unreported(msg.partition, sent, at_ms);
                            }
                        }
                        if let Some(twin) = twin.filter(|_| lands > 0) {
                            let at_ms = self.now_ms + self.client.below(7_000);
                            self.lands_unreported(msg.partition, twin, at_ms);
                        }
                    } else if self.later.chance(self.faults.more.slow_publish) {
                        self.seen.republished += 1;
                        let at_ms = self.now_ms + self.later.below(2_000);
                        if twice {
                            // The broker fences what is of an older epoch: it lands before, or not at all.
                            let between = self.client.below(at_ms - self.now_ms + 1);
                            let before_ms = self.now_ms + between;
                            self.lands_unreported(msg.partition, sent.clone(), before_ms);
                        }
                        self.limbo.push(Limbo {
                            at_ms,
                            partition: msg.partition,
                            sent,
                            report: Some((msg, sequence)),
                            sent_before: twice,
                        });
                    } else {
                        if twice {
                            self.append(msg.partition, sent.clone());
                        }
                        let at = self.append(msg.partition, sent);
                        self.seen.republished += 1;
                        outcome = Some(PublishOutcome::Durable(at));
                    }
                }
            }
            Publication::DeadLetter {
                headers,
                payload,
                cause,
                ..
            } => {
                let message = self.message_at(msg);
                self.judge_dead_letter(msg, message, headers.attempt, cause);
                self.judge_payload(message, payload, cause);
                self.judge_ownership(msg);
                if outcome.is_none() {
                    let lost = self.seventh.chance(self.faults.answers.lost);
                    self.seen.lost += u64::from(lost);
                    if !lost {
                        self.seen.dead += 1;
                        self.dead_letters.push((message, headers.attempt));
                    }
                    outcome = Some(if lost || self.rng.chance(self.faults.ambiguous) {
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
                let settlement = matches!(verdict, Verdict::DeadLettered | Verdict::PayloadLost);
                // What an operator decided is so, whoever writes it.
                if settlement {
                    self.judge_ownership(msg);
                }
                if outcome.is_none() {
                    self.seen.decisions += u64::from(!settlement);
                    // Lost when there was nowhere to tell it but the settlement.
                    let nowhere = verdict == Verdict::PayloadLost && self.dead_letters_taken;
                    let dead = self.dead_letters.iter().any(|(m, _)| *m == message);
                    if settlement && !dead && !nowhere {
                        self.breach(4, format!("settlement of {message} before its dead letter"));
                    }
                    let target = AckTarget::Position {
                        topic: T,
                        partition: msg.partition,
                        offset: newest,
                    };
                    let mut said = SaidLater {
                        at_ms: self.now_ms,
                        message,
                        target,
                        verdict,
                        attempt,
                    };
                    let unclear = PublishOutcome::Ambiguous("drawn".into());
                    outcome = Some(if self.seventh.chance(self.faults.answers.lost) {
                        self.seen.lost += 1;
                        unclear
                    } else if self.seventh.chance(self.faults.answers.late) {
                        self.seen.late += 1;
                        said.at_ms += self.seventh.below(7_000);
                        self.said_later.push(said);
                        unclear
                    } else {
                        let at = self.says(said);
                        if self.rng.chance(self.faults.ambiguous) {
                            unclear
                        } else {
                            PublishOutcome::Durable(at)
                        }
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

    fn says(&mut self, said: SaidLater) -> LogPosition {
        let extra = Some(Box::new(AckExtra {
            verdict: said.verdict,
            attempt: Some(said.attempt),
            ..AckExtra::default()
        }));
        let at = self.append_ack(said.target, extra, Some(said.message), said.verdict);
        let acked = &mut self.acks[at.partition as usize][at.offset as usize];
        if let Some(acked) = acked {
            acked.attempt = Some(said.attempt);
        }
        at
    }

    fn lands_unreported(&mut self, partition: i32, sent: Sent, at_ms: u64) {
        self.limbo.push(Limbo {
            at_ms,
            partition,
            sent,
            report: None,
            sent_before: false,
        });
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
