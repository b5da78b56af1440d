//! Security advisories: what `composer audit` and `composer update` print of findings.
//!
//! Source of the form: `SecurityAdvisory::create` of composer/composer; composer.md §3.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use http::StatusCode;
use publaryn_core::{Ecosystem, RegistryError, Timestamp, finding::Severity};
use publaryn_protocol::read_body;
use publaryn_registry::{Advisory, PackageDocument};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    call::{Answer, Call, MOUNT, form_list, ok},
    error::ComposerError,
    name,
    version::Normalized,
};

/// Most names in one question (composer.md §3), and its largest body, in bytes.
const MAX_NAMES: usize = 1_000;
const MAX_BODY_BYTES: u64 = 1 << 20;

/// `POST /api/security-advisories/`
pub(crate) async fn asked_by_form(call: &Call, body: Body) -> Answer {
    let body = read_body(body, MAX_BODY_BYTES).await?;
    let form = std::str::from_utf8(&body).map_err(|_| ComposerError::bad_request("the form is not utf-8"))?;
    answer(call, form).await
}

/// `GET /api/security-advisories/?packages[]=…`
pub(crate) async fn asked_by_query(call: &Call) -> Answer {
    answer(call, call.uri.query().unwrap_or_default()).await
}

async fn answer(call: &Call, form: &str) -> Answer {
    let names: BTreeSet<String> = form_list(form, "packages").filter_map(|value| name::canonical(&value)).collect();
    if names.is_empty() && !form.contains("packages") {
        return Err(ComposerError::bad_request("name the packages you ask about: packages[]=vendor/package"));
    }
    if names.len() > MAX_NAMES {
        let text = format!("more than {MAX_NAMES} packages at once");
        return Err(ComposerError::refused(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found: Map<String, Value> =
        of(call, &names).await?.into_iter().map(|(name, list)| (name, list.into())).collect();
    ok(&json!({ "advisories": found }))
}

/// Advisories by package, of those packages the caller may see.
async fn of(call: &Call, names: &[&str]) -> Result<BTreeMap<String, Vec<Value>>, RegistryError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = call.registry.advisories(&call.who, Ecosystem::Composer, names).await?;
    Ok(by_package(&rows, call.portal().as_str()))
}

/// What is known against the versions of one package.
pub(crate) fn of_package(document: &PackageDocument, portal: &str) -> Vec<Value> {
    by_package(&document.advisories, portal).into_values().next().unwrap_or_default()
}

fn by_package(rows: &[Advisory], portal: &str) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
    for row in rows {
        let entries = found.entry(&row.package).or_default();
        match entries.iter_mut().find(|e| e.rule == row.rule_id && e.location == row.location && e.title == row.title) {
            Some(entry) => entry.join(row),
            None => entries.push(Entry::of(row)),
        }
    }
    let shown = |(name, entries): (&str, Vec<Entry>)| {
        (name.to_owned(), entries.iter().map(|entry| entry.shown(name, portal)).collect())
    };
    found.into_iter().map(shown).collect()
}

/// One finding across the versions that share it.
#[derive(Debug)]
struct Entry {
    rule: String,
    location: String,
    title: String,
    severity: Severity,
    reported_at: Timestamp,
    /// In the clients' normal form.
    versions: BTreeSet<String>,
}

impl Entry {
    fn of(row: &Advisory) -> Self {
        let mut entry = Self {
            rule: row.rule_id.clone(),
            location: row.location.clone(),
            title: row.title.clone(),
            severity: row.severity,
            reported_at: row.detected_at,
            versions: BTreeSet::new(),
        };
        entry.join(row);
        entry
    }

    fn join(&mut self, row: &Advisory) {
        self.severity = self.severity.max(row.severity);
        self.reported_at = self.reported_at.min(row.detected_at);
        self.versions.insert(Normalized::parse(&row.version).map_or_else(|_| row.version.clone(), |v| v.text));
    }

    /// Stable for as long as the finding is the same: people ignore advisories by it.
    fn id(&self, name: &str) -> String {
        let hash = Sha256::digest(format!("{name}\0{}\0{}\0{}", self.rule, self.location, self.title));
        format!("PUB-{}", hex::encode(&hash[..6]))
    }

    fn shown(&self, name: &str, portal: &str) -> Value {
        let id = self.id(name);
        json!({
            "advisoryId": id,
            "packageName": name,
            "title": self.title,
            "link": format!("{portal}/packages/composer/{name}/-/security"),
            "cve": self.rule.starts_with("CVE-").then_some(&self.rule),
            "affectedVersions": self.versions.iter().map(String::as_str).collect::<Vec<_>>().join("|"),
            "source": "Publaryn",
            "reportedAt": self.reported_at.to_seconds_string().replace('Z', "+00:00"),
            "composerRepository": format!("{portal}{MOUNT}"),
            "severity": self.severity.as_str(),
            "sources": [{ "name": "Publaryn", "remoteId": id }],
        })
    }
}
