//! What an SDK error means for us.

use std::error::Error;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::BlobError;

/// The parts of an SDK error that decide.
pub(super) struct Failure {
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    source: RequestFailed,
}

/// A request to the blob store failed.
#[derive(Debug, thiserror::Error)]
#[error("s3 {operation} failed{}{}", status_text(*.status), code_text(.code.as_deref()))]
struct RequestFailed {
    operation: &'static str,
    status: Option<u16>,
    code: Option<String>,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    pub(super) fn of<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned);
        let source = RequestFailed { operation, status, code: code.clone(), source: error.into() };
        Self { status, code, source }
    }

    /// No such object; a missing bucket is a broken store, not a missing blob.
    pub(super) fn is_missing(&self) -> bool {
        self.status == Some(404) && self.code.as_deref() != Some("NoSuchBucket")
    }

    pub(super) fn is_bad_range(&self) -> bool {
        self.status == Some(416)
    }

    /// The failure when it is none of those.
    pub(super) fn into_error(self) -> BlobError {
        let full = self.status == Some(507)
            || self.code.as_deref().is_some_and(|code| {
                matches!(code, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" | "EntityTooLarge")
            });
        if full { BlobError::NoSpace(self.source.into()) } else { BlobError::Unavailable(self.source.into()) }
    }
}

/// For operations with no outcome of their own but failing.
pub(super) fn unavailable<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> BlobError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    Failure::of(operation, error).into_error()
}

fn status_text(status: Option<u16>) -> String {
    status.map(|s| format!(", status {s}")).unwrap_or_default()
}

fn code_text(code: Option<&str>) -> String {
    code.map(|c| format!(", code `{c}`")).unwrap_or_default()
}
