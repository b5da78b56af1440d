use super::{Desk, Gem};
use crate::{Server, on_backends};

on_backends!(a_yanked_gem_leaves_the_indexes_and_keeps_its_file, async |server: Server| {
    let user = server.new_user("ada").await;
    let other = server.new_user("mallory").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("acme", "1.0.0")).await.ok();
    desk.push(&Gem::new("acme", "1.1.0")).await.ok();
    desk.push(&Gem::new("acme", "1.1.0").platform("java")).await.ok();
    let project = desk.project("app", &desk.source(), "gem 'acme'");
    desk.bundle(&project, &["lock"]).await.ok();

    let empty = desk.folder("empty");
    // Exits with 0 whatever happens.
    let yank = async |desk: &Desk, args: &[&str]| {
        let mut all = vec!["yank"];
        all.extend(args);
        let source = desk.source();
        all.extend(["--host", &source]);
        desk.gem(&empty, &all).await
    };
    let stranger = Desk::new(&server, "mallory").with_key(&other.token);
    yank(&stranger, &["acme", "-v", "1.1.0"]).await.says("You do not have permission to delete this gem.");
    yank(&desk, &["acme", "-v", "9.9"]).await.says("The version 9.9 does not exist.");
    yank(&desk, &["missing", "-v", "1.0"]).await.says("This rubygem could not be found.");
    yank(&desk, &["acme", "-v", "1.1.0"]).await.says("Successfully deleted gem: acme (1.1.0)");
    yank(&desk, &["acme", "-v", "1.1.0"]).await.says("has already been deleted");
    let (_, info) = server.get("/rubygems/info/acme", None).await;
    assert!(!info.contains("\n1.1.0 ") && info.contains("\n1.1.0-java "), "{info}");
    yank(&desk, &["acme", "-v", "1.1.0", "--platform", "java"]).await.says("acme (1.1.0-java)");

    // Bundler looks a locked version up before it fetches it (ADR 0038).
    desk.bundle(&project, &["install"]).await.fails().says("acme (1.1.0)");
    desk.install(&desk.source(), &["acme"]).await.ok().says("Successfully installed acme-1.0.0");
    desk.install(&desk.source(), &["acme", "-v", "1.1.0"]).await.fails();
    assert_eq!(server.get("/rubygems/gems/acme-1.1.0.gem", None).await.0, 200);
    assert_eq!(server.get("/rubygems/quick/Marshal.4.8/acme-1.1.0.gemspec.rz", None).await.0, 404);
    desk.push(&Gem::new("acme", "1.1.0")).await.fails().says("Repushing of gem versions is not allowed.");
    let (_, versions) = server.get("/rubygems/versions", None).await;
    let last = versions.lines().last().unwrap();
    let (_, info) = server.get("/rubygems/info/acme", None).await;
    let etag = server.http.get(format!("{}/rubygems/info/acme", server.base_url())).send().await.unwrap();
    let etag = etag.headers()["etag"].to_str().unwrap().trim_matches('"').to_owned();
    assert_eq!(last, format!("acme -1.1.0-java {etag}"), "{info}");
});

on_backends!(owners_come_and_go, async |server: Server| {
    let user = server.new_user("ada").await;
    let other = server.new_user("bob").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    let bob = Desk::new(&server, "bob").with_key(&other.token);
    desk.push(&Gem::new("acme", "1.0.0")).await.ok();
    let empty = desk.folder("empty");
    let owner = async |desk: &Desk, args: &[&str]| {
        let source = desk.source();
        let mut all = vec!["owner", "acme", "--host", &source];
        all.extend(args);
        desk.gem(&empty, &all).await
    };
    owner(&desk, &[]).await.ok().says("ada").never_says("example.test");
    owner(&bob, &["-a", "bob"]).await.says("You do not have permission to manage the owners");
    owner(&desk, &["-a", "nobody"]).await.says("Owner could not be found");
    owner(&desk, &["-a", "bob"]).await.says("Owner added successfully.");
    bob.push(&Gem::new("acme", "1.1.0")).await.ok();
    owner(&desk, &["-r", "bob"]).await.says("Owner removed successfully.");
    bob.push(&Gem::new("acme", "1.2.0")).await.fails();
});
