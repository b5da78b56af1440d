//! Whether the bytes that arrived are the ones the client meant to send.

use base64::{Engine, prelude::BASE64_STANDARD};
use publaryn_core::Digests;
use serde_json::{Map, Value};

use crate::error::NpmError;

/// Compares length and digests as the client states them in `dist` with what was received.
///
/// # Errors
/// 400 `EINTEGRITY`.
pub(crate) fn check(
    manifest: &Map<String, Value>,
    claimed_length: Option<u64>,
    size_bytes: u64,
    digests: &Digests,
) -> Result<(), NpmError> {
    let fail = |message: String| Err(NpmError::bad_request(format!("EINTEGRITY: {message}")));
    if let Some(claimed) = claimed_length.filter(|claimed| *claimed != size_bytes) {
        return fail(format!("the tarball has {size_bytes} bytes, not {claimed}"));
    }
    let dist = manifest.get("dist");
    let text =
        |key: &str| dist.and_then(|d| d.get(key)).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty());
    let (integrity, shasum) = (text("integrity"), text("shasum"));
    // yarn classic sends the SHA-1 only.
    if integrity.is_none() && shasum.is_none() {
        return fail("the body states no digest of the tarball".into());
    }
    if let Some(integrity) = integrity {
        let sha512 = integrity.split_ascii_whitespace().find_map(|hash| hash.strip_prefix("sha512-"));
        let stated = sha512.and_then(|hash| BASE64_STANDARD.decode(hash.split('?').next().unwrap_or(hash)).ok());
        match stated.map(hex::encode) {
            Some(stated) if stated == digests.sha512 => {}
            Some(_) => return fail("the sha512 of the tarball is not the one in dist.integrity".into()),
            None => return fail("dist.integrity holds no sha512".into()),
        }
    }
    if let (Some(stated), Some(sha1)) = (shasum, digests.sha1.as_deref())
        && !stated.eq_ignore_ascii_case(sha1)
    {
        return fail("the sha1 of the tarball is not the one in dist.shasum".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use publaryn_core::Digest;
    use serde_json::json;

    use super::*;

    #[test]
    fn stated_digests_must_be_those_of_the_bytes() {
        let digests = Digests {
            sha256: Digest::from_bytes([0; 32]),
            sha512: "00".repeat(64),
            sha1: Some("ab".repeat(20)),
            md5: None,
        };
        let right = format!("sha512-{}==", "A".repeat(86));
        let verdict = |dist: Value, length: Option<u64>| {
            check(json!({ "dist": dist }).as_object().unwrap(), length, 5, &digests).is_ok()
        };
        assert!(verdict(json!({"integrity": right, "shasum": "AB".repeat(20)}), Some(5)));
        assert!(verdict(json!({"integrity": format!("sha1-x {right}?opt")}), None));
        assert!(verdict(json!({"shasum": "ab".repeat(20)}), Some(5)));
        assert!(!verdict(json!({"integrity": right}), Some(6)));
        assert!(!verdict(json!({"integrity": right, "shasum": "cd".repeat(20)}), None));
        assert!(!verdict(json!({"integrity": format!("sha512-{}==", "B".repeat(86))}), None));
        assert!(!verdict(json!({"integrity": "sha1-xyz"}), None));
        assert!(!verdict(json!({"integrity": format!("sha512-{}", "00".repeat(64))}), None), "hex is not base64");
        assert!(!verdict(json!({}), None));
    }
}
