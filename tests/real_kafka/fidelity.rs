//! A copy is its original, byte for byte, whatever it is made of.

use crate::require_kafka;
use crate::scene::{EVERY_SECOND, LONG_SESSION, Scene, secs};
use crate::support::ackwarden::Ackwarden;
use crate::support::judge;
use crate::support::produce::{NewRecord, produce_with};
use crate::support::topics::{self, TopicSpec};

#[test]
fn copies_and_dead_letters_are_byte_identical() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "bytes", 3);
    let config = scene.config(&format!("{EVERY_SECOND}max_attempts = 3\n"));
    let service = Ackwarden::start(config.section(LONG_SESSION));
    let records = [
        NewRecord::default().key("null value"),
        NewRecord::new("").key("empty value"),
        NewRecord::new("no key"),
        NewRecord::new("empty key").key(""),
        NewRecord::default(),
        NewRecord::new(vec![0xff, 0x00, 0xfe, 0x80]).key(vec![0xc3, 0x28]),
        NewRecord::new("headers")
            .header("twice", "1")
            .header("binary", [0xff, 0x00, 0x80])
            .header("twice", "2")
            .header("empty", "")
            .null_header("null")
            .header(
                "Ackwarden-Origin",
                "not a reserved name: names are case-sensitive",
            )
            .header("naïve", "ü"),
        NewRecord::new("own timeout").header("ackwarden-timeout", "1s"),
    ];
    let records: Vec<NewRecord> = (0..)
        .zip(records)
        .map(|(i, r)| r.partition(i % 3))
        .collect();
    scene.send(&records);
    let dead = scene.wait_dead_letters(records.len(), secs(120));
    let source = scene.source();
    assert_eq!(judge::copies_identical(&source), 2 * records.len());
    judge::attempts_without_gaps(&source, &dead, 3, 1);
    judge::dead_letters_identical(&source, &dead);
    service.wait_settled(&scene.topic, secs(60));
}

#[test]
fn large_records_of_every_codec_are_copied() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "codecs", 1);
    let config = scene.config(&format!("{EVERY_SECOND}max_attempts = 2\n"));
    let _service = Ackwarden::start(config.section(LONG_SESSION));
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for (value, codec) in (0..).zip(codecs) {
        produce_with(
            &scene.brokers,
            &scene.topic,
            &[NewRecord::new(noise(value, 900_000))
                .key(codec)
                .partition(0)],
            &[("compression.type", codec)],
        );
    }
    let dead = scene.wait_dead_letters(codecs.len(), secs(120));
    let source = scene.source();
    assert_eq!(judge::copies_identical(&source), codecs.len());
    judge::dead_letters_identical(&source, &dead);
}

#[test]
fn a_header_of_ten_megabytes_is_copied_where_the_limits_allow_it() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "huge");
    for topic in [scene.topic.clone(), scene.dead_letters_topic()] {
        let spec = TopicSpec::new(&topic, 1).config("max.message.bytes", "20971520");
        topics::create(&scene.brokers, &spec);
    }
    topics::create(&scene.brokers, &TopicSpec::new(&scene.acks_topic(), 1));
    let config = scene
        .config(&format!("{EVERY_SECOND}max_attempts = 2\n"))
        .section(LONG_SESSION)
        .section("[kafka.producer]\n\"message.max.bytes\" = \"20971520\"\n");
    let _service = Ackwarden::start(config);
    let record = NewRecord::new("small")
        .key("k")
        .header("large", noise(7, 10_000_000))
        .header("small", "s");
    produce_with(
        &scene.brokers,
        &scene.topic,
        &[record],
        &[("message.max.bytes", "20971520")],
    );
    let dead = scene.wait_dead_letters(1, secs(120));
    let source = scene.source();
    assert_eq!(judge::copies_identical(&source), 1);
    judge::dead_letters_identical(&source, &dead);
}

/// What does not fit any more once the headers are added is dead-lettered as what it is, without the loop.
#[test]
fn a_record_that_grows_past_the_limit_is_dead_lettered_as_too_large() {
    let kafka = require_kafka!();
    let scene = Scene::bare(kafka, "grows");
    let spec = TopicSpec::new(&scene.topic, 1).config("max.message.bytes", "2000");
    topics::create(&scene.brokers, &spec);
    topics::create(&scene.brokers, &TopicSpec::new(&scene.acks_topic(), 1));
    topics::create(
        &scene.brokers,
        &TopicSpec::new(&scene.dead_letters_topic(), 1),
    );
    let service = Ackwarden::start(scene.config(EVERY_SECOND));
    let origin = scene.send(&[NewRecord::new(noise(1, 1_880)).key("k")])[0].position();
    let dead = scene.wait_dead_letters(1, secs(60));
    assert_eq!(dead[0].header("ackwarden-cause"), Some("too-large"));
    assert_eq!(dead[0].origin(), Some(origin.as_str()));
    assert_eq!(
        dead[0].attempt(),
        Some(1),
        "only the original was delivered"
    );
    service.wait_state(&origin, "dead", secs(60));
    assert_eq!(scene.source().len(), 1);
}

/// Bytes that no codec makes smaller.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}
