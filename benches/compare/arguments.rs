//! Which rows, how often, how large.

use std::path::PathBuf;

use super::workload::{Codec, Ids, Shape};

/// A row of the table: what is written, and what Ackwarden is to reach of the baseline.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: &'static str,
    pub shape: Shape,
    pub ratio_wanted: f64,
}

/// Measures a row of that size.
pub type Run = fn(u64, &Arguments);

/// What has a file of its own, and how large it is by default.
const OTHERS: [(&str, u64, Run); 7] = [
    ("whole", 2_000_000, super::whole::run),
    ("idle", 0, |_, arguments| super::idle::run(arguments)),
    ("lateness", 200_000, super::lateness::run),
    ("storm", 1_000_000, super::storm::run),
    ("outstanding", 10_000_000, super::outstanding::run),
    ("outstanding-ids", 10_000_000, super::outstanding::run_ids),
    ("growing", 10_000_000, super::growing::run),
];

const BASE: Shape = Shape {
    records: 4_000_000,
    partitions: 4,
    value_bytes: 200,
    ids: Ids::Positions,
    codec: Codec::None,
};

/// Sizes such that all rows with five rounds each take less than twenty minutes on two cores.
const ROWS: [Row; 5] = [
    Row {
        name: "positions",
        shape: BASE,
        ratio_wanted: 0.9,
    },
    Row {
        name: "ids",
        shape: Shape {
            records: 2_000_000,
            ids: Ids::Header,
            ..BASE
        },
        ratio_wanted: 0.6,
    },
    Row {
        name: "64-partitions",
        shape: Shape {
            partitions: 64,
            ..BASE
        },
        ratio_wanted: 0.85,
    },
    Row {
        name: "zstd",
        shape: Shape {
            codec: Codec::Zstd,
            ..BASE
        },
        ratio_wanted: 0.85,
    },
    Row {
        name: "2-kilobytes",
        shape: Shape {
            records: 1_000_000,
            value_bytes: 2_000,
            ..BASE
        },
        ratio_wanted: 0.85,
    },
];

#[derive(Debug, Clone)]
pub struct Arguments {
    pub rows: Vec<Row>,
    pub others: Vec<(u64, Run)>,
    pub rounds: usize,
    pub out: PathBuf,
    /// Only Ackwarden, and this command is run beside it with its process id as last argument: for a profiler.
    pub beside: Option<String>,
    /// Other binaries, each measured in each round beside the one just built.
    pub against: Vec<PathBuf>,
}

impl Arguments {
    /// `None`: there is nothing to do, and it was said why.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut parsed = Self {
            rows: Vec::new(),
            others: Vec::new(),
            rounds: 5,
            out: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compare"),
            beside: None,
            against: Vec::new(),
        };
        let mut records = None;
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .unwrap_or_else(|| panic!("{argument} what?"))
            };
            match argument.as_str() {
                "--bench" => {}
                "--rounds" => parsed.rounds = value().parse().expect("a number of rounds"),
                "--records" => records = Some(value().parse().expect("a number of records")),
                "--out" => parsed.out = value().into(),
                "--beside" => parsed.beside = Some(value()),
                "--against" => parsed.against.push(value().into()),
                "all" => {
                    parsed.rows.extend(ROWS);
                    parsed
                        .others
                        .extend(OTHERS.map(|(_, size, run)| (size, run)));
                }
                name => {
                    let row = ROWS.iter().find(|row| row.name == name);
                    let other = OTHERS.iter().find(|(other, ..)| *other == name);
                    assert!(row.is_some() || other.is_some(), "{name}: no such row");
                    parsed.rows.extend(row.cloned());
                    parsed
                        .others
                        .extend(other.map(|(_, size, run)| (*size, *run)));
                }
            }
        }
        if let Some(records) = records {
            for row in &mut parsed.rows {
                row.shape.records = records;
            }
            for (size, _) in &mut parsed.others {
                *size = records;
            }
        }
        if parsed.rows.is_empty() && parsed.others.is_empty() {
            let names = ROWS.iter().map(|row| row.name);
            let names: Vec<&str> = names.chain(OTHERS.map(|(name, ..)| name)).collect();
            println!(
                "compare: say which rows: all, or some of {}; [--rounds 5] [--records N] [--out DIR]",
                names.join(", ")
            );
            return None;
        }
        Some(parsed)
    }
}
