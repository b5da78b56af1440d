use super::{Desk, Gem};
use crate::{Backend, Server, bulk, faults::state::eventually, on_backends};

on_backends!(a_gem_is_pushed_once_per_platform, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    let gem = Gem::new("acme", "1.0.0");
    desk.push(&gem).await.ok().says("Successfully registered gem: acme (1.0.0)");
    desk.push(&gem).await.fails().says("Repushing of gem versions is not allowed.");
    // Equal numbers are one number, on any platform.
    desk.push(&Gem::new("acme", "1.0")).await.fails().says("Repushing of gem versions is not allowed.");
    desk.push(&Gem::new("acme", "1.0").platform("java")).await.fails().says("Repushing of gem versions");
    let native = gem.clone().platform("x86_64-linux");
    desk.push(&native).await.ok().says("acme (1.0.0-x86_64-linux)");
    desk.push(&native).await.fails().says("Repushing of gem versions is not allowed.");
    desk.push(&Gem::new("ACME", "2.0")).await.fails().says("too similar");

    let (status, info) = server.get("/rubygems/info/acme", None).await;
    assert_eq!(status, 200, "{info}");
    let lines: Vec<&str> = info.lines().collect();
    assert!(lines[0] == "---" && lines[1].starts_with("1.0.0 |checksum:"), "{info}");
    assert!(lines[2].starts_with("1.0.0-x86_64-linux |checksum:") && lines.len() == 3, "{info}");
});

on_backends!(who_may_not_push_is_told, async |server: Server| {
    let user = server.new_user("ada").await;
    let other = server.new_user("mallory").await;
    let reader = server.token("ada", &user.password, &["packages:read"]).await;
    let gem = Gem::new("acme", "1.0.0");
    let desk = Desk::new(&server, "nobody").with_key("pub_nonsense");
    desk.push(&gem).await.fails().says("Access Denied.");
    let desk = Desk::new(&server, "reader").with_key(&reader);
    desk.push(&gem).await.fails().says("This API key cannot perform the specified action");
    Desk::new(&server, "ada").with_key(&user.token).push(&gem).await.ok();
    let desk = Desk::new(&server, "mallory").with_key(&other.token);
    desk.push(&Gem::new("acme", "2.0.0")).await.fails().says("You do not have permission to push to this gem.");
    let response = server.http.post(format!("{}/rubygems/api/v1/gems", server.base_url())).body("x").send().await;
    assert_eq!(response.unwrap().status().as_u16(), 401);
});

on_backends!(a_held_gem_is_nowhere_until_it_is_let_go, async |mut server: Server| {
    server.restart_with(&[("publish.wait_seconds", "1")]).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("other", "1.0.0")).await.ok();
    let stopped = server.pause_scanners();
    let held = desk.push(&Gem::new("held", "1.0.0").bulk(bulk())).await.ok();
    held.says("Successfully registered gem: held (1.0.0)").says("awaiting review");
    for path in
        ["/info/held", "/gems/held-1.0.0.gem", "/quick/Marshal.4.8/held-1.0.0.gemspec.rz", "/api/v1/gems/held.json"]
    {
        let path = format!("/rubygems{path}");
        assert_eq!(server.get(&path, None).await.0, 404, "{path}");
        assert_eq!(server.get(&path, Some(&user.token)).await.0, 404, "{path}");
    }
    for path in ["/versions", "/names", "/specs.4.8", "/latest_specs.4.8", "/prerelease_specs.4.8"] {
        let path = format!("{}/rubygems{path}", server.base_url());
        let page = server.http.get(&path).bearer_auth(&user.token).send().await.unwrap().bytes().await.unwrap();
        assert!(!page.windows(4).any(|part| part == b"held"), "{path}");
    }
    desk.push(&Gem::new("held", "1.0.0")).await.fails().says("Repushing");
    drop(stopped);
    eventually("it is exposed", std::time::Duration::from_secs(30), async || {
        server.get("/rubygems/info/held", None).await.0 == 200
    })
    .await;
    let (_, versions) = server.get("/rubygems/versions", None).await;
    assert_eq!(versions.lines().filter(|line| line.starts_with("held 1.0.0 ")).count(), 1, "{versions}");
    desk.install(&desk.source(), &["held"]).await.ok();
});

#[tokio::test(flavor = "multi_thread")]
async fn gems_above_the_limit_are_refused() {
    let server = Server::start_with(Backend::Embedded, &[("limits.artifact.gem", "1MiB")]).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    let noise = [bulk(), bulk().into_iter().map(|b| b ^ 0x5a).collect(), bulk().into_iter().rev().collect()].concat();
    let noise: Vec<u8> = noise.iter().enumerate().map(|(at, b)| b.wrapping_add((at / 600_000) as u8 * 31)).collect();
    let push = |body: Vec<u8>| {
        let request = server.http.post(format!("{}/rubygems/api/v1/gems", server.base_url()));
        request.header("authorization", &user.token).body(body).send()
    };
    let response = push(noise.repeat(2)).await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    assert_eq!((status, text.as_str()), (413, "The gem is larger than 1 MB.\n"));
    desk.push(&Gem::new("small", "1.0")).await.ok();
}
