//! Logins and TLS: what is right works from end to end; what is wrong is waited for, and said in one clear line, in the
//! log, over HTTP, and by `ackwarden check`: what, where, and the cure.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::scene::{LONG_SESSION, Scene, secs};
use crate::support::ackwarden::{Ackwarden, ServeConfig};
use crate::support::eventually;
use crate::support::kafka::{Kafka, KafkaOptions};
use crate::support::kafka_security::{GUEST, PASSWORD, USER};
use crate::support::produce::NewRecord;

/// A broker with all listeners, for the tests of this file.
fn secured() -> Option<&'static Kafka> {
    static SECURED: OnceLock<Option<Kafka>> = OnceLock::new();
    SECURED
        .get_or_init(|| Kafka::start(KafkaOptions::default().secured()))
        .as_ref()
}

fn login(mechanism: &str, password: &str) -> String {
    login_as(USER, mechanism, password)
}

fn login_as(user: &str, mechanism: &str, password: &str) -> String {
    format!(
        "[kafka.properties]\nsecurity.protocol = \"SASL_PLAINTEXT\"\nsasl.mechanism = {mechanism:?}\n\
         sasl.username = {user:?}\nsasl.password = {password:?}\n"
    )
}

fn tls(ca: &Path) -> String {
    format!("[kafka.properties]\nsecurity.protocol = \"SSL\"\nssl.ca.location = {ca:?}\n")
}

const PLAIN: &str = "";

/// Longer than an ACK takes on a busy machine.
const TRACKED: &str = "timeout = \"10s\"\njitter = 0.0\n";

/// A service that reaches the topic of that scene over another listener.
fn config(scene: &Scene, brokers: &str, properties: &str) -> ServeConfig {
    ServeConfig::new(brokers, &scene.group())
        .section(properties)
        .section(LONG_SESSION)
        .topic(&scene.topic, TRACKED)
}

/// One message is acknowledged, one is sent again, and `check` finds nothing wrong.
fn works(brokers: &str, properties: &str) {
    let kafka = secured().expect("a broker");
    let scene = Scene::new(kafka, "secured", 2);
    let mut service = Ackwarden::start(config(&scene, brokers, properties));
    let done = scene.send_one("done");
    scene.ack(&done);
    service.wait_state(&done, "acked", secs(60));
    let forgotten = scene.send_one("forgotten");
    let copies = scene.wait_copies(&forgotten, 1, secs(60));
    scene.ack(&copies[0].position());
    service.wait_state(&forgotten, "acked", secs(60));
    assert_eq!(scene.copies_of(&done), []);
    assert!(!service.log().contains("WARN"), "{}", service.log());
    assert!(!service.log().contains(PASSWORD), "{}", service.log());
    service.terminate();
    let (code, shown) = check(&service);
    assert_eq!(code, 0, "{shown}");
}

/// `serve` waits and `check` fails; both say each of `words` in one line.
fn is_explained(brokers: &str, properties: &str, words: &[&str]) {
    let kafka = secured().expect("a broker");
    let scene = Scene::new(kafka, "misconfigured", 1);
    let mut service = Ackwarden::spawn(config(&scene, brokers, properties));
    let health = eventually("/readyz says why", secs(60), || {
        let complaint = service.readyz()["kafka"].as_str()?.to_owned();
        explains(&complaint, words).then_some(complaint)
    });
    // Long enough for librdkafka to repeat itself, and to say what follows from it.
    assert!(
        service.wait_exit(secs(6)).is_none(),
        "it gave up:\n{}",
        service.log()
    );
    assert!(!service.is_ready());
    eventually(&format!("it still says so: {health:?}"), secs(30), || {
        let later = service.readyz();
        let still = later["kafka"].as_str().is_some_and(|c| explains(c, words));
        still.then_some(())
    });
    let log = service.log();
    let said = log.lines().filter(|line| explains(line, words)).count();
    assert_eq!(said, 1, "the log says it {said} times:\n{log}");
    let warnings = log.lines().filter(|line| line.contains("WARN")).count();
    assert!(warnings <= 3, "{warnings} warnings for one cause:\n{log}");
    assert_eq!(service.terminate().code(), Some(0), "{}", service.log());
    let (code, shown) = check(&service);
    assert_eq!(code, 1, "{shown}");
    let failures: Vec<&str> = shown.lines().filter(|l| l.starts_with("FAIL")).collect();
    assert!(
        matches!(failures[..], [line] if explains(line, words) && line.contains(brokers)),
        "{shown}"
    );
}

fn explains(line: &str, words: &[&str]) -> bool {
    words.iter().all(|word| line.contains(word))
}

/// `ackwarden check` of the same configuration.
fn check(service: &Ackwarden) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ackwarden"))
        .args(["check", "--config"])
        .arg(service.config_path())
        .output()
        .expect("the program runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), shown)
}

macro_rules! require_secured {
    () => {
        match secured() {
            Some(kafka) => kafka.security(),
            None => return,
        }
    };
}

#[test]
fn with_the_right_password_all_works() {
    let security = require_secured!();
    works(&security.login_brokers(), &login("PLAIN", PASSWORD));
}

#[test]
fn with_the_right_password_all_works_by_scram() {
    let security = require_secured!();
    works(&security.login_brokers(), &login("SCRAM-SHA-256", PASSWORD));
}

#[test]
fn with_the_right_ca_all_works_over_tls() {
    let security = require_secured!();
    works(&security.tls_brokers(), &tls(&security.right_ca()));
}

/// All at once, since each of them mostly waits.
#[test]
fn what_is_wrong_is_waited_for_and_explained_in_one_line() {
    let security = require_secured!();
    let plain_brokers = secured().expect("a broker").brokers();
    let (login_brokers, tls_brokers) = (security.login_brokers(), security.tls_brokers());
    let cases: [(&str, &str, String, &[&str]); 9] = [
        (
            "a wrong password",
            &login_brokers,
            login("PLAIN", "wrong"),
            &[
                "Authentication failed",
                "sasl.password in [kafka.properties]",
            ],
        ),
        (
            "a wrong password with SCRAM",
            &login_brokers,
            login("SCRAM-SHA-256", "wrong"),
            &[
                "Authentication failed",
                "sasl.password in [kafka.properties]",
            ],
        ),
        (
            "a mechanism that the broker does not have",
            &login_brokers,
            login("SCRAM-SHA-512", PASSWORD),
            &["PLAIN,SCRAM-SHA-256", "set sasl.mechanism"],
        ),
        (
            "no login where one is wanted",
            &login_brokers,
            PLAIN.to_owned(),
            &["may want a login", "security.protocol"],
        ),
        (
            "a login where none is taken",
            &plain_brokers,
            login("PLAIN", PASSWORD),
            &["takes no logins", "security.protocol"],
        ),
        (
            "a plain client on a TLS listener",
            &tls_brokers,
            PLAIN.to_owned(),
            &["seems to speak TLS", "security.protocol"],
        ),
        (
            "a login without TLS on a TLS listener",
            &tls_brokers,
            login("PLAIN", PASSWORD),
            &["seems to speak TLS", "security.protocol"],
        ),
        (
            "a TLS client on a plain listener",
            &plain_brokers,
            tls(&security.right_ca()),
            &["seems to speak no TLS", "kafka.brokers"],
        ),
        (
            "a CA that did not sign the broker's certificate",
            &tls_brokers,
            tls(&security.wrong_ca()),
            &["certificate", "set ssl.ca.location in [kafka.properties]"],
        ),
    ];
    std::thread::scope(|scope| {
        for (name, brokers, properties, words) in cases {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn_scoped(scope, move || is_explained(brokers, &properties, words))
                .expect("a thread");
        }
    });
}

/// Waiting would not help: the file is looked at once.
#[test]
fn a_ca_file_that_is_not_there_is_a_wrong_configuration() {
    let security = require_secured!();
    let kafka = secured().expect("a broker");
    let scene = Scene::new(kafka, "no-ca", 1);
    let properties = tls(Path::new("/nowhere/ca.pem"));
    let mut service = Ackwarden::spawn(config(&scene, &security.tls_brokers(), &properties));
    let status = service.wait_exit(secs(120)).expect("it ends by itself");
    assert_eq!(status.code(), Some(2), "{}", service.log());
    assert!(
        service.log().contains("/nowhere/ca.pem"),
        "{}",
        service.log()
    );
    let (code, shown) = check(&service);
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("/nowhere/ca.pem"), "{shown}");
}

#[test]
fn check_names_each_right_that_is_missing_and_serve_works_with_those_that_the_docs_name() {
    let security = require_secured!();
    let kafka = secured().expect("a broker");
    let scene = Scene::new(kafka, "rights", 1);
    let (source, acks, dead) = (
        scene.topic.as_str(),
        scene.acks_topic(),
        scene.dead_letters_topic(),
    );
    let group = scene.group();
    let state = format!("{group}-state");
    let topic = |name: &str, operation: &str| format!("TOPIC:{name}:{operation}");
    kafka.allow_guest(&[
        topic(source, "READ"),
        topic(source, "DESCRIBE_CONFIGS"),
        topic(&acks, "READ"),
        topic(&acks, "DESCRIBE_CONFIGS"),
        topic(&dead, "DESCRIBE"),
        topic(&dead, "DESCRIBE_CONFIGS"),
        format!("GROUP:{group}:DESCRIBE"),
    ]);
    let properties = login_as(GUEST, "PLAIN", PASSWORD);
    let mut service = Ackwarden::spawn(config(&scene, &security.login_brokers(), &properties));
    let status = service
        .wait_exit(secs(120))
        .expect("it may not make the state topic");
    assert!(!status.success());
    assert!(service.log().contains(&state), "{}", service.log());
    // A right that was just given is not known to the broker at once.
    let (code, shown) = eventually("the rights that were given are known", secs(60), || {
        let (code, shown) = check(&service);
        (!shown.contains("is not told")).then_some((code, shown))
    });
    assert_eq!(code, 1, "{shown}");
    let failures: Vec<&str> = shown.lines().filter(|l| l.starts_with("FAIL")).collect();
    for (right, what) in [
        ("WRITE", format!("the topic {source},")),
        ("WRITE", format!("the topic {acks},")),
        ("WRITE", format!("the topic {dead},")),
        ("READ", format!("the group {group},")),
    ] {
        let named = |l: &&str| l.contains(&format!("may not {right} {what}"));
        assert!(failures.iter().any(named), "{right} {what}: {shown}");
    }
    assert!(failures.iter().any(|l| l.contains(&state)), "{shown}");
    assert!(!shown.contains("will be created"), "{shown}");
    assert_eq!(failures.len(), 5, "{shown}");
    kafka.allow_guest(&[
        topic(source, "WRITE"),
        topic(&acks, "WRITE"),
        topic(&dead, "WRITE"),
        topic(&state, "READ"),
        topic(&state, "WRITE"),
        topic(&state, "CREATE"),
        topic(&state, "DESCRIBE_CONFIGS"),
        format!("GROUP:{group}:READ"),
    ]);
    service.kill9();
    service.start_again();
    let done = scene.send_one("done");
    scene.ack(&done);
    service.wait_state(&done, "acked", secs(60));
    let forgotten = scene.send_one("forgotten");
    let copies = scene.wait_copies(&forgotten, 1, secs(60));
    scene.say(&[NewRecord::verdict(&copies[0].position(), "reject")]);
    scene.wait_dead_letters(1, secs(60));
    service.terminate();
    let (code, shown) = check(&service);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("the user may do what is needed"), "{shown}");
}
