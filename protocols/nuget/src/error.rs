//! Failures as NuGet's clients show them: the reason phrase, and nothing else (nuget.md §0). The body repeats it.

use http::StatusCode;
use publaryn_core::{RegistryError, access::Denial};
use publaryn_protocol::{Dialect, NOSNIFF, Refusal, error_status};

use crate::Nuget;

const BAD_CREDENTIAL: &str = "API key is missing, unknown or expired";

/// Why a request of this protocol failed.
pub type NugetError = Refusal<Nuget>;

/// What an upload or a change of one package was refused for, with its id and version in the words.
pub fn about(error: RegistryError, id: &str, version: &str) -> NugetError {
    let text = match &error {
        RegistryError::VersionExists(_) => format!("{id} {version} already exists"),
        RegistryError::VersionNotFound(_) => format!("{id} {version} does not exist"),
        RegistryError::Denied(Denial::InsufficientPermission(_)) | RegistryError::NotFound => {
            format!("You may not publish {id}")
        }
        _ => return error.into(),
    };
    NugetError::from(error).saying(text)
}

impl Dialect for Nuget {
    const HEADERS: &'static [(&'static str, &'static str)] = &[("vary", "Authorization, X-NuGet-ApiKey"), NOSNIFF];

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

    fn body(_: StatusCode, text: &str) -> (&'static str, String) {
        ("text/plain; charset=utf-8", format!("{text}\n"))
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
            let error = about(error, "Acme", "1.0.0");
            assert_eq!(error.status().as_u16(), status, "{}", error.text());
            assert!(error.text().starts_with(text), "{}", error.text());
        }
    }
}
