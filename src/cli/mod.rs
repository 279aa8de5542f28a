//! The command line.

pub mod args;
pub mod check;
pub mod healthcheck;
mod report;
mod rights;
