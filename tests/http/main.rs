//! The HTTP API against a fake coordinator: shapes, problems, bounds, guards, metrics, and a few calls over real TCP.

#![allow(
    clippy::unwrap_used,
    reason = "tests; clippy exempts only the test functions themselves"
)]

mod actions;
mod fake;
mod guards;
mod lists;
mod log;
mod metrics;
mod over_tcp;
mod problems;
mod samples;
mod topics;
mod totals;
