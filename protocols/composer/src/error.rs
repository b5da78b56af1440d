//! Failures as Composer shows them: the reason on the status line, and `warning` of a JSON body, which it prints as
//! `Warning from HOST: …` (composer.md §0).

use http::StatusCode;
use publaryn_core::RegistryError;
use publaryn_protocol::{Dialect, NOSNIFF, Refusal, error_status};
use serde_json::json;

use crate::{Composer, archive::AMBIGUOUS_RULE};

/// Why a request of this protocol failed.
pub type ComposerError = Refusal<Composer>;

impl Dialect for Composer {
    const HEADERS: &'static [(&'static str, &'static str)] = &[("vary", "Authorization"), NOSNIFF];

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

    fn body(_: StatusCode, text: &str) -> (&'static str, String) {
        ("application/json", json!({ "warning": text, "status": "error", "message": text }).to_string())
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use publaryn_core::{access::Denial, error::CredentialProblem};
    use publaryn_protocol::{Reason, render};

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
            let response = render::<Composer>(&error);
            assert_eq!(response.status().as_u16(), status);
            assert!(response.extensions().get::<Reason>().unwrap().0.contains(text));
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), status == 401);
        }
    }
}
