//! Attestations sent with an upload (PEP 740): kept if they are about the file, and vouched for where the operator
//! trusts somebody's signatures and the project trusts the workflow that signed.
//!
//! uv sends them by itself when they lie next to a distribution, so refusing the field would break plain
//! `uv publish`. Source: <https://packaging.python.org/en/latest/specifications/index-hosted-attestations/>

use base64::prelude::{BASE64_STANDARD, Engine as _};
use publaryn_auth::sigstore::{SignedStatement, Signer, TrustRoot};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::filename::DistributionName;

/// Most attestations of one file: one of its publisher and one of its build.
const MAX_ATTESTATIONS: usize = 2;

const PREDICATE_TYPES: [&str; 2] = ["https://docs.pypi.org/attestations/publish/v1", "https://slsa.dev/provenance/v1"];

/// An attestation about the file it came with.
#[derive(Debug, Deserialize)]
pub struct Attestation {
    version: u64,
    envelope: Envelope,
    verification_material: Material,
}

#[derive(Debug, Deserialize)]
struct Material {
    /// Base64 of DER.
    certificate: String,
    transparency_entries: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    statement: String,
    signature: String,
}

/// An in-toto statement, <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.
#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

/// Checks the form of the `attestations` field and that each one is about this file.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn check(
    field: &str,
    file: &DistributionName,
    project: &str,
    version: &str,
    sha256_hex: &str,
) -> Result<Vec<Attestation>, String> {
    let list: Vec<&RawValue> = serde_json::from_str(field).map_err(|_| "the field is not a JSON array".to_owned())?;
    if list.len() > MAX_ATTESTATIONS {
        return Err(format!("a file may have at most {MAX_ATTESTATIONS} attestations"));
    }
    let read = |raw: &RawValue| {
        let attestation: Attestation =
            serde_json::from_str(raw.get()).map_err(|error| format!("malformed attestation: {error}"))?;
        check_one(&attestation, file, project, version, sha256_hex)?;
        Ok(attestation)
    };
    list.into_iter().map(read).collect()
}

impl Attestation {
    /// Who signed, if their word counts.
    ///
    /// # Errors
    /// What is wrong with the signature.
    pub fn verify(&self, root: &TrustRoot) -> Result<Signer, String> {
        let decoded = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| "a part of it is not base64".to_owned());
        let (statement, signature) = (decoded(&self.envelope.statement)?, decoded(&self.envelope.signature)?);
        let certificate = decoded(&self.verification_material.certificate)?;
        let signed = SignedStatement {
            statement: &statement,
            signature: &signature,
            certificate: &certificate,
            entries: &self.verification_material.transparency_entries,
        };
        root.verify(&signed).map_err(|problem| problem.to_string())
    }
}

fn check_one(
    attestation: &Attestation,
    file: &DistributionName,
    project: &str,
    version: &str,
    sha256_hex: &str,
) -> Result<(), String> {
    if attestation.version != 1 {
        return Err(format!("unknown attestation version {}", attestation.version));
    }
    let malformed = |what: &str| Err(format!("malformed attestation: {what}"));
    if BASE64_STANDARD.decode(&attestation.envelope.signature).is_err() {
        return malformed("the signature is not base64");
    }
    let Ok(statement) = BASE64_STANDARD.decode(&attestation.envelope.statement) else {
        return malformed("the statement is not base64");
    };
    let Ok(statement) = serde_json::from_slice::<Statement>(&statement) else {
        return malformed("the statement is not an in-toto statement");
    };
    if statement.kind != "https://in-toto.io/Statement/v1" {
        return malformed("the statement is not an in-toto statement of version 1");
    }
    if !PREDICATE_TYPES.iter().any(|known| known.eq_ignore_ascii_case(&statement.predicate_type)) {
        let shown: String = statement.predicate_type.chars().take(100).collect();
        return Err(format!("unknown attestation predicate type: {shown}"));
    }
    let [subject] = statement.subject.as_slice() else {
        return malformed("the statement must have exactly one subject");
    };
    // The same file may be spelled in another way.
    let is_same = DistributionName::parse(&subject.name, project, version)
        .is_ok_and(|named| named.format == file.format && named.tags == file.tags);
    if !is_same {
        let shown: String = subject.name.chars().take(100).collect();
        return Err(format!("the subject is '{shown}', not '{}'", file.text));
    }
    if !subject.digest.sha256.eq_ignore_ascii_case(sha256_hex) {
        return Err("the digest of the subject is not that of the file".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SHA256: &str = "aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00";

    fn attestation(edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "demo-1.0-py3-none-any.whl", "digest": { "sha256": SHA256 } }],
            "predicateType": "https://docs.pypi.org/attestations/publish/v1",
            "predicate": null,
        });
        let mut outer = json!({
            "version": 1,
            "verification_material": { "certificate": "x", "transparency_entries": [{}] },
            "envelope": { "signature": "AAAA" },
        });
        edit(&mut statement, &mut outer);
        outer["envelope"]["statement"] = BASE64_STANDARD.encode(statement.to_string()).into();
        json!([outer]).to_string()
    }

    fn verdict(field: &str) -> Result<(), String> {
        let file = DistributionName::parse("Demo-1.0.0-py3-none-any.whl", "demo", "1.0").unwrap();
        check(field, &file, "demo", "1.0", SHA256).map(drop)
    }

    #[test]
    fn attestations_about_the_file_are_accepted() {
        assert_eq!(verdict("[]"), Ok(()));
        assert_eq!(verdict(&attestation(|_, _| {})), Ok(()));
        let slsa = attestation(|s, _| s["predicateType"] = json!("https://slsa.dev/provenance/v1"));
        assert_eq!(verdict(&slsa), Ok(()));
    }

    #[test]
    fn everything_else_is_refused() {
        let three = attestation(|_, _| {}).replace(['[', ']'], "");
        let three = format!("[{}]", [three.as_str(); 3].join(","));
        for bad in [
            "".to_owned(),
            "{}".to_owned(),
            "[1]".to_owned(),
            "[{}]".to_owned(),
            three,
            attestation(|_, o| o["version"] = json!(2)),
            attestation(|_, o| o["verification_material"] = json!({})),
            attestation(|_, o| o["envelope"]["signature"] = json!("%")),
            attestation(|s, _| s["_type"] = json!("x")),
            attestation(|s, _| s["predicateType"] = json!("https://example.test/x")),
            attestation(|s, _| s["subject"] = json!([])),
            attestation(|s, _| s["subject"][0]["name"] = json!("demo-1.1-py3-none-any.whl")),
            attestation(|s, _| s["subject"][0]["name"] = json!("demo-1.0-py2-none-any.whl")),
            attestation(|s, _| s["subject"][0]["digest"]["sha256"] = json!("bb")),
        ] {
            assert!(verdict(&bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = verdict(&text);
        }
    }
}
