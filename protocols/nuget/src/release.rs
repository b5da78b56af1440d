//! The document kept with a release, made once from its package; everything that is served of it reads from there.

use publaryn_core::{
    RegistryError,
    publish::{PackageFacts, REQUIRES},
};
use publaryn_protocol::KeptRelease;
use publaryn_registry::{LiveRelease, PackageDocument};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    archive::{Embedded, Package, Place},
    name,
    nuspec::{License, Nuspec},
    version,
};

/// What is kept of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub nuspec: Nuspec,
    pub embedded: Embedded,
    /// Clients from before SemVer 2 are not told of it.
    pub is_semver2: bool,
    /// Where the nuspec lies in the package: lists read these documents by the hundred, so it is not in them.
    pub manifest: Place,
}

impl Stored {
    pub fn of(package: &Package) -> Self {
        Self {
            nuspec: package.nuspec.clone(),
            embedded: package.embedded.clone(),
            is_semver2: package.nuspec.is_semver2(),
            manifest: package.manifest.clone(),
        }
    }

    /// # Errors
    /// Only when it is of another making.
    pub fn read(metadata: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(metadata)
    }

    /// As the registry keeps it, with the packages it asks for.
    pub fn to_metadata(&self) -> Result<Value, RegistryError> {
        let mut document = serde_json::to_value(self).map_err(RegistryError::internal)?;
        let groups = self.nuspec.dependency_groups.iter().flat_map(|group| &group.dependencies);
        let mut requires: Vec<String> = groups.map(|dependency| name::canonical(&dependency.id)).collect();
        requires.sort_unstable();
        requires.dedup();
        document[REQUIRES] = requires.into();
        Ok(document)
    }
}

/// Facts about the package for search and for the portal.
pub fn facts(package: &Package) -> PackageFacts {
    let nuspec = &package.nuspec;
    let license = match &nuspec.license {
        Some(License::Expression(expression)) => Some(expression.clone()),
        Some(License::File(_)) => None,
        None => nuspec.about.license_url.clone(),
    };
    PackageFacts {
        description: Some(nuspec.description.clone()),
        homepage: nuspec.about.project_url.clone(),
        repository_url: nuspec.repository_url.clone(),
        license,
        keywords: nuspec.tags().into_iter().map(str::to_owned).collect(),
        readme: package.readme.clone(),
    }
}

/// A live release with its document.
#[derive(Debug)]
pub struct Release<'a> {
    pub live: &'a LiveRelease,
    pub stored: Stored,
}

impl Release<'_> {
    /// Normalized, label and build metadata as published.
    pub fn version(&self) -> &str {
        &self.live.row.version
    }
    pub fn normalized(&self) -> &str {
        version::without_metadata(&self.live.row.version)
    }
    /// The form in addresses.
    pub fn key(&self) -> &str {
        &self.live.row.version_key
    }
    pub fn is_listed(&self) -> bool {
        !self.live.row.is_yanked
    }
    pub fn is_prerelease(&self) -> bool {
        self.live.row.is_prerelease
    }
    /// When it went live; clients know unlisted ones by the year 1900, too.
    pub fn published(&self) -> String {
        if !self.is_listed() {
            return "1900-01-01T00:00:00.000Z".to_owned();
        }
        self.live.row.published_at.unwrap_or(self.live.row.created_at).to_millis_string()
    }
}

impl<'a> Release<'a> {
    /// # Errors
    /// When its document cannot be read.
    pub fn of(live: &'a LiveRelease) -> Result<Self, serde_json::Error> {
        Ok(Self { live, stored: Stored::read(&live.row.metadata)? })
    }
}

/// Live releases in ascending order; without those that need SemVer 2, unless it is spoken.
///
/// # Errors
/// When a document cannot be read: half a list would make clients install something else.
pub fn releases(document: &PackageDocument, semver2: bool) -> Result<Vec<Release<'_>>, serde_json::Error> {
    let mut all = Vec::with_capacity(document.releases.len());
    for live in &document.releases {
        let release = Release::of(live)?;
        if semver2 || !release.stored.is_semver2 {
            all.push(release);
        }
    }
    all.sort_by(|a, b| a.live.row.sort_key.cmp(&b.live.row.sort_key));
    Ok(all)
}

/// The nuspec as the management API shows it; null when it is of another making.
pub(crate) fn details(release: &KeptRelease<'_>) -> Value {
    let Ok(nuspec) = Nuspec::deserialize(&release.document["nuspec"]) else { return Value::Null };
    let license_expression = match &nuspec.license {
        Some(License::Expression(expression)) => Some(expression),
        _ => None,
    };
    json!({
        "authors": nuspec.authors,
        "title": nuspec.about.title,
        "icon_url": nuspec.about.icon_url,
        "license_url": nuspec.about.license_url,
        "license_expression": license_expression,
        "project_url": nuspec.about.project_url,
        "require_license_acceptance": nuspec.require_license_acceptance,
        "min_client_version": nuspec.about.min_client_version,
        "summary": nuspec.about.summary,
        "tags": nuspec.tags(),
        "dependency_groups": nuspec.dependency_groups,
        "package_types": nuspec.types().iter().map(|kind| json!({ "name": kind })).collect::<Vec<_>>(),
        "is_listed": !release.is_yanked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_management_api_shows_the_nuspec() {
        let document = json!({"nuspec": {
            "id": "Acme.Lib", "version": "1.0.0", "authors": "Ada, Eve", "description": "d", "tags": "a b",
            "license": {"expression": "MIT"},
            "dependency_groups": [{"target_framework": "net8.0", "dependencies": [{"id": "x", "range": "[1, )"}]}],
        }});
        let release = KeptRelease {
            name: "Acme.Lib",
            version: "1.0.0",
            is_yanked: true,
            document: &document,
            files: Vec::new(),
            base_url: "http://h",
        };
        let shown = details(&release);
        assert_eq!((&shown["authors"], &shown["license_expression"]), (&json!("Ada, Eve"), &json!("MIT")));
        assert_eq!((&shown["tags"], &shown["is_listed"]), (&json!(["a", "b"]), &json!(false)));
        assert_eq!(shown["package_types"], json!([{"name": "Dependency"}]));
        assert_eq!(shown["dependency_groups"][0]["dependencies"][0]["id"], "x");
    }
}
