use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    app::{self, Person, Server, column, text},
    npm::tarball,
};

const PATH: &str = "/v1/packages/npm/drafted-tool";

/// A package in `ada`'s repository, without releases.
async fn stage(server: &Server) -> (Person, Person) {
    let (ada, eve) = (server.person("ada").await, server.person("eve").await);
    let body = json!({"name": "main", "slug": "main"});
    server.post("/v1/repositories", body).bearer(&ada.token).expect(201).await;
    let body = json!({"ecosystem": "npm", "name": "drafted-tool", "repository_slug": "main"});
    server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
    (ada, eve)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_gets_files_and_goes_live() {
    app::each(async |server| {
        let (ada, eve) = stage(server).await;
        let create = |version: &str| {
            server.post(format!("{PATH}/releases"), json!({"version": version, "changelog": "first\n"}))
        };
        let made = create("1.0.0").bearer(&ada.token).expect(201).await.body;
        assert_eq!((&made["status"], &made["is_prerelease"]), (&json!("quarantine"), &json!(false)));
        assert_eq!(made["scan"]["artifacts_total"], 0);
        create("1.0.0").bearer(&ada.token).problem(409, "already_exists").await;
        create("one").bearer(&ada.token).problem(422, "invalid_version").await;
        create("1.0.1").bearer(&eve.token).problem(403, "insufficient_permission").await;
        let release = format!("{PATH}/releases/1.0.0");
        // Nobody else may learn of it.
        for path in [release.clone(), format!("{release}/artifacts"), format!("{release}/artifacts/x.tgz")] {
            server.get(&path).problem(404, "not_found").await;
            server.get(&path).bearer(&eve.token).problem(404, "not_found").await;
        }
        server.get(format!("{release}/pipeline")).problem(401, "unauthenticated").await;
        server.get(format!("{release}/pipeline")).bearer(&eve.token).problem(404, "not_found").await;
        assert_eq!(server.get(format!("{PATH}/releases")).expect(200).await.body["total"], 0);
        assert_eq!(server.get(format!("{PATH}/releases")).bearer(&ada.token).expect(200).await.body["total"], 1);
        let patched = server.patch(&release, json!({"source_ref": "abc", "provenance": {"a": 1}})).bearer(&ada.token);
        assert_eq!(patched.expect(200).await.body["provenance"], json!({"a": 1}));

        let publish = |query: &str| {
            server.post(format!("{release}/publish{query}"), json!({"tags": ["next"]})).bearer(&ada.token)
        };
        publish("").problem(409, "release_not_ready").await;
        let bytes = tarball("drafted-tool", "1.0.0");
        let digest = hex::encode(Sha256::digest(&bytes));
        let file = format!("{release}/artifacts/drafted-tool-1.0.0.tgz");
        let put = |query: &str, bytes: Vec<u8>| server.call("PUT", format!("{file}?{query}")).bytes(bytes);
        put("kind=tarball", bytes.clone()).problem(401, "unauthenticated").await;
        put("kind=tarball", bytes.clone()).bearer(&eve.token).problem(403, "insufficient_permission").await;
        put("kind=odd", bytes.clone()).bearer(&ada.token).problem(422, "validation_failed").await;
        put("kind=tarball", Vec::new()).bearer(&ada.token).send().await;
        let wrong = format!("kind=tarball&sha256={}", "0".repeat(64));
        put(&wrong, bytes.clone()).bearer(&ada.token).problem(422, "checksum_mismatch").await;
        let foreign = tarball("another-tool", "1.0.0");
        let refused = put("kind=tarball", foreign).bearer(&ada.token).send().await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        let right = format!("kind=tarball&sha256={digest}&is_signed=true&signature_key_id=k1");
        let stored = put(&right, bytes.clone()).bearer(&ada.token).expect(201).await.body;
        assert_eq!((&stored["sha256"], &stored["is_signed"]), (&json!(digest), &json!(true)));
        assert_eq!(stored["size_bytes"], bytes.len());
        put("kind=tarball", bytes.clone()).bearer(&ada.token).expect(200).await;
        let mut other = bytes.clone();
        other.push(0);
        let other = put("kind=checksum", other).bearer(&ada.token);
        other.problem(409, "artifact_content_mismatch").await;
        // Staged bytes are for those who manage, and not for native clients.
        server.get(&file).bearer(&ada.token).expect(200).await;
        server.get(&file).bearer(&eve.token).problem(404, "not_found").await;
        assert_eq!(server.npm_read(Some(&ada.token), "drafted-tool").await, 404);

        let done = publish("?wait=20").expect(200).await.body;
        assert_eq!((&done["status"], &done["artifact_count"]), (&json!("published"), &json!(1)), "{done}");
        assert_eq!(publish("").expect(200).await.body["scan_jobs_enqueued"], 0);
        publish("?wait=61").problem(422, "validation_failed").await;
        assert_eq!(server.npm_read(None, "drafted-tool").await, 200);
        let tags = server.get(format!("{PATH}/tags")).expect(200).await.body;
        assert_eq!(tags["tags"]["next"]["version"], "1.0.0");
        let line = server.get(format!("{release}/pipeline")).bearer(&ada.token).expect(200).await.body;
        assert_eq!(column(&line["stages"], "stage"), ["artifacts", "scan", "policy", "publish", "index"]);
        assert_eq!(column(&line["stages"], "state")[..4], ["done", "done", "done", "done"]);
        put("kind=tarball", bytes.clone()).bearer(&ada.token).problem(409, "state_conflict").await;
        server.delete(&file).bearer(&ada.token).problem(409, "state_conflict").await;
        server.patch(&release, json!({"changelog": "x"})).bearer(&ada.token).problem(409, "state_conflict").await;

        // Bytes: whole, in part, known, and never as a page.
        let whole = server.get(&file).expect(200).await;
        assert_eq!(text(&json!(whole.headers["etag"].to_str().unwrap())), format!("\"sha256:{digest}\""));
        assert!(whole.headers["repr-digest"].to_str().unwrap().starts_with("sha-256=:"));
        assert!(whole.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
        assert_eq!(whole.headers["content-security-policy"], "sandbox");
        server.get(&file).header("if-none-match", &format!("\"sha256:{digest}\"")).expect(304).await;
        let part = server.get(&file).header("range", "bytes=0-3").expect(206).await;
        assert_eq!(part.headers["content-length"], "4");
        server.get(&file).header("range", "bytes=999999-").problem(416, "range_not_satisfiable").await;
        server.get(format!("{release}/artifacts/none.tgz")).problem(404, "not_found").await;
        let listed = server.get(format!("{release}/artifacts")).expect(200).await.body;
        assert_eq!(column(&listed["artifacts"], "filename"), ["drafted-tool-1.0.0.tgz"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_can_be_given_up() {
    app::each(async |server| {
        let (ada, eve) = stage(server).await;
        let create = || server.post(format!("{PATH}/releases"), json!({"version": "2.0.0-rc.1"})).bearer(&ada.token);
        assert_eq!(create().expect(201).await.body["is_prerelease"], true);
        let release = format!("{PATH}/releases/2.0.0-rc.1");
        let file = format!("{release}/artifacts/drafted-tool-2.0.0-rc.1.tgz");
        let bytes = tarball("drafted-tool", "2.0.0-rc.1");
        server.call("PUT", format!("{file}?kind=tarball")).bytes(bytes).bearer(&ada.token).expect(201).await;
        server.delete(&file).bearer(&eve.token).problem(403, "insufficient_permission").await;
        server.delete(&file).bearer(&ada.token).expect(200).await;
        server.delete(&file).bearer(&ada.token).problem(404, "not_found").await;
        // To delete it, one has to be told of it.
        server.delete(&release).bearer(&eve.token).problem(404, "not_found").await;
        server.delete(&release).problem(401, "unauthenticated").await;
        server.delete(&release).bearer(&ada.token).expect(200).await;
        server.get(&release).bearer(&ada.token).problem(404, "not_found").await;
        create().expect(201).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_is_told_at_once_and_after_the_precondition() {
    app::each(async |server| {
        let (ada, _) = stage(server).await;
        let release = format!("{PATH}/releases/1.0.0");
        server.post(format!("{PATH}/releases"), json!({"version": "1.0.0"})).bearer(&ada.token).expect(201).await;
        let bytes = tarball("drafted-tool", "1.0.0");
        let bad = format!("{release}/artifacts/..%2Fx?kind=odd&sha256=zz");
        let refused = server.call("PUT", bad).bytes(bytes.clone()).bearer(&ada.token);
        let refused = refused.problem(422, "validation_failed").await;
        assert_eq!(column(&refused["errors"], "parameter"), ["kind", "filename", "sha256"]);
        let refused = server.put(format!("{PATH}/tags/-bad"), json!({})).bearer(&ada.token);
        let refused = refused.problem(422, "validation_failed").await;
        let places: Vec<_> = refused["errors"].as_array().unwrap().iter().collect();
        assert_eq!((&places[0]["parameter"], &places[1]["pointer"]), (&json!("tag"), &json!("/version")));

        let file = format!("{release}/artifacts/drafted-tool-1.0.0.tgz?kind=tarball");
        server.call("PUT", file).bytes(bytes).bearer(&ada.token).expect(201).await;
        let publish = server.post(format!("{release}/publish?wait=20"), json!({})).bearer(&ada.token);
        assert_eq!(publish.expect(200).await.body["status"], "published");
        let long = "x".repeat(5000);
        let package = || format!("{PATH}/quarantine");
        for (method, path, body) in [
            ("PATCH", PATH.to_owned(), json!({"description": long})),
            ("PUT", package(), json!({})),
            ("PATCH", release.clone(), json!({"description": long})),
            ("PUT", format!("{release}/yank"), json!({"reason": long})),
            ("PUT", format!("{release}/deprecate"), json!({"message": long})),
        ] {
            let call = || server.call(method, &path).json(body.clone()).bearer(&ada.token);
            call().header("if-match", "\"another\"").problem(412, "precondition_failed").await;
            call().problem(422, "validation_failed").await;
        }

        // A reason can be given, and changed, while it is yanked.
        let yank = |body| server.put(format!("{release}/yank"), body).bearer(&ada.token);
        assert_eq!(yank(json!({})).expect(200).await.body["yank_reason"], json!(null));
        let reason = json!({"reason": "leaks"});
        assert_eq!(yank(reason.clone()).expect(200).await.body["yank_reason"], "leaks");
        yank(reason).expect(200).await;
        assert_eq!(yank(json!({})).expect(200).await.body["yank_reason"], "leaks");
        assert_eq!(server.audited("release_yank").await, 2);
    })
    .await;
}
