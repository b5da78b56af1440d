//! What OCI repositories let go of: idle upload sessions, and blobs that no manifest of theirs needs.
//!
//! Only links are removed here. Content that loses its last one is the collector's, which looks again at
//! whether anything refers to it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::TryStreamExt;
use publaryn_blobs::{AbandonedUpload, BlobStore, UploadState};
use publaryn_core::{Timestamp, UploadId};
use publaryn_jobs::{JobContext, JobError};
use publaryn_metadata::{Db, oci::LinkKey};

use crate::{GcError, LetGo};

/// Rows per look or transaction.
const BATCH: i64 = 500;
/// Whatever grace an operator asks for, what was touched this recently stays: its client was just told
/// that it is here, and its manifest is on the way.
const MIN_AGE: Duration = Duration::from_secs(10 * 60);
/// For how long the end of an upload may be asked for again.
const REPEATABLE: Duration = Duration::from_secs(3600);
/// For how long a verdict on content that is gone is kept, should it come again.
const VERDICTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

pub struct OciLetGo {
    pub db: Db,
    pub blobs: Arc<dyn BlobStore>,
    /// Age at which an idle upload is given up.
    pub upload_ttl: Duration,
}

#[async_trait]
impl LetGo for OciLetGo {
    async fn let_go(&self, before: Timestamp, job: &JobContext) -> Result<u64, JobError> {
        self.run(before, &|| job.should_stop()).await.map_err(JobError::retry)
    }
}

impl OciLetGo {
    /// Lets go of what was not touched since `before`; how many links went. Stops between two steps when asked.
    ///
    /// # Errors
    /// `Database` and `Store`; what was done until then stays done.
    pub async fn run(&self, before: Timestamp, should_stop: &(dyn Fn() -> bool + Sync)) -> Result<u64, GcError> {
        let now = Timestamp::now();
        self.expire_uploads(now, should_stop).await?;
        let links = self.drop_links(before.min(now - MIN_AGE), should_stop).await?;
        if !should_stop() {
            self.remove_abandoned(now - self.upload_ttl.max(MIN_AGE)).await?;
        }
        self.forget_scans(now - VERDICTS_KEPT, should_stop).await?;
        Ok(links)
    }

    async fn expire_uploads(&self, now: Timestamp, should_stop: &(dyn Fn() -> bool + Sync)) -> Result<(), GcError> {
        while !should_stop() {
            let mut tx = self.db.begin().await?;
            let expired = tx.delete_expired_uploads(now - self.upload_ttl, now - REPEATABLE, now, BATCH).await?;
            tx.commit().await?;
            for upload in &expired {
                // One that became a blob has no state, and one that cannot be read is found by its bytes.
                if let Ok(state) = serde_json::from_str::<UploadState>(&upload.state) {
                    self.blobs.abandon(&state).await?;
                }
            }
            if (expired.len() as i64) < BATCH {
                break;
            }
        }
        Ok(())
    }

    async fn drop_links(&self, before: Timestamp, should_stop: &(dyn Fn() -> bool + Sync)) -> Result<u64, GcError> {
        let (mut gone, mut after) = (0, Some(LinkKey::first()));
        while let Some(key) = after.filter(|_| !should_stop()) {
            let looked = self.db.unneeded_links(&key, before, BATCH).await?;
            if !looked.may_go.is_empty() {
                let mut tx = self.db.begin().await?;
                gone += tx.delete_unneeded_links(&looked.may_go, before).await?;
                tx.commit().await?;
            }
            after = looked.last;
        }
        Ok(gone)
    }

    async fn forget_scans(&self, before: Timestamp, should_stop: &(dyn Fn() -> bool + Sync)) -> Result<(), GcError> {
        let mut after = Some(String::new());
        while let Some(content) = after.filter(|_| !should_stop()) {
            let looked = self.db.orphaned_scans(&content, before, BATCH).await?;
            if !looked.may_go.is_empty() {
                let mut tx = self.db.begin().await?;
                tx.delete_orphaned_scans(&looked.may_go, before).await?;
                tx.commit().await?;
            }
            after = looked.last;
        }
        Ok(())
    }

    /// Bytes whose session a crash took, or that it left behind.
    async fn remove_abandoned(&self, before: Timestamp) -> Result<(), GcError> {
        let mut pages = self.blobs.abandoned(before).try_chunks(BATCH as usize);
        while let Some(page) = pages.try_next().await.map_err(|failed| failed.1)? {
            let ids: Vec<UploadId> = page.iter().map(|upload| upload.id).collect();
            let known = self.db.known_uploads(&ids).await?;
            for upload in page.iter().filter(|upload: &&AbandonedUpload| !known.contains(&upload.id)) {
                self.blobs.remove_abandoned(upload).await?;
            }
        }
        Ok(())
    }
}
