//! Why an account, a login or a token could not be had, with the data a problem document shows.

use std::time::Duration;

use publaryn_auth::{PasswordError, RuleBreak, Throttled};
use publaryn_core::{RegistryError, ScopeSet, access::Denial, error::CredentialProblem};
use publaryn_metadata::DbError;

/// A [`RegistryError`], or what only the identity layer can say in more detail.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Another account holds it.
    #[error("this {field} is already taken")]
    AlreadyExists { field: &'static str },
    /// Too many failed logins.
    #[error("too many failed attempts, try again later")]
    Throttled { retry_after: Duration },
    /// The credential or its kind may not carry these.
    #[error("these scopes may not be granted here: {}; {why}", .scopes.words().join(", "))]
    NotGrantable { scopes: ScopeSet, why: &'static str },
    /// Every rule the input breaks.
    #[error("{}", summary(.0))]
    Invalid(Vec<RuleBreak>),
}

fn summary(problems: &[RuleBreak]) -> String {
    problems.iter().map(|p| format!("{}: {}", p.field, p.message)).collect::<Vec<_>>().join("; ")
}

impl From<DbError> for IdentityError {
    fn from(error: DbError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<Denial> for IdentityError {
    fn from(denial: Denial) -> Self {
        Self::Registry(RegistryError::Denied(denial))
    }
}

impl From<CredentialProblem> for IdentityError {
    fn from(problem: CredentialProblem) -> Self {
        Self::Registry(RegistryError::BadCredential(problem))
    }
}

impl From<RuleBreak> for IdentityError {
    fn from(problem: RuleBreak) -> Self {
        Self::Invalid(vec![problem])
    }
}

impl From<Throttled> for IdentityError {
    fn from(throttled: Throttled) -> Self {
        Self::Throttled { retry_after: throttled.retry_after }
    }
}

impl From<PasswordError> for IdentityError {
    fn from(error: PasswordError) -> Self {
        Self::Registry(match error {
            PasswordError::Busy => RegistryError::Overloaded { retry_after: Duration::from_secs(1) },
            other => RegistryError::internal(other),
        })
    }
}

/// For surfaces without words for the details.
impl From<IdentityError> for RegistryError {
    fn from(error: IdentityError) -> Self {
        let message = error.to_string();
        match error {
            IdentityError::Registry(error) => error,
            IdentityError::AlreadyExists { .. } => Self::conflict("already_exists", message),
            IdentityError::Throttled { retry_after } => Self::RateLimited { retry_after },
            IdentityError::NotGrantable { .. } => Self::Denied(Denial::ScopeNotGrantable),
            IdentityError::Invalid(problems) => {
                Self::invalid(problems.first().map_or("validation_failed", |p| p.code), message)
            }
        }
    }
}
