//! What clients do not show: headers, spellings, representations.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::Digest;

use super::{publish, set_access};
use crate::{
    Server,
    npm_upload::{document, put, tarball},
    on_backends,
};

on_backends!(packuments_are_revalidated_and_tarballs_kept, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "@w/lib", "1.0.0").await;
    let url = |path: &str| format!("{}/npm{path}", server.base_url());
    let get = |path: &str| server.http.get(url(path));
    let full = get("/@w%2flib").send().await.unwrap();
    let modified = full.headers()["last-modified"].clone();
    assert_eq!(full.headers()["cache-control"], "public, max-age=0, must-revalidate");
    assert_eq!(full.headers()["vary"], "Accept, Authorization, Accept-Encoding");
    assert_eq!(full.headers()["content-type"], "application/json");
    let etag = full.headers()["etag"].clone();
    let document: Value = full.json().await.unwrap();
    assert!(document["_rev"].as_str().unwrap().contains('-'));
    let again = get("/@w%2flib").header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status().as_u16(), 304);
    // pnpm sends both validators; the tag decides.
    let other = get("/@w%2flib").header("if-none-match", "\"x\"").header("if-modified-since", &modified);
    assert_eq!(other.send().await.unwrap().status().as_u16(), 200);
    let head = server.http.head(url("/@w%2flib")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["etag"]), (200, &etag));
    let packed = get("/@w%2flib").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_ne!(packed.headers()["etag"], etag);
    let short = get("/@w%2Flib").header("accept", "application/vnd.npm.install-v1+json").send().await.unwrap();
    assert_eq!(short.headers()["content-type"], "application/vnd.npm.install-v1+json");
    assert_ne!(short.headers()["etag"], etag);
    let mine = get("/@w/lib").bearer_auth(&user.token).send().await.unwrap();
    assert_eq!(mine.headers()["cache-control"], "private, max-age=0, must-revalidate");

    let tarball = document["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap();
    assert_eq!(tarball, url("/@w/lib/-/lib-1.0.0.tgz"));
    let bytes = server.http.get(tarball).send().await.unwrap();
    assert_eq!(bytes.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(bytes.headers()["accept-ranges"], "bytes");
    let length: u64 = bytes.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(bytes.bytes().await.unwrap().len() as u64, length);
    let head = server.http.head(tarball).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()),
        (200, length.to_string().as_str())
    );
    let part = server.http.get(tarball).header("range", "bytes=0-9").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().len()), (206, 10));
    for spelling in ["/@w%2flib/-/lib-1.0.0.tgz", "/@w/lib/-/@w/lib-1.0.0.tgz", "//@w/lib/-/lib-1.0.0.tgz"] {
        assert_eq!(get(spelling).send().await.unwrap().status().as_u16(), 200, "{spelling}");
    }
    for (path, wanted) in [
        ("/@w/lib/latest", 200),
        ("/@w%2flib/1.0.0", 200),
        ("/@w/lib/9.9.9", 404),
        ("/-/all", 404),
        ("/-/org/acme/package", 404),
        ("/-/team/acme/dev/user", 404),
        ("/-/stage", 404),
        ("/-/npm/v1/attestations/@w%2flib@1.0.0", 404),
        ("/npm", 404),
        ("/pnpm", 404),
        ("/-/npm/v1/keys", 200),
        ("/-/package/@w%2flib/dist-tags", 200),
        ("/-/package/@w%2flib/visibility", 200),
        ("/", 200),
        ("/-/ping", 200),
    ] {
        let answer = get(path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), wanted, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
    }
});

on_backends!(hidden_and_missing_look_the_same, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "@h/lib", "1.0.0").await;
    set_access(&server, &user, "@h/lib", "restricted").await;
    let stranger = server.new_user("mallory").await;
    for token in [None, Some(stranger.token.as_str())] {
        for suffix in ["", "/1.0.0", "/-/lib-1.0.0.tgz"] {
            let hidden = server.get(&format!("/npm/@h/lib{suffix}"), token).await;
            let missing = server.get(&format!("/npm/@h/nil{suffix}").replace("lib-", "nil-"), token).await;
            assert_eq!(hidden, missing, "{suffix}");
            assert_eq!(hidden.0, 404);
        }
        for path in ["dist-tags", "visibility", "collaborators"] {
            let hidden = server.get(&format!("/npm/-/package/@h%2flib/{path}"), token).await;
            let missing = server.get(&format!("/npm/-/package/@h%2fnil/{path}"), token).await;
            assert_eq!(hidden, missing, "{path}");
        }
    }
    let bytes = server.http.get(format!("{}/npm/@h/lib/-/lib-1.0.0.tgz", server.base_url())).bearer_auth(&user.token);
    assert_eq!(bytes.send().await.unwrap().headers()["cache-control"], "private, max-age=31536000, immutable");
    let broken = format!("pub_{}", "x".repeat(60));
    let (status, text) = server.get("/npm/@h/lib", Some(&broken)).await;
    assert_eq!((status, text.contains("Run npm login")), (401, true), "{text}");
});

on_backends!(a_dead_token_hinders_nobody_who_needs_none, async |server: Server| {
    let user = server.new_user("ada").await;
    publish(&server, &user, "open", "1.0.0").await;
    let dead = format!("pub_{}", "x".repeat(49));
    let login = json!({ "name": "ada", "password": user.password, "type": "user", "roles": [] });
    let url = |path: &str| format!("{}/npm{path}", server.base_url());
    for authorization in [format!("Bearer {dead}"), "Basic YWRhOm5vcGU=".to_owned(), "nonsense".to_owned()] {
        let with = |request: reqwest::RequestBuilder| request.header("authorization", &authorization);
        for (request, wanted) in [
            (server.http.get(url("/open")), 200),
            (server.http.get(url("/open/-/open-1.0.0.tgz")), 200),
            (server.http.get(url("/-/ping?write=true")), 200),
            (server.http.post(url("/-/v1/login")).json(&json!({})), 200),
            (server.http.put(url("/-/user/org.couchdb.user:ada")).json(&login), 201),
            (server.http.put(url("/-/user/org.couchdb.user:grace")).json(&login), 400),
            (server.http.get(url("/no-such-thing")), 401),
            (server.http.get(url("/-/whoami")), 401),
            (server.http.get(url("/-/user/org.couchdb.user:ada")), 401),
            (server.http.put(url("/open")).json(&json!({ "versions": {} })), 401),
            (server.http.delete(url("/-/package/open/dist-tags/x")), 401),
        ] {
            let answer = with(request).send().await.unwrap();
            let path = answer.url().path().to_owned();
            assert_eq!(answer.status().as_u16(), wanted, "{path} with {authorization}");
            assert!(answer.headers().get("www-authenticate").is_none(), "{path}: npm would hide the reason");
            if wanted >= 400 {
                let body: Value = answer.json().await.unwrap();
                assert!(body["error"].is_string() && body["error"] == body["message"], "{path}: {body}");
            }
        }
    }
    // Whoever is known is told about users, without anything secret.
    let (status, text) = server.get("/npm/-/user/org.couchdb.user:ada", Some(&user.token)).await;
    let known: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, known["email"].as_str()), (200, Some("ada@example.test")));
    assert!(!text.contains("password"), "{text}");
    assert_eq!(server.get("/npm/-/user/org.couchdb.user:nobody", Some(&user.token)).await.0, 404);
});

on_backends!(guessing_passwords_is_slowed_down, async |server: Server| {
    server.new_user("ada").await;
    let url = format!("{}/npm/-/user/org.couchdb.user:ada", server.base_url());
    let guess = json!({ "name": "ada", "password": "not this one", "type": "user", "roles": [] });
    for _ in 0..10 {
        assert_eq!(server.http.put(&url).json(&guess).send().await.unwrap().status().as_u16(), 401);
    }
    let refused = server.http.put(&url).json(&guess).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
});

/// As many as a build farm that publishes one release from every job.
const RACERS: usize = 12;

on_backends!(one_of_many_publishers_of_a_version_wins, async |server: Server| {
    let user = server.new_user("ada").await;
    let all = async |bodies: Vec<(String, Value)>| {
        let requests = bodies.into_iter().map(|(name, body)| {
            let request = server.http.put(format!("{}/npm/{name}", server.base_url()));
            request.bearer_auth(&user.token).json(&body).send()
        });
        let answers = futures::future::join_all(requests).await;
        answers.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect::<Vec<_>>()
    };
    // The same version of a package that does not exist yet, with different content each.
    let same = |n: usize| {
        let bytes = tarball("raced", "1.0.0", &[n as u8; 500]);
        ("raced".to_owned(), document("raced", "1.0.0", &bytes))
    };
    let mut answers = all((0..RACERS).map(same).collect()).await;
    answers.sort_unstable();
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1, "{answers:?}");
    assert!(answers[1..].iter().all(|status| *status == 409), "{answers:?}");
    let (_, seen) = server.get("/npm/raced", None).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let link = seen["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap();
    let bytes = server.http.get(link).send().await.unwrap().bytes().await.unwrap();
    let digest = STANDARD.encode(sha2::Sha512::digest(&bytes));
    assert_eq!(seen["versions"]["1.0.0"]["dist"]["integrity"], format!("sha512-{digest}"));

    // Many versions at once: all of them are there, and `latest` is one that nobody overtook.
    let next = |n: usize| {
        let version = format!("2.{n}.0");
        ("raced".to_owned(), document("raced", &version, &tarball("raced", &version, b"")))
    };
    let answers = all((0..RACERS).map(next).collect()).await;
    assert!(answers.iter().all(|status| *status == 201), "{answers:?}");
    let (_, seen) = server.get("/npm/raced", None).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["versions"].as_object().unwrap().len(), 1 + RACERS);
    let newest = seen["versions"].as_object().unwrap().keys().next_back().unwrap();
    assert_eq!(seen["dist-tags"]["latest"], json!(newest), "versions are in publish order");
});

on_backends!(provenance_is_checked_and_kept_but_not_vouched_for, async |server: Server| {
    let user = server.new_user("ada").await;
    let bytes = tarball("proven", "1.0.0", b"x");
    let subject = json!([{
        "name": "pkg:npm/proven@1.0.0", "digest": { "sha512": hex::encode(sha2::Sha512::digest(&bytes)) },
    }]);
    let payload = STANDARD.encode(json!({ "subject": subject }).to_string());
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": { "payload": payload },
    });
    let mut body = document("proven", "1.0.0", &bytes);
    body["_attachments"]["proven-1.0.0.sigstore"] = json!({
        "content_type": "application/vnd.dev.sigstore.bundle.v0.3+json", "data": bundle.to_string(),
        "length": bundle.to_string().len(),
    });
    let (status, text) = put(&server, &user.token, "proven", &body).await;
    assert_eq!(status, 201, "{text}");
    let (_, seen) = server.get("/npm/proven", None).await;
    assert!(!seen.contains("attestations"), "npm would fail on what nobody verified: {seen}");
    // About another tarball: refused.
    let other = tarball("proven", "1.1.0", b"y");
    let mut body = document("proven", "1.1.0", &other);
    body["_attachments"]["proven-1.1.0.sigstore"] = json!({ "data": bundle.to_string() });
    assert_eq!(put(&server, &user.token, "proven", &body).await.0, 422);
});

on_backends!(audits_are_bounded, async |server: Server| {
    let url = format!("{}/npm/-/npm/v1/security/advisories/bulk", server.base_url());
    let of = |count: usize| Value::Object((0..count).map(|n| (format!("p{n}"), json!(["1.0.0"]))).collect());
    let large = server.http.post(&url).json(&of(20_000)).send().await.unwrap();
    assert_eq!((large.status().as_u16(), large.text().await.unwrap()), (200, "{}".to_owned()));
    let too_large = server.http.post(&url).json(&of(20_001)).send().await.unwrap();
    assert_eq!(too_large.status().as_u16(), 413);
    let bomb = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut gzip, &vec![b' '; 32 << 20]).unwrap();
        gzip.finish().unwrap()
    };
    assert!(bomb.len() < 100_000);
    let bomb = server.http.post(&url).header("content-encoding", "gzip").body(bomb).send().await.unwrap();
    assert_eq!(bomb.status().as_u16(), 413);
});
