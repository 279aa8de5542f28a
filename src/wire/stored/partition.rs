//! The root of a kept partition (its header, and what vouches for the rest of it), and the store's identity.

use super::StoredError;
use super::bytes::{Reader, Writer};
use crate::core::image::PartitionHeader;
use crate::ports::StoreIdentity;

/// What a kept partition hangs on: without it, there is nothing of the partition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartitionRoot {
    pub topic: String,
    pub partition: i32,
    /// Of the topic that it is about; empty: not told.
    pub topic_id: String,
    /// False: deltas were laid over something that could not be trusted, so this cannot be either.
    pub whole: bool,
    /// How many other records belong to it, and the sum of their digests.
    pub records: u64,
    pub digest_sum: u64,
    pub header: PartitionHeader,
}

/// The body of a root.
#[must_use]
pub fn encode_partition(root: &PartitionRoot) -> Vec<u8> {
    let header = &root.header;
    let acks = header.acks_applied.len() + header.low_acks.len();
    let mut w = Writer::with_capacity(64 + root.topic.len() + acks * 6 + header.timeouts.len() * 6);
    w.text(&root.topic);
    w.signed(i64::from(root.partition));
    w.text(&root.topic_id);
    w.byte(u8::from(root.whole));
    w.unsigned(root.records);
    w.fixed(root.digest_sum);
    w.signed(header.source_applied);
    w.delta(header.low, header.source_applied);
    w.signed(header.taken_wall_ms);
    put_positions(&mut w, &header.acks_applied, &[]);
    put_positions(&mut w, &header.low_acks, &header.acks_applied);
    w.count(header.timeouts.len());
    let mut offset_before = 0;
    for &(offset, timeout_ms) in &header.timeouts {
        w.delta(offset, offset_before);
        w.unsigned(timeout_ms);
        offset_before = offset;
    }
    w.into_bytes()
}

/// Reads what [`encode_partition`] wrote.
///
/// # Errors
/// [`StoredError::Malformed`].
pub fn decode_partition(body: &[u8]) -> Result<PartitionRoot, StoredError> {
    let mut r = Reader::new(body);
    let topic = r.text()?.to_owned();
    let partition = narrow_partition(r.signed()?)?;
    let topic_id = r.text()?.to_owned();
    let whole = match r.byte()? {
        0 => false,
        1 => true,
        _ => return Err(StoredError::Malformed("neither whole nor not")),
    };
    let records = r.unsigned()?;
    let digest_sum = r.fixed()?;
    let source_applied = r.signed()?;
    let low = r.delta(source_applied)?;
    let taken_wall_ms = r.signed()?;
    let acks_applied = take_positions(&mut r, &[])?;
    let low_acks = take_positions(&mut r, &acks_applied)?;
    let count = r.count(2)?;
    let mut timeouts = Vec::with_capacity(count);
    let mut offset_before = 0;
    for _ in 0..count {
        offset_before = r.delta(offset_before)?;
        timeouts.push((offset_before, r.unsigned()?));
    }
    r.end()?;
    Ok(PartitionRoot {
        topic,
        partition,
        topic_id,
        whole,
        records,
        digest_sum,
        header: PartitionHeader {
            source_applied,
            acks_applied,
            low,
            low_acks,
            taken_wall_ms,
            timeouts,
        },
    })
}

/// Offsets by partition; each offset as its distance from the one of `near` in the same place, if that is of the same
/// partition.
fn put_positions(w: &mut Writer, positions: &[(i32, i64)], near: &[(i32, i64)]) {
    w.count(positions.len());
    let mut partition_before = 0;
    for (i, &(partition, offset)) in positions.iter().enumerate() {
        w.delta(i64::from(partition), partition_before);
        w.delta(offset, base_of(near, i, partition));
        partition_before = i64::from(partition);
    }
}

fn take_positions(r: &mut Reader<'_>, near: &[(i32, i64)]) -> Result<Vec<(i32, i64)>, StoredError> {
    let count = r.count(2)?;
    let mut positions = Vec::with_capacity(count);
    let mut partition_before = 0;
    for i in 0..count {
        partition_before = r.delta(partition_before)?;
        let partition = narrow_partition(partition_before)?;
        positions.push((partition, r.delta(base_of(near, i, partition))?));
    }
    Ok(positions)
}

fn base_of(near: &[(i32, i64)], i: usize, partition: i32) -> i64 {
    near.get(i)
        .filter(|(p, _)| *p == partition)
        .map_or(0, |(_, offset)| *offset)
}

fn narrow_partition(value: i64) -> Result<i32, StoredError> {
    i32::try_from(value).map_err(|_| StoredError::Malformed("a partition out of range"))
}

/// The body of the store's identity.
#[must_use]
pub fn encode_identity(identity: &StoreIdentity) -> Vec<u8> {
    let mut w = Writer::with_capacity(64);
    w.text(&identity.instance_id);
    w.text(&identity.cluster_id);
    w.into_bytes()
}

/// Reads what [`encode_identity`] wrote.
///
/// # Errors
/// [`StoredError::Malformed`].
pub fn decode_identity(body: &[u8]) -> Result<StoreIdentity, StoredError> {
    let mut r = Reader::new(body);
    let instance_id = r.text()?.to_owned();
    let cluster_id = r.text()?.to_owned();
    r.end()?;
    Ok(StoreIdentity {
        instance_id,
        cluster_id,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = Vec<(i32, i64)>> {
        prop::collection::vec(any::<(i32, i64)>(), 0..8)
    }

    proptest! {
        #[test]
        fn every_root_survives(
            topic in ".{0,30}", topic_id in ".{0,30}", numbers in any::<(i32, bool, u64, u64, i64, i64, i64)>(),
            acks_applied in positions(), low_acks in positions(), same in any::<bool>(),
            timeouts in prop::collection::vec(any::<(i64, u64)>(), 0..5),
        ) {
            let low_acks = if same { acks_applied.clone() } else { low_acks };
            let (partition, whole, records, digest_sum, source_applied, low, taken_wall_ms) = numbers;
            let header = PartitionHeader { source_applied, acks_applied, low, low_acks, taken_wall_ms, timeouts };
            let root = PartitionRoot { topic, partition, topic_id, whole, records, digest_sum, header };
            prop_assert_eq!(decode_partition(&encode_partition(&root)), Ok(root));
        }

        #[test]
        fn every_identity_survives(instance_id in ".{0,30}", cluster_id in ".{0,30}") {
            let identity = StoreIdentity { instance_id, cluster_id };
            prop_assert_eq!(decode_identity(&encode_identity(&identity)), Ok(identity));
        }
    }

    #[test]
    fn the_bytes_of_format_1_are_still_read() {
        let root = PartitionRoot {
            topic: "orders".into(),
            partition: 3,
            topic_id: "id".into(),
            whole: true,
            records: 2,
            digest_sum: 0x0807_0605_0403_0201,
            header: PartitionHeader {
                source_applied: 1042,
                acks_applied: vec![(0, 500), (2, 700)],
                low: 1000,
                low_acks: vec![(0, 490), (1, 3)],
                taken_wall_ms: 1_700_000_000_000,
                timeouts: vec![(900, 30_000), (1001, 45_000)],
            },
        };
        let bytes = [
            6, 111, 114, 100, 101, 114, 115, 6, 2, 105, 100, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 164, 16,
            83, 128, 160, 171, 254, 249, 98, 2, 0, 232, 7, 4, 248, 10, 2, 0, 19, 2, 6, 2, 136, 14,
            176, 234, 1, 202, 1, 200, 223, 2,
        ];
        assert_eq!(encode_partition(&root), bytes);
        assert_eq!(decode_partition(&bytes), Ok(root));

        let identity = StoreIdentity {
            instance_id: "a".into(),
            cluster_id: "bc".into(),
        };
        let bytes = [1, 97, 2, 98, 99];
        assert_eq!(encode_identity(&identity), bytes);
        assert_eq!(decode_identity(&bytes), Ok(identity));
    }
}
