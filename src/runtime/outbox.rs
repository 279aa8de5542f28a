//! What the core wants published, gathered until the end of an input and submitted in one go.
//!
//! Nothing waits here longer than [`SUBMIT_WITHIN_MS`]: what does is not submitted, and reported as dropped.

use super::engine::{Engine, Submitted};
use super::outgoing;
use crate::clock;
use crate::core::event::PublishOutcome;
use crate::core::{MsgRef, Now, Publication, Publish, Verdict};
use crate::ports::Outgoing;

/// What is wanted published is gathered for that long at most.
const GATHER_MS: u64 = 50;
/// What was not submitted that long after it was wanted is not submitted any more: we stood still, and the lease that it was
/// wanted under may be over. A new owner of a partition waits for what its former one submitted as much longer.
pub(super) const SUBMIT_WITHIN_MS: u64 = 1_000;

/// A record that is wanted published, and is not submitted yet.
pub(super) struct Outbound {
    msg: MsgRef,
    sequence: u64,
    record: Outgoing,
    /// What it is, for the log, and its attempt.
    described: (&'static str, u32),
    /// A copy that names earlier ones: it can do without.
    has_deliveries: bool,
    /// The dead-letter topic, if it goes there.
    dead_letter: Option<String>,
}

/// What is wanted published, in order.
#[derive(Default)]
pub(super) struct Outbox {
    records: Vec<Outbound>,
    /// When the first of them was wanted, monotonic ms.
    since_ms: u64,
}

impl Outbox {
    fn has_waited(&self, ms: u64, now_ms: u64) -> bool {
        !self.records.is_empty() && now_ms > self.since_ms + ms
    }
}

impl Engine {
    pub(super) fn publish(&mut self, publish: Publish) {
        let msg = publish.msg;
        let payload = self.payloads.remove(&msg);
        let dead_letter = match &publish.what {
            Publication::DeadLetter { topic, .. } => Some(topic.to_string()),
            _ => None,
        };
        let at = match publish.what {
            // Of its settlement; an operator's decision may come before.
            Publication::Verdict {
                verdict: Verdict::DeadLettered | Verdict::PayloadLost,
                ..
            } => self.dead_letters.remove(&msg),
            _ => None,
        };
        let record = outgoing::build(&self.names, msg, &publish.what, payload, at.as_deref());
        let has_deliveries =
            matches!(&publish.what, Publication::Copy(headers) if !headers.deliveries.is_empty());
        if self.outbox.records.is_empty() {
            self.outbox.since_ms = self.handled_ms;
        }
        self.outbox.records.push(Outbound {
            msg,
            sequence: publish.sequence,
            record,
            described: outgoing::described(&publish.what),
            has_deliveries,
            dead_letter,
        });
    }

    /// Submits what one input wanted published, in one go: the producer makes few large requests of it then. No ACK was read
    /// since.
    pub(super) fn submit_outbox(&mut self) {
        if self
            .outbox
            .has_waited(SUBMIT_WITHIN_MS, clock::now().mono_ms)
        {
            tracing::warn!(
                records = self.outbox.records.len(),
                "this process stood still: what it was about to publish is looked at again"
            );
            self.drop_outbox();
        }
        let mut records = std::mem::take(&mut self.outbox.records);
        for out in records.drain(..) {
            let token = self.submit(&out.record);
            let (what, attempt) = out.described;
            tracing::debug!(
                topic = self.names.topic(out.msg.topic),
                partition = out.msg.partition,
                offset = out.msg.origin,
                sequence = out.sequence,
                attempt,
                "submitted: {what}"
            );
            self.await_report(token, out);
        }
        self.outbox.records = records;
    }

    /// What waits for the end of the input is not submitted: it never was, and that is its report.
    pub(super) fn drop_outbox(&mut self) {
        for out in std::mem::take(&mut self.outbox.records) {
            self.next_token += 1;
            self.refused
                .push((self.next_token, PublishOutcome::Dropped));
            self.await_report(self.next_token, out);
        }
    }

    fn await_report(&mut self, token: u64, out: Outbound) {
        let what = Submitted::Message {
            msg: out.msg,
            sequence: out.sequence,
            again_without_deliveries: out.has_deliveries.then(|| Box::new(out.record)),
            dead_letter: out.dead_letter,
        };
        self.submitted.insert(token, what);
    }

    /// Where much is told at once, the producer need not wait for the last of it.
    pub(super) fn submit_outbox_if_full(&mut self, now: Now) {
        if self.outbox.has_waited(GATHER_MS, now.mono_ms) {
            self.submit_outbox();
        }
    }
}
