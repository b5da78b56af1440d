//! Why a blob operation failed.

use std::io;

use publaryn_core::{BoxError, Digest};

use crate::BlobKey;

/// Store-agnostic failure of a blob operation.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("blob not found")]
    Missing { key: BlobKey },
    #[error("body exceeds {limit_name} ({limit_bytes} bytes)")]
    TooLarge { limit_name: &'static str, limit_bytes: u64 },
    #[error("content does not match the announced digest {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    /// The sender's stream failed; the source is the stream's own error, for the caller to downcast.
    #[error("upload was interrupted")]
    BodyAborted(#[source] BoxError),
    #[error("range is outside of the blob ({size_bytes} bytes)")]
    RangeNotSatisfiable { size_bytes: u64 },
    /// The bytes of a resumable upload are not there any more; it has to start over.
    #[error("the upload's content is gone")]
    UploadLost,
    /// Another request appends to the same upload right now.
    #[error("the upload is being written to")]
    UploadBusy,
    #[error("blob store is out of space")]
    NoSpace(#[source] BoxError),
    #[error("blob store is unavailable")]
    Unavailable(#[source] BoxError),
}

impl BlobError {
    /// The value of the metric label `outcome`; `ok` is the other one.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::TooLarge { .. } => "too_large",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::BodyAborted(_) => "aborted",
            Self::RangeNotSatisfiable { .. } => "bad_range",
            Self::UploadLost => "upload_lost",
            Self::UploadBusy => "upload_busy",
            Self::NoSpace(_) => "no_space",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the same call may succeed later without anything changed by the caller.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NoSpace(_) | Self::Unavailable(_))
    }

    pub(crate) fn missing(key: &BlobKey) -> Self {
        Self::Missing { key: key.clone() }
    }

    pub(crate) fn unavailable(cause: impl Into<BoxError>) -> Self {
        Self::Unavailable(cause.into())
    }

    /// A failed write to, or other use of, the local file system.
    pub(crate) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            // A file size limit (RLIMIT_FSIZE, or the file system's own) is as full as a disk gets.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace(error.into())
            }
            _ => Self::Unavailable(error.into()),
        }
    }

    /// A failed access to the file of `key`.
    pub(crate) fn from_io_on(error: io::Error, key: &BlobKey) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::missing(key),
            _ => Self::from_io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disks_quotas_and_size_limits_are_no_space() {
        for errno in [28, 122, 27] {
            let error = BlobError::from_io(io::Error::from_raw_os_error(errno));
            assert!(matches!(error, BlobError::NoSpace(_)), "errno {errno}: {error:?}");
        }
        let io_failure = BlobError::from_io(io::Error::from_raw_os_error(5));
        assert!(matches!(io_failure, BlobError::Unavailable(_)), "{io_failure:?}");
    }
}
