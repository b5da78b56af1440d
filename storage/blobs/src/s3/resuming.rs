//! Uploads that go on in later requests: whole parts go into a multipart upload to the final key,
//! the rest into small objects that are joined to a part once there is enough.

use std::sync::Arc;

use aws_sdk_s3::types::CompletedPart;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use publaryn_core::UploadId;
use tokio::task::{JoinSet, spawn_blocking};
use uuid::Uuid;

use super::{
    Inner, PART_BYTES, PARTS_PER_UPLOAD, download, listing,
    upload::{abort, begin_parts, complete_parts, delete_object, put, size_of, upload_part},
};
use crate::{
    Appended, BlobError, BlobKey, CHECKPOINT_BYTES, Checkpoint, UploadState,
    intake::Intake,
    upload::{Piece, RunningHash, S3Multipart, S3Place, UploadPlace},
};

/// Small objects before they are joined into one, which bounds what reading the tail costs when a
/// client sends its content in tiny pieces.
const MAX_PIECES: usize = 64;

const OBJECT: &str = "blobs/upload-";
const PIECES: &str = "uploads/";

fn key_of(id: UploadId) -> BlobKey {
    format!("{OBJECT}{}", id.0.simple()).parse().expect("words, a slash, a dash and hex digits are a key")
}

/// The resumable upload whose final object this is.
pub(super) fn id_of(prefix: &str, object: &str) -> Option<UploadId> {
    let id = object.strip_prefix(prefix)?.strip_prefix(OBJECT)?;
    Uuid::try_parse(id).ok().map(UploadId)
}

/// The resumable upload whose tail this belongs to.
pub(super) fn id_of_piece(prefix: &str, object: &str) -> Option<UploadId> {
    let (id, _) = object.strip_prefix(prefix)?.strip_prefix(PIECES)?.split_once('/')?;
    Uuid::try_parse(id).ok().map(UploadId)
}

pub(super) async fn append(
    store: &Arc<Inner>,
    mut state: UploadState,
    mut intake: Intake,
    is_last: bool,
    checkpoint: &dyn Checkpoint,
) -> Result<Appended, BlobError> {
    let mut upload = Sending::of(store, &state);
    let mut hash = state.hasher()?;
    let mut saved_at = state.size_bytes();
    let trouble = loop {
        let room = PART_BYTES - upload.tail_bytes();
        let (block, trouble) = intake.fill(room).await;
        hash = hashed(hash, block.bytes()).await?;
        let is_end = trouble.is_some() || block.len() < room;
        if block.len() == room {
            upload.send(block.bytes(), block).await?;
        } else if is_last && trouble.is_none() {
            state.held = block.bytes();
        } else if !block.is_empty() {
            upload.keep(block.bytes()).await?;
        }
        if is_end {
            break trouble;
        }
        if hash.size_bytes - saved_at >= CHECKPOINT_BYTES {
            state.advance(&hash, UploadPlace::S3(upload.settled().await?));
            checkpoint.save(&state).await?;
            saved_at = hash.size_bytes;
        }
    };
    state.advance(&hash, UploadPlace::S3(upload.settled().await?));
    Ok(Appended { state, trouble })
}

pub(super) async fn complete(store: &Arc<Inner>, state: &UploadState) -> Result<BlobKey, BlobError> {
    let key = key_of(state.id());
    let object = store.object(&key);
    let place = place_of(state);
    match &place.multipart {
        None => match tail(store, &place, &state.held).await {
            Ok(whole) => put(store, &object, whole).await?,
            // Completed before, tail removed.
            Err(BlobError::UploadLost) if size_of(store, &object).await? == Some(state.size_bytes()) => {}
            Err(other) => return Err(other),
        },
        Some(multipart) => {
            let mut etags = multipart.etags.clone();
            let rest = match tail(store, &place, &state.held).await {
                // Completed before, tail removed: what is left to do is to find the object.
                Err(BlobError::UploadLost) => Bytes::new(),
                other => other?,
            };
            if !rest.is_empty() {
                let sent = upload_part(store, &object, &multipart.upload_id, number(etags.len()), rest).await;
                match sent {
                    Ok(etag) => etags.push(etag),
                    Err(BlobError::UploadLost) => {}
                    Err(other) => return Err(other),
                }
            }
            let parts = etags
                .iter()
                .enumerate()
                .map(|(n, etag)| CompletedPart::builder().part_number(number(n)).e_tag(etag).build());
            let parts = parts.collect();
            if !complete_parts(store, &object, &multipart.upload_id, parts, state.size_bytes()).await? {
                return Err(BlobError::UploadLost);
            }
        }
    }
    if place.pieces > 0 {
        let (store, id) = (store.clone(), state.id());
        tokio::spawn(async move {
            if let Err(error) = remove_pieces(&store, id).await {
                tracing::warn!(%error, "the tail of an upload could not be removed; gc will try again");
            }
        });
    }
    Ok(key)
}

pub(super) async fn abandon(store: &Arc<Inner>, state: &UploadState) -> Result<(), BlobError> {
    let place = place_of(state);
    if let Some(multipart) = &place.multipart {
        abort(store, &store.object(&key_of(state.id())), &multipart.upload_id).await?;
    }
    // Also pieces that a crash left unmentioned.
    if state.place != UploadPlace::Nowhere { remove_pieces(store, state.id()).await } else { Ok(()) }
}

async fn remove_pieces(store: &Arc<Inner>, id: UploadId) -> Result<(), BlobError> {
    let mut names = listing::names(store.clone(), &format!("{PIECES}{}/", id.0.simple()));
    while let Some(name) = names.try_next().await? {
        delete_object(store, &name).await?;
    }
    Ok(())
}

fn place_of(state: &UploadState) -> S3Place {
    match &state.place {
        UploadPlace::S3(place) => place.clone(),
        UploadPlace::Nowhere | UploadPlace::Disk => S3Place::default(),
    }
}

/// The number of the part at an index.
fn number(index: usize) -> i32 {
    i32::try_from(index).map_or(i32::MAX, |n| n.saturating_add(1))
}

/// What follows the whole parts: the small objects, then what is in memory.
async fn tail(store: &Inner, place: &S3Place, held: &Bytes) -> Result<Bytes, BlobError> {
    if place.tail.is_empty() {
        return Ok(held.clone());
    }
    let mut joined = BytesMut::new();
    for piece in &place.tail {
        let bytes = download::small_object(store, &piece.object).await?.ok_or(BlobError::UploadLost)?;
        if bytes.len() as u64 != piece.size_bytes {
            return Err(BlobError::UploadLost);
        }
        joined.extend_from_slice(&bytes);
    }
    joined.extend_from_slice(held);
    Ok(joined.freeze())
}

async fn hashed(mut hash: RunningHash, bytes: Bytes) -> Result<RunningHash, BlobError> {
    spawn_blocking(move || {
        hash.update(&bytes);
        hash
    })
    .await
    .map_err(BlobError::unavailable)
}

/// An upload while an append is under way.
struct Sending<'a> {
    store: &'a Arc<Inner>,
    id: UploadId,
    object: String,
    place: S3Place,
    under_way: JoinSet<Result<(usize, String), BlobError>>,
}

impl<'a> Sending<'a> {
    fn of(store: &'a Arc<Inner>, state: &UploadState) -> Self {
        let object = store.object(&key_of(state.id()));
        Self { store, id: state.id(), object, place: place_of(state), under_way: JoinSet::new() }
    }

    fn tail_bytes(&self) -> usize {
        self.place.tail.iter().map(|piece| piece.size_bytes as usize).sum()
    }

    /// Starts sending a part made of the tail and `bytes`; waits while too many are under way.
    /// `charge` is what accounts for the bytes.
    async fn send(&mut self, bytes: Bytes, charge: impl Send + 'static) -> Result<(), BlobError> {
        let part = tail(self.store, &self.place, &bytes).await?;
        drop(bytes);
        // The small objects stay until the upload ends: a crash may still bring the old state back.
        self.place.tail.clear();
        let multipart = match &mut self.place.multipart {
            Some(multipart) => multipart,
            None => {
                let upload_id = begin_parts(self.store, &self.object).await?;
                self.place.multipart.insert(S3Multipart { upload_id, etags: Vec::new() })
            }
        };
        let index = multipart.etags.len();
        multipart.etags.push(String::new());
        let upload_id = multipart.upload_id.clone();
        while self.under_way.len() >= PARTS_PER_UPLOAD {
            self.one_sent().await?;
        }
        let slot = self.store.part_slots.clone().acquire_owned().await.map_err(BlobError::unavailable)?;
        let (store, object) = (self.store.clone(), self.object.clone());
        self.under_way.spawn(async move {
            let etag = upload_part(&store, &object, &upload_id, number(index), part).await;
            drop((charge, slot));
            Ok((index, etag?))
        });
        Ok(())
    }

    async fn one_sent(&mut self) -> Result<(), BlobError> {
        if let Some(sent) = self.under_way.join_next().await {
            let (index, etag) = sent.map_err(BlobError::unavailable)??;
            if let Some(multipart) = &mut self.place.multipart {
                multipart.etags[index] = etag;
            }
        }
        Ok(())
    }

    /// Keeps less than a part in an object of its own.
    async fn keep(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        let bytes = if self.place.tail.len() < MAX_PIECES {
            bytes
        } else {
            let joined = tail(self.store, &self.place, &bytes).await?;
            self.place.tail.clear();
            joined
        };
        let object = format!("{}{PIECES}{}/{}", self.store.prefix, self.id.0.simple(), Uuid::new_v4().simple());
        let size_bytes = bytes.len() as u64;
        put(self.store, &object, bytes).await?;
        self.place.pieces += 1;
        self.place.tail.push(Piece { object, size_bytes });
        Ok(())
    }

    /// The place once every part has arrived.
    async fn settled(&mut self) -> Result<S3Place, BlobError> {
        while !self.under_way.is_empty() {
            self.one_sent().await?;
        }
        Ok(self.place.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_lead_back_to_their_upload() {
        let id = UploadId::new();
        let object = format!("a/b/{}", key_of(id));
        assert_eq!(id_of("a/b/", &object), Some(id));
        assert_eq!(id_of_piece("a/b/", &format!("a/b/uploads/{}/x", id.0.simple())), Some(id));
        for other in ["a/b/blobs/0190", "a/b/blobs/upload-x", "c/blobs/upload-0190", &object[4..]] {
            assert_eq!(id_of("a/b/", other), None, "{other}");
        }
    }
}
