//! What is known against versions: in the project's JSON, and for `pip-audit -s osv --osv-url …/pypi/osv/v1/query`.
//!
//! Sources: <https://docs.pypi.org/api/json/>, <https://google.github.io/osv.dev/post-v1-query/>,
//! <https://ossf.github.io/osv-schema/>

use std::collections::BTreeMap;

use axum::body::Body;
use http::StatusCode;
use publaryn_core::{Ecosystem, Timestamp, Version, finding::Severity};
use publaryn_protocol::read_body;
use publaryn_registry::Advisory;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    call::{Answer, Call},
    error::PypiError,
    json_answer,
    name::normalize,
    version::{parse, parse_version},
};

/// A question names one package and one version.
const MAX_QUERY_BYTES: u64 = 64 << 10;

/// The name of this ecosystem in OSV.
const ECOSYSTEM: &str = "PyPI";

#[derive(Deserialize)]
struct Query {
    package: Package,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    ecosystem: String,
}

/// `POST /pypi/osv/v1/query`: what is known against a package, or one version of it; `{}` when that is nothing.
///
/// The question is JSON, whatever its type says: pip-audit announces none.
pub(crate) async fn query(call: &Call, body: Body) -> Answer {
    call.require_reader()?;
    let body = read_body(body, MAX_QUERY_BYTES).await?;
    let query: Query = serde_json::from_slice(&body).map_err(|_| {
        let text = "Ask with {\"package\": {\"name\": …, \"ecosystem\": \"PyPI\"}, \"version\": …}.";
        PypiError::refused(StatusCode::BAD_REQUEST, text)
    })?;
    let clean = || Ok(json_answer(&json!({})));
    let name = normalize(&query.package.name).filter(|_| query.package.ecosystem == ECOSYSTEM);
    let Some(name) = name else { return clean() };
    let mut known = call.registry.advisories(&call.who, Ecosystem::Pypi, &[&name]).await?;
    if let Some(version) = &query.version {
        let Some(wanted) = parse_version(version) else { return clean() };
        let is_it = |version: Version| version.unique_key() == wanted.unique_key();
        known.retain(|row| parse_version(&row.version).is_some_and(is_it));
    }
    if known.is_empty() {
        return clean();
    }
    let address = format!("{}/packages/pypi/{name}", call.base().as_str());
    let vulns: Vec<Value> = entries(known.iter()).iter().map(|entry| entry.osv(&name, &address)).collect();
    Ok(json_answer(&json!({ "vulns": vulns })))
}

/// `vulnerabilities` of one version in the project's JSON.
pub(crate) fn of_version(known: &[Advisory], version: &str, address: &str) -> Vec<Value> {
    let of_it = known.iter().filter(|row| row.version == version);
    entries(of_it).iter().map(|entry| entry.listed(address)).collect()
}

/// One rule that versions of a package break, wherever in them.
struct Entry<'a> {
    rule: &'a str,
    title: &'a str,
    severity: Severity,
    /// What was found, and where.
    details: Vec<String>,
    versions: Vec<&'a str>,
    first_detected: Timestamp,
    last_detected: Timestamp,
}

fn entries<'a>(rows: impl Iterator<Item = &'a Advisory>) -> Vec<Entry<'a>> {
    let mut by_rule: BTreeMap<&str, Entry<'a>> = BTreeMap::new();
    for row in rows {
        let entry = by_rule.entry(&row.rule_id).or_insert_with(|| Entry {
            rule: &row.rule_id,
            title: &row.title,
            severity: row.severity,
            details: Vec::new(),
            versions: Vec::new(),
            first_detected: row.detected_at,
            last_detected: row.detected_at,
        });
        entry.severity = entry.severity.max(row.severity);
        entry.first_detected = entry.first_detected.min(row.detected_at);
        entry.last_detected = entry.last_detected.max(row.detected_at);
        let detail = match row.location.as_str() {
            "" => row.title.clone(),
            location => format!("{} ({location})", row.title),
        };
        if !entry.details.contains(&detail) {
            entry.details.push(detail);
        }
        if !entry.versions.contains(&row.version.as_str()) {
            entry.versions.push(&row.version);
        }
    }
    let mut all: Vec<Entry<'_>> = by_rule.into_values().collect();
    for entry in &mut all {
        entry.versions.sort_by_cached_key(|version| parse(version));
    }
    all
}

impl Entry<'_> {
    /// Findings are about this registry's own files: nobody else has a name for them, and no version is known to mend
    /// them.
    fn listed(&self, address: &str) -> Value {
        json!({
            "id": self.rule,
            "aliases": [],
            "summary": self.title,
            "details": self.details.join("\n"),
            "fixed_in": [],
            "link": security_page(address),
            "source": "publaryn",
            "withdrawn": null,
        })
    }

    fn osv(&self, name: &str, address: &str) -> Value {
        json!({
            "schema_version": "1.6.0",
            "id": self.rule,
            "summary": self.title,
            "details": self.details.join("\n"),
            "published": self.first_detected.to_millis_string(),
            "modified": self.last_detected.to_millis_string(),
            // pip-audit reads `package` and `ranges` of every entry without looking whether they are there.
            "affected": [{
                "package": { "name": name, "ecosystem": ECOSYSTEM, "purl": format!("pkg:pypi/{name}") },
                "ranges": [],
                "versions": self.versions,
            }],
            "references": [{ "type": "WEB", "url": security_page(address) }],
            "database_specific": { "severity": self.severity.as_str() },
        })
    }
}

fn security_page(address: &str) -> String {
    format!("{address}/-/security")
}

#[cfg(test)]
mod tests {
    use publaryn_core::PackageId;

    use super::*;

    fn row(version: &str, rule: &str, location: &str, severity: Severity) -> Advisory {
        Advisory {
            package_id: PackageId::new(),
            package: "demo".into(),
            version: version.into(),
            rule_id: rule.into(),
            severity,
            title: "a secret".into(),
            location: location.into(),
            detected_at: Timestamp::from_micros(1_767_323_045_000_000),
        }
    }

    #[test]
    fn findings_of_one_rule_are_one_entry() {
        let known = [
            row("1.10", "SEC-1", "a.py", Severity::Medium),
            row("1.9", "SEC-1", "b.py", Severity::High),
            row("1.9", "SEC-1", "a.py", Severity::Medium),
            row("1.9", "SEC-2", "", Severity::Medium),
        ];
        let all = entries(known.iter());
        let osv = all[0].osv("demo", "https://e/packages/pypi/demo");
        assert_eq!((all.len(), &osv["affected"][0]["versions"]), (2, &json!(["1.9", "1.10"])));
        assert_eq!(osv["details"], "a secret (a.py)\na secret (b.py)");
        assert_eq!(osv["database_specific"]["severity"], "high");
        assert_eq!(osv["affected"][0]["ranges"], json!([]));
        let listed = of_version(&known, "1.9", "https://e/packages/pypi/demo");
        assert_eq!((listed.len(), &listed[1]["details"]), (2, &json!("a secret")));
        assert_eq!(listed[0]["link"], "https://e/packages/pypi/demo/-/security");
        assert!(of_version(&known, "2.0", "").is_empty());
    }
}
