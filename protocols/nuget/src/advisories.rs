//! Findings as clients hear of them: with each version, and as one list for audits.

use std::collections::BTreeMap;

use publaryn_core::{Ecosystem, RegistryError, finding::Severity};
use publaryn_registry::Advisory;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    call::{Answer, Call},
    version::{Parts, without_metadata},
};

/// What is known against the versions of one package.
#[derive(Debug, Clone, Default)]
pub struct Advisories {
    /// By version as the registry spells it; the worst first.
    by_version: BTreeMap<String, Vec<Severity>>,
}

impl Advisories {
    pub fn collect(rows: &[Advisory]) -> Self {
        let mut by_version: BTreeMap<String, Vec<Severity>> = BTreeMap::new();
        for row in rows {
            by_version.entry(row.version.clone()).or_default().push(row.severity);
        }
        for list in by_version.values_mut() {
            list.sort_unstable();
            list.dedup();
            list.reverse();
        }
        Self { by_version }
    }

    /// `vulnerabilities` of a version; severities count up from 0.
    pub fn shown(&self, version: &str, address: &str) -> Option<Value> {
        let list = self.by_version.get(version)?;
        let shown = |severity: &Severity| json!({ "advisoryUrl": address, "severity": level(*severity).to_string() });
        Some(list.iter().map(shown).collect())
    }
}

/// NuGet's levels: 0 low, 1 moderate, 2 high, 3 critical.
const fn level(severity: Severity) -> u8 {
    match severity {
        Severity::Info | Severity::Low => 0,
        Severity::Medium => 1,
        Severity::High => 2,
        Severity::Critical => 3,
    }
}

/// The one page there is, by what it says and for whom: clients keep it under its name and address.
const PAGE: &str = "base";

/// `vulnerabilities/index.json`
pub(crate) async fn index(call: &Call) -> Answer {
    call.require_reader()?;
    // Asked first: what changes meanwhile changes it again.
    let updated = call.registry.advisories_changed_at(Ecosystem::Nuget).await?;
    // Before the first finding the list was never changed.
    let updated = updated.map_or_else(|| "2020-01-01T00:00:00.000Z".to_owned(), |at| at.to_millis_string());
    let page = page(call).await?;
    let stamp = hex::encode(&Sha256::digest(page.to_string())[..8]);
    let address = format!("{}/v3/vulnerabilities/{PAGE}-{stamp}.json", call.base());
    let comment = "Unresolved findings on packages of this registry";
    Ok(call.json(&json!([{ "@name": PAGE, "@id": address, "@updated": updated, "comment": comment }])))
}

/// `vulnerabilities/base-{stamp}.json`: always what is known now; the stamp only makes a new address of new content.
pub(crate) async fn named_page(call: &Call, name: &str) -> Answer {
    call.require_reader()?;
    if name != PAGE && !name.starts_with("base-") {
        return Err(call.miss().await);
    }
    Ok(call.json(&page(call).await?))
}

async fn page(call: &Call) -> Result<Value, RegistryError> {
    let rows = call.registry.all_advisories(&call.who, Ecosystem::Nuget).await?;
    Ok(list(&rows, call.portal().as_str()))
}

/// By id; each entry names exactly one version. Sorted by descending maximum, as the protocol wants it.
fn list(rows: &[Advisory], portal: &str) -> Value {
    let mut found: BTreeMap<&str, BTreeMap<(Vec<u8>, String), Severity>> = BTreeMap::new();
    for row in rows {
        let Some(parts) = Parts::parse(&row.version) else { continue };
        let key = (parts.sort_key(), without_metadata(&row.version).to_owned());
        let worst = found.entry(&row.package).or_default().entry(key).or_insert(row.severity);
        *worst = (*worst).max(row.severity);
    }
    let mut list = Map::new();
    for (id, versions) in found {
        let address = format!("{portal}/packages/nuget/{id}/-/security");
        let entry = |((_, version), severity): (&(Vec<u8>, String), &Severity)| json!({ "severity": level(*severity), "url": address, "versions": format!("[{version}, {version}]") });
        list.insert(id.to_owned(), versions.iter().rev().map(entry).collect());
    }
    list.into()
}

#[cfg(test)]
mod tests {
    use publaryn_core::{PackageId, Timestamp};

    use super::*;

    fn row(package: &str, version: &str, severity: Severity) -> Advisory {
        Advisory {
            package_id: PackageId::new(),
            package: package.into(),
            version: version.into(),
            rule_id: "X".into(),
            severity,
            title: "t".into(),
            location: String::new(),
            detected_at: Timestamp::now(),
        }
    }

    #[test]
    fn each_version_is_named_once_with_the_worst_that_is_known_the_newest_first() {
        let rows = [
            row("a", "1.9.0", Severity::Medium),
            row("a", "1.10.0+x", Severity::High),
            row("a", "1.9.0", Severity::Critical),
            row("b", "1.0.0", Severity::Medium),
        ];
        let shown = list(&rows, "http://p");
        let entry = |severity: u8, id: &str, range: &str| json!({ "severity": severity, "url": format!("http://p/packages/nuget/{id}/-/security"), "versions": range });
        let wanted = json!({
            "a": [entry(2, "a", "[1.10.0, 1.10.0]"), entry(3, "a", "[1.9.0, 1.9.0]")],
            "b": [entry(1, "b", "[1.0.0, 1.0.0]")],
        });
        assert_eq!(shown, wanted);
        assert_eq!(list(&[], ""), json!({}), "clients read an object, even an empty one");
        let of = Advisories::collect(&rows[..3]);
        let wanted = json!([{ "advisoryUrl": "u", "severity": "3" }, { "advisoryUrl": "u", "severity": "1" }]);
        assert_eq!(of.shown("1.9.0", "u"), Some(wanted));
        assert_eq!(of.shown("2.0.0", "u"), None);
    }
}
