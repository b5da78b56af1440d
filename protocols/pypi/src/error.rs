//! Failures as the Python tools show them: on the status line, which twine, flit, hatch and poetry print, and in
//! the body, which uv and poetry read.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use publaryn_core::RegistryError;
use publaryn_protocol::{Reason, error_response, error_status};
use serde_json::json;

/// Longest text put on the status line, in bytes.
const MAX_REASON: usize = 300;

pub(crate) const BAD_CREDENTIAL: &str = "Invalid or non-existent authentication information.";

/// Why a request of this protocol failed.
#[derive(Debug)]
pub struct PypiError {
    pub(crate) status: StatusCode,
    text: String,
    /// What the registry said; logged when it is a failure of ours.
    cause: RegistryError,
}

impl PypiError {
    /// A refusal with its own status and words.
    pub fn refused(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, cause: RegistryError::malformed(text.clone()), text }
    }
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, text)
    }
    pub fn not_found() -> Self {
        RegistryError::NotFound.into()
    }

    /// The answer. Clients that ask for JSON get it under exactly the type that uv looks for.
    pub fn into_response(self, wants_json: bool) -> Response {
        respond(self.status, &self.text, wants_json, &self.cause)
    }
}

/// A registry error in this protocol's form.
pub fn render(error: &RegistryError) -> Response {
    let (status, text) = words(error);
    respond(status, &text, false, error)
}

fn respond(status: StatusCode, text: &str, wants_json: bool, cause: &RegistryError) -> Response {
    let said = format!("{} {text}", status.as_u16());
    let mut response = if wants_json {
        let title = status.canonical_reason().unwrap_or("Error");
        let body = json!({ "code": said, "message": text, "title": title }).to_string();
        error_response(status, "application/json", body, cause)
    } else {
        error_response(status, "text/plain; charset=utf-8", said, cause)
    };
    let line: String = text.chars().filter(|c| (' '..='~').contains(c)).take(MAX_REASON).collect();
    response.extensions_mut().insert(Reason(line));
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Authorization, Accept-Encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Publaryn\""));
    }
    response
}

/// Status and text of an error that is not about one project.
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

impl<E: Into<RegistryError>> From<E> for PypiError {
    fn from(error: E) -> Self {
        let cause = error.into();
        let (status, text) = words(&cause);
        Self { status, text, cause }
    }
}

#[cfg(test)]
mod tests {
    use publaryn_core::{Digest, Scope, access::Denial, error::CredentialProblem};

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
            assert_eq!((error.status.as_u16(), error.text.as_str()), (status, text));
        }
    }

    #[test]
    fn the_text_is_on_the_status_line_and_in_either_body() {
        let plain = PypiError::bad_request("first\nsecond é").into_response(false);
        assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(plain.extensions().get::<Reason>().unwrap().0, "firstsecond ");
        let json = PypiError::bad_request("no").into_response(true);
        assert_eq!(json.headers()[header::CONTENT_TYPE], "application/json");
        let asked = PypiError::from(RegistryError::Unauthenticated).into_response(false);
        assert_eq!(asked.headers()[header::WWW_AUTHENTICATE], "Basic realm=\"Publaryn\"");
    }
}
