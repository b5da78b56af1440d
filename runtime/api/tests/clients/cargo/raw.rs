//! Hostile and broken publish bodies, and publishes that race each other.

use publaryn_scan::corpus::{TarBuilder, targz};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    upload::{Upload, archive, frame, manifest, send},
    versions,
};
use crate::{Server, faults::state::stored, on_backends};

/// Small, so that an oversize crate stays cheap to make.
const LIMIT: &str = "1048576";

on_backends!(broken_bodies_are_refused_and_leave_nothing, async |mut server: Server| {
    server.restart_with(&[("limits.artifact.crate", LIMIT)]).await;
    let user = server.new_user("ada").await;
    let good = Upload::new("x", "1.0.0");
    let json = good.json.to_string();
    let toml = manifest("x", "1.0.0");
    let of = |files: &[(&str, &str)]| frame(json.as_bytes(), &archive(files));
    let mut trailing = good.body();
    trailing.push(0);
    let mut lengths = good.body();
    lengths[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut tar_length = good.body();
    let at = 4 + json.len();
    tar_length[at..at + 4].copy_from_slice(&0x00ff_ffff_u32.to_le_bytes());
    let symlink =
        TarBuilder::new().file("x-1.0.0/Cargo.toml", toml.as_bytes()).special(b'2', "x-1.0.0/y", "/etc/passwd");
    let mut two_members = good.archive.clone();
    two_members.extend_from_slice(&good.archive);
    let zeroes = vec![0_u8; 80 << 20];
    let bomb = targz(&[("x-1.0.0/Cargo.toml", toml.as_bytes()), ("x-1.0.0/zeroes", &zeroes)]);
    let other = manifest("y", "1.0.0");
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("empty", vec![], 400, "invalid metadata length"),
        ("three bytes", vec![1, 2, 3], 400, "invalid metadata length"),
        ("lengths too large", lengths, 400, "invalid metadata length"),
        (
            "truncated",
            good.body()[..good.body().len() - 10].to_vec(),
            400,
            "invalid tarball length for remaining payload",
        ),
        ("archive length too large", tar_length, 400, "invalid tarball length for remaining payload"),
        ("trailing byte", trailing, 400, "unexpected data after the crate"),
        ("2 MiB of JSON", frame(&vec![b' '; 2 << 20], &good.archive), 413, "max upload size is: 1048576"),
        ("oversize", frame(json.as_bytes(), &vec![0; 3 << 20]), 413, "max upload size is: 1048576"),
        ("not JSON", frame(b"{]", &good.archive), 400, "invalid upload request"),
        ("no version", frame(br#"{"name":"x"}"#, &good.archive), 400, "missing field `vers`"),
        ("not a gzip", frame(json.as_bytes(), b"hello"), 400, "not a gzip"),
        ("two members", frame(json.as_bytes(), &two_members), 400, "gzip"),
        ("bomb", frame(json.as_bytes(), &bomb), 400, "unpacks to more than"),
        ("wrong root", of(&[("y-1.0.0/Cargo.toml", &toml)]), 400, "x-1.0.0/"),
        ("traversal", of(&[("x-1.0.0/Cargo.toml", &toml), ("x-1.0.0/../../evil", "")]), 400, "`..`"),
        (
            "symlink",
            frame(json.as_bytes(), &symlink.targz()),
            400,
            "unexpected tar entry type Symlink found: x-1.0.0/y",
        ),
        ("lower-case manifest", of(&[("x-1.0.0/cargo.toml", &toml)]), 400, "must be called `Cargo.toml`"),
        ("no manifest", of(&[("x-1.0.0/src/lib.rs", "")]), 400, "missing a `Cargo.toml`"),
        ("two manifests", of(&[("x-1.0.0/Cargo.toml", &toml), ("x-1.0.0/Cargo.toml", &toml)]), 400, "same path"),
        (
            "other name",
            of(&[("x-1.0.0/Cargo.toml", &other)]),
            400,
            "metadata name `x` does not match manifest name `y`",
        ),
        (
            "other version",
            of(&[("x-1.0.0/Cargo.toml", &manifest("x", "1.0.1"))]),
            400,
            "metadata version `1.0.0` does not match manifest version `1.0.1`",
        ),
    ];
    for (case, body, status, text) in cases {
        let (got, answer) = send(&server, &user.token, body).await;
        assert_eq!(got, status, "{case}: {answer}");
        let detail =
            serde_json::from_str::<Value>(&answer).unwrap()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(text), "{case}: {detail}");
    }
    assert_eq!(versions(&server, "/cargo/index/1/x", Some(&user.token)).await, [] as [&str; 0]);
    assert_eq!(stored(&server).await, (0, 0), "a refused upload left something behind");
    // The name is still free: none of the attempts made a package.
    let eve = server.new_user("eve").await;
    assert_eq!(good.send(&server, &eve.token).await.0, 200);
    assert_eq!(stored(&server).await, (1, 0));
});

on_backends!(a_connection_that_will_be_closed_is_announced, async |mut server: Server| {
    server.restart_with(&[("limits.artifact.crate", LIMIT)]).await;
    let user = server.new_user("ada").await;
    let good = Upload::new("x", "1.0.0");
    // Refused from the head alone: the client asked first and has sent nothing.
    let head = format!(
        "PUT /cargo/api/v1/crates/new HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        server.host(),
        user.token,
        16 << 20
    );
    let mut socket = TcpStream::connect(server.host()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close\r\n"), "{answer}");
    // A body that was read to its end leaves the connection as it is.
    for wanted in [200, 409] {
        let request = server.http.put(format!("{}/cargo/api/v1/crates/new", server.base_url()));
        let response = request.header("authorization", &user.token).body(good.body()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), wanted);
        assert!(response.headers().get("connection").is_none(), "{wanted}");
    }
});

on_backends!(every_failure_is_in_the_form_cargo_prints, async |server: Server| {
    let user = server.new_user("ada").await;
    let base = server.base_url();
    for (method, path, status) in [
        ("GET", "/cargo/api/v1/nothing/here", 404),
        ("GET", "/cargo/api/v1/crates/a%ffb/1.0.0/download", 404),
        ("POST", "/cargo/api/v1/crates/new", 405),
        ("PUT", "/cargo/api/v1/crates/new", 401),
        ("GET", "/cargo/api/v1/crates/x/owners", 401),
        ("DELETE", "/cargo/api/v1/crates/x/1.0.0/yank", 401),
        ("GET", "/cargo/api/v1/crates/x/1.0.0/download", 404),
    ] {
        let response = server.http.request(method.parse().unwrap(), format!("{base}{path}")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let challenge = response.headers().get("www-authenticate").map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(
            challenge,
            (status == 401).then(|| format!("Cargo login_url=\"{base}/cargo/me\"")),
            "{method} {path}"
        );
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert!(body["errors"][0]["detail"].is_string(), "{method} {path}: {body}");
    }
    let (status, body) = send(&server, "v3.public.abc", vec![]).await;
    assert_eq!((status, body.contains("asymmetric tokens are not supported")), (401, true));
    let mut bad = Upload::new("x", "1.0.0");
    bad.json["name"] = json!("x!");
    let (status, body) = bad.send(&server, &user.token).await;
    assert!(status == 400 && body.contains("invalid crate name `x!`"), "{status} {body}");
});

on_backends!(parallel_publishes_of_many_versions_all_show, async |server: Server| {
    let user = server.new_user("ada").await;
    let sent = (0..20).map(|i| {
        let upload = Upload::new("many", &format!("1.{i}.0"));
        let (server, token) = (&server, &user.token);
        async move { upload.send(server, token).await }
    });
    for (status, body) in futures::future::join_all(sent).await {
        assert_eq!(status, 200, "{body}");
    }
    let mut listed = versions(&server, "/cargo/index/ma/ny/many", None).await;
    listed.sort_by_key(|v| semver_minor(v));
    assert_eq!(listed, (0..20).map(|i| format!("1.{i}.0")).collect::<Vec<_>>());
});

fn semver_minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|n| n.parse().ok()).unwrap()
}

on_backends!(parallel_publishes_of_one_version_have_one_winner, async |server: Server| {
    let user = server.new_user("ada").await;
    for name in ["fresh", "Other_One"] {
        let sent = (0..8).map(|i| {
            let mut upload = Upload::new(name, &format!("1.0.0+b{i}"));
            upload.json["description"] = json!("a test");
            let (server, token) = (&server, &user.token);
            async move { upload.send(server, token).await }
        });
        let answers = futures::future::join_all(sent).await;
        let mut statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![200], vec![409; 7]].concat(), "{answers:?}");
    }
    assert_eq!(versions(&server, "/cargo/index/fr/es/fresh", None).await.len(), 1);
});

on_backends!(parallel_first_publishes_in_two_spellings_make_one_crate, async |server: Server| {
    let user = server.new_user("ada").await;
    let sent = ["twin-name", "twin_name", "Twin-Name"].map(|name| {
        let upload = Upload::new(name, "1.0.0");
        let (server, token) = (&server, &user.token);
        async move { upload.send(server, token).await }
    });
    let answers = futures::future::join_all(sent).await;
    let mut statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400], "{answers:?}");
});
