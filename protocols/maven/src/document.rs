//! What is stored of a version: everything the control plane and the portal show of it.

use publaryn_core::publish::{PackageFacts, ReleaseDocument};
use serde_json::{Value, json};

use crate::{
    name::Coordinates,
    pom::{Dependency, Pom},
};

/// What a version says of itself once its POM is cleared.
pub fn release_document(pom: &Pom, coordinates: &Coordinates, version: &str) -> ReleaseDocument {
    ReleaseDocument { metadata: metadata(pom, coordinates, version), facts: facts(pom) }
}

/// The document of a POM, for the control plane.
pub fn metadata(pom: &Pom, coordinates: &Coordinates, version: &str) -> Value {
    let parent = pom
        .parent
        .as_ref()
        .map(|parent| json!({ "group_id": parent.group, "artifact_id": parent.artifact, "version": parent.version }));
    json!({
        "group_id": coordinates.group,
        "artifact_id": coordinates.artifact,
        "version": version,
        "packaging": pom.packaging,
        "name": pom.name,
        "description": pom.description,
        "url": pom.url,
        "inception_year": pom.inception_year,
        "organization": pom.organization,
        "parent": parent,
        "licenses": pom.licenses.iter().map(|l| json!({ "name": l.name, "url": l.url })).collect::<Vec<_>>(),
        "developers": pom.developers.iter()
            .map(|d| json!({ "id": d.id, "name": d.name, "organization": d.organization })).collect::<Vec<_>>(),
        "scm_url": pom.scm_url,
        "issues_url": pom.issues_url,
        "dependencies": pom.dependencies.iter().map(dependency).collect::<Vec<_>>(),
    })
}

fn dependency(dependency: &Dependency) -> Value {
    json!({
        "group_id": dependency.group,
        "artifact_id": dependency.artifact,
        "version": dependency.version,
        "type": dependency.kind,
        "classifier": dependency.classifier,
        "scope": dependency.scope,
        "optional": dependency.is_optional,
    })
}

fn facts(pom: &Pom) -> PackageFacts {
    let licenses = pom.licenses.iter().filter_map(|license| license.name.as_deref().or(license.url.as_deref()));
    let licenses: Vec<&str> = licenses.take(5).collect();
    PackageFacts {
        description: pom.description.clone().or_else(|| pom.name.clone()),
        homepage: pom.url.clone().filter(|url| is_web(url)),
        repository_url: pom.scm_url.clone(),
        license: (!licenses.is_empty()).then(|| licenses.join(", ")),
        keywords: Vec::new(),
        readme: None,
    }
}

/// Only addresses become links.
fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_package_come_from_its_pom() {
        let text = "<project><groupId>g</groupId><artifactId>a</artifactId><version>1</version><name>A</name>\
            <url>https://e/</url><scm><url>https://git</url></scm><licenses><license><name>MIT</name></license>\
            <license><name>Apache-2.0</name></license></licenses><dependencies><dependency><groupId>x</groupId>\
            <artifactId>y</artifactId></dependency></dependencies></project>";
        let pom = Pom::parse(text.as_bytes()).unwrap();
        let document = release_document(&pom, &Coordinates::new("g", "a").unwrap(), "1");
        assert_eq!(document.facts.license.as_deref(), Some("MIT, Apache-2.0"));
        assert_eq!(document.facts.description.as_deref(), Some("A"));
        assert_eq!(document.facts.repository_url.as_deref(), Some("https://git"));
        assert_eq!(document.metadata["packaging"], "jar");
        assert_eq!(document.metadata["dependencies"][0]["artifact_id"], "y");
    }

    #[test]
    fn what_is_no_address_is_no_link() {
        let pom = Pom { url: Some("javascript:alert(1)".into()), ..Pom::default() };
        assert_eq!(facts(&pom).homepage, None);
    }
}
