//! What operators want of a message: each decision is a record on the ACK topic, and holds when it is read back.

use super::coordinator::Coordinator;
use super::detail::{Fate, Phase};
use super::effect::{Effect, Publication, Publish};
use super::firing::UNFAITHFUL;
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
            _ => match topic.too_late(msg, action) {
                Some(why) => refuse(why),
                None => Ok((msg, newest, attempt)),
            },
        }
    }
}

impl Topic {
    /// Why a decision about an unsettled message would change nothing any more, if so.
    fn too_late(&self, msg: MsgRef, action: OperatorAction) -> Option<&'static str> {
        let partition = self.partitions.get(&msg.partition)?;
        let detail = partition.details.get(&msg.origin)?;
        match detail.phase {
            Phase::SettlementDue(_) | Phase::Settling { .. } => {
                return Some("its dead letter is written");
            }
            // An ACK settles it, if the dead letter should not come through.
            _ if action == OperatorAction::Ack => return None,
            Phase::Publishing {
                fate: Fate::Dead(_),
                ..
            } => return Some("its dead letter is on its way"),
            _ => {}
        }
        let extends = matches!(action, OperatorAction::Extend { .. });
        if detail.unfaithful && !extends {
            return Some(UNFAITHFUL);
        }
        if detail.is_decided() {
            return Some("its next delivery is on its way: decide about that once it is there");
        }
        let parked = detail.phase == Phase::Parked;
        (detail.doomed.is_some() && !parked).then_some("it is on its way to the dead letters")
    }
}
