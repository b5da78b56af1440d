//! Registry tokens of the OCI token flow: short-lived proof of who asked for what.
//!
//! A token names the account or credential it was given for and the access that was granted then. It
//! carries no rights: those are asked again at each use, so a revoked parent or a lost right counts at once.
//! Source: <https://distribution.github.io/distribution/spec/auth/jwt/>

use std::{fmt, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use publaryn_core::{SessionId, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    secret::{Secret, mac},
    session::SigningSecret,
};

/// How far the clocks of replicas may differ.
const LEEWAY: Duration = Duration::from_secs(5);
/// Derives a key of its own from the session secret, so that neither kind of token passes for the other.
const PURPOSE: &str = "oci registry token";
/// The service that tokens are for; what clients repeat as `service=`.
pub const SERVICE: &str = "publaryn";

/// Whom a token was given to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSubject {
    Anonymous,
    Token(TokenId),
    Session(SessionId),
    /// Somebody who proved a password; `stamp` changes with it.
    Password {
        user: UserId,
        stamp: String,
    },
}

/// Access to one resource, in the words of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceAccess {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub actions: Vec<String>,
}

impl ResourceAccess {
    /// Reads `type:name:action,action`; the name is what lies between the first and the last colon.
    pub fn parse(scope: &str) -> Option<Self> {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let actions: Vec<String> =
            actions.split(',').map(str::trim).filter(|action| !action.is_empty()).map(str::to_owned).collect();
        (!kind.is_empty() && !name.is_empty()).then(|| Self { kind: kind.to_owned(), name: name.to_owned(), actions })
    }
    pub fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|held| held == action)
    }
}

impl fmt::Display for ResourceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.actions.join(","))
    }
}

/// What an authentic token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryClaims {
    pub subject: TokenSubject,
    pub access: Vec<ResourceAccess>,
    /// It has ended, but was genuine: an upload begun with it may still be finished.
    pub is_expired: bool,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    iss: String,
    aud: String,
    /// For people and for clients that want one; `who` is what counts.
    sub: String,
    who: TokenSubject,
    access: Vec<ResourceAccess>,
    iat: i64,
    exp: i64,
    jti: String,
}

/// Signs registry tokens with the current key and verifies those of the current and previous one.
#[derive(Clone)]
pub struct RegistryTokenKeys {
    issuer: String,
    signing: EncodingKey,
    /// Current first.
    verifying: Vec<DecodingKey>,
    validation: Validation,
    stamp_key: [u8; 32],
}

impl RegistryTokenKeys {
    pub fn new(issuer: impl Into<String>, current: &SigningSecret, previous: Option<&SigningSecret>) -> Self {
        let issuer = issuer.into();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[SERVICE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Expiry is judged below, by the clock of the caller.
        validation.validate_exp = false;
        validation.leeway = 0;
        let key = |secret: &SigningSecret| DecodingKey::from_secret(&secret.derive(PURPOSE));
        Self {
            issuer,
            signing: EncodingKey::from_secret(&current.derive(PURPOSE)),
            verifying: std::iter::once(current).chain(previous).map(key).collect(),
            validation,
            stamp_key: current.derive("password stamp"),
        }
    }

    /// Signs a token that lives `ttl` from `now`.
    pub fn sign(
        &self,
        subject: &TokenSubject,
        access: &[ResourceAccess],
        id: TokenId,
        now: Timestamp,
        ttl: Duration,
    ) -> Secret {
        let iat = now.as_micros().div_euclid(1_000_000);
        let wire = Wire {
            iss: self.issuer.clone(),
            aud: SERVICE.into(),
            sub: match subject {
                TokenSubject::Anonymous => "anonymous".into(),
                TokenSubject::Token(id) => id.to_string(),
                TokenSubject::Session(id) => id.to_string(),
                TokenSubject::Password { user, .. } => user.to_string(),
            },
            who: subject.clone(),
            access: access.to_vec(),
            iat,
            exp: iat.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
            jti: id.to_string(),
        };
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &wire, &self.signing);
        Secret::new(signed.expect("HMAC signs any claims that are JSON"))
    }

    /// What a token says, if one of our keys signed it; expired ones say so.
    pub fn verify(&self, token: &Secret, now: Timestamp) -> Option<RegistryClaims> {
        let wire = self.decode(token.expose())?;
        let expires_at = Timestamp::from_micros(wire.exp.saturating_mul(1_000_000));
        Some(RegistryClaims { subject: wire.who, access: wire.access, is_expired: now >= expires_at + LEEWAY })
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

    /// A short text that changes whenever the stored password does, and says nothing about it.
    pub fn password_stamp(&self, user: UserId, stored_hash: &str) -> String {
        let mac = mac(&self.stamp_key, &[b"stamp", user.0.as_bytes(), stored_hash.as_bytes()]);
        hex::encode(&mac[..12])
    }

    /// What a login and password are remembered by for a while, without keeping either.
    pub fn login_stamp(&self, login: &str, password: &Secret) -> [u8; 32] {
        mac(&self.stamp_key, &[b"login", login.as_bytes(), password.expose().as_bytes()])
    }
}

impl fmt::Debug for RegistryTokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryTokenKeys").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Offered, SessionKeys};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_token_says_what_was_signed_and_when_it_has_ended() {
        let secret = SigningSecret::generate();
        let keys = RegistryTokenKeys::new("http://me", &secret, None);
        let access = vec![ResourceAccess::parse("repository:acme/app:pull,push").unwrap()];
        let subject = TokenSubject::Password { user: UserId::new(), stamp: "x".into() };
        let token = keys.sign(&subject, &access, TokenId::new(), at(1000), Duration::from_secs(900));
        let claims = keys.verify(&token, at(1890)).unwrap();
        assert_eq!((claims.subject, claims.access, claims.is_expired), (subject, access, false));
        assert!(keys.verify(&token, at(1906)).unwrap().is_expired);
        assert!(matches!(Offered::read(token.expose()), Offered::Jwt(_)));
    }

    #[test]
    fn only_our_own_keys_and_purpose_count() {
        let (secret, other) = (SigningSecret::generate(), SigningSecret::generate());
        let token = |secret: &SigningSecret| {
            let keys = RegistryTokenKeys::new("http://me", secret, None);
            keys.sign(&TokenSubject::Anonymous, &[], TokenId::new(), at(0), Duration::from_secs(60))
        };
        let (keys, unknown) = (RegistryTokenKeys::new("http://me", &secret, Some(&other)), SigningSecret::generate());
        assert!(keys.verify(&token(&other), at(1)).is_some(), "the previous key still verifies");
        assert!(keys.verify(&token(&unknown), at(1)).is_none());
        assert!(RegistryTokenKeys::new("http://you", &secret, None).verify(&token(&secret), at(1)).is_none());
        let session = SessionKeys::new("http://me", &secret, None);
        assert!(session.verify(&token(&secret), at(1)).is_err());
        let signed = session.sign(UserId::new(), SessionId::new(), at(0), Duration::from_secs(60));
        assert!(keys.verify(&signed, at(1)).is_none());
    }

    #[test]
    fn stamps_follow_the_stored_hash_and_the_typed_text() {
        let keys = RegistryTokenKeys::new("i", &SigningSecret::generate(), None);
        let user = UserId::new();
        assert_eq!(keys.password_stamp(user, "a"), keys.password_stamp(user, "a"));
        assert_ne!(keys.password_stamp(user, "a"), keys.password_stamp(user, "b"));
        assert_ne!(keys.login_stamp("a", &"bc".to_owned().into()), keys.login_stamp("ab", &"c".to_owned().into()));
    }

    proptest! {
        #[test]
        fn scopes_are_read_and_written_alike(kind in "[a-z()]{1,12}", name in "[a-z0-9/:.-]{1,40}", actions in "[a-z*]{1,8}(,[a-z]{1,8}){0,3}") {
            let text = format!("{kind}:{name}:{actions}");
            let parsed = ResourceAccess::parse(&text).unwrap();
            prop_assert_eq!(&parsed.name, &name);
            prop_assert_eq!(parsed.to_string(), text);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}") {
            let _ = ResourceAccess::parse(&text);
        }
    }
}
