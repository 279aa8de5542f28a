//! Environment variables that look like ours and are none: what is ignored in silence is believed to hold.

use clap::CommandFactory as _;

use super::args::Cli;
use crate::config::did_you_mean;
use crate::config::schema::{TOP, Table};

const PREFIX: &str = "ACKWARDEN_";
/// What begins with it is the configuration's to judge.
const SETTING: &str = "ACKWARDEN__";

/// A warning for each of the names that begins with `ACKWARDEN_` and means nothing.
#[must_use]
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let flags = flags(&Cli::command());
    let settings = settings();
    let known = || flags.iter().chain(&settings).map(String::as_str);
    let mut warnings: Vec<String> = names
        .filter(|name| !flags.contains(name) && is_a_miss(&name.to_ascii_uppercase()))
        .map(|name| {
            let cure = match did_you_mean(&name, known()) {
                Some(near) => format!("did you mean {near}?"),
                None => rule(&name),
            };
            format!("the environment variable {name} means nothing, and is ignored: {cure}")
        })
        .collect();
    warnings.sort();
    warnings
}

fn is_a_miss(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    // Kubernetes sets these for services whose name begins like ours.
    let is_service_link = ["SERVICE_", "PORT_"].iter().any(|p| rest.starts_with(p))
        || ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"]
            .iter()
            .any(|p| rest.contains(p))
        || rest == "PORT";
    let is_for_tests = rest.starts_with("TEST_");
    !name.starts_with(SETTING) && !is_service_link && !is_for_tests
}

fn rule(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let segment = upper[PREFIX.len()..].split('_').next();
    let table = segment.filter(|s| TOP.contains(&s.to_ascii_lowercase().as_str()));
    format!(
        "a setting of the file has two underscores at each level, {SETTING}{}__…",
        table.unwrap_or("TABLE")
    )
}

/// The variables of all flags.
fn flags(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|flag| flag.get_env());
    let mut found: Vec<String> = own.filter_map(|e| e.to_str()).map(str::to_owned).collect();
    found.extend(command.get_subcommands().flat_map(flags));
    found
}

/// The variables of all settings whose names do not depend on the file.
fn settings() -> Vec<String> {
    let of = |table: Table| {
        let name = match table {
            Table::Kafka => "KAFKA",
            Table::Store => "STORE",
            Table::Http => "HTTP",
            Table::Limits => "LIMITS",
            Table::Topic => "DEFAULTS",
        };
        let keys = table.keys().iter().filter(|key| key.built);
        keys.map(move |key| format!("{SETTING}{name}__{}", key.name.to_ascii_uppercase()))
    };
    Table::ALL.into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(names: &[&str]) -> Vec<String> {
        unknown_variables(names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn what_is_nearly_one_of_ours_is_told_with_what_was_meant() {
        for (name, meant) in [
            (
                "ACKWARDEN_HTTP_LISTEN",
                "did you mean ACKWARDEN__HTTP__LISTEN?",
            ),
            (
                "ACKWARDEN_KAFKA__BROKERS",
                "did you mean ACKWARDEN__KAFKA__BROKERS?",
            ),
            ("ACKWARDEN_BROKER", "did you mean ACKWARDEN_BROKERS?"),
            ("ackwarden_listen", "did you mean ACKWARDEN_LISTEN?"),
            (
                "ACKWARDEN_STORE_PATH",
                "did you mean ACKWARDEN__STORE__PATH?",
            ),
            ("ACKWARDEN_TOPICS_ORDERS_TIMEOUT", "ACKWARDEN__TOPICS__…"),
            ("ACKWARDEN_COLOUR_OF_THE_SKY", "ACKWARDEN__TABLE__…"),
        ] {
            let warnings = warned(&[name]);
            assert_eq!(warnings.len(), 1, "{name}");
            assert!(
                warnings[0].contains(name) && warnings[0].ends_with(meant),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn what_is_ours_kubernetes_or_nobodys_is_no_miss() {
        let others = [
            "ACKWARDEN_CONFIG",
            "ACKWARDEN_LOG",
            "ACKWARDEN_LISTEN",
            "ACKWARDEN_HEALTHCHECK_URL",
            "ACKWARDEN_DEMO_RATE",
            "ACKWARDEN__HTTP__LISTEN",
            "ACKWARDEN__NOTHING",
            "ACKWARDEN_SERVICE_HOST",
            "ACKWARDEN_SERVICE_PORT_HTTP",
            "ACKWARDEN_PORT",
            "ACKWARDEN_PORT_8080_TCP_ADDR",
            "ACKWARDEN_METRICS_SERVICE_HOST",
            "ACKWARDENED",
            "PATH",
        ];
        assert_eq!(warned(&others), Vec::<String>::new());
    }
}
