//! What the fuzzers found worth keeping, replayed: no input makes a decoder panic. How to look for more: docs/testing.md.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ackwarden::core::record::AckTarget;

mod seeds;
#[path = "../../fuzz/targets.rs"]
mod targets;

fn corpus(target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fuzz/corpus").join(target)
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let listed = std::fs::read_dir(corpus(target)).expect(target);
    let paths = listed.map(|entry| entry.expect(target).path());
    paths
        .map(|path| (path.clone(), std::fs::read(path).expect(target)))
        .collect()
}

#[test]
fn the_corpus_of_each_target_is_replayed() {
    for (name, run) in targets::TARGETS {
        run(&[]);
        let inputs = inputs(name);
        for (path, data) in &inputs {
            let ran = std::panic::catch_unwind(|| run(data));
            assert!(ran.is_ok(), "{}", path.display());
        }
        assert!(inputs.len() > 4, "{name}: {} inputs", inputs.len());
    }
}

/// A corpus that is stuck before the interesting part would replay nothing.
#[test]
fn the_corpus_reaches_every_way_to_name_a_message_and_every_verdict() {
    let records = inputs("source_record");
    let records = records.iter().map(|(_, data)| targets::source_of(data));
    let (mut named, mut copies, mut seen) = (BTreeSet::new(), 0, BTreeSet::new());
    for record in records {
        let extra = record.extra.as_deref().cloned().unwrap_or_default();
        if extra.id.is_some() {
            named.insert(targets::SOURCES[usize::from(record.topic.0)]);
        }
        copies += usize::from(extra.copy.is_some_and(|c| c.by_us));
        for (what, is) in [
            ("fell back", extra.id_fell_back),
            ("timeout", extra.timeout_ms.is_some()),
            ("bad timeout", extra.bad_timeout),
            ("unfaithful", extra.unfaithful),
        ] {
            if is {
                seen.insert(what);
            }
        }
    }
    assert_eq!(
        Vec::from_iter(named),
        ["all", "events", "header", "json", "key"]
    );
    assert_eq!(seen.len(), 4, "only {seen:?}");
    assert!(copies > 0, "no copy of our own group");

    let (mut ids, mut positions, mut verdicts, mut invalid) =
        (BTreeSet::new(), 0, BTreeSet::new(), 0);
    for (_, data) in inputs("ack_record") {
        let record = targets::ack_of(&data);
        match record.target {
            AckTarget::Id { topic, .. } => {
                ids.insert(targets::SOURCES[usize::from(topic.0)]);
            }
            AckTarget::Position { .. } => positions += 1,
            AckTarget::Nothing { .. } => {}
        }
        if let Some(extra) = record.extra {
            verdicts.insert(extra.verdict);
            invalid += usize::from(extra.invalid.is_some());
        }
    }
    for source in ["header", "events", "json"] {
        assert!(ids.contains(source), "no ACK by id for {source}: {ids:?}");
    }
    assert!(verdicts.len() > 8, "only {verdicts:?}");
    assert!(positions > 0 && invalid > 0);
}

/// Writes real samples into the corpus, for the fuzzers to begin with: `cargo test --test fuzz_corpus -- --ignored`.
#[test]
#[ignore = "writes into fuzz/corpus"]
fn seeds_are_written() {
    for (target, inputs) in seeds::all() {
        std::fs::create_dir_all(corpus(target)).expect(target);
        for (n, data) in inputs.into_iter().enumerate() {
            std::fs::write(corpus(target).join(format!("seed-{n:02}")), data).expect(target);
        }
    }
}
