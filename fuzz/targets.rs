//! What is fuzzed: decoders of bytes that come from outside, or from a disk. No input may make one panic; what is stored
//! comes back the same when it is encoded and decoded again; and where there is another way to the same answer, both give
//! it. docs/testing.md says what is demanded of which, and what is not fuzzed.
//!
//! One function a target: `fuzz_targets/` hands them to libFuzzer, `tests/fuzz_corpus/` replays the corpus. What is
//! behind a checksum or base64 is also tried with that made right, since no fuzzer guesses a checksum.

#![allow(dead_code, reason = "each fuzz target uses one of them")]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ackwarden::config::policy_json::{patch_from_json, patch_to_json};
use ackwarden::config::{Overrides, load_text};
use ackwarden::core::record::{AckRecord, SourceRecord};
use ackwarden::http::cursor;
use ackwarden::ports::{OwnedHeader, RawRecord};
use ackwarden::wire::ack::AckDecoder;
use ackwarden::wire::pointer::{Found, JsonPointer};
use ackwarden::wire::rules::DecodeRules;
use ackwarden::wire::source::SourceDecoder;
use ackwarden::wire::state::StateRecord;
use ackwarden::wire::{commit, stored};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 10] = [
    ("source_record", source_record),
    ("ack_record", ack_record),
    ("json_pointer", json_pointer),
    ("commit_metadata", commit_metadata),
    ("stored_bytes", stored_bytes),
    ("state_record", state_record),
    ("configuration", configuration),
    ("environment", environment),
    ("policy_patch", policy_patch),
    ("page_cursor", page_cursor),
];

/// Source topics, one for each way to name a message and one for all of them; the first byte of an input chooses.
pub const SOURCES: [&str; 6] = ["header", "events", "json", "key", "position", "all"];
/// ACK topics: each source's own, and the one that `key`, `position` and `all` share.
pub const ACK_TOPICS: [&str; 4] = ["header-acks", "events-acks", "json-acks", "shared"];

const CONFIG: &str = r#"
[kafka]
brokers = "127.0.0.1:9092"
[topics.header]
id = ["header:message-id"]
[topics.events]
id = ["cloudevents"]
ack_id = ["cloudevents"]
[topics.json]
id = ["json:/order/id"]
ack_id = ["json:/order_id"]
[topics.key]
id = ["key"]
ack_topic = "shared"
[topics.position]
ack_topic = "shared"
[topics.all]
id = ["header:message-id", "cloudevents", "json:/0/~1", "key", "position"]
ack_topic = "shared"
"#;

fn rules() -> Arc<DecodeRules> {
    static RULES: OnceLock<Arc<DecodeRules>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let loaded = load_text("fuzz", CONFIG, std::iter::empty(), &Overrides::default());
        let config = loaded.map(|l| l.config);
        Arc::new(DecodeRules::new(&config.expect("it is right"), "c1"))
    });
    Arc::clone(rules)
}

/// Between two fields: a byte that is in no UTF-8 text.
pub const NEXT: u8 = 0xff;
/// A field that is null.
pub const NULL: &[u8] = &[0xfe];

/// A record out of any bytes: one that chooses the topic, then key, value, and each header's name and value.
fn with_record<R>(topics: &[&str], data: &[u8], then: impl FnOnce(&RawRecord<'_>) -> R) -> R {
    let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut fields = rest.split(|b| *b == NEXT).map(|f| (f != NULL).then_some(f));
    let (key, value) = (fields.next().flatten(), fields.next().flatten());
    let mut headers: Vec<OwnedHeader> = Vec::new();
    while let Some(name) = fields.next() {
        let value = fields.next().flatten();
        headers.push((name.unwrap_or_default().to_vec(), value.map(<[u8]>::to_vec)));
    }
    then(&RawRecord {
        topic: topics[usize::from(*choice) % topics.len()],
        partition: 3,
        offset: 1_042,
        timestamp_ms: 1_700_000_000_000,
        key,
        value,
        headers: &headers,
    })
}

/// What the decoder of source records makes of it, after the same decoder has seen another one.
pub fn source_of(data: &[u8]) -> SourceRecord {
    let mut decoder = SourceDecoder::new(rules());
    let mut decode = || with_record(&SOURCES, data, |raw| decoder.decode(raw));
    let once = decode().expect("a tracked topic");
    assert_eq!(decode().as_ref(), Some(&once), "it remembers");
    once
}

pub fn source_record(data: &[u8]) {
    let _ = source_of(data);
}

/// The same for ACK records.
pub fn ack_of(data: &[u8]) -> AckRecord {
    let mut decoder = AckDecoder::new(rules());
    let mut decode = || with_record(&ACK_TOPICS, data, |raw| decoder.decode(raw));
    let (ix, once) = decode().expect("an ACK topic");
    assert_eq!(decode(), Some((ix, once.clone())), "it remembers");
    once
}

pub fn ack_record(data: &[u8]) {
    let _ = ack_of(data);
}

/// A pointer, and behind the first [`NEXT`] the document.
pub fn json_pointer(data: &[u8]) {
    let mut fields = data.splitn(2, |b| *b == NEXT);
    let pointer = fields.next().unwrap_or_default();
    let document = fields.next().unwrap_or_default();
    let Ok(pointer) = std::str::from_utf8(pointer) else {
        return;
    };
    let found = JsonPointer::new(pointer).find(document);
    let Ok(whole) = serde_json::from_slice::<Value>(document) else {
        // Nesting too deep for serde_json's tree may be skipped.
        return;
    };
    let fits = |text: &str| (1..=512).contains(&text.len());
    let expected = match whole.pointer(pointer) {
        None | Some(Value::Null) => Found::Absent,
        Some(Value::String(text)) if fits(text) => Found::Text(text.clone()),
        Some(Value::Number(n)) if n.is_i64() || n.is_u64() => Found::Text(n.to_string()),
        Some(_) => Found::Unfit,
    };
    assert_eq!(found, expected, "{pointer}");
}

pub fn commit_metadata(data: &[u8]) {
    read_commit(data);
    let crc = crc32fast::hash(data).to_le_bytes();
    let body = URL_SAFE_NO_PAD.encode([data, &crc].concat());
    read_commit(format!("a1:{body}").as_bytes());
    read_commit(format!("a2:{body}").as_bytes());
}

fn read_commit(metadata: &[u8]) {
    let Ok(meta) = commit::decode(metadata) else {
        return;
    };
    let text = commit::encode(&meta);
    assert!(text.len() <= commit::METADATA_BYTES_MAX);
    let again = commit::decode(text.as_bytes()).expect("what we write we can read");
    let read: BTreeMap<i32, i64> = meta.acks.iter().copied().collect();
    let read = |n: &i32| read.get(n).copied().unwrap_or(0);
    assert!(again.acks.iter().all(|(n, at)| *at <= read(n)), "E went up");
}

pub fn stored_bytes(data: &[u8]) {
    if let Ok(block) = stored::decode_block(data) {
        let bytes = stored::encode_block(&block);
        assert_eq!(stored::decode_block(&bytes), Ok(block));
    }
    if let Ok(details) = stored::decode_details(data) {
        let bytes = stored::encode_details(details.iter());
        assert_eq!(stored::decode_details(&bytes), Ok(details));
    }
    if let Ok(root) = stored::decode_partition(data) {
        let bytes = stored::encode_partition(&root);
        assert_eq!(stored::decode_partition(&bytes), Ok(root));
    }
    if let Ok(identity) = stored::decode_identity(data) {
        let bytes = stored::encode_identity(&identity);
        assert_eq!(stored::decode_identity(&bytes), Ok(identity));
    }
    let _ = stored::unseal(b"address", data);
    let sealed = stored::seal(b"address", data);
    assert_eq!(stored::unseal(b"address", &sealed), Ok(data));
}

/// A key, and behind the first [`NEXT`] the value; without it a null.
pub fn state_record(data: &[u8]) {
    let mut fields = data.splitn(2, |b| *b == NEXT);
    let (key, value) = (fields.next(), fields.next());
    if let Ok(record) = StateRecord::decode(key, value) {
        let (key, value) = record.encode();
        let again = StateRecord::decode(Some(&key), value.as_deref());
        assert_eq!(again.expect("what we write we can read"), record);
    }
}

pub fn configuration(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(error) = load_text("fuzz", text, std::iter::empty(), &Overrides::default())
    {
        assert!(!error.to_string().is_empty());
    }
}

/// Variables over [`CONFIG`]: names and values, each behind a [`NEXT`].
pub fn environment(data: &[u8]) {
    let mut fields = data.split(|b| *b == NEXT).map(String::from_utf8_lossy);
    let vars = std::iter::from_fn(|| {
        let name = format!("ACKWARDEN__{}", fields.next()?);
        Some((name, fields.next().unwrap_or_default().into_owned()))
    });
    if let Err(error) = load_text("fuzz", CONFIG, vars, &Overrides::default()) {
        assert!(!error.to_string().is_empty());
    }
}

/// The body of a PATCH of a topic: what is accepted is shown as what it is.
pub fn policy_patch(data: &[u8]) {
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(data) else {
        return;
    };
    match patch_from_json(&members, "orders") {
        Ok(patch) => {
            let shown = patch_to_json(&patch);
            assert_eq!(patch_from_json(&shown, "orders"), Ok(patch), "{shown:?}");
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
}

/// As it is, and as what is behind the version and the filter of a cursor.
pub fn page_cursor(data: &[u8]) {
    const FILTER: u64 = 7;
    if let Ok(text) = std::str::from_utf8(data) {
        read_cursor(text, FILTER);
    }
    let bytes = [&[1], &FILTER.to_be_bytes()[..], data].concat();
    read_cursor(&URL_SAFE_NO_PAD.encode(bytes), FILTER);
}

fn read_cursor(text: &str, filter: u64) {
    if let Ok(found) = cursor::from_text(text, filter) {
        let text = cursor::to_text(found, filter);
        assert_eq!(cursor::from_text(&text, filter), Ok(found));
    }
}
