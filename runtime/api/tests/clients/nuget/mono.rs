//! nuget.exe 3.4.4 and NuGet 2.8.7 on mono.

use super::{Desk, Pack, desk::write, pack::until_found};
use crate::{Server, on_backends};

on_backends!(nuget_3_pushes_lists_installs_and_deletes, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let (dir, source) = (desk.folder("work"), desk.source().to_owned());
    Pack::new("Acme.Core", "1.0.0").live(&server, &user).await;
    write(&dir, "a.nupkg", Pack::new("Acme.Lib", "1.0.0").needs("Acme.Core", "1.0").zip());
    let push = ["push", "a.nupkg", user.token.as_str(), "-Source", &source];
    desk.nuget3(&dir, &push).await.succeeds().says("Your package was pushed.");
    desk.nuget3(&dir, &push).await.fails_with("Acme.Lib 1.0.0 already exists");
    // It asks a terminal that is not there for a password.
    desk.nuget3(&dir, &["push", "a.nupkg", "bad", "-Source", &source]).await.fails_with("");
    until_found(&server, "acme", 2).await;
    let list = ["list", "acme", "-Source", &source];
    desk.nuget3(&dir, &list).await.succeeds().says("Acme.Lib 1.0.0").says("Acme.Core 1.0.0");
    desk.nuget3(&dir, &["install", "Acme.Lib", "-Source", &source, "-OutputDirectory", "out"]).await.succeeds();
    assert!(dir.join("out/Acme.Lib.1.0.0/lib").is_dir() && dir.join("out/Acme.Core.1.0.0").is_dir());
    let delete = ["delete", "Acme.Lib", "1.0.0", user.token.as_str(), "-Source", &source];
    desk.nuget3(&dir, &delete).await.succeeds();
    desk.nuget3(&dir, &list).await.succeeds().never_says("Acme.Lib");
    let named = ["install", "Acme.Lib", "-Version", "1.0.0", "-Source", &source, "-OutputDirectory", "again"];
    desk.nuget3(&dir, &named).await.succeeds();
});

on_backends!(nuget_2_knows_only_the_older_protocol, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let (dir, source) = (desk.folder("work"), format!("{}/nuget/v2", server.base_url()));
    for pack in [
        Pack::new("Acme.Core", "1.0.0"),
        Pack::new("Acme.Lib", "1.1.0-beta").needs("Acme.Core", "1.0"),
        // It cannot read these, so it must not be shown them.
        Pack::new("Acme.Lib", "2.0.0-beta.1"),
        Pack::new("Acme.Lib", "2.0.0-1"),
    ] {
        pack.live(&server, &user).await;
    }
    write(&dir, "a.nupkg", Pack::new("Acme.Lib", "1.0.0").needs("Acme.Core", "1.0").zip());
    let push = ["push", "a.nupkg", user.token.as_str(), "-Source", &source];
    desk.nuget2(&dir, &push).await.succeeds().says("Your package was pushed.");
    desk.nuget2(&dir, &push).await.fails_with("Acme.Lib 1.0.0 already exists");
    let install = async |folder: &str, more: &[&str]| {
        let mut args = vec!["install", "Acme.Lib", "-Source", &source, "-OutputDirectory", folder];
        args.extend(more);
        desk.nuget2(&dir, &args).await.succeeds();
    };
    install("latest", &[]).await;
    assert!(dir.join("latest/Acme.Lib.1.0.0/lib").is_dir() && dir.join("latest/Acme.Core.1.0.0").is_dir());
    install("pre", &["-Prerelease"]).await;
    assert!(dir.join("pre/Acme.Lib.1.1.0-beta").is_dir());
    install("named", &["-Version", "1.1.0-beta"]).await;
    assert!(dir.join("named/Acme.Lib.1.1.0-beta").is_dir());
    until_found(&server, "acme", 2).await;
    let listed = desk.nuget2(&dir, &["list", "acme", "-Source", &source]).await.succeeds();
    listed.says("Acme.Lib 1.0.0").says("Acme.Core 1.0.0");
    let delete = ["delete", "Acme.Lib", "1.0.0", user.token.as_str(), "-Source", &source];
    desk.nuget2(&dir, &delete).await.succeeds();
    desk.nuget2(&dir, &["list", "acme", "-Source", &source]).await.succeeds().never_says("Acme.Lib");
});
