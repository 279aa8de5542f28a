//! Complaints of clients that are only read in batches reach the API and the log, not librdkafka's own printer.

use std::time::Duration;

use ackwarden::clock;
use ackwarden::kafka::fetch::{Answers, FetchRequest, Fetcher, Wanted};
use ackwarden::kafka::reader::{Applied, Reader, RecordSink};
use ackwarden::kafka::settings::ClientSettings;
use ackwarden::kafka::trouble::Trouble;
use ackwarden::ports::RawRecord;

use super::PATIENCE;

struct Nowhere;

impl RecordSink for Nowhere {
    fn record(&mut self, _: &RawRecord<'_>) {}
    fn end_of_batch(&mut self, _: &[Applied]) {}
    fn out_of_range(&mut self, _: &str, _: i32, _: u64) {}
}

/// Settings that name a port where nobody listens.
fn nobody_listens() -> ClientSettings {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port();
    ClientSettings::new(&super::config(format!("127.0.0.1:{port}")))
}

fn complaint(trouble: &Trouble) -> String {
    let start = clock::instant();
    loop {
        if let Some(text) = trouble.recent() {
            return text;
        }
        assert!(start.elapsed() < PATIENCE, "no complaint came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_reader_that_cannot_connect_complains_with_the_cure() {
    let trouble = Trouble::default();
    let reader = Reader::spawn(
        "reader",
        &nobody_listens().reader("test"),
        &trouble,
        Nowhere,
    )
    .expect("a reader");
    reader.read("orders", &[(0, 0)], 1);
    let said = complaint(&trouble);
    assert!(said.contains("kafka.brokers"), "{said}");
    assert!(!said.contains("[thrd:"), "{said}");
}

#[test]
fn a_fetcher_that_cannot_connect_complains_with_the_cure() {
    let trouble = Trouble::default();
    let fetcher = Fetcher::spawn(
        &nobody_listens().reader("test"),
        &trouble,
        |_: Answers<u8>| {},
    )
    .expect("a fetcher");
    fetcher.fetch(FetchRequest {
        topic: "orders".into(),
        wanted: vec![Wanted {
            token: 0,
            partition: 0,
            offset: 0,
        }],
    });
    let said = complaint(&trouble);
    assert!(said.contains("kafka.brokers"), "{said}");
}
