//! Signatures of build workflows (Sigstore): who signed, as far as that can be checked without a network.
//!
//! A certificate authority binds a key that lives for minutes to a workload's identity, and a transparency log
//! promises, signed, that it saw the signature while the key lived. [`TrustRoot`] is whom the operator believes in
//! both. Checked are the certificate's chain, the signature over the statement, and the log's promise about exactly
//! this statement, signature and certificate. Not checked are the log's inclusion proof, which needs its current
//! tree, and certificate transparency.
//!
//! Sources: <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>,
//! <https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>,
//! <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto>, RFC 5280.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use publaryn_core::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384};
use x509_cert::{
    Certificate,
    der::{Decode, Encode, asn1::Utf8StringRef},
    ext::pkix::{BasicConstraints, ExtendedKeyUsage},
    spki::DecodePublicKey,
};

/// What the statement of an attestation is, as the signature covers it.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Entries of one attestation that are looked at.
const MAX_ENTRIES: usize = 4;

const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";

/// Certificate authorities and logs whose word counts.
#[derive(Debug, Clone)]
pub struct TrustRoot {
    authorities: Vec<Authority>,
    logs: Vec<Log>,
}

/// A statement with its signature and what speaks for it.
#[derive(Debug, Clone, Copy)]
pub struct SignedStatement<'a> {
    pub statement: &'a [u8],
    /// DER.
    pub signature: &'a [u8],
    /// DER.
    pub certificate: &'a [u8],
    /// Entries of transparency logs, as in a Sigstore bundle.
    pub entries: &'a [Value],
}

/// The workload that signed, in the words of its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Who vouched for the workload: the issuer of its identity token.
    pub issuer: String,
    /// `https://host/owner/name`
    pub source_repository: String,
    /// `https://host/owner/name/path/of/workflow@ref`
    pub build_config: String,
    /// The forge's number for the owner of the repository; a name may be registered again by somebody else.
    pub source_owner_id: Option<String>,
    pub signed_at: Timestamp,
}

/// Why a signature does not count; the texts may be shown to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    #[error("the certificate cannot be read")]
    Certificate,
    #[error("no transparency log that is trusted here vouches for the signature")]
    NotLogged,
    #[error("the certificate is of no authority that is trusted here")]
    UnknownAuthority,
    #[error("the certificate is not one for signing")]
    NotForSigning,
    #[error("the signature does not match")]
    BadSignature,
    #[error("the certificate does not tell the workflow")]
    NoIdentity,
}

#[derive(Debug, Clone)]
struct Authority {
    /// From the one that issues to the root.
    chain: Vec<Certificate>,
    window: Window,
}

#[derive(Debug, Clone)]
struct Log {
    id: Vec<u8>,
    key: PublicKey,
    window: Window,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Window {
    fn read(of: &Value) -> Option<Self> {
        let instant = |name: &str| match of.get("validFor").and_then(|valid| valid.get(name)) {
            None | Some(Value::Null) => Some(None),
            Some(text) => text.as_str()?.parse().ok().map(Some),
        };
        Some(Self { from: instant("start")?, until: instant("end")? })
    }
    fn has(self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at <= until)
    }
}

impl TrustRoot {
    /// Reads a `trusted_root.json`.
    ///
    /// # Errors
    /// What is missing or cannot be read.
    pub fn parse(document: &[u8]) -> Result<Self, &'static str> {
        let document: Value = serde_json::from_slice(document).map_err(|_| "it is not JSON")?;
        let list = |name: &str| document.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let authorities: Option<Vec<_>> = list("certificateAuthorities").iter().map(Authority::read).collect();
        let logs: Option<Vec<_>> = list("tlogs").iter().map(Log::read).collect();
        let authorities = authorities.ok_or("one of its `certificateAuthorities` cannot be read")?;
        let logs = logs.ok_or("one of its `tlogs` cannot be read")?;
        if authorities.is_empty() || logs.is_empty() {
            return Err("it names no certificate authority or no transparency log");
        }
        Ok(Self { authorities, logs })
    }

    /// Finds out which workload signed.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn verify(&self, signed: &SignedStatement<'_>) -> Result<Signer, SignatureProblem> {
        let leaf = Certificate::from_der(signed.certificate).map_err(|_| SignatureProblem::Certificate)?;
        let mut entries = signed.entries.iter().take(MAX_ENTRIES);
        let signed_at = entries.find_map(|entry| self.logged(entry, signed)).ok_or(SignatureProblem::NotLogged)?;
        if !self.authorities.iter().any(|authority| authority.vouches_for(&leaf, signed_at)) {
            return Err(SignatureProblem::UnknownAuthority);
        }
        let usage = leaf.tbs_certificate.get::<ExtendedKeyUsage>().ok().flatten();
        if !usage.is_some_and(|(_, usage)| usage.0.iter().any(|purpose| purpose.to_string() == CODE_SIGNING)) {
            return Err(SignatureProblem::NotForSigning);
        }
        let key = PublicKey::of(&leaf).ok_or(SignatureProblem::Certificate)?;
        if !key.verify(&pre_authentication_encoding(signed.statement), key.usual_hash(), signed.signature) {
            return Err(SignatureProblem::BadSignature);
        }
        let extension = |number: u32| text_extension(&leaf, number).ok_or(SignatureProblem::NoIdentity);
        Ok(Signer {
            issuer: extension(8)?,
            source_repository: extension(12)?,
            build_config: extension(18)?,
            source_owner_id: text_extension(&leaf, 17),
            signed_at,
        })
    }

    /// When a trusted log saw this very signature, if it did.
    fn logged(&self, entry: &Value, signed: &SignedStatement<'_>) -> Option<Timestamp> {
        let text = |path: &str| entry.pointer(path).and_then(Value::as_str);
        let whole = |path: &str| match entry.pointer(path)? {
            Value::String(digits) => digits.parse::<i64>().ok(),
            number => number.as_i64(),
        };
        let id = BASE64_STANDARD.decode(text("/logId/keyId")?).ok()?;
        let (body, time, index) = (text("/canonicalizedBody")?, whole("/integratedTime")?, whole("/logIndex")?);
        let promise = BASE64_STANDARD.decode(text("/inclusionPromise/signedEntryTimestamp")?).ok()?;
        let at = Timestamp::from_micros(time.checked_mul(1_000_000)?);
        let log = self.logs.iter().find(|log| log.id == id && log.window.has(at))?;
        // Canonical JSON: these members in this order. The body is base64, so nothing in it needs escaping.
        let body_text = Value::from(body).to_string();
        let covered = format!(
            "{{\"body\":{body_text},\"integratedTime\":{time},\"logID\":\"{}\",\"logIndex\":{index}}}",
            hex::encode(&id)
        );
        if !log.key.verify(covered.as_bytes(), log.key.usual_hash(), &promise) {
            return None;
        }
        is_about(&BASE64_STANDARD.decode(body).ok()?, signed).then_some(at)
    }
}

/// Whether an entry's body is that of this statement, signature and certificate.
fn is_about(body: &[u8], signed: &SignedStatement<'_>) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
    let hash = body.pointer("/spec/payloadHash");
    let said = |name: &str| hash.and_then(|hash| hash.get(name)).and_then(Value::as_str);
    let is_statement =
        said("algorithm") == Some("sha256") && said("value") == Some(&hex::encode(Sha256::digest(signed.statement)));
    let signatures = body.pointer("/spec/signatures").and_then(Value::as_array);
    let is_signed = signatures.is_some_and(|all| {
        all.iter().any(|one| {
            let decoded = |name: &str| BASE64_STANDARD.decode(one.get(name)?.as_str()?).ok();
            let certificate = decoded("verifier").and_then(|pem| der_of_pem(&pem));
            decoded("signature").as_deref() == Some(signed.signature)
                && certificate.as_deref() == Some(signed.certificate)
        })
    });
    body.get("kind").and_then(Value::as_str) == Some("dsse") && is_statement && is_signed
}

fn der_of_pem(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?.trim();
    let text = text.strip_prefix("-----BEGIN CERTIFICATE-----")?.strip_suffix("-----END CERTIFICATE-----")?;
    BASE64_STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok()
}

/// What a DSSE signature is made over.
fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

/// An extension of the authority's own arc whose value is a UTF-8 string.
fn text_extension(certificate: &Certificate, number: u32) -> Option<String> {
    let wanted = format!("1.3.6.1.4.1.57264.1.{number}");
    let extensions = certificate.tbs_certificate.extensions.as_deref()?;
    let value = extensions.iter().find(|extension| extension.extn_id.to_string() == wanted)?;
    let text = Utf8StringRef::from_der(value.extn_value.as_bytes()).ok()?;
    Some(text.as_str().to_owned()).filter(|text| !text.is_empty())
}

impl Authority {
    fn read(of: &Value) -> Option<Self> {
        let chain = of.pointer("/certChain/certificates")?.as_array()?;
        let chain: Option<Vec<_>> =
            chain.iter().map(|one| Certificate::from_der(&bytes(one, "rawBytes")?).ok()).collect();
        Some(Self { chain: chain.filter(|chain| !chain.is_empty())?, window: Window::read(of)? })
    }

    /// Whether the chain leads from the certificate to the root, and everything in it was valid then.
    fn vouches_for(&self, leaf: &Certificate, at: Timestamp) -> bool {
        let subjects = std::iter::once(leaf).chain(&self.chain);
        // The root stands for itself: it is trusted because the operator says so.
        self.window.has(at)
            && subjects.clone().all(|certificate| is_valid_at(certificate, at))
            && subjects.zip(&self.chain).all(|(subject, issuer)| is_issued_by(subject, issuer))
    }
}

fn is_valid_at(certificate: &Certificate, at: Timestamp) -> bool {
    let validity = &certificate.tbs_certificate.validity;
    let seconds = u64::try_from(at.as_micros().div_euclid(1_000_000)).unwrap_or(0);
    let unix = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
    (unix(&validity.not_before)..=unix(&validity.not_after)).contains(&seconds)
}

fn is_issued_by(subject: &Certificate, issuer: &Certificate) -> bool {
    let may_issue = issuer.tbs_certificate.get::<BasicConstraints>().ok().flatten();
    if subject.tbs_certificate.issuer != issuer.tbs_certificate.subject || !may_issue.is_some_and(|(_, c)| c.ca) {
        return false;
    }
    let hash = match subject.signature_algorithm.oid.to_string().as_str() {
        ECDSA_SHA256 => Hash::Sha256,
        ECDSA_SHA384 => Hash::Sha384,
        _ => return false,
    };
    let (Some(key), Ok(covered)) = (PublicKey::of(issuer), subject.tbs_certificate.to_der()) else { return false };
    subject.signature.as_bytes().is_some_and(|signature| key.verify(&covered, hash, signature))
}

impl Log {
    fn read(of: &Value) -> Option<Self> {
        let key = of.get("publicKey")?;
        Some(Self {
            id: bytes(of.get("logId")?, "keyId")?,
            key: PublicKey::from_spki(&bytes(key, "rawBytes")?)?,
            window: Window::read(key)?,
        })
    }
}

fn bytes(of: &Value, name: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(of.get(name)?.as_str()?).ok()
}

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
}

/// The kinds of keys that Sigstore's services use.
#[derive(Debug, Clone)]
enum PublicKey {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl PublicKey {
    fn of(certificate: &Certificate) -> Option<Self> {
        Self::from_spki(&certificate.tbs_certificate.subject_public_key_info.to_der().ok()?)
    }

    fn from_spki(der: &[u8]) -> Option<Self> {
        let p256 = p256::ecdsa::VerifyingKey::from_public_key_der(der).map(Self::P256);
        p256.ok().or_else(|| p384::ecdsa::VerifyingKey::from_public_key_der(der).map(Self::P384).ok())
    }

    const fn usual_hash(&self) -> Hash {
        match self {
            Self::P256(_) => Hash::Sha256,
            Self::P384(_) => Hash::Sha384,
        }
    }

    /// Whether a DER signature over the message is this key's.
    fn verify(&self, message: &[u8], hash: Hash, signature: &[u8]) -> bool {
        let digest = match hash {
            Hash::Sha256 => Sha256::digest(message).to_vec(),
            Hash::Sha384 => Sha384::digest(message).to_vec(),
        };
        match self {
            Self::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::{SigningKey, signature::Signer as _};
    use p256::pkcs8::EncodePublicKey;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_signed_text_is_that_of_the_protocol() {
        // The example of the protocol's own text, with our payload type.
        let encoded = pre_authentication_encoding(b"hello world");
        assert_eq!(encoded, b"DSSEv1 28 application/vnd.in-toto+json 11 hello world");
    }

    /// A log with one entry about a statement, and the trust in it.
    fn logged(time: i64, edit: impl FnOnce(&mut Value)) -> Option<Timestamp> {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let spki = p256::PublicKey::from(key.verifying_key()).to_public_key_der().unwrap();
        let log = Log {
            id: vec![1, 2, 3],
            key: PublicKey::P256(*key.verifying_key()),
            window: Window { from: None, until: Some(Timestamp::from_micros(2_000_000_000)) },
        };
        assert!(PublicKey::from_spki(spki.as_bytes()).is_some());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(b"c"));
        let body = json!({ "kind": "dsse", "spec": {
            "payloadHash": { "algorithm": "sha256", "value": hex::encode(Sha256::digest(b"s")) },
            "signatures": [{ "signature": BASE64_STANDARD.encode(b"x"), "verifier": BASE64_STANDARD.encode(pem) }],
        }});
        let body = BASE64_STANDARD.encode(body.to_string());
        let covered = format!("{{\"body\":\"{body}\",\"integratedTime\":{time},\"logID\":\"010203\",\"logIndex\":5}}");
        let promise: p256::ecdsa::DerSignature = key.sign(covered.as_bytes());
        let mut entry = json!({
            "logIndex": "5", "integratedTime": time.to_string(), "canonicalizedBody": body,
            "logId": { "keyId": BASE64_STANDARD.encode([1, 2, 3]) },
            "inclusionPromise": { "signedEntryTimestamp": BASE64_STANDARD.encode(promise.as_bytes()) },
        });
        edit(&mut entry);
        let root = TrustRoot { authorities: Vec::new(), logs: vec![log] };
        let signed = SignedStatement { statement: b"s", signature: b"x", certificate: b"c", entries: &[] };
        root.logged(&entry, &signed)
    }

    #[test]
    fn a_log_vouches_for_what_it_signed_and_nothing_else() {
        assert_eq!(logged(1000, |_| {}), Some(Timestamp::from_micros(1_000_000_000)));
        assert_eq!(logged(3000, |_| {}), None, "its key had ended by then");
        assert_eq!(logged(1000, |entry| entry["integratedTime"] = json!("1001")), None);
        assert_eq!(logged(1000, |entry| entry["logIndex"] = json!(6)), None);
        assert_eq!(logged(1000, |entry| entry["logId"]["keyId"] = json!("AAAA")), None);
        assert_eq!(logged(1000, |entry| entry["canonicalizedBody"] = json!("e30=")), None);
        assert_eq!(logged(1000, |entry| entry["inclusionPromise"] = Value::Null), None);
    }

    #[test]
    fn an_entry_is_about_one_statement_signature_and_certificate() {
        let pem = "-----BEGIN CERTIFICATE-----\nYw==\n-----END CERTIFICATE-----";
        let body = json!({ "kind": "dsse", "spec": {
            "payloadHash": { "algorithm": "sha256", "value": hex::encode(Sha256::digest(b"s")) },
            "signatures": [{ "signature": "eA==", "verifier": BASE64_STANDARD.encode(pem) }],
        }});
        let about = |statement: &[u8], signature: &[u8], certificate: &[u8]| {
            is_about(body.to_string().as_bytes(), &SignedStatement { statement, signature, certificate, entries: &[] })
        };
        assert!(about(b"s", b"x", b"c"));
        assert!(!about(b"t", b"x", b"c") && !about(b"s", b"y", b"c") && !about(b"s", b"x", b"d"));
    }

    #[test]
    fn a_root_without_authorities_or_logs_is_none() {
        for bad in ["", "[]", "{}", r#"{"tlogs":[{}]}"#, r#"{"certificateAuthorities":[{"certChain":{}}]}"#] {
            assert!(TrustRoot::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(certificate in proptest::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,80}") {
            let root = TrustRoot { authorities: Vec::new(), logs: Vec::new() };
            let entries = [json!({ "canonicalizedBody": text })];
            let signed = SignedStatement {
                statement: text.as_bytes(), signature: &certificate, certificate: &certificate, entries: &entries,
            };
            let _ = root.verify(&signed);
            let _ = is_about(text.as_bytes(), &signed);
            let _ = TrustRoot::parse(text.as_bytes());
        }
    }
}
