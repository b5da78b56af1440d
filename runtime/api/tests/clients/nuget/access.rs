//! Private packages and the two views; instances without anonymous reads.

use super::{
    Desk, Pack,
    pack::{change, get, send},
};
use crate::{Backend, Server, on_backends};

/// Every kind of read of a package in version 1.0.0.
fn reads(id: &str) -> Vec<String> {
    let lower = id.to_lowercase();
    vec![
        format!("/v3/flatcontainer/{lower}/index.json"),
        format!("/v3/flatcontainer/{lower}/1.0.0/{lower}.1.0.0.nupkg"),
        format!("/v3/flatcontainer/{lower}/1.0.0/{lower}.nuspec"),
        format!("/v3/registration/{lower}/index.json"),
        format!("/v3/registration-gz/{lower}/index.json"),
        format!("/v3/registration-semver2/{lower}/1.0.0.json"),
        format!("/v3/registration-semver2/{lower}/page/1.0.0/1.0.0.json"),
        format!("/v2/package/{id}/1.0.0"),
        format!("/v2/Packages(Id='{id}',Version='1.0.0')"),
    ]
}

on_backends!(private_packages_need_somebody_entitled, async |mut server: Server| {
    let user = server.new_user("ada").await;
    let stranger = server.new_user("mallory").await;
    Pack::new("Acme.Open", "1.0.0").live(&server, &user).await;
    Pack::new("Acme.Lib", "1.0.0").live(&server, &user).await;
    server.set_visibility("nuget", "acme.lib", "private").await;
    for path in reads("Acme.Lib") {
        let missing = get(&server, &path.replace("cme.Lib", "cme.Nil").replace("cme.lib", "cme.nil"), None).await;
        let hidden = get(&server, &path, None).await;
        assert_eq!((hidden.status, hidden.text()), (missing.status, missing.text()), "{path}");
        assert_eq!(get(&server, &path, Some(&stranger.token)).await.status, 404, "{path}");
        assert_eq!(get(&server, &path, Some("pub_nonsense")).await.status, 401, "{path}");
        assert_eq!(get(&server, &path, Some(&user.token)).await.status, 200, "{path}");
        let closed = format!("/~auth{path}");
        let asked = get(&server, &closed, None).await;
        assert_eq!((asked.status, asked.header("www-authenticate")), (401, "Basic realm=\"Publaryn\""), "{closed}");
        assert_eq!(get(&server, &closed, Some(&user.token)).await.status, 200, "{closed}");
        assert_eq!(get(&server, &closed, Some(&stranger.token)).await.status, 404, "{closed}");
    }
    for path in ["/v3/search?q=lib", "/v3/autocomplete?q=acme", "/v2/Search()?searchTerm='lib'"] {
        assert!(!get(&server, path, None).await.text().contains("Acme.Lib"), "{path}");
        assert!(!get(&server, path, Some(&stranger.token)).await.text().contains("Acme.Lib"), "{path}");
        assert_eq!(get(&server, &format!("/~auth{path}"), None).await.status, 401, "{path}");
    }
    // An empty password is none; a wrong one does not hide what is public.
    let empty = server.http.get(format!("{}/nuget/v3/index.json", server.base_url()));
    assert_eq!(send(empty.header("authorization", "Basic Og==")).await.status, 200);
    assert_eq!(get(&server, "/v3/flatcontainer/acme.open/index.json", Some("pub_nonsense")).await.status, 200);
    let index = get(&server, "/~auth/v3/index.json", Some(&user.token)).await.json();
    for resource in index["resources"].as_array().unwrap() {
        let (address, kind) = (resource["@id"].as_str().unwrap(), resource["@type"].as_str().unwrap());
        assert!(address.contains("/nuget/~auth/") || kind.contains("UriTemplate"), "{resource}");
    }

    for path in ["/~auth/v3/%ff", "/~auth/a/b/c/d/e/f/g/h/i/j/k", "/~auth/v3/nothing", "/~auth/v2/package"] {
        for method in [http::Method::GET, http::Method::DELETE, http::Method::POST] {
            let asked = change(&server, method.clone(), path, None).await;
            assert_eq!((asked.status, asked.header("www-authenticate")), (401, "Basic realm=\"Publaryn\""), "{path}");
        }
    }
    let package = "/v3/flatcontainer/acme.lib/1.0.0/acme.lib.1.0.0.nupkg";
    let private = get(&server, package, Some(&user.token)).await;
    assert_eq!(private.header("cache-control"), "private, max-age=300, must-revalidate");
    let open = get(&server, &package.replace("lib", "open"), None).await;
    assert_eq!(open.header("cache-control"), "public, max-age=300, must-revalidate");
    assert_eq!(
        (private.header("vary"), open.header("vary")),
        ("Authorization, X-NuGet-ApiKey", private.header("vary"))
    );

    // Clients send a password once they were asked for one.
    let restore = async |desk: Desk| {
        let app = desk.app("app", "1.0.0");
        desk.dotnet(&app, &["restore"]).await
    };
    let closed = "/~auth/v3/index.json";
    restore(Desk::new(&server, "owner").at(closed).with_password(&user.token)).await.succeeds();
    restore(Desk::new(&server, "plain").with_password(&user.token)).await.succeeds();
    restore(Desk::new(&server, "nobody").at(closed)).await.fails_with("401");
    restore(Desk::new(&server, "stranger").at(closed).with_password(&stranger.token)).await.fails_with("NU1101");
    // Where the operator would rather not ask, other sources are not disturbed.
    server.restart_with(&[("access.anonymous_miss", "not_found")]).await;
    restore(Desk::new(&server, "quiet")).await.fails_with("NU1101");
    let folder = server.scratch("elsewhere");
    std::fs::write(folder.join("Acme.Lib.1.0.0.nupkg"), Pack::new("Acme.Lib", "1.0.0").zip()).unwrap();
    restore(Desk::new(&server, "two").and_source("folder", &folder.display().to_string())).await.succeeds();
});

on_backends!(a_source_that_lacks_a_package_does_not_stop_another_that_has_it, async |server: Server| {
    let user = server.new_user("ada").await;
    Pack::new("Acme.Open", "1.0.0").live(&server, &user).await;
    let folder = server.scratch("folder");
    std::fs::write(folder.join("Acme.Lib.1.0.0.nupkg"), Pack::new("Acme.Lib", "1.0.0").zip()).unwrap();
    let desk = Desk::new(&server, "two").and_source("folder", &folder.display().to_string());
    let app = desk.app("app", "1.0.0");
    desk.dotnet(&app, &["restore"]).await.succeeds();
});

on_backends!(only_who_may_changes_what_is_listed, async |server: Server| {
    let user = server.new_user("ada").await;
    let stranger = server.new_user("mallory").await;
    let publisher = server.token(&user.name, &user.password, &["packages:publish"]).await;
    Pack::new("Acme.Lib", "1.0.0").live(&server, &user).await;
    let delete = async |path: &str, key: Option<&str>| change(&server, http::Method::DELETE, path, key).await;
    let path = "/v2/package/Acme.Lib/1.0.0";
    delete(path, None).await.is(401, "API key is missing");
    delete(path, Some("bad")).await.is(401, "API key is missing");
    delete(path, Some(&publisher)).await.is(403, "lacks the scope packages:write");
    delete(path, Some(&stranger.token)).await.is(403, "You may not change Acme.Lib");
    delete("/v2/package/Acme.Lib/2.0.0", Some(&user.token)).await.is(404, "Acme.Lib 2.0.0 does not exist");
    delete("/v2/package/Acme.Nil/1.0.0", Some(&user.token)).await.is(404, "does not exist");
    delete("/v2/package/Acme.Lib/nonsense", Some(&user.token)).await.is(404, "does not exist");
    for _ in 0..2 {
        delete("/v2/ACME.lib/1.0", Some(&user.token)).await.is(204, "");
    }
    server.set_visibility("nuget", "acme.lib", "private").await;
    delete(path, Some(&stranger.token)).await.is(404, "does not exist");
    let relist = change(&server, http::Method::POST, "/~auth/v2/package/acme.lib/1.0.0.0", Some(&user.token)).await;
    relist.is(200, "");
});

on_backends!(quarantined_packages_are_gone_for_everybody, async |server: Server| {
    let user = server.new_user("ada").await;
    Pack::new("Acme.Lib", "1.0.0").live(&server, &user).await;
    server.set_visibility("nuget", "acme.lib", "quarantined").await;
    for path in reads("Acme.Lib") {
        assert_eq!(get(&server, &path, Some(&user.token)).await.status, 404, "{path}");
    }
    let said = Pack::new("Acme.Lib", "2.0.0").push(&server, Some(&user.token)).await;
    assert_eq!(said.status, 403, "{said:?}");
});

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_anonymous_reads_asks_everywhere() {
    let server = Server::start_with(Backend::Embedded, &[("access.require_login", "true")]).await;
    let user = server.new_user("ada").await;
    Pack::new("Acme.Lib", "1.0.0").live(&server, &user).await;
    let mut paths = reads("Acme.Lib");
    paths.extend(["/v3/index.json", "/v2/", "/v2/$metadata", "/v3/search", "/nothing"].map(str::to_owned));
    for path in paths {
        let said = get(&server, &path, None).await;
        assert_eq!((said.status, said.header("www-authenticate")), (401, "Basic realm=\"Publaryn\""), "{path}");
    }
    let desk = Desk::new(&server, "owner").with_password(&user.token);
    let app = desk.app("app", "1.0.0");
    desk.dotnet(&app, &["restore"]).await.succeeds();
}
