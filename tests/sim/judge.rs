//! The judges: they know the whole truth, and each names the invariant that it holds.

use ackwarden::core::effect::{DeadLetterCause, DeadLetterPayload, Headers};
use ackwarden::core::record::CauseKind;
use ackwarden::core::view::OperatorReply;
use ackwarden::core::{AckBatch, AckTarget, LogPosition, MsgRef, Verdict};

use crate::group::PUBLISH_MS;
use crate::truth::{is_ack, settles};
use crate::world::{Acked, OUTSTANDING_MAX, PARTITIONS, Sent, World};

impl World {
    /// Two copies of one attempt, of which neither names the other: an unclear report was behind it, and one of them may
    /// have landed late. Who was rebuilt since then tracks the second as a message of its own (decision 0003).
    fn is_twin(&self, copy: &Sent) -> bool {
        let same = |s: &Sent| s.attempt == copy.attempt;
        let all = self.records_of(copy.message);
        copy.late_twin || (copy.copy.is_some() && all.filter(|(_, s)| same(s)).count() > 1)
    }

    pub fn has_twins(&self, message: u64) -> bool {
        self.records_of(message).any(|(_, s)| self.is_twin(s))
    }

    /// B's ACKs of a message, however they name it: on which partition, and when.
    fn acked_at(&self, message: u64) -> impl Iterator<Item = (i32, u64)> {
        self.said_of(message)
            .filter(|(_, a)| is_ack(a.verdict) && !a.estranged)
            .map(|(at, a)| (at.partition, a.at_ms))
    }

    /// What lies below where ACKs are applied.
    fn is_applied(&self, at: LogPosition) -> bool {
        let to = self.me.acks_applied.get(&at.partition);
        to.is_some_and(|to| at.offset < *to)
    }

    /// By an ACK that names a delivery of it and lies below where ACKs are applied.
    fn is_acked_and_applied(&self, message: u64) -> bool {
        self.said_of(message).any(|(at, a)| {
            let by_id = matches!(a.record.target, AckTarget::Id { .. });
            is_ack(a.verdict) && !by_id && !a.estranged && self.is_applied(at)
        })
    }

    fn is_estranged(&self, (partition, offset): (i32, i64)) -> bool {
        let sent = &self.source[partition as usize][offset as usize];
        sent.as_ref().is_some_and(|s| s.estranged)
    }

    /// 9: who says that it is rebuilt knows what was acknowledged before it began.
    pub fn judge_rebuilt(&mut self) {
        let began = self.me.started_ms;
        let frozen = || !self.me.core.topic_views(self.now())[0].frozen.is_empty();
        if self.faults_drawn.kafka.may_lose() && frozen() {
            return;
        }
        let mut open = None;
        for (p, log) in self.source.iter().enumerate() {
            let owner = self.group.owner.get(&(p as i32));
            if !self.group.is_one() && owner != Some(&self.me.number) {
                // It has not heard yet that it lost it; what it thinks of it is nobody's truth.
                continue;
            }
            for (offset, sent) in log.iter().enumerate() {
                if let Some(sent) = sent
                    && sent.copy.is_none()
                    && !self.losses.is_hurt(sent.message)
                    && self.said_of(sent.message).any(|(at, a)| {
                        let by_id = matches!(a.record.target, AckTarget::Id { .. });
                        let heard = self.growth.is_heard_of(at.partition, began);
                        is_ack(a.verdict) && !by_id && !a.estranged && a.at_ms < began && heard
                    })
                    && !self.has_twins(sent.message)
                    // Which of two an ACK by their id settled, depends on what had been read; so its copy may be another's.
                    && !self.is_shared(sent.message)
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

    /// 5, 6, 7: attempts ascend without gaps, none is past the maximum, and none is sent once an ACK of the message was
    /// applied, or was on the topic before the deadline of the delivery before.
    pub fn judge_copy(&mut self, msg: MsgRef, message: u64, headers: &Headers) {
        // One that was begun may be sent again, whatever is allowed now.
        let begun = self.submitted.contains(&(message, headers.attempt));
        let max = match begun {
            true => self.most_attempts,
            false => self.me.attempts_told.1,
        };
        let asked = self
            .said_of(message)
            .any(|(_, a)| a.verdict == Verdict::OperatorRetry);
        if headers.attempt > max && !asked {
            self.breach(
                5,
                format!("attempt {} of {message}, of {max}", headers.attempt),
            );
        }
        // Tracked as a message of its own, with a history of its own; or its history is gone in part.
        if self.is_estranged((msg.partition, msg.origin)) || self.is_hurt_aloud(msg, message) {
            return;
        }
        let newest = self
            .records_of(message)
            .map(|(_, s)| s)
            .filter(|s| s.attempt < headers.attempt)
            // Of twins, the wait begins with the first.
            .map(|s| (s.attempt, std::cmp::Reverse(s.at_ms)))
            .max()
            .map(|(attempt, at_ms)| (attempt, at_ms.0));
        let twins = self.records_of(message).any(|(_, s)| {
            let before = s.incarnation != self.me.incarnation
                || self.is_rebuilt_since(msg.partition, s.submitted_ms);
            before && self.is_twin(s)
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
        let gave_up_waiting =
            newest.is_some_and(|(_, at_ms)| self.may_not_wait(msg, message, at_ms));
        if !self.is_shared(message) && !gave_up_waiting {
            self.judge_evidence(message, headers, newest);
        }
    }

    /// Its own records are cut; or ACKs of it are gone, and that was told, or may have been before its partition was ours, or
    /// before anybody knew theirs.
    fn is_hurt_aloud(&self, msg: MsgRef, message: u64) -> bool {
        let told = || {
            let each = self.instances();
            let counted: u64 = each
                .flat_map(|i| i.core.topic_views(self.now()))
                .map(|topic| topic.counters.lost_ranges)
                .sum();
            self.lost_ranges + counted > 0
        };
        let excused =
            || msg.partition >= PARTITIONS || self.losses.excused.contains(&message) || told();
        self.losses.touched.contains(&message)
            || self.losses.unheard.contains(&message) && excused()
    }

    /// All ACKs of it are about records that are not read, since the source is paused for what is outstanding: they may be
    /// about anything, and are waited for half a minute (docs/decisions/0008).
    fn may_not_wait(&self, msg: MsgRef, message: u64, newest_ms: u64) -> bool {
        let read_to = self.me.source_reader.get(&msg.partition);
        let is_unread = |acked: &Acked| match acked.record.target {
            AckTarget::Position {
                partition, offset, ..
            } => partition == msg.partition && read_to.is_some_and(|to| offset >= *to),
            _ => false,
        };
        self.me.paused.contains(&msg.partition)
            && self.now_ms >= newest_ms + 29_000
            && self
                .said_of(message)
                .filter(|(_, a)| is_ack(a.verdict))
                .all(|(_, a)| is_unread(a))
    }

    /// 6: nothing is published for a partition once its new owner is entitled to.
    pub fn judge_ownership(&mut self, msg: MsgRef) {
        if self.group.is_one() {
            return;
        }
        let (now, me) = (self.now_ms, self.me.number);
        let taken = self.owner_of(msg.partition).is_some_and(|owner| {
            let until = owner.former_until.get(&msg.partition);
            owner.number != me && owner.up && until.is_some_and(|until| now >= until - PUBLISH_MS)
        });
        if taken {
            let p = msg.partition;
            self.breach(
                6,
                format!("instance {me} published for {p}, which is another's"),
            );
        }
    }

    /// 8: what lies in the log already is not published again.
    pub fn judge_again(&mut self, msg: MsgRef, message: u64, attempt: u32) {
        // What an ACK by an id that two have settles, depends on what was read before it: a replay may see it otherwise.
        let undecidable = self.losses.is_hurt(message) || self.is_shared(message);
        if self.sent_at(msg).estranged || self.has_twins(message) || undecidable {
            return;
        }
        let there = self
            .records_of(message)
            .any(|(_, s)| s.attempt == attempt && !s.forged && !s.estranged && !s.unclear);
        if there {
            self.breach(
                8,
                format!("attempt {attempt} of {message} is in the log already"),
            );
        }
    }

    /// 8: in the life that sent it, no copy is tracked as a message of its own, however often it lands.
    pub fn judge_own(&mut self, msg: MsgRef, message: u64) {
        let sent = self.sent_at(msg);
        let own = sent.copy.is_some() && !sent.forged && !sent.estranged;
        let known = sent.incarnation == self.me.incarnation
            && !self.is_rebuilt_since(msg.partition, sent.submitted_ms);
        // One of before a rebuild, or somebody else's, was taken for what was sent since.
        let attempt = sent.attempt;
        let pretended = self
            .records_of(message)
            .any(|(_, s)| s.forged || (s.estranged && s.attempt == attempt));
        if own && known && !pretended && !self.losses.is_hurt(message) {
            self.breach(
                8,
                format!(
                    "attempt {attempt} of {message} at {} is tracked as a message of its own",
                    msg.origin
                ),
            );
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
        let rejected = self.said_of(message).any(|(at, a)| {
            let about = a.verdict == Verdict::Reject && a.attempt == Some(before);
            about && !a.estranged && self.is_applied(at)
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
        let begun = self.submitted.contains(&(message, headers.attempt));
        if let Some((_, at_ms)) = newest
            && !nacked
        {
            let what = format!("attempt {} of {message}", headers.attempt);
            self.judge_time(message, at_ms, begun, &what);
        }
    }

    /// 5, 6: what follows from a deadline does so behind it, and not if an ACK was on the topic before it.
    fn judge_time(&mut self, message: u64, delivered_ms: u64, begun: bool, what: &str) {
        // Jitter takes a tenth at most; the wait begins when the coordinator sees the delivery, not before.
        let mut wait_ms = self.least_timeout_ms * 9 / 10;
        wait_ms -= wait_ms * self.faults_drawn.host.drift / 1_000;
        let mut earliest_deadline = delivered_ms + wait_ms;
        if self.faults_drawn.more.clock_jumps + self.faults_drawn.host.clock_steps > 0 {
            // The deadline may have come with the clock. What was there when it started is known all the same.
            earliest_deadline = earliest_deadline.min(self.me.started_ms);
        }
        let now = self.now_ms;
        // An ACK on a partition that neither it nor who answered for its barrier had heard of: nobody could know.
        let is_missed = |n: &i32| self.me.missed.get(n) >= Some(&earliest_deadline);
        let acked = self
            .acked_at(message)
            .find(|(n, at)| *at <= earliest_deadline && !is_missed(n));
        if let Some((_, acked)) = acked {
            self.breach(
                6,
                format!("{what} published at {now}, acked at {acked}, its delivery was at {delivered_ms}"),
            );
        }
        if now < earliest_deadline && !begun {
            self.breach(
                5,
                format!("{what} published at {now}, its delivery was at {delivered_ms}, to be waited for {wait_ms}"),
            );
        }
    }

    /// 5: for exhaustion only after the last attempt.
    pub fn judge_dead_letter(
        &mut self,
        msg: MsgRef,
        message: u64,
        attempt: u32,
        cause: DeadLetterCause,
    ) {
        // What claims to be a later attempt is taken at its word.
        let claimed = self.records_of(message).filter(|(_, s)| s.forged);
        let claimed = claimed.map(|(_, s)| s.attempt).max().unwrap_or(0);
        let max = self.most_attempts.max(claimed);
        let least = if self.limits_changed {
            self.me.attempts_told.0
        } else {
            max
        };
        let asked = self.said_of(message).any(|(_, a)| {
            let all = [
                Verdict::Reject,
                Verdict::OperatorDeadLetter,
                Verdict::OperatorRetry,
            ];
            all.contains(&a.verdict)
        });
        if self.losses.is_hurt(message) {
            return;
        }
        let at = (msg.partition, msg.origin);
        let twin = self.has_twins(message);
        if self.is_acked_and_applied(message) && !twin && !self.is_estranged(at) {
            self.breach(7, format!("{message} dead after its ack was applied"));
        }
        // The last attempt's deadline, where no verdict ended it before.
        let all_waited = self.said_of(message).all(|(_, a)| is_ack(a.verdict));
        let newest = self
            .records_of(message)
            .map(|(_, s)| (s.attempt, s.at_ms))
            .max();
        if let Some((_, delivered_ms)) = newest
            && cause == DeadLetterCause::AttemptsExhausted
            && all_waited
            && claimed == 0
            && !twin
            && !self.is_estranged(at)
            && !self.is_shared(message)
        {
            let begun = self.dead_letters_begun.contains(&message);
            self.judge_time(
                message,
                delivered_ms,
                begun,
                &format!("dead letter of {message}"),
            );
        }
        self.dead_letters_begun.insert(message);
        let too_large = cause == DeadLetterCause::TooLarge && self.is_too_large(message);
        if !asked && !too_large && !(least..=max).contains(&attempt) && !self.is_shared(message) {
            self.breach(
                5,
                format!(
                    "{message} at {} dead after attempt {attempt}, {}",
                    msg.origin,
                    cause.as_str()
                ),
            );
        }
    }

    /// 11: what an operator is told to be durable, is.
    pub fn judge_reply(&mut self, request: u64, reply: &OperatorReply) {
        let Some(message) = self.asked_for.get(&request).copied() else {
            return;
        };
        let holds = match reply {
            OperatorReply::Durable(at) => {
                let there = self.said_of(message).find(|(there, _)| there == at);
                there.is_some_and(|(_, a)| a.verdict.is_coordinators())
            }
            OperatorReply::AlreadyHolds(state) if state.is_settled() => {
                // A dead letter is one before its settlement says so.
                let dead = self.dead_letters.iter().any(|(m, _)| *m == message);
                let undecidable = self.is_shared(message)
                    || self.losses.is_hurt(message)
                    // Asked for by the position of a twin that nobody knows (30 144 469).
                    || self.has_twins(message);
                dead || self.is_settled(message) || undecidable
            }
            _ => true,
        };
        if !holds {
            self.breach(11, format!("the answer about {message} was {reply:?}"));
        }
    }

    /// 12: with as much outstanding as may be, nothing more is read of the sources.
    pub fn judge_room(&mut self) {
        let me = &self.me;
        let full = me.core.outstanding() >= OUTSTANDING_MAX;
        if !full || !self.group.is_one() || !me.away.is_empty() || !me.core.is_ready() {
            self.me.read_though_full = false;
            return;
        }
        // What is rebuilt beside the others is read to its end in any case.
        let views = me.core.topic_views(self.now());
        let tracked = |n: i32| views[0].partitions.iter().any(|p| p.partition == n);
        let mut read = me.source_reader.keys().copied();
        let read = read.find(|p| !me.paused.contains(p) && tracked(*p));
        // What was adopted with this is looked at with the next.
        let before = std::mem::replace(&mut self.me.read_though_full, read.is_some());
        if let Some(p) = read.filter(|_| before) {
            let n = self.me.core.outstanding();
            self.breach(12, format!("{p} is read with {n} outstanding"));
        }
    }

    /// 10: a dead letter has the payload, unless it is gone or does not fit.
    pub fn judge_payload(
        &mut self,
        message: u64,
        payload: DeadLetterPayload,
        cause: DeadLetterCause,
    ) {
        let why = match payload {
            DeadLetterPayload::Whole => cause != DeadLetterCause::PayloadLost,
            DeadLetterPayload::Stub { .. } => self.is_too_large(message),
            DeadLetterPayload::Lost { .. } => self.losses.touched.contains(&message),
        };
        if !why {
            let cause = cause.as_str();
            self.breach(10, format!("{message} dead of {cause} with {payload:?}"));
        }
    }

    /// 2: never past the lowest unsettled anchor: of each unsettled message below L, a copy lies at or past it.
    pub fn judge_commit(&mut self, partition: i32, low: i64, acks: &[(i32, i64)]) {
        let log = &self.source[partition as usize];
        if low > log.len() as i64 {
            self.breach(2, format!("{partition} committed to {low} past its end"));
            return;
        }
        // What lay below the mark before was judged then, and has no copy that did not lie below it, or between.
        let before = self.low_of(partition).min(low);
        let unsettled = log[before as usize..low as usize]
            .iter()
            .flatten()
            .map(|s| s.message)
            .find(|message| {
                !self.is_settled(*message)
                    && !self
                        .records_of(*message)
                        .any(|(at, s)| at.partition == partition && at.offset >= low && !s.gone)
                    && !self.is_shared(*message)
                    && !self.losses.robbed.contains(message)
            });
        if let Some(message) = unsettled {
            self.breach(
                2,
                format!("{partition} committed to {low}, {message} is unsettled below"),
            );
            return;
        }
        self.judge_forgotten(partition, low, acks);
    }

    /// 3: of each settled message of which a copy lies at or past L, a verdict that settles it lies at or past E.
    fn judge_forgotten(&mut self, partition: i32, low: i64, acks: &[(i32, i64)]) {
        let from = |n: i32| acks.iter().find(|(m, _)| *m == n).map_or(0, |e| e.1);
        let coming = self.limbo.iter().filter(|l| {
            l.partition == partition
                && l.report.is_some()
                && l.sent.incarnation == self.me.incarnation
        });
        let needed = self.source[partition as usize][low as usize..]
            .iter()
            .flatten()
            .chain(coming.map(|l| &l.sent))
            .filter(|s| !s.estranged && !s.gone)
            .map(|s| s.message)
            .find(|m| {
                let settling = || {
                    self.said_of(*m)
                        .filter(|(_, a)| settles(a.verdict) && !a.estranged)
                };
                let kept = settling().any(|(at, _)| at.offset >= from(at.partition));
                let forgotten = settling().next().is_some() && !kept;
                // Which of the twins it was about, is not told once the first is below L.
                forgotten && !self.is_shared(*m) && !self.has_twins(*m) && !self.losses.is_hurt(*m)
            });
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
            let never_was = self.losses.aborted.contains(&message);
            if self.losses.robbed.contains(&message) {
                self.judge_robbed(message);
            } else if !never_was && !self.is_settled(message) && !self.is_shared(message) {
                self.breach(
                    1,
                    format!("{message} was neither acknowledged nor dead-lettered"),
                );
            }
        }
        if self.lost_ranges > 0 && !self.faults_drawn.kafka.may_lose() && self.group.is_one() {
            self.breach(13, "a lost range was reported, and nothing was lost".into());
        }
        for partition in 0..self.source.len() as i32 {
            let end = self.source[partition as usize].len() as i64;
            let low = self.low_of(partition);
            if low != end {
                self.breach(13, format!("{partition} is committed to {low} of {end}"));
            }
        }
    }

    /// 1: what is lost is lost aloud. Of what was deleted before it was settled, a dead letter says so, or a lost range.
    fn judge_robbed(&mut self, message: u64) {
        let silent = self.lost_ranges == 0
            && !self.is_settled(message)
            && !self.is_shared(message)
            && !self.losses.compacted.contains(&message);
        if silent {
            self.breach(1, format!("{message} was deleted, and nobody says so"));
        }
    }
}
