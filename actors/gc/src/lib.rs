//! Upkeep: what nobody refers to any more is deleted, what is kept is verified, what ended is forgotten,
//! and what was only noted is summed.
//!
//! Every job here may run twice, at once with itself on another node or beside `publaryn gc`, and may die at
//! any point: what it leaves is what the next run finishes.

mod collect;
mod downloads;
mod ended;
mod jobs;
mod oci;
mod verify;

pub use collect::{Collector, Extent, GcError, GcOptions, GcReport, Tally, Unwatched, Watch};
pub use downloads::FlushDownloads;
pub use ended::CleanupExpiredTokens;
pub use jobs::{CleanupBlobs, CleanupOciBlobs, LetGo};
pub use oci::OciLetGo;
pub use verify::VerifyBlobs;
