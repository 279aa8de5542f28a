//! What can go wrong in the demo and in its services.

use std::path::PathBuf;

use rdkafka::error::KafkaError;

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{what}: {source}")]
    Kafka {
        what: &'static str,
        source: KafkaError,
    },
    #[error("{what} {path}: {source}", path = path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The embedded broker's thread ended before it gave its address.
    #[error("the embedded broker did not start: {0}")]
    Broker(String),
    #[error("the coordinator did not start: {0}")]
    Coordinator(String),
    /// Service B ended although nobody killed it; its own words are on standard error.
    #[error("service B ended by itself with {0}")]
    ServiceB(std::process::ExitStatus),
}

impl DemoError {
    pub(super) fn kafka(what: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { what, source }
    }

    pub(super) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
