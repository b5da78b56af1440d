//! Why the registry refused or failed, free of HTTP: adapters decide how it looks on the wire.

use std::time::Duration;

use serde_json::Value;

use crate::{BoxError, Digest, Visibility, access::Denial, ecosystem::Ecosystem, finding::Finding};

/// A word that no value of an enum has.
#[derive(Debug, Clone, thiserror::Error)]
#[error("unknown {what} `{word}`")]
pub struct UnknownWord {
    pub what: &'static str,
    pub word: String,
}

/// Not a digest of the expected shape.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("not a sha256 digest")]
pub struct InvalidDigest;

/// The one error of the application layer.
///
/// What a caller may not see is `NotFound`, never `Denied`.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No credential where one is needed.
    #[error("authentication required")]
    Unauthenticated,
    /// A credential was presented and does not hold.
    #[error("{0}")]
    BadCredential(CredentialProblem),
    #[error("{0}")]
    Denied(Denial),
    #[error("not found")]
    NotFound,
    #[error("version `{0}` not found")]
    VersionNotFound(String),
    #[error("version `{0}` already exists")]
    VersionExists(String),
    /// A file of that name but other content is part of the release.
    #[error("file `{filename}` already exists with other content")]
    FileExists { filename: String, sha256: Digest },
    /// Another package holds the name under its collision key. `existing` only if the caller may see it.
    #[error("the name is too close to an existing package")]
    NameTaken { existing: Option<String> },
    /// The input is well formed but not acceptable.
    #[error("{message}")]
    Invalid { code: &'static str, message: String },
    /// The same about one member of a document.
    #[error("`{member}` {message}")]
    InvalidMember { member: &'static str, code: &'static str, message: String },
    /// Something would be seen by more people than what it lies in.
    #[error("must not be wider than {limit}")]
    VisibilityTooBroad { limit: Visibility },
    /// A conflict that names more than its code (control-plane.md §1.3): members of the problem document.
    #[error("{message}")]
    ConflictWith { code: &'static str, message: String, extras: Vec<(&'static str, Value)> },
    /// The input is not even well formed.
    #[error("{0}")]
    Malformed(String),
    /// An archive or its manifest broke a floor rule of scanning.md §3a–3b.
    #[error("{message}")]
    Archive { rule: &'static str, message: String },
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge { what: &'static str, limit_bytes: u64 },
    #[error("{message}")]
    Conflict { code: &'static str, message: String },
    #[error("release blocked: {}", .0.iter().map(|f| f.title.as_str()).collect::<Vec<_>>().join("; "))]
    Blocked(Vec<Finding>),
    #[error("precondition failed")]
    PreconditionFailed,
    #[error("{0} is not supported by this registry")]
    Unsupported(String),
    #[error("registry is busy, retry in {retry_after:?}")]
    Overloaded { retry_after: Duration },
    /// One client asks more often than it may (control-plane.md §1.6).
    #[error("too many requests, try again in {} s", seconds_up(*.retry_after))]
    RateLimited { retry_after: Duration },
    #[error("{what} is unavailable")]
    Unavailable {
        what: &'static str,
        #[source]
        source: BoxError,
    },
    #[error("internal error")]
    Internal(#[source] BoxError),
}

/// What is wrong with a presented credential (control-plane.md §1.3, 401 codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialProblem {
    #[error("the credential is not valid")]
    Invalid,
    #[error("the token has expired")]
    Expired,
    #[error("the token has been revoked")]
    Revoked,
    #[error("the session has ended")]
    SessionRevoked,
    #[error("the account is disabled")]
    AccountDisabled,
    #[error("user name or password is wrong")]
    WrongPassword,
    #[error("a one-time pass is required")]
    OtpRequired,
    #[error("the code is not valid")]
    WrongCode,
    #[error("this login has expired; sign in again")]
    ChallengeExpired,
    #[error("too many wrong codes; sign in again")]
    ChallengeExhausted,
    #[error("the refresh token is not valid")]
    RefreshInvalid,
    #[error("the refresh token was used before; the session has ended")]
    RefreshReused,
}

impl CredentialProblem {
    /// The stable problem code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "unauthenticated",
            Self::Expired => "token_expired",
            Self::Revoked => "token_revoked",
            Self::SessionRevoked => "session_revoked",
            Self::AccountDisabled => "account_disabled",
            Self::WrongPassword => "invalid_credentials",
            Self::OtpRequired | Self::WrongCode => "mfa_code_invalid",
            Self::ChallengeExpired => "mfa_challenge_expired",
            Self::ChallengeExhausted => "mfa_challenge_exhausted",
            Self::RefreshInvalid => "refresh_token_invalid",
            Self::RefreshReused => "refresh_token_reused",
        }
    }
}

/// The class of an error; each surface maps it to its own status code once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    Malformed,
    Invalid,
    TooLarge,
    PreconditionFailed,
    RateLimited,
    Unavailable,
    Internal,
}

impl RegistryError {
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { code, message: message.into() }
    }
    pub fn invalid_member(member: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self::InvalidMember { member, code, message: message.into() }
    }
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed(message.into())
    }
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }
    pub fn conflict_with(
        code: &'static str,
        message: impl Into<String>,
        extras: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        Self::ConflictWith { code, message: message.into(), extras: extras.into_iter().collect() }
    }
    pub fn already_exists(field: &'static str) -> Self {
        Self::conflict_with("already_exists", format!("that {field} is taken"), [("field", Value::from(field))])
    }
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal(source.into())
    }
    pub fn unavailable(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { what, source: source.into() }
    }

    pub const fn class(&self) -> StatusClass {
        match self {
            Self::Unauthenticated | Self::BadCredential(_) => StatusClass::Unauthenticated,
            Self::Denied(_) | Self::Blocked(_) | Self::NameTaken { existing: None } => StatusClass::Forbidden,
            Self::NotFound | Self::VersionNotFound(_) => StatusClass::NotFound,
            Self::VersionExists(_) | Self::FileExists { .. } | Self::Conflict { .. } | Self::ConflictWith { .. } => {
                StatusClass::Conflict
            }
            Self::Malformed(_) | Self::Unsupported(_) => StatusClass::Malformed,
            Self::Invalid { .. }
            | Self::InvalidMember { .. }
            | Self::VisibilityTooBroad { .. }
            | Self::Archive { .. }
            | Self::NameTaken { .. } => StatusClass::Invalid,
            Self::TooLarge { .. } => StatusClass::TooLarge,
            Self::PreconditionFailed => StatusClass::PreconditionFailed,
            Self::RateLimited { .. } => StatusClass::RateLimited,
            Self::Overloaded { .. } | Self::Unavailable { .. } => StatusClass::Unavailable,
            Self::Internal(_) => StatusClass::Internal,
        }
    }

    /// Seconds a client should wait before it tries again, for 429 and the 503 family.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after } => Some(seconds_up(*retry_after)),
            Self::Overloaded { retry_after } => Some(retry_after.as_secs().max(1)),
            Self::Unavailable { .. } => Some(2),
            _ => None,
        }
    }

    /// A service that the registry stands on is away; the same request may work later.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// The answer is a decision: the transaction it ends was certainly not committed. Of the others one
    /// cannot say, or trying again may help.
    pub const fn is_final(&self) -> bool {
        !matches!(self.class(), StatusClass::Unavailable | StatusClass::Internal)
    }

    /// Logs the cause chain of a failure once, where it is answered.
    pub fn cause_chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

/// Whole seconds, rounded up so that a client that obeys is not early.
fn seconds_up(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

/// An ecosystem that this build has no adapter for.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no adapter for {0}")]
pub struct NoAdapter(pub Ecosystem);
