//! What a client is told that may not, or sends what cannot be.

use serde_json::json;

use super::{Desk, Wire, desk::metadata, jar, pom};
use crate::{Backend, Server, bulk, on_backends};

on_backends!(mvn_shows_why_a_deploy_was_refused, async |server: Server| {
    let ada = server.new_user("ada").await;
    let reader = server.token("ada", &ada.password, &["packages:read"]).await;
    let gav = ["com.acme", "widget", "1.0.0"];
    let desk = Desk::with_token(&server, "ada", &ada.token);
    let refused = desk.deploy_file(gav, &jar("x"), "unknown").await;
    refused.fails_with("authentication failed").says("status: 401 API token missing, unknown or expired");
    desk.know(&format!("pub_{}", "a".repeat(43)), "");
    desk.deploy_file(gav, &jar("x"), "pub").await.fails_with("status: 401 API token missing, unknown or expired");
    desk.know(&reader, "");
    let refused = desk.deploy_file(gav, &jar("x"), "pub").await;
    refused.fails_with("authorization failed").says("status: 403 this credential lacks the scope `packages:publish`");
    Wire::anonymous(&server).get("com/acme/widget/maven-metadata.xml").await.expect(404);
});

on_backends!(groups_belong_to_who_claimed_them, async |server: Server| {
    let (ada, eve) = (server.new_user_with("ada", SCOPES).await, server.new_user("eve").await);
    let claim = json!({ "ecosystem": "maven", "namespace": "com.acme" });
    server.post("/v1/namespaces", Some(&ada.token), &claim).await;
    let (mine, theirs) = (Wire::new(&server, &ada.token), Wire::new(&server, &eve.token));
    for group in ["com.acme", "com.acme.deep", "com.ACME"] {
        let refused = theirs.deploy([group, "widget", "1.0"], "x").await.expect(403);
        refused.says(&format!("not allowed to publish to group {group}"));
    }
    theirs.deploy(["com.acmee", "other", "1.0"], "x").await.expect(201);
    mine.deploy(["com.acme.deep", "widget", "1.0"], "x").await.expect(201);
    // A package of somebody else's.
    theirs.deploy(["com.acme.deep", "widget", "2.0"], "x").await.expect(403);
});

const SCOPES: &[&str] = &["packages:write", "repositories:write", "tokens:write", "profile:write", "namespaces:write"];

on_backends!(uploads_that_cannot_be_are_refused_and_leave_nothing, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    let at = "com/acme/widget/1.0/widget-1.0";
    let good = pom("com.acme", "widget", "1.0", "");
    for (path, body, detail) in [
        (format!("{at}.jar"), b"no zip".to_vec(), "widget-1.0.jar is not a valid archive"),
        (format!("{at}.jar"), [jar("x"), b"more".to_vec()].concat(), "is not a valid archive"),
        (format!("{at}.pom"), b"no xml".to_vec(), "the POM is not well-formed XML"),
        (format!("{at}.pom"), b"<!DOCTYPE project [<!ENTITY a \"b\">]><project>&a;</project>".to_vec(), "(DTD)"),
        (format!("{at}.pom"), good.replace("com.acme", "x").into_bytes(), "POM groupId is x, path says com.acme"),
        (format!("{at}.pom"), good.replace("1.0", "2.0").into_bytes(), "POM version is 2.0, path says 1.0"),
        (format!("{at}.pom"), vec![b' '; (2 << 20) + 1], "the POM is larger than 2097152 bytes"),
        (format!("{at}.module"), b"{}".to_vec(), "the module file has no formatVersion"),
        ("com/acme/widget/1.0/gadget-1.0.jar".into(), jar("x"), "the file name does not start with widget-1.0"),
        ("com/acme/widget/1.0-SNAPSHOT/widget-1.0-SNAPSHOT.jar".into(), jar("x"), "SNAPSHOT versions are not accepted"),
        (
            "com/acme/widget/1.0-SNAPSHOT/maven-metadata.xml".into(),
            b"<metadata/>".to_vec(),
            "SNAPSHOT versions are not",
        ),
        ("com/acme/widget/LATEST/widget-LATEST.jar".into(), jar("x"), "LATEST and RELEASE are no versions"),
        ("widget/1.0/widget-1.0.jar".into(), jar("x"), "the path is no groupId/artifactId/version/file"),
        ("com/acme/widget/maven-metadata.xml".into(), b"junk".to_vec(), "the metadata is not well-formed XML"),
        (
            "com/acme/widget/maven-metadata.xml".into(),
            metadata("com.acme", "gadget", "1.0").into(),
            "artifactId is gadget",
        ),
        ("com/acme/widget/maven-metadata-local.xml".into(), b"<metadata/>".to_vec(), "local repositories"),
        (format!("{at}.jar.sha1"), b"not hex".to_vec(), "this is no sha1 checksum"),
        (format!("{at}.jar.md5"), vec![b'a'; 2000], "this is no md5 checksum"),
    ] {
        wire.put(&path, body).await.expect(400).says(detail);
    }
    let anonymous = Wire::anonymous(&server);
    anonymous.get(&format!("{at}.jar")).await.expect(404);
    anonymous.get("com/acme/widget/maven-metadata.xml").await.expect(404);
    let (status, _) = server.get("/v1/packages/maven/com.acme:widget", None).await;
    assert_eq!(status, 404);
    // And it can be done right afterwards.
    wire.deploy(["com.acme", "widget", "1.0"], "x").await.expect(201);
});

on_backends!(odd_addresses_are_refused, async |server: Server| {
    // Clients tidy up what they are given, so this is said by hand.
    let ada = server.new_user("ada").await;
    for path in [
        "com/../acme/1.0/acme-1.0.jar",
        "com/%2e%2e/acme/1.0/acme-1.0.jar",
        "com/acme/w/1.0/..%2fw-1.0.jar",
        "com/acme/w/1.0/w-1.0%5cx.jar",
        "com//acme/1.0/acme-1.0.jar",
    ] {
        for method in ["GET", "PUT"] {
            let status = raw(&server, method, path, &ada.token).await;
            assert_eq!(status, 400, "{method} {path}");
        }
    }
});

on_backends!(a_refusal_is_heard_by_who_has_sent_everything_first, async |server: Server| {
    let (ada, eve) = (server.new_user_with("ada", SCOPES).await, server.new_user("eve").await);
    let claim = json!({ "ecosystem": "maven", "namespace": "com.acme" });
    server.post("/v1/namespaces", Some(&ada.token), &claim).await;
    let large = vec![b'x'; 20 << 20];
    let path = "/maven/com/acme/widget/1.0/widget-1.0.jar";
    let login = format!("authorization: Bearer {}\r\n", eve.token);
    assert!(deaf(&server, path, "", &large).await.starts_with("HTTP/1.1 401 API token missing"));
    let refused = deaf(&server, path, &login, &large).await;
    assert!(refused.starts_with("HTTP/1.1 403 not allowed to publish to group com.acme"), "{refused}");
    assert!(deaf(&server, "/maven/com/acme", &login, &large).await.starts_with("HTTP/1.1 400 "));
    // Who asks first is told before anything was sent, though the package is not there yet.
    let asks = format!("{login}expect: 100-continue\r\ncontent-length: {}\r\n", large.len());
    let refused = talk(&server, path, &asks, &[]).await;
    assert!(refused.starts_with("HTTP/1.1 403 not allowed to publish to group com.acme"), "{refused}");
});

/// What a client hears that sends all it has before it listens.
pub async fn deaf(server: &Server, path: &str, headers: &str, body: &[u8]) -> String {
    talk(server, path, &format!("{headers}content-length: {}\r\n", body.len()), body).await
}

async fn talk(server: &Server, path: &str, headers: &str, body: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.host()).await.expect("the server listens");
    let head = format!("PUT {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}\r\n", server.host());
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    stream.write_all(body).await.expect("the server reads everything");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the server answers");
    answer
}

/// The status of a request whose path is sent as it stands.
async fn raw(server: &Server, method: &str, path: &str, token: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.host()).await.expect("the server listens");
    let request = format!(
        "{method} /maven/{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n",
        server.host()
    );
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the server answers");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_a_largest_size_and_versions_a_largest_number_of_files() {
    let settings = [("limits.artifact.jar", "100KiB"), ("limits.artifacts_per_release", "3")];
    let server = Server::start_with(Backend::Embedded, &settings).await;
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    let large = publaryn_scan::corpus::ZipBuilder::new().stored("x", &bulk()).finish();
    let at = "com/acme/widget/1.0/widget-1.0";
    wire.put(&format!("{at}.jar"), large)
        .await
        .expect(413)
        .says("widget-1.0.jar is larger than the limit of 102400 bytes");
    for ending in [".jar", "-a.jar", "-b.jar"] {
        wire.put(&format!("{at}{ending}"), jar("x")).await.expect(201);
    }
    wire.put(&format!("{at}-c.jar"), jar("x")).await.expect(409).says("at most 3 files");
}

on_backends!(coordinates_that_differ_only_in_case_are_one, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    wire.deploy(["com.acme", "widget", "1.0-RC1"], "x").await.expect(201);
    wire.deploy(["com.acme", "Widget", "2.0"], "x").await.expect(409);
    let refused = wire.deploy(["com.acme", "widget", "1.0-rc1"], "x").await.expect(409);
    refused.says("com.acme:widget:1.0-rc1 differs from version 1.0-RC1 only in case");
    Wire::anonymous(&server).get("com/acme/Widget/1.0-RC1/Widget-1.0-RC1.jar").await.expect(404);
    Wire::anonymous(&server).get("com/acme/widget/1.0-RC1/widget-1.0-RC1.jar").await.expect(200);
});

on_backends!(the_main_file_is_what_the_pom_says_it_is, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    let packaged = |artifact: &str, packaging: &str| {
        pom("com.acme", artifact, "1.0", &format!("<packaging>{packaging}</packaging>")).into_bytes()
    };
    let at = |artifact: &str, ending: &str| format!("com/acme/{artifact}/1.0/{artifact}-1.0{ending}");
    // The POM first, as mvn sends them, or the file first, as `deploy-file` does.
    wire.put(&at("shop", ".pom"), packaged("shop", "war")).await.expect(201);
    let refused = wire.put(&at("shop", ".jar"), jar("x")).await.expect(400);
    refused.says("POM packaging is war, the file is shop-1.0.jar");
    wire.put(&at("shop", ".war"), jar("x")).await.expect(201);
    wire.put(&at("tool", ".jar"), jar("x")).await.expect(201);
    wire.put(&at("tool", ".pom"), packaged("tool", "ear")).await.expect(400).says("POM packaging is ear");
    wire.put(&at("tool", ".pom"), packaged("tool", "maven-plugin")).await.expect(201);
    // What else a build attaches is its own business.
    for (artifact, ending) in
        [("shop", "-classes.jar"), ("shop", ".zip"), ("tool", "-sources.jar"), ("tool", ".tar.gz")]
    {
        wire.put(&at(artifact, ending), jar("y")).await.expect(201);
    }
    wire.put(&at("bill", ".pom"), packaged("bill", "pom")).await.expect(201);
    wire.put(&at("bill", ".jar"), jar("x")).await.expect(201);
    Wire::anonymous(&server).get(&at("shop", ".jar")).await.expect(404);
    Wire::anonymous(&server).get(&at("shop", ".war")).await.expect(200);
});
