//! Using published crates: resolving, building, vendoring, installing, yanked versions, caching.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Machine, fetch};
use crate::{Server, on_backends};

/// Publishes what `demo` depends on, and `demo` with every kind of dependency and feature.
async fn publish_demo(machine: &Machine) {
    for name in ["plain", "real-name", "opt-dep", "for-unix", "for-build", "for-dev", "from-public"] {
        machine.publish("pub", name, "1.2.0", "[features]\nextra = []\n").await.succeeds();
    }
    let tail = r#"rust-version = "1.70"
links = "demo"
keywords = ["demo"]
[dependencies]
plain = { version = "1", registry = "pub" }
alias = { version = "1.2", package = "real-name", registry = "pub", default-features = false, features = ["extra"] }
opt-dep = { version = ">=1, <2", registry = "pub", optional = true }
from-public = "1"
[target.'cfg(unix)'.dependencies]
for-unix = { version = "=1.2.0", registry = "pub" }
[build-dependencies]
for-build = { version = "~1.2", registry = "pub" }
[dev-dependencies]
for-dev = { version = "*", registry = "pub" }
[features]
default = ["std"]
std = ["plain/extra"]
more = ["dep:opt-dep", "opt-dep?/extra"]
"#;
    let dir = machine.library("demo", "1.0.0+meta", tail);
    std::fs::write(dir.join("build.rs"), "fn main() { println!(\"cargo:rerun-if-changed=build.rs\"); }").unwrap();
    std::fs::write(dir.join("src/lib.rs"), "pub fn answer() -> u32 { alias::answer() + plain::answer() }\n").unwrap();
    std::fs::write(dir.join("src/main.rs"), "fn main() { println!(\"demo says {}\", demo::answer()); }\n").unwrap();
    machine.cargo(&dir, "publish --registry pub").await.succeeds().says("Published demo v1.0.0+meta");
}

/// The line of `demo`, but for its checksum and the time it became visible.
const GOLDEN: &str = concat!(
    r#"{"name":"demo","vers":"1.0.0+meta","deps":["#,
    r#"{"name":"alias","req":"^1.2","features":["extra"],"optional":false,"default_features":false,"target":null,"kind":"normal","registry":null,"package":"real-name"},"#,
    r#"{"name":"from-public","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal","registry":"https://github.com/rust-lang/crates.io-index"},"#,
    r#"{"name":"opt-dep","req":">=1, <2","features":[],"optional":true,"default_features":true,"target":null,"kind":"normal","registry":null},"#,
    r#"{"name":"plain","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal","registry":null},"#,
    r#"{"name":"for-dev","req":"*","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev","registry":null},"#,
    r#"{"name":"for-build","req":"~1.2","features":[],"optional":false,"default_features":true,"target":null,"kind":"build","registry":null},"#,
    r#"{"name":"for-unix","req":"=1.2.0","features":[],"optional":false,"default_features":true,"target":"cfg(unix)","kind":"normal","registry":null}"#,
    r#"],"cksum":"CKSUM","features":{"default":["std"],"more":["dep:opt-dep","opt-dep?/extra"],"std":["plain/extra"]},"#,
    r#""yanked":false,"links":"demo","v":2,"rust_version":"1.70","pubtime":"PUBTIME"}"#,
    "\n"
);

on_backends!(a_crate_with_everything_is_indexed_and_used, async |server: Server| {
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    publish_demo(&machine).await;

    let (status, file) = fetch(&server, "/cargo/index/de/mo/demo", None).await;
    assert_eq!(status, 200);
    let response = server.http.get(format!("{}/cargo/api/v1/crates/Demo/1.0.0+meta/download", server.base_url()));
    let archive = response.send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
    let line: serde_json::Value = serde_json::from_str(&file).unwrap();
    let pubtime = line["pubtime"].as_str().unwrap();
    assert!(pubtime.len() == 20 && pubtime.ends_with('Z'), "{pubtime}");
    let golden = GOLDEN.replace("CKSUM", &hex::encode(Sha256::digest(&archive))).replace("PUBTIME", pubtime);
    assert_eq!(file, golden);
    let encoded = fetch(&server, "/cargo/api/v1/crates/demo/1.0.0%2Bmeta/download", None).await.0;
    assert_eq!(encoded, 200);

    // A second machine, without any token.
    let other = Machine::new(&server, "other");
    let dir = other.project("user", "0.1.0", "", "main.rs", "fn main() { assert_eq!(demo::answer(), 84); }\n");
    other.cargo(&dir, "add demo --registry pub").await.succeeds();
    other.cargo(&dir, "run").await.succeeds();
    other.cargo(&dir, "fetch --locked").await.succeeds();
    other.cargo(&dir, "tree -e features").await.succeeds().says("real-name feature \"extra\"").never_says("opt-dep v");
    other.cargo(&dir, "tree -F demo/more").await.succeeds().says("opt-dep v1.2.0");
    other.cargo(&dir, "vendor --locked --respect-source-config").await.succeeds();
    assert!(["real-name", "for-unix", "from-public"].iter().all(|name| dir.join("vendor").join(name).exists()));
    other.cargo(&dir, "info demo --registry pub").await.succeeds().says("version: 1.0.0").says("rust-version: 1.70");
    other.cargo(&dir, "install demo --registry pub --locked --root installed").await.succeeds();
    assert!(dir.join("installed/bin/demo").exists());
    other.cargo(&dir, "update --dry-run").await.succeeds();
});

on_backends!(a_second_update_only_revalidates, async |server: Server| {
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    machine.publish("pub", "base-crate", "1.0.0", "").await.succeeds();
    let dir = machine.program("user", "[dependencies]\nbase-crate = { version = \"1\", registry = \"pub\" }\n");
    machine.cargo(&dir, "update").await.succeeds();
    let before = server.log().len();
    machine.cargo(&dir, "update").await.succeeds();
    let requests = index_requests(&server.log()[before..]);
    // Cargo asks for the configuration without a validator.
    let files: Vec<_> = requests.iter().filter(|(path, _)| !path.ends_with("config.json")).collect();
    assert!(!files.is_empty() && files.iter().all(|(_, status)| *status == 304), "{requests:?}");

    let wrong = machine.program("typo", "[dependencies]\nbase_crate = { version = \"1\", registry = \"pub\" }\n");
    let before = server.log().len();
    machine.cargo(&wrong, "build").await.fails_with("base-crate");
    assert!(index_requests(&server.log()[before..]).iter().all(|(_, status)| *status < 500));
});

/// Path and status of the index requests in a piece of the access log.
fn index_requests(log: &str) -> Vec<(String, u64)> {
    let entries = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    entries
        .filter_map(|entry| {
            let fields = if entry["path"].is_string() { &entry } else { &entry["fields"] };
            let path = fields["path"].as_str().filter(|p| p.starts_with("/cargo/index/"))?;
            Some((path.to_owned(), fields["status"].as_u64()?))
        })
        .collect()
}

on_backends!(yanked_versions_are_left_to_who_locked_them, async |server: Server| {
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    for version in ["1.0.0", "1.1.0"] {
        machine.publish("pub", "x-lib", version, "").await.succeeds();
    }
    let tail = "[dependencies]\nx-lib = { version = \"1\", registry = \"pub\" }\n";
    let locked = machine.program("locked", tail);
    machine.cargo(&locked, "generate-lockfile").await.succeeds();
    let here = machine.dir("here");
    machine.cargo(&here, "yank --registry pub --version 1.1.0 x-lib").await.succeeds();
    machine.cargo(&here, "yank --registry pub --version 1.1.0 x-lib").await.succeeds();

    let fresh = machine.program("fresh", tail);
    machine.cargo(&fresh, "generate-lockfile").await.succeeds();
    assert_eq!(locked_version(&fresh), "1.0.0");
    machine.empty_cache();
    machine.cargo(&locked, "build --locked").await.succeeds();
    assert_eq!(locked_version(&locked), "1.1.0");

    machine.cargo(&here, "yank --registry pub --version 1.1.0 --undo x-lib").await.succeeds();
    machine.cargo(&fresh, "update").await.succeeds();
    assert_eq!(locked_version(&fresh), "1.1.0");

    let unknown = machine.cargo(&here, "yank --registry pub --version 9.9.9 x-lib").await;
    unknown.fails_with("crate `x-lib` does not have a version `9.9.9`");
    let lines = fetch(&server, "/cargo/index/x-/li/x-lib", None).await.1;
    assert!(lines.lines().all(|line| line.contains(r#""yanked":false"#)), "{lines}");
    let eve = server.new_user("eve").await;
    machine.login("pub", &eve.token);
    let foreign = machine.cargo(&here, "yank --registry pub --version 1.0.0 x-lib").await;
    foreign.fails_with("you are not an owner of crate `x-lib`");
});

/// The version of `x-lib` in a lock file.
fn locked_version(dir: &Path) -> String {
    let lock = std::fs::read_to_string(dir.join("Cargo.lock")).unwrap();
    let (_, rest) = lock.split_once("name = \"x-lib\"\nversion = \"").expect("locked");
    rest.split('"').next().unwrap().to_owned()
}

on_backends!(index_and_archives_are_cached_as_cargo_expects, async |server: Server| {
    let user = server.new_user("ada").await;
    let machine = Machine::new(&server, "m").logged_in(&user.token);
    machine.publish("pub", "kept", "1.0.0", "").await.succeeds();
    let base = server.base_url();
    for path in ["/cargo/index/config.json", "/cargo/index/ke/pt/kept"] {
        let url = format!("{base}{path}");
        let first = server.http.get(&url).send().await.unwrap();
        let etag = first.headers()["etag"].to_str().unwrap().to_owned();
        assert!(etag.len() <= 128 && etag.starts_with('"'), "{etag}");
        assert_eq!(first.headers()["cache-control"], "public, max-age=0, must-revalidate");
        let again = server.http.get(&url).header("if-none-match", &etag).send().await.unwrap();
        assert_eq!(again.status().as_u16(), 304, "{path}");
    }
    let (_, config) = fetch(&server, "/cargo/index/config.json", None).await;
    let golden =
        format!(r#"{{"dl":"{base}/cargo/api/v1/crates/{{crate}}/{{version}}/download","api":"{base}/cargo"}}"#);
    assert_eq!(config, golden);

    let archive = server.http.get(format!("{base}/cargo/api/v1/crates/kept/1.0.0/download")).send().await.unwrap();
    assert_eq!(archive.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(archive.headers()["content-type"], "application/octet-stream");
    let etag = archive.headers()["etag"].to_str().unwrap().to_owned();
    let bytes = archive.bytes().await.unwrap();
    assert_eq!(etag, format!("\"{}\"", hex::encode(Sha256::digest(&bytes))));
    let url = format!("{base}/cargo/api/v1/crates/kept/1.0.0/download");
    let head = server.http.head(&url).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()),
        (200, bytes.len().to_string().as_str())
    );
    let part = server.http.get(&url).header("range", "bytes=2-5").send().await.unwrap();
    assert_eq!(part.status().as_u16(), 206);
    assert_eq!(part.bytes().await.unwrap(), bytes[2..6]);
    let fresh = server.http.get(&url).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(fresh.status().as_u16(), 304);
    for path in
        ["/cargo/index/ke/pt/Kept", "/cargo/index/kx/pt/kept", "/cargo/index/ke/pt/kep_t", "/cargo/index/ke/pt/"]
    {
        assert_eq!(fetch(&server, path, None).await.0, 404, "{path}");
    }
});
