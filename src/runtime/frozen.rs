//! What freezes a topic, and what no longer does, as lines of the log: who reads nothing but the log must learn of it.

use std::collections::BTreeMap;

use super::names::Names;
use crate::core::TopicIx;
use crate::core::view::{Frozen, FrozenWhy, TopicView};

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct FrozenLog(BTreeMap<TopicIx, Vec<FrozenWhy>>);

/// What there is to say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Change<'a> {
    new: Vec<&'a Frozen>,
    gone: Vec<FrozenWhy>,
}

impl FrozenLog {
    /// Says what has changed since the last look.
    pub fn look(&mut self, names: &Names, views: &[TopicView]) {
        for view in views {
            let topic = names.topic(view.topic);
            let change = self.change(view.topic, &view.frozen);
            for frozen in change.new {
                let (why, detail, cure) = (frozen.why.as_str(), &frozen.detail, &frozen.cure);
                tracing::warn!(topic, why, "frozen: {detail}: {cure}");
            }
            for why in change.gone {
                let why = why.as_str();
                tracing::info!(topic, why, "no longer frozen by this");
            }
        }
    }

    fn change<'a>(&mut self, topic: TopicIx, now: &'a [Frozen]) -> Change<'a> {
        let said = self.0.entry(topic).or_default();
        let new = now.iter().filter(|f| !said.contains(&f.why)).collect();
        let gone = said
            .iter()
            .copied()
            .filter(|why| !now.iter().any(|f| f.why == *why))
            .collect();
        *said = now.iter().map(|f| f.why).collect();
        Change { new, gone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen(why: FrozenWhy) -> Frozen {
        Frozen {
            why,
            since_wall_ms: 0,
            detail: "it is".into(),
            cure: "do".into(),
        }
    }

    #[test]
    fn each_reason_is_said_once_when_it_comes_and_once_when_it_goes() {
        let mut log = FrozenLog::default();
        let (orders, parcels) = (TopicIx(0), TopicIx(1));
        let paused = [frozen(FrozenWhy::Paused)];
        let both = [
            frozen(FrozenWhy::AckTopicMissing),
            frozen(FrozenWhy::Paused),
        ];
        assert_eq!(log.change(orders, &paused).new, [&paused[0]]);
        assert_eq!(log.change(orders, &paused), Change::default());
        assert_eq!(log.change(orders, &both).new, [&both[0]]);
        assert_eq!(log.change(parcels, &paused).new, [&paused[0]]);
        let change = log.change(orders, &[]);
        assert_eq!(change.new, Vec::<&Frozen>::new());
        assert_eq!(change.gone, [FrozenWhy::AckTopicMissing, FrozenWhy::Paused]);
        assert_eq!(log.change(orders, &[]), Change::default());
    }
}
