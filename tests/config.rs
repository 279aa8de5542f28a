//! The configuration as its users meet it: files, environment, flags, and what they are told.

use std::collections::BTreeMap;
use std::time::Duration;

use ackwarden::config::schema::{PROPERTIES, Table};
use ackwarden::config::{
    Config, ConfigError, EXAMPLE, IdSource, Loaded, Override, Overrides, Start,
    dead_letter_conflict, load, load_text, redacted,
};
use ackwarden::core::{OnLostRange, SameId};

type Outcome = Result<Loaded, ConfigError>;

fn with_env(text: &str, env: &[(&str, &str)]) -> Outcome {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_text("ackwarden.toml", text, env, &Overrides::default())
}

fn file(text: &str) -> Outcome {
    with_env(text, &[])
}

fn good(text: &str) -> Config {
    match file(text) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}"),
    }
}

fn told(outcome: Outcome) -> String {
    match outcome {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn errors(text: &str) -> String {
    told(file(text))
}

/// The problems alone, without their places.
fn headlines(text: &str) -> Vec<String> {
    match file(text) {
        Err(ConfigError::Invalid { problems }) => problems
            .iter()
            .filter_map(|p| p.lines().next())
            .map(|l| l.trim_start_matches("error: ").to_owned())
            .collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

// ------------------------------------------------------------------------------------------------ the example

#[test]
fn the_example_is_nothing_but_the_defaults() {
    let example = file(EXAMPLE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(example.warnings, Vec::<String>::new());
    let mut example = example.config;
    let bare = good("[topics.orders]");
    assert!(bare.topics[0].set_by_file.is_empty());
    assert!(example.topics[0].set_by_file.contains("timeout"));
    example.topics[0].set_by_file.clear();
    assert_eq!(format!("{example:#?}"), format!("{bare:#?}"));
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = good("[topics.orders]");
    insta::assert_debug_snapshot!(config, @r#"
    Config {
        kafka: KafkaConfig {
            brokers: "127.0.0.1:9092",
            group_id: "ackwarden",
            instance_id: None,
            state_topic: "ackwarden-state",
            properties: {},
            consumer: {},
            producer: {},
        },
        store: StoreConfig {
            path: "ackwarden-data",
            checkpoint_interval: 1s,
        },
        http: HttpConfig {
            listen: 127.0.0.1:8080,
        },
        limits: Limits {
            max_outstanding: 10000000,
            settled_max: 1000000,
            settled_retention: 3600s,
        },
        topics: [
            TopicConfig {
                name: "orders",
                ack_topic: "orders-acks",
                start: Now,
                id: [
                    Header(
                        "message-id",
                    ),
                    Position,
                ],
                ack_id: [
                    Header(
                        "ackwarden-message-id",
                    ),
                    Key,
                ],
                policy: Policy {
                    timeout_ms: 30000,
                    backoff: 2.0,
                    timeout_max_ms: 600000,
                    jitter: 0.1,
                    max_attempts: 5,
                    nack_delay_ms: 1000,
                    delay_max_ms: 3600000,
                    dead_letter: Some(
                        "orders-dlq",
                    ),
                    retry_rate: 1000,
                    same_id: Keep,
                    on_lost_range: Stop,
                    observe_only: false,
                },
                set_by_file: {},
            },
        ],
    }
    "#);
}

#[test]
fn every_key_stands_in_the_example_with_its_default_and_says_if_it_is_not_built() {
    for table in Table::ALL {
        let headers: &[&str] = match table {
            Table::Kafka => &["[kafka]"],
            Table::Store => &["[store]"],
            Table::Http => &["[http]", "#[[http.tokens]]"],
            Table::Limits => &["[limits]"],
            Table::Topic => &["[defaults]", "#[defaults.breaker]"],
        };
        let text: String = headers.iter().map(|h| section_of_example(h)).collect();
        for key in table.keys() {
            let name = key.name.rsplit('.').next().unwrap();
            if name == "tokens" {
                continue; // an array of tables: its header was found above
            }
            let line = text
                .lines()
                .find(|l| {
                    l.trim_start_matches('#')
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(" ="))
                })
                .unwrap_or_else(|| panic!("`{}` is not in config.example.toml", key.name));
            let commented_out = line.starts_with('#');
            assert!(
                key.built || commented_out || line.ends_with("\"{topic}\""),
                "{line}"
            );
            if !key.default.is_empty() {
                let value = line.split_once(" = ").unwrap().1.replace('_', "");
                assert_eq!(value, key.default.replace('_', ""), "{line}");
            }
            if !key.built {
                let before = text.split(line).next().unwrap();
                let comment: String = before.lines().rev().take(5).collect();
                assert!(comment.contains("Not built yet"), "{line}");
            }
        }
    }
    for section in PROPERTIES {
        assert!(EXAMPLE.contains(&format!("\n[kafka.{section}]\n")));
    }
}

fn section_of_example(header: &str) -> String {
    let from = EXAMPLE
        .find(&format!("\n{header}\n"))
        .unwrap_or_else(|| panic!("no {header} in config.example.toml"));
    let rest = &EXAMPLE[from + header.len() + 2..];
    let end = rest.find("\n[").unwrap_or(rest.len());
    rest[..end].to_owned()
}

#[test]
fn what_the_example_has_commented_out_is_either_taken_or_refused_as_not_built() {
    let mut refused = Vec::new();
    for line in EXAMPLE.lines() {
        let Some(setting) = line.strip_prefix('#').filter(|l| !l.starts_with(' ')) else {
            continue;
        };
        if !setting.contains(" = ")
            || ["name", "file", "scopes"]
                .iter()
                .any(|k| setting.starts_with(k))
        {
            continue;
        }
        let mut text = EXAMPLE.replace(&format!("\n{line}\n"), &format!("\n{setting}\n"));
        if setting.starts_with("enabled") {
            text = text.replace("\n#[defaults.breaker]\n", "\n[defaults.breaker]\n");
        }
        for problem in headlines(&text) {
            assert!(
                problem.ends_with("is not built yet"),
                "{setting}: {problem}"
            );
            refused.push(problem);
        }
    }
    assert_eq!(
        refused,
        [
            "`tls_cert` is not built yet",
            "`tls_key` is not built yet",
            "`consumer_group` is not built yet",
            "`dead_letter_headers` is not built yet",
            "`signing_keys` is not built yet",
        ]
    );
}

// -------------------------------------------------------------------------------------------------- the layers

#[test]
fn each_layer_wins_over_the_one_before() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\n[defaults]\ntimeout = \"1s\"\n[topics.orders]\n[topics.\"eu.Pay-ments\"]\ntimeout = \"2s\"";
    let timeouts = |env: &[(&str, &str)]| {
        let config = with_env(text, env).unwrap().config;
        (
            config.topics[0].policy.timeout_ms,
            config.topics[1].policy.timeout_ms,
        )
    };
    assert_eq!(timeouts(&[]), (1_000, 2_000));
    assert_eq!(
        timeouts(&[("ACKWARDEN__DEFAULTS__TIMEOUT", "3s")]),
        (3_000, 2_000)
    );
    assert_eq!(
        timeouts(&[("ackwarden__topics__eu_pay_ments__timeout", "4s")]),
        (1_000, 4_000)
    );

    let env = [("ACKWARDEN__HTTP__LISTEN", "127.0.0.1:2")];
    assert_eq!(with_env(text, &env).unwrap().config.http.listen.port(), 2);
    let flags = Overrides {
        listen: Some("127.0.0.1:3".into()),
        brokers: Some("b:1".into()),
        group_id: Some("g".into()),
        instance_id: Some("i".into()),
        store_path: Some("/s".into()),
    };
    let env = env.map(|(n, v)| (n.to_owned(), v.to_owned()));
    let config = load_text("a.toml", text, env.into_iter(), &flags)
        .unwrap()
        .config;
    assert_eq!(config.http.listen.port(), 3);
    assert_eq!(config.kafka.brokers, "b:1");
    assert_eq!(config.kafka.group_id, "g");
    assert_eq!(config.kafka.state_topic, "g-state");
    assert_eq!(config.kafka.instance_id.as_deref(), Some("i"));
    assert_eq!(config.store.path.to_str(), Some("/s"));
}

#[test]
fn every_kind_of_value_can_come_from_the_environment() {
    let config = with_env(
        "[topics.orders]",
        &[
            ("ACKWARDEN__LIMITS__MAX_OUTSTANDING", "5_000"),
            ("ACKWARDEN__DEFAULTS__BACKOFF", "3"),
            ("ACKWARDEN__DEFAULTS__MAX_ATTEMPTS", "7"),
            ("ACKWARDEN__DEFAULTS__OBSERVE_ONLY", "TRUE"),
            ("ACKWARDEN__DEFAULTS__START", "2026-01-31T08:00:00Z"),
            ("ACKWARDEN__DEFAULTS__ID", "cloudevents, json:/id"),
            (
                "ACKWARDEN__TOPICS__ORDERS__ACK_ID",
                "[\"header:x\", \"key\"]",
            ),
            ("ACKWARDEN__TOPICS__ORDERS__DEAD_LETTER", ""),
            ("ACKWARDEN__KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN"),
            ("ACKWARDEN__KAFKA__CONSUMER__SESSION__TIMEOUT__MS", "10000"),
            ("ACKWARDEN_CONFIG", "not ours"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap_or_else(|e| panic!("{e}"))
    .config;
    let topic = &config.topics[0];
    assert_eq!(config.limits.max_outstanding, 5_000);
    assert_eq!(topic.policy.backoff, 3.0);
    assert_eq!(topic.policy.max_attempts, 7);
    assert!(topic.policy.observe_only);
    assert_eq!(topic.policy.dead_letter, None);
    assert_eq!(topic.start, Start::At(1_769_846_400_000));
    assert_eq!(
        topic.id,
        [
            IdSource::CloudEvents,
            IdSource::Json("/id".to_owned()),
            IdSource::Position
        ]
    );
    assert_eq!(
        topic.ack_id,
        [IdSource::Header("x".to_owned()), IdSource::Key]
    );
    assert_eq!(config.kafka.properties["sasl.mechanism"], "PLAIN");
    assert_eq!(config.kafka.consumer["session.timeout.ms"], "10000");
}

#[test]
fn what_is_not_built_and_may_be_a_secret_is_not_shown() {
    let text = "[topics.orders]";
    for name in ["HTTP__TOKENS", "DEFAULTS__SIGNING_KEYS"] {
        let name = format!("ACKWARDEN__{name}");
        let told = told(with_env(text, &[(name.as_str(), "hunter2")]));
        assert!(
            told.contains("not built yet") && !told.contains("hunter2"),
            "{told}"
        );
    }
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let text = "[topics.orders]\n[topics.\"a.b\"]\n[topics.a-b]";
    insta::assert_snapshot!(told(with_env(text, &[
        ("ACKWARDEN__DEFAULTS__TIMEOUT", "10"),
        ("ACKWARDEN__HTPP__LISTEN", "x"),
        ("ACKWARDEN__DEFAULTS__TIME_OUT", "10s"),
        ("ACKWARDEN__TOPICS__INVOICES__TIMEOUT", "10s"),
        ("ACKWARDEN__TOPICS__A_B__TIMEOUT", "10s"),
        ("ACKWARDEN__HTTP", "x"),
        ("ACKWARDEN__KAFKA__PROPERTIES__ACKS", "1"),
        ("ACKWARDEN__KAFKA__PROPERTIES__SASL_PASSWRD", "hunter2"),
        ("ackwarden__kafka__brokers", "x"),
        ("ACKWARDEN__KAFKA__BROKERS", "y"),
    ])), @r#"
    error: `timeout` has no unit; "10s" or "10ms"?
     --> environment variable ACKWARDEN__DEFAULTS__TIMEOUT
      |
      | ACKWARDEN__DEFAULTS__TIMEOUT=10
      |                              ^^

    error: no setting `time_out`
     --> environment variable ACKWARDEN__DEFAULTS__TIME_OUT
      |
      | ACKWARDEN__DEFAULTS__TIME_OUT=***
      |                               ^^^
      = did you mean `timeout`?

    error: no setting has that name
     --> environment variable ACKWARDEN__HTPP__LISTEN
      |
      | ACKWARDEN__HTPP__LISTEN=***
      |                         ^^^
      = did you mean ACKWARDEN__HTTP__…?

    error: no setting has that name
     --> environment variable ACKWARDEN__HTTP
      |
      | ACKWARDEN__HTTP=***
      |                 ^^^
      = a table needs a key: ACKWARDEN__HTTP__KEY

    error: the same as ackwarden__kafka__brokers
     --> environment variable ACKWARDEN__KAFKA__BROKERS
      |
      | ACKWARDEN__KAFKA__BROKERS=***
      |                           ^^^
      = case does not matter in these names: keep one of them

    error: `acks` is refused: a retry or dead letter counts only when every in-sync replica has it
     --> environment variable ACKWARDEN__KAFKA__PROPERTIES__ACKS
      |
      | ACKWARDEN__KAFKA__PROPERTIES__ACKS=1
      |                                    ^
      = remove it from [kafka.properties]

    error: librdkafka has no property `sasl.passwrd`
     --> environment variable ACKWARDEN__KAFKA__PROPERTIES__SASL_PASSWRD
      |
      | ACKWARDEN__KAFKA__PROPERTIES__SASL_PASSWRD=***
      |                                            ^^^
      = see their names in librdkafka's CONFIGURATION.md

    error: may mean each of "a.b", "a-b"
     --> environment variable ACKWARDEN__TOPICS__A_B__TIMEOUT
      |
      | ACKWARDEN__TOPICS__A_B__TIMEOUT=***
      |                                 ^^^
      = set it in the file, where names are exact

    error: names no topic of the file
     --> environment variable ACKWARDEN__TOPICS__INVOICES__TIMEOUT
      |
      | ACKWARDEN__TOPICS__INVOICES__TIMEOUT=***
      |                                      ^^^
      = topics are named in the file, here with `-` and `.` as `_`; there is "orders", "a.b", "a-b"
    "#);
}

#[test]
fn a_flag_that_is_wrong_is_named() {
    let flags = Overrides {
        listen: Some("0.0.0.0:8080".into()),
        ..Overrides::default()
    };
    let outcome = load_text("a.toml", "[topics.orders]", std::iter::empty(), &flags);
    insta::assert_snapshot!(told(outcome), @r#"
    error: `listen` is no loopback address: that needs tokens, which are not built yet
     --> flag --listen
      |
      | --listen 0.0.0.0:8080
      |          ^^^^^^^^^^^^
      = listen on loopback, "127.0.0.1:8080", and put a proxy in front that authenticates, and sets the Host header to localhost
    "#);
}

#[test]
fn a_variable_that_stands_in_for_a_flag_is_named_itself() {
    let flags = Overrides {
        listen: Some(Override {
            value: String::new(),
            variable: Some("ACKWARDEN_LISTEN".to_owned()),
        }),
        ..Overrides::default()
    };
    let outcome = load_text("a.toml", "[topics.orders]", std::iter::empty(), &flags);
    insta::assert_snapshot!(told(outcome), @r#"
    error: `listen` is no address and port
     --> environment variable ACKWARDEN_LISTEN
      |
      | ACKWARDEN_LISTEN=
      |                  ^
      = such as "127.0.0.1:8080" or "[::1]:8080"
    "#);
}

#[test]
fn what_was_set_outside_of_the_file_is_told_by_name_alone() {
    let env = [
        ("ACKWARDEN__LIMITS__SETTLED_MAX", "7"),
        ("ACKWARDEN__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = Overrides {
        brokers: Some("b:1".into()),
        store_path: Some(Override {
            value: "/s".to_owned(),
            variable: Some("ACKWARDEN_STORE".to_owned()),
        }),
        ..Overrides::default()
    };
    let loaded = load_text("a.toml", "[topics.orders]", env.into_iter(), &flags);
    assert_eq!(
        loaded.unwrap_or_else(|e| panic!("{e}")).set_outside,
        [
            "ACKWARDEN__KAFKA__PROPERTIES__SASL_PASSWORD",
            "ACKWARDEN__LIMITS__SETTLED_MAX",
            "--brokers",
            "ACKWARDEN_STORE"
        ]
    );
}

#[test]
fn a_directory_in_the_place_of_the_file_is_told() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = told(load(Some(here), std::iter::empty(), &Overrides::default()));
    assert!(told.contains("Docker makes a directory"), "{told}");
}

#[test]
fn the_names_of_topics_may_begin_with_each_other() {
    let text = "[topics.orders]\n[topics.orders__eu]";
    let env = [("ACKWARDEN__TOPICS__ORDERS__EU__TIMEOUT", "9s")];
    let config = with_env(text, &env).unwrap().config;
    assert_eq!(config.topics[0].policy.timeout_ms, 30_000);
    assert_eq!(config.topics[1].policy.timeout_ms, 9_000);
}

// -------------------------------------------------------------------------------------------- what people read

#[test]
fn mistakes_are_shown_with_line_caret_and_cure() {
    insta::assert_snapshot!(errors(r#"
[kafka]
broker = "localhost:9092"

[defaults]
time_out = "10s"

[topics."orders"]
timeout = 10            # seconds
backoff = "fast"
max_attempts = -1
"#), @r#"
    error: unknown key `broker` in [kafka]
     --> ackwarden.toml:3:1
      |
    3 | broker = ***
      | ^^^^^^
      = did you mean `brokers`?

    error: unknown key `time_out` in [defaults]
     --> ackwarden.toml:6:1
      |
    6 | time_out = "10s"
      | ^^^^^^^^
      = did you mean `timeout`?

    error: `timeout` has no unit; "10s" or "10ms"?
     --> ackwarden.toml:9:11
      |
    9 | timeout = 10            # seconds
      |           ^^

    error: `backoff` is a string, wanted is a number
      --> ackwarden.toml:10:11
       |
    10 | backoff = "fast"
       |           ^^^^^^

    error: `max_attempts` is out of bounds: 0 to 1000000; 0 is without end
      --> ackwarden.toml:11:16
       |
    11 | max_attempts = -1
       |                ^^
    "#);
}

#[test]
fn every_mistake_is_reported_not_only_the_first() {
    let text = r#"
timeout = "1s"
[kafka]
brokers = "localhost:notaport"
group_id = 7
linger = 5
[store]
checkpoint_interval = "1ms"
path = ""
[http]
listen = "everywhere"
[limits]
max_outstanding = 0
settled_retention = "1y"
[defaults]
start = "yesterday"
id = []
ack_id = ["position", "jsn:/x"]
same_id = true
jitter = 1.0
observe_only = "yes"
[topics.orders.eu]
[topics."a/b"]
"#;
    insta::assert_snapshot!(headlines(text).join("\n"), @r#"
    unknown key `timeout`
    `brokers` has a bad port "notaport"; write host:port, several with commas between
    `group_id` is an integer, wanted is a string
    unknown key `linger` in [kafka]
    `checkpoint_interval` is out of bounds: 100ms to 1h
    `path` is empty; name a directory
    `listen` is no address and port
    `max_outstanding` is out of bounds: 1 to 1000000000
    `settled_retention` is out of bounds: 1s to 30days
    `start` is unknown; wanted is "now", "earliest" or a time such as "2026-01-31T08:00:00Z"
    `id` has 0 entries, wanted are 1 to 16
    `ack_id` cannot be the position of the ACK record: that names no message
    an entry of `ack_id` is unknown
    `same_id` is a boolean, wanted is "keep" or "one-message"
    `jitter` is out of bounds: 0.0 to below 1.0, a share of the wait (0.1 is ± 10 %)
    `observe_only` is a string, wanted is true or false
    unknown key `eu` in [topics."orders"]
    the topic name "a/b" is not a legal name: '/' is not among letters, digits, `.`, `_` and `-`
    "#);
}

#[test]
fn a_text_that_is_no_toml_is_shown_where_it_ends_to_be_one() {
    insta::assert_snapshot!(errors("[topics.orders]\ntimeout = 10s\n\n[store\npath = \"x\"\n"), @r#"
    error: not TOML: string values must be quoted, expected literal string
     --> ackwarden.toml:2:11
      |
    2 | timeout = 10s
      |           ^^^

    error: not TOML: unclosed table, expected `]`
     --> ackwarden.toml:4:7
      |
    4 | [store
      |       ^
    "#);
    assert!(errors("[topics.orders]\n[topics.orders]\n").contains("duplicate key"));
}

#[test]
fn contradictions_show_both_ends() {
    insta::assert_snapshot!(errors(r#"
[defaults]
timeout_max = "5s"
nack_delay = "2h"

[topics.payments]
timeout = "4s"

[topics.orders]
timeout = "15s"
"#), @r#"
    error: nack_delay is 2h, longer than delay_max, 1h: raise delay_max or lower nack_delay
     --> ackwarden.toml:4:14
      |
    4 | nack_delay = "2h"
      |              ^^^^
      = `delay_max` is not set: that is its default

    error: timeout is 15s, longer than timeout_max, 5s: raise timeout_max or lower timeout
      --> ackwarden.toml:10:11
       |
    10 | timeout = "15s"
       |           ^^^^^
       = `timeout_max` is set: ackwarden.toml:3:15
    "#);
}

#[test]
fn a_mistake_in_the_defaults_is_reported_once_and_also_where_every_topic_overrides_it() {
    let inherited = headlines("[defaults]\nbackoff = 0.5\n[topics.a]\n[topics.b]\n[topics.c]");
    assert_eq!(inherited.len(), 1, "{inherited:?}");
    let overridden = headlines("[defaults]\nbackoff = 0.5\n[topics.a]\nbackoff = 2");
    assert_eq!(overridden.len(), 1, "{overridden:?}");
}

#[test]
fn without_a_topic_there_is_nothing_to_do() {
    insta::assert_snapshot!(errors("[kafka]\n"), @r#"
    error: no topics
      --> ackwarden.toml
      = name the topics to track: add [topics."NAME"] to the file
    "#);
    let no_file = load(None, std::iter::empty(), &Overrides::default());
    insta::assert_snapshot!(told(no_file), @r#"
    error: no topics
      = name the topics to track: add [topics."NAME"] to the file
    "#);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let path = std::path::Path::new("/no/such/file.toml");
    let error = load(Some(path), std::iter::empty(), &Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("/no/such/file.toml"), "{error}");
}

#[test]
fn a_file_is_read_from_disk_with_or_without_a_byte_order_mark() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, "\u{feff}[topics.orders]\r\ntimeout = \"7s\"\r\n").unwrap();
    let loaded = load(Some(&path), std::iter::empty(), &Overrides::default()).unwrap();
    assert_eq!(loaded.config.topics[0].policy.timeout_ms, 7_000);
}

// ----------------------------------------------------------------------------------------------- not built yet

#[test]
fn what_is_not_built_yet_is_refused_where_it_stands() {
    insta::assert_snapshot!(errors(r#"
[http]
insecure = true
open_metrics = true
listen = "0.0.0.0:8080"
tls_cert = "/x"
[[http.tokens]]
name = "ops"
[defaults]
retry_topic = "{topic}-retry"
[topics."orders.*"]
[topics.orders]
acks_from = ["billing"]
consumer_group = "order-service"
max_hold = "2h"
dead_letter_headers = "kafka"
signing_keys = ["x"]
[topics.orders.breaker]
enabled = true
"#), @r#"
    error: `insecure` is not built yet
     --> ackwarden.toml:3:1
      |
    3 | insecure = true
      | ^^^^^^^^
      = remove it (default: false)

    error: `open_metrics` is not built yet
     --> ackwarden.toml:4:1
      |
    4 | open_metrics = true
      | ^^^^^^^^^^^^
      = remove it (default: false)

    error: `listen` is no loopback address: that needs tokens, which are not built yet
     --> ackwarden.toml:5:10
      |
    5 | listen = "0.0.0.0:8080"
      |          ^^^^^^^^^^^^^^
      = listen on loopback, "127.0.0.1:8080", and put a proxy in front that authenticates, and sets the Host header to localhost

    error: `tls_cert` is not built yet
     --> ackwarden.toml:6:1
      |
    6 | tls_cert = "/x"
      | ^^^^^^^^
      = remove it (default: not set)

    error: `tokens` is not built yet
     --> ackwarden.toml:7:8
      |
    7 | [[http.tokens]]
      |        ^^^^^^
      = remove it (default: not set)

    error: a `retry_topic` other than "{topic}" is not built yet
      --> ackwarden.toml:10:1
       |
    10 | retry_topic = "{topic}-retry"
       | ^^^^^^^^^^^
       = remove it (default: "{topic}")

    error: topic patterns are not built yet
      --> ackwarden.toml:11:9
       |
    11 | [topics."orders.*"]
       |         ^^^^^^^^^^
       = name each topic in a table of its own; [defaults] holds what they share

    error: `acks_from` is not built yet
      --> ackwarden.toml:13:1
       |
    13 | acks_from = ["billing"]
       | ^^^^^^^^^
       = remove it (default: [])

    error: `consumer_group` is not built yet
      --> ackwarden.toml:14:1
       |
    14 | consumer_group = "order-service"
       | ^^^^^^^^^^^^^^
       = remove it (default: not set)

    error: `max_hold` is not built yet
      --> ackwarden.toml:15:1
       |
    15 | max_hold = "2h"
       | ^^^^^^^^
       = remove it (default: "1h")

    error: `dead_letter_headers` is not built yet
      --> ackwarden.toml:16:1
       |
    16 | dead_letter_headers = "kafka"
       | ^^^^^^^^^^^^^^^^^^^
       = remove it (default: not set)

    error: `signing_keys` is not built yet
      --> ackwarden.toml:17:1
       |
    17 | signing_keys = ***
       | ^^^^^^^^^^^^
       = remove it (default: not set)

    error: `breaker.enabled` is not built yet
      --> ackwarden.toml:19:1
       |
    19 | enabled = true
       | ^^^^^^^
       = remove it (default: false)
    "#);
}

#[test]
fn what_is_not_built_yet_may_stand_there_with_its_default() {
    good(
        "[http]\ninsecure = false\nopen_metrics = false\n[defaults]\nretry_topic = \"{topic}\"\nacks_from = []\n\
         max_hold = \"1h\"\n[topics.orders]\nbreaker = { enabled = false }",
    );
}

// -------------------------------------------------------------------------------------------- kafka properties

#[test]
fn nested_tables_numbers_and_booleans_become_librdkafkas_properties() {
    let config = good(
        r#"
[kafka.properties]
"security.protocol" = "SASL_SSL"
sasl.mechanism = "PLAIN"
ssl = { ca.location = "/ca.pem" }
[kafka.properties.socket]
keepalive.enable = true
timeout.ms = 0x2710
[kafka.consumer]
session.timeout.ms = 10_000
[kafka.producer]
linger.ms = 0.5
[topics.orders]
"#,
    );
    let expected = BTreeMap::from(
        [
            ("sasl.mechanism", "PLAIN"),
            ("security.protocol", "SASL_SSL"),
            ("socket.keepalive.enable", "true"),
            ("socket.timeout.ms", "10000"),
            ("ssl.ca.location", "/ca.pem"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    assert_eq!(config.kafka.properties, expected);
    assert_eq!(config.kafka.consumer["session.timeout.ms"], "10000");
    assert_eq!(config.kafka.producer["linger.ms"], "0.5");
}

#[test]
fn properties_that_would_undo_a_promise_are_refused_with_the_reason() {
    insta::assert_snapshot!(errors(r#"
[kafka.properties]
isolation.level = "read_uncommitted"
security.protocl = "SSL"
"sasl.mechanism" = "PLAIN"
sasl.mechanism = "SCRAM-SHA-256"
[kafka.consumer]
"session.timeout.ms" = 2000
[kafka.producer]
acks = 1
max.in.flight = 10
batch.size = "large"
[topics.orders]
"#), @r#"
    error: `isolation.level` is refused: aborted records must never be tracked, and each question to the log needs its own isolation: Ackwarden sets it
     --> ackwarden.toml:3:1
      |
    3 | isolation.level = "read_uncommitted"
      | ^^^^^^^^^^^^^^^
      = remove it from [kafka.properties]

    error: librdkafka has no property `security.protocl`
     --> ackwarden.toml:4:1
      |
    4 | security.protocl = ***
      | ^^^^^^^^^^^^^^^^
      = see their names in librdkafka's CONFIGURATION.md

    error: `sasl.mechanism` is set twice
     --> ackwarden.toml:6:1
      |
    6 | sasl.mechanism = "SCRAM-SHA-256"
      | ^^^^^^^^^^^^^^
      = the other: ackwarden.toml:5:1
      = keep one of them

    error: heartbeat.interval.ms is 3000, not below session.timeout.ms, 2000: the member would be thrown out
     --> ackwarden.toml:8:1
      |
    8 | "session.timeout.ms" = 2000
      | ^^^^^^^^^^^^^^^^^^^^
      = set heartbeat.interval.ms to a third of session.timeout.ms or less

    error: `acks` is refused: a retry or dead letter counts only when every in-sync replica has it
      --> ackwarden.toml:10:1
       |
    10 | acks = 1
       | ^^^^
       = remove it from [kafka.producer]

    error: `max.in.flight` is refused: an idempotent producer has 1 to 5 requests in flight
      --> ackwarden.toml:11:1
       |
    11 | max.in.flight = 10
       | ^^^^^^^^^^^^^
       = remove it from [kafka.producer]

    error: librdkafka does not take this value for `batch.size`
      --> ackwarden.toml:12:1
       |
    12 | batch.size = "large"
       | ^^^^^^^^^^
       = see its type and bounds in librdkafka's CONFIGURATION.md
    "#);
}

#[test]
fn a_session_past_the_poll_interval_is_refused_unless_that_is_raised_too() {
    let text = "[kafka.consumer]\nsession.timeout.ms = 600000\n[topics.orders]";
    assert!(errors(text).contains("max.poll.interval.ms"));
    good(
        "[kafka.properties]\nmax.poll.interval.ms = 600000\n[kafka.consumer]\nsession.timeout.ms = 600000\n[topics.orders]",
    );
    assert!(errors(&text.replace("600000", "100")).contains("out of bounds"));
}

#[test]
fn secrets_show_neither_in_errors_nor_in_debug_nor_redacted() {
    let secrets = r#"
[kafka.properties]
"sasl.password" = "hunter2"
ssl.key.pem = """
hunter2
hunter2"""
sasl.oauthbearer.config = "secret=hunter2"
[topics.orders]
"#;
    let config = good(secrets);
    assert_eq!(config.kafka.properties["sasl.password"], "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    let shown = redacted(&config.kafka);
    assert_eq!(shown.properties["sasl.password"], "***");
    assert!(shown.properties.values().all(|v| !v.contains("hunter2")));

    for broken in [
        "[kafka.properties]\nsasl.password = [\"hunter2\"]\n",
        "[kafka.properties]\nsasl.password = \"hunter2\"\nsasl = { x = \"hunter2\" }\n",
        "[kafka.properties]\nsasl = { password = \"hunter2\", acks = 1 }\n",
        "[kafka.properties]\nssl_key_password = \"hunter2\"\n",
        "[kafka.properties]\nsasl.password = \"hunter2\n",
        "[kafka.properties]\nsasl.password = hunter2\n",
        "[kafka.properties]\nx = \"hunter2\" \"\n",
        "[kafka.properties]\nssl.key.pem = \"\"\"\nhunter2 \\q\n\"\"\"\n",
        "[kafka]\npassword = \"hunter2\"\n",
        "[http]\ntokens = [{ token = \"hunter2\" }]\n",
        "sasl.password = \"hunter2\"\n",
        "sasl.passwrd = \"hunter2\"\n",
        "[kafka.properties]\nsasl.passwrd = \"hunter2\"\n",
        "[kafka.properties]\nsasl = { passwrd = \"hunter2\", acks = 1 }\n",
        "[kafka]\npasswrd = \"hunter2\"\n",
    ] {
        let shown = errors(broken);
        assert!(shown.contains("error: "), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let shown = told(with_env(
        "[topics.orders]",
        &[
            (
                "ACKWARDEN__KAFKA__PROPERTIES__SSL_KEYSTORE_PASSWORD_X",
                "hunter2",
            ),
            ("ACKWARDEN__KAFKA__PROPERTIES__SASL_PASSWRD", "hunter2"),
            ("ACKWARDEN__KAFKA__PASSWORD", "hunter2"),
            ("ACKWARDEN__KAFAK__PASSWORD", "hunter2"),
        ],
    ));
    assert!(
        shown.contains("error: ") && !shown.contains("hunter2"),
        "{shown}"
    );
}

// ------------------------------------------------------------------------------------------------------ topics

#[test]
fn topics_keep_the_order_of_the_file_and_know_what_was_set() {
    let config = good(
        "[defaults]\nretry_rate = 7\n[topics.zebra]\n[topics.ant]\ntimeout = \"1s\"\nack_topic = \"{topic}.done\"",
    );
    let names: Vec<&str> = config.topics.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["zebra", "ant"]);
    let ant = &config.topics[1];
    assert_eq!(ant.ack_topic, "ant.done");
    assert_eq!(ant.policy.dead_letter.as_deref(), Some("ant-dlq"));
    let set: Vec<&str> = ant.set_by_file.iter().map(String::as_str).collect();
    assert_eq!(set, ["ack_topic", "retry_rate", "timeout"]);
}

#[test]
fn the_whole_policy_can_be_set() {
    let config = good(
        r#"
[topics.orders]
start = 2026-01-31T10:00:00+02:00
on_lost_range = "report-and-continue"
timeout = "10s"
backoff = 1
timeout_max = "1m"
jitter = 0
max_attempts = 0
nack_delay = "0s"
delay_max = "10m"
dead_letter = "graveyard"
retry_rate = 0x10
same_id = "one-message"
observe_only = true
id = ["json:/a~1b/0", "header:x"]
"#,
    );
    let topic = &config.topics[0];
    let policy = &topic.policy;
    assert_eq!(topic.start, Start::At(1_769_846_400_000));
    assert_eq!(policy.on_lost_range, OnLostRange::ReportAndContinue);
    assert_eq!((policy.timeout_ms, policy.timeout_max_ms), (10_000, 60_000));
    assert_eq!((policy.backoff, policy.jitter), (1.0, 0.0));
    assert_eq!((policy.max_attempts, policy.retry_rate), (0, 16));
    assert_eq!((policy.nack_delay_ms, policy.delay_max_ms), (0, 600_000));
    assert_eq!(policy.dead_letter.as_deref(), Some("graveyard"));
    assert_eq!(policy.same_id, SameId::OneMessage);
    assert!(policy.observe_only);
    assert_eq!(topic.id.last(), Some(&IdSource::Position));
    assert_eq!(config.limits.settled_retention, Duration::from_secs(3_600));
}

#[test]
fn topics_whose_roles_collide_are_refused() {
    insta::assert_snapshot!(errors(r#"
[kafka]
state_topic = "state"
[topics.orders]
ack_topic = "payments"
[topics.payments]
ack_topic = "payments"
dead_letter = "shared-acks"
[topics.a]
ack_topic = "shared-acks"
dead_letter = "b"
[topics.b]
ack_topic = "shared-acks"
ack_id = ["json:/id"]
dead_letter = "a"
[topics.state]
[topics.c]
dead_letter = "state"
[topics.d]
dead_letter = "{topic}"
[topics.e]
dead_letter = "{tpoic}-dlq"
"#), @r#"
    error: "state" is the state topic and a tracked topic
     --> ackwarden.toml:3:15
      |
    3 | state_topic = "state"
      |               ^^^^^^^
      = it is tracked: ackwarden.toml:16:9
      = set kafka.state_topic to a topic of its own

    error: the ACK topic "payments" of "orders" is the tracked topic "payments": its messages would be read as ACKs
     --> ackwarden.toml:5:13
      |
    5 | ack_topic = "payments"
      |             ^^^^^^^^^^
      = name another topic

    error: the ACK topic "payments" of "payments" is the source topic itself: messages would be read as ACKs
     --> ackwarden.toml:7:13
      |
    7 | ack_topic = "payments"
      |             ^^^^^^^^^^
      = name another topic

    error: the dead-letter topic "shared-acks" of "payments" is the ACK topic of "a": dead letters would be read as ACKs
     --> ackwarden.toml:8:15
      |
    8 | dead_letter = "shared-acks"
      |               ^^^^^^^^^^^^^
      = name another topic, or none: ""

    error: the dead-letter topic "b" of "a" lets dead letters go round: a → b → a
      --> ackwarden.toml:11:15
       |
    11 | dead_letter = "b"
       |               ^^^
       = name another topic, or none: ""

    error: "b" and "a" share the ACK topic "shared-acks", but not `ack_id`
      --> ackwarden.toml:14:10
       |
    14 | ack_id = ["json:/id"]
       |          ^^^^^^^^^^^^
       = the other topic: ackwarden.toml:9:9
       = an ACK record is read once, by one list: give both the same `ack_id`, or two ACK topics

    error: the dead-letter topic "a" of "b" lets dead letters go round: b → a → b
      --> ackwarden.toml:15:15
       |
    15 | dead_letter = "a"
       |               ^^^
       = name another topic, or none: ""

    error: the dead-letter topic "state" of "c" is the state topic, which is compacted: dead letters would vanish
      --> ackwarden.toml:18:15
       |
    18 | dead_letter = "state"
       |               ^^^^^^^
       = name another topic, or none: ""

    error: `dead_letter` is the source topic itself: dead letters would be tracked again; name another topic
      --> ackwarden.toml:20:15
       |
    20 | dead_letter = "{topic}"
       |               ^^^^^^^^^

    error: `dead_letter` has an unknown template `{tpoic}`; here there is `{topic}`
      --> ackwarden.toml:22:15
       |
    22 | dead_letter = "{tpoic}-dlq"
       |               ^^^^^^^^^^^^^
    "#);
}

#[test]
fn a_dead_letter_topic_may_be_tracked_and_shared_if_nothing_goes_round() {
    let config = good(
        "[topics.orders]\n[topics.payments]\ndead_letter = \"orders-dlq\"\n[topics.orders-dlq]\ndead_letter = \"\"",
    );
    for (topic, dead_letter, conflict) in [
        ("orders", "elsewhere", None),
        ("orders", "payments", None),
        ("orders", "orders", Some("the source topic itself")),
        ("orders", "payments-acks", Some("read as ACKs")),
        ("orders", "ackwarden-state", Some("state topic")),
        ("orders-dlq", "payments", Some("payments → orders-dlq")),
    ] {
        let found = dead_letter_conflict(
            &config,
            |t| t.policy.dead_letter.as_deref(),
            topic,
            dead_letter,
        );
        match conflict {
            None => assert_eq!(found, None),
            Some(says) => assert!(
                found.as_ref().is_some_and(|f| f.contains(says)),
                "{found:?}"
            ),
        }
    }
}

#[test]
fn topics_may_share_an_ack_topic_if_they_read_it_alike() {
    let config = good(
        "[defaults]\nack_topic = \"acks\"\nack_id = [\"json:/id\"]\n[topics.orders]\n[topics.payments]",
    );
    assert_eq!(config.topics[0].ack_topic, config.topics[1].ack_topic);
}

#[test]
fn what_is_likely_not_meant_is_warned_of() {
    let loaded = file(
        "[kafka.properties]\nenable.ssl.certificate.verification = false\n[topics.orders]\nid = [\"key\"]\n\
         start = 2999-01-01T00:00:00Z\n",
    )
    .unwrap_or_else(|e| panic!("{e}"));
    insta::assert_snapshot!(loaded.warnings.join("\n"), @r#"
    ackwarden.toml:2:1: `enable.ssl.certificate.verification` = "false": anyone in between can pose as the broker
    ackwarden.toml:4:7: `key` in `id`: records of one key are told apart only if each key is used once: use a header or a field that is unique, or leave it to "position"
    ackwarden.toml:5:9: `start` lies in the future: tracking begins at once, as with "now"
    "#);
}

#[test]
fn a_name_whose_default_topics_are_too_long_is_told_what_to_set() {
    let name = "x".repeat(246);
    let shown = headlines(&format!("[topics.{name}]"));
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown.iter().all(|s| s.contains("the default `")),
        "{shown:?}"
    );
    good(&format!(
        "[topics.{name}]\nack_topic = \"a\"\ndead_letter = \"d\""
    ));
}

#[test]
fn ids_are_refused_where_they_could_not_name_a_message() {
    for (line, says) in [
        ("id = [\"position\", \"key\"]", "never reached"),
        ("id = [\"header:a\", \"header:a\"]", "twice"),
        ("id = [\"header:\"]", "names no header"),
        ("id = [\"json:a\"]", "does not begin with `/`"),
        ("id = [\"json:/a~2\"]", "neither `~0` nor `~1`"),
        ("id = [7]", "is an integer"),
        ("id = \"key\"", "is a string, wanted is a list"),
        ("ack_id = [\"position\"]", "cannot be the position"),
        ("ack_id = []", "0 entries"),
    ] {
        let shown = headlines(&format!("[topics.orders]\n{line}"));
        assert!(
            shown.len() == 1 && shown[0].contains(says),
            "{line}: {shown:?}"
        );
    }
}

#[test]
fn brokers_are_hosts_and_ports() {
    for brokers in [
        "a:9092,b:9093",
        "a",
        "PLAINTEXT://a:1",
        "[::1]:9092",
        "a:1, b:2",
    ] {
        good(&format!(
            "[kafka]\nbrokers = \"{brokers}\"\n[topics.orders]"
        ));
    }
    for brokers in [
        "", "a:1,", "a:0", "a:x", "a b", "::1:9092", "a/b", "a:99999",
    ] {
        let shown = headlines(&format!(
            "[kafka]\nbrokers = \"{brokers}\"\n[topics.orders]"
        ));
        assert_eq!(shown.len(), 1, "{brokers}: {shown:?}");
    }
}

#[test]
fn only_loopback_is_listened_on() {
    for listen in ["127.0.0.1:0", "[::1]:8080", "localhost:8080", "127.8.8.8:1"] {
        let config = good(&format!("[http]\nlisten = \"{listen}\"\n[topics.orders]"));
        assert!(config.http.listen.ip().is_loopback());
    }
    for listen in [
        "0.0.0.0:80",
        "[::]:80",
        "10.0.0.1:80",
        ":80",
        "8080",
        "example.org:80",
    ] {
        let shown = headlines(&format!("[http]\nlisten = \"{listen}\"\n[topics.orders]"));
        assert_eq!(shown.len(), 1, "{listen}: {shown:?}");
    }
}

// -------------------------------------------------------------------------------------------------- any text

proptest::proptest! {
    #[test]
    fn a_damaged_file_is_an_error_or_a_configuration_but_never_a_panic(
        edits in proptest::collection::vec((0.0..1.0_f64, 0..40_usize, "[\\PC\n\t\"'\\[\\]{}=.#]{0,6}"), 1..6)
    ) {
        let mut text = EXAMPLE.replace("\n#", "\n");
        for (place, cut, insert) in edits {
            let chars: Vec<char> = text.chars().collect();
            let at = (place * chars.len() as f64) as usize;
            let rest = chars.iter().skip(at + cut);
            text = chars.iter().take(at).copied().chain(insert.chars()).chain(rest.copied()).collect();
        }
        if let Err(error) = file(&text) {
            proptest::prop_assert!(error.to_string().starts_with("error: "));
        }
    }

    #[test]
    fn no_text_makes_a_duration_panic(text in "[0-9a-z .\\-µ]{0,70}") {
        let _ = ackwarden::config::duration::parse_duration_ms(&text);
    }
}
