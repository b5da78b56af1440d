//! Upload sessions: begun by one request, continued by others on any replica, ended by one that names
//! the digest (oci.md §4).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use publaryn_blobs::{AppendPlan, Appended, BlobError, BlobKey, BlobStore, ByteStream, Checkpoint, UploadState};
use publaryn_core::{
    ContentDigest, Digest, Ecosystem, PackageName, Principal, RegistryError, Timestamp, UploadId,
    crash::{self, CrashPoint},
};
use publaryn_metadata::{Db, DbError, oci::UploadRow, until_won};
use publaryn_publish::{actor_of, content_job};
use sha2::{Digest as _, Sha512};
use uuid::Uuid;

use super::{OciRepository, Standing};
use crate::{
    Registry,
    meters::{Direction, count_bytes},
    publishing::is_lost,
    read::blob_error,
};

/// How long a writer may be silent before another one may take over.
const LEASE: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// For how long the end of an upload may be asked for again.
pub(crate) const REPEATABLE: Duration = Duration::from_secs(3600);

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadStatus {
    pub size_bytes: u64,
    pub begun: Timestamp,
}

/// Where content belongs in an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// After whatever is there.
    End,
    /// Exactly here, or nowhere.
    At(u64),
}

/// Why content was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadRefusal {
    /// No such session, or somebody else's.
    #[error("the upload is unknown")]
    Unknown,
    /// The content belongs elsewhere, or another request is writing; nothing was written.
    #[error("the upload stands at {size_bytes} bytes")]
    OutOfStep { size_bytes: u64 },
    #[error("the content is not what the digest says")]
    WrongDigest,
    #[error("a blob may have at most {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<DbError> for UploadRefusal {
    fn from(error: DbError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<BlobError> for UploadRefusal {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::UploadLost => Self::Unknown,
            BlobError::TooLarge { limit_bytes, .. } => Self::TooLarge { limit_bytes },
            other => Self::Registry(blob_error(other)),
        }
    }
}

impl Registry {
    /// Begins an upload.
    pub async fn oci_begin_upload(
        &self,
        who: &Principal,
        repository: &OciRepository,
        with_sha512: bool,
    ) -> Result<UploadId, RegistryError> {
        let Some(actor) = actor_of(who) else { return Err(RegistryError::Unauthenticated) };
        let id = UploadId::new();
        let state = text_of(&UploadState::new(id, with_sha512))?;
        let mut tx = self.0.db.begin().await?;
        tx.insert_upload(id, repository.name(), actor, &state, Timestamp::now()).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// How far an upload of this caller has come; `None` when there is none or it has ended.
    pub async fn oci_upload(
        &self,
        who: &Principal,
        name: &PackageName,
        id: UploadId,
    ) -> Result<Option<UploadStatus>, RegistryError> {
        let row = self.own_upload(who, name, id).await?.filter(|row| row.finished_digest.is_none());
        Ok(row.map(|row| UploadStatus { size_bytes: row.size_bytes.unsigned_abs(), begun: row.created_at }))
    }

    /// Whether an upload of this caller became this blob, lately enough for a client that lost the answer.
    pub async fn oci_upload_became(
        &self,
        who: &Principal,
        name: &PackageName,
        id: UploadId,
        digest: ContentDigest,
    ) -> Result<bool, RegistryError> {
        let row = self.own_upload(who, name, id).await?;
        Ok(row.is_some_and(|row| {
            row.finished_digest == Some(digest) && Timestamp::now().since(row.touched_at) < REPEATABLE
        }))
    }

    async fn own_upload(
        &self,
        who: &Principal,
        name: &PackageName,
        id: UploadId,
    ) -> Result<Option<UploadRow>, RegistryError> {
        let row = self.0.db.upload(id).await?;
        Ok(row.filter(|row| row.name == name.canonical() && Some(row.actor_id) == actor_of(who)))
    }

    /// Gives an upload up.
    pub async fn oci_cancel_upload(
        &self,
        who: &Principal,
        name: &PackageName,
        id: UploadId,
    ) -> Result<(), UploadRefusal> {
        let row = self.own_upload(who, name, id).await?.filter(|row| row.finished_digest.is_none());
        let row = row.ok_or(UploadRefusal::Unknown)?;
        let mut tx = self.0.db.begin().await?;
        if !tx.delete_upload(id, None, Timestamp::now()).await? {
            return Err(UploadRefusal::OutOfStep { size_bytes: row.size_bytes.unsigned_abs() });
        }
        tx.commit().await?;
        self.abandon(state_of(&row)?).await;
        Ok(())
    }

    /// Appends content to an upload; how many bytes it has then. What came before a connection broke is kept.
    pub async fn oci_append(
        &self,
        who: &Principal,
        repository: &OciRepository,
        id: UploadId,
        placement: Placement,
        body: ByteStream,
    ) -> Result<u64, UploadRefusal> {
        self.own_upload(who, &repository.name, id).await?.ok_or(UploadRefusal::Unknown)?;
        let registry = self.clone();
        // On its own: what has arrived is kept also when the client's request is dropped.
        let work = tokio::spawn(async move {
            let claim = registry.claim(id, placement).await?;
            let (state, claim) = claim.append(body, false).await?;
            claim.release(&state).await?;
            Ok(state.size_bytes())
        });
        work.await.map_err(RegistryError::internal)?
    }

    /// Appends the last content and makes a blob of the upload, if its digest is this one. What
    /// [`Self::oci_upload_became`] a blob already is not asked here.
    pub async fn oci_finish_upload(
        &self,
        who: &Principal,
        repository: &OciRepository,
        id: UploadId,
        placement: Placement,
        body: ByteStream,
        digest: ContentDigest,
    ) -> Result<(), UploadRefusal> {
        let row = self.own_upload(who, &repository.name, id).await?.ok_or(UploadRefusal::Unknown)?;
        if row.finished_digest.is_some() {
            return Err(UploadRefusal::Unknown);
        }
        let (registry, who, name) = (self.clone(), who.clone(), repository.name.clone());
        let work = tokio::spawn(async move {
            let mut claim = registry.claim(id, placement).await?;
            if digest.is_sha512() {
                claim.state.add_sha512();
            }
            let (state, claim) = claim.append(body, true).await?;
            claim.finish(state, &who, &name, digest).await
        });
        work.await.map_err(RegistryError::internal)?
    }

    async fn claim(&self, id: UploadId, placement: Placement) -> Result<Claim, UploadRefusal> {
        let (writer, now) = (Uuid::now_v7(), Timestamp::now());
        let mut tx = self.0.db.begin().await?;
        let claimed = tx.claim_upload(id, writer, now, now + LEASE).await?;
        let Some(row) = claimed else {
            tx.rollback().await?;
            let row = self.0.db.upload(id).await?.filter(|row| row.finished_digest.is_none());
            let row = row.ok_or(UploadRefusal::Unknown)?;
            return Err(UploadRefusal::OutOfStep { size_bytes: row.size_bytes.unsigned_abs() });
        };
        let size_bytes = row.size_bytes.unsigned_abs();
        if let Placement::At(offset) = placement
            && offset != size_bytes
        {
            // Dropped, so that the claim never was.
            return Err(UploadRefusal::OutOfStep { size_bytes });
        }
        tx.commit().await?;
        Ok(Claim { registry: self.clone(), writer, state: state_of(&row)? })
    }

    async fn abandon(&self, state: UploadState) {
        if let Err(error) = self.0.blobs.abandon(&state).await {
            tracing::warn!(%error, "the bytes of an upload are left to the collector");
        }
    }
}

/// The right to write to one upload, held against everybody else for as long as it is renewed.
struct Claim {
    registry: Registry,
    writer: Uuid,
    state: UploadState,
}

impl Claim {
    fn db(&self) -> &Db {
        &self.registry.0.db
    }
    fn store(&self) -> &Arc<dyn BlobStore> {
        &self.registry.0.blobs
    }

    /// Takes content in; the claim goes on only when the body ended well.
    async fn append(self, body: ByteStream, is_last: bool) -> Result<(UploadState, Self), UploadRefusal> {
        let limit_bytes = self.registry.0.settings.oci.layer_limit_bytes;
        let plan = AppendPlan { limit_bytes, limit_name: "limits.artifact.oci_layer", is_last };
        let before = self.state.size_bytes();
        let keeper = Keeper { db: self.db().clone(), writer: self.writer };
        let appending = self.store().append(self.state.clone(), body, plan, &keeper);
        let outcome = tokio::select! {
            outcome = appending => outcome,
            () = self.keep_renewing() => Err(BlobError::UploadBusy),
        };
        let Appended { state, trouble } = match outcome {
            Ok(appended) => appended,
            Err(BlobError::UploadLost) => {
                self.drop_session(None).await?;
                return Err(UploadRefusal::Unknown);
            }
            Err(BlobError::UploadBusy) => {
                self.let_go().await?;
                return Err(UploadRefusal::OutOfStep { size_bytes: before });
            }
            Err(other) => {
                self.let_go().await?;
                return Err(other.into());
            }
        };
        count_bytes(Direction::In, Ecosystem::Oci, state.size_bytes() - before);
        match trouble {
            None => Ok((state, self)),
            Some(BlobError::TooLarge { limit_bytes, .. }) => {
                self.drop_session(Some(state)).await?;
                Err(UploadRefusal::TooLarge { limit_bytes })
            }
            Some(broken) => {
                self.release(&state).await?;
                Err(RegistryError::malformed(format!("the request body broke off: {broken}")).into())
            }
        }
    }

    /// Ends only when the claim is lost.
    async fn keep_renewing(&self) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let renewal = async {
                let now = Timestamp::now();
                let mut tx = self.db().begin().await?;
                let is_ours = tx.renew_upload(self.state.id(), self.writer, now, now + LEASE).await?;
                tx.commit().await?;
                Ok::<_, DbError>(is_ours)
            };
            match renewal.await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "an upload's claim could not be renewed"),
            }
        }
    }

    /// Stores how far the upload has come and lets the next request continue.
    async fn release(self, state: &UploadState) -> Result<(), UploadRefusal> {
        let text = text_of(state)?;
        let mut tx = self.db().begin().await?;
        if !tx.save_upload(state.id(), self.writer, &text, state.size_bytes(), Timestamp::now()).await? {
            return Err(UploadRefusal::OutOfStep { size_bytes: self.state.size_bytes() });
        }
        tx.release_upload(state.id(), self.writer).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the claim; the upload stands where it was last stored.
    async fn let_go(&self) -> Result<(), UploadRefusal> {
        let mut tx = self.db().begin().await?;
        tx.release_upload(self.state.id(), self.writer).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the session for good.
    async fn drop_session(&self, state: Option<UploadState>) -> Result<(), UploadRefusal> {
        let mut tx = self.db().begin().await?;
        tx.delete_upload(self.state.id(), Some(self.writer), Timestamp::now()).await?;
        tx.commit().await?;
        self.registry.abandon(state.unwrap_or_else(|| self.state.clone())).await;
        Ok(())
    }

    /// Makes a blob of the upload and lets the repository hold it.
    async fn finish(
        self,
        state: UploadState,
        who: &Principal,
        name: &PackageName,
        digest: ContentDigest,
    ) -> Result<(), UploadRefusal> {
        let sha256 = state.sha256()?;
        let is_right = match digest {
            ContentDigest::Sha256(expected) => Some(expected == sha256),
            ContentDigest::Sha512(_) => state.sha512()?.map(|hex| hex == digest.hex()),
        };
        if is_right == Some(false) {
            self.drop_session(Some(state)).await?;
            return Err(UploadRefusal::WrongDigest);
        }
        let completing = async {
            let key = self.store().complete(&state).await?;
            let is_right = is_right.is_some() || sha512_of(&**self.store(), &key).await? == digest.hex();
            Ok::<_, UploadRefusal>((key, is_right))
        };
        // Joining the parts of a large blob, or reading it again, may take longer than a claim lasts.
        let (key, is_right) = tokio::select! {
            completed = completing => completed?,
            () = self.keep_renewing() => return Err(UploadRefusal::OutOfStep { size_bytes: state.size_bytes() }),
        };
        if !is_right {
            self.drop_session(None).await?;
            self.registry.forget_bytes([key]);
            return Err(UploadRefusal::WrongDigest);
        }
        crash::reached(CrashPoint::UploadPromoted);
        let commit = || self.commit(&state, &key, sha256, who, name, digest);
        let has_lost = |refusal: &UploadRefusal| matches!(refusal, UploadRefusal::Registry(error) if is_lost(error));
        let kept = until_won(commit, has_lost).await?;
        if kept != key.as_str() {
            // The same content was here already, or another upload of it was faster.
            self.registry.forget_bytes([key]);
        }
        Ok(())
    }

    /// The transaction that makes the blob the repository's; the key that the content is kept under.
    async fn commit(
        &self,
        state: &UploadState,
        key: &BlobKey,
        sha256: Digest,
        who: &Principal,
        name: &PackageName,
        digest: ContentDigest,
    ) -> Result<String, UploadRefusal> {
        // Somebody may have created the package meanwhile, or taken rights away.
        let repository = self.registry.oci_repository(who, name).await?;
        let holder = match (repository.writes(), repository.holder()) {
            (Standing::Allowed | Standing::Missing, Some(holder)) => holder,
            (Standing::Refused(decision), _) => {
                self.registry.allow(who, decision.clone())?;
                return Err(RegistryError::NotFound.into());
            }
            (_, None) => return Err(RegistryError::Unauthenticated.into()),
        };
        let now = Timestamp::now();
        let mut tx = self.db().begin().await?;
        let kept = tx.upsert_blob(sha256, key.as_str(), state.size_bytes(), now).await?;
        tx.link_blob(holder, name.canonical(), digest, sha256, now).await?;
        if !tx.finish_upload(state.id(), self.writer, digest, now).await? {
            return Err(UploadRefusal::OutOfStep { size_bytes: state.size_bytes() });
        }
        if !tx.is_content_scanned(sha256).await? {
            tx.enqueue(&content_job(sha256, holder)).await?;
        }
        tx.commit().await?;
        Ok(kept)
    }
}

/// Stores an upload's progress while it goes on.
struct Keeper {
    db: Db,
    writer: Uuid,
}

#[async_trait]
impl Checkpoint for Keeper {
    async fn save(&self, state: &UploadState) -> Result<(), BlobError> {
        let lost = |error: RegistryError| BlobError::Unavailable(error.into());
        let text = text_of(state).map_err(lost)?;
        let saving = async {
            let mut tx = self.db.begin().await?;
            let is_ours = tx.save_upload(state.id(), self.writer, &text, state.size_bytes(), Timestamp::now()).await?;
            tx.commit().await?;
            Ok::<_, DbError>(is_ours)
        };
        match saving.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(BlobError::UploadBusy),
            Err(error) => Err(lost(error.into())),
        }
    }
}

/// Only for content whose SHA-512 nobody announced in time: the one case that reads it again.
async fn sha512_of(store: &dyn BlobStore, key: &BlobKey) -> Result<String, UploadRefusal> {
    use futures::TryStreamExt;
    let mut content = store.open(key, None).await?.into_stream();
    let mut hash = Sha512::new();
    while let Some(chunk) =
        content.try_next().await.map_err(|error| RegistryError::unavailable("the blob store", error))?
    {
        hash.update(&chunk);
    }
    Ok(hex::encode(hash.finalize()))
}

fn text_of(state: &UploadState) -> Result<String, RegistryError> {
    serde_json::to_string(state).map_err(RegistryError::internal)
}

fn state_of(row: &UploadRow) -> Result<UploadState, RegistryError> {
    serde_json::from_str(&row.state).map_err(RegistryError::internal)
}
