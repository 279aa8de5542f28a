//! Ctrl-C, counted: the first asks for an orderly end, the second for an end at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often Ctrl-C was pressed since [`watch`](Interrupts::watch).
#[derive(Debug, Clone, Default)]
pub struct Interrupts(Arc<AtomicU32>);

impl Interrupts {
    /// From now on Ctrl-C does not end the process any more, but is counted.
    pub fn watch() -> Self {
        let interrupts = Self::default();
        let count = Arc::clone(&interrupts.0);
        // Detached: it waits for signals until the process ends.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build();
            if let Ok(runtime) = runtime {
                runtime.block_on(async {
                    while tokio::signal::ctrl_c().await.is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        interrupts
    }

    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
