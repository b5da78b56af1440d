//! The service index: which resources there are, and where. Each resource is listed once for every type that some
//! client asks for; clients take the newest they know (nuget.md §3).

use serde_json::{Value, json};

use crate::{
    call::{Answer, Call},
    route::Hive,
};

/// Types of each resource, and whether its address is a folder.
pub(crate) async fn service_index(call: &Call) -> Answer {
    call.require_reader()?;
    Ok(call.json(&document(&call.base(), call.portal().as_str())))
}

fn document(base: &str, portal: &str) -> Value {
    let mut resources = Vec::new();
    let mut add = |address: &str, types: &[&str], comment: &str| {
        for kind in types {
            resources.push(json!({ "@id": address, "@type": kind, "comment": comment }));
        }
    };
    let hive = |hive: Hive| format!("{base}/v3/{}/", hive.folder());
    add(
        &format!("{base}/v3/flatcontainer/"),
        &["PackageBaseAddress/3.0.0"],
        "Packages and manifests by id and version",
    );
    add(
        &hive(Hive::Plain),
        &["RegistrationsBaseUrl", "RegistrationsBaseUrl/3.0.0-beta", "RegistrationsBaseUrl/3.0.0-rc"],
        "Metadata of packages that need no SemVer 2",
    );
    add(&hive(Hive::Gzip), &["RegistrationsBaseUrl/3.4.0"], "The same, compressed");
    add(&hive(Hive::SemVer2), &["RegistrationsBaseUrl/3.6.0"], "Metadata of all packages, compressed");
    add(
        &format!("{base}/v3/search"),
        &[
            "SearchQueryService",
            "SearchQueryService/3.0.0-beta",
            "SearchQueryService/3.0.0-rc",
            "SearchQueryService/3.5.0",
        ],
        "Search",
    );
    add(
        &format!("{base}/v3/autocomplete"),
        &[
            "SearchAutocompleteService",
            "SearchAutocompleteService/3.0.0-beta",
            "SearchAutocompleteService/3.0.0-rc",
            "SearchAutocompleteService/3.5.0",
        ],
        "Ids and versions that begin with a text",
    );
    add(&format!("{base}/v2/package"), &["PackagePublish/2.0.0"], "Push, unlist, relist");
    add(&format!("{base}/v2/symbolpackage"), &["SymbolPackagePublish/4.9.0"], "Push symbols");
    add(&format!("{base}/v2/"), &["LegacyGallery", "LegacyGallery/2.0.0"], "The older protocol");
    add(
        &format!("{portal}/packages/nuget/{{id}}/{{version}}"),
        &["PackageDetailsUriTemplate/5.1.0"],
        "The page of a package",
    );
    add(
        &format!("{portal}/packages/nuget/{{id}}/{{version}}/-/security"),
        &["ReportAbuseUriTemplate/3.0.0"],
        "What is known against a package",
    );
    if portal.starts_with("https://") {
        add(&format!("{portal}/users/{{owner}}"), &["OwnerDetailsUriTemplate/6.11.0"], "The page of an account");
    }
    add(
        &format!("{base}/v3/flatcontainer/{{lower_id}}/{{lower_version}}/readme"),
        &["ReadmeUriTemplate/6.13.0"],
        "The readme of a package",
    );
    add(&format!("{base}/v3/vulnerabilities/index.json"), &["VulnerabilityInfo/6.7.0"], "Known vulnerabilities");
    resources.push(json!({
        "@id": hive(Hive::SemVer2),
        "@type": "RegistrationsBaseUrl/Versioned",
        "clientVersion": "4.3.0-alpha",
        "comment": "Metadata of all packages, compressed",
    }));
    json!({ "version": "3.0.0", "resources": resources })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_lies_in_its_view_and_every_type_is_a_text() {
        let base = "https://x.test/nuget/~auth";
        let index = document(base, "https://x.test");
        let resources = index["resources"].as_array().unwrap();
        for resource in resources {
            let (address, kind) = (resource["@id"].as_str().unwrap(), resource["@type"].as_str().unwrap());
            let is_page = kind.contains("UriTemplate") && !kind.starts_with("Readme");
            assert!(address.starts_with(base) || is_page, "{resource}");
        }
        let mut types: Vec<&str> = resources.iter().map(|resource| resource["@type"].as_str().unwrap()).collect();
        let count = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), count, "no type has two addresses");
        for absent in ["RepositorySignatures", "Catalog"] {
            assert!(!types.iter().any(|kind| kind.starts_with(absent)), "{absent}");
        }
    }
}
