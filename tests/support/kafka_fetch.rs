//! Fetches Apache Kafka, and what it is compared with, from Maven Central, once for a target directory.
//!
//! Parallel test binaries wait for each other on a file lock; the libraries appear under their final name by a rename, so
//! that a fetch that was broken off is never taken for a whole one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const KAFKA_VERSION: &str = "4.4.0";

/// slf4j-simple gives the broker a log on standard error, without a configuration file.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ackwarden.tests</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"#;

/// The directory with Kafka's jars; `Err` says why there is none.
pub fn kafka_libs() -> Result<PathBuf, String> {
    libs(&Artifacts {
        what: "Apache Kafka",
        home: "kafka",
        version: KAFKA_VERSION,
        pom: &POM.replace("KAFKA_VERSION", KAFKA_VERSION),
        main_jar: &format!("kafka_2.13-{KAFKA_VERSION}.jar"),
    })
}

/// What is to be had from Maven Central.
pub struct Artifacts<'a> {
    pub what: &'a str,
    /// Its directory below the target directory, with one for each version.
    pub home: &'a str,
    pub version: &'a str,
    pub pom: &'a str,
    /// Without it nothing was fetched.
    pub main_jar: &'a str,
}

/// The directory with its jars and those that it needs; `Err` says why there is none.
pub fn libs(artifacts: &Artifacts<'_>) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory above its tmp");
    let home = target.join(artifacts.home).join(artifacts.version);
    let libs = home.join("libs");
    needs("java", "-version", "a JDK (17 or later)")?;
    if libs.is_dir() {
        return Ok(libs);
    }
    needs("mvn", "-v", "Maven")?;
    fs::create_dir_all(&home).map_err(|e| format!("cannot create {}: {e}", home.display()))?;
    let lock = File::create(home.join("lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| format!("cannot lock: {e}"))?;
    // Another test binary may have fetched it while this one waited for the lock.
    if !libs.is_dir() {
        fetch(artifacts, &home, &libs)?;
    }
    Ok(libs)
}

fn fetch(artifacts: &Artifacts<'_>, home: &Path, libs: &Path) -> Result<(), String> {
    let Artifacts { what, version, .. } = artifacts;
    let partial = home.join("libs.partial");
    let _ = fs::remove_dir_all(&partial);
    fs::write(home.join("pom.xml"), artifacts.pom).map_err(|e| e.to_string())?;
    super::say_loudly(&format!(
        "fetching {what} {version} from Maven Central into {} (once)",
        libs.display()
    ));
    let output = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
        ])
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run mvn: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "mvn could not fetch {what} ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        ));
    }
    let main_jar = partial.join(artifacts.main_jar);
    if !main_jar.is_file() {
        return Err(format!(
            "mvn ended well, but {} is not there",
            main_jar.display()
        ));
    }
    fs::rename(&partial, libs).map_err(|e| format!("cannot rename {}: {e}", partial.display()))
}

fn needs(program: &str, argument: &str, what: &str) -> Result<(), String> {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(|_| ())
        .map_err(|e| format!("{what} is needed: cannot run {program}: {e}"))
}
