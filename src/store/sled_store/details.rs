//! Details packed into records: a few dozen neighbours each, however far apart their offsets are.
//!
//! One record a detail would be the shape that sled is slow at, and ranges of fixed width would come to that when the
//! retried messages lie far apart. So a record spans from its first origin (its name) to the next record's, splits when
//! it has grown too long, and joins its neighbour when it has become short.

use std::collections::BTreeMap;

use super::commit::Commit;
use super::key::{Kind, RecordId};
use super::records::Records;
use super::trouble::Trouble;
use crate::core::image::DetailImage;
use crate::ports::PartitionDelta;
use crate::wire::stored::{decode_details, encode_details};

/// A detail takes some 80 to 130 bytes, so that a record is 4 to 6 KB, one value of sled.
const DETAILS_MAX: usize = 48;
/// A record with fewer joins the next, if both fit into one.
const DETAILS_MIN: usize = 12;

/// Lays a delta's changes over what is kept. `false`: what is kept cannot be read any more.
pub(super) fn write_details(
    commit: &mut Commit<'_>,
    space: u32,
    delta: &PartitionDelta,
) -> Result<bool, Trouble> {
    let mut changes: BTreeMap<i64, Option<&DetailImage>> = BTreeMap::new();
    changes.extend(delta.details_gone.iter().map(|origin| (*origin, None)));
    changes.extend(
        delta
            .details
            .iter()
            .map(|detail| (detail.origin, Some(detail))),
    );
    while let Some((&origin, _)) = changes.first_key_value() {
        let home = Home::of(commit.records(), space, origin);
        let later = match home.next {
            Some(next) => changes.split_off(&next.at),
            None => BTreeMap::new(),
        };
        let here = std::mem::replace(&mut changes, later);
        match home.rewrite(commit, space, &here) {
            Ok(()) => {}
            Err(Trouble::Damaged(_)) => return Ok(false),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(true)
}

/// The record that an origin belongs to, and the one after it.
struct Home {
    record: Option<RecordId>,
    next: Option<RecordId>,
}

impl Home {
    fn of(records: &Records, space: u32, origin: i64) -> Self {
        let (first, last) = (named(space, i64::MIN), named(space, i64::MAX));
        let upto = records.index.range(first..=named(space, origin));
        // What lies before the first record goes into it.
        let record = upto
            .map(|(id, _)| *id)
            .next_back()
            .or_else(|| records.index.range(first..=last).map(|(id, _)| *id).next());
        let next = record.and_then(|record| {
            let from = records.index.range(record..=last);
            from.map(|(id, _)| *id).nth(1)
        });
        Self { record, next }
    }

    /// All of `changes` lie before the next record.
    fn rewrite(
        &self,
        commit: &mut Commit<'_>,
        space: u32,
        changes: &BTreeMap<i64, Option<&DetailImage>>,
    ) -> Result<(), Trouble> {
        let mut details = match self.record {
            Some(record) => read(commit.records(), record)?,
            None => Vec::new(),
        };
        details.retain(|detail| !changes.contains_key(&detail.origin));
        details.extend(changes.values().copied().flatten().cloned());
        details.sort_unstable_by_key(|detail| detail.origin);
        if let Some(next) = self.next
            && !details.is_empty()
            && details.len() < DETAILS_MIN
        {
            let neighbours = read(commit.records(), next)?;
            if details.len() + neighbours.len() <= DETAILS_MAX {
                commit.remove(next)?;
                details.extend(neighbours);
            }
        }
        let name = details.first().map(|first| named(space, first.origin));
        if let Some(record) = self.record.filter(|record| Some(*record) != name) {
            commit.remove(record)?;
        }
        for piece in details.chunks(self.piece_len(details.len()).max(1)) {
            commit.put(named(space, piece[0].origin), &encode_details(piece))?;
        }
        Ok(())
    }

    /// Where more will follow at the end, pieces are filled up; elsewhere they are evenly long.
    fn piece_len(&self, details: usize) -> usize {
        match self.next {
            None => DETAILS_MAX,
            Some(_) => details.div_ceil(details.div_ceil(DETAILS_MAX).max(1)),
        }
    }
}

fn read(records: &Records, id: RecordId) -> Result<Vec<DetailImage>, Trouble> {
    Ok(match records.get(id)? {
        Some(body) => decode_details(&body)?,
        None => Vec::new(),
    })
}

const fn named(space: u32, first_origin: i64) -> RecordId {
    RecordId {
        space,
        kind: Kind::Details,
        at: first_origin,
    }
}
