//! A Service B in Rust. Run: `BROKERS=127.0.0.1:9092 TOPIC=orders cargo run --example service-b`
//!
//! Beside it, the same in Java, Python, Go and Node.

use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message};

async fn work(message: &BorrowedMessage<'_>) {
    let value = message.payload().unwrap_or_default();
    println!("working on {}", String::from_utf8_lossy(value));
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let brokers = std::env::var("BROKERS")?;
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("group.id", "service-b-rust")
        .set("auto.offset.reset", "earliest")
        .create()?;
    let acks: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .create()?;
    consumer.subscribe(&[&std::env::var("TOPIC")?])?;
    loop {
        let message = consumer.recv().await?;
        work(&message).await;
        let topic = message.topic();
        let position = format!("{topic}/{}/{}", message.partition(), message.offset());
        let ack_topic = format!("{topic}-acks");
        let ack = FutureRecord::<str, ()>::to(&ack_topic).key(&position);
        acks.send(ack, Duration::from_secs(10))
            .await
            .map_err(|(error, _)| error)?;
    }
}
