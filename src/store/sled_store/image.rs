//! Partitions as records: a root, a record for each block, records of some dozens of details.
//!
//! A partition lives in a space of its own, whose root says what its records must come to. `replace` begins a new space
//! and drops the old one, so that nothing of before can shine through.

use std::collections::{BTreeMap, HashMap};

use super::commit::Commit;
use super::details::write_details;
use super::key::{Kind, RecordId, STORE_SPACE};
use super::records::{Records, Tally};
use super::trouble::Trouble;
use crate::core::image::{DetailImage, PartitionImage};
use crate::ports::{PartitionDelta, StoreIdentity, StoredPartition};
use crate::wire::stored::{
    PartitionRoot, decode_block, decode_details, decode_identity, decode_partition, encode_block,
    encode_partition,
};

/// Which space holds which partition.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    places: HashMap<(String, i32), Place>,
    /// Spaces that belong to nobody; they go with the next checkpoint.
    garbage: Vec<u32>,
    next_space: u32,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    space: u32,
    /// All that was written since the space began is there.
    whole: bool,
}

/// What a scan found.
pub(super) struct Loaded {
    pub catalog: Catalog,
    pub identity: Option<StoreIdentity>,
    pub partitions: Vec<StoredPartition>,
}

impl Catalog {
    /// Reads everything. Without `images`, all is checked the same, but nothing of the partitions is handed out.
    pub fn load(records: &mut Records, images: bool) -> Result<Loaded, Trouble> {
        let mut identity = None;
        let mut readings: Vec<Reading> = Vec::new();
        let mut catalog = Self::default();
        records.scan(&mut |id, body| {
            if id.space == STORE_SPACE {
                let body =
                    body.ok_or_else(|| Trouble::Damaged("the identity is damaged".into()))?;
                identity = Some(decode_identity(body)?);
            } else if id.kind == Kind::Root {
                match body.map(decode_partition) {
                    Some(Ok(root)) => readings.push(Reading::new(id.space, root)),
                    _ => catalog.garbage.push(id.space),
                }
            } else if let Some(reading) = readings.last_mut().filter(|r| r.space == id.space) {
                reading.add(id, body, images);
            }
            Ok(())
        })?;
        catalog.next_space = records.last_space.saturating_add(1);
        for space in &catalog.garbage {
            tracing::warn!(
                space,
                "the header of a kept partition is damaged: it is rebuilt from Kafka"
            );
        }
        let mut partitions = BTreeMap::new();
        for reading in readings {
            let topic_id = reading.root.topic_id.clone();
            let (name, place, image) = reading.finish(records);
            if let Some(Place { space, .. }) = catalog.places.insert(name.clone(), place) {
                // Only damage leads there. Neither is believed.
                tracing::warn!(
                    topic = name.0,
                    partition = name.1,
                    "kept twice: it is rebuilt from Kafka"
                );
                catalog.garbage.push(space);
                let whole = false;
                catalog
                    .places
                    .insert(name.clone(), Place { whole, ..place });
                partitions.insert(name, (topic_id, None));
            } else {
                partitions.insert(name, (topic_id, image));
            }
        }
        let partitions = partitions
            .into_iter()
            .filter(|_| images)
            .map(|((topic, partition), (topic_id, image))| StoredPartition {
                topic,
                partition,
                topic_id,
                image,
            })
            .collect();
        Ok(Loaded {
            catalog,
            identity,
            partitions,
        })
    }

    /// Adds a partition's delta to a commit.
    pub fn write(
        &mut self,
        commit: &mut Commit<'_>,
        delta: &PartitionDelta,
    ) -> Result<(), Trouble> {
        for space in std::mem::take(&mut self.garbage) {
            commit.drop_space(space)?;
        }
        let name = (delta.topic.clone(), delta.partition);
        let mut place = match self.places.get(&name) {
            Some(place) if !delta.replace => *place,
            before => {
                if let Some(before) = before {
                    commit.drop_space(before.space)?;
                }
                self.new_place()?
            }
        };
        if place.whole {
            write_blocks(commit, place.space, delta)?;
            place.whole = write_details(commit, place.space, delta)?;
        }
        let tally = commit.records().tally(place.space);
        let root = PartitionRoot {
            topic: delta.topic.clone(),
            partition: delta.partition,
            topic_id: delta.topic_id.clone(),
            whole: place.whole,
            records: tally.records,
            digest_sum: tally.digest_sum,
            header: delta.header.clone(),
        };
        commit.put(RecordId::root(place.space), &encode_partition(&root))?;
        self.places.insert(name, place);
        Ok(())
    }

    fn new_place(&mut self) -> Result<Place, Trouble> {
        let space = self.next_space;
        self.next_space = space
            .checked_add(1)
            .ok_or_else(|| Trouble::Damaged("out of space numbers".into()))?;
        Ok(Place { space, whole: true })
    }
}

/// A space while it is read.
struct Reading {
    space: u32,
    root: PartitionRoot,
    image: PartitionImage,
    intact: bool,
    last_origin: Option<i64>,
}

impl Reading {
    fn new(space: u32, root: PartitionRoot) -> Self {
        Self {
            space,
            image: PartitionImage {
                header: root.header.clone(),
                ..PartitionImage::default()
            },
            intact: root.whole,
            last_origin: None,
            root,
        }
    }

    fn add(&mut self, id: RecordId, body: Option<&[u8]>, keep: bool) {
        self.intact = self.intact
            && body.is_some_and(|body| match id.kind {
                Kind::Root => false,
                Kind::Block => match decode_block(body) {
                    Ok(block) if block.base == id.at => {
                        if keep {
                            self.image.blocks.push(block);
                        }
                        true
                    }
                    _ => false,
                },
                Kind::Details => match decode_details(body) {
                    Ok(details) => self.add_details(id.at, details, keep),
                    Err(_) => false,
                },
            });
    }

    /// A record is named after its first origin, and lies behind the one before.
    fn add_details(&mut self, at: i64, details: Vec<DetailImage>, keep: bool) -> bool {
        let (Some(first), Some(last)) = (details.first(), details.last()) else {
            return false;
        };
        if first.origin != at || self.last_origin.is_some_and(|before| before >= at) {
            return false;
        }
        self.last_origin = Some(last.origin);
        if keep {
            self.image.details.extend(details);
        }
        true
    }

    fn finish(self, records: &Records) -> ((String, i32), Place, Option<PartitionImage>) {
        let expected = Tally {
            records: self.root.records,
            digest_sum: self.root.digest_sum,
        };
        let whole = self.intact && records.tally(self.space) == expected;
        let place = Place {
            space: self.space,
            whole,
        };
        let name = (self.root.topic, self.root.partition);
        (name, place, whole.then_some(self.image))
    }
}

fn write_blocks(
    commit: &mut Commit<'_>,
    space: u32,
    delta: &PartitionDelta,
) -> Result<(), Trouble> {
    for block in &delta.blocks {
        let id = RecordId {
            space,
            kind: Kind::Block,
            at: block.base,
        };
        if block.entries.is_empty() {
            commit.remove(id)?;
        } else {
            commit.put(id, &encode_block(block))?;
        }
    }
    Ok(())
}
