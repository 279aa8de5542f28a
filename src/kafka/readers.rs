//! Several readers of the same topics, each with its share of the partitions.
//!
//! librdkafka has one fetch under way for each broker, and a broker hands its answer out in pieces of its socket's send
//! buffer (100 kB unless configured otherwise): one connection spends most of its time waiting, whatever it reads. Two
//! keep each other's broker and cores busy (docs/performance.md has what it brings).
//!
//! Invariant: a partition is read by one of them only, always the same, so that its records stay in order.

use rdkafka::ClientConfig;

use super::KafkaProblem;
use super::reader::{Reader, RecordSink};
use super::trouble::Trouble;

/// More bring little on two cores, and each is a client that fetches also when nothing comes.
const READERS: usize = 2;

/// Handles to the reading threads. Orders never wait.
pub struct Readers(Vec<Reader>);

impl Readers {
    /// `sink` makes each reader's own.
    ///
    /// # Errors
    /// As for [`Reader::spawn`].
    pub fn spawn<S: RecordSink + 'static>(
        name: &'static str,
        settings: &ClientConfig,
        trouble: &Trouble,
        sink: impl Fn() -> S,
    ) -> Result<Self, KafkaProblem> {
        (0..READERS)
            .map(|_| Reader::spawn(name, settings, trouble, sink()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// As [`Reader::read`].
    pub fn read(&self, topic: &str, partitions: &[(i32, i64)], generation: u64) {
        for (ix, reader) in self.0.iter().enumerate() {
            let share: Vec<(i32, i64)> = partitions
                .iter()
                .filter(|(partition, _)| self.ix_of(*partition) == ix)
                .copied()
                .collect();
            // Also where it has none of them: what it reads of the topic belongs to the new order from now on.
            reader.read(topic, &share, generation);
        }
    }

    pub fn stop_reading(&self, topic: &str, partition: i32) {
        self.of(partition, |reader| reader.stop_reading(topic, partition));
    }

    pub fn pause(&self, topic: &str, partition: i32, paused: bool) {
        self.of(partition, |reader| reader.pause(topic, partition, paused));
    }

    /// As [`Reader::told_ends`].
    pub fn told_ends(&self, topic: &str, ends: &[(i32, i64)]) {
        for reader in &self.0 {
            reader.told_ends(topic, ends);
        }
    }

    /// As [`Reader::close`].
    pub fn close(&mut self) {
        for reader in &mut self.0 {
            reader.close();
        }
    }

    fn of(&self, partition: i32, order: impl FnOnce(&Reader)) {
        if let Some(reader) = self.0.get(self.ix_of(partition)) {
            order(reader);
        }
    }

    fn ix_of(&self, partition: i32) -> usize {
        usize::try_from(partition).unwrap_or(0) % self.0.len().max(1)
    }
}
