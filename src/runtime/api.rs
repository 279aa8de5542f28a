//! What users ask: answered from the core's snapshots, on the engine's thread, each bounded in work.

use tokio::sync::oneshot;

use super::engine::{Engine, PayloadCall, Submitted};
use super::input::FetchFor;
use super::state::{StateWrite, Wish};
use crate::clock;
use crate::core::view::{Lookup, OperatorReply};
use crate::core::{Event, LogPosition, PolicyPatch, TopicIx};
use crate::ports::{ApiRequest, OwnedRecord, Refusal, Stats};

impl Engine {
    pub(super) fn answer(&mut self, request: ApiRequest) {
        let now = clock::now();
        // Whoever asked may have gone away: that is not an error.
        match request {
            ApiRequest::Topics { reply } => {
                let _ = reply.send(self.coordinator.topic_views(now));
            }
            ApiRequest::Messages { filter, reply } => {
                let answer = match self.coordinator.recovering() {
                    Some(progress) => Err(Refusal::Recovering(progress)),
                    None => Ok(self.coordinator.messages(&filter, now)),
                };
                let _ = reply.send(answer);
            }
            ApiRequest::Message { topic, at, reply } => {
                let answer = match self.coordinator.recovering() {
                    Some(progress) => Err(Refusal::Recovering(progress)),
                    None => Ok(self.coordinator.lookup(topic, at, now)),
                };
                let _ = reply.send(answer);
            }
            ApiRequest::Payload { topic, at, reply } => self.payload(topic, at, reply),
            ApiRequest::Act {
                topic,
                at,
                action,
                actor,
                reason,
                reply,
            } => {
                self.next_token += 1;
                let request = self.next_token;
                self.operators.insert(request, reply);
                self.handle(Event::Operator {
                    request,
                    msg: at,
                    topic,
                    action,
                    actor: actor.into(),
                    reason: reason.map(Into::into),
                });
            }
            ApiRequest::PatchPolicy { .. } | ApiRequest::ResetPolicy { .. }
                if self.is_policy_under_way() =>
            {
                self.changes_waiting.push(request);
            }
            ApiRequest::PatchPolicy {
                topic,
                patch,
                apply_pending,
                reply,
            } => {
                let merged = self.state.overrides(topic).merged(&patch);
                let problems = self.state.problems(&self.names, topic, &merged);
                if !problems.is_empty() {
                    let _ = reply.send(Err(Refusal::BadPolicy(problems)));
                    return;
                }
                self.write_state(topic, Wish::Policy(merged, apply_pending), reply);
            }
            ApiRequest::ResetPolicy { topic, reply } => {
                let file = PolicyPatch::default();
                let problems = self.state.problems(&self.names, topic, &file);
                if !problems.is_empty() {
                    let _ = reply.send(Err(Refusal::BadPolicy(problems)));
                    return;
                }
                self.write_state(topic, Wish::Policy(Default::default(), false), reply);
            }
            ApiRequest::Pause {
                topic,
                paused,
                reply,
            } => self.write_state(topic, Wish::Pause(paused), reply),
            ApiRequest::Unmatched { limit, reply } => {
                let partial = self.coordinator.is_partial(None);
                let _ = reply.send((self.coordinator.unmatched(limit), partial));
            }
            ApiRequest::Stats { reply } => {
                let _ = reply.send(Stats {
                    ready: self.coordinator.is_ready(),
                    recovering: self.coordinator.recovering(),
                    outstanding: self.coordinator.outstanding(),
                    kafka_trouble: self.hands.trouble(),
                    ..self.stats.clone()
                });
            }
        }
    }

    fn payload(
        &mut self,
        topic: TopicIx,
        at: LogPosition,
        reply: oneshot::Sender<Result<OwnedRecord, Refusal>>,
    ) {
        if let Some(progress) = self.coordinator.recovering() {
            let _ = reply.send(Err(Refusal::Recovering(progress)));
            return;
        }
        let Some((offset, len, digest)) = self.coordinator.payload_of(topic, at) else {
            let why = match self.coordinator.lookup(topic, at, clock::now()) {
                Lookup::Found(_) | Lookup::Settled => {
                    "the message is settled; its record is not looked up any more"
                }
                Lookup::Untracked | Lookup::NoSuchPartition => "no message is tracked there",
                Lookup::Elsewhere => "another instance tracks the partition",
                Lookup::Rebuilding => "the partition is being rebuilt",
            };
            let _ = reply.send(Err(Refusal::PayloadGone(why.to_owned())));
            return;
        };
        self.next_token += 1;
        let call = PayloadCall { reply, len, digest };
        self.payload_calls.insert(self.next_token, call);
        let name = self.names.topic(topic).to_owned();
        let purpose = FetchFor::Api(self.next_token);
        self.hands.fetch(purpose, &name, at.partition, offset);
    }

    fn write_state(
        &mut self,
        topic: TopicIx,
        wish: Wish,
        reply: oneshot::Sender<Result<(), Refusal>>,
    ) {
        let name = self.names.topic(topic).to_owned();
        let record = self
            .state
            .record(&self.names, &name, &wish, clock::wall_ms());
        let write = StateWrite { topic, wish, reply };
        let token = self.submit(&record);
        self.submitted.insert(token, Submitted::State(write));
    }

    /// A later change is laid over it, if it comes through; one of another topic must go with it, where dead letters are
    /// concerned.
    fn is_policy_under_way(&self) -> bool {
        self.submitted.values().any(|submitted| {
            matches!(
                submitted,
                Submitted::State(StateWrite {
                    wish: Wish::Policy(..),
                    ..
                })
            )
        })
    }

    /// A record on the state topic is durable, or not: only then does what it says hold.
    pub(super) fn state_written(
        &mut self,
        write: StateWrite,
        outcome: crate::core::event::PublishOutcome,
    ) {
        use crate::core::event::PublishOutcome;
        let answer = match outcome {
            PublishOutcome::Durable(at) => Ok(at),
            PublishOutcome::Ambiguous(why) => Err(Refusal::UnknownOutcome(why.into())),
            PublishOutcome::Refused(why) => Err(Refusal::Kafka(why.into())),
            PublishOutcome::Dropped => Err(Refusal::Kafka(
                "it was not sent: what waited was dropped while the group had not confirmed this instance; try again"
                    .to_owned(),
            )),
            PublishOutcome::TooLarge => Err(Refusal::Kafka("the record is too large".to_owned())),
        };
        if let Ok(at) = &answer
            && let Some(event) = self.state.accept(write.topic, write.wish, at.offset)
        {
            self.handle(event);
        }
        let _ = write.reply.send(answer.map(|_| ()));
        for request in std::mem::take(&mut self.changes_waiting) {
            // Who was told that nobody knows what became of it, is not to find it done much later.
            let (ApiRequest::PatchPolicy { reply, .. } | ApiRequest::ResetPolicy { reply, .. }) =
                &request
            else {
                continue;
            };
            if !reply.is_closed() {
                self.answer(request);
            }
        }
    }

    /// Operators whose decision cannot be reported on any more are told so.
    pub(super) fn give_up_operators(&mut self) {
        for (_, reply) in self.operators.drain() {
            let why = "the service is stopping".into();
            let _ = reply.send(OperatorReply::UnknownOutcome(why));
        }
    }
}
