//! The engine of the durable job queue (jobs.md): it claims, runs, supervises and gives back.
//!
//! The queue itself is SQL in the metadata database; nothing here is the only copy of anything. A job is
//! enqueued with `Tx::enqueue` in the transaction of its cause; handlers are given at start.

mod acks;
mod ahead;
mod bench;
mod engine;
mod faults;
mod handler;
mod maintenance;
mod node;
mod options;
mod overview;
mod prune;
mod queue;
mod schedule;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;

pub use ahead::Ahead;
pub use bench::{BenchError, BenchReport, bench_jobs};
pub use engine::{JobEvent, Jobs, Progress};
pub use faults::HandlerFault;
pub use handler::{Handler, JobContext, JobError, Outcome};
pub use options::{JobsOptions, KindOverride};
pub use overview::QueueView;
pub use prune::PruneJobs;
pub use schedule::{Cadence, Schedule, ScheduleError, default_schedules};
