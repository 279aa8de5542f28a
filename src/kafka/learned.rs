//! Topics that a client has to know before it can read them.
//!
//! A partition that is assigned while the client has never heard of its topic waits until librdkafka looks through all of
//! its topics for such, which it does once a second. That second would be in each first retry, and in each rebuild twice.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

/// Whoever does not answer within that is asked again by librdkafka itself.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// The topics that one client was told of.
#[derive(Debug, Default)]
pub struct LearnedTopics(HashSet<String>);

impl LearnedTopics {
    /// Asks for the topic's metadata, once; before anything of it is assigned. Waits for the answer.
    pub fn learn<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>, topic: &str) {
        if self.0.contains(topic) {
            return;
        }
        // A failure is nothing that reading would not say, too.
        if consumer.fetch_metadata(Some(topic), ANSWERS_WITHIN).is_ok() {
            self.0.insert(topic.to_owned());
        }
    }
}
