//! Faults the server must survive, against real processes: killed at every step of a publish, its
//! database, Redis and blob store taken away and given back, its disk full, its clients racing.
//!
//! Nothing here is repaired by hand: after each fault the server recovers by itself or by being
//! started again, what it answered is there, and what it did not answer is wholly there or wholly
//! absent.

/// Runs one test body where this run has external services: `on_external!(name, async |backend: Backend| { … });`
macro_rules! on_external {
    ($name:ident, $body:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let Some(backend) = $crate::Backend::external().await else {
                eprintln!("no external services in this run (make test starts them)");
                return;
            };
            let body = $body;
            $crate::bounded(body(backend)).await;
        }
    };
}

mod blob_store;
mod crash_points;
mod database;
mod full_disk;
mod kill_sweep;
pub mod packages;
mod postgres;
mod proxy;
mod races;
mod redis;
pub mod state;

pub use packages::{Client, Upload};
