//! The durable queue's engine. The queue itself is SQL in the metadata database
//! (`publaryn_metadata::jobs`); the actors here only execute it and hold no truth of their own.
//!
//! `root/jobs` has one pool per kind (`queue.<kind>`, so that no kind delays another), `acks` which
//! stores results in batches, `dispatcher` which notices what no wake-up announced, and `node`, the
//! heartbeat. `root/maintenance` recovers what died and ticks the schedules, on one node at a time.

mod acks;
mod engine;
mod handler;
mod queue;
mod schedule;
mod upkeep;

pub use engine::{Engine, EngineOptions, KindLimits, KindOverride};
pub use handler::{Handler, JobContext, JobError, Outcome};
pub use schedule::Schedule;
pub use upkeep::PruneJobs;
