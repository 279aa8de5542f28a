//! A test double: a store whose writes go wrong on demand, in each of the ways that the port allows.
//!
//! It stands between the code under test and a real adapter; the test keeps the [`Faults`] handle. Loading never fails
//! here: how damage looks from outside is the business of the adapters' own tests.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ports::{Checkpoint, Store, StoreError, StoreIdentity, StoredPartition};

/// What is to happen to one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written; [`StoreError::NoSpace`].
    NoSpace,
    /// Nothing is written; [`StoreError::Broken`].
    Broken,
    /// All is written, and the caller is told [`StoreError::Broken`].
    WrittenButReportedBroken,
    /// The partitions of the checkpoint cannot be trusted from now on, until each is replaced;
    /// [`StoreError::Broken`].
    Torn,
}

/// Wraps a store; see the module.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    faults: Faults,
}

/// The test's handle on a [`FaultyStore`]; clones are the same handle.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: VecDeque<Fault>,
    torn: BTreeSet<(String, i32)>,
    writes: u64,
    writes_failed: u64,
}

impl Faults {
    /// The next `writes` writes end so, after what was asked for before.
    pub fn inject(&self, fault: Fault, writes: usize) {
        self.state().next.extend(std::iter::repeat_n(fault, writes));
    }

    /// What was injected and did not come to pass yet is called off.
    pub fn stop(&self) {
        self.state().next.clear();
    }

    /// Writes that succeeded, and that failed, identity included.
    #[must_use]
    pub fn writes(&self) -> (u64, u64) {
        let state = self.state();
        (state.writes, state.writes_failed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> FaultyStore<S> {
    /// A store without faults yet, and the handle to ask for them.
    #[must_use]
    pub fn new(inner: S) -> (Self, Faults) {
        let faults = Faults::default();
        let handle = faults.clone();
        (Self { inner, faults }, handle)
    }

    /// The same after a restart: with the handle of before, what was torn is still torn.
    #[must_use]
    pub fn with_faults(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn attempt(
        &mut self,
        touched: &[(String, i32)],
        write: impl FnOnce(&mut S) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let fault = self.faults.state().next.pop_front();
        let result = match fault {
            None => write(&mut self.inner),
            Some(Fault::NoSpace) => Err(StoreError::NoSpace {
                path: PATH.into(),
                detail: "injected".into(),
            }),
            Some(Fault::Broken) => Err(broken()),
            Some(Fault::WrittenButReportedBroken) => write(&mut self.inner).and(Err(broken())),
            Some(Fault::Torn) => {
                self.faults.state().torn.extend(touched.iter().cloned());
                Err(broken())
            }
        };
        let mut state = self.faults.state();
        match result {
            Ok(()) => state.writes += 1,
            Err(_) => state.writes_failed += 1,
        }
        result
    }
}

const PATH: &str = "(faulty)";

fn broken() -> StoreError {
    StoreError::Broken {
        path: PATH.into(),
        detail: "injected".into(),
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn load(&mut self) -> Result<(Option<StoreIdentity>, Vec<StoredPartition>), StoreError> {
        let (identity, mut partitions) = self.inner.load()?;
        let state = self.faults.state();
        for stored in &mut partitions {
            if state
                .torn
                .contains(&(stored.topic.clone(), stored.partition))
            {
                stored.image = None;
            }
        }
        Ok((identity, partitions))
    }

    fn set_identity(&mut self, identity: &StoreIdentity) -> Result<(), StoreError> {
        self.attempt(&[], |inner| inner.set_identity(identity))
    }

    fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let name = |delta: &crate::ports::PartitionDelta| (delta.topic.clone(), delta.partition);
        let touched: Vec<_> = checkpoint.partitions.iter().map(name).collect();
        self.attempt(&touched, |inner| inner.write(checkpoint))?;
        let mut state = self.faults.state();
        for delta in checkpoint.partitions.iter().filter(|delta| delta.replace) {
            state.torn.remove(&name(delta));
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }
}
