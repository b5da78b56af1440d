//! What Composer does not show.

use serde_json::{Value, json};

use super::{Lib, lib::send};
use crate::{Server, on_backends};

on_backends!(older_addresses_answer_as_the_newer_ones, async |server: Server| {
    let user = server.new_user("ada").await;
    let lib = Lib::new("acme/lib", "1.0.0");
    let said = lib.live(&server, &user).await;
    for alias in ["/composer/p/acme/lib", "/composer/p/acme/lib.json", "/composer/p2/Acme/Lib.json"] {
        assert_eq!(server.get(alias, None).await, server.get("/composer/p2/acme/lib.json", None).await, "{alias}");
    }
    let sha1 = said.body["dist"]["shasum"].as_str().unwrap();
    let id = server.artifact_id(&format!("acme-lib-1.0.0.0-{sha1}.zip")).await;
    let file = server.http.get(format!("{}/composer/files/{id}/lib.zip", server.base_url())).send().await.unwrap();
    assert_eq!(file.bytes().await.unwrap(), lib.zip());
    // What is missing is missing in one way.
    let missing = server.get("/composer/p2/acme/missing.json", None).await;
    let id = &id[..id.len() - 4];
    for path in [
        format!("/composer/files/{id}0000/lib.zip"),
        "/composer/files/nonsense/lib.zip".to_owned(),
        format!("/composer/dist/acme/lib/9.9/{sha1}.zip"),
        format!("/composer/dist/acme/lib/nonsense/{sha1}.zip"),
    ] {
        assert_eq!(server.get(&path, None).await, missing, "{path}");
    }
});

on_backends!(what_is_missing_is_asked_for_with_a_credential_where_that_is_wanted, async |mut server: Server| {
    server.restart_with(&[("access.anonymous_miss", "challenge")]).await;
    let user = server.new_user("ada").await;
    Lib::new("acme/lib", "1.0.0").live(&server, &user).await;
    let yank = "/composer/packages/acme/lib/versions/1.0.0";
    send(&server, http::Method::DELETE, yank, Some(&user.token), "text/plain", Vec::new()).await;
    let missing = server.get("/composer/p2/acme/missing.json", None).await;
    assert_eq!(missing.0, 401);
    for path in [
        "/composer/p2/acme/lib.json",
        "/composer/p2/acme/lib~dev.json",
        "/composer/dist/acme/lib/1.0.0/00.zip",
        "/composer/dist/acme/missing/1.0.0/00.zip",
        "/composer/files/nonsense/lib.zip",
    ] {
        assert_eq!(server.get(path, None).await, missing, "{path}");
    }
});

on_backends!(entitled_callers_share_nothing_with_caches, async |server: Server| {
    let user = server.new_user("ada").await;
    Lib::new("acme/lib", "1.0.0").live(&server, &user).await;
    for (token, wanted) in [(None, "public, max-age=0, must-revalidate"), (Some(&user.token), "private, no-cache")] {
        let mut request = server.http.get(format!("{}/composer/p2/acme/lib.json", server.base_url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], wanted);
    }
});

on_backends!(no_report_of_an_install_fails_it, async |server: Server| {
    for body in [&b"{\"downloads\":[]}"[..], b"no JSON", b"{}", &vec![b'x'; 2 << 20]] {
        let said =
            send(&server, http::Method::POST, "/composer/downloads", None, "application/json", body.to_vec()).await;
        assert_eq!(said.status, 201, "{said:?}");
    }
});

on_backends!(patterns_name_what_members_see_and_give_way_to_what_is_in_no_list, async |server: Server| {
    let ada = server.new_user("ada").await;
    let bob = server.new_user("bob").await;
    Lib::new("open/lib", "1.0.0").live(&server, &ada).await;
    server.private_packages_of("corp", &ada, &[&bob], "composer", &["corp/secret"]).await;
    Lib::new("corp/secret", "1.0.0").live(&server, &ada).await;
    let patterns = async |token: Option<&str>| {
        let (_, text) = server.get("/composer/packages.json", token).await;
        serde_json::from_str::<Value>(&text).unwrap()["available-package-patterns"].clone()
    };
    assert_eq!(patterns(None).await, json!(["open/*"]));
    assert_eq!(patterns(Some(&bob.token)).await, json!(["corp/*", "open/*"]));
    Lib::new("quiet/lib", "1.0.0").live(&server, &ada).await;
    server.set_visibility("composer", "quiet/lib", "unlisted").await;
    assert_eq!((patterns(None).await, patterns(Some(&bob.token)).await), (Value::Null, Value::Null));
});
