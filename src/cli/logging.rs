//! The log, on standard error: what of it, in which shape, and whether in colours.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::args::{LogArgs, LogFormat};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// From here on, what is traced is seen.
pub fn log_to_stderr(args: &LogArgs) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&args.log))
        .with_ansi(in_colours())
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn in_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !unwanted
}

/// `--log`: levels, and levels of modules. The filter would take a level that is misspelt for a module, and say nothing
/// from then on.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let pieces: Vec<&str> = text.split(',').map(str::trim).collect();
    for piece in &pieces {
        let (module, level) = piece.split_once('=').unwrap_or(("ackwarden", piece));
        let is_level = LEVELS.iter().any(|l| l.eq_ignore_ascii_case(level));
        let in_name = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
        if !is_level || module.is_empty() || !module.chars().all(in_name) {
            return Err(format!(
                "`{piece}` is neither a level ({}) nor module=level",
                LEVELS.join(", ")
            ));
        }
    }
    let filter = pieces.join(",");
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_made_of_levels_and_of_levels_of_modules() {
        for good in [
            "info",
            "OFF",
            "info,ackwarden::kafka=debug",
            "warn,ackwarden=trace,h2=off",
        ] {
            assert_eq!(log_filter(good).as_deref(), Ok(good));
        }
        let spaced = log_filter("info, ackwarden::runtime=debug");
        assert_eq!(spaced.as_deref(), Ok("info,ackwarden::runtime=debug"));
    }

    #[test]
    fn a_level_that_is_misspelt_is_named_with_those_that_there_are() {
        for (text, piece) in [
            ("warning", "warning"),
            ("verbose", "verbose"),
            ("", ""),
            ("info,", ""),
            ("info,ackwarden::kafka", "ackwarden::kafka"),
            ("info,ackwarden::kafka=loud", "ackwarden::kafka=loud"),
            ("=debug", "=debug"),
            ("a[b]=debug", "a[b]=debug"),
        ] {
            let error = log_filter(text).unwrap_err();
            assert!(error.starts_with(&format!("`{piece}` is")), "{error}");
            assert!(error.contains("off, error, warn"), "{error}");
        }
    }
}
