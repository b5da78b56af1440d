//! The other publishing clients: uv, poetry, flit, hatch and pdm, each in its own way.

use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Client, Desk, Dist, Ran};
use crate::{Server, on_backends};

/// Publishes what lies in a project folder, as that client does it.
async fn publish(desk: &Desk, client: Client, dir: &Path, token: &str) -> Ran {
    let url = desk.legacy();
    match client {
        Client::Uv => {
            desk.run(
                client,
                dir,
                &["publish", "--publish-url", &url, "--token", token, "--trusted-publishing", "never"],
            )
            .await
        }
        Client::Poetry => {
            desk.run(client, dir, &["config", "repositories.corp", &url]).await.ok();
            desk.run(client, dir, &["publish", "-r", "corp", "-u", "__token__", "-p", token]).await
        }
        Client::Flit => {
            desk.write(desk.home(), ".pypirc", format!("[distutils]\nindex-servers = corp\n[corp]\nrepository = {url}\nusername = __token__\npassword = {token}\n"));
            desk.run(client, dir, &["publish", "--repository", "corp"]).await
        }
        Client::Hatch => desk.run(client, dir, &["publish", "-r", &url, "-u", "__token__", "-a", token]).await,
        Client::Pdm => {
            desk.run(client, dir, &["publish", "--no-build", "-r", &url, "-u", "__token__", "-P", token]).await
        }
        other => panic!("{other:?} does not publish"),
    }
}

/// A project with its distributions; flit builds them itself. What it needs is spelled in one way in the project, in
/// another in the distributions: some clients send the one, some the other.
fn project(desk: &Desk, name: &str, version: &str, code: &str) -> PathBuf {
    let dist = Dist::new(name, version)
        .payload(code)
        .with("Requires-Python", "<4,>=3.8")
        .with("Requires-Dist", "six<2,>=1")
        .with("Requires-Dist", "Foo_Bar[b,a]>=1; python_version < \"3.8\"")
        .with("Provides-Extra", "Fancy_Colors")
        .with("Requires-Dist", "rich; extra == \"Fancy_Colors\"");
    let dir = desk.dist(&dist);
    let pyproject = format!(
        "[build-system]\nrequires = [\"flit_core >=3.2,<5\"]\nbuild-backend = \"flit_core.buildapi\"\n\
         [project]\nname = \"{name}\"\nversion = \"{version}\"\ndescription = \"a test\"\nrequires-python = \">=3.8,<4\"\n\
         dependencies = [\"six >=1, <2\", \"foo-bar[a,b] >=1 ; python_version < '3.8'\"]\n\
         [project.optional-dependencies]\nfancy-colors = [\"rich\"]\n"
    );
    desk.write(&dir, "pyproject.toml", pyproject);
    desk.write(&dir, &format!("{}.py", dist.module()), format!("\"\"\"a test\"\"\"\n{code}"));
    dir
}

const PUBLISHERS: [Client; 5] = [Client::Uv, Client::Poetry, Client::Flit, Client::Hatch, Client::Pdm];

on_backends!(every_publisher_uploads_and_shows_our_sentences, async |server: Server| {
    let user = server.new_user("ada").await;
    let broken = format!("{}x", &user.token[..user.token.len() - 1]);
    for client in PUBLISHERS {
        let desk = Desk::new(&server, client.name());
        let name = format!("by-{}", client.name());
        let dir = project(&desk, &name, "1.0", "A = 1\n");
        publish(&desk, client, &dir, &broken).await.fails().says("Invalid or non-existent authentication information");
        assert_eq!(server.get(&format!("/pypi/simple/{name}/"), None).await.0, 404, "{client:?}");
        publish(&desk, client, &dir, &user.token).await.ok();
        let (_, page) = server.get(&format!("/pypi/simple/{name}/"), None).await;
        assert_eq!(page.matches("<a href").count(), 2, "{client:?}: {page}");

        // The same files again are no error, other files of that name are.
        if client != Client::Flit {
            publish(&desk, client, &dir, &user.token).await.ok();
        }
        let _ = std::fs::remove_dir_all(dir.join("dist"));
        let dir = project(&desk, &name, "1.0", "A = 2\n");
        let refused = publish(&desk, client, &dir, &user.token).await;
        if client == Client::Hatch {
            // It asks the simple index first and skips what is there.
            assert!(refused.text.to_lowercase().contains("exist"), "{refused:?}");
        } else {
            refused.fails().says("File already exists");
        }
        assert_eq!(server.get(&format!("/pypi/simple/{name}/"), None).await.1, page, "{client:?}");
    }
});

on_backends!(clients_skip_what_is_there, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let dir = project(&desk, "skips", "1.0", "A = 1\n");
    let (url, index) = (desk.legacy(), desk.index());
    let uv = [
        "publish",
        "--publish-url",
        &url,
        "--token",
        &user.token,
        "--trusted-publishing",
        "never",
        "--check-url",
        &index,
    ];
    desk.run(Client::Uv, &dir, &uv).await.ok();
    desk.run(Client::Uv, &dir, &uv).await.ok().says("already exists");
    let changed = project(&desk, "skips", "1.0", "A = 2\n");
    desk.run(Client::Uv, &changed, &uv).await.fails();

    desk.run(Client::Poetry, &dir, &["config", "repositories.corp", &url]).await.ok();
    let poetry = ["publish", "--skip-existing", "-r", "corp", "-u", "__token__", "-p", &user.token];
    desk.run(Client::Poetry, &changed, &poetry).await.ok();
    let pdm = ["publish", "--no-build", "--skip-existing", "-r", &url, "-u", "__token__", "-P", &user.token];
    desk.run(Client::Pdm, &changed, &pdm).await.ok();
});

on_backends!(uv_sends_attestations_along, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let dist = Dist::new("attested", "1.0");
    let dir = desk.folder("attested");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": dist.wheel_name(), "digest": { "sha256": hex::encode(Sha256::digest(dist.wheel())) } }],
        "predicateType": "https://docs.pypi.org/attestations/publish/v1",
        "predicate": null,
    });
    let attestation = |statement: &serde_json::Value| {
        json!({
            "version": 1,
            "verification_material": { "certificate": "AAAA", "transparency_entries": [{}] },
            "envelope": { "signature": "AAAA", "statement": BASE64_STANDARD.encode(statement.to_string()) },
        })
        .to_string()
    };
    let wheel = format!("dist/{}", dist.wheel_name());
    desk.write(&dir, &wheel, dist.wheel());
    let beside = format!("{wheel}.publish.attestation");
    let mut other = statement.clone();
    other["subject"][0]["digest"]["sha256"] = json!("00".repeat(32));
    desk.write(&dir, &beside, attestation(&other));
    publish(&desk, Client::Uv, &dir, &user.token).await.fails().says("Invalid attestations supplied during upload");
    assert_eq!(server.get("/pypi/simple/attested/", None).await.0, 404);
    desk.write(&dir, &beside, attestation(&statement));
    publish(&desk, Client::Uv, &dir, &user.token).await.ok();
    // Nobody checked the signature, so nothing is shown of it.
    let (_, page) = server.get("/pypi/simple/attested/?format=application/vnd.pypi.simple.v1+json", None).await;
    assert!(page.contains("attested-1.0") && !page.contains("provenance"), "{page}");
    let provenance = format!("/pypi/integrity/attested/1.0/{}/provenance", dist.wheel_name());
    assert_eq!(server.get(&provenance, None).await.0, 404);
});

on_backends!(a_client_that_posts_to_the_simple_index_gets_a_hint, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let dir = project(&desk, "hint", "1.0", "A = 1\n");
    let index = desk.index();
    desk.run(
        Client::Uv,
        &dir,
        &["publish", "--publish-url", &index, "--token", &user.token, "--trusted-publishing", "never"],
    )
    .await
    .fails()
    .says("simple index URL instead of the upload URL");
});
