//! Search and completion.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Pack,
    pack::{change, get, until_found},
};
use crate::{Server, faults::state::eventually, on_backends};

async fn ids(server: &Server, path: &str) -> Vec<String> {
    let found = get(server, path, None).await.json();
    let id = |hit: &Value| hit["id"].as_str().or(hit.as_str()).unwrap().to_owned();
    found["data"].as_array().unwrap().iter().map(id).collect()
}

on_backends!(packages_are_found_by_what_they_say_and_by_what_the_client_can_use, async |server: Server| {
    let user = server.new_user("ada").await;
    let tagged = |version: &str| Pack::new("Acme.Json", version).with("<tags>parser fast</tags>");
    tagged("1.0.0").live(&server, &user).await;
    tagged("1.1.0-beta").live(&server, &user).await;
    tagged("2.0.0-beta.1").live(&server, &user).await;
    Pack::new("Acme.Json.Tool", "1.0.0")
        .with("<packageTypes><packageType name='DotnetTool' /></packageTypes>")
        .live(&server, &user)
        .await;
    Pack::new("Acme.Preview", "0.1.0-alpha").live(&server, &user).await;
    until_found(&server, "acme", 3).await;
    let newest =
        async |path: &str| get(&server, path, None).await.json()["data"][0]["version"].as_str().map(str::to_owned);
    assert_eq!(
        ids(&server, "/v3/search?q=Acme.Json").await,
        ["Acme.Json", "Acme.Json.Tool"],
        "the exact id comes first"
    );
    assert_eq!(newest("/v3/search?q=acme.json").await.as_deref(), Some("1.0.0"));
    assert_eq!(newest("/v3/search?q=acme.json&prerelease=true").await.as_deref(), Some("1.1.0-beta"));
    let all = "/v3/search/?q=acme.json&prerelease=true&semVerLevel=2.0.0";
    assert_eq!(newest(all).await.as_deref(), Some("2.0.0-beta.1"));
    let hit = get(&server, all, None).await.json()["data"][0].clone();
    assert!(hit["registration"].as_str().unwrap().contains("/registration-semver2/"), "{hit}");
    assert_eq!((hit["versions"].as_array().unwrap().len(), hit["owners"][0].as_str()), (3, Some("ada")));
    assert_eq!(ids(&server, "/v3/search?q=packageid:ACME.json").await, ["Acme.Json"]);
    assert_eq!(ids(&server, "/v3/search?q=packageid:acme.nil").await, [""; 0]);
    assert_eq!(ids(&server, "/v3/search?q=tag:parser").await, ["Acme.Json"]);
    assert_eq!(ids(&server, "/v3/search?q=owner:ada+tool").await, ["Acme.Json.Tool"]);
    assert_eq!(ids(&server, "/v3/search?q=owner:nobody").await, [""; 0]);
    assert_eq!(ids(&server, "/v3/search?q=packageid:acme.json+tag:parser+owner:ada").await, ["Acme.Json"]);
    assert_eq!(ids(&server, "/v3/search?q=packageid:acme.json+tag:slow").await, [""; 0]);
    assert_eq!(ids(&server, "/v3/search?q=packageid:acme.json+owner:nobody").await, [""; 0]);
    assert_eq!(ids(&server, "/v3/search?q=acme.json.tool+tag:parser").await, [""; 0], "of that id, but not so tagged");
    assert_eq!(ids(&server, "/v3/search?packageType=dotnettool").await, ["Acme.Json.Tool"]);
    assert_eq!(ids(&server, "/v3/search?packageTypeFilter=Nonsense").await, [""; 0]);
    let (first, second) = (ids(&server, "/v3/search?take=1").await, ids(&server, "/v3/search?take=1&skip=1").await);
    assert!(first.len() == 1 && second.len() == 1 && first != second, "{first:?} {second:?}");
    assert_eq!(ids(&server, "/v3/search?skip=2").await, [""; 0], "the preview does not count");
    assert_eq!(get(&server, "/v3/search?take=many", None).await.status, 400);
    assert_eq!(get(&server, "/v3/search", None).await.json()["totalHits"], 2);

    assert_eq!(ids(&server, "/v3/autocomplete?q=acme.j").await, ["Acme.Json", "Acme.Json.Tool"]);
    assert_eq!(ids(&server, "/v3/autocomplete/?q=acme&prerelease=true&take=1&skip=2").await, ["Acme.Preview"]);
    assert_eq!(ids(&server, "/v3/autocomplete?q=tool").await, ["Acme.Json.Tool"]);
    assert_eq!(ids(&server, "/v3/autocomplete?q=parser").await, [""; 0], "a tag is no id");
    assert_eq!(ids(&server, "/v3/autocomplete?take=1&skip=1").await, ["Acme.Json.Tool"]);
    assert_eq!(ids(&server, "/v3/autocomplete?id=acme.json&prerelease=true").await, ["1.0.0", "1.1.0-beta"]);
    assert_eq!(ids(&server, "/v3/autocomplete?id=acme.nil").await, [""; 0]);

    change(&server, http::Method::DELETE, "/v2/package/acme.json.tool/1.0.0", Some(&user.token)).await.is(204, "");
    assert_eq!(ids(&server, "/v3/search?q=acme").await, ["Acme.Json"], "unlisted is not found");
    assert_eq!(ids(&server, "/v3/autocomplete?q=acme").await, ["Acme.Json"]);
    assert_eq!(ids(&server, "/v3/autocomplete?id=acme.json.tool").await, [""; 0]);
});

on_backends!(search_tells_downloads_of_versions_and_who_owns_the_prefix, async |server: Server| {
    const SCOPES: &[&str] = &["packages:write", "repositories:write", "namespaces:write"];
    let (ada, bob) = (server.new_user_with("ada", SCOPES).await, server.new_user("bob").await);
    let claim = json!({ "ecosystem": "nuget", "namespace": "Acme." });
    let claim = server.post("/v1/namespaces", Some(&ada.token), &claim).await;
    for version in ["1.0.0", "1.1.0"] {
        Pack::new("Acme.Lib", version).live(&server, &ada).await;
    }
    Pack::new("Other.Lib", "1.0.0").live(&server, &bob).await;
    until_found(&server, "lib", 2).await;
    let hit =
        async |id: &str| get(&server, &format!("/v3/search?q=packageid:{id}"), None).await.json()["data"][0].clone();
    assert_eq!(hit("acme.lib").await["verified"], false, "anybody may claim a prefix");
    let (database, id) = (server.database().await, claim["id"].as_str().expect("a claim has an id").to_owned());
    let mut tx = database.begin().await.unwrap();
    tx.set_claim_verified(id.parse().unwrap(), true).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(hit("acme.lib").await["verified"], true);
    assert_eq!(hit("other.lib").await["verified"], false);

    for _ in 0..2 {
        assert_eq!(get(&server, "/v3/flatcontainer/acme.lib/1.1.0/acme.lib.1.1.0.nupkg", None).await.status, 200);
    }
    assert_eq!(get(&server, "/v2/package/Other.Lib/1.0.0", None).await.status, 200);
    let downloads = async || {
        let hit = hit("acme.lib").await;
        let of = |at: usize| hit["versions"][at]["downloads"].as_i64().expect("a number");
        (of(0), of(1), hit["totalDownloads"].as_i64().expect("a number"))
    };
    eventually("the downloads are counted", Duration::from_secs(60), async || {
        let mut tx = database.begin().await.unwrap();
        tx.fold_downloads(100).await.unwrap();
        tx.commit().await.unwrap();
        downloads().await.2 == 2
    })
    .await;
    assert_eq!(downloads().await, (0, 2, 2));
    let entry = get(&server, "/v2/Packages(Id='Acme.Lib',Version='1.1.0')", None).await.text();
    assert!(entry.contains("<d:VersionDownloadCount m:type=\"Edm.Int32\">2</d:VersionDownloadCount>"), "{entry}");
});

on_backends!(organizations_own_what_is_theirs, async |server: Server| {
    const SCOPES: &[&str] = &["packages:write", "repositories:write", "orgs:write", "packages:transfer"];
    let ada = server.new_user_with("ada", SCOPES).await;
    server.post("/v1/orgs", Some(&ada.token), &json!({ "slug": "acme", "name": "Acme" })).await;
    Pack::new("Acme.Lib", "1.0.0").live(&server, &ada).await;
    Pack::new("Other.Lib", "1.0.0").live(&server, &ada).await;
    let transfer = json!({ "target_org_slug": "acme" });
    server.post("/v1/packages/nuget/Acme.Lib/ownership-transfer", Some(&ada.token), &transfer).await;
    eventually("the index knows the owner", Duration::from_secs(30), async || {
        ids(&server, "/v3/search?q=owner:acme").await == ["Acme.Lib"]
    })
    .await;
    let found = get(&server, "/v3/search?q=packageid:acme.lib", None).await.json();
    assert_eq!(found["data"][0]["owners"][0], "acme", "{found}");
});
