//! The sigstore bundle of `npm publish --provenance`: read as far as it must be about this very tarball,
//! then kept as it came. Nobody here verifies its signature, so it is never served as an attestation.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::StatusCode;
use serde_json::Value;

use crate::error::NpmError;

/// Largest bundle, in bytes.
const MAX_BUNDLE_BYTES: usize = 256 << 10;

/// Checks that the bundle's statement names this package, version and content.
///
/// # Errors
/// 422 for anything else.
pub(crate) fn check(bundle: &str, name: &str, version: &str, sha512_hex: &str) -> Result<(), NpmError> {
    let fail =
        |message: &str| Err(NpmError::refused(StatusCode::UNPROCESSABLE_ENTITY, format!("provenance: {message}")));
    if bundle.len() > MAX_BUNDLE_BYTES {
        return fail("the bundle is too large");
    }
    let Ok(bundle) = serde_json::from_str::<Value>(bundle) else { return fail("the bundle is not JSON") };
    let media_type = bundle.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    if !media_type.starts_with("application/vnd.dev.sigstore.bundle") {
        return fail("the attachment is not a sigstore bundle");
    }
    let payload = bundle.pointer("/dsseEnvelope/payload").and_then(Value::as_str).unwrap_or_default();
    let statement: Option<Value> =
        BASE64_STANDARD.decode(payload).ok().and_then(|raw| serde_json::from_slice(&raw).ok());
    let Some(statement) = statement else { return fail("the bundle has no readable statement") };
    // Package URL: the `@` of a scope is percent-encoded.
    let purl = format!("pkg:npm/{}@{version}", name.replacen('@', "%40", 1));
    let subjects = statement.get("subject").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    match subjects {
        [one] if one.get("name").and_then(Value::as_str) != Some(&purl) => fail("its subject is another package"),
        [one] if one.pointer("/digest/sha512").and_then(Value::as_str) != Some(sha512_hex) => {
            fail("its subject is another tarball")
        }
        [_] => Ok(()),
        _ => fail("it must have exactly one subject"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bundle(name: &str, sha512: &str) -> String {
        let statement = json!({"subject": [{"name": name, "digest": {"sha512": sha512}}]}).to_string();
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "dsseEnvelope": {"payload": BASE64_STANDARD.encode(statement)},
        })
        .to_string()
    }

    #[test]
    fn the_statement_must_be_about_this_tarball() {
        let verdict = |bundle: &str| check(bundle, "@a/b", "1.0.0", "ff").is_ok();
        assert!(verdict(&bundle("pkg:npm/%40a/b@1.0.0", "ff")));
        assert!(!verdict(&bundle("pkg:npm/%40a/c@1.0.0", "ff")));
        assert!(!verdict(&bundle("pkg:npm/%40a/b@1.0.0", "00")));
        assert!(!verdict("{}") && !verdict("nonsense"));
        assert!(!verdict(r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#));
    }
}
