//! What happens to files on a disk: cut off, and bits flipped.

use std::fs;
use std::path::{Path, PathBuf};

use super::dice::Dice;

/// How many bits of a store are flipped at once.
const FLIPS: u64 = 8;

/// All files below `directory`, sorted.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Cuts one file off at any length below its own. One that holds something, as long as there is one.
pub fn truncate_one(directory: &Path, dice: &mut Dice) {
    if let Some((path, length)) = one_of(directory, dice) {
        let file = fs::File::options().write(true).open(&path).expect("open");
        file.set_len(dice.below(length)).expect("cut off");
    }
}

/// Flips a few bits of one file.
pub fn flip_bits(directory: &Path, dice: &mut Dice) {
    if let Some((path, length)) = one_of(directory, dice) {
        let mut bytes = fs::read(&path).expect("read");
        for _ in 0..FLIPS {
            let at = dice.below(length) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        fs::write(&path, bytes).expect("write");
    }
}

fn one_of(directory: &Path, dice: &mut Dice) -> Option<(PathBuf, u64)> {
    let all: Vec<(PathBuf, u64)> = files(directory)
        .into_iter()
        .filter_map(|path| {
            let length = fs::metadata(&path).ok()?.len();
            (length > 0).then_some((path, length))
        })
        .collect();
    let which = dice.below(all.len().max(1) as u64) as usize;
    all.into_iter().nth(which)
}
