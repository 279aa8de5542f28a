//! Configuration: raw TOML, environment and flags → checked types.
//!
//! Defaults < file < environment < flags. Everything that is wrong is reported at once, each with its line, a caret
//! under the exact place, and the cure; what the file, the environment and librdkafka know as secrets never shows.
//! What only a broker can tell (does a topic exist, may we write) is not asked here.
//!
//! Inside: `schema` lists the keys; `raw_file` and `raw_env` read them without judging; `check`, `check_topics`,
//! `roles`, `properties`, `ids` and `start` judge; `render` shows. `policy_keys` is the part that HTTP shares.

mod check;
mod check_topics;
pub mod duration;
mod ids;
mod layers;
pub mod model;
pub mod names;
pub mod policy_json;
pub mod policy_keys;
mod problem;
mod properties;
mod raw;
mod raw_env;
mod raw_file;
mod render;
mod roles;
pub mod scalar;
pub mod schema;
mod secrets;
mod start;
mod suggest;
mod unknown;
mod user;

pub use layers::{EXAMPLE, Loaded, Override, Overrides, load, load_text, process_env};
pub use model::{
    Config, HttpConfig, IdSource, KafkaConfig, Limits, Start, StoreConfig, TopicConfig,
};
pub use problem::ConfigError;
pub use roles::dead_letter_conflict;
pub use secrets::{is_secret, redacted, redacted_properties};
pub use suggest::did_you_mean;
pub use user::user;
