//! Rendered metadata: packuments, index files and their like, made once per revision.

use std::{hash::Hash, io::Write, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use publaryn_core::{PackageId, RegistryError, Timestamp};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

/// A document ready to be sent, with its gzip form and validators.
#[derive(Debug)]
pub struct Rendered {
    pub content_type: &'static str,
    pub body: Bytes,
    /// Absent where compressing does not pay.
    pub gzip: Option<Bytes>,
    /// Strong validators, quotes included, one per form (RFC 9110 §8.8.3).
    pub etag: SmolStr,
    pub etag_gzip: SmolStr,
    /// IMF-fixdate of the package's last visible change.
    pub last_modified: SmolStr,
}

/// Bodies below this gain nothing from gzip.
const MIN_GZIP_BYTES: usize = 512;

impl Rendered {
    /// Compresses `body` and derives its validators. CPU-bound: call it off the async threads.
    pub fn new(content_type: &'static str, body: Vec<u8>, revision: i64, changed: Timestamp) -> Self {
        // The same bytes under another type are another representation (RFC 9110 §8.8.1).
        let digest = Sha256::new().chain_update(content_type).chain_update(&body).finalize();
        let hash = hex::encode(&digest[..12]);
        let gzip = (body.len() >= MIN_GZIP_BYTES).then(|| gzip(&body)).flatten();
        Self {
            content_type,
            body: Bytes::from(body),
            gzip,
            etag: smol_str::format_smolstr!("\"{revision}-{hash}\""),
            etag_gzip: smol_str::format_smolstr!("\"{revision}-{hash}-gz\""),
            last_modified: changed.to_http_date().into(),
        }
    }

    fn weight(&self) -> usize {
        self.body.len() + self.gzip.as_ref().map_or(0, Bytes::len) + 512
    }
}

fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::default());
    encoder.write_all(body).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < body.len()).then(|| packed.into())
}

/// What a document is kept under. The revision makes a stale hit impossible.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub package: PackageId,
    pub revision: i64,
    /// Which document: `full`, `abbreviated`, `index`, …
    pub flavour: &'static str,
    /// The base URL that links were built with.
    pub base: SmolStr,
}

/// Documents kept in memory, by weight; least recently used ones go first.
pub(crate) struct Documents<K>(moka::future::Cache<K, Arc<Rendered>>);

impl<K: Hash + Eq + Send + Sync + 'static> Documents<K> {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        Self(
            moka::future::Cache::builder()
                .weigher(|_, document: &Arc<Rendered>| u32::try_from(document.weight()).unwrap_or(u32::MAX))
                .max_capacity(capacity_bytes)
                .build(),
        )
    }

    pub(crate) async fn get(&self, key: &K) -> Option<Arc<Rendered>> {
        self.0.get(key).await
    }

    /// The kept document, or the one `make` renders; concurrent callers share one rendering.
    pub(crate) async fn get_or_render(
        &self,
        key: K,
        make: impl Future<Output = Result<Arc<Rendered>, RegistryError>>,
    ) -> Result<Arc<Rendered>, RegistryError> {
        self.0.try_get_with(key, make).await.map_err(|shared: Arc<RegistryError>| {
            Arc::try_unwrap(shared).unwrap_or_else(|shared| match &*shared {
                RegistryError::NotFound => RegistryError::NotFound,
                RegistryError::Unavailable { what, .. } => RegistryError::unavailable(what, shared.cause_chain()),
                other => RegistryError::internal(other.cause_chain()),
            })
        })
    }
}
