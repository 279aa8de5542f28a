//! Kafka's share groups, kmq and NATS JetStream, with what their registries have of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::client::Client;
use super::{Done, PARTITIONS, Stopwatch, VALUE_BYTES, send_all};
use crate::support::kafka::Kafka;
use crate::support::kafka_fetch::{self, Artifacts, kafka_libs};
use crate::support::process::Guarded;
use crate::support::topics::{self, TopicSpec};
use crate::support::{eventually, free_port, say_loudly, scratch_dir, unique};

/// More do not make it faster on two cores.
const SHARE_CONSUMERS: &str = "2";

/// The newest kmq that Maven Central has, with the newest Kafka client that still has what it calls.
const KMQ: Artifacts<'_> = Artifacts {
    what: "kmq",
    home: "kmq",
    version: "0.2",
    pom: r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ackwarden.benches</groupId>
  <artifactId>kmq</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.softwaremill.kmq</groupId>
      <artifactId>core_2.12</artifactId>
      <version>0.2</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-clients</artifactId>
      <version>3.9.1</version>
    </dependency>
  </dependencies>
</project>
"#,
    main_jar: "core_2.12-0.2.jar",
};

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/compare/whole")
        .join(name)
}

fn java(libs: &Path, program: &str, arguments: &[&str]) -> Client {
    let mut command = Command::new("java");
    command
        .args(["-Xmx1g", "-XX:+UseSerialGC", "-cp"])
        .arg(format!("{}/*", libs.display()))
        .arg(source(program))
        .args(arguments);
    Client::start(&mut command)
}

/// Acknowledged explicitly, each message; settled when the broker has confirmed the acknowledgment.
pub fn share_groups(kafka: &Kafka, records: u64) -> Option<Done> {
    let (brokers, topic, group) = (kafka.brokers(), unique("share"), unique("share-group"));
    topics::create(&brokers, &TopicSpec::new(&topic, PARTITIONS));
    let libs = kafka_libs().expect("Kafka's libraries");
    let records_text = records.to_string();
    let arguments = [
        &brokers,
        &topic,
        &group,
        records_text.as_str(),
        SHARE_CONSUMERS,
    ];
    let mut b = java(&libs, "Share.java", &arguments);
    b.wait_ready();
    let watch = Stopwatch::start(&[kafka.pid(), b.pid()]);
    send_all(&brokers, &topic, records);
    b.wait_done();
    Some(watch.done())
}

/// Its client and its tracker; settled when the last end marker is confirmed, whether or not the tracker has read it.
pub fn kmq(kafka: &Kafka, records: u64) -> Option<Done> {
    let libs = match kafka_fetch::libs(&KMQ) {
        Ok(libs) => libs,
        Err(why) => {
            say_loudly(&format!("kmq is not measured: {why}"));
            return None;
        }
    };
    let (brokers, topic, group) = (kafka.brokers(), unique("kmq"), unique("kmq-group"));
    for name in [topic.clone(), format!("{topic}-markers")] {
        topics::create(&brokers, &TopicSpec::new(&name, PARTITIONS));
    }
    let records_text = records.to_string();
    let mut b = java(
        &libs,
        "Kmq.java",
        &[&brokers, &topic, &group, &records_text],
    );
    b.wait_ready();
    let watch = Stopwatch::start(&[kafka.pid(), b.pid()]);
    send_all(&brokers, &topic, records);
    b.wait_done();
    Some(watch.done())
}

/// A stream in files; Service A and B in Go. Settled when the stream's acknowledged floor is its end.
pub fn jetstream(_: &Kafka, records: u64) -> Option<Done> {
    let programs = match build_jetstream() {
        Ok(programs) => programs,
        Err(why) => {
            say_loudly(&format!("NATS JetStream is not measured: {why}"));
            return None;
        }
    };
    let (dir, port) = (scratch_dir("compare-nats"), free_port());
    let mut command = Command::new(programs.join("nats-server"));
    command
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(&dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let server = Guarded::spawn(&mut command, Some(&dir));
    eventually("the NATS server listens", Duration::from_secs(30), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let go = dir.join("go");
    let mut command = Command::new(programs.join("client"));
    command
        .arg(format!("nats://127.0.0.1:{port}"))
        .arg("orders")
        .args([records.to_string(), VALUE_BYTES.to_string()])
        .arg(&go);
    let mut client = Client::start(&mut command);
    client.wait_ready();
    let watch = Stopwatch::start(&[server.id(), client.pid()]);
    std::fs::write(&go, "").expect("the file that it waits for");
    client.wait_done();
    let done = watch.done();
    drop((client, server));
    let _ = std::fs::remove_dir_all(&dir);
    Some(done)
}

/// The directory with `client` and `nats-server`, built by Go if it is there.
fn build_jetstream() -> Result<PathBuf, String> {
    let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jetstream");
    std::fs::create_dir_all(&programs).map_err(|e| e.to_string())?;
    for (program, package) in [
        ("client", "."),
        ("nats-server", "github.com/nats-io/nats-server/v2"),
    ] {
        let output = Command::new("go")
            .args(["build", "-o"])
            .arg(programs.join(program))
            .arg(package)
            .current_dir(source("jetstream"))
            .output()
            .map_err(|e| format!("cannot run go: {e}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    Ok(programs)
}
