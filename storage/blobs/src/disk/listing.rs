//! What is in a store, for gc.

use std::{fs, io, path::Path, sync::Arc, time::UNIX_EPOCH};

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use publaryn_core::Timestamp;

use super::{blocking, layout::Layout, resuming};
use crate::{AbandonedUpload, BlobError, BlobKey, BlobMeta, StaleUpload, blob::StalePlace, upload::AbandonedPlace};

/// All blobs, one shard in memory at a time.
pub(super) fn blobs(layout: Arc<Layout>) -> BoxStream<'static, Result<BlobMeta, BlobError>> {
    stream::iter(0..=u8::MAX)
        .then(move |byte| {
            let layout = layout.clone();
            blocking(move || shard(&layout, byte))
        })
        .map_ok(|blobs| stream::iter(blobs.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

/// Temporary files last written before `before`.
pub(super) fn stale_uploads(
    layout: Arc<Layout>,
    before: Timestamp,
) -> BoxStream<'static, Result<StaleUpload, BlobError>> {
    stream::once(blocking(move || {
        let mut stale = Vec::new();
        each_file(&layout.temp_dir(), |name, size_bytes, touched| {
            if touched < before {
                let place = StalePlace::TempFile { name: name.to_owned() };
                stale.push(StaleUpload { place, size_bytes: Some(size_bytes), touched });
            }
        })?;
        Ok(stale)
    }))
    .map_ok(|stale| stream::iter(stale.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

/// Files of resumable uploads last written before `before`.
pub(super) fn abandoned(
    layout: Arc<Layout>,
    before: Timestamp,
) -> BoxStream<'static, Result<AbandonedUpload, BlobError>> {
    stream::once(blocking(move || {
        let mut abandoned = Vec::new();
        each_file(&layout.uploads_dir(), |name, _, touched| {
            let id = resuming::id_of(name).filter(|_| touched < before);
            abandoned.extend(id.map(|id| AbandonedUpload { id, place: AbandonedPlace::File, touched }));
        })?;
        Ok(abandoned)
    }))
    .map_ok(|abandoned| stream::iter(abandoned.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

fn shard(layout: &Layout, byte: u8) -> Result<Vec<BlobMeta>, BlobError> {
    let mut blobs = Vec::new();
    each_file(&layout.shard_path(byte), |name, size_bytes, modified| {
        // Foreign files (an editor's backup, `lost+found`) are not ours to list or delete.
        if let Ok(key) = format!("sha256/{byte:02x}/{name}").parse::<BlobKey>()
            && layout.blob_path(&key).is_some()
        {
            blobs.push(BlobMeta { key, size_bytes, modified });
        }
    })?;
    blobs.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(blobs)
}

/// Calls `found` with name, size and modification time of each regular file in the directory.
fn each_file(directory: &Path, mut found: impl FnMut(&str, u64, Timestamp)) -> Result<(), BlobError> {
    for entry in fs::read_dir(directory).map_err(BlobError::from_io)? {
        let entry = entry.map_err(BlobError::from_io)?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Promoted or deleted since the directory was read.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(BlobError::from_io(e)),
        };
        if let (true, Some(name)) = (metadata.is_file(), entry.file_name().to_str()) {
            let modified = metadata.modified().map_err(BlobError::from_io)?;
            let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            found(name, metadata.len(), Timestamp::default() + since_epoch);
        }
    }
    Ok(())
}
