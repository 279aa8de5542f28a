//! The built binary as a child: `ackwarden serve`, its log, its HTTP API.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use ::ackwarden::clock;
use serde_json::Value;

use super::process::{Guarded, Signal};
use super::{eventually, free_port, scratch_dir, tail};

const READY_WITHIN: Duration = Duration::from_secs(180);
const STOPS_WITHIN: Duration = Duration::from_secs(30);
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// What `serve` is told. Everything has a default apart from the topics.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    brokers: String,
    group_id: String,
    instance_id: Option<String>,
    store: Option<PathBuf>,
    port: Option<u16>,
    sections: Vec<String>,
}

impl ServeConfig {
    /// `group_id` also names the state topic (`{group_id}-state`), so it should be the test's own.
    pub fn new(brokers: &str, group_id: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            group_id: group_id.to_owned(),
            instance_id: None,
            store: None,
            port: None,
            sections: Vec::new(),
        }
    }

    /// `[topics."NAME"]` with these lines; `start = "now"` unless they say otherwise.
    pub fn topic(mut self, name: &str, lines: &str) -> Self {
        self.sections.push(format!("[topics.{name:?}]\n{lines}"));
        self
    }

    /// Any other section, header and lines.
    pub fn section(mut self, text: &str) -> Self {
        self.sections.push(text.to_owned());
        self
    }

    pub fn instance_id(mut self, id: &str) -> Self {
        self.instance_id = Some(id.to_owned());
        self
    }

    /// A store that outlives this instance, or belongs to another.
    pub fn store(mut self, path: &Path) -> Self {
        self.store = Some(path.to_path_buf());
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    fn to_toml(&self, port: u16, dir: &Path) -> String {
        let store = self.store.clone().unwrap_or_else(|| dir.join("store"));
        let instance_id = self
            .instance_id
            .as_ref()
            .map_or_else(String::new, |id| format!("instance_id = {id:?}\n"));
        // A short session, so that a lost store is soon made up for.
        let consumer = "[kafka.consumer]";
        let session = if self.sections.iter().any(|s| s.contains(consumer)) {
            String::new()
        } else {
            format!(
                "{consumer}\n\"session.timeout.ms\" = 6000\n\"heartbeat.interval.ms\" = 500\n\n"
            )
        };
        format!(
            "[kafka]\nbrokers = {:?}\ngroup_id = {:?}\n{instance_id}\n{session}\
             [store]\npath = {store:?}\ncheckpoint_interval = \"200ms\"\n\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n\n{}\n",
            self.brokers,
            self.group_id,
            self.sections.join("\n\n")
        )
    }
}

/// A running `ackwarden serve`. Ends, with its directory, when it is dropped.
pub struct Ackwarden {
    config: ServeConfig,
    dir: PathBuf,
    port: u16,
    process: Option<Guarded>,
    agent: ureq::Agent,
}

impl Ackwarden {
    /// Starts it, and waits for `/readyz`: from then on what is produced is tracked, also under `start = "now"`.
    pub fn start(config: ServeConfig) -> Self {
        let mut service = Self::spawn(config);
        service.wait_ready();
        service
    }

    /// Starts it and waits for nothing: for what is not to become ready, or only later.
    pub fn spawn(config: ServeConfig) -> Self {
        let dir = scratch_dir("serve");
        let port = config.port.unwrap_or_else(free_port);
        fs::write(dir.join("ackwarden.toml"), config.to_toml(port, &dir)).expect("the config");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut service = Self {
            config,
            dir,
            port,
            process: None,
            agent,
        };
        service.launch();
        service
    }

    /// After `kill9` or `terminate`: the same configuration, port and store; waits for `/readyz`.
    pub fn start_again(&mut self) {
        self.launch();
        self.wait_ready();
    }

    /// The next one, which is not waited for.
    pub fn start_again_unready(&mut self) {
        self.launch();
    }

    /// SIGKILL, and at once the next one.
    pub fn kill9_and_start_again(&mut self) {
        self.kill9();
        self.start_again();
    }

    /// SIGKILL, and the next one, which is not waited for.
    pub fn kill9_and_start_again_unready(&mut self) {
        self.kill9();
        self.launch();
    }

    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a running service");
        process.terminate(STOPS_WITHIN)
    }

    pub fn signal(&mut self, signal: Signal) {
        self.process
            .as_mut()
            .expect("a running service")
            .signal(signal);
    }

    /// Its exit status, if it ends by itself within `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.process
            .as_mut()
            .expect("a started service")
            .wait(limit)
    }

    /// That it ends by itself, not with 0, and says each of `words` before it does.
    pub fn expect_refusal(&mut self, words: &[&str]) {
        let status = self.wait_exit(Duration::from_secs(120));
        let log = self.log();
        let status =
            status.unwrap_or_else(|| panic!("serve goes on instead of refusing; its log:\n{log}"));
        assert!(
            !status.success(),
            "serve ended with {status}; its log:\n{log}"
        );
        let lower = log.to_lowercase();
        for word in words {
            assert!(
                lower.contains(&word.to_lowercase()),
                "serve's last words do not contain {word:?}:\n{log}"
            );
        }
    }

    /// Where its store is.
    pub fn store_path(&self) -> PathBuf {
        self.config
            .store
            .clone()
            .unwrap_or_else(|| self.dir.join("store"))
    }

    /// The file that it reads.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("ackwarden.toml")
    }

    /// While it is down: the view goes, the topics stay.
    pub fn delete_store(&self) {
        assert!(self.process.is_none(), "stop it first");
        fs::remove_dir_all(self.store_path()).expect("the store is there, to be deleted");
    }

    /// Lets its wall clock, not the machine's, be wrong by so much from now on, across restarts too. Only a debug build
    /// listens.
    pub fn set_wall_clock_off_by(&self, step_ms: i64) {
        // Whole or not there: it is read while it is written.
        let new = self.dir.join("clock-step.new");
        fs::write(&new, step_ms.to_string()).expect("the clock's step");
        fs::rename(new, self.step_file()).expect("the clock's step");
    }

    fn step_file(&self) -> PathBuf {
        self.dir.join("clock-step")
    }

    /// All that it has said so far, standard output and error.
    pub fn log(&self) -> String {
        tail(&self.dir.join("serve.log"), usize::MAX)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn wait_ready(&mut self) {
        eventually("serve is ready", READY_WITHIN, || {
            if let Some(process) = &mut self.process
                && let Some(status) = process.exited()
            {
                panic!("serve ended with {status} instead of getting ready");
            }
            self.is_ready().then_some(())
        });
    }

    /// Whether `/readyz` says 200.
    pub fn is_ready(&self) -> bool {
        self.agent
            .get(self.url("/readyz"))
            .call()
            .is_ok_and(|response| response.status() == 200)
    }

    /// What `/readyz` says; null while nobody answers.
    pub fn readyz(&self) -> Value {
        match self.agent.get(self.url("/readyz")).call() {
            Ok(mut response) => response.body_mut().read_json().unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    /// The JSON of a path below `/api/v1`; panics unless it is a 200.
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.try_get(path);
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// Status and JSON, whatever they are.
    pub fn try_get(&self, path: &str) -> (u16, Value) {
        let url = self.url(&format!("/api/v1{path}"));
        let response = self.agent.get(url).call();
        answer("GET", path, response)
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = self.url(&format!("/api/v1{path}"));
        let response = self.agent.post(url).send_json(body);
        answer("POST", path, response)
    }

    /// Again and again while Kafka does not say in time what became of it: what is set twice is set.
    pub fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = self.url(&format!("/api/v1{path}"));
        until_told(|| answer("PATCH", path, self.agent.patch(&url).send_json(body)))
    }

    /// As [`patch`](Self::patch).
    pub fn delete(&self, path: &str) -> (u16, Value) {
        let url = self.url(&format!("/api/v1{path}"));
        until_told(|| answer("DELETE", path, self.agent.delete(&url).call()))
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        let mut response = self
            .agent
            .get(self.url("/metrics"))
            .call()
            .expect("/metrics");
        response.body_mut().read_to_string().expect("/metrics")
    }

    /// The sum of a metric's series that have all of these labels; panics where there is no such series.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.metrics();
        let values: Vec<f64> = text
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
                    && labels
                        .iter()
                        .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(!values.is_empty(), "no series {name}{labels:?} in\n{text}");
        values.iter().sum()
    }

    /// Unsettled messages of a topic, all states together.
    pub fn unsettled(&self, topic: &str) -> u64 {
        let view = self.get(&format!("/topics/{topic}"));
        let counts = view["counts"].as_object().expect("counts").clone();
        counts.values().map(|n| n.as_u64().expect("a count")).sum()
    }

    /// Waits until nothing of the topic is unsettled.
    pub fn wait_settled(&self, topic: &str, limit: Duration) {
        eventually(&format!("{topic} is settled"), limit, || {
            (self.unsettled(topic) == 0).then_some(())
        });
    }

    /// Waits until the message at that position (of any of its deliveries) is in that state; answers with it.
    pub fn wait_state(&self, position: &str, state: &str, limit: Duration) -> Value {
        eventually(&format!("{position} is {state}"), limit, || {
            let (status, message) = self.try_get(&format!("/messages/{position}"));
            (status == 200 && message["state"] == state).then_some(message)
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "serve is running already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("serve.log"))
            .expect("serve.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ackwarden"));
        command
            .args(["serve", "--config"])
            .arg(self.dir.join("ackwarden.toml"))
            .current_dir(&self.dir)
            .env(clock::STEP_FILE, self.step_file())
            .stdout(log.try_clone().expect("serve.log"))
            .stderr(log);
        self.process = Some(Guarded::spawn(&mut command, Some(&self.dir)));
    }
}

impl Drop for Ackwarden {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the end of serve's log (port {})\n{}\n---",
                self.port,
                tail(&self.dir.join("serve.log"), 80)
            );
        }
        self.process = None;
        if let Some(keep) = std::env::var_os("KEEP_LOGS") {
            let name = format!("serve-{}-{}.log", std::process::id(), self.port);
            let _ = fs::copy(self.dir.join("serve.log"), Path::new(&keep).join(name));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What a busy broker does not say in time is a 504.
fn until_told(mut ask: impl FnMut() -> (u16, Value)) -> (u16, Value) {
    eventually("Kafka says what became of it", TOLD_WITHIN, || {
        Some(ask()).filter(|(status, _)| *status != 504)
    })
}

fn answer(
    method: &str,
    path: &str,
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> (u16, Value) {
    let mut response = response.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}
