//! The command line: commands, flags, their environment variables, exit codes.
//!
//! Every flag has an environment variable; the flag wins. What a flag says about the configuration wins over the file
//! and over `ACKWARDEN__…`. Commands that the contract names and this release has not are there, hidden, and say so.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _};
use clap::{Parser, Subcommand, ValueEnum};

use super::healthcheck::Probe;
use super::logging::log_filter;
use crate::config::duration::parse_duration_ms;
use crate::config::{self, Override, Overrides};

/// What the process ends with. Documented in `--help`; scripts and supervisors rely on them.
pub mod exit {
    /// Done, or stopped as asked.
    pub const OK: u8 = 0;
    /// It did not work; the last line of the log says why. `check`: something is wrong.
    pub const FAILED: u8 = 1;
    /// The command line or the configuration is wrong, or the command is not built yet. Starting again will not help.
    pub const USAGE: u8 = 2;
    /// Another process uses this instance's id: do not start again before it is gone.
    pub const FENCED: u8 = 3;
    /// Another process has the store open.
    pub const STORE_IN_USE: u8 = 4;
    /// The topics cannot be tracked safely as they are (a compacted ACK topic, in-place retries on a compacted source).
    pub const TOPICS_REFUSED: u8 = 5;
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done, or stopped as asked
  1  failed; for `check`: something is wrong
  2  the command line or the configuration is wrong
  3  fenced: another process uses this instance's id
  4  another process has the store open
  5  the topics cannot be tracked safely as they are; the log says why

Settings also come from the environment: ACKWARDEN__HTTP__LISTEN=127.0.0.1:9090 is `listen` in [http].";

/// Makes Kafka safe against consumers that crash in mid-work.
#[derive(Debug, Parser)]
#[command(name = "ackwarden", version, about, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub log: LogArgs,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What was given, and beside it where the command's own arguments came from.
    ///
    /// # Errors
    /// clap's, which knows how to end.
    pub fn read<I>(line: I) -> Result<(Self, ArgMatches), clap::Error>
    where
        I: IntoIterator<Item: Into<OsString> + Clone>,
    {
        let mut given = Self::command().try_get_matches_from(line)?;
        let cli = Self::from_arg_matches(&given)?;
        let of_command = given.remove_subcommand().map(|(_, given)| given);
        Ok((cli, of_command.unwrap_or_default()))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    Serve(ServeArgs),
    /// Show it all on an embedded broker: a sender, a worker that is killed in mid-work, the service
    Demo(DemoArgs),
    /// Validate a configuration, and what it names on the brokers; says what is wrong and what to do
    Check(CheckArgs),
    /// Ask a running service whether it is well; for containers
    Healthcheck(HealthcheckArgs),
    /// The demo's worker, as a process of its own so that it can be killed
    #[command(hide = true)]
    DemoServiceB(Box<crate::demo::ServiceBArgs>),

    #[command(hide = true)]
    Init(NotBuilt),
    #[command(hide = true)]
    Messages(NotBuilt),
    #[command(hide = true)]
    Topics(NotBuilt),
    #[command(hide = true)]
    DeadLetters(NotBuilt),
    #[command(hide = true)]
    Jobs(NotBuilt),
    #[command(hide = true)]
    Unmatched(NotBuilt),
    #[command(hide = true)]
    Audit(NotBuilt),
    #[command(hide = true)]
    Top(NotBuilt),
    #[command(hide = true)]
    Completions(NotBuilt),
}

impl Command {
    /// The name of a command that is not built yet: say so, and end with [`exit::USAGE`].
    #[must_use]
    pub const fn not_built(&self) -> Option<&'static str> {
        Some(match self {
            Self::Serve(_)
            | Self::Demo(_)
            | Self::Check(_)
            | Self::Healthcheck(_)
            | Self::DemoServiceB(_) => return None,
            Self::Init(_) => "init",
            Self::Messages(_) => "messages",
            Self::Topics(_) => "topics",
            Self::DeadLetters(_) => "dead-letters",
            Self::Jobs(_) => "jobs",
            Self::Unmatched(_) => "unmatched",
            Self::Audit(_) => "audit",
            Self::Top(_) => "top",
            Self::Completions(_) => "completions",
        })
    }
}

#[derive(Debug, Args)]
pub struct LogArgs {
    /// What to log: off, error, warn, info, debug or trace, also by module: info,ackwarden::kafka=debug
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        value_parser = log_filter,
        env = "ACKWARDEN_LOG",
        hide_env_values = true
    )]
    pub log: String,
    /// How to log it
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "ACKWARDEN_LOG_FORMAT",
        hide_env_values = true
    )]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Where the configuration is, and what wins over it.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration, TOML; config.example.toml has all of it
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "ACKWARDEN_CONFIG",
        hide_env_values = true
    )]
    pub config: PathBuf,
    /// Instead of kafka.brokers
    #[arg(
        long,
        value_name = "HOST:PORT,…",
        env = "ACKWARDEN_BROKERS",
        hide_env_values = true
    )]
    pub brokers: Option<String>,
    /// Instead of kafka.group_id
    #[arg(
        long,
        value_name = "NAME",
        env = "ACKWARDEN_GROUP_ID",
        hide_env_values = true
    )]
    pub group_id: Option<String>,
    /// Instead of kafka.instance_id
    #[arg(
        long,
        value_name = "NAME",
        env = "ACKWARDEN_INSTANCE_ID",
        hide_env_values = true
    )]
    pub instance_id: Option<String>,
    /// Instead of store.path
    #[arg(
        long,
        value_name = "DIR",
        env = "ACKWARDEN_STORE",
        hide_env_values = true
    )]
    pub store: Option<String>,
    /// Instead of http.listen
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "ACKWARDEN_LISTEN",
        hide_env_values = true
    )]
    pub listen: Option<String>,
}

impl ConfigArgs {
    /// What [`config::load`] lays over everything else. `given` is what [`Cli::read`] gave beside the command.
    #[must_use]
    pub fn overrides(&self, given: &ArgMatches) -> Overrides {
        let of = |flag: &str, value: &Option<String>| {
            let by_variable = given.value_source(flag) == Some(ValueSource::EnvVariable);
            value.clone().map(|value| Override {
                value,
                variable: by_variable.then(|| variable_of(flag)),
            })
        };
        Overrides {
            brokers: of("brokers", &self.brokers),
            group_id: of("group_id", &self.group_id),
            instance_id: of("instance_id", &self.instance_id),
            store_path: of("store", &self.store),
            listen: of("listen", &self.listen),
        }
    }
}

/// As the definitions above have it.
fn variable_of(flag: &str) -> String {
    format!("ACKWARDEN_{}", flag.to_ascii_uppercase())
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after that time, such as 30s, and count; without it, end with Ctrl-C
    #[arg(
        long = "for",
        value_name = "DURATION",
        value_parser = demo_duration,
        env = "ACKWARDEN_DEMO_FOR",
        hide_env_values = true
    )]
    pub run_for: Option<Duration>,
    /// Messages that are sent, a second; more than 60 are more than the demo's Service B can do
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=60),
        env = "ACKWARDEN_DEMO_RATE",
        hide_env_values = true
    )]
    pub rate: u32,
    /// Where the API listens; port 0: any free one
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = loopback,
        env = "ACKWARDEN_LISTEN",
        hide_env_values = true
    )]
    pub listen: SocketAddr,
}

#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Ask whether it is alive (/livez) and not whether it is ready (/readyz)
    #[arg(
        long,
        env = "ACKWARDEN_HEALTHCHECK_LIVE",
        value_parser = FalseyValueParser::new(),
        hide_env_values = true
    )]
    live: bool,
    /// Scheme, host and port of the service. By default what --listen says
    #[arg(
        long,
        value_name = "URL",
        env = "ACKWARDEN_HEALTHCHECK_URL",
        hide_env_values = true
    )]
    url: Option<String>,
    /// As `serve` takes it. By default http.listen of --config, and without that 127.0.0.1:8080
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "ACKWARDEN_LISTEN",
        hide_env_values = true
    )]
    listen: Option<String>,
    /// The configuration of the service
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "ACKWARDEN_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
}

impl HealthcheckArgs {
    #[must_use]
    pub const fn probe(&self) -> Probe {
        if self.live { Probe::Live } else { Probe::Ready }
    }

    /// Where the service is to be asked.
    ///
    /// # Errors
    /// The configuration, of which it is to be known, is wrong or cannot be read; in words for the operator.
    pub fn url(&self, mut env: impl Iterator<Item = (String, String)>) -> Result<String, String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let listen = match (&self.listen, &self.config) {
            (Some(listen), _) => listen.clone(),
            (None, Some(file)) => configured_listen(file, env)?,
            (None, None) => env
                .find(|(name, _)| name.eq_ignore_ascii_case("ACKWARDEN__HTTP__LISTEN"))
                .map_or_else(|| "127.0.0.1:8080".to_owned(), |(_, listen)| listen),
        };
        Ok(format!("http://{listen}"))
    }
}

/// `http.listen` as `serve` finds it: whatever stands in for a flag of its counts here, too.
fn configured_listen(
    file: &Path,
    env: impl Iterator<Item = (String, String)>,
) -> Result<String, String> {
    let mut config = OsString::from("--config=");
    config.push(file);
    let line = ["ackwarden".into(), "serve".into(), config];
    let (cli, given) = Cli::read(line).map_err(|error| error.to_string())?;
    let Command::Serve(serve) = cli.command else {
        return Err("`serve` is no command".to_owned());
    };
    let loaded = config::load(Some(file), env, &serve.config.overrides(&given));
    let listen = loaded
        .map_err(|error| error.to_string())?
        .config
        .http
        .listen;
    if listen.port() == 0 {
        return Err(format!(
            "http.listen is {listen}, any free port: name the one that it got, with --url"
        ));
    }
    Ok(listen.to_string())
}

/// The arguments of a command that is not built yet: whatever they are.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct NotBuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration_ms(text).map(Duration::from_millis) {
        Ok(Duration::ZERO) => Err("is no time at all".to_owned()),
        outcome => outcome,
    }
}

/// Long enough for something to be lost, and to come back.
fn demo_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        short if short < Duration::from_secs(10) => Err("is too short: 10s or more".to_owned()),
        enough => Ok(enough),
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err("is no loopback address, and anything else is not built yet".to_owned()),
        Err(_) => Err("is no address and port, such as 127.0.0.1:8080".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    /// Where `ackwarden healthcheck` asks, with these arguments and variables.
    fn asked(arguments: &str, env: &[(&str, &str)]) -> Result<String, String> {
        let line = format!("ackwarden healthcheck {arguments}");
        let Command::Healthcheck(args) = parse(line.trim()).unwrap().command else {
            panic!("{line}");
        };
        let owned = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
        args.url(env.iter().map(owned))
    }

    #[test]
    fn the_health_check_asks_where_the_service_listens() {
        let at = |listen: &str| Ok(format!("http://{listen}"));
        assert_eq!(asked("", &[]), at("127.0.0.1:8080"));
        let env = [("ACKWARDEN__HTTP__LISTEN", "127.0.0.1:9001")];
        assert_eq!(asked("", &env), at("127.0.0.1:9001"));
        assert_eq!(asked("--listen [::1]:9000", &env), at("[::1]:9000"));
        let both = "--listen [::1]:9000 --url http://127.0.0.1:7000";
        assert_eq!(asked(both, &env), at("127.0.0.1:7000"));
    }

    #[test]
    fn the_health_check_reads_the_services_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ackwarden.toml");
        let config = format!("--config {}", path.display());
        let with = |text: &str, env: &[(&str, &str)]| {
            std::fs::write(&path, text).unwrap();
            asked(&config, env)
        };
        let text = "[http]\nlisten = \"127.0.0.1:9002\"\n[topics.orders]";
        assert_eq!(with(text, &[]), Ok("http://127.0.0.1:9002".to_owned()));
        let env = [("ackwarden__http__listen", "127.0.0.1:9003")];
        assert_eq!(with(text, &env), Ok("http://127.0.0.1:9003".to_owned()));
        for (text, said) in [
            (
                "[http]\nlisten = \"0.0.0.0:1\"\n[topics.orders]",
                "loopback",
            ),
            ("[http]\nlisten = \"127.0.0.1:0\"\n[topics.orders]", "--url"),
            ("[kafka]\nbroker = \"x\"\n[topics.orders]", "`brokers`"),
        ] {
            let error = with(text, &[]).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = asked(&config, &[]).unwrap_err();
        assert!(error.contains("cannot read"), "{error}");
    }

    #[test]
    fn a_variable_is_told_apart_from_the_flag_that_it_stands_in_for() {
        // `ACKWARDEN_STORE` cannot be set for one test alone: what clap says of its sources is believed.
        let line = "ackwarden serve --config a.toml --store /s".split(' ');
        let (cli, given) = Cli::read(line).unwrap();
        let Command::Serve(serve) = cli.command else {
            panic!("serve");
        };
        assert_eq!(given.value_source("store"), Some(ValueSource::CommandLine));
        let overrides = serve.config.overrides(&given);
        assert_eq!(overrides.store_path, Some("/s".into()));
        let cli = Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        for flag in ["brokers", "group_id", "instance_id", "store", "listen"] {
            let mut arguments = serve.get_arguments();
            let defined = arguments.find(|a| a.get_id() == flag).unwrap();
            assert_eq!(
                defined.get_env().and_then(|e| e.to_str()),
                Some(variable_of(flag).as_str())
            );
        }
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_that_is_shown_has_an_environment_variable_of_its_own_prefix() {
        let cli = Cli::command();
        let shown = cli.get_subcommands().filter(|c| !c.is_hide_set());
        for command in shown.chain([&cli]) {
            for flag in command.get_arguments() {
                if matches!(flag.get_id().as_str(), "help" | "version") {
                    continue;
                }
                let env = flag.get_env().and_then(|e| e.to_str()).unwrap_or("");
                // With two underscores it would be taken for a setting of the file.
                let ours = env.starts_with("ACKWARDEN_") && !env.starts_with("ACKWARDEN__");
                assert!(ours, "{} {}", command.get_name(), flag.get_id());
            }
        }
    }

    #[test]
    fn serve_takes_its_file_and_what_wins_over_it() {
        let (cli, given) = Cli::read(
            "ackwarden serve --config a.toml --brokers b:1 --store /s --listen 127.0.0.1:1 --log debug --log-format json"
                .split(' '),
        )
        .unwrap();
        assert_eq!(cli.log.log, "debug");
        assert_eq!(cli.log.log_format, LogFormat::Json);
        let Command::Serve(serve) = cli.command else {
            panic!("serve");
        };
        assert_eq!(serve.config.config, PathBuf::from("a.toml"));
        let overrides = serve.config.overrides(&given);
        assert_eq!(overrides.brokers, Some("b:1".into()));
        assert_eq!(overrides.store_path, Some("/s".into()));
        assert_eq!(overrides.listen, Some("127.0.0.1:1".into()));
        assert_eq!(overrides.group_id, None);
    }

    #[test]
    fn serve_without_a_file_is_a_usage_error() {
        let error = parse("ackwarden serve").unwrap_err();
        assert_eq!(error.exit_code(), i32::from(exit::USAGE));
    }

    #[test]
    fn the_demos_flags_are_bounded() {
        let Command::Demo(demo) = parse("ackwarden demo --for 30s").unwrap().command else {
            panic!("demo");
        };
        assert_eq!(demo.run_for, Some(Duration::from_secs(30)));
        for line in [
            "--for 30",
            "--for 0s",
            "--rate 0",
            "--messages 0",
            "--listen 0.0.0.0:1",
        ] {
            assert!(parse(&format!("ackwarden demo {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn commands_that_are_not_built_say_so_whatever_their_arguments_are() {
        for line in [
            "init",
            "messages ls --topic orders --dry-run",
            "messages --help",
            "topics set orders timeout=1s",
            "dead-letters redrive -x",
            "jobs ls",
            "unmatched ls",
            "audit ls -o json",
            "top",
            "completions bash",
        ] {
            let command = parse(&format!("ackwarden {line}")).unwrap().command;
            assert_eq!(command.not_built(), line.split(' ').next(), "{line}");
        }
    }

    #[test]
    fn the_help_shows_what_is_built() {
        let help = Cli::command().render_long_help().to_string();
        insta::assert_snapshot!(help, @r#"
    Makes Apache Kafka safe against consumers that crash in mid-work: tracks messages until they are acknowledged, and republishes those that are not

    Usage: ackwarden [OPTIONS] <COMMAND>

    Commands:
      serve        Run the service
      demo         Show it all on an embedded broker: a sender, a worker that is killed in mid-work, the service
      check        Validate a configuration, and what it names on the brokers; says what is wrong and what to do
      healthcheck  Ask a running service whether it is well; for containers
      help         Print this message or the help of the given subcommand(s)

    Options:
          --log <LEVEL>
              What to log: off, error, warn, info, debug or trace, also by module: info,ackwarden::kafka=debug
              
              [env: ACKWARDEN_LOG]
              [default: info]

          --log-format <FORMAT>
              How to log it

              Possible values:
              - text: For people
              - json: One JSON object a line
              
              [env: ACKWARDEN_LOG_FORMAT]
              [default: text]

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Exit codes:
      0  done, or stopped as asked
      1  failed; for `check`: something is wrong
      2  the command line or the configuration is wrong
      3  fenced: another process uses this instance's id
      4  another process has the store open
      5  the topics cannot be tracked safely as they are; the log says why

    Settings also come from the environment: ACKWARDEN__HTTP__LISTEN=127.0.0.1:9090 is `listen` in [http].
    "#);
    }
}
