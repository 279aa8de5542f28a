//! Small answers for the engine, many at once: what comes while it is busy waits here, and one wake-up is for all of it.
//!
//! It has no bound of its own: each answer is one to something that the engine asked for, and what is under way is
//! bounded by the core.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use super::input::{FetchFor, Fetched, Input};
use crate::core::event::PublishOutcome;

#[derive(Debug)]
pub enum Answer {
    /// A payload that the core asked for, or why not.
    Fetched { purpose: FetchFor, result: Fetched },
    /// What became of a record that was handed to the producer.
    Reported { token: u64, outcome: PublishOutcome },
}

/// Where answers are put, by any thread.
#[derive(Clone)]
pub struct Inbox {
    waiting: Waiting,
    inputs: SyncSender<Input>,
}

/// What waits for the engine.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<Vec<Answer>>>);

impl Inbox {
    #[must_use]
    pub fn new(inputs: SyncSender<Input>) -> Self {
        Self {
            waiting: Waiting::default(),
            inputs,
        }
    }

    /// What wakes the engine for anything else.
    #[must_use]
    pub fn inputs(&self) -> &SyncSender<Input> {
        &self.inputs
    }

    /// Waits only while the engine's inputs are full, and only where nothing waited for it before.
    pub fn put(&self, answers: impl IntoIterator<Item = Answer>) {
        let first = {
            let mut waiting = self
                .waiting
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let first = waiting.is_empty();
            waiting.extend(answers);
            first
        };
        if first {
            // The engine is gone: nobody waits for it any more.
            let _ = self.inputs.send(Input::Answers(self.waiting.clone()));
        }
    }
}

impl Waiting {
    /// All of it; it may be nothing, where it was taken with what came before.
    pub fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
