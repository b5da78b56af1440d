//! `GET /packages.json`: what this repository offers, to whom asks.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use publaryn_core::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    call::{Answer, Call, MOUNT, json as json_answer},
    packages::{is_unmodified, not_modified},
};

/// Vendors that are listed one by one. With more the list would cost each run more than the questions it spares.
const MAX_PATTERNS: usize = 5_000;

pub(crate) async fn packages_json(call: &Call) -> Answer {
    let base = call.base();
    let portal = call.portal();
    // The path before the mount, behind a proxy that adds one: clients resolve this address against the host.
    let prefix = portal.as_str().split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
    let prefix = prefix.map(|path| format!("/{path}")).unwrap_or_default();
    let mut document = json!({
        "packages": [],
        "metadata-url": format!("{prefix}{MOUNT}/p2/%package%.json"),
        "search": format!("{base}/search.json?q=%query%&type=%type%"),
        "list": format!("{base}/list.json"),
        "providers-api": format!("{base}/providers/%package%.json"),
        "notify-batch": format!("{base}/downloads"),
        "security-advisories": { "metadata": true, "api-url": format!("{base}/api/security-advisories/") },
    });
    let patterns = patterns(call).await?;
    if !patterns.is_empty() {
        document["available-package-patterns"] = patterns.into_iter().collect();
    }
    let body = document.to_string();
    let validator = validator(&body);
    let mut response = json_answer(StatusCode::OK, &document);
    let is_anonymous = call.who.is_anonymous();
    let caching = if is_anonymous { "public, max-age=0, must-revalidate" } else { "private, no-cache" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if is_anonymous {
        stamp(&mut response, &validator);
        if is_unmodified(&call.headers, &validator) {
            not_modified(&mut response);
        }
    }
    Ok(response)
}

/// One pattern per vendor the caller may see something of, so that clients do not ask here for other repositories'
/// packages. None at all while there is something that can be read but is not listed: it would not be found.
async fn patterns(call: &Call) -> Result<Vec<String>, publaryn_core::RegistryError> {
    if call.listed.has_unlisted(call).await? {
        return Ok(Vec::new());
    }
    let names = call.listed.names(call).await?;
    let is_few = names.vendors.len() <= MAX_PATTERNS;
    Ok(names.vendors.iter().filter(|_| is_few).map(|vendor| format!("{vendor}/*")).collect())
}

/// A date that is the same exactly while the document is: clients have no other validator, and there is no moment
/// that says when a list last changed on any of several servers. Some day between 2001 and 2018; two documents share
/// one with a chance of 2⁻²⁹.
fn validator(body: &str) -> String {
    let hash = Sha256::digest(body);
    let seconds = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 3;
    Timestamp::from_micros((1_000_000_000 + i64::from(seconds)) * 1_000_000).to_http_date()
}

fn stamp(response: &mut Response, validator: &str) {
    if let Ok(value) = HeaderValue::from_str(validator) {
        response.headers_mut().insert(header::LAST_MODIFIED, value);
    }
}

#[cfg(test)]
mod tests {
    use super::validator;

    #[test]
    fn the_validator_changes_with_the_document() {
        assert_eq!(validator("a"), validator("a"));
        assert_ne!(validator("a"), validator("b"));
        assert!(validator("a").ends_with(" GMT"));
    }
}
