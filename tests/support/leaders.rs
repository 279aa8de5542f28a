//! Leaders that move from broker to broker, as an administrator moves them, while all brokers are alive.

/// A source file for the JDK's launcher: `bootstrap.servers`, then topics. Each partition's next replica becomes its
/// preferred one, and then its leader. Prints how many leaders moved.
pub const MOVE_LEADERS: &str = r#"
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.*;

class MoveLeaders {
    public static void main(String[] args) throws Exception {
        List<String> topics = Arrays.asList(args).subList(1, args.length);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            Map<TopicPartition, Integer> before = new HashMap<>();
            Map<TopicPartition, Optional<NewPartitionReassignment>> next = new HashMap<>();
            for (TopicDescription topic : admin.describeTopics(topics).allTopicNames().get().values()) {
                for (TopicPartitionInfo p : topic.partitions()) {
                    List<Integer> replicas = new ArrayList<>();
                    for (Node node : p.replicas()) replicas.add(node.id());
                    Collections.rotate(replicas, -1);
                    TopicPartition partition = new TopicPartition(topic.name(), p.partition());
                    before.put(partition, p.leader() == null ? -1 : p.leader().id());
                    next.put(partition, Optional.of(new NewPartitionReassignment(replicas)));
                }
            }
            admin.alterPartitionReassignments(next).all().get();
            var elected = admin.electLeaders(ElectionType.PREFERRED, next.keySet()).partitions().get();
            int moved = 0;
            for (var e : elected.entrySet()) if (e.getValue().isEmpty()) moved++;
            System.out.println(moved);
        }
    }
}
"#;
