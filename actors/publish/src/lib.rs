//! The publish pipeline: the one way into the registry.
//!
//! stage (by the caller) → commit a staged release with its scan jobs → scan → decide by policy →
//! live. The database holds every step, so any actor may die at any message: jobs resume, and the
//! reconciler finishes what nobody waits for any more.

mod commit;
mod finalize;
mod landing;
mod outcome;
mod reconcile;
mod scan_job;

pub use commit::{Committed, NameSimilarity, PublishSettings, StagedFile, commit, fold_name};
pub use finalize::{Verdict, count_outcome, finalize, settle_tags};
pub use landing::{Created, Creation, Wish, check_visibility, create_package, visibility_in};
pub use outcome::Outcomes;
pub use reconcile::{FinalizeRelease, ReconcileReleases};
pub use scan_job::{ScanArtifact, index_job};
