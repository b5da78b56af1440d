//! Failures as the Python tools show them: on the status line, which twine, flit, hatch and poetry print, and in
//! the body, which uv and poetry read.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use publaryn_core::RegistryError;
use publaryn_protocol::{Dialect, NOSNIFF, Refusal, error_status};
use serde_json::json;

use crate::Pypi;

pub(crate) const BAD_CREDENTIAL: &str = "Invalid or non-existent authentication information.";

/// Why a request of this protocol failed.
pub type PypiError = Refusal<Pypi>;

/// The answer. Clients that ask for JSON get it under exactly the type that uv looks for.
pub fn answer(error: PypiError, wants_json: bool) -> Response {
    if wants_json { error.spoken::<Json>().into_response() } else { error.into_response() }
}

/// Plain text.
impl Dialect for Pypi {
    const HEADERS: &'static [(&'static str, &'static str)] =
        &[("vary", "Accept, Authorization, Accept-Encoding"), NOSNIFF];
    const MAX_REASON: usize = 300;

    fn words(error: &RegistryError) -> (StatusCode, String) {
        let status = match error {
            RegistryError::Invalid { .. }
            | RegistryError::Archive { .. }
            | RegistryError::FileExists { .. }
            | RegistryError::NameTaken { .. } => StatusCode::BAD_REQUEST,
            RegistryError::Conflict { code: "package_archived" | "state_conflict", .. } => StatusCode::FORBIDDEN,
            RegistryError::Conflict { .. } => StatusCode::BAD_REQUEST,
            other => error_status(other),
        };
        let text = match error {
            RegistryError::Unauthenticated | RegistryError::BadCredential(_) => BAD_CREDENTIAL.into(),
            RegistryError::NotFound => "Not Found".into(),
            // Clients look for "already exist" to skip files; the words are those of the public index.
            RegistryError::FileExists { filename, sha256 } => {
                format!("File already exists ('{filename}', with sha256 hash '{}').", sha256.hex())
            }
            RegistryError::Conflict { code: "filename_spent", message } => {
                let fate = if message.ends_with("blocked") { "been blocked" } else { "since been deleted" };
                format!("This filename was previously used by a file that has {fate}. Use a different version.")
            }
            RegistryError::Conflict { code: "kind_taken", .. } => "Only one sdist may be uploaded per release.".into(),
            RegistryError::Conflict { code: "package_archived", .. } => "project is archived".into(),
            RegistryError::NameTaken { .. } => "The name is too similar to an existing project.".into(),
            RegistryError::Archive { message, .. } => format!("Invalid distribution file. {message}"),
            RegistryError::Internal(_) => "Internal error. It has been logged.".into(),
            other => other.to_string(),
        };
        (status, text)
    }

    fn body(status: StatusCode, text: &str) -> (&'static str, String) {
        ("text/plain; charset=utf-8", format!("{} {text}", status.as_u16()))
    }
}

/// The same for those who ask for JSON.
struct Json;

impl Dialect for Json {
    const HEADERS: &'static [(&'static str, &'static str)] = Pypi::HEADERS;
    const MAX_REASON: usize = Pypi::MAX_REASON;

    fn words(error: &RegistryError) -> (StatusCode, String) {
        Pypi::words(error)
    }

    fn body(status: StatusCode, text: &str) -> (&'static str, String) {
        let title = status.canonical_reason().unwrap_or("Error");
        let code = format!("{} {text}", status.as_u16());
        ("application/json", json!({ "code": code, "message": text, "title": title }).to_string())
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use publaryn_core::{Digest, Scope, access::Denial, error::CredentialProblem};
    use publaryn_protocol::Reason;

    use super::*;

    #[test]
    fn refusals_have_the_words_that_clients_look_for() {
        let conflict = |code, message: &str| RegistryError::conflict(code, message);
        for (error, status, text) in [
            (RegistryError::Unauthenticated, 401, BAD_CREDENTIAL),
            (RegistryError::BadCredential(CredentialProblem::Revoked), 401, BAD_CREDENTIAL),
            (RegistryError::NotFound, 404, "Not Found"),
            (
                RegistryError::FileExists { filename: "a.whl".into(), sha256: Digest::from_bytes([0xab; 32]) },
                400,
                &format!("File already exists ('a.whl', with sha256 hash '{}').", "ab".repeat(32)),
            ),
            (
                conflict("filename_spent", "the file name `a` was used by a file that was deleted"),
                400,
                "This filename was previously used by a file that has since been deleted. Use a different version.",
            ),
            (
                conflict("filename_spent", "the file name `a` was used by a file that was blocked"),
                400,
                "This filename was previously used by a file that has been blocked. Use a different version.",
            ),
            (conflict("kind_taken", ""), 400, "Only one sdist may be uploaded per release."),
            (conflict("package_archived", ""), 403, "project is archived"),
            (conflict("state_conflict", "the package is quarantined"), 403, "the package is quarantined"),
            (RegistryError::Archive { rule: "ARC-L", message: "no".into() }, 400, "Invalid distribution file. no"),
            (RegistryError::invalid("invalid_name", "bad"), 400, "bad"),
            (
                RegistryError::Denied(Denial::InsufficientScope(Scope::PackagesPublish)),
                403,
                "this credential lacks the scope `packages:publish`",
            ),
            (RegistryError::internal("secret"), 500, "Internal error. It has been logged."),
        ] {
            let error = PypiError::from(error);
            assert_eq!((error.status().as_u16(), error.text()), (status, text));
        }
    }

    #[test]
    fn the_text_is_on_the_status_line_and_in_either_body() {
        let plain = answer(PypiError::bad_request("first\nsecond é"), false);
        assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(plain.extensions().get::<Reason>().unwrap().0, "firstsecond ");
        let json = answer(PypiError::bad_request("no"), true);
        assert_eq!(json.headers()[header::CONTENT_TYPE], "application/json");
    }
}
