//! Slots against a plain map, and a checkpoint against what was there when it was taken.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::image::{BlockImage, Entries, Ids};
use super::*;

fn slot(seen_ms: i64) -> Slot {
    Slot {
        mark: Mark::First,
        seen_ms,
        len: 3,
        digest: 9,
    }
}

fn taken(slots: &mut Slots) -> Vec<(i64, usize)> {
    let mut taken = Vec::new();
    slots.take_dirty(|base, lent, _, _| taken.push((base, lent.view().firsts())));
    taken
}

#[test]
fn a_block_that_is_emptied_behind_the_head_is_gone_and_reported_once_written() {
    let mut slots = Slots::default();
    slots.put(5, slot(1), None);
    let mut seen = taken(&mut slots);
    slots.clear(5, 4096);
    seen.extend(taken(&mut slots));
    assert_eq!(seen, [(0, 1), (0, 0)]);
    assert_eq!(slots.live(), 0);
    assert!(slots.index.is_empty());
}

#[test]
fn what_is_acknowledged_between_two_checkpoints_is_never_written() {
    let mut slots = Slots::default();
    for offset in 0..3000 {
        slots.put(offset, slot(offset), None);
        slots.clear(offset, offset + 1);
        if offset % BLOCK_OFFSETS == BLOCK_OFFSETS - 1 {
            slots.head_left(offset - BLOCK_OFFSETS + 1);
        }
    }
    assert_eq!(taken(&mut slots), []);
}

#[test]
fn a_block_of_which_little_is_left_is_packed_and_still_the_same() {
    let mut slots = Slots::default();
    for offset in 0..2048 {
        slots.put(offset, slot(offset), Some(&format!("id-{offset}")));
    }
    slots.head_left(0);
    let kept = |offset: i64| offset % 10 == 3;
    for offset in (0..1024).filter(|offset| !kept(*offset)) {
        slots.clear(offset, 2000);
    }
    slots.tidy(2000, 100);
    let at = slots.index[&0] as usize;
    assert!(matches!(slots.blocks[at].body, Body::Packed(_)));
    for offset in 0..1024 {
        assert_eq!(slots.get(offset), kept(offset).then(|| slot(offset)));
        let id = format!("id-{offset}");
        assert_eq!(slots.id(offset), kept(offset).then_some(&*id));
    }
}

/// What there is of one message.
type Known = (Slot, Option<String>);

#[derive(Debug, Clone)]
enum Op {
    Put(i64, bool, Option<u8>),
    Clear(i64),
    TakeFirst(i64),
    Tidy,
    /// Takes a checkpoint, and keeps it.
    Checkpoint,
    /// Is done with the oldest checkpoint.
    Written,
    /// Comes back from a checkpoint of everything.
    Restart(i64),
}

fn op() -> impl Strategy<Value = Op> {
    let offset = || prop_oneof![0..4096_i64, 1000..1100_i64];
    prop_oneof![
        40 => (offset(), prop::bool::weighted(0.8), prop::option::weighted(0.4, 0..9_u8)).prop_map(|(o, f, id)| Op::Put(o, f, id)),
        25 => offset().prop_map(Op::Clear),
        25 => offset().prop_map(Op::TakeFirst),
        2 => Just(Op::Tidy),
        2 => Just(Op::Checkpoint),
        2 => Just(Op::Written),
        1 => (-5000..5000_i64).prop_map(Op::Restart),
    ]
}

fn image(slots: &mut Slots, ahead_ms: i64) -> Vec<BlockImage> {
    let mut blocks = Vec::new();
    slots.take_dirty(|base, lent, shift_ms, ids| {
        blocks.push(BlockImage {
            base,
            entries: Entries::new(lent, ahead_ms + shift_ms),
            ids: Ids(ids),
        });
    });
    blocks
}

/// A checkpoint as plain data, with the times of the monotonic clock.
fn plain(blocks: &[BlockImage], ahead_ms: i64) -> BTreeMap<i64, Vec<(i64, Known)>> {
    let each = |block: &BlockImage| {
        let ids: BTreeMap<u16, String> = block.labels().map(|(i, id)| (i, id.into())).collect();
        let entries = block.entries.iter().map(|e| {
            let slot = Slot {
                mark: Mark::First,
                seen_ms: e.seen_wall_ms - ahead_ms,
                len: e.len,
                digest: e.digest,
            };
            (
                block.base + i64::from(e.slot),
                (slot, ids.get(&e.slot).cloned()),
            )
        });
        (block.base, entries.collect())
    };
    blocks.iter().map(each).collect()
}

proptest! {
    /// Whatever is put, cleared, packed, lent to checkpoints that are written slowly, and taken back from them.
    #[test]
    fn slots_are_a_sorted_map(start in prop::bool::ANY, ops in prop::collection::vec(op(), 0..400)) {
        let mut slots = Slots::default();
        let mut model: BTreeMap<i64, Known> = BTreeMap::new();
        let (head, mut ahead_ms, mut time) = (3072, 1_000_000, 0);
        let mut written: BTreeMap<i64, Vec<(i64, Known)>> = BTreeMap::new();
        let mut held = Vec::new();
        if start {
            for offset in 0..4096 {
                slots.put(offset, slot(offset), None);
                model.insert(offset, (slot(offset), None));
            }
            (0..3).for_each(|n| slots.head_left(n * 1024));
            time = 4096;
        }
        for op in ops {
            time += 7;
            match op {
                Op::Put(offset, first, id) => {
                    let mark = if first { Mark::First } else { Mark::Anchor };
                    let new = Slot { mark, digest: time as u64, ..slot(time) };
                    let id = id.filter(|_| first).map(|n| "x".repeat(usize::from(n) + 1));
                    slots.put(offset, new, id.as_deref());
                    model.insert(offset, (new, id));
                }
                Op::Clear(offset) => {
                    let had = slots.clear(offset, head);
                    prop_assert_eq!(had, model.remove(&offset).map(|known| known.0));
                }
                Op::TakeFirst(offset) => {
                    let first = model.get(&offset).is_some_and(|known| known.0.mark == Mark::First);
                    let known = if first { model.remove(&offset) } else { None };
                    let had = slots.take_first(offset, head, |slot, id| (slot, id.map(String::from)));
                    prop_assert_eq!(had, known);
                }
                Op::Tidy => slots.tidy(head, 3),
                Op::Checkpoint => {
                    let blocks = image(&mut slots, ahead_ms);
                    let now = plain(&blocks, ahead_ms);
                    for (base, entries) in &now {
                        match entries.is_empty() {
                            true => written.remove(base),
                            false => written.insert(*base, entries.clone()),
                        };
                    }
                    let firsts = model.iter().filter(|(_, known)| known.0.mark == Mark::First);
                    let firsts: Vec<_> = firsts.map(|(o, known)| (*o, known.clone())).collect();
                    prop_assert_eq!(written.values().flatten().cloned().collect::<Vec<_>>(), firsts);
                    held.push((blocks, now, ahead_ms));
                }
                Op::Written => {
                    if !held.is_empty() {
                        let (blocks, then, ahead_ms) = held.remove(0);
                        prop_assert_eq!(plain(&blocks, ahead_ms), then, "a checkpoint changed while it was written");
                    }
                }
                Op::Restart(by) => {
                    slots.mark_all_dirty();
                    let blocks = image(&mut slots, ahead_ms);
                    slots = Slots::default();
                    // The clocks stand differently now.
                    let shift = |entries: &Entries| entries.ahead_ms - (ahead_ms + by);
                    for block in blocks {
                        let shift_ms = shift(&block.entries);
                        slots.adopt(block.base, block.entries.lent, shift_ms, block.ids.0);
                    }
                    slots.loaded(&[]);
                    ahead_ms += by;
                    model.retain(|_, known| known.0.mark == Mark::First);
                    model.values_mut().for_each(|known| known.0.seen_ms -= by);
                    time += by.abs();
                    held.clear();
                    written = BTreeMap::new();
                    slots.mark_all_dirty();
                }
            }
            let place = |found: Option<(i64, Slot)>| found.map(|found| found.0);
            let offset = time % 4000;
            prop_assert_eq!(place(slots.first()), model.keys().next().copied());
            prop_assert_eq!(place(slots.next(offset)), model.range(offset..).next().map(|f| *f.0));
            prop_assert_eq!(place(slots.previous(offset)), model.range(..offset).next_back().map(|f| *f.0));
            let first = model.range(offset..4000).find(|(_, known)| known.0.mark == Mark::First);
            prop_assert_eq!(place(slots.next_first(offset, 4000)), first.map(|f| *f.0));
            let at = model.range(offset..).next().map_or(0, |f| *f.0);
            prop_assert_eq!(slots.get(at), model.get(&at).map(|known| known.0));
            prop_assert_eq!(slots.id(at), model.get(&at).and_then(|known| known.1.as_deref()));
        }
        prop_assert_eq!(slots.live(), model.len() as u64);
    }
}
