//! Failures in npm's words: a status and `{"error": …}`, which the clients print.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, StatusCode};
use publaryn_core::{RegistryError, error::CredentialProblem};
use publaryn_protocol::{Dialect, Refusal, error_status};
use publaryn_registry::identity::IdentityError;
use serde_json::json;

use crate::Npm;

/// Printed by the npm client as a notice, on any response.
pub(crate) const NPM_NOTICE: HeaderName = HeaderName::from_static("npm-notice");

/// Why a request of this protocol failed.
pub type NpmError = Refusal<Npm>;

/// The answer. `is_write`: anonymous writes are told to log in rather than that they lack something.
pub fn answer(error: NpmError, is_write: bool) -> Response {
    worded(error, is_write).into_response()
}

fn worded(error: NpmError, is_write: bool) -> NpmError {
    match error.cause() {
        RegistryError::Unauthenticated if is_write => error.saying("You must be logged in to publish packages."),
        _ => error,
    }
}

/// One error in this protocol's form.
pub fn render(error: &RegistryError, is_write: bool) -> Response {
    match error {
        RegistryError::Unauthenticated => answer(RegistryError::Unauthenticated.into(), is_write),
        other => publaryn_protocol::render::<Npm>(other),
    }
}

/// Keeps what only the identity layer knows.
pub(crate) fn identity_error(error: IdentityError) -> NpmError {
    match error {
        IdentityError::Invalid(_) => NpmError::bad_request(error.to_string()),
        other => other.into(),
    }
}

impl Dialect for Npm {
    const HEADERS: &'static [(&'static str, &'static str)] = &[];

    fn words(error: &RegistryError) -> (StatusCode, String) {
        let status = error_status(error);
        match error {
            RegistryError::Unauthenticated => (status, "You must be logged in. Run npm login.".into()),
            RegistryError::BadCredential(CredentialProblem::WrongPassword) => {
                (status, "Incorrect username or password.".into())
            }
            RegistryError::BadCredential(CredentialProblem::OtpRequired) => {
                (status, "You must provide a one-time pass to continue.".into())
            }
            RegistryError::BadCredential(CredentialProblem::AccountDisabled) => {
                (status, "This account is disabled.".into())
            }
            RegistryError::BadCredential(_) => (status, "Access token is invalid or expired. Run npm login.".into()),
            RegistryError::NotFound => (status, "Not found".into()),
            RegistryError::VersionNotFound(spec) => (status, format!("version not found: {spec}")),
            RegistryError::VersionExists(version) => {
                (status, format!("You cannot publish over the previously published versions: {version}."))
            }
            RegistryError::NameTaken { existing: Some(existing) } => {
                (StatusCode::FORBIDDEN, format!("Package name too similar to existing package {existing}."))
            }
            RegistryError::NameTaken { existing: None } => {
                (StatusCode::FORBIDDEN, "Package name too similar to an existing package.".into())
            }
            RegistryError::Invalid { code, message } => (status_of_code(code), message.clone()),
            RegistryError::Internal(_) => (status, "Internal error. It has been logged.".into()),
            other => (status, other.to_string()),
        }
    }

    fn body(_: StatusCode, text: &str) -> (&'static str, String) {
        // `message` is what yarn reads first, `error` what npm does.
        ("application/json", json!({ "error": text, "message": text, "success": false }).to_string())
    }

    /// The only challenge there may be: with any other, npm discards the message.
    fn challenge(_: StatusCode, cause: &RegistryError) -> Option<&'static str> {
        matches!(cause, RegistryError::BadCredential(CredentialProblem::OtpRequired)).then_some("OTP")
    }
}

fn status_of_code(code: &str) -> StatusCode {
    match code {
        "unknown_user" => StatusCode::NOT_FOUND,
        "reserved_name"
        | "visibility_too_broad"
        | "name_too_similar"
        | "namespace_claimed"
        | "namespace_claim_required" => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use publaryn_core::{Scope, access::Denial};

    use super::*;

    #[test]
    fn every_refusal_has_the_status_and_words_clients_know() {
        for (error, is_write, status, text) in [
            (RegistryError::Unauthenticated, true, 401, "You must be logged in to publish packages."),
            (
                RegistryError::BadCredential(CredentialProblem::Revoked),
                true,
                401,
                "Access token is invalid or expired. Run npm login.",
            ),
            (RegistryError::NotFound, false, 404, "Not found"),
            (
                RegistryError::VersionExists("1.0.0".into()),
                true,
                409,
                "You cannot publish over the previously published versions: 1.0.0.",
            ),
            (
                RegistryError::Denied(Denial::InsufficientScope(Scope::PackagesPublish)),
                true,
                403,
                "this credential lacks the scope `packages:publish`",
            ),
            (
                RegistryError::NameTaken { existing: None },
                true,
                403,
                "Package name too similar to an existing package.",
            ),
            (RegistryError::Archive { rule: "ARC-L", message: "m".into() }, true, 422, "m"),
            (RegistryError::TooLarge { what: "tarball", limit_bytes: 5 }, true, 413, "tarball is larger than 5 bytes"),
            (RegistryError::malformed("m"), true, 400, "m"),
            (RegistryError::internal("secret detail"), true, 500, "Internal error. It has been logged."),
        ] {
            let error = worded(error.into(), is_write);
            assert_eq!((error.status().as_u16(), error.text()), (status, text));
        }
    }

    #[test]
    fn only_a_missing_one_time_pass_is_challenged() {
        let otp = render(&RegistryError::BadCredential(CredentialProblem::OtpRequired), true);
        assert_eq!(otp.headers()[header::WWW_AUTHENTICATE], "OTP");
        for error in [RegistryError::Unauthenticated, RegistryError::BadCredential(CredentialProblem::Invalid)] {
            assert!(render(&error, true).headers().get(header::WWW_AUTHENTICATE).is_none());
        }
    }
}
