//! What a store takes on the disk, and how much of it is live.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ::ackwarden::ports::Store;
use ::ackwarden::store::SledStore;
use ::ackwarden::wire::stored::{encode_block, encode_details};

/// Bytes of disk that the files below `dir` take; one that goes away meanwhile takes none.
pub fn on_disk(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Bytes of what it holds, as encoded for the disk. Nobody else may have it open.
pub fn live(dir: &Path) -> u64 {
    let mut store = SledStore::open(dir).expect("the store");
    let (_, partitions) = store.load().expect("what it holds");
    let images = partitions
        .iter()
        .map(|p| p.image.as_ref().expect("a partition that is whole"));
    images
        .map(|image| {
            let blocks = image.blocks.iter().map(|block| encode_block(block).len());
            blocks.sum::<usize>() + encode_details(&image.details).len()
        })
        .sum::<usize>() as u64
}
