//! `ackwarden demo`: everything at once on an embedded broker, and the plain services that the tests use too.
//!
//! Service A and Service B are what users have: Kafka clients that know nothing of the coordinator, apart from the one
//! line with which B acknowledges. Nothing in here is used by `serve`.

pub mod broker;
mod error;
mod interrupt;
pub mod observer;
pub mod order;
pub mod run;
mod screen;
pub mod service_a;
pub mod service_b;
mod service_b_process;
mod stage;
pub mod tally;

pub use error::DemoError;
pub use run::{Coordinator, DemoOptions, run};
pub use service_b::ServiceBArgs;
pub use stage::Stage;
pub use tally::Tally;
