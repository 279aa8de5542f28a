// A Service B in Java. Run: BROKERS=127.0.0.1:9092 TOPIC=orders mvn -q compile exec:java
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class ServiceB {
    static void work(ConsumerRecord<String, String> record) {
        System.out.println("working on " + record.value());
    }

    public static void main(String[] args) {
        String brokers = System.getenv("BROKERS");
        var consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", brokers, "group.id", "service-b-java", "auto.offset.reset", "earliest"),
                new StringDeserializer(), new StringDeserializer());
        var acks = new KafkaProducer<>(
                Map.of("bootstrap.servers", brokers), new StringSerializer(), new StringSerializer());
        consumer.subscribe(List.of(System.getenv("TOPIC")));
        while (true) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                work(record);
                String position = record.topic() + "/" + record.partition() + "/" + record.offset();
                acks.send(new ProducerRecord<>(record.topic() + "-acks", position, null));
            }
        }
    }
}
