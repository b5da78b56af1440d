//! Releases whose scan takes its time.

use std::time::Duration;

use super::{
    Desk, Pack,
    desk::write,
    pack::{get, push},
};
use crate::{Server, bulk, faults::state::eventually, on_backends};

on_backends!(a_held_release_is_nowhere_until_it_is_let_go, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "1")]).await;
    let user = server.new_user("ada").await;
    let stopped = server.pause_scanners();
    let pack = Pack::new("Acme.Lib", "1.0.0").file("bulk.bin", bulk());
    let said = pack.push(&server, Some(&user.token)).await;
    assert_eq!(said.status, 202, "{said:?}");
    assert!(said.header("x-nuget-warning").contains("Acme.Lib 1.0.0 awaits review"), "{said:?}");
    for path in [
        "/v3/flatcontainer/acme.lib/index.json",
        "/v3/flatcontainer/acme.lib/1.0.0/acme.lib.1.0.0.nupkg",
        "/v3/registration-semver2/acme.lib/index.json",
        "/v2/Packages(Id='Acme.Lib',Version='1.0.0')",
    ] {
        assert_eq!(get(&server, path, Some(&user.token)).await.status, 404, "{path}");
    }
    assert!(!get(&server, "/v3/search?q=acme", Some(&user.token)).await.text().contains("Acme.Lib"));
    Pack::new("Acme.Lib", "1.0").push(&server, Some(&user.token)).await.is(409, "Acme.Lib 1.0.0 already exists");
    // Clients print the warning and are content.
    let desk = Desk::new(&server, "author");
    let dir = desk.folder("work");
    write(&dir, "a.nupkg", Pack::new("Acme.Other", "1.0.0").file("bulk.bin", bulk()).zip());
    let args = ["nuget", "push", "a.nupkg", "-s", "here", "-k", &user.token];
    desk.dotnet(&dir, &args).await.succeeds().says("Acme.Other 1.0.0 awaits review");
    desk.dotnet(&dir, &args).await.succeeds().says("Acme.Other 1.0.0 awaits review");
    // Clients repeat a push of which they did not hear the end.
    let again = pack.push(&server, Some(&user.token)).await;
    assert_eq!((again.status, again.header("x-nuget-warning")), (202, said.header("x-nuget-warning")), "{again:?}");
    let stranger = server.new_user("mallory").await;
    let theirs = pack.push(&server, Some(&stranger.token)).await;
    assert!(matches!(theirs.status, 403 | 404), "{theirs:?}");
    // Symbols join what is held, and wait like it.
    let symbols = Pack::new("Acme.Lib", "1.0.0").symbols().file("lib/a.pdb", bulk()).zip();
    assert_eq!(push(&server, "/nuget/v2/symbolpackage", Some(&user.token), &symbols).await.status, 202);
    drop(stopped);
    eventually("the release is exposed", Duration::from_secs(60), async || {
        get(&server, "/v3/flatcontainer/acme.lib/index.json", None).await.status == 200
    })
    .await;
    pack.push(&server, Some(&user.token)).await.is(409, "Acme.Lib 1.0.0 already exists");
});
