//! Ackwarden as it is measured: the release binary as a child, on a fresh group and store, with the defaults of its
//! configuration but for what is in `config` below.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ::ackwarden::clock;
use serde_json::Value;

use super::support::process::{Guarded, Signal};
use super::support::{eventually, free_port, scratch_dir, tail, unique};
use super::workload::{Ids, SOURCE};

const LOG: &str = "serve.log";
const STORE: &str = "store";
const READY_WITHIN: Duration = Duration::from_secs(240);

pub struct Serve {
    pub group: String,
    binary: PathBuf,
    dir: PathBuf,
    port: u16,
    process: Guarded,
    agent: ureq::Agent,
    /// Bytes of its log that an earlier process wrote.
    said_before: usize,
}

/// The binary that was just built.
pub fn built() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ackwarden"))
}

/// What of its configuration differs from row to row.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    pub ids: Ids,
    pub start: &'a str,
    pub timeout: &'a str,
    /// More lines of `[store]`.
    pub store: &'a str,
    /// More sections.
    pub more: &'a str,
}

impl Setup<'_> {
    /// Everything that is there, and nothing is due.
    pub const fn of(ids: Ids) -> Self {
        Self {
            ids,
            start: "earliest",
            timeout: "1h",
            store: "",
            more: "",
        }
    }
}

impl Serve {
    pub fn start(binary: &Path, brokers: &str, setup: Setup<'_>) -> Self {
        let dir = scratch_dir("compare-serve");
        let (port, group) = (free_port(), unique("compare"));
        write_config(&dir, brokers, &group, port, setup);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self {
            process: launch(binary, &dir),
            group,
            binary: binary.to_path_buf(),
            dir,
            port,
            agent,
            said_before: 0,
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGSTOP, and SIGCONT.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    pub fn terminate(&mut self) {
        let status = self.process.terminate(Duration::from_secs(60));
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// What it is to go by from its next start on.
    pub fn configure(&self, brokers: &str, setup: Setup<'_>) {
        write_config(&self.dir, brokers, &self.group, self.port, setup);
    }

    pub fn store_dir(&self) -> PathBuf {
        self.dir.join(STORE)
    }

    /// After one of these two: the same store.
    pub fn start_again(&mut self) {
        self.said_before = self.log().len();
        self.process = launch(&self.binary, &self.dir);
    }

    /// Waits until its log has those words.
    pub fn wait_said(&mut self, words: &str) {
        eventually(words, READY_WITHIN, || {
            self.check_alive();
            self.log()[self.said_before..].contains(words).then_some(())
        });
    }

    pub fn wait_ready(&mut self) {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let start = clock::instant();
        loop {
            self.check_alive();
            let answer = self.agent.get(&url).call();
            if answer.is_ok_and(|response| response.status() == 200) {
                return;
            }
            assert!(start.elapsed() < READY_WITHIN, "not ready\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until that many more checkpoints were written; gives up when nothing changes, because then none is due.
    pub fn wait_checkpoints(&self, more: u64) {
        let wanted = self.checkpoints() + more;
        let start = clock::instant();
        while self.checkpoints() < wanted && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn log(&self) -> String {
        tail(&self.dir.join(LOG), usize::MAX)
    }

    /// `GET /api/v1/stats`.
    pub fn stats(&self) -> Value {
        self.get("/stats")
    }

    /// How many the first topic counts as that, since the process began.
    pub fn count(&self, what: &str) -> u64 {
        self.stats()["topics"][0][what].as_u64().expect("a number")
    }

    /// Written since the process began.
    pub fn checkpoints(&self) -> u64 {
        self.stats()["store"]["checkpoints"].as_u64().unwrap_or(0)
    }

    /// The JSON of a path below `/api/v1`.
    pub fn get(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1{path}", self.port);
        let response = self.agent.get(url).call();
        self.body(path, response)
    }

    pub fn patch(&self, path: &str, body: &Value) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1{path}", self.port);
        let response = self.agent.patch(url).send_json(body);
        self.body(path, response)
    }

    fn body(
        &self,
        path: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Value {
        let mut response = response.unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.log()));
        let body: Value = response.body_mut().read_json().unwrap_or_default();
        assert!(response.status().is_success(), "{path}: {body}");
        body
    }

    fn check_alive(&mut self) {
        if let Some(status) = self.process.exited() {
            panic!("serve ended with {status}:\n{}", self.log());
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- serve's log\n{}\n---", self.log());
        }
        self.process.kill9();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn launch(binary: &Path, dir: &Path) -> Guarded {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join(LOG))
        .expect("its log");
    let mut command = Command::new(binary);
    command
        .args(["serve", "--config", "ackwarden.toml"])
        .current_dir(dir)
        .stdout(log.try_clone().expect("its log"))
        .stderr(log);
    Guarded::spawn(&mut command, Some(dir))
}

fn write_config(dir: &Path, brokers: &str, group: &str, port: u16, setup: Setup<'_>) {
    let text = config(brokers, group, port, setup);
    fs::write(dir.join("ackwarden.toml"), text).expect("the config");
}

fn config(brokers: &str, group: &str, port: u16, setup: Setup<'_>) -> String {
    let Setup {
        ids,
        start,
        timeout,
        store,
        more,
    } = setup;
    let id = match ids {
        Ids::Positions => "[\"position\"]",
        Ids::Header => "[\"header:message-id\", \"position\"]",
    };
    format!(
        "[kafka]\nbrokers = {brokers:?}\ngroup_id = {group:?}\n\
         [store]\npath = {STORE:?}\n{store}\
         [http]\nlisten = \"127.0.0.1:{port}\"\n\
         [topics.{SOURCE:?}]\nstart = {start:?}\nid = {id}\ntimeout = {timeout:?}\ntimeout_max = \"2h\"\n\
         {more}"
    )
}
