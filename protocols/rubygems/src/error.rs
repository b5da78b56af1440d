//! Failures as `gem` and Bundler show them: plain text, which `gem` prints word for word (rubygems.md §6).

use http::StatusCode;
use publaryn_core::{RegistryError, access::Denial, error::CredentialProblem};
use publaryn_protocol::{Dialect, NOSNIFF, Refusal, error_status};

use crate::Rubygems;

pub(crate) const NO_SUCH_GEM: &str = "This rubygem could not be found.";
const BAD_CREDENTIAL: &str = "Access Denied. The API key is missing, unknown or expired.";

/// Why a request of this protocol failed.
pub type GemError = Refusal<Rubygems>;

impl Dialect for Rubygems {
    const HEADERS: &'static [(&'static str, &'static str)] = &[("vary", "Authorization"), NOSNIFF];

    fn words(error: &RegistryError) -> (StatusCode, String) {
        let status = match error {
            RegistryError::NameTaken { .. } => StatusCode::FORBIDDEN,
            other => error_status(other),
        };
        let text = match error {
            // The client asks for a code and sends the request again when a refusal begins like this.
            RegistryError::BadCredential(CredentialProblem::OtpRequired) => {
                "You have enabled multifactor authentication but no OTP code provided. Please fill it and retry.".into()
            }
            RegistryError::Unauthenticated | RegistryError::BadCredential(_) => BAD_CREDENTIAL.into(),
            RegistryError::NotFound => NO_SUCH_GEM.into(),
            RegistryError::VersionNotFound(version) => format!("The version {version} does not exist."),
            RegistryError::VersionExists(version) => format!(
                "Repushing of gem versions is not allowed. {version} was pushed before; please bump the version number and push again."
            ),
            RegistryError::Denied(Denial::InsufficientScope(_) | Denial::TokenNotBound) => {
                "This API key cannot perform the specified action on this gem.".into()
            }
            RegistryError::NameTaken { .. } => "This gem name is too similar to that of an existing gem.".into(),
            RegistryError::Archive { message, .. } => format!("The gem could not be processed: {message}"),
            RegistryError::Internal(_) => "Internal error. It has been logged.".into(),
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
    fn refusals_have_the_words_that_clients_look_for() {
        for (error, status, text) in [
            (RegistryError::Unauthenticated, 401, BAD_CREDENTIAL),
            (
                RegistryError::BadCredential(CredentialProblem::OtpRequired),
                401,
                "You have enabled multifactor authentication",
            ),
            (RegistryError::NotFound, 404, NO_SUCH_GEM),
            (RegistryError::VersionNotFound("9.9".into()), 404, "The version 9.9 does not exist."),
            (RegistryError::VersionExists("1.0".into()), 409, "Repushing of gem versions is not allowed."),
            (RegistryError::Denied(Denial::InsufficientScope(Scope::PackagesPublish)), 403, "This API key cannot"),
            (RegistryError::NameTaken { existing: None }, 403, "This gem name is too similar"),
            (RegistryError::Archive { rule: "ARC-L", message: "no".into() }, 422, "The gem could not be processed: no"),
        ] {
            let error = GemError::from(error);
            assert_eq!(error.status().as_u16(), status, "{}", error.text());
            assert!(error.text().starts_with(text), "{}", error.text());
            // With these words the client asks for a password, which hangs machines.
            assert!(!error.text().starts_with("The API key doesn't have access"));
        }
    }
}
