//! That the pages are true, as far as a program can tell: what they show exists, and what exists is shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is the report"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ackwarden::config::{Overrides, load_text};
use ackwarden::core::view::FrozenWhy;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Files below `dir` with that ending, relative to the root.
fn files(dir: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                let path = path.strip_prefix(root()).unwrap();
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<String> {
    let at_the_root = fs::read_dir(root()).unwrap();
    let names = at_the_root.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> = names.filter(|n| n.ends_with(".md")).collect();
    pages.extend(files("docs", ".md"));
    assert!(pages.len() > 8, "{pages:?}");
    pages
}

/// The fenced blocks of a page in that language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(opened), None) => open = Some((opened == language, String::new())),
            (Some(_), Some((true, block))) => found.push(block),
            (Some(_), Some((false, _))) | (None, None) => {}
            (None, Some((wanted, block))) => open = Some((wanted, block + line + "\n")),
        }
    }
    found
}

/// The words in backticks.
fn quoted(page: &str) -> BTreeSet<&str> {
    page.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_readmes_snippets_are_cut_out_of_programs_that_run() {
    let readme = read("README.md");
    for (language, program) in [
        ("java", "ServiceB.java"),
        ("python", "service_b.py"),
        ("go", "main.go"),
        ("js", "service_b.mjs"),
        ("rust", "main.rs"),
    ] {
        let bare = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.trim().to_owned()).collect()
        };
        let program = bare(&read(&format!("examples/service-b/{program}")));
        let found = blocks(&readme, language);
        assert_eq!(found.len(), 1, "{language}");
        let snippet = bare(&found[0]);
        assert!(
            program.windows(snippet.len()).any(|lines| lines == snippet),
            "the {language} of the README is not in its program"
        );
    }
}

#[test]
fn the_readmes_configuration_is_all_that_is_needed() {
    let found = blocks(&read("README.md"), "toml");
    assert_eq!(found.len(), 1);
    let loaded = load_text(
        "README.md",
        &found[0],
        std::iter::empty(),
        &Overrides::default(),
    );
    let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.config.topics[0].name, "orders");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn links_lead_to_files_and_headings() {
    for page in pages() {
        let text = read(&page);
        let here = Path::new(&page).parent().unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&page),
                _ => root().join(here).join(file),
            };
            assert!(target.exists(), "{page}: {link}");
            if !heading.is_empty() {
                let headings = fs::read_to_string(&target).unwrap();
                let mut anchors = headings
                    .lines()
                    .filter_map(|line| line.strip_prefix('#').map(anchor));
                assert!(anchors.any(|a| a == heading), "{page}: {link}");
            }
        }
    }
}

/// As the usual renderers make it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_promise_is_never_more_than_at_least_once() {
    // Put together, so that this file does not say it either.
    let never = ["exactly", "once"].join(" ");
    for page in pages() {
        // Line breaks do not hide it.
        let words: Vec<String> = read(&page)
            .split_whitespace()
            .map(str::to_lowercase)
            .collect();
        assert!(!words.join(" ").contains(&never), "{page}");
    }
}

#[test]
fn every_module_is_on_the_map() {
    let map = read("docs/architecture.md");
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let slash = if entry.path().is_dir() { "/" } else { "" };
        let name = format!("src/{}{slash}", entry.file_name().into_string().unwrap());
        assert!(map.contains(&name), "{name}");
    }
    let named = quoted(&map);
    for file in files("src/core", ".rs")
        .iter()
        .chain(&files("src/runtime", ".rs"))
    {
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        // What holds a folder together, and a few lines between its files.
        if !["mod.rs", "input.rs", "names.rs"].contains(&name) {
            assert!(named.contains(name), "{file}");
        }
    }
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let mut sources = String::new();
    for file in files("tests", ".rs").iter().chain(&files("src", ".rs")) {
        sources += &read(file);
    }
    let mut seen = 0;
    for page in [
        "docs/guarantees.md",
        "docs/mechanisms.md",
        "docs/testing.md",
    ] {
        let text = read(page);
        for name in quoted(&text) {
            let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if is_name && name.matches('_').count() >= 4 && !name.starts_with("ackwarden_") {
                assert!(sources.contains(&format!("fn {name}(")), "{page}: {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_reason_to_be_frozen_has_its_cure() {
    let page = read("docs/operations.md");
    for why in FrozenWhy::ALL {
        assert!(
            page.contains(&format!("| `{}` |", why.as_str())),
            "{}",
            why.as_str()
        );
    }
}

#[test]
fn every_exit_code_is_told() {
    let page = read("docs/operations.md");
    let source = read("src/cli/args.rs");
    let codes: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const "))
        .filter_map(|rest| rest.split_once(": u8 = "))
        .map(|(_, code)| code.trim_end_matches(';'))
        .collect();
    assert!(codes.len() > 5, "{codes:?}");
    for code in codes {
        assert!(page.contains(&format!("| {code} |")), "{code}");
    }
}

#[test]
fn every_metric_that_a_page_names_is_one() {
    let api = read("docs/api.md");
    for page in ["docs/operations.md", "docs/guarantees.md"] {
        let text = read(page);
        for name in quoted(&text) {
            let name = name.split('{').next().unwrap();
            if name.starts_with("ackwarden_") {
                assert!(api.contains(name), "{page}: {name}");
            }
        }
    }
}
