//! What operators want of a message: each decision is a record on the ACK topic, and holds when it is read back.

use super::coordinator::Coordinator;
use super::detail::{Fate, Phase, strength};
use super::effect::{DeadLetterCause, Effect, Publication, Publish};
use super::firing::UNFAITHFUL;
use super::record::Verdict;
use super::topic::Topic;
use super::types::{LogPosition, MsgRef, RequestId, TopicIx};
use super::view::{Lookup, OperatorAction, OperatorReply, State};

impl Coordinator {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn operator(
        &mut self,
        request: RequestId,
        ix: TopicIx,
        at: LogPosition,
        action: OperatorAction,
        actor: Box<str>,
        reason: Option<Box<str>>,
        effects: &mut Vec<Effect>,
    ) {
        let reply = match self.decide(ix, at, action) {
            Err(reply) => reply,
            Ok((msg, newest, attempt)) => {
                self.sequence += 1;
                let topic = &mut self.topics[usize::from(ix.0)];
                topic.decisions.insert(self.sequence, (request, msg));
                effects.push(Effect::Publish(Publish {
                    msg,
                    sequence: self.sequence,
                    what: Publication::Verdict {
                        ack: topic.settings.ack,
                        verdict: action.verdict(),
                        newest,
                        attempt,
                        delay_ms: match action {
                            OperatorAction::Nack { delay_ms }
                            | OperatorAction::Extend { delay_ms } => delay_ms,
                            _ => None,
                        },
                        actor: Some(actor),
                        reason,
                    },
                }));
                return;
            }
        };
        effects.push(Effect::Reply { request, reply });
    }

    /// Whether an operator's wish makes sense in the message's state: (message, newest delivery, attempt).
    fn decide(
        &self,
        ix: TopicIx,
        at: LogPosition,
        action: OperatorAction,
    ) -> Result<(MsgRef, i64, u32), OperatorReply> {
        if !self.is_ready() {
            return Err(OperatorReply::Recovering);
        }
        let Some(topic) = self.topics.get(usize::from(ix.0)) else {
            return Err(OperatorReply::NotFound("no such topic"));
        };
        if topic.policy.observe_only {
            return Err(OperatorReply::ReadOnly(
                "the topic is observe_only: nothing is written for it",
            ));
        }
        if self.acks[usize::from(topic.settings.ack.0)]
            .topic
            .missing
            .is_some()
        {
            return Err(OperatorReply::ReadOnly(
                "the ack topic does not exist, and a decision is a record on it: create it",
            ));
        }
        if self.is_rebuilt_beside(ix, at.partition) {
            return Err(OperatorReply::Recovering);
        }
        let (state, msg, newest, attempt) = match topic.locate(at) {
            Ok(found) => found,
            Err(Lookup::Settled) if action == OperatorAction::Ack => {
                return Err(OperatorReply::AlreadyHolds(State::Acked));
            }
            Err(Lookup::Settled) => {
                return Err(OperatorReply::NotAllowed {
                    state: State::Acked,
                    detail: "the message is settled",
                });
            }
            Err(Lookup::NoSuchPartition) => {
                return Err(OperatorReply::NotFound(
                    "the partition is not tracked by this instance: ask the one that the group gave it to",
                ));
            }
            Err(_) => {
                return Err(OperatorReply::NotFound(
                    "the position is not tracked: before the start, in a lost range, or not read yet",
                ));
            }
        };
        let refuse = |detail| Err(OperatorReply::NotAllowed { state, detail });
        match (action, state) {
            (OperatorAction::Ack, State::Acked | State::OperatorAcked) => {
                Err(OperatorReply::AlreadyHolds(state))
            }
            (OperatorAction::DeadLetter, State::Dead) => Err(OperatorReply::AlreadyHolds(state)),
            (_, state) if state.is_settled() => refuse("the message is settled"),
            (OperatorAction::DeadLetter, _) if topic.policy.dead_letter.is_none() => {
                refuse("the topic has no dead-letter topic: set `dead_letter`")
            }
            (OperatorAction::Extend { .. }, State::Parked) => {
                refuse("a parked message waits for nothing")
            }
            _ => match topic.verdict_on(msg, action) {
                Use::Acts => Ok((msg, newest, attempt)),
                Use::Holds(state) => Err(OperatorReply::AlreadyHolds(state)),
                Use::None(why) => refuse(why),
            },
        }
    }
}

/// What a decision about an unsettled message would do.
enum Use {
    Acts,
    Holds(State),
    /// Nothing any more, and why.
    None(&'static str),
}

impl Topic {
    fn verdict_on(&self, msg: MsgRef, action: OperatorAction) -> Use {
        let partition = self.partitions.get(&msg.partition);
        let Some(detail) = partition.and_then(|p| p.details.get(&msg.origin)) else {
            return Use::Acts;
        };
        let pending = detail.pending.as_ref().map(|p| p.verdict);
        let again = action == OperatorAction::DeadLetter;
        match detail.phase {
            Phase::SettlementDue(_) | Phase::Settling { .. } if again => {
                return Use::Holds(State::Dead);
            }
            Phase::SettlementDue(_) | Phase::Settling { .. } => {
                return Use::None("its dead letter is written");
            }
            // It settles it, if the dead letter should not come through.
            _ if action == OperatorAction::Ack => return Use::Acts,
            Phase::Publishing {
                fate: Fate::Dead(_),
                ..
            } if again && pending == Some(Verdict::OperatorDeadLetter) => {
                return Use::Holds(detail.state());
            }
            Phase::Publishing {
                fate: Fate::Dead(_),
                ..
            } => return Use::None("its dead letter is on its way"),
            _ => {}
        }
        let parked = detail.phase == Phase::Parked;
        let exhausted = Fate::Dead(DeadLetterCause::AttemptsExhausted);
        let is_exhausted = || detail.fate(self.policy.max_attempts) == exhausted;
        if detail.unfaithful && !matches!(action, OperatorAction::Extend { .. }) {
            return Use::None(UNFAITHFUL);
        }
        if detail.is_decided() {
            return Use::None(
                "its next delivery is on its way: decide about that once it is there",
            );
        }
        if parked && matches!(action, OperatorAction::Nack { .. }) && is_exhausted() {
            return Use::None("it has no attempt left for a nack: a retry makes one more");
        }
        if detail.doomed.is_some() && !parked {
            return Use::None("it is on its way to the dead letters");
        }
        if pending.is_some_and(|p| strength(p) > strength(action.verdict())) {
            return Use::None("what was said of it before is stronger, and is acted upon first");
        }
        Use::Acts
    }
}
