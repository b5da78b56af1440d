//! Blobs of a repository: who may see which (oci.md §5).

use std::{ops::Range, sync::Arc, time::Duration};

use publaryn_blobs::{BlobBody, BlobError, BlobKey};
use publaryn_core::{ContentDigest, Digest, Ecosystem, RegistryError, Timestamp, finding::Finding};
use publaryn_metadata::oci::HeldBlob;
use publaryn_scan::policy::{PolicyLevel, blocks};
use uuid::Uuid;

use super::OciRepository;
use crate::{
    Registry,
    meters::{Direction, count_bytes},
    read::blob_error,
};

/// How a blob is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobUse {
    /// Is it there? A publisher who hears yes will not upload it, and relies on it staying.
    Head,
    Get,
}

/// A blob that the caller may have.
#[derive(Debug, Clone)]
pub struct ServableBlob {
    digest: ContentDigest,
    sha256: Digest,
    size_bytes: u64,
    location: BlobKey,
    /// Anyone may see it.
    is_open: bool,
}

impl ServableBlob {
    pub fn digest(&self) -> ContentDigest {
        self.digest
    }
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
    pub fn is_open(&self) -> bool {
        self.is_open
    }
    pub(crate) fn sha256(&self) -> Digest {
        self.sha256
    }

    fn of(digest: ContentDigest, held: &HeldBlob, is_open: bool) -> Result<Self, RegistryError> {
        Ok(Self {
            digest,
            sha256: held.sha256,
            size_bytes: held.size_bytes.unsigned_abs(),
            location: held.location.parse().map_err(RegistryError::internal)?,
            is_open,
        })
    }
}

/// A touch is repeated only when the last one is older: the collector spares what was touched within
/// the last ten minutes, whatever its grace.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Whether a live manifest hands the blob to its readers. One that came after its manifest has to be scanned, and to
/// hold nothing that would block anywhere.
pub(super) fn is_live(held: &HeldBlob) -> Result<bool, RegistryError> {
    if held.is_live {
        return Ok(true);
    }
    let Some(findings) = &held.late_findings else { return Ok(false) };
    let findings: Vec<Finding> = serde_json::from_str(findings).map_err(RegistryError::internal)?;
    Ok(!findings.iter().any(|finding| blocks(finding, PolicyLevel::Public)))
}

impl Registry {
    /// The blob, if the caller may see it in this way.
    pub async fn oci_blob(
        &self,
        repository: &OciRepository,
        digest: ContentDigest,
        how: BlobUse,
    ) -> Result<Option<Arc<ServableBlob>>, RegistryError> {
        let refreshes = how == BlobUse::Head && repository.may_push();
        let key = repository.head.as_ref().map(|head| (head.id, head.revision, digest));
        if let Some(key) = key.filter(|_| repository.may_read() && !refreshes)
            && let Some(known) = self.0.oci.blobs.get(&key)
        {
            return Ok(Some(known));
        }
        let Some((holder, held)) = self.held_in(repository, digest).await? else { return Ok(None) };
        if how == BlobUse::Head && !held.is_kept {
            // Who hears no pushes it again, which mends it.
            return Ok(None);
        }
        let is_live = repository.may_read() && is_live(&held)?;
        let for_publisher = repository.may_push() && (!held.is_referenced || how == BlobUse::Head);
        // Of a package in quarantine nothing is served, to nobody.
        let is_open_to_reading = repository.may_read() || !matches!(repository.reads, super::Standing::Refused(_));
        let is_shown = is_live || (for_publisher && is_open_to_reading);
        if !is_shown {
            return Ok(None);
        }
        if refreshes && !self.touch_link(holder, repository.name(), digest, &held).await? {
            return Ok(None);
        }
        let is_open = is_live && repository.head.as_ref().is_some_and(|head| head.effective.is_open());
        let blob = Arc::new(ServableBlob::of(digest, &held, is_open)?);
        if let Some(key) = key.filter(|_| is_live && held.is_kept) {
            self.0.oci.blobs.insert(key, blob.clone());
        }
        Ok(Some(blob))
    }

    /// The blob, and under whom it is filed.
    pub(super) async fn held_in(
        &self,
        repository: &OciRepository,
        digest: ContentDigest,
    ) -> Result<Option<(Uuid, HeldBlob)>, RegistryError> {
        for holder in repository.holders() {
            if let Some(held) = self.0.db.held_blob(holder, repository.name(), digest).await? {
                return Ok(Some((holder, held)));
            }
        }
        Ok(None)
    }

    /// Counts a blob as used now; `false` when the collector was faster.
    pub(super) async fn touch_link(
        &self,
        holder: Uuid,
        name: &str,
        digest: ContentDigest,
        held: &HeldBlob,
    ) -> Result<bool, RegistryError> {
        let now = Timestamp::now();
        if now.since(held.touched_at) < TOUCH_EVERY {
            return Ok(true);
        }
        let mut tx = self.0.db.begin().await?;
        let is_there = tx.touch_blob(held.sha256, now).await?.is_some()
            && tx.touch_links(holder, name, &[digest], now).await? == 1;
        if is_there {
            tx.commit().await?;
        }
        Ok(is_there)
    }

    /// The bytes of a blob, or a part of them.
    pub async fn open_oci_blob(
        &self,
        blob: &ServableBlob,
        range: Option<Range<u64>>,
    ) -> Result<BlobBody, RegistryError> {
        let body = self.open_content(&blob.location, blob.sha256, range).await?;
        count_bytes(Direction::Out, Ecosystem::Oci, body.len());
        Ok(body)
    }

    /// Opens content by the key that was remembered for it. Where it was lost and pushed again, it has another one now.
    pub(super) async fn open_content(
        &self,
        known: &BlobKey,
        sha256: Digest,
        range: Option<Range<u64>>,
    ) -> Result<BlobBody, RegistryError> {
        let missing = match self.0.blobs.open(known, range.clone()).await {
            Err(missing @ BlobError::Missing { .. }) => missing,
            opened => return opened.map_err(blob_error),
        };
        let now = self.0.db.content_scan(sha256).await?.map(|content| content.location);
        match now.filter(|location| *location != known.as_str()) {
            Some(location) => {
                let key = location.parse().map_err(RegistryError::internal)?;
                self.0.blobs.open(&key, range).await.map_err(blob_error)
            }
            None => Err(blob_error(missing)),
        }
    }

    /// A signed address to fetch the blob from, where the store has one and the operator wants it.
    pub async fn redirect_oci_blob(&self, blob: &ServableBlob) -> Result<Option<String>, RegistryError> {
        let Some(ttl) = self.0.settings.redirect_downloads else { return Ok(None) };
        let (name, kind) = (blob.digest.hex(), "application/octet-stream");
        let url = self.0.blobs.presign(&blob.location, ttl, &name, kind).await.map_err(blob_error)?;
        Ok(url.map(|url| url.as_str().to_owned()))
    }
}
