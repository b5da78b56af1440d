//! Failures as Maven's family shows them: by the status line alone, or, in newer versions, by a problem document.
//!
//! Source of the latter: RFC 9457, which maven-resolver reads since 2.0.

use http::StatusCode;
use publaryn_core::{RegistryError, access::Denial};
use publaryn_protocol::{Dialect, NOSNIFF, Refusal, error_status};
use serde_json::json;

use crate::Maven;

/// Why a request of this protocol failed.
pub type MavenError = Refusal<Maven>;

/// A refusal to publish, in words about that version: `gav` is `com.acme:widget:1.0.0`.
pub fn of_upload(error: RegistryError, group: &str, gav: &str) -> MavenError {
    let (status, text) = match &error {
        RegistryError::Denied(Denial::InsufficientPermission(_) | Denial::NamespaceClaimed(_)) => {
            (StatusCode::FORBIDDEN, format!("not allowed to publish to group {group}"))
        }
        RegistryError::VersionExists(found) if !gav.ends_with(&format!(":{found}")) => {
            (StatusCode::CONFLICT, format!("{gav} differs from version {found} only in case"))
        }
        RegistryError::VersionExists(_) => (StatusCode::CONFLICT, format!("{gav} is already published")),
        RegistryError::FileExists { filename, .. } => {
            (StatusCode::CONFLICT, format!("{filename} of {gav} was uploaded before with other content"))
        }
        RegistryError::NameTaken { existing: Some(existing) } => {
            (StatusCode::CONFLICT, format!("{gav} is too similar to {existing}, or differs from it only in case"))
        }
        RegistryError::NameTaken { existing: None } => {
            (StatusCode::CONFLICT, format!("{gav} is too similar to an existing package"))
        }
        RegistryError::Conflict { code: "release_blocked" | "filename_spent", .. } => {
            (StatusCode::FORBIDDEN, format!("{gav} was blocked by a scan; publish another version"))
        }
        _ => return error.into(),
    };
    Refusal::of(error, status, text)
}

impl Dialect for Maven {
    const HEADERS: &'static [(&'static str, &'static str)] = &[("vary", "Authorization"), NOSNIFF];
    const MAX_REASON: usize = 300;

    fn words(error: &RegistryError) -> (StatusCode, String) {
        let status = match error {
            RegistryError::Invalid { .. } | RegistryError::Archive { .. } => StatusCode::BAD_REQUEST,
            RegistryError::NameTaken { .. } => StatusCode::CONFLICT,
            RegistryError::Conflict { code: "package_archived" | "state_conflict", .. } => StatusCode::FORBIDDEN,
            other => error_status(other),
        };
        let text = match error {
            RegistryError::Unauthenticated | RegistryError::BadCredential(_) => {
                "API token missing, unknown or expired".to_owned()
            }
            RegistryError::NotFound => "Not Found".to_owned(),
            RegistryError::Internal(_) => "internal error; it has been logged".to_owned(),
            other => other.to_string(),
        };
        (status, text)
    }

    fn body(status: StatusCode, text: &str) -> (&'static str, String) {
        // The resolver of Maven 4.0.0-rc-4 (2.0.9) takes a problem for a failure even when it only says that something
        // is not there, and gives up where it should go on.
        if status == StatusCode::NOT_FOUND {
            return ("text/plain; charset=utf-8", format!("{text}\n"));
        }
        let title = status.canonical_reason().unwrap_or("Error");
        let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": text });
        ("application/problem+json", problem.to_string())
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::header;
    use publaryn_core::{Digest, Scope, access::Permission, error::CredentialProblem};
    use publaryn_protocol::Reason;

    use super::*;

    const GAV: &str = "com.acme:widget:1.0-rc1";

    #[test]
    fn refusals_have_the_words_that_users_read() {
        let of = |error| of_upload(error, "com.acme", GAV);
        for (error, status, text) in [
            (RegistryError::Unauthenticated, 401, "API token missing, unknown or expired"),
            (RegistryError::BadCredential(CredentialProblem::Expired), 401, "API token missing, unknown or expired"),
            (RegistryError::NotFound, 404, "Not Found"),
            (
                RegistryError::Denied(Denial::NamespaceClaimed("com.acme".into())),
                403,
                "not allowed to publish to group com.acme",
            ),
            (
                RegistryError::Denied(Denial::InsufficientPermission(Permission::Publish)),
                403,
                "not allowed to publish to group com.acme",
            ),
            (
                RegistryError::Denied(Denial::InsufficientScope(Scope::PackagesPublish)),
                403,
                "this credential lacks the scope `packages:publish`",
            ),
            (RegistryError::VersionExists("1.0-rc1".into()), 409, "com.acme:widget:1.0-rc1 is already published"),
            (
                RegistryError::VersionExists("1.0-RC1".into()),
                409,
                "com.acme:widget:1.0-rc1 differs from version 1.0-RC1 only in case",
            ),
            (
                RegistryError::FileExists { filename: "w.jar".into(), sha256: Digest::from_bytes([1; 32]) },
                409,
                "w.jar of com.acme:widget:1.0-rc1 was uploaded before with other content",
            ),
            (
                RegistryError::conflict("release_blocked", "x"),
                403,
                "com.acme:widget:1.0-rc1 was blocked by a scan; publish another version",
            ),
            (RegistryError::conflict("too_many_files", "too many"), 409, "too many"),
            (RegistryError::Archive { rule: "ARC-L", message: "no".into() }, 400, "no"),
            (RegistryError::internal("secret"), 500, "internal error; it has been logged"),
        ] {
            let error = of(error);
            assert_eq!((error.status().as_u16(), error.text()), (status, text));
        }
    }

    #[test]
    fn the_text_is_on_the_status_line_of_a_problem() {
        let response = MavenError::bad_request("first\nsecond é").into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.extensions().get::<Reason>().unwrap().0, "firstsecond ");
        let missing = MavenError::not_found().into_response();
        assert_eq!(missing.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    }
}
