//! Documents as newer clients read them.

use publaryn_core::Ecosystem;
use serde_json::{Value, json};

use super::{
    Pack,
    pack::{change, get, send, unpacked},
};
use crate::{Server, on_backends};

on_backends!(the_service_index_names_what_each_client_looks_for, async |server: Server| {
    let said = get(&server, "/v3/index.json", None).await;
    let index = said.json();
    let address = |kind: &str| {
        let found = index["resources"].as_array().unwrap().iter().find(|resource| resource["@type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}"))["@id"].as_str().unwrap().to_owned()
    };
    let base = format!("{}/nuget", server.base_url());
    for (kind, wanted) in [
        ("PackageBaseAddress/3.0.0", "/v3/flatcontainer/"),
        ("RegistrationsBaseUrl", "/v3/registration/"),
        ("RegistrationsBaseUrl/3.4.0", "/v3/registration-gz/"),
        ("RegistrationsBaseUrl/3.6.0", "/v3/registration-semver2/"),
        ("RegistrationsBaseUrl/Versioned", "/v3/registration-semver2/"),
        ("SearchQueryService", "/v3/search"),
        ("SearchQueryService/3.0.0-beta", "/v3/search"),
        ("SearchAutocompleteService/3.0.0-beta", "/v3/autocomplete"),
        ("PackagePublish/2.0.0", "/v2/package"),
        ("SymbolPackagePublish/4.9.0", "/v2/symbolpackage"),
        ("LegacyGallery", "/v2/"),
        ("VulnerabilityInfo/6.7.0", "/v3/vulnerabilities/index.json"),
    ] {
        assert_eq!(address(kind), format!("{base}{wanted}"), "{kind}");
    }
    let etag = said.header("etag").to_owned();
    let again = server.http.get(format!("{base}/v3/index.json")).header("if-none-match", etag);
    assert_eq!(send(again).await.status, 304);
});

on_backends!(registration_tells_everything_a_client_needs, async |server: Server| {
    let user = server.new_user("ada").await;
    let icon = b"\x89PNG\r\n\x1a\nrest";
    let full = Pack::new("Acme.Lib", "1.0.0")
        .with("<title>Acme &amp; Co</title><tags>one two</tags><license type='expression'>MIT</license><icon>i.png</icon>")
        .with("<readme>docs/README.md</readme><projectUrl>https://acme.test/</projectUrl>")
        .with("<dependencies><group targetFramework='.NETStandard2.0'><dependency id='Other' version='1.0' /></group><group targetFramework='net6.0' /></dependencies>")
        .file("i.png", icon.to_vec())
        .file("docs/README.md", "# Hello");
    full.live(&server, &user).await;
    Pack::new("Acme.Lib", "2.0.0-Beta.1+abc").live(&server, &user).await;
    Pack::new("Acme.Lib", "1.1").needs("Other", "[1.0.0-a.b,)").live(&server, &user).await;
    let base = format!("{}/nuget", server.base_url());

    let plain = get(&server, "/v3/registration/ACME.Lib/index.json", None).await;
    assert_eq!(plain.header("content-encoding"), "");
    let plain = plain.json();
    assert_eq!(plain["count"], 1);
    assert_eq!(plain["items"][0]["count"], 1, "what needs SemVer 2 is not told to those who lack it: {plain}");
    let entry = &plain["items"][0]["items"][0]["catalogEntry"];
    for (key, wanted) in [
        ("id", json!("Acme.Lib")),
        ("version", json!("1.0.0")),
        ("authors", json!("Ada, Bob")),
        ("title", json!("Acme & Co")),
        ("tags", json!(["one", "two"])),
        ("licenseExpression", json!("MIT")),
        ("iconUrl", json!(format!("{base}/v3/flatcontainer/acme.lib/1.0.0/icon"))),
        ("projectUrl", json!("https://acme.test/")),
        ("listed", json!(true)),
        ("summary", json!("")),
        ("requireLicenseAcceptance", json!(false)),
        ("packageContent", json!(format!("{base}/v3/flatcontainer/acme.lib/1.0.0/acme.lib.1.0.0.nupkg"))),
    ] {
        assert_eq!(entry[key], wanted, "{key}");
    }
    let groups = entry["dependencyGroups"].as_array().unwrap();
    assert_eq!((groups.len(), groups[0]["targetFramework"].as_str()), (2, Some(".NETStandard2.0")));
    assert_eq!(groups[0]["dependencies"][0]["range"], "[1.0.0, )");
    assert_eq!(groups[1]["dependencies"], json!([]));
    assert!(entry.get("vulnerabilities").is_none() && entry.get("deprecation").is_none());

    let gzip = unpacked(&get(&server, "/v3/registration-gz/acme.lib/index.json", None).await);
    assert_eq!(gzip["items"][0]["count"], 1);
    let said = get(&server, "/v3/registration-semver2/acme.lib/index.json", None).await;
    let all = unpacked(&said);
    let versions: Vec<&str> = all["items"][0]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|leaf| leaf["catalogEntry"]["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["1.0.0", "1.1.0", "2.0.0-Beta.1+abc"]);
    assert_eq!(
        (all["items"][0]["lower"].as_str(), all["items"][0]["upper"].as_str()),
        (Some("1.0.0"), Some("2.0.0-Beta.1"))
    );
    // Every address of a document leads to something, in the same collection.
    for leaf in all["items"][0]["items"].as_array().unwrap() {
        for key in ["@id", "packageContent", "registration"] {
            let address = leaf[key].as_str().unwrap();
            assert!(key == "packageContent" || address.starts_with(&format!("{base}/v3/registration-semver2/")));
            assert_eq!(send(server.http.get(address)).await.status, 200, "{address}");
        }
    }
    let page = all["items"][0]["@id"].as_str().unwrap();
    let page = unpacked(&send(server.http.get(page)).await);
    assert_eq!((page["count"].as_u64(), page["items"].as_array().unwrap().len()), (Some(3), 3));
    assert!(page["parent"].as_str().is_some());
    // The page of an index from before a version came in between.
    let page = get(&server, "/v3/registration-semver2/acme.lib/page/1.0.0/1.1.0.json", None).await;
    assert_eq!(unpacked(&page)["count"], 2);
    assert_eq!(get(&server, "/v3/registration-semver2/acme.lib/page/1.1.0/1.0.0.json", None).await.status, 404);
    let etag = said.header("etag").to_owned();
    let again = server.http.get(format!("{base}/v3/registration-semver2/acme.lib/index.json"));
    assert_eq!(send(again.header("if-none-match", etag)).await.status, 304);

    // Unlisted: told, and told apart.
    change(&server, http::Method::DELETE, "/v2/package/acme.lib/1.0.0", Some(&user.token)).await.is(204, "");
    let leaf = get(&server, "/v3/registration/acme.lib/1.0.0.json", None).await.json();
    assert_eq!(leaf["listed"], false);
    assert!(leaf["published"].as_str().unwrap().starts_with("1900-"), "{leaf}");

    // Files inside.
    let said = get(&server, "/v3/flatcontainer/acme.lib/1.0.0/icon", None).await;
    assert_eq!((said.status, said.header("content-type"), said.bytes.as_slice()), (200, "image/png", &icon[..]));
    let said = get(&server, "/v3/flatcontainer/acme.lib/1.0.0/readme", None).await;
    assert_eq!((said.status, said.text().as_str()), (200, "# Hello"));
    assert!(said.header("content-security-policy").contains("sandbox"));
    assert_eq!(get(&server, "/v3/flatcontainer/acme.lib/1.0.0/license", None).await.status, 404);
    let said = get(&server, "/v3/flatcontainer/acme.lib/1.0.0/acme.lib.nuspec", None).await;
    assert_eq!((said.status, said.text()), (200, full.nuspec()));
    let db = server.database().await;
    let id = db.package_head(Ecosystem::Nuget, "acme.lib").await.unwrap().expect("the package").id;
    let kept = db.release_metadata(id, "1.0.0").await.unwrap().expect("a document").to_string();
    assert!(!kept.contains("<metadata>"), "lists read it, so the manifest is not in it: {kept}");
    // The package itself, as uploaded, whole or in part, by any spelling.
    let address = "/v3/flatcontainer/ACME.LIB/1.0.0.0/ACME.LIB.1.0.0.0.nupkg";
    let said = get(&server, address, None).await;
    assert_eq!((said.status, said.bytes.as_slice()), (200, full.zip().as_slice()));
    let part = server.http.get(format!("{base}{address}")).header("range", "bytes=0-1");
    let part = send(part).await;
    assert_eq!((part.status, part.text().as_str()), (206, "PK"));
    let head = send(server.http.head(format!("{base}{address}"))).await;
    assert_eq!((head.status, head.header("content-length")), (200, full.zip().len().to_string().as_str()));
    for missing in [
        "/v3/flatcontainer/acme.nil/index.json",
        "/v3/registration/acme.lib/2.0.0-beta.1.json",
        "/v3/registration/acme.lib/nonsense.json",
        "/v3/registration/acme.lib/page/1.0.0/9.0.0.json",
        "/v3/flatcontainer/acme.lib/9.9.9/acme.lib.9.9.9.nupkg",
        "/v3/nothing",
    ] {
        assert_eq!(get(&server, missing, None).await.status, 404, "{missing}");
    }
});

on_backends!(many_versions_are_told_page_by_page, async |server: Server| {
    let user = server.new_user("ada").await;
    let index = async || get(&server, "/v3/registration/acme.lib/index.json", None).await.json();
    for number in 0..127 {
        Pack::new("Acme.Lib", &format!("1.{number}.0")).live(&server, &user).await;
    }
    let inline = index().await;
    assert_eq!((inline["count"].as_u64(), inline["items"][1]["items"].as_array().unwrap().len()), (Some(2), 63));
    Pack::new("Acme.Lib", "2.0.0").live(&server, &user).await;
    let paged = index().await;
    assert_eq!(paged["items"].as_array().unwrap().len(), 2);
    let mut seen = Vec::new();
    for page in paged["items"].as_array().unwrap() {
        assert!(page.get("items").is_none(), "a key without value breaks clients");
        let page = send(server.http.get(page["@id"].as_str().unwrap())).await.json();
        let leaves = page["items"].as_array().unwrap();
        seen.extend(leaves.iter().map(|leaf| leaf["catalogEntry"]["version"].as_str().unwrap().to_owned()));
    }
    assert_eq!((seen.len(), seen[9].as_str(), seen[127].as_str()), (128, "1.9.0", "2.0.0"));
});

on_backends!(findings_are_told_with_the_versions_and_as_a_list, async |server: Server| {
    let user = server.new_user("ada").await;
    for version in ["1.0.0", "1.1.0"] {
        Pack::new("Acme.Lib", version).live(&server, &user).await;
    }
    let list = async |password: Option<&str>| {
        let index = get(&server, "/v3/vulnerabilities/index.json", password).await.json();
        let page = &index[0];
        let updated = page["@updated"].as_str().filter(|at| at.ends_with('Z')).expect("a time").to_owned();
        assert!(page["@name"] == "base", "{index}");
        let address =
            page["@id"].as_str().unwrap().strip_prefix(&format!("{}/nuget", server.base_url())).unwrap().to_owned();
        (get(&server, &address, password).await.json(), address, updated)
    };
    let (empty, before, _) = list(None).await;
    assert_eq!(empty, json!({}), "clients read an object");
    let entry = async || -> Value {
        let index = get(&server, "/v3/registration/acme.lib/index.json", None).await.json();
        index["items"][0]["items"][1]["catalogEntry"].clone()
    };
    assert!(entry().await.get("vulnerabilities").is_none());
    server.find("nuget", "acme.lib", "1.1.0", "Overflow").await;
    // Nothing else about the package has changed.
    assert_eq!(entry().await["vulnerabilities"][0]["severity"], "2");
    let (known, after, found_at) = list(None).await;
    assert_ne!(before, after, "clients fetch a list again when its address is another");
    assert_eq!(known["acme.lib"][0]["versions"], "[1.1.0, 1.1.0]");
    assert_eq!(known["acme.lib"][0]["severity"], 2);
    let hit = get(&server, "/v3/search?q=acme.lib", None).await.json();
    assert_eq!(hit["data"][0]["vulnerabilities"][0]["severity"], "2");
    // What the caller may not see has none.
    server.set_visibility("nuget", "acme.lib", "private").await;
    let (hidden, _, hidden_at) = list(None).await;
    assert_eq!(hidden, json!({}));
    assert!(hidden_at >= found_at, "clients go by the time: {hidden_at} {found_at}");
    assert_eq!(list(Some(&user.token)).await.0, known);
    // Neither has what was found to be none.
    let triage = server.token(&user.name, &user.password, &["packages:read", "security:write"]).await;
    let path = "/v1/packages/nuget/Acme.Lib/security-findings";
    let found: Value = serde_json::from_str(&server.get(path, Some(&triage)).await.1).expect("JSON");
    let finding = found["findings"][0]["id"].as_str().expect("an id").to_owned();
    let request = server.http.patch(format!("{}{path}/{finding}", server.base_url())).bearer_auth(&triage);
    assert_eq!(send(request.json(&json!({ "is_resolved": true, "note": "a false alarm" }))).await.status, 200);
    let (resolved, _, resolved_at) = list(Some(&user.token)).await;
    assert_eq!(resolved, json!({}));
    assert!(resolved_at > hidden_at, "{resolved_at} {hidden_at}");
});

on_backends!(a_deprecation_tells_what_to_use_instead, async |server: Server| {
    let user = server.new_user("ada").await;
    for version in ["1.0.0", "1.1.0"] {
        Pack::new("Acme.Lib", version).live(&server, &user).await;
    }
    for (version, message) in [("1.0.0", "Use Acme.New instead."), ("1.1.0", "obsolete")] {
        let path = format!("{}/v1/packages/nuget/Acme.Lib/releases/{version}/deprecate", server.base_url());
        let request = server.http.put(path).json(&json!({ "message": message })).bearer_auth(&user.token);
        assert_eq!(send(request).await.status, 200);
    }
    let index = get(&server, "/v3/registration/acme.lib/index.json", None).await.json();
    let deprecation = |at: usize| index["items"][0]["items"][at]["catalogEntry"]["deprecation"].clone();
    assert_eq!(
        deprecation(0),
        json!({
            "reasons": ["Other"],
            "message": "Use Acme.New instead.",
            "alternatePackage": { "id": "Acme.New", "range": "*" },
        })
    );
    assert_eq!(deprecation(1), json!({ "reasons": ["Other"], "message": "obsolete" }), "a word is no package");
});
