//! Against a real Apache Kafka, with the built binary as a child process. See `tests/support`.
//!
//! Where there is no JDK or Maven these tests say so and pass; with `CI=true` they fail instead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is the report"
)]

#[path = "../support/mod.rs"]
mod support;

mod broker_faults;
mod chaos;
mod chaos_faults;
mod check;
mod clock;
mod commits;
mod crash_of_b;
mod crash_of_coordinator;
mod dead_letters;
mod demo;
mod disk;
mod fidelity;
mod harness;
mod headers;
mod ids;
mod instances;
mod judges;
mod lost_ranges;
mod operator;
mod refusals;
mod scene;
mod security;
mod topology;
mod transactions;
mod two_groups;
mod unclean;
mod verdicts;
