//! A transaction as any client may have it: begun, written to, and then committed, aborted, or left hanging.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::produce::{NewRecord, Place, Reports, send_all};
use super::unique;

const PATIENCE: Duration = Duration::from_secs(30);

/// Open until `commit` or `abort`. Dropped without either it hangs, until the broker aborts it after two minutes.
pub struct Transaction(BaseProducer<Reports>);

impl Transaction {
    pub fn begin(brokers: &str, name: &str) -> Self {
        let producer: BaseProducer<Reports> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", unique(name))
            .set("transaction.timeout.ms", "120000")
            .set("log_level", "3")
            .create_with_context(Reports::default())
            .expect("a producer");
        producer.init_transactions(PATIENCE).expect("transactions");
        producer.begin_transaction().expect("a transaction");
        Self(producer)
    }

    /// Sends, and waits until the broker has them; says where, in the order of the records.
    pub fn send(&self, topic: &str, records: &[NewRecord]) -> Vec<Place> {
        send_all(&self.0, topic, records)
    }

    pub fn commit(self) {
        self.0.commit_transaction(PATIENCE).expect("the commit");
    }

    pub fn abort(self) {
        self.0.abort_transaction(PATIENCE).expect("the abort");
    }
}
