//! Failures as Composer shows them: the reason on the status line, and `warning` of a JSON body, which it prints as
//! `Warning from HOST: …` (composer.md §0).

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use publaryn_core::RegistryError;
use publaryn_protocol::{Reason, error_status, json_error};
use serde_json::json;

use crate::archive::AMBIGUOUS_RULE;

/// Longest text put on the status line, in bytes.
const MAX_REASON: usize = 200;

/// Why a request of this protocol failed.
#[derive(Debug)]
pub struct ComposerError {
    status: StatusCode,
    text: String,
    /// What the registry said; logged when it is a failure of ours.
    cause: RegistryError,
}

impl ComposerError {
    /// A refusal with its own status and words.
    pub fn refused(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, cause: RegistryError::malformed(text.clone()), text }
    }
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, text)
    }
    pub fn into_response(self) -> Response {
        respond(self.status, &self.text, &self.cause)
    }
}

impl<E: Into<RegistryError>> From<E> for ComposerError {
    fn from(error: E) -> Self {
        let cause = error.into();
        let (status, text) = words(&cause);
        Self { status, text, cause }
    }
}

/// A registry error in this protocol's form.
pub fn render(error: &RegistryError) -> Response {
    let (status, text) = words(error);
    respond(status, &text, error)
}

fn respond(status: StatusCode, text: &str, cause: &RegistryError) -> Response {
    let body = json!({ "warning": text, "status": "error", "message": text });
    let mut response = json_error(status, &body, cause);
    let line = text.chars().filter(|c| (' '..='~').contains(c)).take(MAX_REASON).collect();
    response.extensions_mut().insert(Reason(line));
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Publaryn\""));
    }
    response
}

fn words(error: &RegistryError) -> (StatusCode, String) {
    let status = match error {
        RegistryError::Archive { rule: AMBIGUOUS_RULE, .. } => StatusCode::BAD_REQUEST,
        RegistryError::Invalid { code: "reserved_name", .. } => StatusCode::FORBIDDEN,
        RegistryError::Conflict { code: "package_archived" | "state_conflict", .. } => StatusCode::FORBIDDEN,
        other => error_status(other),
    };
    let text = match error {
        RegistryError::Unauthenticated => {
            "a token is needed here: composer config http-basic.HOST token pub_...".into()
        }
        RegistryError::BadCredential(_) => "the token is invalid, expired or revoked".into(),
        RegistryError::NotFound => "not found here, or not for you".into(),
        RegistryError::Internal(_) => "internal error, it has been logged".into(),
        other => other.to_string(),
    };
    (status, text)
}

#[cfg(test)]
mod tests {
    use publaryn_core::{access::Denial, error::CredentialProblem};

    use super::*;

    #[test]
    fn refusals_have_their_status_and_their_text_in_all_places() {
        let claimed =
            Denial::Rule { code: "namespace_claimed", message: "vendor acme belongs to another owner".into() };
        for (error, status, text) in [
            (RegistryError::Unauthenticated, 401, "a token is needed here"),
            (RegistryError::BadCredential(CredentialProblem::Expired), 401, "invalid, expired or revoked"),
            (RegistryError::Denied(claimed), 403, "vendor acme belongs to another owner"),
            (RegistryError::NotFound, 404, "not found"),
            (RegistryError::Archive { rule: "ARC-Z1", message: "no zip".into() }, 422, "no zip"),
            (RegistryError::Archive { rule: AMBIGUOUS_RULE, message: "two".into() }, 400, "two"),
            (RegistryError::TooLarge { what: "composer_zip", limit_bytes: 5 }, 413, "larger than 5 bytes"),
            (RegistryError::internal("secret"), 500, "internal error"),
        ] {
            let response = render(&error);
            assert_eq!(response.status().as_u16(), status);
            assert!(response.extensions().get::<Reason>().unwrap().0.contains(text));
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), status == 401);
        }
    }
}
