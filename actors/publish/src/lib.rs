//! The publish pipeline: the one way into the registry.
//!
//! stage (by the caller) → commit a staged release with its scan jobs → scan → decide by policy →
//! live. A file may also join a release later, with a quarantine of its own: append → scan → settle.
//! The database holds every step, so any actor may die at any message: jobs resume, and the
//! reconciler finishes what nobody waits for any more.

mod ahead;
mod append;
mod commit;
mod finalize;
mod graph;
mod landing;
mod manifest;
mod outcome;
mod place;
mod reconcile;
mod room;
mod scan_content;
mod scan_job;
mod settle;

pub use ahead::{ScanAhead, ScanSubject, Scanned};
pub use append::{Appended, StagedCompanion, append};
pub use commit::{Committed, NameSimilarity, PublishSettings, StagedFile, commit, fold_name, refuse_respelled_number};
pub use finalize::{Verdict, count_outcome, finalize, settle_tags, settle_yanked_tags, stage_took};
pub use landing::{Created, Creation, Wish, check_visibility, create_package, note_similar_name, visibility_in};
pub use manifest::{ManifestCommit, ManifestRefusal, actor_of, commit_manifest};
pub use outcome::{Outcomes, Subject};
pub use place::{TokenUse, may_create, use_token};
pub use publaryn_metadata::search_documents::index_job;
pub use reconcile::{FinalizeRelease, ReconcileReleases};
pub use room::{require_file_room, require_release_room};
pub use scan_content::content_job;
pub use scan_job::ScanArtifact;
pub use settle::{reconsider_files, settle_file};
