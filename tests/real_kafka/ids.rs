//! What a message is called, and by which names B may acknowledge it.

use crate::require_kafka;
use crate::scene::{Scene, secs};
use crate::support::ackwarden::{Ackwarden, ServeConfig};
use crate::support::eventually;
use crate::support::produce::{NewRecord, produce};
use crate::support::topics::{self, TopicSpec};

const PATIENT: &str = "timeout = \"10m\"\n";

#[test]
fn without_an_id_header_or_with_one_that_is_no_text_it_is_tracked_by_position_and_counted() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "no-id", 1);
    let config = scene.config(&format!(
        "{PATIENT}id = [\"header:message-id\", \"position\"]\n"
    ));
    let service = Ackwarden::start(config);
    let places = scene.send(&[
        NewRecord::new("no header").partition(0),
        NewRecord::new("bad UTF-8")
            .header("message-id", [0xff, 0xfe])
            .partition(0),
        NewRecord::new("too long")
            .header("message-id", "x".repeat(513))
            .partition(0),
        NewRecord::new("empty")
            .header("message-id", "")
            .partition(0),
    ]);
    for place in &places {
        let found = service.wait_state(&place.position(), "outstanding", secs(60));
        assert_eq!(found["id"], place.position().as_str());
    }
    let fell_back = service.get("/stats")["topics"][0]["ids_fell_back"].clone();
    assert_eq!(fell_back, 4, "{}", service.get("/stats"));
    for place in &places {
        scene.ack(&place.position());
    }
    service.wait_settled(&scene.topic, secs(60));
}

#[test]
fn one_ack_topic_serves_several_source_topics() {
    let kafka = require_kafka!();
    let scene = Scene::new(kafka, "orders", 1);
    let parcels = format!("{}-parcels", scene.topic);
    topics::create(&scene.brokers, &TopicSpec::new(&parcels, 1));
    let shared = format!("{PATIENT}ack_topic = \"{}\"\n", scene.acks_topic());
    let config = ServeConfig::new(&scene.brokers, &scene.group())
        .topic(&scene.topic, &shared)
        .topic(&parcels, &shared);
    let service = Ackwarden::start(config);
    let labelled = || NewRecord::new("v").header("message-id", "A-7").partition(0);
    let order = scene.send(&[labelled()])[0].position();
    let parcel = produce(&scene.brokers, &parcels, &[labelled()])[0].position();
    let other = produce(
        &scene.brokers,
        &parcels,
        &[NewRecord::new("other").partition(0)],
    )[0]
    .position();
    for position in [&order, &parcel, &other] {
        service.wait_state(position, "outstanding", secs(60));
    }
    // A position names its topic; an id needs to be told which.
    scene.ack(&other);
    scene.say(&[NewRecord::ack("A-7").header("ackwarden-topic", &parcels)]);
    service.wait_state(&other, "acked", secs(60));
    service.wait_state(&parcel, "acked", secs(60));
    service.wait_state(&order, "outstanding", secs(60));
    scene.ack("A-7");
    eventually("an id without a topic is no name here", secs(60), || {
        let labels = [("verdict", "ack"), ("result", "invalid")];
        let counted = service.metrics();
        let lines = counted.lines().filter(|l| {
            l.starts_with("ackwarden_verdicts_total")
                && labels
                    .iter()
                    .all(|(k, v)| l.contains(&format!("{k}=\"{v}\"")))
        });
        lines
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .any(|n| n > 0.0)
            .then_some(())
    });
    service.wait_state(&order, "outstanding", secs(60));
    scene.ack(&order);
    service.wait_state(&order, "acked", secs(60));
}
