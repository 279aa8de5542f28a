//! Three brokers, each a controller too, as child processes: what is on all three survives the death of any one.

use super::free_port;
use super::kafka::{Kafka, KafkaOptions, Node};

pub struct Cluster {
    pub nodes: Vec<Kafka>,
}

impl Cluster {
    /// `None` and panics as for [`Kafka::start`].
    pub fn start() -> Option<Self> {
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(i, (_, controller))| format!("{}@127.0.0.1:{controller}", i + 1))
            .collect();
        let mut nodes = Vec::new();
        for (i, (port, controller_port)) in ports.into_iter().enumerate() {
            let node = Node {
                id: i + 1,
                port,
                controller_port,
                voters: voters.join(","),
            };
            let options = KafkaOptions {
                node: Some(node),
                ..KafkaOptions::default()
            };
            let options = options
                .property("offsets.topic.replication.factor", "3")
                .property("transaction.state.log.replication.factor", "3")
                .property("transaction.state.log.min.isr", "2")
                .property("share.coordinator.state.topic.replication.factor", "3")
                .property("share.coordinator.state.topic.min.isr", "2")
                .property("default.replication.factor", "3")
                .property("min.insync.replicas", "2")
                .stopped();
            nodes.push(Kafka::start(options)?);
        }
        let cluster = Self { nodes };
        cluster.launch_all();
        Some(cluster)
    }

    /// Those that do not run are started together: one alone makes no quorum.
    pub fn launch_all(&self) {
        let down: Vec<&Kafka> = self.nodes.iter().filter(|n| !n.is_started()).collect();
        down.iter().for_each(|n| n.launch_only());
        for node in down {
            if let Err(log) = node.wait_up() {
                panic!("a broker did not start; the end of its log:\n{log}");
            }
        }
    }

    /// Makes another broker the leader of each partition of these topics; answers with how many it moved.
    pub fn move_leaders(&self, topics: &[String]) -> usize {
        self.nodes[0].move_leaders(&self.brokers(), topics)
    }

    /// `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        let each: Vec<String> = self.nodes.iter().map(Kafka::brokers).collect();
        each.join(",")
    }
}
