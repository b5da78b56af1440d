//! Uploads that outlive the request, and the process, that began them (OCI chunked uploads).
//!
//! The caller keeps an [`UploadState`] in its database and hands it back with more content; the
//! store keeps the bytes. The state carries the midstates of the hashes, so that no byte is read a
//! second time when the upload is completed, on whichever replica that happens.

use std::{fmt, num::NonZeroU64};

use async_trait::async_trait;
use bytes::Bytes;
use publaryn_core::{Digest, Timestamp, UploadId};
use serde::{Deserialize, Serialize};
use sha2::{
    Digest as _, Sha256, Sha512,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use crate::BlobError;

/// How far a resumable upload has come; serialise it as a whole, nothing in it is for others.
///
/// Everything counted in it is durable. Content that a crash left beyond it is overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadState {
    id: UploadId,
    size_bytes: u64,
    sha256: Midstate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha512: Option<Midstate>,
    pub(crate) place: UploadPlace,
    /// The end of the content, not yet given to the store: only between the last append and the
    /// completion that follows in the same request.
    #[serde(skip)]
    pub(crate) held: Bytes,
}

/// What a store remembers about the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum UploadPlace {
    /// Nothing was appended yet.
    #[default]
    Nowhere,
    /// The file named after the upload.
    Disk,
    S3(S3Place),
}

/// Whole parts in a multipart upload to the final key; what does not fill a part yet in small
/// objects beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct S3Place {
    pub multipart: Option<S3Multipart>,
    /// In order; shorter than a part together.
    pub tail: Vec<Piece>,
    /// Small objects ever written, so that each has a name of its own.
    pub pieces: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct S3Multipart {
    pub upload_id: String,
    /// One per part, in order; all parts are of the same size.
    pub etags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub object: String,
    pub size_bytes: u64,
}

impl UploadState {
    /// An upload to which nothing was appended yet. Costs nothing; the store learns of it with the
    /// first append.
    pub fn new(id: UploadId, with_sha512: bool) -> Self {
        Self {
            id,
            size_bytes: 0,
            sha256: Midstate::of(&Sha256::new()),
            sha512: with_sha512.then(|| Midstate::of(&Sha512::new())),
            place: UploadPlace::Nowhere,
            held: Bytes::new(),
        }
    }

    pub fn id(&self) -> UploadId {
        self.id
    }
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
    /// Offset of the last durable byte; `None` while there is none.
    pub fn last_byte(&self) -> Option<u64> {
        NonZeroU64::new(self.size_bytes).map(|size| size.get() - 1)
    }
    /// Whether [`Self::sha512`] has an answer.
    pub fn has_sha512(&self) -> bool {
        self.sha512.is_some()
    }
    /// Computes SHA-512 too from here on; `false` when content has already gone past without.
    pub fn add_sha512(&mut self) -> bool {
        if self.sha512.is_none() && self.size_bytes == 0 {
            self.sha512 = Some(Midstate::of(&Sha512::new()));
        }
        self.sha512.is_some()
    }

    /// The SHA-256 of the content so far.
    ///
    /// # Errors
    /// `Unavailable` for a state that another version of the hash wrote.
    pub fn sha256(&self) -> Result<Digest, BlobError> {
        Ok(Digest::from_bytes(self.sha256.restore::<Sha256>()?.finalize().into()))
    }

    /// The SHA-512 of the content so far as lower-case hex, where it is computed.
    ///
    /// # Errors
    /// As [`Self::sha256`].
    pub fn sha512(&self) -> Result<Option<String>, BlobError> {
        let hash = self.sha512.as_ref().map(Midstate::restore::<Sha512>).transpose()?;
        Ok(hash.map(|hash| hex::encode(hash.finalize())))
    }

    pub(crate) fn hasher(&self) -> Result<RunningHash, BlobError> {
        Ok(RunningHash {
            sha256: self.sha256.restore()?,
            sha512: self.sha512.as_ref().map(Midstate::restore).transpose()?,
            size_bytes: self.size_bytes,
        })
    }

    /// Takes over what was hashed and stored meanwhile.
    pub(crate) fn advance(&mut self, hash: &RunningHash, place: UploadPlace) {
        self.size_bytes = hash.size_bytes;
        self.sha256 = Midstate::of(&hash.sha256);
        self.sha512 = hash.sha512.as_ref().map(Midstate::of);
        self.place = place;
    }
}

/// The hashes of an upload while content passes.
pub(crate) struct RunningHash {
    sha256: Sha256,
    sha512: Option<Sha512>,
    pub size_bytes: u64,
}

impl RunningHash {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for slice in bytes.chunks(16 * 1024) {
            self.sha256.update(slice);
            if let Some(sha512) = &mut self.sha512 {
                sha512.update(slice);
            }
        }
        self.size_bytes += bytes.len() as u64;
    }
}

/// The inner state of a hash as hex digits.
///
/// Stable within a minor version of the hash crate; a state from another one fails to restore
/// rather than giving a wrong digest, and the client starts over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Midstate(String);

impl Midstate {
    fn of<H: SerializableState>(hash: &H) -> Self {
        Self(hex::encode(hash.serialize()))
    }

    fn restore<H: SerializableState>(&self) -> Result<H, BlobError> {
        let unreadable = || BlobError::unavailable("an upload's hash state is unreadable");
        let bytes = hex::decode(&self.0).map_err(BlobError::unavailable)?;
        let state = SerializedState::<H>::try_from(bytes.as_slice()).map_err(|_| unreadable())?;
        H::deserialize(&state).map_err(|_| unreadable())
    }
}

impl fmt::Debug for Midstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Midstate(…)")
    }
}

/// The conditions of one append.
#[derive(Debug, Clone, Copy)]
pub struct AppendPlan {
    /// Largest accepted upload as a whole, in bytes.
    pub limit_bytes: u64,
    /// The setting the limit comes from.
    pub limit_name: &'static str,
    /// The completion follows at once: the end of the content may wait in memory for it.
    pub is_last: bool,
}

/// What an append achieved.
#[derive(Debug)]
pub struct Appended {
    /// Includes everything that is durable now.
    pub state: UploadState,
    /// Why the body ended early: `BodyAborted` or `TooLarge`.
    pub trouble: Option<BlobError>,
}

/// Keeps the state of a long append while it goes on, so that a crash loses little.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// # Errors
    /// When the state could not be kept; the append then ends with this error.
    async fn save(&self, state: &UploadState) -> Result<(), BlobError>;
}

/// How much is appended between two checkpoints, in bytes: what a `kill -9` costs a client at most.
pub const CHECKPOINT_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of an upload that was neither completed nor removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbandonedUpload {
    /// Whose bytes they are: an upload that is still known must not lose them.
    pub id: UploadId,
    pub(crate) place: AbandonedPlace,
    /// Last write, or the start of a multipart upload on S3.
    pub touched: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AbandonedPlace {
    File,
    Piece { object: String },
    Multipart { object: String, upload_id: String },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hashing_across_restarts_is_hashing(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12), wide in any::<bool>()) {
            let mut state = UploadState::new(UploadId::new(), wide);
            for piece in &pieces {
                let mut hash = state.hasher().unwrap();
                hash.update(piece);
                state.advance(&hash, UploadPlace::Disk);
                let kept = serde_json::to_string(&state).unwrap();
                state = serde_json::from_str(&kept).unwrap();
            }
            let whole = pieces.concat();
            prop_assert_eq!(state.size_bytes(), whole.len() as u64);
            prop_assert_eq!(state.last_byte(), (whole.len() as u64).checked_sub(1));
            prop_assert_eq!(state.sha256().unwrap(), Digest::from_bytes(Sha256::digest(&whole).into()));
            prop_assert_eq!(state.sha512().unwrap(), wide.then(|| hex::encode(Sha512::digest(&whole))));
        }
    }

    #[test]
    fn sha512_can_only_join_before_the_first_byte() {
        let mut state = UploadState::new(UploadId::new(), false);
        assert!(state.clone().add_sha512());
        let mut hash = state.hasher().unwrap();
        hash.update(b"x");
        state.advance(&hash, UploadPlace::Disk);
        assert!(!state.add_sha512() && state.sha512().unwrap().is_none());
    }

    #[test]
    fn a_foreign_state_is_refused() {
        let mut state = UploadState::new(UploadId::new(), false);
        state.sha256 = Midstate("00ff".into());
        assert!(matches!(state.sha256(), Err(BlobError::Unavailable(_))));
    }
}
