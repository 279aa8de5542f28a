import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A Service B on a Kafka share group: it does nothing with a message, and acknowledges each. Says "ready", then "done". */
class Share {
    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0], topic = arguments[1], group = arguments[2];
        long records = Long.parseLong(arguments[3]);
        int consumers = Integer.parseInt(arguments[4]);
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", brokers))) {
            ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
            AlterConfigOp earliest = new AlterConfigOp(
                new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(earliest))).all().get();
        }
        AtomicLong acknowledged = new AtomicLong();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < consumers; i++) {
            Thread thread = new Thread(() -> consume(brokers, topic, group, records, acknowledged));
            thread.start();
            threads.add(thread);
        }
        Thread.sleep(5_000);
        System.out.println("ready");
        for (Thread thread : threads) thread.join();
        System.out.println("done");
    }

    static void consume(String brokers, String topic, String group, long records, AtomicLong acknowledged) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", brokers,
            "group.id", group,
            "share.acknowledgement.mode", "explicit",
            "max.poll.records", "2000");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaShareConsumer<>(settings, bytes, bytes)) {
            consumer.setAcknowledgementCommitCallback((offsets, failure) -> {
                if (failure != null) throw new IllegalStateException(failure);
                long sum = 0;
                for (Set<Long> of : offsets.values()) sum += of.size();
                acknowledged.addAndGet(sum);
            });
            consumer.subscribe(List.of(topic));
            while (acknowledged.get() < records) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100)))
                    consumer.acknowledge(record, AcknowledgeType.ACCEPT);
                consumer.commitAsync();
            }
        }
    }
}
