//! The Service B of the demo and of the tests, where the group's coordinator has only just started.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaApiKey;
use rdkafka::types::RDKafkaRespErr::{
    RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
};

use crate::PATIENCE;
use crate::support::service_b::ServiceB;

#[test]
fn it_reads_although_the_coordinator_does_not_tell_the_offsets_at_first() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    for topic in ["orders", "orders-acks"] {
        cluster.create_topic(topic, 1, 1).expect("a topic");
    }
    let brokers = cluster.bootstrap_servers();
    send_order(&brokers);
    let refusals = [
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
    ];
    cluster.request_errors(RDKafkaApiKey::OffsetFetch, &refusals);
    let mut b = ServiceB::new(&brokers, "orders")
        .with("--assign", "1")
        .started();
    b.wait_processed(&[7].into(), PATIENCE);
}

fn send_order(brokers: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("a producer");
    let value = ackwarden::demo::order::encode(7);
    producer
        .send(
            BaseRecord::<[u8], [u8]>::to("orders")
                .partition(0)
                .payload(&value),
        )
        .expect("sent");
    producer.flush(Duration::from_secs(30)).expect("confirmed");
}
