//! What the coordinators wanted and counted, by kind: a rule that no schedule reaches is not tested by any.

use ackwarden::core::effect::DeadLetterCause;
use ackwarden::core::record::CauseKind;
use ackwarden::core::types::Lane;
use ackwarden::core::view::{Counters, VerdictResult};
use ackwarden::core::{Effect, Publication, Verdict};

const EFFECTS: [&str; 25] = [
    "read source",
    "stop source",
    "pause source",
    "resume source",
    "read acks",
    "read acks for a rebuild",
    "stop a rebuild's acks",
    "ask ack ends",
    "ask fence",
    "fetch payload",
    "discard payload",
    "purge queue",
    "commit",
    "reply",
    "copy, timeout",
    "copy, nack",
    "copy, operator",
    "dead letter, attempts-exhausted",
    "dead letter, rejected",
    "dead letter, operator",
    "dead letter, too-large",
    "dead letter, payload-lost",
    "settlement, dead-lettered",
    "settlement, payload-lost",
    "decision",
];

#[derive(Clone)]
pub struct Coverage {
    effects: [u64; EFFECTS.len()],
    verdicts: [[u64; VerdictResult::ALL.len()]; Verdict::ALL.len() + 1],
    ids_reused: u64,
    lost_ranges: u64,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            effects: [0; EFFECTS.len()],
            verdicts: [[0; VerdictResult::ALL.len()]; Verdict::ALL.len() + 1],
            ids_reused: 0,
            lost_ranges: 0,
        }
    }
}

impl Coverage {
    pub fn count(&mut self, effect: &Effect) {
        self.effects[kind(effect)] += 1;
    }

    pub fn add(&mut self, counters: &Counters) {
        for (mine, theirs) in self.verdicts.iter_mut().zip(&counters.verdicts) {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine += theirs;
            }
        }
        self.ids_reused += counters.ids_reused;
        self.lost_ranges += counters.lost_ranges;
    }

    /// Effects that no schedule had.
    pub fn effects_not_seen(&self) -> Vec<&'static str> {
        let each = EFFECTS.iter().zip(&self.effects);
        each.filter(|(_, n)| **n == 0)
            .map(|(name, _)| *name)
            .collect()
    }
}

impl std::ops::AddAssign for Coverage {
    fn add_assign(&mut self, other: Self) {
        for (mine, theirs) in self.effects.iter_mut().zip(other.effects) {
            *mine += theirs;
        }
        for (mine, theirs) in self.verdicts.iter_mut().zip(other.verdicts) {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine += theirs;
            }
        }
        self.ids_reused += other.ids_reused;
        self.lost_ranges += other.lost_ranges;
    }
}

impl std::fmt::Debug for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for (name, n) in EFFECTS.iter().zip(&self.effects) {
            map.entry(name, n);
        }
        for (i, results) in self.verdicts.iter().enumerate() {
            let verdict = Verdict::ALL.get(i).map_or("other", |v| v.as_str());
            for (result, n) in VerdictResult::ALL.iter().zip(results) {
                if *n > 0 {
                    map.entry(&format!("{verdict}, {}", result.as_str()), n);
                }
            }
        }
        map.entry(&"ids reused", &self.ids_reused);
        map.entry(&"lost ranges", &self.lost_ranges);
        map.finish()
    }
}

fn kind(effect: &Effect) -> usize {
    match effect {
        Effect::ReadSource { .. } => 0,
        Effect::StopSource { .. } => 1,
        Effect::PauseSource { .. } => 2,
        Effect::ResumeSource { .. } => 3,
        Effect::ReadAcks { lane, .. } if *lane == Lane::Main => 4,
        Effect::ReadAcks { .. } => 5,
        Effect::StopRebuildAcks { .. } => 6,
        Effect::AskAckEnds { .. } => 7,
        Effect::AskFence { .. } => 8,
        Effect::FetchPayload { .. } => 9,
        Effect::DiscardPayload { .. } => 10,
        Effect::PurgeQueue => 11,
        Effect::Commit(_) => 12,
        Effect::Reply { .. } => 13,
        Effect::Publish(publish) => match &publish.what {
            Publication::Copy(headers) => match headers.cause.map(|c| c.kind) {
                Some(CauseKind::Timeout) | None => 14,
                Some(CauseKind::Nack) => 15,
                Some(CauseKind::Operator) => 16,
            },
            Publication::DeadLetter { cause, .. } => {
                let all = DeadLetterCause::ALL.iter();
                17 + all.take_while(|c| *c != cause).count()
            }
            Publication::Verdict { verdict, .. } => match verdict {
                Verdict::DeadLettered => 22,
                Verdict::PayloadLost => 23,
                _ => 24,
            },
        },
    }
}
