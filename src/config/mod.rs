//! Configuration: raw TOML, environment and flags → checked types.

pub mod duration;
pub mod model;
pub mod names;
pub mod policy_json;
pub mod policy_keys;
mod suggest;

pub use model::{
    Config, HttpConfig, IdSource, KafkaConfig, Limits, Start, StoreConfig, TopicConfig,
};
