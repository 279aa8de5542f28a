//! The command line.

pub mod args;
pub mod check;
pub mod healthcheck;
pub mod logging;
mod report;
mod rights;
pub mod variables;
