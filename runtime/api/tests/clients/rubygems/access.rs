use serde_json::Value;

use super::{Desk, Gem};
use crate::{Server, User, on_backends};

on_backends!(private_gems_vanish_for_others, async |server: Server| {
    let user = server.new_user("ada").await;
    let stranger = server.new_user("mallory").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("open", "1.0.0")).await.ok();
    desk.push(&Gem::new("secret", "1.0.0")).await.ok();
    server.set_visibility("rubygems", "secret", "private").await;

    let paths = [
        "/info/secret",
        "/gems/secret-1.0.0.gem",
        "/quick/Marshal.4.8/secret-1.0.0.gemspec.rz",
        "/api/v1/gems/secret.json",
    ];
    for path in paths.map(|path| format!("/rubygems{path}")) {
        let missing = server.get("/rubygems/info/missing", None).await;
        assert_eq!(server.get(&path, None).await, missing, "{path}");
        assert_eq!(server.get(&path, Some(&stranger.token)).await, missing, "{path}");
        assert_eq!(server.get(&path, Some("pub_nonsense")).await.0, 401, "{path}");
        let get = server.http.get(format!("{}{path}", server.base_url())).bearer_auth(&user.token).send();
        assert_eq!(get.await.unwrap().status().as_u16(), 200, "{path}");
    }
    for (token, lists) in [(None, false), (Some(&stranger.token), false), (Some(&user.token), true)] {
        let token = token.map(String::as_str);
        for path in ["/rubygems/versions", "/rubygems/names"] {
            assert_eq!(server.get(path, token).await.1.contains("secret"), lists, "{path} {token:?}");
        }
    }

    let reader = Desk::new(&server, "reader");
    reader.install(&reader.source(), &["secret"]).await.fails().says("Could not find a valid gem 'secret'");
    reader.install(&reader.source_as("x", &user.token), &["secret"]).await.ok();
    reader.install(&reader.source_as(&user.token, "x-oauth-basic"), &["secret"]).await.ok();
    reader.install(&reader.source_as("x", &stranger.token), &["secret"]).await.fails();

    let bundle = async |name: &str, credential: Option<String>| {
        let mut desk = Desk::new(&server, name);
        if let Some(credential) = credential {
            desk = desk.with_env("BUNDLE_127__0__0__1", &credential);
        }
        let project = desk.project("app", &desk.source(), "gem 'secret'\ngem 'open'");
        desk.bundle(&project, &["install"]).await
    };
    bundle("anonymous", None).await.fails().says("Could not find gem 'secret'");
    bundle("entitled", Some(format!("x:{}", user.token))).await.ok();
    bundle("stranger", Some(format!("x:{}", stranger.token))).await.fails().says("Could not find gem 'secret'");
    bundle("broken", Some("x:pub_nonsense".into())).await.fails().says("Bad username or password");
});

on_backends!(private_gems_of_an_organization_are_there_for_its_members, async |server: Server| {
    let ada = server.new_user("ada").await;
    let bob = server.new_user("bob").await;
    let stranger = server.new_user("mallory").await;
    server.private_packages_of("acme", &ada, &[&bob], "rubygems", &["inhouse"]).await;
    let desk = Desk::new(&server, "ada").with_key(&ada.token);
    desk.push(&Gem::new("inhouse", "1.0.0")).await.ok();
    let bundle = async |user: &User| {
        let desk = Desk::new(&server, &format!("{}-reads", user.name));
        let desk = desk.with_env("BUNDLE_127__0__0__1", &format!("x:{}", user.token));
        let project = desk.project("app", &desk.source(), "gem 'inhouse'");
        desk.bundle(&project, &["install"]).await
    };
    bundle(&bob).await.ok().says("Installing inhouse 1.0.0");
    bundle(&stranger).await.fails().says("Could not find gem 'inhouse'");
});

on_backends!(quarantined_gems_are_gone, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("acme", "1.0.0")).await.ok();
    desk.install(&desk.source(), &["acme"]).await.ok();
    let sql = "UPDATE packages SET is_quarantined = TRUE, revision = revision + 1 WHERE normalized_name = 'acme'";
    server.database().await.execute_raw(sql).await.expect("the package is there");
    server.until(|page| !page.contains("acme"), "/rubygems/versions").await;
    server.until(|page| page.contains("could not be found"), "/rubygems/info/acme").await;
    for path in ["/gems/acme-1.0.0.gem", "/quick/Marshal.4.8/acme-1.0.0.gemspec.rz"] {
        assert_eq!(server.get(&format!("/rubygems{path}"), None).await.0, 404, "{path}");
    }
    desk.install(&desk.source(), &["acme"]).await.fails();
    desk.push(&Gem::new("acme", "1.1.0")).await.fails();
});

on_backends!(nobody_reads_anonymously_where_that_is_off, async |mut server: Server| {
    server.restart_with(&[("access.require_login", "true")]).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("acme", "1.0.0")).await.ok();
    for path in
        ["/", "/versions", "/names", "/info/acme", "/specs.4.8.gz", "/gems/acme-1.0.0.gem", "/api/v1/gems/acme.json"]
    {
        assert_eq!(server.get(&format!("/rubygems{path}"), None).await.0, 401, "{path}");
    }
    desk.install(&desk.source_as("x", &user.token), &["acme"]).await.ok();
    let project = desk.project("app", &desk.source(), "gem 'acme'");
    desk.bundle(&project, &["install"]).await.fails().says("Authentication is required");
});

on_backends!(signing_in_yields_a_key, async |server: Server| {
    let user = server.new_user("ada").await;
    let address = format!("{}/rubygems/api/v1/api_key", server.base_url());
    let sign_in = |password: &str, form: &'static str| {
        server.http.post(&address).basic_auth("ada", Some(password)).body(form).send()
    };
    let response = sign_in(&user.password, "name=laptop&push_rubygem=true&index_rubygems=true").await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let key = response.text().await.unwrap();
    assert!(key.starts_with("pub_") && !key.contains('\n'), "a bare key");
    Desk::new(&server, "ada").with_key(&key).push(&Gem::new("acme", "1.0.0")).await.ok();
    let response = sign_in("wrong password", "name=x").await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.text().await.unwrap().as_str()),
        (401, "HTTP Basic: Access denied.\n")
    );
    assert_eq!(sign_in(&user.token, "name=x").await.unwrap().text().await.unwrap(), user.token);
    // What was not asked for is not granted.
    let key = sign_in(&user.password, "name=reader&index_rubygems=true").await.unwrap().text().await.unwrap();
    let refused = Desk::new(&server, "reader").with_key(&key).push(&Gem::new("acme", "2.0.0")).await.fails();
    refused.says("This API key cannot perform");
});

/// What `gem signin` asks besides the account: a name for the key, and each scope.
const KEY_QUESTIONS: [(&str, &str); 8] = [
    ("API Key name", "laptop"),
    ("index_rubygems", "n"),
    ("push_rubygem", "y"),
    ("yank_rubygem", "n"),
    ("add_owner", "n"),
    ("remove_owner", "n"),
    ("access_webhooks", "n"),
    ("show_dashboard", "n"),
];

on_backends!(people_sign_in_at_a_terminal, async |server: Server| {
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada");
    let desk = desk.with_env("RUBYGEMS_HOST", &format!("{}/rubygems", server.base_url()));
    let dir = desk.folder("signin");
    let account = [("Email:", "ada"), ("Password:", &*user.password)];
    let answers = [&account[..], &KEY_QUESTIONS].concat();
    desk.type_into_gem(&dir, &["signin"], &answers).await.ok().says("Signed in with API key: laptop");
    desk.push(&Gem::new("acme", "1.0.0")).await.ok();
    desk.gem(&dir, &["signout"]).await.ok();

    // With a second factor the client asks for a code, and again after a wrong one is refused.
    let enrol = format!("UPDATE users SET totp_enabled_at = 1, totp_secret = '{SECRET}' WHERE username = 'ada'");
    server.database().await.execute_raw(&enrol).await.unwrap();
    let wrong = [&answers[..], &[("Code:", "000000")]].concat();
    desk.type_into_gem(&dir, &["signin"], &wrong).await.fails().says("OTP code is incorrect");
    let code = publaryn_auth::totp::TotpSecret::from_base32(SECRET).unwrap().code_at(publaryn_core::Timestamp::now());
    let right = [&answers[..], &[("Code:", &*code)]].concat();
    desk.type_into_gem(&dir, &["signin"], &right).await.ok().says("Signed in with API key: laptop");
    desk.push(&Gem::new("acme", "1.1.0")).await.ok();
});

on_backends!(tools_read_json, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("acme", "1.0.0").needs("base", ">= 1")).await.ok();
    desk.push(&Gem::new("acme", "1.10.0")).await.ok();
    desk.push(&Gem::new("acme", "2.0.0.rc1")).await.ok();
    let get = async |path: &str, token: Option<&str>| {
        let (status, text) = server.get(&format!("/rubygems/api{path}"), token).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let about = get("/v1/gems/acme.json", None).await;
    assert_eq!(
        (&about["version"], &about["authors"], &about["platform"]),
        (&"1.10.0".into(), &"Ada".into(), &"ruby".into())
    );
    let versions = get("/v1/versions/acme.json", None).await;
    let numbers: Vec<&str> = versions.as_array().unwrap().iter().map(|v| v["number"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["2.0.0.rc1", "1.10.0", "1.0.0"]);
    assert_eq!(get("/v1/versions/acme/latest.json", None).await["version"], "1.10.0");
    let one = get("/v2/rubygems/acme/versions/1.0.0.json", None).await;
    assert_eq!(one["dependencies"]["runtime"][0]["requirements"], ">= 1");
    assert_eq!(get("/v1/gems.json", Some(&user.token)).await[0]["name"], "acme");
    assert_eq!(get("/v1/owners/ada/gems.json", None).await[0]["name"], "acme");
    server.until(|page| page.contains("\"acme\""), "/rubygems/api/v1/search.json?query=acme").await;
    assert_eq!(server.get("/rubygems/api/v1/dependencies?gems=acme", None).await.0, 404);
});
