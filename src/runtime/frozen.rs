//! What freezes a topic, and what no longer does, as lines of the log: who reads nothing but the log must learn of it.
//! The API has the same at any time.

use super::names::Names;
use crate::core::TopicIx;
use crate::core::view::Frozen;

/// How often it is looked at.
const LOOK_EVERY_MS: u64 = 1_000;

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct FrozenLog {
    said: Vec<(TopicIx, Frozen)>,
    next_look_ms: u64,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    new: Vec<(TopicIx, Frozen)>,
    gone: Vec<(TopicIx, Frozen)>,
}

impl FrozenLog {
    /// True once a second.
    pub fn is_due(&mut self, mono_ms: u64) -> bool {
        if mono_ms < self.next_look_ms {
            return false;
        }
        self.next_look_ms = mono_ms + LOOK_EVERY_MS;
        true
    }

    /// Says what has changed since the last look.
    pub fn look(&mut self, names: &Names, frozen: Vec<(TopicIx, Frozen)>) {
        let change = self.change(frozen);
        for (
            topic,
            Frozen {
                why, detail, cure, ..
            },
        ) in change.new
        {
            let (topic, why) = (names.topic(topic), why.as_str());
            tracing::warn!(topic, why, "frozen: {detail}: {cure}");
        }
        for (topic, Frozen { why, .. }) in change.gone {
            let (topic, why) = (names.topic(topic), why.as_str());
            tracing::info!(topic, why, "no longer frozen by this");
        }
    }

    /// What was lost, where the policy says to go on all the same.
    pub fn lost(names: &Names, lost: Vec<(TopicIx, Frozen)>) {
        for (topic, Frozen { why, detail, .. }) in lost {
            let (topic, why) = (names.topic(topic), why.as_str());
            tracing::warn!(
                topic,
                why,
                "lost, and gone on from as on_lost_range says: {detail}"
            );
        }
    }

    fn change(&mut self, now: Vec<(TopicIx, Frozen)>) -> Change {
        let new = missing_in(&self.said, &now);
        let gone = missing_in(&now, &self.said);
        self.said = now;
        Change { new, gone }
    }
}

/// Those of `these` that `others` does not have, by topic and reason.
fn missing_in(others: &[(TopicIx, Frozen)], these: &[(TopicIx, Frozen)]) -> Vec<(TopicIx, Frozen)> {
    let same = |a: &(TopicIx, Frozen), b: &(TopicIx, Frozen)| a.0 == b.0 && a.1.why == b.1.why;
    let new = these.iter().filter(|t| !others.iter().any(|o| same(o, t)));
    new.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::view::FrozenWhy;

    fn frozen(topic: u16, why: FrozenWhy) -> (TopicIx, Frozen) {
        let frozen = Frozen {
            why,
            since_wall_ms: 0,
            detail: "it is".into(),
            cure: "do".into(),
        };
        (TopicIx(topic), frozen)
    }

    #[test]
    fn each_reason_is_said_once_when_it_comes_and_once_when_it_goes() {
        let mut log = FrozenLog::default();
        let paused = frozen(0, FrozenWhy::Paused);
        let missing = frozen(0, FrozenWhy::AckTopicMissing);
        let other = frozen(1, FrozenWhy::Paused);
        let nothing = Change {
            new: vec![],
            gone: vec![],
        };
        assert_eq!(
            log.change(vec![paused.clone()]).new,
            std::slice::from_ref(&paused)
        );
        assert_eq!(log.change(vec![paused.clone()]), nothing);
        let both = vec![missing.clone(), paused.clone()];
        assert_eq!(log.change(both.clone()).new, std::slice::from_ref(&missing));
        let all = vec![missing.clone(), paused.clone(), other.clone()];
        assert_eq!(log.change(all).new, std::slice::from_ref(&other));
        let change = log.change(vec![other]);
        assert_eq!(change.new, []);
        assert_eq!(change.gone, both);
    }
}
