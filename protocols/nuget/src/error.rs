//! Failures as NuGet's clients show them: the reason phrase, and nothing else (nuget.md §0). The body repeats it.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use publaryn_core::{RegistryError, access::Denial};
use publaryn_protocol::{Reason, error_response, error_status};

const BAD_CREDENTIAL: &str = "API key is missing, unknown or expired";

/// Longest reason phrase, in bytes (nuget.md §0).
const MAX_REASON: usize = 200;

/// Why a request of this protocol failed.
#[derive(Debug)]
pub struct NugetError {
    pub(crate) status: StatusCode,
    text: String,
    /// What the registry said; logged when it is a failure of ours.
    cause: RegistryError,
}

impl NugetError {
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
    /// The same failure in other words.
    pub fn saying(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }
    /// What an upload or a change of one package was refused for, with its id and version in the words.
    pub fn about(error: RegistryError, id: &str, version: &str) -> Self {
        let text = match &error {
            RegistryError::VersionExists(_) => format!("{id} {version} already exists"),
            RegistryError::VersionNotFound(_) => format!("{id} {version} does not exist"),
            RegistryError::Denied(Denial::InsufficientPermission(_)) | RegistryError::NotFound => {
                format!("You may not publish {id}")
            }
            _ => return error.into(),
        };
        Self::from(error).saying(text)
    }
    pub fn into_response(self) -> Response {
        respond(self.status, &self.text, &self.cause)
    }
}

/// A registry error in this protocol's form.
pub fn render(error: &RegistryError) -> Response {
    let (status, text) = words(error);
    respond(status, &text, error)
}

fn respond(status: StatusCode, text: &str, cause: &RegistryError) -> Response {
    let mut response = error_response(status, "text/plain; charset=utf-8", format!("{text}\n"), cause);
    response.extensions_mut().insert(reason(text));
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Authorization, X-NuGet-ApiKey"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Publaryn\""));
    }
    response
}

/// A text as the status line can carry it.
pub fn reason(text: &str) -> Reason {
    Reason(text.chars().filter(|c| (' '..='~').contains(c)).take(MAX_REASON).collect())
}

fn words(error: &RegistryError) -> (StatusCode, String) {
    let status = match error {
        // Clients take any 409 for a version that exists, and go on (nuget.md §4).
        RegistryError::NameTaken { .. } | RegistryError::Conflict { .. } | RegistryError::ConflictWith { .. } => {
            StatusCode::FORBIDDEN
        }
        RegistryError::Invalid { .. } | RegistryError::InvalidMember { .. } | RegistryError::Archive { .. } => {
            StatusCode::BAD_REQUEST
        }
        other => error_status(other),
    };
    let text = match error {
        RegistryError::Unauthenticated | RegistryError::BadCredential(_) => BAD_CREDENTIAL.into(),
        RegistryError::NotFound => "Not found".into(),
        RegistryError::Denied(Denial::InsufficientScope(scope)) => format!("The API key lacks the scope {scope}"),
        RegistryError::NameTaken { .. } => "The id is too close to that of another package".into(),
        RegistryError::TooLarge { limit_bytes, .. } => format!("Package exceeds {} MB", limit_bytes >> 20),
        RegistryError::Archive { message, .. } => format!("Package is not a valid nupkg: {message}"),
        RegistryError::Internal(_) => "Internal error. It has been logged".into(),
        other => other.to_string(),
    };
    (status, text)
}

impl<E: Into<RegistryError>> From<E> for NugetError {
    fn from(error: E) -> Self {
        let cause = error.into();
        let (status, text) = words(&cause);
        Self { status, text, cause }
    }
}

#[cfg(test)]
mod tests {
    use publaryn_core::Scope;

    use super::*;

    #[test]
    fn only_versions_that_exist_are_conflicts() {
        let conflict = || RegistryError::conflict("package_archived", "the package is archived");
        for (error, status, text) in [
            (RegistryError::Unauthenticated, 401, BAD_CREDENTIAL),
            (RegistryError::VersionExists("1.0.0".into()), 409, "Acme 1.0.0 already exists"),
            (RegistryError::NotFound, 404, "You may not publish Acme"),
            (conflict(), 403, "the package is archived"),
            (RegistryError::NameTaken { existing: None }, 403, "The id is too close"),
            (RegistryError::Denied(Denial::InsufficientScope(Scope::PackagesPublish)), 403, "The API key lacks"),
            (RegistryError::Archive { rule: "ARC-L", message: "no".into() }, 400, "Package is not a valid nupkg: no"),
            (RegistryError::TooLarge { what: "nupkg", limit_bytes: 250 << 20 }, 413, "Package exceeds 250 MB"),
        ] {
            let error = NugetError::about(error, "Acme", "1.0.0");
            assert_eq!(error.status.as_u16(), status, "{}", error.text);
            assert!(error.text.starts_with(text), "{}", error.text);
        }
    }

    #[test]
    fn reasons_are_one_line_of_ascii() {
        assert_eq!(reason("a\r\nX: ü b").0, "aX:  b");
        assert_eq!(reason(&"a".repeat(300)).0.len(), MAX_REASON);
    }
}
