//! Private packages: two views of one repository, and how clients come by what they may see.

use super::{Desk, Wire, desk::metadata, jar, pom};
use crate::{Server, on_backends};

on_backends!(a_private_package_is_read_where_clients_are_asked, async |mut server: Server| {
    let (ada, eve) = (server.new_user("ada").await, server.new_user("eve").await);
    Wire::new(&server, &ada.token).deploy(["com.acme", "secret", "1.0"], "hidden").await.expect(201);
    server.set_visibility("maven", "com.acme:secret", "private").await;
    let (gav, missing) = ("com.acme:secret:1.0", "Could not find artifact com.acme:secret:jar:1.0");

    // Wherever there is something to hide, mvn is asked what it has.
    let owner = Desk::with_token(&server, "asked", &ada.token);
    owner.fetch(&owner.url(), gav).await.succeeds();
    let stranger = Desk::new(&server, "stranger");
    stranger.fetch(&stranger.url(), gav).await.fails_with("status: 401 API token missing, unknown or expired");
    // What is not here may be elsewhere, and is found there.
    let elsewhere = server.scratch("elsewhere");
    let folder = elsewhere.join("org/other/thing/1.0");
    std::fs::create_dir_all(&folder).expect("the scratch directory is writable");
    std::fs::write(folder.join("thing-1.0.jar"), jar("x")).expect("the scratch directory is writable");
    std::fs::write(folder.join("thing-1.0.pom"), pom("org.other", "thing", "1.0", "")).expect("as above");
    let both = format!("{},other::default::file://{}", stranger.url(), elsewhere.display());
    stranger.fetch(&both, "org.other:thing:1.0").await.succeeds();

    // An operator may rather not ask there.
    server.restart_with(&[("access.anonymous_miss", "not_found")]).await;
    let stranger = Desk::new(&server, "stranger");
    stranger.fetch(&stranger.url(), gav).await.fails_with(missing);
    let refused = stranger.fetch(&stranger.challenge_url(), gav).await;
    refused.fails_with("status: 401 API token missing, unknown or expired");
    stranger.know(&eve.token, "");
    stranger.fetch(&stranger.challenge_url(), gav).await.fails_with(missing);

    let owner = Desk::with_token(&server, "owner", &ada.token);
    // Nobody asks there, and mvn says nothing of its own accord.
    owner.fetch(&owner.url(), gav).await.fails_with(missing);
    owner.fetch(&owner.challenge_url(), gav).await.succeeds();
    assert_eq!(owner.fetched("com/acme/secret/1.0/secret-1.0.jar"), jar("hidden"));
    owner.know(&ada.token, "<httpConfiguration><all><usePreemptive>true</usePreemptive></all></httpConfiguration>");
    owner.fetch(&owner.url(), gav).await.succeeds();
    let bearer = format!(
        "<server><id>pub</id><configuration><httpHeaders><property><name>Authorization</name>\
         <value>Bearer {}</value></property></httpHeaders></configuration></server>",
        ada.token
    );
    owner.settings(&bearer, "");
    owner.fetch(&owner.url(), gav).await.succeeds();
});

on_backends!(the_two_views_answer_as_they_should, async |mut server: Server| {
    let (ada, eve) = (server.new_user("ada").await, server.new_user("eve").await);
    let owner = Wire::new(&server, &ada.token);
    owner.deploy(["com.acme", "open", "1.0"], "x").await.expect(201);
    owner.deploy(["com.acme", "secret", "1.0"], "x").await.expect(201);
    server.set_visibility("maven", "com.acme:secret", "private").await;
    let (anonymous, stranger) = (Wire::anonymous(&server), Wire::new(&server, &eve.token));
    let stale = Wire::new(&server, &format!("pub_{}", "a".repeat(43)));
    let file = |name: &str| format!("com/acme/{name}/1.0/{name}-1.0.jar");
    for (wire, open, secret, challenged_open, challenged_secret) in [
        (&anonymous, 200, 401, 401, 401),
        (&stranger, 200, 404, 200, 404),
        (&owner, 200, 200, 200, 200),
        (&stale, 200, 401, 401, 401),
    ] {
        for (prefix, name, status) in [
            ("", "open", open),
            ("", "secret", secret),
            ("~auth/", "open", challenged_open),
            ("~auth/", "secret", challenged_secret),
        ] {
            for path in [file(name), format!("{}.sha1", file(name)), format!("com/acme/{name}/maven-metadata.xml")] {
                wire.get(&format!("{prefix}{path}")).await.expect(status);
            }
        }
    }
    // What is hidden and what is missing are one.
    let hidden = anonymous.get(&file("secret")).await.expect(401);
    let missing = anonymous.get(&file("missing")).await.expect(401);
    assert_eq!((hidden.body, hidden.headers.len()), (missing.body, missing.headers.len()));
    let asked = anonymous.get("~auth/no/such/1/such-1.jar").await.expect(401);
    assert_eq!(asked.header("www-authenticate"), "Basic realm=\"Publaryn\"");
    for path in ["~auth", "~auth/no/such/%ff", "~auth/a/b/1/c-2.jar"] {
        anonymous.get(path).await.expect(401);
        anonymous.send("DELETE", path, &[], None).await.expect(401);
        anonymous.put(path, "x").await.expect(401);
    }
    let private = owner.get(&file("secret")).await.expect(200);
    assert!(private.header("cache-control").starts_with("private"), "{private:?}");
    assert_eq!(private.header("vary"), "Authorization");
    // Uploads go to either.
    owner.put("~auth/com/acme/open/1.1/open-1.1.jar", jar("y")).await.expect(201);
    anonymous.put("com/acme/open/1.2/open-1.2.jar", jar("y")).await.expect(401);
    stale.put("com/acme/open/1.2/open-1.2.jar", jar("y")).await.expect(401);
    stranger.put("com/acme/open/1.2/open-1.2.jar", jar("y")).await.expect(403);
    // To who may not see a package, there is none to upload to.
    for path in ["secret/1.1/secret-1.1.jar", "secret/1.1/secret-1.1.jar.sha1", "secret/maven-metadata.xml"] {
        let body = metadata("com.acme", "secret", "1.1");
        let refused = stranger.put(&format!("com/acme/{path}"), body).await.expect(404);
        assert!(!refused.text().contains("secret"), "{refused:?}");
    }

    for (setting, secret) in [("not_found", 404), ("challenge", 401)] {
        server.restart_with(&[("access.anonymous_miss", setting)]).await;
        let anonymous = Wire::anonymous(&server);
        anonymous.get(&file("secret")).await.expect(secret);
        anonymous.get(&file("missing")).await.expect(secret);
        anonymous.get(&file("open")).await.expect(200);
        anonymous.get(&format!("~auth/{}", file("open"))).await.expect(401);
    }
});
