//! A real Apache Kafka broker as a child process: broker and controller in one, on free ports of 127.0.0.1.
//!
//! `Kafka::shared` is one broker for the whole test binary; `Kafka::start` is one's own, to be killed, stopped and started
//! again on the same data and port. Each ends with the test process, and takes its directory along.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use ::ackwarden::clock;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::kafka_fetch::kafka_libs;
use super::kafka_security::{ALLOW, GUEST, Security};
use super::leaders::MOVE_LEADERS;
use super::process::{Guarded, Signal};
use super::{free_port, machine, say_loudly, scratch_dir, tail};

/// A fresh data directory on a loaded machine of two cores: seen to take 2 to 10 s, and more
/// than a minute with ten times more to do than processors.
const STARTS_WITHIN: Duration = Duration::from_secs(180);
/// A clean shutdown writes the snapshots of the partitions.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

pub struct Kafka {
    dir: PathBuf,
    libs: PathBuf,
    port: u16,
    security: Option<Security>,
    measured: bool,
    process: Mutex<Option<Guarded>>,
}

/// What is different about one's own broker.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    /// Server properties on top of those that all have.
    pub properties: Vec<(String, String)>,
    /// Format the data directory and take the port, but do not start yet: `start_again` does.
    pub stopped: bool,
    /// A listener with logins and one with TLS besides: [`Kafka::security`].
    pub secured: bool,
    /// One of several.
    pub node: Option<Node>,
    /// The JVM compiles what is hot as well as it can, as in production, instead of starting quickly.
    pub measured: bool,
}

/// A broker of a cluster.
#[derive(Debug, Clone)]
pub struct Node {
    pub id: usize,
    pub port: u16,
    pub controller_port: u16,
    /// `controller.quorum.voters`.
    pub voters: String,
}

impl KafkaOptions {
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn stopped(mut self) -> Self {
        self.stopped = true;
        self
    }

    pub fn secured(mut self) -> Self {
        self.secured = true;
        self
    }

    pub fn measured(mut self) -> Self {
        self.measured = true;
        self
    }
}

impl Kafka {
    /// The broker that the tests of this binary share, started by whoever asks first. `None` where there is no JDK or
    /// Maven, with a loud line.
    ///
    /// # Panics
    /// If there is none and `CI` is set: a green run that tested nothing would be a lie.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::start(KafkaOptions::default()))
            .as_ref()
    }

    /// A broker of one's own. `None` and panics as for [`shared`](Self::shared).
    pub fn start(options: KafkaOptions) -> Option<Self> {
        machine::watch();
        let libs = match kafka_libs() {
            Ok(libs) => libs,
            Err(why) => {
                assert!(
                    std::env::var("CI").as_deref() != Ok("true"),
                    "CI=true, and the real-Kafka tests cannot run: {why}"
                );
                say_loudly(&format!("SKIPPED real-Kafka tests: {why}"));
                return None;
            }
        };
        // Another process may take a port between the look and the bind.
        for attempt in 1..=3 {
            let kafka = Self::prepare(&libs, &options);
            if options.stopped {
                return Some(kafka);
            }
            match kafka.launch() {
                Ok(()) => return Some(kafka),
                Err(log) if attempt < 3 && log.contains("Address already in use") => {}
                Err(log) => panic!("Kafka did not start; the end of its log:\n{log}"),
            }
        }
        unreachable!("the third attempt returns or panics");
    }

    /// Whether it was started, and not killed since.
    pub fn is_started(&self) -> bool {
        self.process().is_some()
    }

    /// `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the running broker.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().expect("a running broker").id()
    }

    /// The listeners of a broker that was started as `secured`.
    pub fn security(&self) -> &Security {
        self.security.as_ref().expect("a secured broker")
    }

    /// SIGKILL.
    pub fn kill9(&self) {
        if let Some(mut process) = self.process().take() {
            process.kill9();
        }
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&self) {
        if let Some(mut process) = self.process().take() {
            process.terminate(STOPS_WITHIN);
        }
    }

    /// Starts it on the same data and the same port, and waits until it answers.
    pub fn start_again(&self) {
        if let Err(log) = self.launch() {
            panic!("Kafka did not start again; the end of its log:\n{log}");
        }
    }

    /// SIGSTOP: the process stands still, its connections stay open.
    pub fn pause(&self) {
        self.signal(Signal::Stop);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::Cont);
    }

    /// The end of the broker's log.
    pub fn log_tail(&self) -> String {
        tail(&self.dir.join("kafka.log"), 60)
    }

    fn signal(&self, signal: Signal) {
        match self.process().as_mut() {
            Some(process) => process.signal(signal),
            None => panic!("the broker is not running"),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Guarded>> {
        self.process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn prepare(libs: &Path, options: &KafkaOptions) -> Self {
        let dir = scratch_dir("kafka");
        let node = options.node.clone().unwrap_or_else(|| {
            let controller_port = free_port();
            Node {
                id: 1,
                port: free_port(),
                controller_port,
                voters: format!("1@127.0.0.1:{controller_port}"),
            }
        });
        let (port, controller_port) = (node.port, node.controller_port);
        let mut properties = server_properties(&node, &dir.join("data"));
        let security = options.secured.then(|| Security::new(&dir));
        if let Some(security) = &security {
            properties.push_str(&security.server_properties(port, controller_port));
        }
        for (name, value) in &options.properties {
            properties.push_str(&format!("{name}={value}\n"));
        }
        fs::write(dir.join("server.properties"), properties).expect("server.properties");
        let kafka = Self {
            dir,
            libs: libs.to_path_buf(),
            port,
            security,
            measured: options.measured,
            process: Mutex::new(None),
        };
        let output = kafka
            .java("kafka.tools.StorageTool")
            .args(["format", "-t", "QWNrd2FyZGVuVGVzdHNfXw", "-c"])
            .arg(kafka.dir.join("server.properties"))
            .args(kafka.security.iter().flat_map(Security::format_arguments))
            .output()
            .expect("java for StorageTool");
        assert!(
            output.status.success(),
            "StorageTool format: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        kafka
    }

    /// Allows the guest each `RESOURCE:name:OPERATION`.
    pub fn allow_guest(&self, allowed: &[String]) {
        let source = self.dir.join("Allow.java");
        std::fs::write(&source, ALLOW).expect("written");
        let output = self
            .java("Allow.java")
            .arg(self.brokers())
            .arg(format!("User:{GUEST}"))
            .args(allowed)
            .output()
            .expect("java");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// Makes another replica the leader of each partition of these topics; answers with how many it moved.
    pub fn move_leaders(&self, brokers: &str, topics: &[String]) -> usize {
        let source = self.dir.join("MoveLeaders.java");
        fs::write(&source, MOVE_LEADERS).expect("written");
        let mut command = self.java("MoveLeaders.java");
        let output = command.arg(brokers).args(topics).output().expect("java");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let moved = String::from_utf8_lossy(&output.stdout);
        moved.trim().parse().expect("a number of leaders")
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        let options: &[&str] = if self.measured {
            &["-Xmx512m", "-XX:+UseSerialGC"]
        } else {
            &["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        };
        command
            .args(options)
            .arg("-Dorg.slf4j.simpleLogger.showDateTime=true")
            .arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS")
            .arg("-cp")
            .arg(format!("{}/*", self.libs.display()))
            .arg(class)
            .current_dir(&self.dir);
        command
    }

    /// Starts the process and waits until it answers; `Err` is the end of its log.
    fn launch(&self) -> Result<(), String> {
        self.launch_only();
        self.wait_up()
    }

    /// Starts the process, and waits for nothing.
    pub fn launch_only(&self) {
        let mut slot = self.process();
        assert!(slot.is_none(), "the broker is running already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("kafka.log"))
            .expect("kafka.log");
        let mut command = self.java("kafka.Kafka");
        command
            .arg(self.dir.join("server.properties"))
            .stdout(log.try_clone().expect("kafka.log"))
            .stderr(log);
        *slot = Some(Guarded::spawn(&mut command, Some(&self.dir)));
    }

    /// Waits until it answers; `Err` is the end of its log.
    ///
    /// # Errors
    /// It ended, or does not answer in time.
    pub fn wait_up(&self) -> Result<(), String> {
        let mut slot = self.process();
        let process = slot.as_mut().expect("a started broker");
        let start = clock::instant();
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("reconnect.backoff.max.ms", "200")
            .set("log_level", "0")
            .create()
            .expect("a client");
        loop {
            if process.exited().is_some() || start.elapsed() > STARTS_WITHIN {
                *slot = None;
                return Err(self.log_tail());
            }
            if client
                .fetch_metadata(None, Duration::from_millis(500))
                .is_ok_and(|m| !m.brokers().is_empty())
            {
                return Ok(());
            }
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the broker's log\n{}\n---", self.log_tail());
        }
        self.kill9();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Small, quick, and honest: topics are made on purpose only, sessions may be short, retention is looked at each second.
fn server_properties(node: &Node, data: &Path) -> String {
    let Node {
        id,
        port,
        controller_port,
        voters,
    } = node;
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.check.interval.ms=1000
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=1000
broker.session.timeout.ms=6000
num.network.threads=2
num.io.threads=4
",
        data.display()
    )
}
