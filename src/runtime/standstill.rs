//! Says in the log, once each, why a topic stands still and what to do about it, and when it goes on. The API has the
//! same at any time; who reads only the log is not to miss it.

use super::names::Names;
use crate::core::TopicIx;
use crate::core::view::Frozen;

/// How often it is looked at.
const LOOK_EVERY_MS: u64 = 1_000;

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    said: Vec<(TopicIx, Frozen)>,
    next_look_ms: u64,
}

impl Standstill {
    pub fn is_due(&mut self, mono_ms: u64) -> bool {
        if mono_ms < self.next_look_ms {
            return false;
        }
        self.next_look_ms = mono_ms + LOOK_EVERY_MS;
        true
    }

    /// What was lost, where the policy says to go on all the same.
    pub fn note_lost(names: &Names, lost: Vec<(TopicIx, Frozen)>) {
        for (topic, lost) in lost {
            let (topic, why) = (names.topic(topic), lost.why.as_str());
            tracing::warn!(topic, why, detail = %lost.detail, "lost, and gone on from as on_lost_range says");
        }
    }

    pub fn note(&mut self, names: &Names, frozen: Vec<(TopicIx, Frozen)>) {
        let same = |a: &(TopicIx, Frozen), b: &(TopicIx, Frozen)| a.0 == b.0 && a.1.why == b.1.why;
        for new in &frozen {
            if !self.said.iter().any(|old| same(old, new)) {
                let (topic, why) = (names.topic(new.0), new.1.why.as_str());
                tracing::warn!(topic, why, detail = %new.1.detail, cure = %new.1.cure, "frozen: retries of the topic stand still");
            }
        }
        for old in &self.said {
            if !frozen.iter().any(|new| same(old, new)) {
                let (topic, why) = (names.topic(old.0), old.1.why.as_str());
                tracing::info!(topic, why, "frozen no more");
            }
        }
        self.said = frozen;
    }
}
