//! Holds the dependency direction: left never imports right, and adapters never import each other.
//!
//! `core ← config ← wire, ports ← store | kafka | http ← runtime ← app ← main`; `clock` is for everybody but the core.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use of this crate, beside itself.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("core", &[]),
    ("clock", &["core"]),
    ("config", &["core", "clock"]),
    ("ports", &["core"]),
    ("wire", &["core", "config", "ports"]),
    ("store", &["core", "clock", "ports", "wire"]),
    ("kafka", &["core", "clock", "config", "ports", "wire"]),
    ("http", &["core", "clock", "config", "ports", "wire"]),
    (
        "runtime",
        &["core", "clock", "config", "ports", "wire", "kafka"],
    ),
    ("demo", &["clock", "kafka"]),
    ("cli", &["core", "clock", "config", "kafka", "demo"]),
    (
        "app",
        &[
            "core", "clock", "config", "ports", "wire", "store", "kafka", "http", "runtime",
        ],
    ),
    // The binary reaches the library by its name.
    ("main", &[]),
];

/// What the core must not know of the world outside.
const FORBIDDEN_IN_CORE: [&str; 8] = [
    "serde",
    "rdkafka",
    "sled",
    "tokio",
    "axum",
    "std::time",
    "std::thread",
    "std::fs",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Each source file with the module that it belongs to, and its text without comments.
fn files() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap();
            let first = inside.components().next().unwrap().as_os_str();
            let module = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            (module, path, code.join("\n"))
        })
        .collect()
}

/// The modules of this crate that the text names.
fn used(code: &str) -> Vec<String> {
    code.match_indices("crate::")
        .map(|(at, found)| {
            let rest = &code[at + found.len()..];
            let end = rest
                .find(|c: char| !c.is_ascii_lowercase() && c != '_')
                .unwrap_or(rest.len());
            rest[..end].to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn no_module_imports_what_stands_to_its_right() {
    let mut seen = 0;
    for (module, path, code) in files() {
        if module == "lib" {
            continue;
        }
        let may = MAY_USE
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} has no place in the order: give it one"))
            .1;
        for name in used(&code) {
            seen += 1;
            assert!(
                name == module || may.contains(&name.as_str()),
                "{}: {module} must not use {name}",
                path.display()
            );
        }
    }
    assert!(
        seen > 100,
        "only {seen} imports were found: this test looks in the wrong place"
    );
}

#[test]
fn the_core_knows_neither_io_nor_time_nor_a_runtime() {
    for (module, path, code) in files() {
        if module != "core" {
            continue;
        }
        for word in FORBIDDEN_IN_CORE {
            assert!(
                !code.contains(&format!("{word}::")) && !code.contains(&format!("use {word}")),
                "{}: the core must not know {word}",
                path.display()
            );
        }
    }
}
