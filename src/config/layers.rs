//! The layers in their order: defaults < file < environment < flags.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::check::check;
use super::model::Config;
use super::problem::{ConfigError, Findings, Place};
use super::raw::{Entry, RawConfig, RawValue, Section};
use super::raw_env::read_env;
use super::raw_file::{FileRead, Notes, read_file};
use super::render::Source;
use super::scalar::Scalar;

/// The whole of the configuration with its defaults, commented.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// A configuration is some kilobytes; what is larger is another file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A configuration that is sound.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// What is allowed but likely not meant, one line each; for the log.
    pub warnings: Vec<String>,
    /// The environment variables and flags that set something; never their values.
    pub set_outside: Vec<String>,
}

/// What the command line sets; it wins over everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--brokers`: `kafka.brokers`.
    pub brokers: Option<Override>,
    /// `--group-id`: `kafka.group_id`.
    pub group_id: Option<Override>,
    /// `--instance-id`: `kafka.instance_id`.
    pub instance_id: Option<Override>,
    /// `--store`: `store.path`.
    pub store_path: Option<Override>,
    /// `--listen`: `http.listen`.
    pub listen: Option<Override>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    pub value: String,
    /// The environment variable that stood in for the flag.
    pub variable: Option<String>,
}

impl From<&str> for Override {
    fn from(value: &str) -> Self {
        Self {
            value: value.to_owned(),
            variable: None,
        }
    }
}

/// Reads, merges and checks. Without a path there is no file, and so no topics but an error.
///
/// # Errors
/// [`ConfigError`]: with everything that is wrong, not only the first.
pub fn load(
    path: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    flags: &Overrides,
) -> Result<Loaded, ConfigError> {
    match path {
        Some(path) => load_text(&path.display().to_string(), &read(path)?, env, flags),
        None => load_text("", "", env, flags),
    }
}

/// The same for a text that is no file; `name` stands where the file's name would.
///
/// # Errors
/// [`ConfigError::Invalid`].
pub fn load_text(
    name: &str,
    text: &str,
    env: impl Iterator<Item = (String, String)>,
    flags: &Overrides,
) -> Result<Loaded, ConfigError> {
    // A byte-order mark would shift every column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let FileRead {
        mut raw,
        notes: Notes {
            mut problems,
            hidden,
        },
        unparsed,
    } = read_file(text);
    let source = Source {
        name: name.to_owned(),
        text: text.to_owned(),
        hidden,
        unparsed,
    };
    let mut warnings = Vec::new();
    let mut set_outside = Vec::new();
    let mut config = None;
    if !unparsed {
        let read = read_env(env, &mut raw);
        problems.extend(read.problems);
        set_outside = read.names;
        set_outside.sort();
        set_outside.extend(apply_flags(flags, &mut raw));
        let (checked, found) = check(&raw);
        problems.extend(found.problems);
        warnings = found.warnings;
        config = Some(checked);
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            warnings: Findings::sorted(warnings)
                .iter()
                .map(|warning| source.render_short(warning))
                .collect(),
            set_outside,
        }),
        _ => Err(ConfigError::Invalid {
            problems: Findings::sorted(problems)
                .iter()
                .map(|problem| source.render(problem))
                .collect(),
        }),
    }
}

/// This process's environment, as [`load`] wants it. What is not UTF-8 is replaced, so that a setting is never
/// overlooked because of it.
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: PathBuf::from(path),
        source,
    };
    let mut text = String::new();
    File::open(path)
        .map_err(failed)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge {
            path: PathBuf::from(path),
            max_bytes: FILE_BYTES_MAX,
        });
    }
    Ok(text)
}

/// Gives the names of those that set something.
fn apply_flags(flags: &Overrides, raw: &mut RawConfig) -> Vec<String> {
    let mut names = Vec::new();
    let mut set = |section: &mut Section, key, flag: &'static str, given: &Option<Override>| {
        let Some(Override { value, variable }) = given else {
            return;
        };
        let value = value.clone();
        names.push(variable.as_deref().unwrap_or(flag).to_owned());
        let place = match variable.clone() {
            Some(name) => Place::Env {
                name,
                value: Some(value.clone()),
            },
            None => Place::Flag {
                name: flag,
                value: value.clone(),
            },
        };
        let entry = Entry {
            value: RawValue::Scalar(Scalar::Text(value)),
            key: place.clone(),
            at: place,
        };
        section.insert(key, entry);
    };
    let (kafka, instance_id) = (&mut raw.kafka, &flags.instance_id);
    set(kafka, "brokers", "--brokers", &flags.brokers);
    set(kafka, "group_id", "--group-id", &flags.group_id);
    set(kafka, "instance_id", "--instance-id", instance_id);
    set(&mut raw.store, "path", "--store", &flags.store_path);
    set(&mut raw.http, "listen", "--listen", &flags.listen);
    names
}
