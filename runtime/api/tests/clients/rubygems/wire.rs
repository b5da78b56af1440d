//! What the clients cannot be made to send, or do not show.

use http::Method;
use serde_json::{Value, json};

use super::Packed;
use crate::{Server, User, bulk, on_backends};

/// A request to the gem server with a key of `gem`: status and text.
async fn ask(server: &Server, method: Method, path: &str, key: Option<&str>, body: Vec<u8>) -> (u16, String) {
    let mut request = server.http.request(method, format!("{}/rubygems{path}", server.base_url())).body(body);
    if let Some(key) = key {
        request = request.header("authorization", key);
    }
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

async fn push(server: &Server, user: &User, gem: &Packed) -> (u16, String) {
    ask(server, Method::POST, "/api/v1/gems", Some(&user.token), gem.bytes()).await
}

async fn pushed(server: &Server, user: &User, gem: &Packed) {
    let (status, text) = push(server, user, gem).await;
    assert_eq!(status, 200, "{text}");
}

fn for_platform(name: &str, version: &str, platform: &str) -> Packed {
    let mut gem = Packed::new(name, version);
    gem.spec = gem.spec.replacen("platform: ruby", &format!("platform: {platform}"), 1);
    gem
}

/// A draft of a release in the management API; its status.
async fn draft(server: &Server, user: &User, gem: &str, version: &str) -> u16 {
    let url = format!("{}/v1/packages/rubygems/{gem}/releases", server.base_url());
    let request = server.http.post(url).bearer_auth(&user.token).json(&json!({ "version": version }));
    request.send().await.expect("an answer").status().as_u16()
}

on_backends!(numbers_are_spelled_alike_whatever_became_of_them, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "0")]).await;
    let user = server.new_user("ada").await;
    let stopped = server.pause_scanners();
    let mut held = Packed::new("acme", "1.0");
    held.files.push(("bulk.bin".into(), bulk()));
    pushed(&server, &user, &held).await;
    assert_eq!(server.get("/rubygems/info/acme", None).await.0, 404, "it is held");
    let (status, text) = push(&server, &user, &for_platform("acme", "1.0.0", "java")).await;
    assert!(status == 409 && text.contains("1.0 was pushed before"), "{status} {text}");
    assert_eq!(draft(&server, &user, "acme", "1.0.0-java").await, 409);
    pushed(&server, &user, &for_platform("acme", "1.0", "java")).await;
    // A draft holds its number, too.
    assert_eq!(draft(&server, &user, "acme", "2.0").await, 201);
    let (status, text) = push(&server, &user, &for_platform("acme", "2.0.0", "java")).await;
    assert!(status == 409 && text.contains("2.0 was pushed before"), "{status} {text}");
    assert_eq!(draft(&server, &user, "acme", "2.0-java").await, 201);
    drop(stopped);
});

on_backends!(file_names_of_hidden_gems_are_taken, async |server: Server| {
    let user = server.new_user("ada").await;
    let other = server.new_user("mallory").await;
    pushed(&server, &user, &Packed::new("oauth-2-client", "1.0")).await;
    server.set_visibility("rubygems", "oauth-2-client", "private").await;
    pushed(&server, &other, &Packed::new("oauth", "1.0")).await;
    let (status, text) = push(&server, &other, &for_platform("oauth", "2", "client-1.0")).await;
    assert_eq!(status, 409, "{text}");
    assert!(!text.contains("oauth-2-client "), "whose it is stays hidden: {text}");
    assert_eq!(draft(&server, &other, "oauth", "2-client-1.0").await, 409);
    assert_eq!(draft(&server, &other, "oauth", "2-client-1.1").await, 201);
});

on_backends!(a_hidden_gem_is_missing_for_who_pushes_it, async |server: Server| {
    let user = server.new_user("ada").await;
    let other = server.new_user("mallory").await;
    pushed(&server, &user, &Packed::new("acme", "1.0")).await;
    assert_eq!(push(&server, &other, &Packed::new("acme", "2.0")).await.0, 403);
    server.set_visibility("rubygems", "acme", "private").await;
    let (status, text) = push(&server, &other, &Packed::new("acme", "2.0")).await;
    assert_eq!((status, text.as_str()), (404, "This rubygem could not be found.\n"));
});

on_backends!(names_that_differ_in_separators_are_one, async |server: Server| {
    let user = server.new_user("ada").await;
    let other = server.new_user("mallory").await;
    pushed(&server, &user, &Packed::new("net-http", "1.0")).await;
    for (who, name) in [(&user, "net_http"), (&other, "net_http"), (&other, "nethttp"), (&other, "Net-HTTP")] {
        let (status, text) = push(&server, who, &Packed::new(name, "1.0")).await;
        assert_eq!(status, 403, "{name}: {text}");
    }
    // A name is asked for as it is spelled.
    assert_eq!(server.get("/rubygems/info/net_http", None).await.0, 404);
    let long = "a".repeat(201);
    let (status, text) = push(&server, &user, &Packed::new(&long, "1.0")).await;
    assert!(status == 422 && text.contains("between 1 and 200"), "{status} {text}");
});

on_backends!(yanks_do_not_tell_of_staged_versions, async |mut server: Server| {
    let user = server.new_user("ada").await;
    let other = server.new_user("mallory").await;
    pushed(&server, &user, &Packed::new("acme", "1.0")).await;
    server.restart_with(&[("publish.wait_seconds", "0")]).await;
    let stopped = server.pause_scanners();
    let mut held = Packed::new("acme", "2.0");
    held.files.push(("bulk.bin".into(), bulk()));
    pushed(&server, &user, &held).await;
    let yank = async |who: &User, version: &str| {
        let path = format!("/api/v1/gems/yank?gem_name=acme&version={version}");
        ask(&server, Method::DELETE, &path, Some(&who.token), Vec::new()).await
    };
    let refused = (403, "You do not have permission to delete this gem.\n".to_owned());
    for version in ["1.0", "2.0", "9.9"] {
        assert_eq!(yank(&other, version).await, refused, "{version}");
    }
    assert_eq!(yank(&user, "9.9").await.0, 404);
    drop(stopped);
});

on_backends!(the_log_tells_a_yank_at_its_moment, async |server: Server| {
    let user = server.new_user("ada").await;
    pushed(&server, &user, &Packed::new("acme", "1.0")).await;
    pushed(&server, &user, &Packed::new("acme", "1.1")).await;
    let path = "/api/v1/gems/yank?gem_name=acme&version=1.0";
    assert_eq!(ask(&server, Method::DELETE, path, Some(&user.token), Vec::new()).await.0, 200);
    pushed(&server, &user, &Packed::new("acme", "1.2")).await;
    let (_, before) = server.get("/rubygems/versions", None).await;
    let lines: Vec<&str> = before.lines().skip(2).map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(lines, ["acme 1.0", "acme 1.1", "acme -1.0", "acme 1.2"]);
    // What is said of it later moves nothing.
    let url = format!("{}/v1/packages/rubygems/acme/releases/1.0/deprecate", server.base_url());
    let request = server.http.put(url).bearer_auth(&user.token).json(&json!({ "message": "old" }));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    assert_eq!(server.get("/rubygems/versions", None).await.1, before);
    // Bringing it back and taking it away again is another event.
    let path = "/api/v1/gems/unyank?gem_name=acme&version=1.0";
    assert_eq!(ask(&server, Method::PUT, path, Some(&user.token), Vec::new()).await.0, 200);
    let path = "/api/v1/gems/yank?gem_name=acme&version=1.0";
    assert_eq!(ask(&server, Method::DELETE, path, Some(&user.token), Vec::new()).await.0, 200);
    let (_, after) = server.get("/rubygems/versions", None).await;
    assert!(after.lines().last().unwrap().starts_with("acme -1.0 "), "{after}");
});

on_backends!(whoever_asks_after_a_change_is_told_of_it, async |server: Server| {
    let user = server.new_user("ada").await;
    for number in 1..6 {
        pushed(&server, &user, &Packed::new(&format!("gem{number}"), "1.0")).await;
        for path in ["/rubygems/versions", "/rubygems/names"] {
            let (_, text) = server.get(path, None).await;
            assert!(text.contains(&format!("gem{number}")), "{path}: {text}");
        }
    }
    let hide = json!({ "visibility": "private" });
    let url = format!("{}/v1/packages/rubygems/gem3", server.base_url());
    let hidden = server.http.patch(url).bearer_auth(&user.token).json(&hide).send().await.unwrap();
    assert_eq!(hidden.status().as_u16(), 200);
    let (_, names) = server.get("/rubygems/names", None).await;
    assert_eq!(names, "---\ngem1\ngem2\ngem4\ngem5\n");
});

on_backends!(indexes_tell_members_of_the_gems_of_their_organization, async |server: Server| {
    let ada = server.new_user("ada").await;
    let bob = server.new_user("bob").await;
    let stranger = server.new_user("mallory").await;
    server.private_packages_of("acme", &ada, &[&bob], "rubygems", &["inhouse"]).await;
    pushed(&server, &ada, &Packed::new("inhouse", "1.0")).await;
    for (token, lists) in [(None, false), (Some(&stranger.token), false), (Some(&bob.token), true)] {
        let token = token.map(String::as_str);
        for path in ["/rubygems/versions", "/rubygems/names"] {
            let (status, text) = server.get(path, token).await;
            assert!(status == 200 && text.contains("inhouse") == lists, "{path} {token:?}: {text}");
        }
        assert_eq!(server.get("/rubygems/info/inhouse", token).await.0 == 200, lists);
    }
});

on_backends!(sessions_and_passwords_are_exchanged_for_keys, async |server: Server| {
    let user = server.new_user("ada").await;
    let login = json!({ "username_or_email": "ada", "password": user.password });
    let session = server.post("/v1/auth/login", None, &login).await["token"].as_str().unwrap().to_owned();
    let address = format!("{}/rubygems/api/v1/api_key", server.base_url());
    let form = "name=laptop&push_rubygem=true";
    let response = server.http.post(&address).basic_auth("ada", Some(&session)).body(form).send().await.unwrap();
    let (status, key) = (response.status().as_u16(), response.text().await.unwrap());
    assert!(status == 200 && key.starts_with("pub_"), "{status} {key}");
    let (_, tokens) = server.get("/v1/tokens", Some(&session)).await;
    assert!(tokens.contains("laptop"), "{tokens}");
    let (status, text) =
        ask(&server, Method::POST, "/api/v1/gems", Some(&key), Packed::new("acme", "1.0").bytes()).await;
    assert_eq!(status, 200, "{text}");
    // A token is kept as it is.
    let same = server.http.post(&address).basic_auth("ada", Some(&key)).body(form).send().await.unwrap();
    assert_eq!(same.text().await.unwrap(), key);

    // As clients of long ago sign in.
    let old = async |password: &str| {
        let response = server.http.get(&address).basic_auth("ada", Some(password)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, key) = old(&user.password).await;
    assert!(status == 200 && key.starts_with("pub_"), "{status} {key}");
    let gem = Packed::new("acme", "1.1").bytes();
    assert_eq!(ask(&server, Method::POST, "/api/v1/gems", Some(&key), gem).await.0, 200);
    assert_eq!(old("wrong password").await, (401, "HTTP Basic: Access denied.\n".to_owned()));
    assert_eq!(old(&key).await, (200, key.clone()));
});

on_backends!(what_is_served_says_what_the_gem_says, async |server: Server| {
    let user = server.new_user("ada").await;
    let mut gem = Packed::new("acme", "1.0");
    gem.files = vec![("./".into(), Vec::new()), ("./lib/acme.rb".into(), b"X = 1\n".to_vec())];
    pushed(&server, &user, &gem).await;
    let (_, text) = server.get("/rubygems/api/v1/gems/acme.json", None).await;
    let about: Value = serde_json::from_str(&text).unwrap();
    let sum = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(gem.spec.as_bytes()));
    assert_eq!(about["spec_sha"], sum);
    let (_, text) = server.get("/rubygems/api/v1/versions/acme.json", None).await;
    assert!(text.contains(&sum), "{text}");
    let path = format!("{}/rubygems/gems/acme-1.0.gem", server.base_url());
    let response = server.http.get(&path).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "public, max-age=300, must-revalidate");
    assert_eq!(response.headers()["vary"], "Authorization");
    let response = server.http.get(&path).bearer_auth(&user.token).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "private, no-cache");
});
