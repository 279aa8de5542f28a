//! A block of outstanding first deliveries, in columns: slots as runs, times and lengths as differences, digests as
//! they are; behind them, the labels of those that have one. Neighbours resemble each other, so an entry takes about 12 bytes, 8 of them its digest.

use super::StoredError;
use super::bytes::{Reader, Writer};
use crate::core::image::{BLOCK_OFFSETS, BlockEntry, BlockImage, Columns, Entries, Ids};

/// Digest, time and length of an entry take at least so many bytes.
const ENTRY_BYTES_MIN: usize = 8 + 1 + 1;
/// Slot and length of an id take at least so many.
const ID_BYTES_MIN: usize = 1 + 1;

/// The body of a block. Entries that are not strictly ascending, or not within the block, do not decode again.
#[must_use]
pub fn encode_block(block: &BlockImage) -> Vec<u8> {
    let mut entries: Vec<BlockEntry> = Vec::with_capacity(block.entries.len());
    entries.extend(block.entries.iter());
    let (labelled, texts) = block.labels().fold((0, 0), |(count, bytes), (_, id)| {
        (count + 1, bytes + id.len())
    });
    let mut w = Writer::with_capacity(32 + entries.len() * 14 + labelled * 4 + texts);
    w.signed(block.base);
    w.count(entries.len());

    let mut next_slot = 0_u16;
    let mut rest = entries.as_slice();
    while let Some(first) = rest.first() {
        let run = rest
            .iter()
            .zip(first.slot..=u16::MAX)
            .take_while(|(entry, slot)| entry.slot == *slot)
            .count();
        w.unsigned(u64::from(first.slot.wrapping_sub(next_slot)));
        w.count(run - 1);
        next_slot = first.slot.wrapping_add(run as u16);
        rest = &rest[run..];
    }

    let mut seen_before = 0;
    for entry in &entries {
        w.delta(entry.seen_wall_ms, seen_before);
        seen_before = entry.seen_wall_ms;
    }
    let mut len_before = 0;
    for entry in &entries {
        w.delta(i64::from(entry.len), len_before);
        len_before = i64::from(entry.len);
    }
    for entry in &entries {
        w.fixed(entry.digest);
    }
    w.count(labelled);
    let mut slot_before = 0_u16;
    for (slot, id) in block.labels() {
        w.unsigned(u64::from(slot.wrapping_sub(slot_before)));
        w.text(id);
        slot_before = slot;
    }
    w.into_bytes()
}

/// Reads what [`encode_block`] wrote.
///
/// # Errors
/// [`StoredError::Malformed`].
pub fn decode_block(body: &[u8]) -> Result<BlockImage, StoredError> {
    let mut r = Reader::new(body);
    let base = r.signed()?;
    let count = r.count(ENTRY_BYTES_MIN)?;
    if count > BLOCK_OFFSETS as usize {
        return Err(StoredError::Malformed("more entries than offsets"));
    }
    let mut columns = Columns {
        slots: Vec::with_capacity(count),
        seen_wall_ms: Vec::with_capacity(count),
        lens: Vec::with_capacity(count),
        digests: Vec::with_capacity(count),
    };
    let mut next_slot = 0_usize;
    while columns.slots.len() < count {
        let first = r.narrow::<u16>().map(|gap| next_slot + usize::from(gap))?;
        let run = usize::from(r.narrow::<u16>()?) + 1;
        if run > count - columns.slots.len() || first + run > BLOCK_OFFSETS as usize {
            return Err(StoredError::Malformed("a slot outside of the block"));
        }
        columns
            .slots
            .extend((first..first + run).map(|slot| slot as u16));
        next_slot = first + run;
    }
    let mut seen_before = 0;
    for _ in 0..count {
        seen_before = r.delta(seen_before)?;
        columns.seen_wall_ms.push(seen_before);
    }
    let mut len_before = 0;
    for _ in 0..count {
        len_before = r.delta(len_before)?;
        let len = u32::try_from(len_before)
            .map_err(|_| StoredError::Malformed("a length out of range"))?;
        columns.lens.push(len);
    }
    for _ in 0..count {
        columns.digests.push(r.fixed()?);
    }
    let labelled = r.count(ID_BYTES_MIN)?;
    if labelled > count {
        return Err(StoredError::Malformed("more ids than entries"));
    }
    let mut labels: Vec<(u16, &str)> = Vec::with_capacity(labelled);
    let mut slot = 0_u16;
    let mut at = 0;
    for i in 0..labelled {
        let gap = r.narrow::<u16>()?;
        slot = slot
            .checked_add(gap)
            .filter(|_| i == 0 || gap > 0)
            .ok_or(StoredError::Malformed("ids out of order"))?;
        while columns.slots.get(at).is_some_and(|entry| *entry < slot) {
            at += 1;
        }
        if columns.slots.get(at) != Some(&slot) {
            return Err(StoredError::Malformed("an id without an entry"));
        }
        let text = r.text()?;
        if text.len() > usize::from(u16::MAX) {
            return Err(StoredError::Malformed("an id out of bounds"));
        }
        labels.push((slot, text));
    }
    r.end()?;
    let texts = labels.iter().map(|(_, text)| text.len()).sum();
    Ok(BlockImage {
        base,
        entries: Entries::from(&columns),
        ids: Ids::of(labelled, texts, labels.into_iter()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(slot: u16, seen_wall_ms: i64, len: u32, digest: u64) -> BlockEntry {
        BlockEntry {
            slot,
            seen_wall_ms,
            len,
            digest,
        }
    }

    proptest! {
        #[test]
        fn every_block_survives(
            base in any::<i64>(),
            entries in prop::collection::btree_map(
                0..BLOCK_OFFSETS as u16,
                (any::<i64>(), any::<u32>(), any::<u64>(), prop::option::weighted(0.3, "[a-zé]{1,40}")), 0..1024),
        ) {
            let ids = entries.iter().filter_map(|(slot, e)| Some((*slot, e.3.as_deref()?.into()))).collect();
            let entries = entries.into_iter().map(|(slot, (seen, len, digest, _))| entry(slot, seen, len, digest)).collect();
            let block = BlockImage { base, entries, ids };
            prop_assert_eq!(decode_block(&encode_block(&block)), Ok(block));
        }
    }

    #[test]
    fn an_entry_of_a_full_block_takes_at_most_14_bytes() {
        let entries = (0..1024)
            .map(|slot| {
                let digest = u64::from(slot).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                entry(
                    slot,
                    1_700_000_000_000 + i64::from(slot) * 7,
                    100 + u32::from(slot % 500),
                    digest,
                )
            })
            .collect();
        let bytes = encode_block(&BlockImage {
            base: 4096,
            entries,
            ids: Ids::default(),
        });
        assert!(bytes.len() <= 1024 * 14, "{} bytes", bytes.len());
    }

    #[test]
    fn entries_out_of_order_do_not_come_back_as_something_else() {
        for slots in [[5_u16, 4], [5, 5], [5, 1024], [1023, 0]] {
            let entries = slots.iter().map(|&slot| entry(slot, 1, 2, 3)).collect();
            let bytes = encode_block(&BlockImage {
                base: 0,
                entries,
                ids: Ids::default(),
            });
            assert!(decode_block(&bytes).is_err(), "{slots:?}");
        }
    }

    #[test]
    fn the_bytes_of_format_1_are_still_read() {
        let block = BlockImage {
            base: 2048,
            entries: Entries::from_iter([
                entry(0, 1_700_000_000_000, 120, 0x0102_0304_0506_0708),
                entry(1, 1_700_000_000_005, 118, 1),
                entry(9, 1_699_999_999_000, 118, u64::MAX),
            ]),
            ids: Ids::from_iter([(1, "A-7".into()), (9, "é".into())]),
        };
        let bytes = [
            0x80, 0x20, 3, 0, 1, 7, 0, 0x80, 0xa0, 0xab, 0xfe, 0xf9, 0x62, 0x0a, 0xd9, 0x0f, 0xf0,
            1, 3, 0, 8, 7, 6, 5, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255,
            255, 255, 2, 1, 3, b'A', b'-', b'7', 8, 2, 0xc3, 0xa9,
        ];
        assert_eq!(encode_block(&block), bytes);
        assert_eq!(decode_block(&bytes), Ok(block));
    }
}
