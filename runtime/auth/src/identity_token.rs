//! Identity tokens of other issuers: what a CI job proves its origin with (trusted publishing).
//!
//! [`IdentityToken::read`] believes nothing but looks for the issuer and the key; only [`IdentityToken::verify`]
//! hands out [`WorkloadClaims`]. Fetching keys is the caller's business.
//! Source: <https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation>, RFC 7517, RFC 7519.

use std::{fmt, time::Duration};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::Jwk};
use publaryn_core::Timestamp;
use serde_json::{Map, Value};

/// Longest token that is looked at, in bytes; those of the large forges have about 2 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// How far the clocks of an issuer and ours may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// A token that lives longer was not made for one job.
const MAX_LIFETIME_SECONDS: i64 = 3600;
/// Longest identifier of a token or of a key, in bytes.
const MAX_ID_BYTES: usize = 512;
/// Keys of one issuer that are kept; the large forges publish fewer than ten.
const MAX_KEYS: usize = 64;
/// Smallest RSA modulus, in bytes (2048 bits, as RFC 7518 §3.3 demands).
const MIN_MODULUS_BYTES: usize = 256;

/// What is wrong with a token; the texts may be shown to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityTokenProblem {
    #[error("the token is not a JSON web token")]
    Malformed,
    #[error("the token must be signed with RS256 or ES256 and name its key")]
    UnusableSignature,
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    #[error("the signature does not match")]
    BadSignature,
    #[error("the claim `aud` is not the audience of this registry")]
    WrongAudience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token lives longer than an hour")]
    LivesTooLong,
    #[error("the claim `{0}` is missing")]
    MissingClaim(&'static str),
}

impl IdentityTokenProblem {
    /// The text is not even a token, rather than one that does not hold.
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::Malformed)
    }
}

/// A token whose signature was not checked: good for finding the key that would check it.
pub struct IdentityToken<'a> {
    text: &'a str,
    issuer: String,
    key_id: String,
    algorithm: Algorithm,
}

/// What a verified token says about the workload it was made for.
#[derive(Debug, Clone)]
pub struct WorkloadClaims {
    claims: Map<String, Value>,
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `jti`.
    pub token_id: String,
    pub expires_at: Timestamp,
}

/// The keys that an issuer publishes.
#[derive(Clone)]
pub struct IssuerKeys(Vec<IssuerKey>);

#[derive(Clone)]
struct IssuerKey {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl<'a> IdentityToken<'a> {
    /// Reads header and issuer of a token that is not believed yet.
    ///
    /// # Errors
    /// `Malformed`, or `UnusableSignature` for algorithms other than RS256 and ES256 and for tokens without
    /// `kid`.
    pub fn read(text: &'a str) -> Result<Self, IdentityTokenProblem> {
        if text.len() > MAX_TOKEN_BYTES || text.split('.').count() != 3 {
            return Err(IdentityTokenProblem::Malformed);
        }
        let payload = text.split('.').nth(1).unwrap_or_default();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_| IdentityTokenProblem::Malformed)?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&payload).map_err(|_| IdentityTokenProblem::Malformed)?;
        // A header with an algorithm nobody should use (`none`) does not even parse.
        let header = jsonwebtoken::decode_header(text).map_err(|_| IdentityTokenProblem::UnusableSignature)?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
            return Err(IdentityTokenProblem::UnusableSignature);
        }
        let key_id = header.kid.filter(|kid| (1..=MAX_ID_BYTES).contains(&kid.len()));
        Ok(Self {
            text,
            issuer: text_of(&claims, "iss").ok_or(IdentityTokenProblem::MissingClaim("iss"))?.to_owned(),
            key_id: key_id.ok_or(IdentityTokenProblem::UnusableSignature)?,
            algorithm: header.alg,
        })
    }

    /// Who claims to have made it; to be compared with the issuers that are trusted.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Checks signature, audience and times. Which issuer `keys` belong to is the caller's to know.
    ///
    /// # Errors
    /// Everything but `Malformed`.
    pub fn verify(
        &self,
        keys: &IssuerKeys,
        audience: &str,
        now: Timestamp,
    ) -> Result<WorkloadClaims, IdentityTokenProblem> {
        let key = keys.find(&self.key_id, self.algorithm).ok_or(IdentityTokenProblem::UnknownKey)?;
        // Only the signature is left to the library: times are judged by the caller's clock, and the audience
        // more strictly than it would.
        let mut validation = Validation::new(self.algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Map<String, Value>>(self.text, key, &validation)
            .map_err(|_| IdentityTokenProblem::BadSignature)?
            .claims;
        WorkloadClaims::check(claims, audience, now)
    }
}

impl WorkloadClaims {
    /// Reads claims whose signature holds. Public for tests of what is made of them.
    #[doc(hidden)]
    pub fn check(claims: Map<String, Value>, audience: &str, now: Timestamp) -> Result<Self, IdentityTokenProblem> {
        use IdentityTokenProblem::{Expired, LivesTooLong, MissingClaim, NotYetValid, WrongAudience};
        let is_for_us = match claims.get("aud") {
            Some(Value::String(named)) => named == audience,
            Some(Value::Array(list)) => matches!(list.as_slice(), [Value::String(named)] if named == audience),
            _ => return Err(MissingClaim("aud")),
        };
        if !is_for_us {
            return Err(WrongAudience);
        }
        let expires = seconds_of(&claims, "exp").ok_or(MissingClaim("exp"))?;
        let issued = seconds_of(&claims, "iat").ok_or(MissingClaim("iat"))?;
        let from = if claims.contains_key("nbf") {
            seconds_of(&claims, "nbf").ok_or(MissingClaim("nbf"))?.max(issued)
        } else {
            issued
        };
        let instant = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        if now >= instant(expires) + LEEWAY {
            return Err(Expired);
        }
        if instant(from) > now + LEEWAY {
            return Err(NotYetValid);
        }
        if expires.saturating_sub(issued) > MAX_LIFETIME_SECONDS {
            return Err(LivesTooLong);
        }
        let id = |claim: &'static str| {
            let text = text_of(&claims, claim).filter(|text| (1..=MAX_ID_BYTES).contains(&text.len()));
            text.map(str::to_owned).ok_or(MissingClaim(claim))
        };
        let (issuer, subject, token_id) = (id("iss")?, id("sub")?, id("jti")?);
        Ok(Self { issuer, subject, token_id, expires_at: instant(expires), claims })
    }

    /// A claim that is a text and not empty.
    pub fn text(&self, claim: &str) -> Option<&str> {
        text_of(&self.claims, claim)
    }

    /// How long after the end of the token it could still be accepted by a clock that is late.
    pub fn unusable_from(&self) -> Timestamp {
        self.expires_at + LEEWAY
    }
}

fn text_of<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A NumericDate; fractions of a second do not matter here.
fn seconds_of(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let number = claims.get(name)?;
    number.as_i64().or_else(|| number.as_f64().filter(|n| n.is_finite()).map(|n| n as i64))
}

impl IssuerKeys {
    /// The usable keys of a JWK set; what is for other purposes or too weak is left out. `None` when it is no set.
    pub fn parse(document: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(document).ok()?;
        let keys = document.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(MAX_KEYS).filter_map(IssuerKey::read).collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn has(&self, key_id: &str) -> bool {
        self.0.iter().any(|key| key.id == key_id)
    }

    fn find(&self, key_id: &str, algorithm: Algorithm) -> Option<&DecodingKey> {
        self.0.iter().find(|key| key.id == key_id && key.algorithm == algorithm).map(|key| &key.key)
    }
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

/// Begins a point of a curve that is given with both its coordinates.
const UNCOMPRESSED: u8 = 4;

impl IssuerKey {
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let (algorithm, is_strong) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let modulus = BASE64_URL_SAFE_NO_PAD.decode(text("n")?).ok()?;
                (Algorithm::RS256, modulus.len() >= MIN_MODULUS_BYTES)
            }
            ("EC", Some("P-256")) => {
                let decoded = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
                let point = [&[UNCOMPRESSED][..], &decoded("x")?, &decoded("y")?].concat();
                (Algorithm::ES256, p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).is_ok())
            }
            _ => return None,
        };
        // What a key says of itself must agree, so that no key serves an algorithm it was not made for.
        let says = |name: &str, wanted: &str| text(name).is_none_or(|said| said == wanted);
        let named = if algorithm == Algorithm::RS256 { "RS256" } else { "ES256" };
        if !is_strong || !says("use", "sig") || !says("alg", named) {
            return None;
        }
        let id = text("kid").filter(|kid| (1..=MAX_ID_BYTES).contains(&kid.len()))?.to_owned();
        let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
        Some(Self { id, algorithm, key: DecodingKey::from_jwk(&jwk).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use p256::{
        SecretKey,
        elliptic_curve::sec1::ToEncodedPoint,
        pkcs8::{EncodePrivateKey, LineEnding},
    };
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    struct Issuer {
        signing: EncodingKey,
        jwk: Value,
    }

    fn issuer(kid: &str, seed: u8) -> Issuer {
        let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
        let point = secret.public_key().to_encoded_point(false);
        let [x, y] = [point.x(), point.y()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.unwrap()));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y });
        let pem = secret.to_pkcs8_pem(LineEnding::LF).unwrap();
        Issuer { signing: EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(), jwk }
    }

    impl Issuer {
        fn keys(&self) -> IssuerKeys {
            IssuerKeys::parse(json!({ "keys": [self.jwk] }).to_string().as_bytes()).unwrap()
        }
        fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
            let mut header = Header::new(Algorithm::ES256);
            header.kid = kid.map(str::to_owned);
            jsonwebtoken::encode(&header, claims, &self.signing).unwrap()
        }
    }

    fn claims() -> Value {
        json!({ "iss": "https://ci.test", "sub": "job", "aud": "packages.test", "jti": "1",
            "iat": 1000, "nbf": 1000, "exp": 1300, "repository": "acme/widget" })
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn verdict(issuer: &Issuer, claims: &Value, now: i64) -> Result<WorkloadClaims, IdentityTokenProblem> {
        let text = issuer.sign(Some("a"), claims);
        IdentityToken::read(&text)?.verify(&issuer.keys(), "packages.test", at(now))
    }

    #[test]
    fn a_good_token_says_what_was_signed() {
        let issuer = issuer("a", 7);
        let found = verdict(&issuer, &claims(), 1100).unwrap();
        assert_eq!((found.issuer.as_str(), found.subject.as_str()), ("https://ci.test", "job"));
        assert_eq!(found.text("repository"), Some("acme/widget"));
        assert_eq!(found.expires_at, at(1300));
        // Clocks may differ by half a minute.
        assert!(verdict(&issuer, &claims(), 1329).is_ok() && verdict(&issuer, &claims(), 970).is_ok());
        let mut one = claims();
        one["aud"] = json!(["packages.test"]);
        assert!(verdict(&issuer, &one, 1100).is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        use IdentityTokenProblem as P;
        let issuer = issuer("a", 7);
        let with = |name: &str, value: Value| {
            let mut changed = claims();
            changed[name] = value;
            changed
        };
        for (claims, now, problem) in [
            (claims(), 1330, P::Expired),
            (claims(), 969, P::NotYetValid),
            (with("nbf", json!(1200)), 1100, P::NotYetValid),
            (with("nbf", json!("x")), 1100, P::MissingClaim("nbf")),
            (with("exp", json!(5000)), 1100, P::LivesTooLong),
            (with("exp", Value::Null), 1100, P::MissingClaim("exp")),
            (with("iat", Value::Null), 1100, P::MissingClaim("iat")),
            (with("aud", json!("other")), 1100, P::WrongAudience),
            (with("aud", json!(["packages.test", "other"])), 1100, P::WrongAudience),
            (with("aud", json!([])), 1100, P::WrongAudience),
            (with("aud", json!({})), 1100, P::MissingClaim("aud")),
            (with("jti", json!("")), 1100, P::MissingClaim("jti")),
            (with("sub", Value::Null), 1100, P::MissingClaim("sub")),
            (with("iss", json!(1)), 1100, P::MissingClaim("iss")),
        ] {
            assert_eq!(verdict(&issuer, &claims, now).unwrap_err(), problem, "{claims} at {now}");
        }
    }

    #[test]
    fn only_the_right_key_with_the_right_algorithm_counts() {
        use IdentityTokenProblem as P;
        let (right, wrong) = (issuer("a", 7), issuer("a", 8));
        let text = wrong.sign(Some("a"), &claims());
        let token = IdentityToken::read(&text).unwrap();
        assert_eq!(token.verify(&right.keys(), "packages.test", at(1100)).unwrap_err(), P::BadSignature);
        let other = issuer("b", 7).sign(Some("b"), &claims());
        let token = IdentityToken::read(&other).unwrap();
        assert_eq!(token.verify(&right.keys(), "packages.test", at(1100)).unwrap_err(), P::UnknownKey);
        assert_eq!(IdentityToken::read(&right.sign(None, &claims())).err(), Some(P::UnusableSignature));
        // Signed with what everybody knows.
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("a".into());
        let public = right.jwk["x"].as_str().unwrap();
        let forged = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(public.as_bytes())).unwrap();
        assert_eq!(IdentityToken::read(&forged).err(), Some(P::UnusableSignature));
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let none = format!("{}.{}.", part(json!({ "alg": "none", "kid": "a" })), part(claims()));
        assert_eq!(IdentityToken::read(&none).err(), Some(P::UnusableSignature));
        for bad in ["", "a.b", "a.b.c", "a.b.c.d", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert_eq!(IdentityToken::read(bad).err(), Some(P::Malformed));
        }
    }

    #[test]
    fn keys_for_other_purposes_are_not_taken() {
        let good = issuer("a", 7).jwk;
        let with = |name: &str, value: Value| {
            let mut changed = good.clone();
            changed[name] = value;
            changed
        };
        let keys = |list: Value| IssuerKeys::parse(json!({ "keys": list }).to_string().as_bytes()).unwrap();
        assert!(keys(json!([good])).has("a"));
        for bad in [
            with("use", json!("enc")),
            with("alg", json!("ES384")),
            with("crv", json!("P-384")),
            with("kty", json!("oct")),
            with("kid", json!("")),
            with("x", json!("AAAA")),
            json!({ "kty": "RSA", "kid": "a", "n": BASE64_URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" }),
            json!(1),
        ] {
            assert!(keys(json!([bad])).is_empty(), "{bad}");
        }
        assert!(IssuerKeys::parse(b"[]").is_none() && IssuerKeys::parse(b"x").is_none());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,120}") {
            let _ = IdentityToken::read(&text);
            let _ = IssuerKeys::parse(text.as_bytes());
        }
    }
}
