//! Releases put together through the management API, as the ecosystems' own clients see them.

use publaryn_scan::corpus::{ZipBuilder, targz};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Server, User, cargo, composer, on_backends, pypi, rubygems};

/// A draft: a release that takes files.
struct Draft<'a> {
    server: &'a Server,
    user: &'a User,
    path: String,
}

impl<'a> Draft<'a> {
    async fn new(server: &'a Server, user: &'a User, ecosystem: &str, name: &str, version: &str) -> Self {
        let (slug, name_in_path) = (format!("{ecosystem}-drafts"), name.replace('/', "%2F"));
        let url = format!("{}/v1/repositories", server.base_url());
        let repository = json!({ "name": slug, "slug": slug, "visibility": "public" });
        // Made by the first draft.
        server.http.post(url).bearer_auth(&user.token).json(&repository).send().await.expect("an answer");
        let url = format!("{}/v1/packages", server.base_url());
        let package = json!({ "ecosystem": ecosystem, "name": name, "repository_slug": slug });
        server.http.post(url).bearer_auth(&user.token).json(&package).send().await.expect("an answer");
        let package = format!("/v1/packages/{ecosystem}/{name_in_path}");
        server.post(&format!("{package}/releases"), Some(&user.token), &json!({ "version": version })).await;
        Self { server, user, path: format!("{package}/releases/{version}") }
    }

    async fn put(&self, filename: &str, kind: &str, bytes: Vec<u8>) -> (u16, Value) {
        let url = format!("{}{}/artifacts/{filename}?kind={kind}", self.server.base_url(), self.path);
        let answer = self.server.http.put(url).bearer_auth(&self.user.token).body(bytes).send().await;
        let answer = answer.expect("the server answers");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    async fn stored(&self, filename: &str, kind: &str, bytes: Vec<u8>) {
        let (status, body) = self.put(filename, kind, bytes).await;
        assert_eq!(status, 201, "{filename}: {body}");
    }

    async fn refused(&self, filename: &str, kind: &str, bytes: Vec<u8>, says: &str) {
        let (status, body) = self.put(filename, kind, bytes).await;
        assert!(status == 422 && body["detail"].as_str().is_some_and(|text| text.contains(says)), "{status} {body}");
    }

    async fn published(&self) {
        let path = format!("{}/publish?wait=30", self.path);
        let answer = self.server.post(&path, Some(&self.user.token), &json!({})).await;
        assert_eq!(answer["status"], "published", "{answer}");
    }
}

on_backends!(a_crate_of_a_draft_is_what_cargo_would_have_published, async |server: Server| {
    let user = server.new_user("ada").await;
    let draft = Draft::new(&server, &user, "cargo", "drafted", "1.0.0").await;
    let manifest = cargo::upload::manifest("drafted", "1.0.0");
    let packed = |manifest: &str| {
        targz(&[("drafted-1.0.0/Cargo.toml", manifest.as_bytes()), ("drafted-1.0.0/src/lib.rs", b"pub fn a() {}\n")])
    };
    draft.refused("drafted.crate", "crate", packed(&manifest), "must be called `drafted-1.0.0.crate`").await;
    let other = cargo::upload::manifest("drafted", "1.0.1");
    draft.refused("drafted-1.0.0.crate", "crate", packed(&other), "does not match").await;
    let local = format!("{manifest}[dependencies]\nx = {{ path = \"../x\" }}\n");
    draft.refused("drafted-1.0.0.crate", "crate", packed(&local), "has no version").await;
    // What says nothing does not make a release.
    draft.stored("notes.txt", "checksum", b"x".to_vec()).await;
    let publish = format!("{}{}/publish", server.base_url(), draft.path);
    let answer = server.http.post(publish).bearer_auth(&user.token).json(&json!({})).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 409);

    let own = format!("sparse+{}/cargo/index/", server.base_url());
    let whole = format!(
        "{manifest}keywords = [\"a\"]\n[features]\ndefault = [\"log\"]\nlog = [\"dep:log\"]\n[dependencies]\nlog = {{ version = \"0.4\", \
         optional = true }}\n[dependencies.mine]\nversion = \"2\"\npackage = \"real\"\nregistry-index = \"{own}\"\n\
         [dev-dependencies]\nlocal = {{ path = \"../local\" }}\n"
    );
    draft.stored("drafted-1.0.0.crate", "crate", packed(&whole)).await;
    draft.published().await;
    let (status, line) = cargo::fetch(&server, "/cargo/index/dr/af/drafted", None).await;
    assert_eq!(status, 200, "{line}");
    let line: Value = serde_json::from_str(line.trim()).expect("a line of JSON");
    let deps: Vec<_> = line["deps"].as_array().unwrap().iter().map(|dep| (&dep["name"], &dep["registry"])).collect();
    let public = json!("https://github.com/rust-lang/crates.io-index");
    assert_eq!(deps, [(&json!("log"), &public), (&json!("mine"), &Value::Null)], "{line}");
    assert_eq!((&line["deps"][1]["package"], &line["deps"][1]["req"]), (&json!("real"), &json!("2")));

    // Cargo takes it.
    let plain = Draft::new(&server, &user, "cargo", "plain-one", "0.2.0").await;
    let bytes = targz(&[
        ("plain-one-0.2.0/Cargo.toml", cargo::upload::manifest("plain-one", "0.2.0").as_bytes()),
        ("plain-one-0.2.0/src/lib.rs", b""),
    ]);
    plain.stored("plain-one-0.2.0.crate", "crate", bytes).await;
    plain.published().await;
    let machine = cargo::Machine::new(&server, "m");
    let dir = machine.program("app", "[dependencies]\nplain-one = { version = \"0.2\", registry = \"pub\" }\n");
    machine.cargo(&dir, "fetch").await.succeeds();
});

on_backends!(distributions_of_a_draft_install_with_pip, async |server: Server| {
    let user = server.new_user("ada").await;
    let dist = pypi::Dist::new("drafted", "1.0");
    let draft = Draft::new(&server, &user, "pypi", "Drafted", "1.0.0").await;
    draft.refused("drafted-2.0-py3-none-any.whl", "wheel", dist.wheel(), "Version in filename").await;
    draft.refused(&dist.wheel_name(), "sdist", dist.wheel(), "no sdist by its name").await;
    draft.refused("drafted-1.0-py2-none-any.whl", "wheel", dist.wheel(), "tags").await;
    draft.refused(&dist.wheel_name(), "wheel", b"no zip".to_vec(), "").await;
    draft.stored(&dist.wheel_name(), "wheel", dist.wheel()).await;
    draft.stored(&dist.sdist_name(), "sdist", dist.sdist()).await;
    let zipped = ZipBuilder::new().file("drafted-1.0/PKG-INFO", dist.metadata().as_bytes()).finish();
    draft.refused("drafted-1.0.zip", "sdist", zipped, "only one sdist").await;
    // What else is there is no business of pip's.
    draft.stored("drafted-1.0-py3-none-any.whl.sha256", "checksum", b"0\n".to_vec()).await;
    draft.stored("drafted-1.0-py3-none-any.whl.asc", "signature", b"s\n".to_vec()).await;
    assert_eq!(server.get("/pypi/simple/drafted/", Some(&user.token)).await.0, 404);

    // A file beside it must not take the draft along, unscanned.
    let beside = dist.clone().tagged("py2-none-any").upload_wheel();
    let changed = dist.clone().payload("CHANGED = True\n").upload_wheel();
    for upload in [&beside, &dist.upload_wheel(), &changed] {
        let (status, text) = upload.send(&server, Some(&user.token)).await;
        assert!(status == 403 && text.contains("draft"), "{status} {text}");
    }

    draft.published().await;
    let (_, page) = server.get("/pypi/simple/drafted/", None).await;
    assert!(page.matches("<a href").count() == 2 && page.matches("data-core-metadata").count() == 1, "{page}");
    let desk = pypi::Desk::new(&server, "pip");
    for client in [pypi::Client::Pip26, pypi::Client::Uv] {
        let venv = desk.venv(client.name()).await;
        desk.install(client, &venv, &desk.index(), &["drafted"]).await.ok();
        assert_eq!(desk.version(&venv, "drafted").await, "1.0");
    }
    let (_, json) = server.get("/pypi/drafted/json", None).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["urls"].as_array().unwrap().len(), 2, "{json}");
    // Later files join it in the usual way.
    beside.live(&server, &user).await;
});

on_backends!(a_gem_of_a_draft_installs, async |server: Server| {
    let user = server.new_user("ada").await;
    let gem = rubygems::Packed::new("drafted", "1.0.0").bytes();
    let draft = Draft::new(&server, &user, "rubygems", "drafted", "1.0.0").await;
    draft.refused("other-1.0.0.gem", "gem", gem.clone(), "must be called `drafted-1.0.0.gem`").await;
    let other = rubygems::Packed::new("drafted", "1.0.1").bytes();
    draft.refused("drafted-1.0.0.gem", "gem", other, "drafted-1.0.1").await;
    // What lies beside it, and before it, is nothing that clients install.
    draft.stored("NOTES.txt", "checksum", b"notes".to_vec()).await;
    draft.stored("drafted-1.0.0.gem", "gem", gem.clone()).await;
    draft.published().await;
    let sum = hex::encode(Sha256::digest(&gem));
    let (_, info) = server.get("/rubygems/info/drafted", None).await;
    assert!(info.contains(&format!("1.0.0 |checksum:{sum}")), "{info}");
    let (_, versions) = server.get("/rubygems/api/v1/versions/drafted.json", None).await;
    assert!(versions.contains(&sum), "{versions}");
    let desk = rubygems::Desk::new(&server, "installer");
    desk.install(&desk.source(), &["drafted"]).await.ok();
});

on_backends!(a_zip_of_a_draft_installs_with_composer, async |server: Server| {
    let user = server.new_user("ada").await;
    let lib = composer::Lib::new("acme/drafted", "1.0.0");
    let draft = Draft::new(&server, &user, "composer", "acme/drafted", "1.0.0").await;
    draft.refused("a.zip", "composer_zip", composer::Lib::new("acme/other", "1.0.0").zip(), "composer.json").await;
    draft.refused("a.zip", "composer_zip", composer::Lib::new("acme/drafted", "1.0.1").zip(), "version").await;
    draft.stored("NOTES.txt", "checksum", b"notes".to_vec()).await;
    draft.stored("whatever.zip", "composer_zip", lib.zip()).await;
    draft.published().await;
    let desk = composer::Desk::new(&server, "installer");
    let dir = desk.project("app", &json!({ "acme/drafted": "^1.0" }));
    desk.run(&dir, &["install"]).await.ok();
    assert!(dir.join("vendor/acme/drafted/src/Hello.php").exists());
    // An older file keeps its name, whatever a later release brings under it.
    let later = Draft::new(&server, &user, "composer", "acme/drafted", "1.1.0").await;
    later.stored("whatever.zip", "composer_zip", composer::Lib::new("acme/drafted", "1.1.0").zip()).await;
    later.published().await;
    let _ = std::fs::remove_dir_all(dir.join("vendor"));
    desk.run(&dir, &["install", "--no-cache"]).await.ok();
    let class = std::fs::read_to_string(dir.join("vendor/acme/drafted/src/Hello.php")).expect("installed");
    assert!(class.contains("'1.0.0'"), "{class}");
});
