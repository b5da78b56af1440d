//! Registry signatures: an ECDSA P-256 key that vouches for `name@version:integrity`.
//!
//! Source: <https://docs.npmjs.com/about-registry-signatures>; checked by `npm audit signatures` and
//! `pnpm audit signatures`.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer},
    pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::release::Signature;

/// The key this registry signs releases with.
#[derive(Clone)]
pub struct RegistryKey {
    keyid: String,
    public_base64: String,
    signing: SigningKey,
}

/// The stored key is not a P-256 private key in PKCS#8.
#[derive(Debug, thiserror::Error)]
#[error("not a P-256 private key in PKCS#8 PEM")]
pub struct KeyError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl RegistryKey {
    /// Reads a PKCS#8 PEM private key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let signing = SigningKey::from_pkcs8_pem(pem).map_err(|e| KeyError(Box::new(e)))?;
        let spki = signing.verifying_key().to_public_key_der().map_err(|e| KeyError(Box::new(e)))?;
        Ok(Self {
            keyid: format!("SHA256:{}", BASE64_STANDARD.encode(Sha256::digest(spki.as_bytes()))),
            public_base64: BASE64_STANDARD.encode(spki.as_bytes()),
            signing,
        })
    }

    /// A new private key as PKCS#8 PEM.
    pub fn generate_pem() -> String {
        loop {
            // All but one in 2^32 of the 256-bit numbers are private keys.
            let Ok(key) = SigningKey::from_slice(&rand::random::<[u8; 32]>()) else { continue };
            let Ok(pem) = key.to_pkcs8_pem(LineEnding::LF) else { continue };
            return pem.to_string();
        }
    }

    /// `SHA256:` and the base64 SHA-256 of the public key (SPKI, DER).
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// Signs one release. Deterministic (RFC 6979), so a document rendered twice is the same.
    pub fn sign(&self, name: &str, version: &str, integrity: &str) -> Signature {
        let signature: DerSignature = self.signing.sign(format!("{name}@{version}:{integrity}").as_bytes());
        Signature { keyid: self.keyid.clone(), sig: BASE64_STANDARD.encode(signature.as_bytes()) }
    }

    /// The body of `/-/npm/v1/keys`.
    pub fn published(&self) -> Value {
        json!({ "keys": [{
            "expires": null,
            "keyid": self.keyid,
            "keytype": "ecdsa-sha2-nistp256",
            "scheme": "ecdsa-sha2-nistp256",
            "key": self.public_base64,
        }] })
    }
}

impl fmt::Debug for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryKey").field("keyid", &self.keyid).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use p256::{
        ecdsa::{VerifyingKey, signature::Verifier},
        pkcs8::DecodePublicKey,
    };

    use super::*;

    pub(crate) const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgV4G9kIsrS+CC3nwr\n\
        XVSQwRPkFk4eYgTeo7o/q4wgKJ6hRANCAARL1hMXH+EDRT9A3h+vasIbR7jGF/1r\n\
        vXW77j4ddOKOWhpkVsfR5bOGDXiEM9EBgj0ddIlIX4KtUKDI9wmDwQWb\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn the_published_key_verifies_what_was_signed() {
        let key = RegistryKey::from_pem(PEM).unwrap();
        let published = key.published();
        let spki = BASE64_STANDARD.decode(published["keys"][0]["key"].as_str().unwrap()).unwrap();
        let public = VerifyingKey::from_public_key_der(&spki).unwrap();
        let signed = key.sign("@a/b", "1.0.0", "sha512-x");
        let der = DerSignature::try_from(BASE64_STANDARD.decode(&signed.sig).unwrap().as_slice()).unwrap();
        assert!(public.verify(b"@a/b@1.0.0:sha512-x", &der).is_ok());
        assert!(public.verify(b"@a/b@1.0.1:sha512-x", &der).is_err());
        assert_eq!(signed.keyid, published["keys"][0]["keyid"]);
        assert_eq!(signed, key.sign("@a/b", "1.0.0", "sha512-x"), "deterministic");
    }

    #[test]
    fn a_new_key_can_be_read_back_and_is_not_the_last_one() {
        let (a, b) = (RegistryKey::generate_pem(), RegistryKey::generate_pem());
        assert_ne!(RegistryKey::from_pem(&a).unwrap().keyid(), RegistryKey::from_pem(&b).unwrap().keyid());
    }

    #[test]
    fn debug_shows_no_key() {
        assert!(RegistryKey::from_pem("nonsense").is_err());
        let shown = format!("{:?}", RegistryKey::from_pem(PEM).unwrap());
        assert!(shown.contains("SHA256:") && !shown.contains("signing"), "{shown}");
    }
}
