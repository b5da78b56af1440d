//! The .NET SDK: pack, push, restore, run, list, delete.

use publaryn_scan::corpus::zip;

use super::{
    Desk, Pack,
    desk::write,
    pack::{change, get},
};
use crate::{Server, bulk, on_backends};

on_backends!(a_library_is_packed_pushed_restored_and_run, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let (source, key) = (desk.source().to_owned(), user.token.as_str());
    let packed = desk.pack("Acme.Lib", "1.0.0").await;
    let push = async |key: &str, more: &[&str]| {
        let mut args = vec!["nuget", "push", "Acme.Lib.1.0.0.nupkg", "-s", &source, "-k", key, "-n", "true"];
        args.extend(more);
        desk.dotnet(&packed, &args).await
    };
    push("bad", &[]).await.fails_with("401 (API key is missing, unknown or expired)");
    let reader = server.token(&user.name, &user.password, &["packages:read"]).await;
    push(&reader, &[]).await.fails_with("403 (The API key lacks the scope packages:publish)");
    let first = desk.dotnet(&packed, &["nuget", "push", "Acme.Lib.1.0.0.nupkg", "-s", &source, "-k", key]).await;
    let first = first.succeeds().says("Your package was pushed.");
    assert_eq!(first.out.matches("Created ").count(), 2, "the package and its symbols: {}", first.out);
    push(key, &[]).await.fails_with("409 (Acme.Lib 1.0.0 already exists)");
    let stranger = server.new_user("mallory").await;
    push(&stranger.token, &[]).await.fails_with("403 (You may not publish Acme.Lib)");
    push(key, &["--skip-duplicate"]).await.succeeds().says("already exists at feed");

    let consumer = Desk::new(&server, "consumer");
    let app = consumer.app("app", "1.0.0");
    consumer.dotnet(&app, &["run"]).await.succeeds().says("this is 1.0.0");

    // Unlisted: who names it still gets it, nobody else is told.
    let delete = ["nuget", "delete", "acme.lib", "1.0", "-s", &source, "-k", key, "--non-interactive"];
    desk.dotnet(&packed, &delete).await.succeeds().says("was deleted successfully");
    consumer.forget(&app);
    consumer.dotnet(&app, &["restore"]).await.succeeds();
    assert!(!server.get("/nuget/v3/search?q=acme.lib", None).await.1.contains("Acme.Lib"));
    change(&server, http::Method::POST, "/v2/package/Acme.Lib/1.0.0", Some(key)).await.is(200, "");
    assert!(server.get("/nuget/v3/search?q=acme.lib", None).await.1.contains("Acme.Lib"));
});

on_backends!(versions_are_found_as_projects_write_them, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    // Restoring needs no code inside.
    for version in ["1.0", "1.2.0.0", "2.0.0-Beta.1+abc"] {
        Pack::new("Acme.Lib", version).live(&server, &user).await;
    }
    for wanted in ["1.0.0", "2.0.0-beta.1", "1.*", "[1.0,2.0)"] {
        let app = desk.app("app", wanted);
        desk.forget(&app);
        desk.dotnet(&app, &["restore"]).await.succeeds().never_says("NU1603");
    }
    let app = desk.app("old", "1.0.0");
    desk.dotnet(&app, &["restore"]).await.succeeds();
    desk.dotnet(&app, &["list", "package", "--outdated"]).await.succeeds().says("1.2.0");
    desk.dotnet(&app, &["list", "package", "--outdated", "--include-prerelease"]).await.succeeds().says("2.0.0-Beta.1");
    let app = desk.app("missing", "9.9.9");
    desk.forget(&app);
    desk.dotnet(&app, &["restore"]).await.fails_with("NU1102");
});

on_backends!(dependencies_are_restored_too, async |server: Server| {
    let user = server.new_user("ada").await;
    Pack::new("Acme.Core", "1.5.0").live(&server, &user).await;
    Pack::new("Acme.Lib", "1.0.0").needs("acme.core", "[1.0,2.0)").live(&server, &user).await;
    let desk = Desk::new(&server, "consumer");
    let app = desk.app("app", "1.0.0");
    desk.dotnet(&app, &["restore"]).await.succeeds();
    let listed = desk.dotnet(&app, &["list", "package", "--include-transitive"]).await.succeeds();
    assert!(listed.out.to_lowercase().contains("acme.core") && listed.out.contains("1.5.0"), "{}", listed.out);
});

on_backends!(a_package_is_added_to_a_project_by_its_name, async |server: Server| {
    let user = server.new_user("ada").await;
    for version in ["1.0.0", "1.2.0", "2.0.0-beta"] {
        Pack::new("Acme.Lib", version).live(&server, &user).await;
    }
    let desk = Desk::new(&server, "consumer");
    let app = desk.app("app", "1.0.0");
    desk.dotnet(&app, &["add", "package", "Acme.Lib"]).await.succeeds();
    let project = std::fs::read_to_string(app.join("App.csproj")).unwrap();
    assert!(project.contains("Include=\"Acme.Lib\" Version=\"1.2.0\""), "{project}");
    desk.dotnet(&app, &["add", "package", "Acme.Nil"]).await.fails_with("Acme.Nil");
});

on_backends!(a_large_push_without_a_key_is_asked_for_the_password_of_the_source, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author").with_password(&user.token);
    let dir = desk.folder("work");
    // More than any buffer on the way holds.
    write(&dir, "a.nupkg", Pack::new("Acme.Lib", "1.0.0").file("bulk.bin", bulk().repeat(27)).zip());
    let push = ["nuget", "push", "a.nupkg", "-s", "here"];
    desk.dotnet(&dir, &push).await.succeeds().says("Your package was pushed.");
    assert_eq!(get(&server, "/v3/flatcontainer/acme.lib/index.json", None).await.status, 200);
    let stranger = Desk::new(&server, "stranger");
    let dir = stranger.folder("work");
    write(&dir, "a.nupkg", Pack::new("Acme.Lib", "1.1.0").file("bulk.bin", bulk().repeat(27)).zip());
    stranger.dotnet(&dir, &push).await.fails_with("401 (API key is missing, unknown or expired)");
});

on_backends!(the_client_says_why_a_package_is_none, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let dir = desk.folder("work");
    let nuspec = Pack::new("Acme.Lib", "1.0.0").nuspec();
    let two = Pack::new("Acme.Lib", "1.0.0").file("Other.nuspec", nuspec.as_bytes()).zip();
    for (bytes, reason) in [
        (b"nonsense".to_vec(), "400 (Package is not a valid nupkg: not a zip file"),
        (two, "400 (Package is not a valid nupkg: there are two nuspecs in the root"),
        (zip("../a.nuspec", nuspec.as_bytes(), 0), "400 (Package is not a valid nupkg: "),
        (Pack::new("Acme.Lib", "1.0.0").file("zeros", vec![0; 80 << 20]).zip(), "400 (Package is not a valid nupkg: "),
    ] {
        write(&dir, "bad.nupkg", bytes);
        desk.dotnet(&dir, &["nuget", "push", "bad.nupkg", "-s", "here", "-k", &user.token]).await.fails_with(reason);
    }
    assert_eq!(get(&server, "/v3/flatcontainer/acme.lib/index.json", None).await.status, 404);
});
