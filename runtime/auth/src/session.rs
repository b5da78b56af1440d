//! Session access tokens: JSON web tokens signed with HS256 (RFC 7519).
//!
//! A token says who and which session; what it may do is read from the account on every request,
//! so a revoked session or a lost right takes effect at once.

use std::{fmt, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use publaryn_core::{SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::secret::{Secret, mac, random_bytes};

/// Shortest signing secret, in bytes: the output of the hash (RFC 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;
/// How far the clocks of replicas may differ.
const LEEWAY: Duration = Duration::from_secs(5);
/// Keeps tokens of other purposes, signed with the same key, from passing for sessions.
const AUDIENCE: &str = "publaryn:session";

/// Values seen in documentation, which must never sign anything.
const WELL_KNOWN: &[&str] =
    &["changeme", "change-me", "change_me", "secret", "example", "password", "insecure", "your-"];

/// A key for HMAC, at least 32 bytes.
#[derive(Clone)]
pub struct SigningSecret(Vec<u8>);

/// The signing secret is too easy to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    #[error("must be at least {MIN_SECRET_BYTES} bytes")]
    TooShort,
    #[error("is a well-known example value")]
    WellKnown,
    #[error("repeats itself")]
    Repetitive,
}

impl SigningSecret {
    /// Draws a new one.
    pub fn generate() -> Self {
        Self(random_bytes::<64>().to_vec())
    }
    /// # Errors
    /// When it is short, a known example, or of fewer than four different bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeakSecret> {
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(WeakSecret::TooShort);
        }
        let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        if WELL_KNOWN.iter().any(|known| text.starts_with(known)) {
            return Err(WeakSecret::WellKnown);
        }
        let mut seen = bytes.to_vec();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() < 4 {
            return Err(WeakSecret::Repetitive);
        }
        Ok(Self(bytes.to_vec()))
    }
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// An independent key for one purpose (HKDF-like, one block).
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        mac(&self.0, &[b"publaryn derived key v1", purpose.as_bytes()])
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a session token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionClaims {
    pub user: UserId,
    pub session: SessionId,
    /// Whole seconds.
    pub issued_at: Timestamp,
    /// Whole seconds.
    pub expires_at: Timestamp,
}

/// Why a session token does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionProblem {
    #[error("the session token is not valid")]
    Invalid,
    #[error("the session token has expired")]
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    iss: String,
    aud: String,
    sub: UserId,
    sid: SessionId,
    iat: i64,
    exp: i64,
}

/// Signs session tokens with the current key and verifies those of the current and previous one.
#[derive(Clone)]
pub struct SessionKeys {
    issuer: String,
    signing: EncodingKey,
    /// Current first.
    verifying: Vec<DecodingKey>,
    validation: Validation,
}

impl SessionKeys {
    /// `issuer` is `auth.issuer`; tokens of another issuer are refused.
    pub fn new(issuer: impl Into<String>, current: &SigningSecret, previous: Option<&SigningSecret>) -> Self {
        let issuer = issuer.into();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Expiry is judged below, by the clock of the caller.
        validation.validate_exp = false;
        validation.leeway = 0;
        Self {
            issuer,
            signing: EncodingKey::from_secret(current.as_bytes()),
            verifying: std::iter::once(current)
                .chain(previous)
                .map(|s| DecodingKey::from_secret(s.as_bytes()))
                .collect(),
            validation,
        }
    }

    /// Signs a token that lives `ttl` from `now`; the same input gives the same token.
    pub fn sign(&self, user: UserId, session: SessionId, now: Timestamp, ttl: Duration) -> Secret {
        let iat = now.as_micros().div_euclid(1_000_000);
        let wire = Wire {
            iss: self.issuer.clone(),
            aud: AUDIENCE.into(),
            sub: user,
            sid: session,
            iat,
            exp: iat.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
        };
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &wire, &self.signing);
        Secret::new(signed.expect("HMAC signs any claims that are JSON"))
    }

    /// Checks signature, issuer, audience and expiry of a token.
    ///
    /// # Errors
    /// `Expired` only for tokens that are otherwise good.
    pub fn verify(&self, token: &Secret, now: Timestamp) -> Result<SessionClaims, SessionProblem> {
        let wire = self.decode(token.expose()).ok_or(SessionProblem::Invalid)?;
        let claims = SessionClaims {
            user: wire.sub,
            session: wire.sid,
            issued_at: seconds(wire.iat),
            expires_at: seconds(wire.exp),
        };
        if claims.issued_at > now + LEEWAY {
            return Err(SessionProblem::Invalid);
        }
        if now >= claims.expires_at + LEEWAY {
            return Err(SessionProblem::Expired);
        }
        Ok(claims)
    }

    fn decode(&self, token: &str) -> Option<Wire> {
        for key in &self.verifying {
            match jsonwebtoken::decode::<Wire>(token, key, &self.validation) {
                Ok(data) => return Some(data.claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(_) => return None,
            }
        }
        None
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_refused() {
        assert_eq!(SigningSecret::from_bytes(&[7; 31]).unwrap_err(), WeakSecret::TooShort);
        assert_eq!(SigningSecret::from_bytes(&[b'a'; 64]).unwrap_err(), WeakSecret::Repetitive);
        let example = b"changeme-changeme-changeme-changeme";
        assert_eq!(SigningSecret::from_bytes(example).unwrap_err(), WeakSecret::WellKnown);
        assert!(SigningSecret::from_bytes(b"0123456789abcdef0123456789abcdef").is_ok());
        assert_eq!(format!("{:?}", SigningSecret::generate()), "[redacted]");
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        let secret = SigningSecret::generate();
        assert_eq!(secret.derive("a"), secret.derive("a"));
        assert_ne!(secret.derive("a"), secret.derive("b"));
    }
}
