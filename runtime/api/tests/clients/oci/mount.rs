//! Mounting, and who sees a blob.

use super::{Wire, layer, noise, sha256};
use crate::{Backend, Server, on_backends};

on_backends!(mounts_take_over_what_the_caller_may_see, async |mut server: Server| {
    let (user, stranger) = (server.new_user("ada").await, server.new_user("eve").await);
    let (ada, eve) = (Wire::of(&server, &user), Wire::of(&server, &stranger));
    let bytes = layer(&[("a", &noise(50_000, 30))]);
    let digest = sha256(&bytes);
    let mount = |name: &str, from: &str| format!("/v2/{name}/blobs/uploads/?mount={digest}{from}");
    // Uploaded and not used yet: its uploader's, not the world's.
    ada.blob("acme/app", &bytes).await;
    eve.post(&mount("eve/app", "&from=acme/app")).await.is(202);
    eve.post(&mount("eve/app", "")).await.is(202);
    let own = ada.post(&mount("acme/early", "&from=acme/app")).await;
    assert!(matches!(own.status, 201 | 202), "{own:?}");

    ada.image("acme/app", "1", &[&bytes]).await;
    let mounted = eve.post(&mount("eve/app", "&from=acme/app")).await.is(201);
    assert_eq!(mounted.header("location"), format!("/v2/eve/app/blobs/{digest}"));
    assert_eq!(mounted.header("docker-content-digest"), digest);
    eve.post(&mount("eve/found", "")).await.is(201);
    eve.post(&mount("eve/app", "&from=eve/nowhere")).await.is(201);
    for from in ["&from=acme/nowhere", "&from=NOT/A/NAME"] {
        eve.post(&mount("eve/third", from)).await.is(202);
    }
    eve.post("/v2/eve/app/blobs/uploads/?mount=sha256:x").await.refuses(400, "DIGEST_INVALID");
    eve.post(&format!("/v2/eve/app/blobs/uploads/?mount={}&from=acme/app", sha256(b"no"))).await.is(202);
    // A mounted layer is as good as one that was sent.
    eve.image("eve/app", "1", &[&bytes]).await;

    // What only its owner may read is mounted by its owner only.
    server.restart_with(&[("packages.personal_repository_visibility", "private")]).await;
    let other = server.new_user("bob").await;
    let bob = Wire::of(&server, &other);
    let secret = layer(&[("secret", b"of bob")]);
    bob.image("bob/secret", "1", &[&secret]).await;
    let of_bob = |name: &str, from: &str| format!("/v2/{name}/blobs/uploads/?mount={}{from}", sha256(&secret));
    for from in ["&from=bob/secret", ""] {
        eve.post(&of_bob("eve/third", from)).await.is(202);
        bob.post(&of_bob("bob/second", from)).await.is(201);
    }
    assert!(!server.log().contains("\"status\":403"), "no mount is refused for its source's sake");
});

on_backends!(a_blob_is_seen_by_those_who_may, async |server: Server| {
    let (user, stranger) = (server.new_user("ada").await, server.new_user("eve").await);
    let (ada, eve, nobody) = (Wire::of(&server, &user), Wire::of(&server, &stranger), Wire::anonymous(&server));
    let bytes = noise(10_000, 31);
    let digest = ada.blob("acme/app", &bytes).await;
    let path = format!("/v2/acme/app/blobs/{digest}");
    ada.head(&path).await.is(200);
    ada.get(&path).await.is(200);
    // No package yet: nobody else's. The name is free, so they are told what they could do with it.
    eve.get(&path).await.refuses(404, "BLOB_UNKNOWN");
    nobody.get(&path).await.is(401);

    let image = ada.image("acme/app", "1", &[&bytes]).await;
    for wire in [&ada, &eve, &nobody] {
        assert!(wire.get(&path).await.is(200).body == bytes);
        let head = wire.head(&path).await.is(200);
        assert_eq!((head.header("content-length"), head.header("accept-ranges")), ("10000", "bytes"));
        assert_eq!(head.header("etag"), format!("\"{digest}\""));
        assert!(head.body.is_empty());
    }
    // Another one, linked and unused: its publishers'.
    let unused = format!("/v2/acme/app/blobs/{}", ada.blob("acme/app", b"unused").await);
    ada.get(&unused).await.is(200);
    eve.get(&unused).await.refuses(404, "BLOB_UNKNOWN");
    eve.head(&unused).await.is(404);
    // A manifest is no blob.
    ada.get(&format!("/v2/acme/app/blobs/{image}")).await.refuses(404, "BLOB_UNKNOWN");
    ada.get("/v2/acme/app/blobs/sha256:12").await.refuses(400, "DIGEST_INVALID");
    ada.get(&format!("/v2/acme/app/blobs/md5:{}", "0".repeat(32))).await.refuses(404, "BLOB_UNKNOWN");
});

// Two pushers of a new name: one made the package while the other's upload was on its way, and filed under them.
on_backends!(what_was_uploaded_while_the_package_was_made_is_found, async |server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    ada.image("acme/app", "1", &[b"of the other"]).await;
    let early = ada.prepare("acme/app", &[b"early"]).await;
    let file_under_pusher = format!(
        "UPDATE oci_blobs SET holder_id = (SELECT id FROM users WHERE username = 'ada') WHERE digest = '{}'",
        sha256(b"early")
    );
    server.database().await.execute_raw(&file_under_pusher).await.unwrap();
    let path = format!("/v2/acme/app/blobs/{}", sha256(b"early"));
    ada.head(&path).await.is(200);
    ada.get(&path).await.is(200);
    ada.post(&format!("/v2/acme/app/blobs/uploads/?mount={}&from=acme/other", sha256(b"early"))).await.is(201);
    Wire::anonymous(&server).get(&path).await.is(401);
    ada.manifest("acme/app", "2", &early).await.is(201);
    assert_eq!(Wire::anonymous(&server).get(&path).await.is(200).body, b"early");
});

on_backends!(blobs_are_served_in_parts, async |server: Server| {
    let user = server.new_user("ada").await;
    let ada = Wire::of(&server, &user);
    let bytes = noise(100_000, 32);
    ada.image("acme/app", "1", &[&bytes]).await;
    let digest = sha256(&bytes);
    let path = format!("/v2/acme/app/blobs/{digest}");
    let part = async |range: &str| ada.send(reqwest::Method::GET, &path, &[("range", range)], "").await;
    for (range, from, to) in [
        ("bytes=0-99", 0, 100),
        ("bytes=99990-", 99_990, 100_000),
        ("bytes=-5", 99_995, 100_000),
        ("bytes=5-999999", 5, 100_000),
    ] {
        let answer = part(range).await.is(206);
        assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/100000", to - 1));
        assert!(answer.body == bytes[from..to], "{range}");
    }
    for range in ["bytes=100000-", "bytes=500-0", "bytes=-0"] {
        let answer = part(range).await.is(416);
        assert_eq!(answer.header("content-range"), "bytes */100000", "{range}");
        assert_eq!(answer.header("content-length").parse::<usize>().unwrap(), answer.body.len());
    }
    let several = part("bytes=0-1,50-59,99999-").await.is(206);
    assert!(several.header("content-type").starts_with("multipart/byteranges; boundary="));
    let text = String::from_utf8_lossy(&several.body).into_owned();
    for range in ["bytes 0-1/100000", "bytes 50-59/100000", "bytes 99999-99999/100000"] {
        assert!(text.contains(range), "{text}");
    }
    // The same bytes are not sent twice.
    assert_eq!(part("bytes=0-,0-,0-").await.is(200).header("content-length"), "100000");
    let conditional = [("range", "bytes=0-9"), ("if-range", "\"sha256:other\"")];
    ada.send(reqwest::Method::GET, &path, &conditional, "").await.is(200);
    for tag in [format!("\"{digest}\""), digest.clone()] {
        ada.send(reqwest::Method::GET, &path, &[("if-none-match", &tag)], "").await.is(304);
    }
    // Never compressed, whatever the client takes.
    let plain = ada.send(reqwest::Method::GET, &path, &[("accept-encoding", "gzip, zstd")], "").await.is(200);
    assert_eq!(plain.try_header("content-encoding"), None);
    let head = ada.send(reqwest::Method::HEAD, &path, &[("range", "bytes=0-9")], "").await.is(200);
    assert_eq!(head.header("content-length"), "100000");
});

/// The address is good for minutes, so nobody may keep it.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_kept() {
    let Some(backend) = Backend::external().await else {
        eprintln!("no external services in this run (make test starts them)");
        return;
    };
    crate::bounded(async {
        let server = Server::start_with(backend, &[("storage.s3.redirect_downloads", "true")]).await;
        let user = server.new_user("ada").await;
        let bytes = layer(&[("a", &noise(50_000, 33))]);
        let image = Wire::of(&server, &user).image("acme/app", "1", &[&bytes]).await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let native = format!("/v2/acme/app/blobs/{}", sha256(&bytes));
        let control = format!("/v1/packages/oci/acme%2Fapp/releases/{image}/artifacts/{image}");
        let mut addresses = 0;
        for path in [native, control] {
            let answer = client.get(format!("{}{path}", server.base_url())).send().await.unwrap();
            if !answer.status().is_redirection() {
                // Small files are handed out from here.
                assert!(answer.status().is_success(), "{path}: {answer:?}");
                continue;
            }
            addresses += 1;
            assert_eq!(answer.headers()["cache-control"], "private, no-store", "{path}: {answer:?}");
            assert!(!answer.headers().contains_key("repr-digest"), "{path}: {answer:?}");
            let address = answer.headers()["location"].to_str().unwrap();
            client.get(address).send().await.unwrap().error_for_status().unwrap();
        }
        assert!(addresses > 0, "the store has addresses of its own");
    })
    .await;
}
