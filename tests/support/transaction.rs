//! A transaction as any client may have it: begun, written to, and then committed, aborted, or left hanging.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::produce::{NewRecord, plain_record};
use super::unique;

const PATIENCE: Duration = Duration::from_secs(30);

/// Open until `commit` or `abort`. Dropped without either it hangs, until the broker aborts it after two minutes.
pub struct Transaction(BaseProducer);

impl Transaction {
    pub fn begin(brokers: &str, name: &str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", unique(name))
            .set("transaction.timeout.ms", "120000")
            .set("log_level", "3")
            .create()
            .expect("a producer");
        producer.init_transactions(PATIENCE).expect("transactions");
        producer.begin_transaction().expect("a transaction");
        Self(producer)
    }

    /// Sends, and waits until the broker has them.
    pub fn send(&self, topic: &str, records: &[NewRecord]) {
        for record in records {
            self.0
                .send(plain_record(topic, record))
                .unwrap_or_else(|(e, _)| panic!("sending to {topic}: {e}"));
        }
        self.0.flush(PATIENCE).expect("the records are there");
    }

    pub fn commit(self) {
        self.0.commit_transaction(PATIENCE).expect("the commit");
    }

    pub fn abort(self) {
        self.0.abort_transaction(PATIENCE).expect("the abort");
    }
}
