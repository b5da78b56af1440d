//! Faults the server must survive, against real processes: killed at every step of a publish, its
//! database, Redis and blob store taken away and given back, its disk full, its clients racing.
//!
//! Nothing here is repaired by hand: after each fault the server recovers by itself or by being
//! started again, what it answered is there, and what it did not answer is wholly there or wholly
//! absent.

mod blob_store;
mod crash_points;
mod database;
mod full_disk;
mod kill_sweep;
mod packages;
mod postgres;
mod proxy;
mod races;
mod redis;
pub mod state;

pub use packages::{Client, Upload};
