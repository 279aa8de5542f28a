"""A Service B in Python. Run: pip install -r requirements.txt && BROKERS=127.0.0.1:9092 TOPIC=orders python service_b.py"""
import os

from confluent_kafka import Consumer, Producer

brokers = os.environ["BROKERS"]
consumer = Consumer({
    "bootstrap.servers": brokers,
    "group.id": "service-b-python",
    "auto.offset.reset": "earliest",
})
acks = Producer({"bootstrap.servers": brokers})


def work(message):
    print("working on", message.value(), flush=True)


consumer.subscribe([os.environ["TOPIC"]])
while True:
    message = consumer.poll(1.0)
    if message is None or message.error():
        continue
    work(message)
    position = f"{message.topic()}/{message.partition()}/{message.offset()}"
    acks.produce(f"{message.topic()}-acks", key=position)
    acks.poll(0)
