//! Failures in cargo's words: `{"errors":[{"detail":…}]}`, which cargo prints; short texts on the index.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use publaryn_core::{RegistryError, access::Denial};
use publaryn_protocol::{Reason, error_status, json_error};
use serde_json::json;

/// Why a request of this protocol failed.
///
/// One body for missing and hidden crates: it must not depend on what exists.
#[derive(Debug)]
pub struct CargoError {
    pub(crate) status: StatusCode,
    detail: String,
    /// What the registry said; logged when it is a failure of ours.
    cause: RegistryError,
}

impl CargoError {
    /// A refusal with its own status and words.
    pub fn refused(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, cause: RegistryError::malformed(detail.clone()), detail }
    }

    pub fn not_found() -> Self {
        RegistryError::NotFound.into()
    }

    /// Says what a registry error means for one crate.
    pub fn about(error: RegistryError, crate_name: &str) -> Self {
        let detail = match &error {
            RegistryError::Denied(Denial::InsufficientPermission(_)) => {
                format!("you are not an owner of crate `{crate_name}`")
            }
            RegistryError::Denied(Denial::Rule { code: "owner_protected", .. }) => {
                format!("cannot remove the last owner of crate `{crate_name}`")
            }
            RegistryError::VersionNotFound(version) => {
                format!("crate `{crate_name}` does not have a version `{version}`")
            }
            _ => return error.into(),
        };
        Self { status: error_status(&error), detail, cause: error }
    }

    /// The answer on the index, where only the status has a meaning to cargo.
    pub fn into_text(self) -> Response {
        as_text(self.into_response())
    }
}

/// A registry error as this protocol says it; `is_index` asks for plain text.
pub fn render(error: &RegistryError, is_index: bool) -> Response {
    let (status, detail) = words(error);
    let response = respond(status, &detail, error);
    if is_index { as_text(response) } else { response }
}

/// Status and text of an error that is not about one crate.
fn words(error: &RegistryError) -> (StatusCode, String) {
    let status = match error {
        // Cargo knows no 422; crates refused for their content are plain bad requests.
        RegistryError::Invalid { .. }
        | RegistryError::Archive { .. }
        | RegistryError::NameTaken { existing: Some(_) } => StatusCode::BAD_REQUEST,
        other => error_status(other),
    };
    let detail = match error {
        RegistryError::Unauthenticated => "authentication required; log in with `cargo login`".into(),
        RegistryError::BadCredential(_) => "token is invalid or expired".into(),
        RegistryError::VersionExists(version) => format!("crate version `{version}` is already uploaded"),
        RegistryError::NameTaken { existing: Some(name) } => format!("crate was previously named `{name}`"),
        RegistryError::NameTaken { existing: None } => "this name is not available".into(),
        RegistryError::TooLarge { limit_bytes, .. } => format!("max upload size is: {limit_bytes}"),
        other => other.to_string(),
    };
    (status, detail)
}

fn respond(status: StatusCode, detail: &str, cause: &RegistryError) -> Response {
    let body = json!({ "errors": [{ "detail": detail }] });
    let mut response = json_error(status, &body, cause);
    response.extensions_mut().insert(Reason::of(&RegistryError::malformed(detail)));
    let vary = HeaderValue::from_static("Accept, Authorization, Accept-Encoding");
    response.headers_mut().insert(header::VARY, vary);
    response
}

fn as_text(mut response: Response) -> Response {
    let text = response.status().canonical_reason().unwrap_or("error").to_ascii_lowercase();
    *response.body_mut() = Bytes::from(text + "\n").into();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl From<RegistryError> for CargoError {
    fn from(error: RegistryError) -> Self {
        let (status, detail) = words(&error);
        Self { status, detail, cause: error }
    }
}

impl IntoResponse for CargoError {
    fn into_response(self) -> Response {
        respond(self.status, &self.detail, &self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_errors_have_cargo_words_and_statuses() {
        let about = |error| {
            let error = CargoError::about(error, "x");
            (error.status.as_u16(), error.detail)
        };
        let permission = publaryn_core::access::Permission::Publish;
        for (error, status, detail) in [
            (RegistryError::NotFound, 404, "not found"),
            (RegistryError::VersionExists("1.0.0".into()), 409, "crate version `1.0.0` is already uploaded"),
            (RegistryError::VersionNotFound("9.9.9".into()), 404, "crate `x` does not have a version `9.9.9`"),
            (
                RegistryError::NameTaken { existing: Some("Foo-Bar".into()) },
                400,
                "crate was previously named `Foo-Bar`",
            ),
            (RegistryError::NameTaken { existing: None }, 403, "this name is not available"),
            (RegistryError::TooLarge { what: "x", limit_bytes: 33554432 }, 413, "max upload size is: 33554432"),
            (
                RegistryError::Denied(Denial::InsufficientPermission(permission)),
                403,
                "you are not an owner of crate `x`",
            ),
            (RegistryError::Archive { rule: "ARC-L", message: "no".into() }, 400, "no"),
            (RegistryError::invalid("reserved_name", "reserved"), 400, "reserved"),
        ] {
            assert_eq!(about(error), (status, detail.to_owned()));
        }
    }

    #[test]
    fn failures_of_ours_keep_their_causes_to_themselves() {
        let error = CargoError::from(RegistryError::unavailable("the blob store", "secret endpoint"));
        assert_eq!((error.status.as_u16(), error.detail.as_str()), (503, "the blob store is unavailable"));
        let response = error.into_response();
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}
