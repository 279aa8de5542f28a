//! The embedded broker: librdkafka's mock cluster, on real TCP ports of 127.0.0.1.
//!
//! It does what the demo needs: groups, headers, offsets with metadata. It cannot create topics for clients, has no
//! transaction markers, and keeps about 5 MiB a partition. Not for anything that matters.

use std::sync::mpsc;
use std::thread::JoinHandle;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::DemoError;

/// Lives until it is dropped; its data goes with it.
#[derive(Debug)]
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts one broker with these topics (name, partitions).
    ///
    /// # Errors
    /// [`DemoError::Broker`].
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, DemoError> {
        let topics: Vec<(String, i32)> = topics
            .iter()
            .map(|&(name, n)| (name.to_owned(), n))
            .collect();
        let (stop, stopped) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        // The cluster is not `Send`: it is made, kept and dropped on a thread of its own.
        let thread = std::thread::Builder::new()
            .name("demo-broker".into())
            .spawn(move || match cluster(&topics) {
                Ok(cluster) => {
                    let _ = ready.send(Ok(cluster.bootstrap_servers()));
                    // An error means that the handle is gone, which is as good a reason to end.
                    let _ = stopped.recv();
                }
                Err(why) => {
                    let _ = ready.send(Err(why));
                }
            })
            .map_err(|e| DemoError::Broker(e.to_string()))?;
        let bootstrap_servers = started
            .recv()
            .map_err(|e| DemoError::Broker(e.to_string()))?
            .map_err(DemoError::Broker)?;
        Ok(Self {
            bootstrap_servers,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `host:port`, for any Kafka client on this machine.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn cluster(
    topics: &[(String, i32)],
) -> Result<MockCluster<'static, DefaultProducerContext>, String> {
    let cluster = MockCluster::new(1).map_err(|e| e.to_string())?;
    for (name, partitions) in topics {
        cluster
            .create_topic(name, *partitions, 1)
            .map_err(|e| format!("cannot create topic {name}: {e}"))?;
    }
    Ok(cluster)
}
