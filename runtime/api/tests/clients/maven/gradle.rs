//! Gradle resolves.

use tokio::process::Command;

use super::{Desk, Wire, desk::clients, jar};
use crate::{Server, on_backends, process::Said};

async fn fetch(desk: &Desk, repository: &str, wanted: &str) -> Said {
    clients();
    let build = format!(
        "repositories {{ maven {{ {repository} }} }}\nconfigurations {{ wanted }}\n\
         dependencies {{ wanted '{wanted}' }}\n\
         task fetch {{ doLast {{ configurations.wanted.files.each {{ println \"got ${{it.name}}\" }} }} }}\n"
    );
    desk.write("gradle-build/build.gradle", build);
    let _ = std::fs::remove_dir_all(desk.home().join("gradle"));
    let mut command = Command::new("gradle");
    command.args(["--no-daemon", "-q", "--stacktrace", "fetch"]);
    desk.run(command, &desk.home().join("gradle-build"), &format!("gradle fetch {wanted}")).await
}

on_backends!(gradle_resolves_from_both_views, async |mut server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    for version in ["1.9", "2.0", "2.1"] {
        wire.deploy(["com.acme", "widget", version], version).await.expect(201);
    }
    wire.deploy(["com.acme", "secret", "1.0"], "hidden").await.expect(201);
    server.set_visibility("maven", "com.acme:secret", "private").await;
    let desk = Desk::new(&server, "gradle");
    let public = format!("url '{}'", desk.url());
    fetch(&desk, &public, "com.acme:widget:1.9").await.succeeds().says("got widget-1.9.jar");
    fetch(&desk, &public, "com.acme:widget:2.+").await.succeeds().says("got widget-2.1.jar");
    // Who has no credential is asked for one, unless the operator would rather not (ADR 0039).
    fetch(&desk, &public, "com.acme:secret:1.0").await.fails_with("401");
    server.restart_with(&[("access.anonymous_miss", "not_found")]).await;
    fetch(&desk, &public, "com.acme:secret:1.0").await.fails_with("Could not find com.acme:secret:1.0");
    let asked = format!("url '{}'\ncredentials {{ username 'any'; password '{}' }}", desk.challenge_url(), ada.token);
    let before = server.log().lines().count();
    fetch(&desk, &asked, "com.acme:secret:1.0").await.succeeds().says("got secret-1.0.jar");
    let statuses: Vec<u64> = server.requests(before).into_iter().map(|(_, _, status)| status).collect();
    assert!(statuses.contains(&401) && statuses.contains(&200), "{statuses:?}");
    let wire = Wire::new(&server, &ada.token);
    assert_eq!(wire.get("com/acme/secret/1.0/secret-1.0.jar").await.expect(200).body, jar("hidden"));
});
