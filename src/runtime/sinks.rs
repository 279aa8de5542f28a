//! Between a reader and the engine: records are decoded on the reader's thread and handed over in batches.

use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender};

use super::input::Input;
use super::lines::AckLine;
use crate::core::types::AckIx;
use crate::core::types::Lane;
use crate::core::{AckBatch, SourceBatch, TopicIx};
use crate::kafka::reader::{Applied, BATCH_MAX, RecordSink};
use crate::ports::RawRecord;
use crate::wire::ack::AckDecoder;
use crate::wire::rules::DecodeRules;
use crate::wire::source::SourceDecoder;

/// A partition of which the broker has not got the offset that was asked for: its log start is to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    pub lane: Lane,
    pub topic: String,
    pub partition: i32,
    /// Of the order to read it.
    pub generation: u64,
}

/// What the source reader reads.
pub struct SourceSink {
    decoder: SourceDecoder,
    batch: SourceBatch,
    inputs: SyncSender<Input>,
    lost: Sender<OutOfRange>,
}

impl SourceSink {
    #[must_use]
    pub fn new(
        rules: Arc<DecodeRules>,
        inputs: SyncSender<Input>,
        lost: Sender<OutOfRange>,
    ) -> Self {
        Self {
            decoder: SourceDecoder::new(rules),
            batch: SourceBatch::default(),
            inputs,
            lost,
        }
    }
}

impl RecordSink for SourceSink {
    fn record(&mut self, record: &RawRecord<'_>) {
        self.batch.records.extend(self.decoder.decode(record));
    }

    fn end_of_batch(&mut self, applied: &[Applied]) {
        let next = SourceBatch {
            records: Vec::with_capacity(BATCH_MAX),
            applied: Vec::new(),
        };
        let mut batch = std::mem::replace(&mut self.batch, next);
        let mut orders = Vec::with_capacity(applied.len());
        for a in applied {
            if let Some(TopicIx(ix)) = self.decoder.topic_ix(&a.topic) {
                batch.applied.push((TopicIx(ix), a.partition, a.position));
                orders.push(a.generation);
            }
        }
        // The engine is gone: we are ending.
        let _ = self.inputs.send(Input::Source { batch, orders });
    }

    fn out_of_range(&mut self, topic: &str, partition: i32, generation: u64) {
        let _ = self.lost.send(OutOfRange {
            topic: topic.to_owned(),
            partition,
            generation,
            lane: Lane::Main,
        });
    }
}

/// What the ACK reader reads.
pub struct AckSink {
    decoder: AckDecoder,
    /// One for each ACK topic of which something was read: nearly always one.
    batches: Vec<AckBatch>,
    line: AckLine,
    lost: Sender<OutOfRange>,
    lane: Lane,
}

impl AckSink {
    #[must_use]
    pub fn new(
        lane: Lane,
        rules: Arc<DecodeRules>,
        line: AckLine,
        lost: Sender<OutOfRange>,
    ) -> Self {
        Self {
            decoder: AckDecoder::new(rules),
            batches: Vec::new(),
            line,
            lost,
            lane,
        }
    }

    /// The batch of that topic. Those of one read are few, and records come in runs: the last one is nearly always it.
    fn batch(&mut self, ack: AckIx) -> &mut AckBatch {
        let found = self.batches.iter().rposition(|b| b.ack == ack);
        let at = found.unwrap_or_else(|| {
            self.batches.push(AckBatch {
                ack,
                records: Vec::with_capacity(BATCH_MAX),
                applied: Vec::new(),
                generation: 0,
                lane: self.lane,
            });
            self.batches.len() - 1
        });
        &mut self.batches[at]
    }
}

impl RecordSink for AckSink {
    fn record(&mut self, record: &RawRecord<'_>) {
        if let Some((ack, record)) = self.decoder.decode(record) {
            self.batch(ack).records.push(record);
        }
    }

    fn end_of_batch(&mut self, applied: &[Applied]) {
        for a in applied {
            if let Some(ack) = self.decoder.ack_ix(&a.topic) {
                let batch = self.batch(ack);
                batch.generation = a.generation;
                batch.applied.push((a.partition, a.position));
            }
        }
        for batch in self.batches.drain(..) {
            // What was read again moves nothing, and says nothing new.
            if !batch.applied.is_empty() {
                let _ = self.line.put(batch);
            }
        }
    }

    fn out_of_range(&mut self, topic: &str, partition: i32, generation: u64) {
        let _ = self.lost.send(OutOfRange {
            topic: topic.to_owned(),
            partition,
            generation,
            lane: self.lane,
        });
    }
}

/// What comes on the state topic while we run: other instances' changes, and our own once more.
pub struct StateSink(pub SyncSender<Input>);

impl RecordSink for StateSink {
    fn record(&mut self, record: &RawRecord<'_>) {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let _ = self.0.send(Input::State {
            offset: record.offset,
            key: owned(record.key),
            value: owned(record.value),
        });
    }

    fn end_of_batch(&mut self, _applied: &[Applied]) {}

    fn out_of_range(&mut self, topic: &str, _partition: i32, _generation: u64) {
        tracing::error!(
            topic,
            "the state topic lost records that were not read: changes that users made elsewhere may not hold here until a restart"
        );
    }
}
