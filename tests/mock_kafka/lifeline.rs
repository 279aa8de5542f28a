//! A client that has no broker left.

use std::time::Duration;

use ackwarden::kafka::lifeline::Lifeline;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::eventually;
use crate::{PATIENCE, Scene};

#[test]
fn a_client_that_knows_no_broker_is_told_of_those_it_began_with() {
    let scene = Scene::start();
    scene.publisher().fill(0, 1);
    // Without any, as librdkafka leaves a client that was told of none.
    let client: BaseConsumer = ClientConfig::new()
        .set("log_level", "0")
        .create()
        .expect("a consumer");
    let soon = Duration::from_millis(500);
    let metadata = || client.fetch_metadata(Some("orders"), soon);
    assert!(metadata().is_err(), "it has nobody to ask");
    let settings = scene.settings.reader("test");
    let lifeline = Lifeline::new(&settings);
    let found = eventually("a broker answers", PATIENCE, || {
        lifeline.look(client.client(), "orders");
        metadata().ok()
    });
    assert_eq!(found.brokers().len(), 1);
}
