//! Every offset that a group ever committed, read from Kafka's own topic of them: no sample that might miss one.

use std::collections::BTreeMap;

use super::judge_time::Commit;
use super::records::{SeenRecord, read_all};

/// Where Kafka keeps them. It is compacted, but not before a segment of 100 MB is full.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// By source topic, in the order of their partition of Kafka's topic.
pub fn commits_of(brokers: &str, group: &str) -> BTreeMap<String, Vec<Commit>> {
    let mut commits: BTreeMap<String, Vec<Commit>> = BTreeMap::new();
    for record in read_all(brokers, OFFSETS_TOPIC) {
        if let Some((topic, commit)) = parse(&record, group) {
            commits.entry(topic).or_default().push(commit);
        }
    }
    commits
}

/// `None`: another group's, a group's members, or a tombstone.
fn parse(record: &SeenRecord, group: &str) -> Option<(String, Commit)> {
    let mut key = Bytes(record.key.as_deref()?);
    if key.i16()? > 1 || key.text()? != group {
        return None;
    }
    let topic = key.text()?.to_owned();
    let partition = key.i32()?;
    let mut value = Bytes(record.value.as_deref()?);
    let version = value.i16()?;
    assert!(version <= 4, "an offset's record of version {version}");
    let offset = value.i64()?;
    Some((topic, (record.timestamp_ms, partition, offset)))
}

/// Kafka's own encoding: big-endian numbers, texts with two bytes of length.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.i16()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}
