//! A coordinator with much outstanding, and messages that go by.

use std::time::Duration;

use ::ackwarden::clock;

use super::flow::Flow;
use super::serve::{Serve, Setup};

const SETTLED_WITHIN: Duration = Duration::from_secs(180);

pub struct Loaded<'a> {
    pub serve: Serve,
    pub brokers: &'a str,
    pub setup: Setup<'a>,
    /// What is never acknowledged.
    pub outstanding: u64,
    pub flow: Flow<'a>,
}

impl Loaded<'_> {
    /// With these lines more in `[store]`; ready when it returns.
    pub fn restart(&mut self, store: &str) {
        self.serve.terminate();
        let setup = Setup {
            store,
            ..self.setup
        };
        self.serve.configure(self.brokers, setup);
        self.serve.start_again();
        self.serve.wait_ready();
        assert_eq!(self.serve.stats()["outstanding"], self.outstanding);
        self.serve.wait_checkpoints(1);
    }

    /// Until all that went by is settled.
    pub fn wait_settled(&self) {
        let start = clock::instant();
        while self.serve.stats()["outstanding"] != self.outstanding {
            assert!(
                start.elapsed() < SETTLED_WITHIN,
                "{}\n{}",
                self.serve.stats(),
                self.serve.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
