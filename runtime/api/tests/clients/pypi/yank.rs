//! Yanked releases, deprecated and archived projects.

use super::{Client, Desk, Dist};
use crate::{Server, on_backends};

const INSTALLERS: [Client; 3] = [Client::Pip23, Client::Pip26, Client::Uv];

on_backends!(yanked_releases_are_taken_only_when_pinned, async |server: Server| {
    let user = server.new_user("ada").await;
    for version in ["1.0", "2.0"] {
        let dist = Dist::new("demo", version);
        dist.upload_wheel().live(&server, &user).await;
        dist.upload_sdist().live(&server, &user).await;
    }
    server.yank("pypi", "demo", "2", Some("it \"burns\" <down>")).await;
    server
        .until(
            |page| page.matches("data-yanked=\"it &quot;burns&quot; &lt;down&gt;\"").count() == 2,
            "/pypi/simple/demo/",
        )
        .await;
    for client in INSTALLERS {
        let desk = Desk::new(&server, client.name());
        let venv = desk.venv("yank").await;
        desk.install(client, &venv, &desk.index(), &["demo"]).await.ok();
        assert_eq!(desk.version(&venv, "demo").await, "1.0", "{client:?}");
        desk.install(client, &venv, &desk.index(), &["demo==2.0"]).await.ok().says("burns");
        assert_eq!(desk.version(&venv, "demo").await, "2.0", "{client:?}");
    }
    server.yank("pypi", "demo", "2", None).await;
    server.until(|page| !page.contains("data-yanked"), "/pypi/simple/demo/").await;
    let desk = Desk::new(&server, "after");
    let venv = desk.venv("after").await;
    desk.install(Client::Pip26, &venv, &desk.index(), &["demo"]).await.ok();
    assert_eq!(desk.version(&venv, "demo").await, "2.0");
});

on_backends!(archived_projects_refuse_uploads_and_install, async |server: Server| {
    let user = server.new_user("ada").await;
    Dist::new("demo", "1.0").upload_wheel().live(&server, &user).await;
    let db = server.database().await;
    db.execute_raw("UPDATE packages SET is_archived = (1 = 1), revision = revision + 1").await.unwrap();
    server.until(|page| page.contains("content=\"archived\""), "/pypi/simple/demo/").await;
    let (status, text) = Dist::new("demo", "2.0").upload_wheel().send(&server, Some(&user.token)).await;
    assert_eq!((status, text.as_str()), (403, "403 project is archived"));
    let desk = Desk::new(&server, "pip");
    let venv = desk.venv("archived").await;
    desk.install(Client::Pip26, &venv, &desk.index(), &["demo"]).await.ok();
    let (_, page) = server.get("/pypi/simple/demo/?format=application/vnd.pypi.simple.v1+json", None).await;
    assert!(page.contains("\"project-status\":{\"status\":\"archived\"}"), "{page}");
});
