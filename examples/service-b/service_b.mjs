// A Service B in Node. Run: npm install && BROKERS=127.0.0.1:9092 TOPIC=orders node service_b.mjs
import { Kafka, logLevel } from 'kafkajs'

const kafka = new Kafka({ clientId: 'service-b', brokers: process.env.BROKERS.split(','), logLevel: logLevel.ERROR })
const consumer = kafka.consumer({ groupId: 'service-b-node' })
const acks = kafka.producer()

async function work(message) {
  console.log('working on', message.value?.toString())
}

await acks.connect()
await consumer.connect()
await consumer.subscribe({ topic: process.env.TOPIC, fromBeginning: true })
await consumer.run({
  eachMessage: async ({ topic, partition, message }) => {
    await work(message)
    const position = `${topic}/${partition}/${message.offset}`
    await acks.send({ topic: `${topic}-acks`, messages: [{ key: position, value: null }] })
  },
})
