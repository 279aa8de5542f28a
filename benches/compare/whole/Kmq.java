import com.softwaremill.kmq.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A Service B on kmq, and kmq's tracker: it does nothing with a message, and acknowledges each. Says "ready", then "done". */
class Kmq {
    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0], topic = arguments[1], group = arguments[2];
        long records = Long.parseLong(arguments[3]);
        KmqConfig config = new KmqConfig(topic, topic + "-markers", group, group + "-redelivery", 3_600_000, 3_600_000);
        KafkaClients clients = new KafkaClients(brokers);
        RedeliveryTracker.start(clients, config);
        KmqClient<byte[], byte[]> client =
            new KmqClient<>(config, clients, ByteArrayDeserializer.class, ByteArrayDeserializer.class, 100);
        long joined = System.nanoTime() + 5_000_000_000L;
        while (System.nanoTime() < joined) client.nextBatch();
        System.out.println("ready");
        long done = 0;
        Future<?> last = null;
        while (done < records) {
            for (ConsumerRecord<byte[], byte[]> record : client.nextBatch()) {
                last = client.processed(record);
                done++;
            }
        }
        last.get();
        client.close();
        System.out.println("done");
        System.exit(0);
    }
}
