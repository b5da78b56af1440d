//! From configuration to a ready store.

use std::sync::Arc;

use crate::{BlobError, BlobStore, DiskConfig, DiskStore, HotBlobs, Metered, S3Config, S3Store};

/// Which store to open.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    Disk(DiskConfig),
    S3(S3Config),
}

/// Opens the configured store, metered, with up to `hot_bytes` of small blobs in memory (0: none).
///
/// # Errors
/// [`BlobError::Unavailable`] when the directory of a disk store cannot be created. An S3 store is
/// not contacted: the server serves metadata while its blobs are away, and [`BlobStore::probe`] tells.
pub async fn open(config: StoreConfig, hot_bytes: u64) -> Result<Arc<dyn BlobStore>, BlobError> {
    let store: Arc<dyn BlobStore> = match config {
        StoreConfig::Disk(config) => Arc::new(DiskStore::open(config).await?),
        StoreConfig::S3(config) => Arc::new(S3Store::connect(config).await),
    };
    // Metered inside, so that the numbers are the store's and not the memory's.
    let store: Arc<dyn BlobStore> = Arc::new(Metered::new(store));
    Ok(if hot_bytes == 0 { store } else { Arc::new(HotBlobs::new(store, hot_bytes)) })
}
