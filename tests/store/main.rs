//! The store: one contract for every adapter, and what only a disk can do wrong.

mod contract;
mod crash;
mod damage;
mod directory;
mod faulty;
mod measure;
mod model;
mod space;
