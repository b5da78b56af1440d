//! From configuration to the services it names: database, blob store, search index, cluster.

use std::{sync::Arc, time::Duration};

use publaryn_blobs::{BlobStore, DiskConfig, S3Config, StaticKeys, StoreConfig};
use publaryn_cluster::{Cluster, InProcess, RedisCluster};
use publaryn_config::{Config, SearchBackend, StorageBackend};
use publaryn_core::BoxError;
use publaryn_metadata::{Db, DbOptions};
use publaryn_search::{EmbeddedIndex, Meilisearch, MeilisearchConfig, SearchIndex};

use crate::StartError;

/// First and longest pause between attempts to reach a required service.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Tries until `startup.wait_seconds` is over; then the key whose service could not be reached is named.
pub async fn reach<T, E: Into<BoxError>, F: Future<Output = Result<T, E>>>(
    config: &Config,
    key: &'static str,
    attempt: impl Fn() -> F,
) -> Result<T, StartError> {
    let deadline = tokio::time::Instant::now() + config.startup.wait_seconds.duration();
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Ok(reached) => return Ok(reached),
            Err(error) => {
                let source = error.into();
                if tokio::time::Instant::now() + pause > deadline {
                    return Err(StartError::Unreachable { key, source });
                }
                tracing::warn!(key, error = %source, "a required service cannot be reached, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

pub async fn database(config: &Config) -> Result<Db, StartError> {
    let options = DbOptions {
        max_connections: config.database.max_connections.as_u32(),
        acquire_timeout: config.database.acquire_timeout_seconds.duration(),
    };
    let url = config.database.url.expose();
    if config.is_embedded() {
        // A local file does not come back by waiting.
        let unreachable = |error| StartError::Unreachable { key: "database.url", source: BoxError::from(error) };
        return Db::connect(&url, &options).await.map_err(unreachable);
    }
    reach(config, "database.url", || Db::connect(&url, &options)).await
}

pub async fn migrate(config: &Config, db: &Db) -> Result<(), StartError> {
    if config.database.auto_migrate {
        return db.migrate().await.map_err(StartError::internal);
    }
    let status = db.migration_status().await.map_err(StartError::internal)?;
    if status.pending.is_empty() { Ok(()) } else { Err(StartError::PendingMigrations(status.pending.len())) }
}

pub async fn search(config: &Config) -> Result<Arc<dyn SearchIndex>, StartError> {
    Ok(match (config.search.backend, &config.search.url) {
        (SearchBackend::Meilisearch, Some(url)) => {
            let meili = MeilisearchConfig {
                url: url.url().clone(),
                api_key: config.search.api_key.as_ref().map(|key| key.expose().to_owned()),
                index_prefix: config.search.index_prefix.clone(),
            };
            Arc::new(Meilisearch::new(&meili).map_err(StartError::internal)?)
        }
        _ => {
            let index = EmbeddedIndex::open(config.data_dir.join("search")).await.map_err(StartError::internal)?;
            Arc::new(index)
        }
    })
}

pub fn cluster(config: &Config) -> Result<Arc<dyn Cluster>, StartError> {
    Ok(match &config.redis.url {
        Some(url) => Arc::new(RedisCluster::new(url.expose()).map_err(StartError::internal)?),
        None => Arc::new(InProcess::new()),
    })
}

/// Small files kept in memory, so that hot downloads do not touch the disk or the network.
const HOT_BLOB_BYTES: u64 = 64 << 20;

pub async fn blobs(config: &Config) -> Result<Arc<dyn BlobStore>, StartError> {
    open_blobs(config, HOT_BLOB_BYTES).await
}

/// [`blobs`] without anything of them in memory, for whoever must see what really lies there.
pub async fn stored_blobs(config: &Config) -> Result<Arc<dyn BlobStore>, StartError> {
    open_blobs(config, 0).await
}

async fn open_blobs(config: &Config, hot_bytes: u64) -> Result<Arc<dyn BlobStore>, StartError> {
    let store = match config.storage.backend {
        StorageBackend::Fs => StoreConfig::Disk(DiskConfig { path: config.storage.fs.path.clone() }),
        StorageBackend::S3 => {
            let s3 = &config.storage.s3;
            let keys = s3.access_key.as_ref().zip(s3.secret_key.as_ref()).map(|(access, secret)| StaticKeys {
                access_key: access.expose().to_owned(),
                secret_key: secret.expose().to_owned(),
            });
            StoreConfig::S3(S3Config {
                endpoint: s3.endpoint.as_ref().map(|url| url.expose().to_owned()),
                region: s3.region.clone(),
                bucket: s3.bucket.clone().unwrap_or_default(),
                keys,
                path_style: s3.path_style,
                prefix: s3.prefix.clone(),
            })
        }
    };
    publaryn_blobs::open(store, hot_bytes).await.map_err(StartError::internal)
}
