//! The publish pipeline: the one way into the registry.
//!
//! stage (by the caller) → commit a staged release with its scan jobs → scan → decide by policy →
//! live. The database holds every step, so any actor may die at any message: jobs resume, and the
//! reconciler finishes what nobody waits for any more.

mod ahead;
mod commit;
mod finalize;
mod graph;
mod manifest;
mod outcome;
mod reconcile;
mod scan_content;
mod scan_job;

pub use ahead::{ScanAhead, Scanned};
pub use commit::{Committed, PublishSettings, StagedFile, commit, fold_name, may_create};
pub use finalize::{Verdict, count_outcome, finalize, settle_tags, stage_took};
pub use manifest::{ManifestCommit, ManifestRefusal, actor_of, commit_manifest};
pub use outcome::Outcomes;
pub use reconcile::{FinalizeRelease, ReconcileReleases};
pub use scan_content::content_job;
pub use scan_job::{ScanArtifact, index_job};
