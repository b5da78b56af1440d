//! Where artifact bytes live: one trait, stores behind it.
use std::{io, ops::Range, path::{Path, PathBuf}, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use publaryn_core::{BoxError, Digest, Digests};
use sha2::Digest as _;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

#[derive(Debug, Clone)]
pub struct StagePlan {
    pub limit_bytes: u64,
    pub what: &'static str,
    pub sha1: bool,
    pub md5: bool,
    pub expected_sha256: Option<Digest>,
}

#[derive(Debug)]
pub struct Staged { temp: PathBuf, digests: Digests, size_bytes: u64 }
impl Staged {
    pub fn digests(&self) -> &Digests { &self.digests }
    pub fn size_bytes(&self) -> u64 { self.size_bytes }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobKey(String);
impl BlobKey {
    pub fn from_stored(text: &str) -> Self { Self(text.to_owned()) }
    pub fn as_str(&self) -> &str { &self.0 }
}

pub struct BlobBody { bytes: Option<Bytes>, stream: ByteStream }
impl BlobBody {
    pub fn as_bytes(&self) -> Option<&Bytes> { self.bytes.as_ref() }
    pub fn into_stream(self) -> ByteStream { self.stream }
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("no such blob")]
    Missing,
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge { what: &'static str, limit_bytes: u64 },
    #[error("the digest does not match")]
    DigestMismatch,
    #[error("the upload broke off")]
    BodyAborted(#[source] io::Error),
    #[error("the blob store is unavailable")]
    Unavailable(#[source] BoxError),
}

#[async_trait::async_trait]
pub trait BlobStore: Send + Sync + 'static {
    async fn stage(&self, body: ByteStream, plan: StagePlan) -> Result<Staged, BlobError>;
    async fn promote(&self, staged: &Staged) -> Result<BlobKey, BlobError>;
    async fn discard(&self, staged: Staged);
    async fn open(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<BlobBody, BlobError>;
    async fn presign(&self, key: &BlobKey, ttl: Duration, filename: &str, content_type: &str) -> Result<Option<String>, BlobError>;
}

pub struct DiskStore { root: PathBuf }
impl DiskStore {
    pub fn open(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root.join("tmp"))?;
        Ok(Self { root: root.to_owned() })
    }
}
fn down(e: io::Error) -> BlobError {
    if e.kind() == io::ErrorKind::NotFound { BlobError::Missing } else { BlobError::Unavailable(e.into()) }
}
#[async_trait::async_trait]
impl BlobStore for DiskStore {
    async fn stage(&self, mut body: ByteStream, plan: StagePlan) -> Result<Staged, BlobError> {
        let temp = self.root.join("tmp").join(uuid::Uuid::now_v7().to_string());
        let mut file = tokio::fs::File::create(&temp).await.map_err(down)?;
        let (mut a, mut b, mut c) = (sha2::Sha256::new(), sha2::Sha512::new(), sha1::Sha1::new());
        let mut size = 0u64;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(BlobError::BodyAborted)?;
            size += chunk.len() as u64;
            if size > plan.limit_bytes {
                let _ = tokio::fs::remove_file(&temp).await;
                return Err(BlobError::TooLarge { what: plan.what, limit_bytes: plan.limit_bytes });
            }
            a.update(&chunk); b.update(&chunk); if plan.sha1 { sha1::Digest::update(&mut c, &chunk); }
            file.write_all(&chunk).await.map_err(down)?;
        }
        file.flush().await.map_err(down)?;
        file.sync_all().await.map_err(down)?;
        let digests = Digests { sha256: Digest::from_bytes(a.finalize().into()), sha512: hex::encode(b.finalize()), sha1: plan.sha1.then(|| hex::encode(sha1::Digest::finalize(c))), md5: None };
        Ok(Staged { temp, digests, size_bytes: size })
    }
    async fn promote(&self, staged: &Staged) -> Result<BlobKey, BlobError> {
        let hex = staged.digests.sha256.hex();
        let key = format!("sha256/{}/{}", &hex[..2], &hex[2..]);
        let path = self.root.join(&key);
        let dir = path.parent().unwrap_or(&self.root).to_owned();
        tokio::fs::create_dir_all(&dir).await.map_err(down)?;
        tokio::fs::rename(&staged.temp, &path).await.map_err(down)?;
        tokio::fs::File::open(&dir).await.map_err(down)?.sync_all().await.map_err(down)?;
        Ok(BlobKey(key))
    }
    async fn discard(&self, staged: Staged) { let _ = tokio::fs::remove_file(&staged.temp).await; }
    async fn open(&self, key: &BlobKey, range: Option<Range<u64>>) -> Result<BlobBody, BlobError> {
        let mut file = tokio::fs::File::open(self.root.join(&key.0)).await.map_err(down)?;
        let size = file.metadata().await.map_err(down)?.len();
        let r = range.unwrap_or(0..size);
        file.seek(io::SeekFrom::Start(r.start)).await.map_err(down)?;
        let stream = tokio_util::io::ReaderStream::with_capacity(file.take(r.end - r.start), 256 * 1024).boxed();
        Ok(BlobBody { bytes: None, stream })
    }
    async fn presign(&self, _: &BlobKey, _: Duration, _: &str, _: &str) -> Result<Option<String>, BlobError> { Ok(None) }
}
