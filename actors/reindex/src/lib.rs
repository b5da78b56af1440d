//! Keeping the search index in step with the database: one package, or all of them.
//!
//! Both jobs read the present rows and write what follows from them, so running them twice, late
//! or at the same time ends in the same index.

mod document;
mod package;
mod rebuild;

pub use package::IndexPackage;
pub use rebuild::ReindexSearch;

use publaryn_core::Timestamp;
use publaryn_jobs::JobError;
use publaryn_metadata::{Db, DbError};
use publaryn_search::{SearchError, SearchIndex};

/// Why the index could not be brought up to date. Every case is worth a retry.
#[derive(Debug, thiserror::Error)]
pub enum ReindexError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The package changed faster than it could be indexed.
    #[error("the package keeps changing")]
    Restless,
    #[error(transparent)]
    Job(#[from] JobError),
}

/// Measures how old the oldest change is that searches do not show yet (`publaryn_search_lag_seconds`).
///
/// To be called every few seconds by whoever exports metrics, so that it also grows while no job runs.
pub async fn report_lag(db: &Db, index: &dyn SearchIndex, now: Timestamp) -> Result<(), DbError> {
    let oldest = db.oldest_unindexed_change().await?;
    let lag = oldest.map_or(0.0, |since| now.since(since).as_secs_f64());
    metrics::gauge!("publaryn_search_lag_seconds", "backend" => index.backend()).set(lag);
    Ok(())
}

impl From<ReindexError> for JobError {
    fn from(error: ReindexError) -> Self {
        match error {
            ReindexError::Job(error) => error,
            other => JobError::retry(other),
        }
    }
}

#[cfg(test)]
mod tests;
