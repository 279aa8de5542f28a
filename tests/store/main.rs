//! The store: one contract for every adapter, and what only a disk can do wrong.

#![allow(clippy::expect_used, reason = "the helpers of tests, too")]

mod contract;
mod crash;
mod damage;
mod directory;
mod faulty;
mod measure;
mod model;
#[path = "../support/small_disk.rs"]
mod small_disk;
mod space;
