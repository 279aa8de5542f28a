//! Configuration: raw TOML, environment and flags → checked types.

pub mod model;

pub use model::{
    Config, HttpConfig, IdSource, KafkaConfig, Limits, Start, StoreConfig, TopicConfig,
};
