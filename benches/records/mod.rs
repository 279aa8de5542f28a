//! Records as a reader sees them, for the decoders: a thousand source records of 200 B and their ACKs.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each bench uses its part; a panic is the report"
)]

use std::hint::black_box;
use std::sync::Arc;

use ackwarden::config::{Overrides, load_text};
use ackwarden::core::image::{BlockEntry, BlockImage};
use ackwarden::ports::{OwnedHeader, RawRecord};
use ackwarden::wire::ack::AckDecoder;
use ackwarden::wire::rules::DecodeRules;
use ackwarden::wire::source::SourceDecoder;

use super::workload::{BATCH, id_of, split_mix};

const VALUE_BYTES: usize = 200;

/// What the decoders read, and the decoders.
pub struct Records {
    sources: SourceDecoder,
    acks: AckDecoder,
    value: Vec<u8>,
    headers: Vec<Vec<OwnedHeader>>,
    keys: Vec<String>,
    none: Vec<OwnedHeader>,
}

impl Records {
    /// With an id of 36 characters in the header `message-id`, or known by their positions.
    pub fn new(ids: bool) -> Self {
        let text = "[kafka]\nbrokers = \"127.0.0.1:9092\"\n[topics.orders]\n";
        let loaded = load_text("bench", text, std::iter::empty(), &Overrides::default()).unwrap();
        let rules = Arc::new(DecodeRules::new(&loaded.config, "cluster"));
        let id = |offset: usize| id_of(0, offset as i64);
        let header = |offset: usize| (b"message-id".to_vec(), Some(id(offset).as_bytes().to_vec()));
        let key = |offset: usize| match ids {
            true => id(offset).into(),
            false => format!("orders/0/{}", 1_000_000 + offset),
        };
        let headers = |offset: usize| Vec::from_iter(ids.then(|| header(offset)));
        Self {
            sources: SourceDecoder::new(Arc::clone(&rules)),
            acks: AckDecoder::new(rules),
            value: (0..VALUE_BYTES)
                .map(|i| split_mix(i as u64) as u8)
                .collect(),
            headers: (0..BATCH).map(headers).collect(),
            keys: (0..BATCH).map(key).collect(),
            none: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.headers.len()
    }

    pub fn decode_sources(&mut self) {
        for (offset, headers) in self.headers.iter().enumerate() {
            let raw = RawRecord {
                topic: "orders",
                partition: 0,
                offset: 1_000_000 + offset as i64,
                timestamp_ms: 1_700_000_000_000,
                key: None,
                value: Some(&self.value),
                headers,
            };
            black_box(self.sources.decode(black_box(&raw))).unwrap();
        }
    }

    pub fn decode_acks(&mut self) {
        for (offset, key) in self.keys.iter().enumerate() {
            let raw = RawRecord {
                topic: "orders-acks",
                partition: 0,
                offset: offset as i64,
                timestamp_ms: 1_700_000_000_000,
                key: Some(key.as_bytes()),
                value: None,
                headers: &self.none,
            };
            black_box(self.acks.decode(black_box(&raw))).unwrap();
        }
    }
}

/// A full block of a checkpoint.
pub fn block(ids: bool) -> BlockImage {
    let entry = |slot: u16| BlockEntry {
        slot,
        seen_wall_ms: 1_700_000_000_000 + i64::from(slot / 50),
        len: 200,
        digest: split_mix(u64::from(slot)),
    };
    let id = |slot: u16| (slot, id_of(0, i64::from(slot)));
    BlockImage {
        base: 4_096,
        entries: (0..1_024).map(entry).collect(),
        ids: (0..1_024).filter(|_| ids).map(id).collect(),
    }
}
