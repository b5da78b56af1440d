use std::path::{Path, PathBuf};

use super::{Desk, Gem};
use crate::{Server, on_backends};

/// Requests for a path that the server logged after its first `skip` lines, as their statuses.
fn statuses(server: &Server, skip: usize, path: &str) -> Vec<u64> {
    let requests = server.requests(skip).into_iter();
    requests.filter(|(_, asked, _)| asked == path).map(|(_, _, status)| status).collect()
}

on_backends!(bundler_follows_the_index_as_it_grows, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("base", "1.0.0")).await.ok();
    desk.push(&Gem::new("acme", "1.0.0").needs("base", "~> 1.0")).await.ok();
    let project = desk.project("app", &desk.source(), "gem 'acme'");
    let lines = || server.log().lines().count();
    let start = lines();
    desk.bundle(&project, &["install"]).await.ok().says("Installing acme 1.0.0");
    assert_eq!(statuses(&server, start, "/rubygems/versions"), [200]);
    assert_eq!(statuses(&server, start, "/rubygems/info/acme"), [200]);
    desk.bundle(&project, &["exec", "ruby", "-e", "require 'acme'; puts Made::NAME"]).await.ok().says("acme");

    let start = lines();
    desk.bundle(&project, &["update"]).await.ok();
    assert_eq!(statuses(&server, start, "/rubygems/versions"), [304]);

    desk.push(&Gem::new("acme", "1.1.0").needs("base", "~> 1.0")).await.ok();
    let start = lines();
    desk.bundle(&project, &["update"]).await.ok().says("Installing acme 1.1.0");
    // What was added, and nothing else, is fetched: the digests of old and new fit.
    assert_eq!(statuses(&server, start, "/rubygems/versions"), [206]);
    assert_eq!(statuses(&server, start, "/rubygems/info/acme"), [206]);

    // A yank adds a line to the log and takes one out of the gem's own text.
    desk.gem(&project, &["yank", "acme", "-v", "1.1.0", "--host", &desk.source()]).await.ok();
    let start = lines();
    desk.bundle(&project, &["update"]).await.ok();
    assert_eq!(statuses(&server, start, "/rubygems/versions"), [206]);

    // What is installed already is kept; who starts afresh gets what is left.
    let fresh = Desk::new(&server, "fresh");
    let afresh = fresh.project("app", &fresh.source(), "gem 'acme'");
    fresh.bundle(&afresh, &["install"]).await.ok().says("Installing acme 1.0.0");

    // Bringing it back rewrites the log: what Bundler has does not fit, so it fetches the whole.
    let unyank = format!("{}/rubygems/api/v1/gems/unyank", server.base_url());
    let form = "gem_name=acme&version=1.1.0";
    let response = server.http.put(unyank).header("authorization", &user.token).body(form).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    fresh.bundle(&afresh, &["update"]).await.ok().says("Installing acme 1.1.0");

    // Bundler's own copy was tampered with: the digest tells, and it fetches the whole once.
    let copy = kept(fresh.target().parent().expect("the home"), "info/acme").expect("Bundler keeps what it read");
    let text = std::fs::read_to_string(&copy).unwrap();
    std::fs::write(&copy, text.replace("checksum", "checksam")).unwrap();
    desk.push(&Gem::new("acme", "1.2.0").needs("base", "~> 1.0")).await.ok();
    let start = lines();
    fresh.bundle(&afresh, &["update"]).await.ok().says("Installing acme 1.2.0");
    assert_eq!(statuses(&server, start, "/rubygems/info/acme").last(), Some(&200));
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), server.get("/rubygems/info/acme", None).await.1);
});

/// The file below a folder whose path ends so.
fn kept(dir: &Path, ending: &str) -> Option<PathBuf> {
    std::fs::read_dir(dir).ok()?.flatten().find_map(|entry| match entry.path() {
        path if path.is_dir() => kept(&path, ending),
        path => path.ends_with(ending).then_some(path),
    })
}

on_backends!(platforms_are_chosen_by_bundler, async |server: Server| {
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("native", "1.0.0")).await.ok();
    desk.push(&Gem::new("native", "1.0.0").platform("x86_64-linux")).await.ok();
    desk.push(&Gem::new("native", "1.0.0").platform("java")).await.ok();
    let project = desk.project("app", &desk.source(), "gem 'native'");
    desk.bundle(&project, &["lock", "--add-platform", "x86_64-linux", "ruby"]).await.ok();
    let lock = std::fs::read_to_string(project.join("Gemfile.lock")).unwrap();
    assert!(lock.contains("native (1.0.0)\n") && lock.contains("native (1.0.0-x86_64-linux)\n"), "{lock}");
    desk.bundle(&project, &["install"]).await.ok();
});

on_backends!(digests_and_ranges_are_those_of_the_whole, async |server: Server| {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha256};
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "ada").with_key(&user.token);
    desk.push(&Gem::new("acme", "1.0.0")).await.ok();
    for path in ["/rubygems/versions", "/rubygems/info/acme", "/rubygems/names"] {
        let get = |header: &'static str, value: String| {
            server.http.get(format!("{}{path}", server.base_url())).header(header, value).send()
        };
        let whole = get("accept-encoding", "gzip".into()).await.unwrap();
        let etag = whole.headers()["etag"].to_str().unwrap().to_owned();
        let digest = whole.headers()["repr-digest"].to_str().unwrap().to_owned();
        assert!(!whole.headers().contains_key("content-encoding"), "{path}");
        let body = whole.bytes().await.unwrap();
        assert_eq!(digest, format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(&body))), "{path}");
        assert_eq!(get("if-none-match", format!("W/{etag}")).await.unwrap().status(), 304, "{path}");
        let end = get("range", format!("bytes={}-", body.len() - 1)).await.unwrap();
        assert_eq!((end.status().as_u16(), end.headers()["etag"].to_str().unwrap()), (206, etag.as_str()), "{path}");
        assert_eq!(end.headers()["repr-digest"].to_str().unwrap(), digest, "{path}");
        assert_eq!(&end.bytes().await.unwrap()[..], b"\n", "{path}");
        let beyond = get("range", format!("bytes={}-", body.len())).await.unwrap();
        assert_eq!(beyond.status(), 416, "{path}");
        assert_eq!(beyond.headers()["content-range"].to_str().unwrap(), format!("bytes */{}", body.len()), "{path}");
    }
});
