//! Staging: bytes stream into the blob store while they are hashed and inspected, before anything
//! refers to them.

use std::io::{self, Read};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use publaryn_blobs::{ByteStream, StagePlan, Staged};
use publaryn_core::{
    ArtifactKind, RegistryError,
    crash::{self, CrashPoint},
    publish::NewArtifact,
};
use publaryn_publish::StagedFile;
use publaryn_scan::{ArchiveError, ErrorKind};
use tokio::sync::mpsc;

use crate::{Registry, read::blob_error};

/// Limits and digests of one upload.
#[derive(Debug, Clone)]
pub struct StageRequest {
    pub kind: ArtifactKind,
    pub filename: String,
    pub content_type: String,
    pub limit_bytes: u64,
    /// Also compute the weak digests a protocol still serves.
    pub sha1: bool,
    pub md5: bool,
}

/// Looks at the bytes while they pass; runs on a blocking thread and must not seek.
pub type Inspector<T> = Box<dyn FnOnce(&mut dyn Read) -> Result<T, ArchiveError> + Send>;

/// Bytes in the store that no release refers to yet. Dropping it leaves them to the collector.
#[derive(Debug)]
pub struct StagedArtifact {
    pub(crate) staged: Staged,
    pub(crate) request: StageRequest,
}

impl StagedArtifact {
    pub fn digests(&self) -> &publaryn_core::Digests {
        self.staged.digests()
    }
    pub fn size_bytes(&self) -> u64 {
        self.staged.size_bytes()
    }
    /// The file name is sometimes only known once the content was read.
    pub fn rename(&mut self, filename: String) {
        self.request.filename = filename;
    }

    pub(crate) async fn promote(&self, registry: &Registry) -> Result<StagedFile, RegistryError> {
        let location = registry.0.blobs.promote(&self.staged).await.map_err(blob_error)?;
        Ok(StagedFile {
            artifact: NewArtifact {
                kind: self.request.kind,
                filename: self.request.filename.clone(),
                content_type: self.request.content_type.clone(),
                size_bytes: self.size_bytes(),
                digests: self.digests().clone(),
            },
            location,
        })
    }
}

/// Chunks in flight between the upload and the inspector; bounds memory when inspection is slower.
const CHUNKS_AHEAD: usize = 16;

impl Registry {
    /// Streams `body` into the store, hashing it once and showing the same bytes to `inspect`.
    ///
    /// # Errors
    /// `TooLarge` as soon as the limit is passed, `Archive` when the inspector refuses; nothing stays staged.
    pub async fn stage<T: Send + 'static>(
        &self,
        body: ByteStream,
        request: StageRequest,
        inspect: Inspector<T>,
    ) -> Result<(StagedArtifact, T), RegistryError> {
        let (chunks, mut fed) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
        let inspection = tokio::task::spawn_blocking(move || {
            let mut reader = ChannelReader { chunks: fed_blocking(&mut fed), current: Bytes::new() };
            inspect(&mut reader)
        });
        let tee = body.and_then(move |chunk| {
            let chunks = chunks.clone();
            async move {
                crash::reached(CrashPoint::UploadReceived);
                // The inspector stopped early: it has seen enough to refuse, or needs no more.
                let _ = chunks.send(chunk.clone()).await;
                Ok(chunk)
            }
        });
        let plan = StagePlan {
            limit_bytes: request.limit_bytes,
            limit_name: request.kind.as_str(),
            sha1: request.sha1,
            md5: request.md5,
            expected_sha256: None,
        };
        let staged = self.0.blobs.stage(tee.boxed(), plan).await.map_err(blob_error);
        let inspected = inspection.await.map_err(RegistryError::internal)?;
        match (staged, inspected) {
            (Ok(staged), Ok(seen)) => {
                crash::reached(CrashPoint::UploadStaged);
                Ok((StagedArtifact { staged, request }, seen))
            }
            (Ok(staged), Err(refused)) => {
                self.0.blobs.discard(staged).await;
                Err(archive_error(refused))
            }
            // The upload failed; what the inspector made of a torso does not matter.
            (Err(error), _) => Err(error),
        }
    }

    /// Gives up staged bytes, for a publish that is refused after all.
    pub async fn discard(&self, artifact: StagedArtifact) {
        self.0.blobs.discard(artifact.staged).await;
    }
}

fn archive_error(refused: ArchiveError) -> RegistryError {
    match refused.kind {
        ErrorKind::Io => RegistryError::malformed(refused.message),
        _ => RegistryError::Archive { rule: refused.rule, message: refused.message },
    }
}

fn fed_blocking(fed: &mut mpsc::Receiver<Bytes>) -> impl Iterator<Item = Bytes> + '_ {
    std::iter::from_fn(move || fed.blocking_recv())
}

/// A synchronous reader over the chunks of an asynchronous upload.
struct ChannelReader<I> {
    chunks: I,
    current: Bytes,
}

impl<I: Iterator<Item = Bytes>> Read for ChannelReader<I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.next() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let n = into.len().min(self.current.len());
        into[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}
