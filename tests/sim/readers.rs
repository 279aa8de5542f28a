//! The readers of an instance: batches of what the logs have, or that they do not have it any more.

#[path = "../../benches/workload/mark.rs"]
mod mark;

use ackwarden::core::record::SourceExtra;
use ackwarden::core::types::Lane;
use ackwarden::core::{AckBatch, Event, SourceBatch, SourceRecord};

use self::mark::mark_of;
use crate::world::{A, Sent, T, World};

impl World {
    pub fn readers_read(&mut self) {
        if self.later.chance(self.faults.more.long_stalls) {
            self.me.source_held_until = self.now_ms + self.later.below(3_000);
        }
        if !self.rng.chance(self.faults.reader_stalls) && self.now_ms >= self.me.source_held_until {
            let mut batch = SourceBatch::default();
            let mut out_of_range = Vec::new();
            for (p, position) in &mut self.me.source_reader {
                if self.me.paused.contains(p) {
                    continue;
                }
                let (log, state) = (&self.source[*p as usize], &self.source_logs[*p as usize]);
                if *position < state.start as i64 {
                    out_of_range.push((*p, state.start as i64, log.len() as i64));
                    continue;
                }
                let end = state.stable(log.len()) as i64;
                let to = (*position + 1 + self.rng.below(20) as i64).min(end);
                for offset in *position..to {
                    if let Some(sent) = log[offset as usize].as_ref().filter(|s| !s.gone) {
                        batch.records.push(record(*p, offset, sent));
                    }
                }
                if to > *position {
                    *position = to;
                    batch.applied.push((T, *p, to));
                }
            }
            if !batch.applied.is_empty() {
                self.handle(Event::SourceBatch(batch));
            }
            for (partition, log_start, log_end) in out_of_range {
                self.me.source_reader.remove(&partition);
                self.handle(Event::SourceOutOfRange {
                    topic: T,
                    partition,
                    log_start,
                    log_end,
                });
            }
        }
        if !self.rng.chance(self.faults.reader_stalls) {
            let mut batch = AckBatch {
                ack: A,
                records: Vec::new(),
                applied: Vec::new(),
                generation: self.me.ack_generation,
                lane: Lane::Main,
            };
            let mut out_of_range = Vec::new();
            for (a, position) in &mut self.me.ack_reader {
                let (log, state) = (&self.acks[*a as usize], &self.ack_logs[*a as usize]);
                if *position < state.start as i64 {
                    out_of_range.push((*a, state.start as i64));
                    continue;
                }
                let end = state.stable(log.len()) as i64;
                let to = (*position + 1 + self.rng.below(20) as i64).min(end);
                for offset in *position..to {
                    if let Some(acked) = &log[offset as usize] {
                        batch.records.push(acked.record.clone());
                    }
                }
                if to > *position || self.me.acks_begun.remove(a) {
                    *position = to.max(*position);
                    batch.applied.push((*a, *position));
                }
            }
            if !batch.applied.is_empty() {
                self.me.ack_batches.push_back(batch);
            }
            self.acks_out_of_range(Lane::Main, out_of_range);
        }
        self.rebuild_reader_reads();
        if self.later.chance(self.faults.more.long_stalls) {
            self.me.acks_held_until = self.now_ms + self.later.below(3_000);
        }
        while !self.me.ack_batches.is_empty() && self.now_ms >= self.me.acks_held_until {
            if let Some(batch) = self.me.ack_batches.pop_front() {
                if batch.generation == self.me.ack_generation {
                    self.me.acks_applied.extend(batch.applied.iter().copied());
                } else {
                    self.seen.stale_batches += 1;
                }
                let open = self.shared_and_open(&batch);
                self.handle(Event::AckBatch(batch));
                self.judge_shared(&open);
            }
        }
    }

    fn rebuild_reader_reads(&mut self) {
        if self.me.rebuild_reader.is_empty() || self.group.rng.chance(self.faults.reader_stalls) {
            return;
        }
        let mut batch = AckBatch {
            ack: A,
            records: Vec::new(),
            applied: Vec::new(),
            generation: self.me.rebuild_generation,
            lane: Lane::Rebuild,
        };
        let mut out_of_range = Vec::new();
        for (a, position) in &mut self.me.rebuild_reader {
            let (log, state) = (&self.acks[*a as usize], &self.ack_logs[*a as usize]);
            if *position < state.start as i64 {
                out_of_range.push((*a, state.start as i64));
                continue;
            }
            let end = state.stable(log.len()) as i64;
            let to = (*position + 1 + self.group.rng.below(20) as i64).min(end);
            let new = &log[*position as usize..to.max(*position) as usize];
            batch
                .records
                .extend(new.iter().flatten().map(|a| a.record.clone()));
            if to > *position || self.me.rebuild_begun.remove(a) {
                *position = to.max(*position);
                batch.applied.push((*a, *position));
            }
        }
        if !batch.applied.is_empty() {
            self.handle(Event::AckBatch(batch));
        }
        self.acks_out_of_range(Lane::Rebuild, out_of_range);
    }

    fn acks_out_of_range(&mut self, lane: Lane, which: Vec<(i32, i64)>) {
        let (reader, generation) = match lane {
            Lane::Main => (&mut self.me.ack_reader, self.me.ack_generation),
            Lane::Rebuild => (&mut self.me.rebuild_reader, self.me.rebuild_generation),
        };
        for (partition, _) in &which {
            reader.remove(partition);
        }
        for (partition, log_start) in which {
            self.handle(Event::AckOutOfRange {
                ack: A,
                lane,
                generation,
                partition,
                log_start,
            });
        }
    }
}

pub fn record(partition: i32, offset: i64, sent: &Sent) -> SourceRecord {
    SourceRecord {
        topic: T,
        partition,
        offset,
        timestamp_ms: sent.at_ms as i64,
        len: 10,
        digest: sent.digest,
        extra: Some(Box::new(SourceExtra {
            id: Some(format!("m{}", sent.id).into()),
            copy: sent.copy.as_ref().map(mark_of),
            ..SourceExtra::default()
        })),
    }
}
