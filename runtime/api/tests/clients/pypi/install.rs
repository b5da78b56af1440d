//! Installing with pip (two of them), uv, poetry and pdm.

use serde_json::Value;

use super::{Client, Desk, Dist};
use crate::{Server, User, on_backends};

const INSTALLERS: [Client; 3] = [Client::Pip23, Client::Pip26, Client::Uv];

/// A small world: `Demo.Pkg` 1.0 and 1.1 need `base-lib`, with an extra that needs `extra-lib`.
async fn world(server: &Server) -> User {
    let user = server.new_user("ada").await;
    for dist in [
        Dist::new("base-lib", "1.0"),
        Dist::new("base-lib", "2.0"),
        Dist::new("extra-lib", "0.5"),
        Dist::new("Demo.Pkg", "1.0").with("Requires-Dist", "base-lib<2"),
        Dist::new("Demo.Pkg", "1.1")
            .with("Requires-Dist", "base-lib (<2,>=1)")
            .with("Requires-Dist", "extra-lib; extra == 'more'")
            .with("Provides-Extra", "more"),
        Dist::new("Demo.Pkg", "2.0a1").with("Requires-Dist", "base-lib"),
        Dist::new("Demo.Pkg", "3.0").with("Requires-Python", ">=3.99"),
    ] {
        dist.upload_wheel().live(server, &user).await;
    }
    user
}

on_backends!(every_installer_resolves_and_installs, async |server: Server| {
    world(&server).await;
    for client in INSTALLERS {
        let desk = Desk::new(&server, client.name());
        let index = desk.index();
        for (spelled, version, base) in [
            ("Demo.Pkg[more]", "1.1", "1.0"),
            ("demo_pkg==1.0", "1.0", "1.0"),
            ("DEMO-pkg", "1.1", "1.0"),
            ("demo.pkg>=2.0a1,<3", "2.0a1", "2.0"),
        ] {
            let venv = desk.venv("fresh").await;
            desk.install(client, &venv, &index, &[spelled]).await.ok();
            assert_eq!(desk.version(&venv, "demo-pkg").await, version, "{client:?} {spelled}");
            assert_eq!(desk.version(&venv, "base-lib").await, base, "{client:?} {spelled}");
            if spelled.contains("more") {
                assert_eq!(desk.version(&venv, "extra-lib").await, "0.5");
            }
            desk.python(&venv, "__import__('demo_pkg').VERSION").await.ok().says(version);
        }
        let pre = if client == Client::Uv { "--prerelease=allow" } else { "--pre" };
        let venv = desk.venv("pre").await;
        desk.install(client, &venv, &index, &["demo-pkg<3", pre]).await.ok();
        assert_eq!(desk.version(&venv, "demo-pkg").await, "2.0a1");
        desk.install(client, &venv, &index, &["demo-pkg==3.0"]).await.fails();
        desk.install(client, &venv, &index, &["no-such-package"]).await.fails().says("no-such-package");
    }
});

on_backends!(resolution_reads_metadata_and_not_wheels, async |server: Server| {
    world(&server).await;
    for client in [Client::Pip26, Client::Uv] {
        let desk = Desk::new(&server, client.name());
        let before = server.log().lines().count();
        if client == Client::Uv {
            let dir = desk.folder("resolve");
            desk.write(&dir, "requirements.in", "demo-pkg[more]\n");
            let index = desk.index();
            desk.run(client, &dir, &["pip", "compile", "--index-url", &index, "requirements.in"])
                .await
                .ok()
                .says("base-lib==1.0");
        } else {
            let venv = desk.venv("resolve").await;
            desk.install(client, &venv, &desk.index(), &["--dry-run", "demo-pkg[more]"])
                .await
                .ok()
                .says("base-lib-1.0");
        }
        let seen = server.requests(before);
        let of_files: Vec<_> = seen.iter().filter(|(_, path, _)| path.starts_with("/pypi/files/")).collect();
        assert!(of_files.iter().any(|(_, path, _)| path.ends_with(".metadata")), "{client:?}: {seen:?}");
        assert!(
            of_files.iter().all(|(_, path, status)| path.ends_with(".metadata") && *status == 200),
            "{client:?}: {seen:?}"
        );
        assert!(seen.iter().all(|(_, _, status)| *status == 200), "{client:?}: {seen:?}");
    }
});

on_backends!(hashes_are_enforced, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = Dist::new("pinned", "1.0");
    dist.upload_wheel().live(&server, &user).await;
    let right = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(dist.wheel()));
    for client in INSTALLERS {
        let desk = Desk::new(&server, client.name());
        let venv = desk.venv("hashes").await;
        let dir = desk.folder("hashes");
        for (hash, works) in [("00".repeat(32), false), (right.clone(), true)] {
            let file = desk.write(&dir, "requirements.txt", format!("pinned==1.0 --hash=sha256:{hash}\n"));
            let ran = desk
                .install(client, &venv, &desk.index(), &["--require-hashes", "-r", &file.display().to_string()])
                .await;
            if works {
                ran.ok()
            } else {
                ran.fails()
            };
        }
    }
});

on_backends!(source_distributions_are_built, async |server: Server| {
    let user = server.new_user("ada").await;
    Dist::new("source-only", "1.0").upload_sdist().live(&server, &user).await;
    for client in INSTALLERS {
        let desk = Desk::new(&server, client.name());
        let venv = desk.venv("source").await;
        desk.install(client, &venv, &desk.index(), &["source-only"]).await.ok();
        desk.python(&venv, "__import__('source_only').VERSION").await.ok().says("1.0");
    }
});

on_backends!(lock_files_of_uv_hold, async |server: Server| {
    world(&server).await;
    let desk = Desk::new(&server, "uv");
    let dir = desk.folder("app");
    desk.write(
        &dir,
        "pyproject.toml",
        format!(
            "[project]\nname = \"app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\ndependencies = []\n\
             [[tool.uv.index]]\nname = \"corp\"\nurl = \"{}\"\ndefault = true\n",
            desk.index()
        ),
    );
    desk.run(Client::Uv, &dir, &["add", "demo-pkg[more]"]).await.ok();
    let lock = std::fs::read_to_string(dir.join("uv.lock")).expect("a lock file");
    assert!(lock.contains(&format!("{}/pypi/files/", server.base_url())) && lock.contains("upload-time"), "{lock}");
    let _ = std::fs::remove_dir_all(dir.join(".venv"));
    let _ = std::fs::remove_dir_all(desk.home().join(".cache"));
    desk.run(Client::Uv, &dir, &["sync", "--locked"]).await.ok();
    desk.run(Client::Uv, &dir, &["run", "--locked", "python", "-c", "import demo_pkg; print(demo_pkg.VERSION)"])
        .await
        .ok()
        .says("1.1");
});

on_backends!(poetry_adds_and_installs, async |server: Server| {
    world(&server).await;
    let desk = Desk::new(&server, "poetry");
    let dir = desk.folder("app");
    desk.write(
        &dir,
        "pyproject.toml",
        format!(
            "[project]\nname = \"app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\n\
             [tool.poetry]\npackage-mode = false\n\
             [[tool.poetry.source]]\nname = \"corp\"\nurl = \"{}\"\npriority = \"primary\"\n",
            desk.index()
        ),
    );
    // Without a range it takes the newest version whatever Python that needs; with one, the resolver looks.
    let before = server.log().lines().count();
    desk.run(Client::Poetry, &dir, &["add", "--lock", "demo-pkg[more]>=1"]).await.ok();
    let seen = server.requests(before);
    let mut of_files = seen.iter().filter(|(_, path, _)| path.starts_with("/pypi/files/")).peekable();
    assert!(of_files.peek().is_some() && of_files.all(|(_, path, _)| path.ends_with(".metadata")), "{seen:?}");
    let lock = std::fs::read_to_string(dir.join("poetry.lock")).expect("a lock file");
    assert!(lock.contains("demo_pkg-1.1-py3-none-any.whl"), "{lock}");
    let _ = std::fs::remove_dir_all(dir.join(".venv"));
    let _ = std::fs::remove_dir_all(desk.home().join(".cache"));
    desk.run(Client::Poetry, &dir, &["install"]).await.ok();
    desk.run(Client::Poetry, &dir, &["run", "python", "-c", "import demo_pkg; print(demo_pkg.VERSION)"])
        .await
        .ok()
        .says("1.1");
});

on_backends!(pdm_adds, async |server: Server| {
    world(&server).await;
    let desk = Desk::new(&server, "pdm");
    let dir = desk.folder("app");
    desk.write(
        &dir,
        "pyproject.toml",
        format!(
            "[project]\nname = \"app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\ndependencies = []\n\
             [tool.pdm]\ndistribution = false\n\
             [[tool.pdm.source]]\nname = \"pypi\"\nurl = \"{}\"\nverify_ssl = false\n",
            desk.index()
        ),
    );
    desk.run(Client::Pdm, &dir, &["add", "demo-pkg[more]"]).await.ok();
    desk.run(Client::Pdm, &dir, &["run", "python", "-c", "import demo_pkg; print(demo_pkg.VERSION)"])
        .await
        .ok()
        .says("1.1");
});

on_backends!(the_project_document_names_the_newest_version, async |server: Server| {
    world(&server).await;
    let (status, text) = server.get("/pypi/Demo.Pkg/json", None).await;
    assert_eq!(status, 200, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["info"]["version"], "3.0");
    assert_eq!(body["urls"][0]["filename"], "demo_pkg-3.0-py3-none-any.whl");
    assert_eq!(body["releases"].as_object().unwrap().len(), 4);
    let (_, text) = server.get("/pypi/demo-pkg/1.1.0/json", None).await;
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&body["info"]["version"], &body["info"]["summary"]), (&"1.1".into(), &"a test".into()));
    for missing in ["/pypi/demo-pkg/9/json", "/pypi/none/json", "/pypi/demo-pkg/x/json"] {
        assert_eq!(server.get(missing, None).await.0, 404, "{missing}");
    }
});
