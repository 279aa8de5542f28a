//! The harness itself: what the other tests rest on is tested here, without a coordinator.

use std::collections::BTreeSet;
use std::time::Duration;

use ackwarden::demo::service_a::{ServiceA, ServiceAOptions};

use crate::require_kafka;
use crate::support::kafka::{Kafka, KafkaOptions};
use crate::support::produce::{NewRecord, produce, produce_with};
use crate::support::records::{committed, length, read_all, watermarks};
use crate::support::service_b::ServiceB;
use crate::support::topics::{self, TopicSpec, acks_of};
use crate::support::{eventually, judge, unique};

#[test]
fn what_is_produced_is_read_back_byte_for_byte() {
    let kafka = require_kafka!();
    let topic = unique("bytes");
    topics::create(&kafka.brokers(), &TopicSpec::new(&topic, 3));
    let records = [
        NewRecord::new("value").key("key").partition(0),
        NewRecord::default().key("tombstone").partition(1),
        NewRecord::new("").key("").partition(1),
        NewRecord::new(vec![0xff, 0x00, 0xfe])
            .header("twice", "1")
            .header("binary", [0xff, 0x00])
            .header("twice", "2")
            .header("empty", "")
            .null_header("null")
            .partition(2),
    ];
    let places = produce(&kafka.brokers(), &topic, &records);
    assert_eq!(places[2].position(), format!("{topic}/1/1"));
    let seen = read_all(&kafka.brokers(), &topic);
    assert_eq!(seen.len(), records.len());
    for (record, seen) in records.iter().zip(&seen) {
        assert_eq!(
            (&record.key, &record.value, &record.headers),
            (&seen.key, &seen.value, &seen.headers)
        );
        assert!(seen.timestamp_ms > 0);
    }
}

#[test]
fn every_codec_and_a_large_record_are_read_back() {
    let kafka = require_kafka!();
    let topic = unique("codecs");
    topics::create(&kafka.brokers(), &TopicSpec::new(&topic, 1));
    let value: Vec<u8> = (0..900_000_u32).map(|i| (i % 251) as u8).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let records = [NewRecord::new(value.clone()).key(codec)];
        produce_with(
            &kafka.brokers(),
            &topic,
            &records,
            &[("compression.type", codec)],
        );
    }
    let seen = read_all(&kafka.brokers(), &topic);
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|r| r.value.as_ref() == Some(&value)));
}

#[test]
fn limits_of_the_broker_are_what_the_tests_take_them_for() {
    let kafka = require_kafka!();
    let brokers = kafka.brokers();
    let (huge, tight) = (unique("huge"), unique("tight"));
    let spec = TopicSpec::new(&huge, 1).config("max.message.bytes", "20971520");
    topics::create(&brokers, &spec);
    let spec = TopicSpec::new(&tight, 1).config("max.message.bytes", "2000");
    topics::create(&brokers, &spec);
    let record = NewRecord::new("v").header("large", vec![7; 10_000_000]);
    let limits = [("message.max.bytes", "20971520")];
    produce_with(&brokers, &huge, &[record], &limits);
    assert!(read_all(&brokers, &huge)[0].size_bytes() > 10_000_000);
    produce(&brokers, &tight, &[NewRecord::new(vec![7; 1_880]).key("k")]);
    let with_headers = NewRecord::new(vec![7; 1_880])
        .key("k")
        .header("more", vec![7; 150]);
    let refused = std::panic::catch_unwind(|| produce(&brokers, &tight, &[with_headers]));
    assert!(refused.is_err(), "2 kB fit through");
}

#[test]
fn a_broker_that_was_not_started_yet_is_started_later() {
    let Some(kafka) = Kafka::start(KafkaOptions::default().stopped()) else {
        return;
    };
    assert!(std::net::TcpStream::connect(("127.0.0.1", kafka.port())).is_err());
    kafka.start_again();
    topics::create(&kafka.brokers(), &TopicSpec::new("t", 1));
}

#[test]
fn topics_grow_shrink_change_and_go() {
    let kafka = require_kafka!();
    let brokers = kafka.brokers();
    let topic = unique("admin");
    topics::create(&brokers, &TopicSpec::new(&topic, 1));
    produce(
        &brokers,
        &topic,
        &[NewRecord::new("a"), NewRecord::new("b")],
    );
    topics::delete_records(&brokers, &topic, 0, 1);
    assert_eq!(watermarks(&brokers, &topic), [(1, 2)]);
    topics::add_partitions(&brokers, &topic, 3);
    assert_eq!(watermarks(&brokers, &topic).len(), 3);
    assert_eq!(length(&brokers, &topic), 1);
    topics::alter_config(&brokers, &topic, &[("max.message.bytes", "2000000")]);
    // A limit that was just raised is not known to the log at once.
    eventually("a larger record is taken", Duration::from_secs(60), || {
        let record = NewRecord::new(vec![0; 1_500_000]);
        let limits = [("message.max.bytes", "3000000")];
        std::panic::catch_unwind(|| produce_with(&brokers, &topic, &[record], &limits)).ok()
    });
    topics::delete(&brokers, &topic);
    assert!(!topics::exists(&brokers, &topic));
}

#[test]
fn a_broker_of_ones_own_is_killed_stood_still_and_started_again_on_its_data() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else {
        return;
    };
    let brokers = kafka.brokers();
    topics::create(&brokers, &TopicSpec::new("t", 2));
    produce(&brokers, "t", &[NewRecord::new("before").partition(0)]);
    kafka.kill9();
    kafka.start_again();
    produce(&brokers, "t", &[NewRecord::new("between").partition(1)]);
    kafka.pause();
    let sender = {
        let brokers = brokers.clone();
        std::thread::spawn(move || produce(&brokers, "t", &[NewRecord::new("held up")]))
    };
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!sender.is_finished(), "a broker that stands still answered");
    kafka.resume();
    sender.join().expect("the sender");
    kafka.stop();
    kafka.start_again();
    assert_eq!(read_all(&brokers, "t").len(), 3);
}

/// The problem is real: this is what Ackwarden is for.
#[test]
fn without_a_coordinator_messages_are_lost_when_b_is_killed() {
    let kafka = require_kafka!();
    let brokers = kafka.brokers();
    let topic = unique("lost");
    topics::create_set(&brokers, &topic, 4);
    let send = |options| {
        let a = ServiceA::start(options).and_then(ServiceA::finish);
        a.expect("service A").numbers()
    };
    let mut sent = send(service_a(&brokers, &topic, 3_000));
    let mut b = ServiceB::new(&brokers, &topic)
        .with("--assign", "4")
        .with("--work-us", "2000")
        .with("--batch", "50")
        .started();
    // Where B is through before its last death, there is more to do.
    b.kill_in_mid_work_of(3, 70, |_, idle| {
        if idle {
            let first = 1 + sent.len() as u64;
            sent.extend(send(ServiceAOptions {
                first,
                ..service_a(&brokers, &topic, 1_000)
            }));
        }
    });
    let group = format!("{topic}-service-b");
    // Kafka counts all of it as read, and B has nothing left to do.
    let all_read = || {
        (0..4).all(|p| {
            let end = watermarks(&brokers, &topic)[p as usize].1;
            committed(&brokers, &group, &topic, p).is_some_and(|(offset, _)| offset == end)
        })
    };
    eventually("all is read", Duration::from_secs(180), || {
        all_read().then_some(())
    });
    let mut quiet_at = 0;
    b.wait_for(
        "B has nothing left to do",
        Duration::from_secs(60),
        |work| {
            std::thread::sleep(Duration::from_millis(500));
            let quiet = work.len() == quiet_at;
            quiet_at = work.len();
            quiet
        },
    );
    let processed: BTreeSet<u64> = b.processed().into_iter().collect();
    let lost = sent.difference(&processed).count();
    assert!(
        lost > 0,
        "B was killed three times in mid-work, and nothing is lost"
    );
    assert!(sent.len() >= 3_000);
    // What was acknowledged was processed.
    let acks = read_all(&brokers, &acks_of(&topic));
    assert!(!acks.is_empty() && acks.len() <= b.processed().len());
}

#[test]
fn without_a_kill_b_processes_and_acknowledges_all() {
    let kafka = require_kafka!();
    let brokers = kafka.brokers();
    let topic = unique("all");
    topics::create_set(&brokers, &topic, 4);
    let sent = ServiceA::start(service_a(&brokers, &topic, 500))
        .and_then(ServiceA::finish)
        .expect("service A")
        .numbers();
    // By hand: a group that takes it for dead would have it read some of them again.
    let mut b = ServiceB::new(&brokers, &topic)
        .with("--assign", "4")
        .with("--work-us", "0")
        .with("--reject-every", "50")
        .started();
    b.wait_for("all is done", Duration::from_secs(180), |work| {
        work.len() == 500
    });
    let processed = b.processed();
    assert_eq!(processed.len(), 490);
    let rejected = (1..=10).map(|n| n * 50).collect::<BTreeSet<u64>>();
    let due: BTreeSet<u64> = sent.difference(&rejected).copied().collect();
    assert_eq!(judge::all_processed(&due, &processed), 0);
    let acks = eventually("the last ACKs", Duration::from_secs(60), || {
        let acks = read_all(&brokers, &acks_of(&topic));
        (acks.len() == 500).then_some(acks)
    });
    let rejects = acks
        .iter()
        .filter(|a| a.header("ackwarden-verdict") == Some("reject"));
    assert_eq!(rejects.count(), 10);
    let positions: BTreeSet<String> = b.work().into_iter().map(|w| w.position).collect();
    assert!(
        acks.iter()
            .all(|a| positions.contains(a.key_text().expect("a key")))
    );
}

fn service_a(brokers: &str, topic: &str, count: u64) -> ServiceAOptions {
    ServiceAOptions {
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        rate: 0,
        count: Some(count),
        first: 1,
        id_header: false,
    }
}
