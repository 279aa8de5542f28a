//! The command line.

pub mod healthcheck;
