//! Failures in cargo's words: `{"errors":[{"detail":…}]}`, which cargo prints; short texts on the index.

use http::StatusCode;
use publaryn_core::{RegistryError, access::Denial};
use publaryn_protocol::{Dialect, Refusal, error_status};
use serde_json::json;

use crate::Cargo;

/// Why a request of this protocol failed.
///
/// One body for missing and hidden crates: it must not depend on what exists.
pub type CargoError = Refusal<Cargo>;

/// Says what a registry error means for one crate.
pub fn about(error: RegistryError, crate_name: &str) -> CargoError {
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
    CargoError::from(error).saying(detail)
}

impl Dialect for Cargo {
    const HEADERS: &'static [(&'static str, &'static str)] = &[("vary", "Accept, Authorization, Accept-Encoding")];

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

    fn body(_: StatusCode, text: &str) -> (&'static str, String) {
        ("application/json", json!({ "errors": [{ "detail": text }] }).to_string())
    }

    /// None that is the same everywhere: `Call::answer` adds the address of the login page.
    fn challenge(_: StatusCode, _: &RegistryError) -> Option<&'static str> {
        None
    }
}

/// The index, where only the status has a meaning to cargo.
pub struct Index;

impl Dialect for Index {
    const HEADERS: &'static [(&'static str, &'static str)] = Cargo::HEADERS;

    fn words(error: &RegistryError) -> (StatusCode, String) {
        Cargo::words(error)
    }

    fn body(status: StatusCode, _: &str) -> (&'static str, String) {
        let text = status.canonical_reason().unwrap_or("error").to_ascii_lowercase();
        ("text/plain; charset=utf-8", text + "\n")
    }

    fn challenge(status: StatusCode, cause: &RegistryError) -> Option<&'static str> {
        Cargo::challenge(status, cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_errors_have_cargo_words_and_statuses() {
        let said = |error| {
            let error = about(error, "x");
            (error.status().as_u16(), error.text().to_owned())
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
            assert_eq!(said(error), (status, detail.to_owned()));
        }
    }

    #[test]
    fn failures_of_ours_keep_their_causes_to_themselves() {
        let error = CargoError::from(RegistryError::unavailable("the blob store", "secret endpoint"));
        assert_eq!((error.status().as_u16(), error.text()), (503, "the blob store is unavailable"));
    }
}
