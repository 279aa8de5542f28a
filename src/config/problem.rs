//! What is wrong with a configuration, and where: collected all at once, shown with line, caret and cure.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::user::user;

/// Why there is no configuration. Its text is for the person who wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or not to be read.
    #[error("cannot read the configuration file {}: {source}{}", path.display(), cure(source))]
    Read { path: PathBuf, source: io::Error },
    /// It is not that large: something else was named.
    #[error(
        "the configuration file {} is larger than {max_bytes} bytes: is it the right file?",
        path.display()
    )]
    TooLarge { path: PathBuf, max_bytes: u64 },
    /// Everything that is wrong with it.
    #[error("{}", problems.join("\n\n"))]
    Invalid {
        /// One text each, of several lines, in the order of the file.
        problems: Vec<String>,
    },
}

/// What to do about a file that cannot be read.
fn cure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => ": name the file with --config or ACKWARDEN_CONFIG".to_owned(),
        io::ErrorKind::IsADirectory => {
            ": Docker makes a directory where a mounted file does not exist on the host".to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(": let {} read it", user()),
        _ => String::new(),
    }
}

/// Where a value, or its key, was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Start and end in the file, bytes.
    File(usize, usize),
    /// A variable; its value unless that is a secret.
    Env { name: String, value: Option<String> },
    /// A command-line flag and its value.
    Flag { name: &'static str, value: String },
    /// What is missing stands nowhere.
    Nowhere,
}

impl From<Range<usize>> for Place {
    fn from(span: Range<usize>) -> Self {
        Self::File(span.start, span.end)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub place: Place,
    pub what: String,
    /// What to do, where `what` does not say so already.
    pub cure: Option<String>,
    /// Another place that has to do with it, and what stands there.
    pub also: Option<(String, Place)>,
}

impl Problem {
    pub fn new(place: &Place, what: impl Into<String>) -> Self {
        Self {
            place: place.clone(),
            what: what.into(),
            cure: None,
            also: None,
        }
    }

    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    pub fn also(mut self, what: impl Into<String>, place: &Place) -> Self {
        if *place != Place::Nowhere && *place != self.place {
            self.also = Some((what.into(), place.clone()));
        }
        self
    }
}

/// What checking found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl Findings {
    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub fn warn(&mut self, warning: Problem) {
        self.warnings.push(warning);
    }

    /// In the order of the file, each once: a bad default is met again in every topic that inherits it.
    pub fn sorted(mut list: Vec<Problem>) -> Vec<Problem> {
        list.sort();
        list.dedup();
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_says_what_to_do() {
        for (kind, said) in [
            (io::ErrorKind::NotFound, "--config or ACKWARDEN_CONFIG"),
            (io::ErrorKind::IsADirectory, "Docker"),
            (io::ErrorKind::PermissionDenied, "let uid "),
        ] {
            let error = ConfigError::Read {
                path: "a.toml".into(),
                source: kind.into(),
            };
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
