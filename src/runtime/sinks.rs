//! Between a reader and the engine: records are decoded on the reader's thread and handed over in batches.

use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender};

use super::input::Input;
use crate::core::types::AckIx;
use crate::core::{AckBatch, AckRecord, Event, SourceBatch, TopicIx};
use crate::kafka::reader::{Applied, RecordSink};
use crate::ports::RawRecord;
use crate::wire::ack::AckDecoder;
use crate::wire::rules::DecodeRules;
use crate::wire::source::SourceDecoder;

/// A partition of which the broker has not got the offset that was asked for: its log start is to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    pub topic: String,
    pub partition: i32,
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
        let mut batch = std::mem::take(&mut self.batch);
        for a in applied {
            if let Some(TopicIx(ix)) = self.decoder.topic_ix(&a.topic) {
                batch.applied.push((TopicIx(ix), a.partition, a.position));
            }
        }
        self.batch.records.reserve(batch.records.len());
        // The engine is gone: we are ending.
        let _ = self.inputs.send(Input::Event(Event::SourceBatch(batch)));
    }

    fn out_of_range(&mut self, topic: &str, partition: i32) {
        let _ = self.lost.send(OutOfRange {
            topic: topic.to_owned(),
            partition,
        });
    }
}

/// What the ACK reader reads.
pub struct AckSink {
    decoder: AckDecoder,
    records: Vec<(AckIx, AckRecord)>,
    inputs: SyncSender<Input>,
    lost: Sender<OutOfRange>,
}

impl AckSink {
    #[must_use]
    pub fn new(
        rules: Arc<DecodeRules>,
        inputs: SyncSender<Input>,
        lost: Sender<OutOfRange>,
    ) -> Self {
        Self {
            decoder: AckDecoder::new(rules),
            records: Vec::new(),
            inputs,
            lost,
        }
    }
}

impl RecordSink for AckSink {
    fn record(&mut self, record: &RawRecord<'_>) {
        self.records.extend(self.decoder.decode(record));
    }

    fn end_of_batch(&mut self, applied: &[Applied]) {
        // One batch for each ACK topic that is in it: nearly always one.
        let mut batches: Vec<AckBatch> = Vec::new();
        let mut of = |ack: AckIx, generation: u64| -> usize {
            if let Some(at) = batches.iter().position(|b| b.ack == ack) {
                return at;
            }
            batches.push(AckBatch {
                ack,
                records: Vec::new(),
                applied: Vec::new(),
                generation,
            });
            batches.len() - 1
        };
        let mut places = Vec::with_capacity(applied.len());
        for a in applied {
            if let Some(ack) = self.decoder.ack_ix(&a.topic) {
                places.push((of(ack, a.generation), a.partition, a.position));
            }
        }
        if batches.len() == 1 {
            let size = self.records.len();
            let records = std::mem::replace(&mut self.records, Vec::with_capacity(size));
            batches[0].records = records.into_iter().map(|(_, record)| record).collect();
        } else {
            for (ack, record) in self.records.drain(..) {
                if let Some(batch) = batches.iter_mut().find(|b| b.ack == ack) {
                    batch.records.push(record);
                }
            }
        }
        for (place, partition, position) in places {
            batches[place].applied.push((partition, position));
        }
        for batch in batches {
            let _ = self.inputs.send(Input::Event(Event::AckBatch(batch)));
        }
    }

    fn out_of_range(&mut self, topic: &str, partition: i32) {
        let _ = self.lost.send(OutOfRange {
            topic: topic.to_owned(),
            partition,
        });
    }
}
