//! Writes checkpoints on a thread of its own, so that neither readers nor retries ever wait for the disk.
//!
//! What cannot be written is said, and tried again whole: the core is told, and hands out everything the next time. A
//! store that is broken is moved aside and begun anew; it is a view, and losing it loses no message.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::input::{CheckpointDone, Input};
use crate::clock;
use crate::ports::{Checkpoint, Store, StoreError, StoreIdentity};

/// Opens the store again after it was moved aside.
pub type Reopen = Box<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send>;

/// The writing thread's handle. One checkpoint is under way at most.
pub struct Checkpoints {
    orders: Option<SyncSender<Checkpoint>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// `identity` is the store's, for the one that may have to be begun anew.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn spawn(
        store: Box<dyn Store>,
        identity: StoreIdentity,
        reopen: Reopen,
        inputs: SyncSender<Input>,
    ) -> std::io::Result<Self> {
        let (orders, received) = sync_channel(2);
        let thread = std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || write_all(store, &identity, &reopen, &received, &inputs))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Hands a checkpoint over; the answer comes as an input.
    pub fn write(&self, checkpoint: Checkpoint) {
        if let Some(orders) = &self.orders {
            // The thread ends only with us.
            let _ = orders.send(checkpoint);
        }
    }

    /// Nothing more will be handed over. The thread ends when what was is written; its last word goes to the inputs.
    pub fn finish(&mut self) {
        self.orders = None;
    }

    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

fn write_all(
    mut store: Box<dyn Store>,
    identity: &StoreIdentity,
    reopen: &Reopen,
    orders: &Receiver<Checkpoint>,
    inputs: &SyncSender<Input>,
) {
    while let Ok(checkpoint) = orders.recv() {
        let began = clock::instant();
        let outcome = store.write(&checkpoint);
        let seconds = began.elapsed().as_secs_f64();
        let broken = matches!(outcome, Err(StoreError::Broken { .. }));
        let outcome = outcome.map(|()| CheckpointDone {
            seconds,
            store_size_bytes: store.size_bytes(),
        });
        if inputs.send(Input::Checkpointed(outcome)).is_err() {
            return;
        }
        if broken {
            drop(store);
            match reopen() {
                Ok(fresh) => {
                    store = fresh;
                    if let Err(e) = store.set_identity(identity) {
                        tracing::warn!(error = %e, "the new store's identity could not be written");
                    }
                }
                Err(e) => {
                    tracing::error!(error = %e, "going on without a store: a restart rebuilds everything from kafka");
                    drain(orders);
                    return;
                }
            }
        }
    }
}

/// Without a store, nothing is written; the engine hears of it only once.
fn drain(orders: &Receiver<Checkpoint>) {
    while orders.recv().is_ok() {}
}
