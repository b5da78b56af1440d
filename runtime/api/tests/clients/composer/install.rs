//! Installing, updating, looking around.

use serde_json::{Value, json};

use super::{Desk, Lib};
use crate::{Server, on_backends};

fn lock(dir: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("composer.lock")).expect("a lock file")).expect("JSON")
}

on_backends!(a_project_installs_what_it_requires, async |server: Server| {
    let user = server.new_user("ada").await;
    Lib::new("acme/base", "1.4.0").live(&server, &user).await;
    let lib = Lib::new("acme/lib", "1.0.0").with("require", json!({ "acme/base": "^1.0" }));
    let lib = lib.with("bin", json!(["bin/hello"])).file("bin/hello", "#!/usr/bin/env php\n<?php echo 'hello';\n");
    lib.live(&server, &user).await;
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/lib": "^1.0" }));
    desk.run(&dir, &["install"]).await.ok().says("Locking acme/lib (1.0.0)").says("Installing acme/base (1.4.0)");
    desk.php(&dir, "require 'vendor/autoload.php'; echo AcmeLib\\Hello::VERSION, ' ', AcmeBase\\Hello::VERSION;")
        .await
        .ok()
        .says("1.0.0 1.4.0");
    desk.php(&dir, "require 'vendor/bin/hello';").await.ok().says("hello");

    let locked = lock(&dir);
    let dist = &locked["packages"][1]["dist"];
    assert_eq!(locked["packages"][1]["name"], "acme/lib", "{locked}");
    let url = dist["url"].as_str().unwrap();
    let sha1 = dist["shasum"].as_str().unwrap();
    assert!(url.starts_with(&format!("{}/composer/dist/acme/lib/1.0.0/", server.base_url())), "{url}");
    assert!(sha1.len() == 40 && dist["reference"] == sha1 && url.ends_with(&format!("/{sha1}.zip")), "{dist}");

    // From the cache; the install is reported all the same.
    std::fs::remove_dir_all(dir.join("vendor")).unwrap();
    let seen = server.log().lines().count();
    desk.run(&dir, &["install"]).await.ok().says("Installing acme/lib (1.0.0)").never_says("Downloading");
    let asked = server.requests(seen);
    assert!(!asked.iter().any(|(_, path, _)| path.contains("/dist/")), "{asked:?}");
    assert!(asked.contains(&("POST".into(), "/composer/downloads".into(), 201)), "{asked:?}");

    // A lock file from somewhere else that names other bytes.
    let tampered = std::fs::read_to_string(dir.join("composer.lock")).unwrap().replace(sha1, &"0".repeat(40));
    std::fs::write(
        dir.join("composer.lock"),
        tampered.replace(&format!("{}.zip", "0".repeat(40)), &format!("{sha1}.zip")),
    )
    .unwrap();
    std::fs::remove_dir_all(dir.join("vendor")).unwrap();
    desk.run(&dir, &["install"]).await.fails().says("The checksum verification of the file failed");
});

on_backends!(updates_see_each_publication_at_once, async |server: Server| {
    let user = server.new_user("ada").await;
    Lib::new("acme/lib", "1.0.0").live(&server, &user).await;
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/lib": "^1.0" }));
    desk.run(&dir, &["update"]).await.ok().says("Locking acme/lib (1.0.0)");
    let seen = server.log().lines().count();
    desk.run(&dir, &["update"]).await.ok().says("Nothing to modify in lock file");
    let asked = server.requests(seen);
    for path in ["/composer/packages.json", "/composer/p2/acme/lib.json"] {
        assert!(asked.contains(&("GET".into(), path.into(), 304)), "{path}: {asked:?}");
    }
    // Both within one second, with a look in between: `Last-Modified` has whole seconds.
    for version in ["1.1.1", "1.2.0"] {
        Lib::new("acme/lib", version).live(&server, &user).await;
        desk.run(&dir, &["update"]).await.ok().says(&format!("=> {version}"));
    }
    let stamps = async || {
        let response =
            server.http.get(format!("{}/composer/p2/acme/lib.json", server.base_url())).send().await.unwrap();
        response.headers()["last-modified"].to_str().unwrap().to_owned()
    };
    let mut known = vec![stamps().await];
    for patch in 1..4 {
        Lib::new("acme/lib", &format!("1.2.{patch}")).live(&server, &user).await;
        known.push(stamps().await);
    }
    known.dedup();
    assert_eq!(known.len(), 4, "{known:?}");

    Lib::new("acme/lib", "2.0.0-beta1").live(&server, &user).await;
    let all = desk.run(&dir, &["show", "-a", "acme/lib"]).await.ok();
    all.says("versions : 2.0.0-beta1, 1.2.3, 1.2.2").says("a test of acme/lib").says("MIT License");
    desk.run(&dir, &["outdated"]).await.ok().says("acme/lib 1.2.0 ! 1.2.3");
    let fresh = desk.project("fresh", &json!({}));
    desk.run(&fresh, &["require", "acme/lib:^1"]).await.ok().says("Locking acme/lib (1.2.3)");
    desk.run(&fresh, &["require", "acme/lib:^9"]).await.ends_with(2).says("but it does not match");
    let seen = server.log().lines().count();
    let nothing = desk.run(&fresh, &["require", "acme/missing:^1"]).await.ends_with(2);
    nothing.says("could not be found in any version");
    let asked = server.requests(seen);
    assert!(asked.contains(&("GET".into(), "/composer/p2/acme/missing.json".into(), 404)), "{asked:?}");
    assert!(asked.contains(&("GET".into(), "/composer/providers/acme/missing.json".into(), 200)), "{asked:?}");
    // What no vendor of ours can have is not asked for here; clients ask who provides it wherever they can.
    let seen = server.log().lines().count();
    desk.run(&fresh, &["require", "others/thing:^1"]).await.fails();
    let asked = server.requests(seen);
    assert!(!asked.iter().any(|(_, path, _)| path.contains("/p2/others")), "names leak: {asked:?}");
});

on_backends!(a_yanked_version_stays_for_lock_files, async |server: Server| {
    let user = server.new_user("ada").await;
    for version in ["1.0.0", "1.1.0"] {
        Lib::new("acme/lib", version).live(&server, &user).await;
    }
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/lib": "^1.0" }));
    desk.run(&dir, &["install"]).await.ok().says("Installing acme/lib (1.1.0)");
    let yank = async |method: http::Method, version: &str, token: Option<&str>| {
        let path = format!("/composer/packages/acme/lib/versions/{version}");
        crate::composer::lib::send(&server, method, &path, token, "text/plain", Vec::new()).await.status
    };
    let (delete, post) = (http::Method::DELETE, http::Method::POST);
    let stranger = server.new_user("mallory").await;
    assert_eq!(yank(delete.clone(), "1.1.0", None).await, 401);
    assert_eq!(yank(delete.clone(), "1.1.0", Some(&stranger.token)).await, 403);
    assert_eq!(yank(delete.clone(), "3.0.0", Some(&user.token)).await, 404);
    for _ in 0..2 {
        assert_eq!(yank(delete.clone(), "v1.1", Some(&user.token)).await, 204);
    }
    let other = desk.project("other", &json!({ "acme/lib": "^1.0" }));
    desk.run(&other, &["update"]).await.ok().says("Locking acme/lib (1.0.0)");
    desk.run(&dir, &["clear-cache"]).await.ok();
    std::fs::remove_dir_all(dir.join("vendor")).unwrap();
    desk.run(&dir, &["install"]).await.ok().says("Downloading acme/lib (1.1.0)");
    // The number stays taken.
    let again = Lib::new("acme/lib", "1.1.0").file("more", "x").put(&server, Some(&user.token)).await;
    again.is(409, "acme/lib 1.1.0 already exists");
    // With its last version the package is gone for resolution, rather than empty.
    assert_eq!(yank(delete, "1.0.0", Some(&user.token)).await, 204);
    for path in ["/composer/p2/acme/lib.json", "/composer/p2/acme/lib~dev.json"] {
        assert_eq!(server.get(path, None).await.0, 404, "{path}");
    }
    assert_eq!(yank(post, "1.1.0", Some(&user.token)).await, 200);
    desk.run(&other, &["update"]).await.ok().says("=> 1.1.0");
});

on_backends!(names_are_listed_and_found, async |server: Server| {
    let user = server.new_user("ada").await;
    let lib = Lib::new("acme/quokka", "1.0.0").with("keywords", json!(["marsupial", "small"]));
    lib.with("type", json!("library")).live(&server, &user).await;
    Lib::new("globex/thing", "1.0.0").live(&server, &user).await;
    server.until(|page| page.contains("acme/quokka"), "/composer/search.json?q=quokka&type=").await;
    let desk = Desk::new(&server, "searcher");
    let dir = desk.project("app", &json!({}));
    desk.run(&dir, &["search", "quokka"]).await.ok().says("acme/quokka").never_says("globex");
    let json = async |path: &str| {
        let (status, text) = server.get(path, None).await;
        (status, serde_json::from_str::<Value>(&text).unwrap_or_else(|_| panic!("{path}: {text}")))
    };
    let hits = async |query: &str| {
        json(&format!("/composer/search.json?{query}")).await.1["results"].as_array().unwrap().len()
    };
    assert_eq!(hits("q=quokka&type=composer-plugin").await, 0);
    assert_eq!(hits("q=&tags[]=marsupial").await, 1);
    assert_eq!((hits("q=&tags[]=marsupial&tags[]=small").await, hits("q=&tags[0]=small&tags[1]=bird").await), (1, 0));
    let (status, far) = json(&format!("/composer/search.json?q=&page={}&per_page=100", u64::MAX)).await;
    assert_eq!((status, &far["results"]), (200, &json!([])));
    let (_, first) = json("/composer/search.json?q=&per_page=1").await;
    assert_eq!((first["results"].as_array().unwrap().len(), first["total"].as_u64()), (1, Some(2)));
    let next = first["next"].as_str().unwrap().strip_prefix(&server.base_url()).unwrap().to_owned();
    let (_, second) = json(&next).await;
    assert_ne!(first["results"][0]["name"], second["results"][0]["name"]);
    assert!(second.get("next").is_none());
    Lib::new("acme/wombat", "1.0.0").with("keywords", json!(["marsupial"])).live(&server, &user).await;
    server.until(|page| page.contains("wombat"), "/composer/search.json?q=wombat").await;
    let (_, tagged) = json("/composer/search.json?q=&per_page=1&tags[]=marsupial").await;
    let next = tagged["next"].as_str().expect("there are two");
    assert!(next.contains("tags%5B%5D=marsupial") && next.contains("per_page=1"), "{next}");
    let (_, names) = json("/composer/list.json?filter=acme/*").await;
    assert_eq!(names, json!({ "packageNames": ["acme/quokka", "acme/wombat"] }));
    let (_, root) = json("/composer/packages.json").await;
    assert_eq!(root["available-package-patterns"], json!(["acme/*", "globex/*"]));
    assert_eq!(root["metadata-url"], "/composer/p2/%package%.json");
});

on_backends!(a_name_that_only_others_provide_is_answered_with_them, async |server: Server| {
    let user = server.new_user("ada").await;
    let provides =
        |version: &str| Lib::new("acme/logger", version).with("provide", json!({ "acme/log-implementation": "1.0" }));
    provides("1.0.0").live(&server, &user).await;
    let providers = async || {
        let (status, text) = server.get("/composer/providers/acme/log-implementation.json", None).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["providers"].clone()
    };
    let listed = providers().await;
    let (_, same) = server.get("/composer/providers/Acme/Log-Implementation.json", None).await;
    assert!(same.contains("acme/logger"), "{same}");
    assert_eq!((&listed[0]["name"], &listed[0]["type"]), (&json!("acme/logger"), &json!("library")), "{listed}");
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({}));
    desk.run(&dir, &["require", "acme/log-implementation:^1"]).await.fails().says("acme/logger");
    // The newest version decides, and hidden packages are not told of.
    Lib::new("acme/logger", "2.0.0").live(&server, &user).await;
    assert_eq!(providers().await, json!([]));
    provides("3.0.0").live(&server, &user).await;
    let hide = "UPDATE packages SET visibility = 'private' WHERE normalized_name = 'acme/logger'";
    server.database().await.execute_raw(hide).await.unwrap();
    assert_eq!(providers().await, json!([]));
});

on_backends!(mirrors_are_told_what_changed, async |server: Server| {
    let user = server.new_user("ada").await;
    let changes = async |query: &str| {
        let (status, text) = server.get(&format!("/composer/metadata/changes.json{query}"), None).await;
        (status, serde_json::from_str::<Value>(&text).unwrap_or_else(|_| panic!("{text}")))
    };
    let (status, first) = changes("").await;
    let since = first["timestamp"].as_i64().expect("a time to begin with");
    assert_eq!((status, first["error"].is_string()), (400, true));
    Lib::new("acme/lib", "1.0.0").live(&server, &user).await;
    let (status, told) = changes(&format!("?since={since}")).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!((&told["actions"][0]["type"], &told["actions"][0]["package"]), (&json!("update"), &json!("acme/lib")));
    assert!(told["timestamp"].as_i64() >= Some(since));
    let (_, later) = changes(&format!("?since={}", since + 1_000_000_000)).await;
    assert_eq!(later["actions"], json!([]));
    let (_, old) = changes("?since=1").await;
    assert_eq!((&old["actions"][0]["type"], &old["actions"][0]["package"]), (&json!("resync"), &json!("*")));
});

on_backends!(a_long_history_is_minified_and_read_by_the_client, async |server: Server| {
    let user = server.new_user("ada").await;
    let long = "x".repeat(30_000);
    for patch in 0..5 {
        let mut lib = Lib::new("acme/lib", &format!("1.0.{patch}")).with("extra", json!({ "long": long }));
        if patch == 2 {
            lib = lib.with("extra", Value::Null);
        }
        lib.live(&server, &user).await;
    }
    let (_, text) = server.get("/composer/p2/acme/lib.json", None).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["minified"], "composer/2.0");
    assert!(text.len() < 100_000, "{}", text.len());
    let desk = Desk::new(&server, "consumer");
    for (wanted, has_extra) in [("1.0.1", true), ("1.0.2", false), ("1.0.4", true)] {
        let dir = desk.project(wanted, &json!({ "acme/lib": wanted }));
        desk.run(&dir, &["install"]).await.ok();
        assert_eq!(lock(&dir)["packages"][0].get("extra").is_some(), has_extra, "{wanted}");
    }
});

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_those_of_the_list_are_not_installed() {
    let mut server = Server::start(crate::Backend::Embedded).await;
    let user = server.new_user("ada").await;
    let lib = Lib::new("acme/lib", "1.0.0");
    lib.live(&server, &user).await;
    let other = Lib::new("acme/lib", "1.0.1").zip();
    assert_eq!(other.len(), lib.zip().len());
    assert!(overwrite(&server.data_dir(), &lib.zip(), &other), "the zip lies in the data directory");
    // Small files are kept in memory, too.
    server.restart_with(&[]).await;
    let desk = Desk::new(&server, "consumer");
    let dir = desk.project("app", &json!({ "acme/lib": "*" }));
    desk.run(&dir, &["install"]).await.fails().says("The checksum verification of the file failed");
}

/// Overwrites every file below a folder that has this content; whether there was one.
fn overwrite(dir: &std::path::Path, content: &[u8], with: &[u8]) -> bool {
    let mut found = false;
    for entry in std::fs::read_dir(dir).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found |= overwrite(&path, content, with);
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes == content) {
            std::fs::write(&path, with).expect("a writable file");
            found = true;
        }
    }
    found
}
