//! Whether a record has headers is seen at the record's own bytes, without librdkafka's parser: that has to hold for
//! whatever stands before them, in every codec.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::{Sender, channel};

use ackwarden::config::KafkaConfig;
use ackwarden::kafka::reader::{Applied, Reader, RecordSink};
use ackwarden::kafka::settings::ClientSettings;
use ackwarden::kafka::trouble::Trouble;
use ackwarden::ports::{OwnedHeader, RawRecord};

use crate::require_kafka;
use crate::scene::secs;
use crate::support::produce::{NewRecord, produce_with};
use crate::support::topics::{self, TopicSpec};
use crate::support::unique;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Hands on the headers of each record, in order.
struct Headers(Sender<Vec<OwnedHeader>>);

impl RecordSink for Headers {
    fn record(&mut self, record: &RawRecord<'_>) {
        let mut found = Vec::new();
        record.headers.visit(&mut |name, value| {
            found.push((name.to_vec(), value.map(<[u8]>::to_vec)));
            ControlFlow::Continue(())
        });
        let _ = self.0.send(found);
    }

    fn end_of_batch(&mut self, _applied: &[Applied]) {}

    fn out_of_range(&mut self, topic: &str, partition: i32, _generation: u64) {
        panic!("{topic}/{partition} is out of range");
    }
}

#[test]
fn headers_are_seen_whatever_stands_before_them() {
    let kafka = require_kafka!();
    let topic = unique("headers");
    topics::create(&kafka.brokers(), &TopicSpec::new(&topic, 1));
    let records = every_shape();
    for codec in CODECS {
        let properties = [("compression.type", codec), ("linger.ms", "100")];
        produce_with(&kafka.brokers(), &topic, &records, &properties);
    }

    let settings = ClientSettings::new(&KafkaConfig {
        brokers: kafka.brokers(),
        group_id: unique("headers"),
        instance_id: None,
        state_topic: "none".into(),
        properties: BTreeMap::new(),
        consumer: BTreeMap::new(),
        producer: BTreeMap::new(),
    });
    let (seen, sees) = channel();
    let mut reader = Reader::spawn(
        "headers",
        &settings.reader("headers"),
        &Trouble::default(),
        Headers(seen),
    )
    .expect("a reader");
    reader.read(&topic, &[(0, 0)], 1);
    for codec in CODECS {
        for record in &records {
            let found = sees.recv_timeout(secs(60)).expect("a record");
            assert_eq!(found, record.headers, "{codec}: {record:?}");
        }
    }
    reader.close();
}

/// Each kind of key, value and headers with each of the others.
fn every_shape() -> Vec<NewRecord> {
    // Among them what looks like "no headers" and like "null, no headers" where it is not looked for.
    let parts: [Option<&[u8]>; 6] = [
        None,
        Some(b""),
        Some(b"text"),
        Some(&[0, 0, 0]),
        Some(&[1, 0]),
        Some(&[7; 300]),
    ];
    let many: Vec<OwnedHeader> = (0..70)
        .map(|n| (format!("h{n}").into_bytes(), None))
        .collect();
    let headers: [Vec<OwnedHeader>; 4] = [
        Vec::new(),
        vec![(b"one".to_vec(), Some(b"value".to_vec()))],
        vec![(b"".to_vec(), None)],
        many,
    ];
    let mut records = Vec::new();
    for key in parts {
        for value in parts {
            for headers in &headers {
                records.push(NewRecord {
                    partition: Some(0),
                    key: key.map(<[u8]>::to_vec),
                    value: value.map(<[u8]>::to_vec),
                    headers: headers.clone(),
                });
            }
        }
    }
    records
}
