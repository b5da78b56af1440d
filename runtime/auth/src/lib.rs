//! Proof of identity: passwords, API tokens, sessions and second factors.
//!
//! Everything here is a value or a calculation; no SQL and no HTTP. What may be stored is a hash,
//! what may be logged says `[redacted]`, and time is always an argument.

pub mod account;
pub mod identity_token;
pub mod password;
pub mod presented;
pub mod profile;
pub mod recovery;
pub mod refresh;
pub mod registry_token;
pub mod secret;
pub mod session;
pub mod sigstore;
pub mod throttle;
pub mod token;
pub mod totp;

pub use account::{AccountRules, EmailAddress, NewPassword, RuleBreak, Username};
pub use identity_token::{IdentityToken, IdentityTokenProblem, IssuerKeys, WorkloadClaims};
pub use password::{HashCost, PasswordError, PasswordHasher, Verdict};
pub use presented::{Offered, Presented};
pub use refresh::{RefreshKeys, RefreshToken};
pub use registry_token::{RegistryClaims, RegistryTokenKeys, ResourceAccess, TokenSubject};
pub use secret::Secret;
pub use session::{SessionClaims, SessionKeys, SessionProblem, SigningSecret, WeakSecret};
pub use throttle::{AttemptNote, LoginThrottle, ThrottleLimits, Throttled};
pub use token::{MintedToken, Token, TokenHash};
