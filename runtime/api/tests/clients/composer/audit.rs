//! Advisories from findings, and abandoned packages.

use serde_json::{Value, json};

use super::{Desk, Lib, lib::send};
use crate::{Server, on_backends};

on_backends!(findings_are_told_by_update_and_audit, async |server: Server| {
    let user = server.new_user("ada").await;
    for version in ["1.0.0", "1.1.0"] {
        Lib::new("acme/lib", version).live(&server, &user).await;
    }
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/lib": "^1.0" }));
    let old = desk.project("old", &json!({ "acme/lib": "1.0.0" }));
    for dir in [&dir, &old] {
        desk.run(dir, &["update"]).await.ok().says("No security vulnerability advisories found");
        desk.run(dir, &["audit"]).await.ok().says("No security vulnerability advisories found");
    }
    server.find("composer", "acme/lib", "1.1.0.0", "Remote code execution").await;
    // Nothing else about the package has changed, so nothing but the finding can make the document another one.
    desk.run(&dir, &["update"]).await.says("Found 1 security vulnerability advisory affecting 1 package");
    let audit = desk.run(&dir, &["audit"]).await.ends_with(1);
    audit.says("Remote code execution").says("CVE-2026-0001").says("1.1.0.0");
    let audit = desk.run(&dir, &["audit", "--format=json"]).await.ends_with(1).json();
    let advisory = &audit["advisories"]["acme/lib"][0];
    assert_eq!(
        (advisory["title"].as_str(), advisory["cve"].as_str()),
        (Some("Remote code execution"), Some("CVE-2026-0001"))
    );
    desk.run(&old, &["audit"]).await.ok().says("No security vulnerability advisories found");

    let ask = async |token: Option<&str>, form: &str| {
        let path = "/composer/api/security-advisories/";
        send(&server, http::Method::POST, path, token, "application/x-www-form-urlencoded", form.into()).await
    };
    let found = ask(None, "packages%5B0%5D=acme%2Flib&packages%5B1%5D=acme%2Fmissing").await;
    assert_eq!(found.body["advisories"].as_object().unwrap().len(), 1, "{found:?}");
    assert_eq!(found.body["advisories"]["acme/lib"][0]["affectedVersions"], "1.1.0.0");
    assert_eq!(ask(None, "updatedSince=1").await.status, 400);
    // What people say about a finding changes the documents at once.
    let login = json!({ "username_or_email": user.name, "password": user.password });
    let session = server.post("/v1/auth/login", None, &login).await;
    let session = session["token"].as_str().expect("a session");
    let security = "/v1/packages/composer/acme%2Flib/security-findings";
    let (_, listed) = server.get(security, Some(session)).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let path = format!("{}{security}/{}", server.base_url(), listed["findings"][0]["id"].as_str().unwrap());
    for (is_resolved, told) in [(true, false), (false, true)] {
        let said = json!({ "is_resolved": is_resolved, "note": "looked at it" });
        let patched = server.http.patch(&path).bearer_auth(session).json(&said).send().await.unwrap();
        assert_eq!(patched.status(), 200);
        let (_, page) = server.get("/composer/p2/acme/lib.json", None).await;
        assert_eq!(page.contains("Remote code execution"), told, "{page}");
    }
    // What the caller may not see has none.
    server.set_visibility("composer", "acme/lib", "private").await;
    assert_eq!(ask(None, "packages[]=acme/lib").await.body, json!({ "advisories": {} }));
    assert_eq!(ask(Some(&user.token), "packages[]=acme/lib").await.body, found.body);

    server.database().await.execute_raw("UPDATE findings SET resolved_at = 1").await.unwrap();
    assert_eq!(ask(Some(&user.token), "packages[]=acme/lib").await.body, json!({ "advisories": {} }));
});

on_backends!(abandoned_packages_name_their_replacement, async |server: Server| {
    let user = server.new_user("ada").await;
    for version in ["1.0.0", "1.1.0"] {
        Lib::new("acme/lib", version).live(&server, &user).await;
    }
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/lib": "^1.0" }));
    desk.run(&dir, &["update"]).await.ok().never_says("abandoned");
    let mark = async |method: http::Method, token: Option<&str>, body: &str| {
        let path = "/composer/packages/acme/lib/abandoned";
        send(&server, method, path, token, "application/json", body.into()).await.status
    };
    let (put, delete) = (http::Method::PUT, http::Method::DELETE);
    let stranger = server.new_user("mallory").await;
    assert_eq!(mark(put.clone(), None, "{}").await, 401);
    assert_eq!(mark(put.clone(), Some(&stranger.token), "{}").await, 403);
    assert_eq!(mark(put.clone(), Some(&user.token), r#"{"replacement":"no name"}"#).await, 400);
    assert_eq!(mark(put.clone(), Some(&user.token), r#"{"replacement":"acme/newlib"}"#).await, 200);
    let said = "Package acme/lib is abandoned, you should avoid using it.";
    desk.run(&dir, &["update"]).await.ok().says(said).says("Use acme/newlib instead.");
    // A version published later is abandoned with the others.
    Lib::new("acme/lib", "1.2.0").live(&server, &user).await;
    desk.run(&dir, &["update"]).await.ok().says("=> 1.2.0").says(said).says("Use acme/newlib instead.");
    assert_eq!(mark(put, Some(&user.token), r#"{"replacement":null}"#).await, 200);
    desk.run(&dir, &["update"]).await.ok().says(said).says("No replacement was suggested.");
    assert_eq!(mark(delete, Some(&user.token), "").await, 200);
    desk.run(&dir, &["update"]).await.ok().never_says("abandoned");
});

on_backends!(a_deprecated_package_is_abandoned_in_all_its_versions, async |server: Server| {
    let user = server.new_user("ada").await;
    Lib::new("acme/lib", "1.0.0").live(&server, &user).await;
    let abandoned = async || {
        let (_, text) = server.get("/composer/p2/acme/lib.json", None).await;
        let document: Value = serde_json::from_str(&text).unwrap();
        let versions = document["packages"]["acme/lib"].as_array().unwrap();
        versions.iter().map(|version| version["abandoned"].clone()).collect::<Vec<_>>()
    };
    let patch = async |body: Value| {
        let url = format!("{}/v1/packages/composer/acme%2Flib", server.base_url());
        let response = server.http.patch(url).bearer_auth(&user.token).json(&body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{body}");
    };
    patch(json!({ "is_deprecated": true, "deprecation_message": "acme/newlib" })).await;
    assert_eq!(abandoned().await, ["acme/newlib"]);
    Lib::new("acme/lib", "1.1.0").live(&server, &user).await;
    assert_eq!(abandoned().await, ["acme/newlib", "acme/newlib"]);
    server.until(|page| page.contains("acme/newlib"), "/composer/search.json?q=lib").await;
    // What the native route says is said of the package, too, and taken back with it.
    let mark = async |method: http::Method, body: &str| {
        let path = "/composer/packages/acme/lib/abandoned";
        send(&server, method, path, Some(&user.token), "application/json", body.into()).await.status
    };
    assert_eq!(mark(http::Method::DELETE, "").await, 200);
    assert_eq!(abandoned().await, [Value::Null, Value::Null]);
    assert_eq!(mark(http::Method::PUT, r#"{"replacement":null}"#).await, 200);
    Lib::new("acme/lib", "1.2.0").live(&server, &user).await;
    assert_eq!(abandoned().await, [json!(true), json!(true), json!(true)]);
    let (_, package) = server.get("/v1/packages/composer/acme%2Flib", None).await;
    assert_eq!(serde_json::from_str::<Value>(&package).unwrap()["is_deprecated"], true, "{package}");
});
