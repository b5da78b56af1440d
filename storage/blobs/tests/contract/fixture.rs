//! A store to test, alone in its directory or under its prefix.

use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use publaryn_blobs::{
    BlobKey, BlobMeta, BlobStore, BufferGauge, ByteStream, DiskConfig, DiskStore, S3Config, S3Store, StagePlan,
    StaleUpload, StaticKeys,
};
use publaryn_core::{BoxError, Timestamp};
use tempfile::TempDir;

const BUCKET: &str = "publaryn-blobs-test";

pub struct Fixture {
    pub store: Arc<dyn BlobStore>,
    pub buffers: BufferGauge,
    pub place: Place,
}

pub enum Place {
    Disk(TempDir),
    S3(S3Config),
}

impl Fixture {
    pub async fn disk() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(DiskConfig { path: directory.path().join("blobs") }).await.unwrap();
        Self { buffers: store.buffers().clone(), store: Arc::new(store), place: Place::Disk(directory) }
    }

    /// `None`, with a word about it, when no server was given.
    pub async fn s3() -> Option<Self> {
        let Ok(server) = std::env::var("PUBLARYN_TEST_S3") else {
            eprintln!("not run: PUBLARYN_TEST_S3 is not set");
            return None;
        };
        let [endpoint, access_key, secret_key] = server.split(',').collect::<Vec<_>>()[..] else {
            panic!("PUBLARYN_TEST_S3 must be endpoint,access,secret");
        };
        let config = S3Config {
            endpoint: Some(endpoint.to_owned()),
            region: "us-east-1".to_owned(),
            bucket: BUCKET.to_owned(),
            keys: Some(StaticKeys { access_key: access_key.to_owned(), secret_key: secret_key.to_owned() }),
            path_style: true,
            prefix: format!("test/{}", unique()),
        };
        create_bucket(&config).await;
        let store = S3Store::connect(config.clone()).await;
        Some(Self { buffers: store.buffers().clone(), store: Arc::new(store), place: Place::S3(config) })
    }

    pub fn is_disk(&self) -> bool {
        matches!(self.place, Place::Disk(_))
    }

    /// The store as a process started after this one would see it.
    pub async fn reopened(&self) -> Arc<dyn BlobStore> {
        match &self.place {
            Place::Disk(directory) => {
                Arc::new(DiskStore::open(DiskConfig { path: directory.path().join("blobs") }).await.unwrap())
            }
            Place::S3(config) => Arc::new(S3Store::connect(config.clone()).await),
        }
    }

    pub async fn stored(&self, content: impl Into<Bytes>) -> BlobKey {
        let staged = self.store.stage_bytes(content.into(), plan()).await.unwrap();
        self.store.promote(&staged).await.unwrap()
    }

    pub async fn listed(&self) -> Vec<BlobMeta> {
        self.store.list().try_collect().await.unwrap()
    }

    /// Unfinished uploads of any age.
    pub async fn unfinished(&self) -> Vec<StaleUpload> {
        self.store.stale_uploads(in_an_hour()).try_collect().await.unwrap()
    }

    pub async fn assert_nothing_left(&self) {
        assert_eq!(self.listed().await, []);
        assert_eq!(self.unfinished().await, []);
        assert_eq!(self.buffers.current_bytes(), 0);
    }
}

async fn create_bucket(config: &S3Config) {
    let keys = config.keys.clone().unwrap();
    let conf = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new("us-east-1"))
        .endpoint_url(config.endpoint.clone().unwrap())
        .force_path_style(true)
        .credentials_provider(Credentials::new(keys.access_key, keys.secret_key, None, None, "test"))
        .build();
    let client = aws_sdk_s3::Client::from_conf(conf);
    // Another test may have been faster; a bucket that is really not there fails the test itself.
    let _ = client.create_bucket().bucket(BUCKET).send().await;
}

pub fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A plan with every digest and a limit of 1 GiB.
pub fn plan() -> StagePlan {
    StagePlan::new(1 << 30, "limits.test").with_sha1().with_md5()
}

pub fn in_an_hour() -> Timestamp {
    Timestamp::now() + std::time::Duration::from_secs(3600)
}

/// `length` bytes that differ by position and `seed`.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `bytes` as a body of chunks of `chunk` bytes, which panics when asked for more after its end.
pub fn body(bytes: &[u8], chunk: usize) -> ByteStream {
    let chunks: Vec<_> = bytes.chunks(chunk).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    stream::unfold(chunks.into_iter(), |mut rest| async move { rest.next().map(|chunk| (chunk, rest)) }).boxed()
}

/// `bytes`, then an error.
pub fn broken_body(bytes: &[u8], error: impl Into<BoxError>) -> ByteStream {
    let error = error.into();
    body(bytes, 50_000).chain(stream::once(async move { Err(error) })).boxed()
}
