//! A store that is torn, or has a flipped bit: it is noticed, and what it had of the partition is gone.

use ackwarden::core::image::PartitionImage;
use ackwarden::wire::stored::{
    PartitionRoot, StoredError, decode_block, decode_details, decode_partition, encode_block,
    encode_details, encode_partition, seal, unseal,
};

use crate::rng::Rng;
use crate::world::World;

impl World {
    /// At a restart, if it is so drawn: one partition's bytes are damaged. They are read either way.
    pub fn store_is_damaged(&mut self) {
        let rate = self.faults.host.store_damaged;
        if rate == 0 || self.me.store.is_empty() {
            return;
        }
        let mut numbers: Vec<i32> = self.me.store.keys().copied().collect();
        numbers.sort_unstable();
        for p in numbers {
            let image = &self.me.store[&p];
            let mut pieces = pieces_of(image);
            if read(&pieces).as_ref() != Ok(image) {
                self.breach(9, format!("the bytes of {p} are not what was kept"));
            }
            if !self.latest.chance(rate) {
                continue;
            }
            damage(&mut pieces, &mut self.latest);
            self.seen.damaged_stores += 1;
            if read(&pieces).is_ok() {
                self.breach(9, format!("damage to the bytes of {p} went unnoticed"));
            }
            self.me.store.remove(&p);
        }
    }
}

/// Root, details, then blocks; each under its number.
fn pieces_of(image: &PartitionImage) -> Vec<Vec<u8>> {
    let root = PartitionRoot {
        topic: "orders".into(),
        whole: true,
        header: image.header.clone(),
        ..PartitionRoot::default()
    };
    let bodies = [
        encode_partition(&root),
        encode_details(image.details.iter()),
    ];
    let blocks = image.blocks.iter().map(encode_block);
    let bodies = bodies.into_iter().chain(blocks).enumerate();
    bodies.map(|(n, body)| seal(&[n as u8], &body)).collect()
}

fn read(pieces: &[Vec<u8>]) -> Result<PartitionImage, StoredError> {
    let body = |n: usize| unseal(&[n as u8], &pieces[n]);
    let blocks = (2..pieces.len()).map(|n| decode_block(body(n)?));
    Ok(PartitionImage {
        header: decode_partition(body(0)?)?.header,
        details: decode_details(body(1)?)?,
        blocks: blocks.collect::<Result<_, _>>()?,
    })
}

fn damage(pieces: &mut [Vec<u8>], rng: &mut Rng) {
    let n = rng.below(pieces.len() as u64) as usize;
    let piece = &mut pieces[n];
    let at = rng.below(piece.len() as u64) as usize;
    match rng.below(3) {
        0 => piece.truncate(at),
        1 => piece[at] ^= 1 << rng.below(8),
        // Written half: what follows is as it was before, or nothing.
        _ => piece[at..].iter_mut().for_each(|b| *b = !*b),
    }
}
