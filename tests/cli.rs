//! The program as its operators meet it: what it says, where, and its exit codes. Kafka is never there: it is waited for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use ::ackwarden::clock;
use serde_json::Value;
use tempfile::TempDir;

#[allow(dead_code)]
#[path = "support/process.rs"]
mod process;

use process::{Guarded, Signal};

const PATIENCE: Duration = Duration::from_secs(60);

/// The program, with these variables and no other.
fn ackwarden(arguments: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ackwarden"));
    command.args(arguments).env_clear();
    command.envs(env.iter().copied());
    command
}

fn ran(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    ackwarden(arguments, env).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A service that waits for Kafka.
struct Serving {
    process: Guarded,
    listen: SocketAddr,
    dir: TempDir,
}

impl Serving {
    fn start(env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap();
        drop(free);
        let text = format!(
            "[kafka]\nbrokers = \"127.0.0.1:2\"\n[store]\npath = {:?}\n[http]\nlisten = \"{listen}\"\n[topics.orders]\n",
            dir.path().join("store")
        );
        fs::write(dir.path().join("ackwarden.toml"), text).unwrap();
        let config = dir.path().join("ackwarden.toml");
        let mut command = ackwarden(&["serve", "--config", config.to_str().unwrap()], env);
        command.stderr(File::create(dir.path().join("log")).unwrap());
        let serving = Self {
            process: Guarded::spawn(&mut command, Some(dir.path())),
            listen,
            dir,
        };
        serving.says("the API listens");
        serving
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("ackwarden.toml")
    }

    /// The line of the log that has it.
    fn says(&self, what: &str) -> String {
        let start = clock::instant();
        loop {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
            if let Some(line) = log.lines().find(|line| line.contains(what)) {
                return line.to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "no {what:?} in {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_level_that_is_misspelt_is_an_error_and_not_silence() {
    for (arguments, env, piece) in [
        (
            &["--log", "warning", "serve", "--config", "x"][..],
            &[][..],
            "`warning`",
        ),
        (
            &["serve", "--config", "x"],
            &[("ACKWARDEN_LOG", "verbose")],
            "`verbose`",
        ),
        (
            &["demo", "--log", "info,ackwarden=loud"],
            &[],
            "`ackwarden=loud`",
        ),
    ] {
        let output = ran(arguments, env);
        assert_eq!(code(&output), 2, "{arguments:?}");
        let told = complaint(&output);
        assert!(
            told.contains(piece) && told.contains("off, error, warn, info"),
            "{told}"
        );
    }
}

#[test]
fn the_last_failure_is_json_where_the_log_is() {
    let arguments = ["serve", "--config", "/nowhere/a.toml"];
    let output = ran(&arguments, &[("ACKWARDEN_LOG_FORMAT", "json")]);
    assert_eq!(code(&output), 2);
    let told = complaint(&output);
    let line: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR");
    let message = line["fields"]["message"].as_str().unwrap();
    assert!(
        message.contains("/nowhere/a.toml") && message.contains("--config"),
        "{message}"
    );

    let told = complaint(&ran(&arguments, &[]));
    assert!(told.starts_with("ackwarden: cannot read"), "{told}");
    // Whatever the filter leaves out.
    let quiet = [("ACKWARDEN_LOG_FORMAT", "json"), ("ACKWARDEN_LOG", "off")];
    let told = complaint(&ran(&arguments, &quiet));
    assert!(told.starts_with("ackwarden: cannot read"), "{told}");
}

#[test]
fn an_empty_variable_is_named_and_not_the_flag_that_it_stands_in_for() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("a.toml");
    fs::write(&config, "[topics.orders]").unwrap();
    let arguments = ["check", "--config", config.to_str().unwrap()];
    let output = ran(&arguments, &[("ACKWARDEN_LISTEN", "")]);
    assert_eq!(code(&output), 2);
    let told = complaint(&output);
    assert!(
        told.contains("environment variable ACKWARDEN_LISTEN"),
        "{told}"
    );
    assert!(!told.contains("--listen"), "{told}");
}

#[test]
fn a_service_says_how_it_was_started_and_hears_signals_while_it_waits_for_kafka() {
    let mut serving = Serving::start(&[
        ("ACKWARDEN_GROUP_ID", "the-group"),
        ("ACKWARDEN__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2"),
        ("ACKWARDEN_HTTP_LISTEN", "127.0.0.1:1"),
    ]);
    let start = serving.says("ackwarden starts");
    for part in [
        env!("CARGO_PKG_VERSION"),
        serving.config().to_str().unwrap(),
        "group_id=\"the-group\"",
        serving.dir.path().join("store").to_str().unwrap(),
        "ACKWARDEN__KAFKA__PROPERTIES__SASL_PASSWORD, ACKWARDEN_GROUP_ID",
    ] {
        assert!(start.contains(part), "{part}: {start}");
    }
    let warning = serving.says("ACKWARDEN_HTTP_LISTEN");
    assert!(
        warning.contains("did you mean ACKWARDEN__HTTP__LISTEN?"),
        "{warning}"
    );

    let config = serving.config();
    let config = ["--config", config.to_str().unwrap()];
    let alive = ran(&[&["healthcheck", "--live"], &config[..]].concat(), &[]);
    assert_eq!(code(&alive), 0, "{}", complaint(&alive));
    let ready = ran(&[&["healthcheck"], &config[..]].concat(), &[]);
    assert_eq!(code(&ready), 1);
    assert!(
        complaint(&ready).contains("not ready"),
        "{}",
        complaint(&ready)
    );

    serving.process.signal(Signal::Hup);
    serving.says("SIGHUP: the configuration is not read again");
    serving.process.signal(Signal::Term);
    serving.says("SIGTERM: stopping");
    assert_eq!(serving.process.wait(PATIENCE).unwrap().code(), Some(0));
    serving.says("stopped");
    let log = fs::read_to_string(serving.dir.path().join("log")).unwrap();
    assert!(!log.contains('\u{1b}'), "colours in a file: {log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut serving = Serving::start(&[]);
    // A call whose body does not come is waited for.
    let mut call = TcpStream::connect(serving.listen).unwrap();
    let head = "POST /api/v1/topics/orders/pause HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\
                expect: 100-continue\r\n\r\n";
    call.write_all(head.as_bytes()).unwrap();
    let mut waited_for = [0; 12];
    call.read_exact(&mut waited_for).unwrap();
    assert_eq!(&waited_for, b"HTTP/1.1 100");
    serving.process.signal(Signal::Term);
    serving.says("SIGTERM: stopping");
    let since = clock::instant();
    serving.process.signal(Signal::Int);
    assert_eq!(serving.process.wait(PATIENCE).unwrap().code(), Some(1));
    assert!(since.elapsed() < Duration::from_secs(5));
    serving.says("ackwarden: SIGINT again: ending at once");
}
