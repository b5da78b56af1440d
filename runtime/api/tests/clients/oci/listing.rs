//! Tags, the catalog and referrers, page by page.

use serde_json::{Value, json};

use super::{Answer, Desk, Wire, layer, sha256, wire};
use crate::{Server, on_backends};

/// The path in `Link: <…>; rel="next"`.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.try_header("link")?;
    assert!(link.starts_with("</v2/") && link.ends_with("; rel=\"next\""), "{link}");
    Some(link[1..link.find('>').unwrap()].to_owned())
}

const TAGS: usize = 25_000;

on_backends!(twenty_five_thousand_tags_are_listed_in_byte_order, async |server: Server| {
    let user = server.new_user("ada").await;
    let (ada, desk) = (Wire::of(&server, &user), Desk::of(&server, &user));
    ada.get("/v2/acme/app/tags/list").await.refuses(404, "NAME_UNKNOWN");
    let digest = ada.image("acme/app", "B", &[&layer(&[("a", b"a")])]).await;
    let few = ["_x", "a", "a-1", "a.1", "Z", "b"];
    let query: Vec<String> = few.iter().map(|tag| format!("tag={tag}")).collect();
    let manifest = ada.get("/v2/acme/app/manifests/B").await.is(200).body;
    let kind = [("content-type", wire::IMAGE)];
    ada.put(&format!("/v2/acme/app/manifests/{digest}?{}", query.join("&")), &kind, manifest).await.is(201);
    let mut expected: Vec<String> = few.iter().map(|tag| (*tag).to_owned()).chain(["B".to_owned()]).collect();
    expected.sort_unstable();
    assert_eq!(ada.get("/v2/acme/app/tags/list").await.json(), json!({ "name": "acme/app", "tags": expected }));

    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {TAGS}) \
         INSERT INTO tags (package_id, tag, release_id, sequence, updated_at) \
         SELECT t.package_id, 'v' || i, t.release_id, t.sequence, t.updated_at FROM tags t, n WHERE t.tag = 'B'"
    );
    server.database().await.execute_raw(&many).await.unwrap();
    expected.extend((1..=TAGS).map(|n| format!("v{n}")));
    expected.sort_unstable();
    // By the default page, by one of ours, and by every client.
    for first in ["/v2/acme/app/tags/list", "/v2/acme/app/tags/list?n=999"] {
        let (mut seen, mut path) = (Vec::new(), Some(first.to_owned()));
        while let Some(page) = path {
            let answer = ada.get(&page).await.is(200);
            seen.extend(answer.json()["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()));
            path = next(&answer);
        }
        assert!(seen == expected, "{first}: {} tags", seen.len());
    }
    let lines = desk.crane("ls HOST/acme/app").await.succeeds().out;
    assert!(lines.lines().eq(expected.iter()), "crane lists them all");
    let lines = desk.oras("repo tags --plain-http HOST/acme/app").await.succeeds().out;
    assert!(lines.lines().eq(expected.iter()), "oras lists them all");
    let listed = desk.skopeo("list-tags --tls-verify=false docker://HOST/acme/app").await.succeeds().out;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["Tags"].as_array().unwrap().len(), expected.len());
    assert!(listed["Tags"].as_array().unwrap().iter().eq(expected.iter()), "skopeo lists them all");

    let page = async |query: &str| ada.get(&format!("/v2/acme/app/tags/list?{query}")).await;
    assert_eq!(page("last=v9998").await.json()["tags"], json!(["v9999"]));
    assert_eq!(page("last=v99980").await.json()["tags"], json!(["v9999"]));
    let none = page("n=0").await.is(200);
    assert_eq!((none.json()["tags"].clone(), next(&none)), (json!([]), None));
    for wrong in ["n=-1", "n=x", "n="] {
        page(wrong).await.refuses(400, "UNSUPPORTED");
    }
});

on_backends!(the_catalog_shows_what_the_caller_may_find, async |mut server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    for n in 0..7 {
        ada.image(&format!("acme/p{n}"), "1", &[b"x"]).await;
    }
    // A blob alone makes no repository.
    ada.blob("acme/p9", b"x").await;
    server.restart_with(&[("packages.personal_repository_visibility", "private")]).await;
    let stranger = server.new_user("eve").await;
    let eve = Wire::of(&server, &stranger);
    eve.image("acme/p3a", "1", &[b"x"]).await;
    let names = |upto: &[&str]| json!({ "repositories": upto.iter().map(|n| format!("acme/{n}")).collect::<Vec<_>>() });
    let all = ["p0", "p1", "p2", "p3", "p4", "p5", "p6"];
    assert_eq!(ada.get("/v2/_catalog").await.is(200).json(), names(&all));
    assert_eq!(eve.get("/v2/_catalog").await.json(), names(&["p0", "p1", "p2", "p3", "p3a", "p4", "p5", "p6"]));
    let first = ada.get("/v2/_catalog?n=4").await.is(200);
    assert_eq!(first.json(), names(&all[..4]));
    let rest = ada.get(&next(&first).unwrap()).await.is(200);
    assert_eq!((rest.json(), next(&rest)), (names(&all[4..]), None));
    let asked = Wire::anonymous(&server).get("/v2/_catalog").await.refuses(401, "UNAUTHORIZED");
    assert!(asked.header("www-authenticate").contains("scope=\"registry:catalog:*\""));
});

on_backends!(referrers_are_listed_by_subject, async |server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    let missing = sha256(b"not here");
    let list = async |query: &str| ada.get(&format!("/v2/acme/app/referrers/{query}")).await;
    // Before anything exists.
    let none = list(&missing).await.is(200);
    assert_eq!(none.header("content-type"), wire::INDEX);
    assert_eq!(none.json(), json!({ "schemaVersion": 2, "mediaType": wire::INDEX, "manifests": [] }));
    list("sha256:x").await.refuses(400, "DIGEST_INVALID");

    let image = ada.image("acme/app", "1", &[b"layer"]).await;
    let mut about = ada.prepare("acme/app", &[b"sbom"]).await;
    about["subject"] = json!({ "mediaType": wire::IMAGE, "digest": image, "size": 1 });
    let plain = about.clone();
    about["artifactType"] = json!("example/sbom");
    let mut digests = Vec::new();
    for (n, manifest) in [&about, &about, &about, &plain].into_iter().enumerate() {
        let mut manifest = manifest.clone();
        manifest["annotations"] = json!({ "n": n.to_string() });
        let answer = ada.manifest("acme/app", &wire::digest_of(&manifest), &manifest).await.is(201);
        assert_eq!(answer.header("oci-subject"), image);
        digests.push(wire::digest_of(&manifest));
    }
    let config_type = "application/vnd.oci.image.config.v1+json";
    let mut sorted = digests.clone();
    sorted.sort_unstable();
    let all = list(&image).await.is(200).json();
    let found: Vec<&Value> = all["manifests"].as_array().unwrap().iter().collect();
    assert!(found.iter().map(|entry| entry["digest"].as_str().unwrap()).eq(sorted.iter()), "{all}");
    for entry in &found {
        let n = digests.iter().position(|digest| *digest == entry["digest"]).unwrap();
        assert_eq!(entry["artifactType"], if n == 3 { config_type } else { "example/sbom" });
        assert_eq!(entry["annotations"], json!({ "n": n.to_string() }));
        assert_eq!(entry["mediaType"], wire::IMAGE);
    }
    let filtered = list(&format!("{image}?artifactType=example/sbom&n=2")).await.is(200);
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), 2);
    let rest = ada.get(&next(&filtered).unwrap()).await.is(200);
    assert_eq!((rest.json()["manifests"].as_array().unwrap().len(), next(&rest)), (1, None));
    // Deleted with its manifest.
    ada.delete(&format!("/v2/acme/app/manifests/{}", digests[0])).await.is(202);
    assert_eq!(list(&image).await.json()["manifests"].as_array().unwrap().len(), 3);
    // Of a subject that is not there, too.
    about["subject"]["digest"] = json!(missing);
    ada.manifest("acme/app", "about", &about).await.is(201);
    assert_eq!(list(&missing).await.json()["manifests"].as_array().unwrap().len(), 1);
});
