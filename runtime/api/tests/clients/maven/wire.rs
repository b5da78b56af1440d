//! What clients rely on without showing it.

use super::{
    Wire,
    desk::{hex, metadata},
    jar, pom,
};
use crate::{Backend, Server, on_backends};
use publaryn_core::{Ecosystem, Timestamp};
use publaryn_metadata::audit_log::AuditFilter;
use sha1::{Digest, Sha1};
use std::time::Duration;

const AT: &str = "com/acme/widget/1.0/widget-1.0";

on_backends!(files_are_served_with_everything_that_clients_check, async |server: Server| {
    let ada = server.new_user("ada").await;
    Wire::new(&server, &ada.token).deploy(["com.acme", "widget", "1.0"], "content").await.expect(201);
    let (wire, path, bytes) = (Wire::anonymous(&server), format!("{AT}.jar"), jar("content"));
    let (got, head) = (wire.get(&path).await.expect(200), wire.head(&path).await.expect(200));
    assert_eq!(got.body, bytes);
    assert!(head.body.is_empty());
    for name in [
        "content-length",
        "content-type",
        "etag",
        "last-modified",
        "accept-ranges",
        "cache-control",
        "x-checksum-md5",
        "x-checksum-sha1",
        "x-checksum-sha256",
        "x-checksum-sha512",
    ] {
        assert!(!got.header(name).is_empty(), "{name}: {got:?}");
        assert_eq!(got.header(name), head.header(name), "{name}");
    }
    assert_eq!(got.header("content-type"), "application/java-archive");
    assert_eq!(got.header("x-checksum-sha1"), hex(&Sha1::digest(&bytes)));
    assert_eq!(got.header("etag"), format!("\"{}\"", got.header("x-checksum-sha256")));
    assert_eq!(got.header("cache-control"), "public, max-age=300, must-revalidate");
    let (etag, date) = (got.header("etag").to_owned(), got.header("last-modified").to_owned());
    let ask = |name: &'static str, value: String| {
        let (wire, path) = (&wire, &path);
        async move { wire.send("GET", path, &[(name, &value)], None).await }
    };
    ask("if-none-match", etag.clone()).await.expect(304);
    ask("if-modified-since", date.clone()).await.expect(304);
    ask("if-modified-since", "Thu, 01 Jan 2015 00:00:00 GMT".into()).await.expect(200);
    ask("if-unmodified-since", "Thu, 01 Jan 2015 00:00:00 GMT".into()).await.expect(412);
    let part =
        wire.send("GET", &path, &[("range", "bytes=10-"), ("if-unmodified-since", &date)], None).await.expect(206);
    assert_eq!(part.body, bytes[10..]);
    ask("range", format!("bytes={}-", bytes.len())).await.expect(416);
    let gzip = ask("accept-encoding", "gzip".into()).await.expect(200);
    assert_eq!((gzip.header("content-encoding"), &gzip.body), ("", &bytes));
    for (ending, kind) in [("pom", "application/xml"), ("pom.sha512", "text/plain")] {
        assert_eq!(wire.get(&format!("{AT}.{ending}")).await.expect(200).header("content-type"), kind);
    }
    wire.get(&format!("{AT}.war")).await.expect(404);
    wire.get("com/acme/widget/1.0/").await.expect(404);
    wire.get("com/acme/widget/1.0/maven-metadata.xml").await.expect(404);
    wire.get("").await.expect(200);
});

on_backends!(metadata_and_its_checksums_agree_and_have_validators, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    for version in ["2.0.0", "1.0.9", "2.1.0-rc1", "1.0.10", "2.0.0.1"] {
        wire.deploy(["com.acme", "widget", version], version).await.expect(201);
    }
    let anonymous = Wire::anonymous(&server);
    let path = "com/acme/widget/maven-metadata.xml";
    let first = anonymous.get(path).await.expect(200);
    let text = first.text();
    assert!(text.contains("<latest>2.1.0-rc1</latest>") && text.contains("<release>2.0.0.1</release>"), "{text}");
    let versions: Vec<&str> =
        text.lines().filter_map(|l| l.trim().strip_prefix("<version>")?.strip_suffix("</version>")).collect();
    assert_eq!(versions, ["1.0.9", "1.0.10", "2.0.0", "2.0.0.1", "2.1.0-rc1"]);
    assert_eq!(first.header("cache-control"), "no-cache");
    assert_eq!(anonymous.get(path).await.body, first.body);
    assert_eq!(anonymous.get(&format!("{path}.sha1")).await.expect(200).text(), hex(&Sha1::digest(&first.body)));
    for ending in ["md5", "sha256", "sha512"] {
        anonymous.get(&format!("{path}.{ending}")).await.expect(200);
    }
    let etag = first.header("etag").to_owned();
    anonymous.send("GET", path, &[("if-none-match", &etag)], None).await.expect(304);
    let date = first.header("last-modified").to_owned();
    anonymous.send("GET", path, &[("if-modified-since", &date)], None).await.expect(304);

    // A version that is taken back is still there for who names it.
    server.yank("maven", "com.acme:widget", "2.1.0-rc1", Some("broken")).await;
    server.until(|page| !page.contains("2.1.0-rc1"), &format!("/maven/{path}")).await;
    assert!(anonymous.get(path).await.text().contains("<latest>2.0.0.1</latest>"));
    anonymous.get("com/acme/widget/2.1.0-rc1/widget-2.1.0-rc1.jar").await.expect(200);
    let newer = anonymous.send("GET", path, &[("if-none-match", &etag), ("if-modified-since", &date)], None).await;
    newer.expect(200);
});

on_backends!(checksums_are_compared_whenever_they_come, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    let (path, bytes) = (format!("{AT}.jar"), jar("x"));
    let (right, wrong) = (hex(&Sha1::digest(&bytes)), hex(&Sha1::digest(b"other")));
    // After the file.
    wire.put(&path, bytes.clone()).await.expect(201);
    let refused = wire.put(&format!("{path}.sha1"), wrong.clone()).await.expect(400);
    refused.says("sha1 of widget-1.0.jar does not match the uploaded file");
    wire.get(&path).await.expect(404);
    wire.put(&path, bytes.clone()).await.expect(201);
    wire.put(&format!("{path}.sha1"), format!("{}  widget-1.0.jar\n", right.to_uppercase())).await.expect(201);
    wire.get(&path).await.expect(200);
    // Before it.
    let other = format!("{AT}-extra.jar");
    wire.put(&format!("{other}.sha1"), wrong).await.expect(201);
    wire.put(&other, bytes.clone()).await.expect(400).says("sha1 of widget-1.0-extra.jar does not match");
    wire.put(&format!("{other}.sha1"), right.clone()).await.expect(201);
    wire.put(&other, bytes.clone()).await.expect(201);
    // Another's are no concern of ours.
    let eve = server.new_user("eve").await;
    Wire::new(&server, &eve.token).put("org/eve/w/1/w-1.jar.sha1", right.clone()).await.expect(201);
    wire.put("org/eve/w/1/w-1.jar", jar("of ada")).await.expect(201);
    // Of checksums and signatures there are none to compare.
    wire.put(&format!("{path}.sha1.asc"), "-----BEGIN").await.expect(201);
    wire.put(&format!("{path}.sha1.md5"), "x").await.expect(201);
    // A wrong one takes nothing out of a version that is done.
    wire.put(&format!("{AT}.pom"), pom("com.acme", "widget", "1.0", "")).await.expect(201);
    wire.put("com/acme/widget/maven-metadata.xml", metadata("com.acme", "widget", "1.0")).await.expect(201);
    wire.put(&format!("{path}.sha1"), hex(&Sha1::digest(b"late"))).await.expect(400);
    wire.get(&path).await.expect(200);
    wire.put(&format!("{path}.sha1"), right).await.expect(201);
});

on_backends!(a_file_that_was_built_again_is_told_as_such_and_not_as_broken, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    let (path, bytes) = (format!("{AT}.jar"), jar("x"));
    wire.put(&path, bytes.clone()).await.expect(201);
    wire.put(&format!("{path}.sha1"), hex(&Sha1::digest(&bytes))).await.expect(201);
    let refused = wire.put(&path, jar("built again")).await.expect(409);
    refused.says("widget-1.0.jar of com.acme:widget:1.0 was uploaded before with other content");
    assert_eq!(wire.get(&path).await.expect(200).body, bytes);
    wire.put(&path, bytes).await.expect(200);
});

on_backends!(plugins_of_sbt_lie_under_another_name_than_their_files_have, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    let at = "com/acme/sbt-gizmo_2.12_1.0";
    wire.put(&format!("{at}/1.0/sbt-gizmo-1.0.pom"), pom("com.acme", "sbt-gizmo", "1.0", "")).await.expect(201);
    wire.put(&format!("{at}/1.0/sbt-gizmo-1.0.jar"), jar("x")).await.expect(201);
    wire.put(&format!("{at}/1.0/sbt-gizmo-1.0-sources.jar"), jar("y")).await.expect(201);
    let anonymous = Wire::anonymous(&server);
    for ending in [".pom", ".jar", "-sources.jar"] {
        anonymous.get(&format!("{at}/1.0/sbt-gizmo-1.0{ending}")).await.expect(200);
    }
    let listed = anonymous.get(&format!("{at}/maven-metadata.xml")).await.expect(200).text();
    assert!(listed.contains("<artifactId>sbt-gizmo_2.12_1.0</artifactId>"), "{listed}");
    // Newer ones say it in full; either name is its own and no other is.
    let at = format!("{at}/1.1/sbt-gizmo_2.12_1.0-1.1.pom");
    wire.put(&at, pom("com.acme", "sbt-gizmo", "1.1", "")).await.expect(400).says("POM artifactId is sbt-gizmo");
    wire.put(&at, pom("com.acme", "sbt-gizmo_2.12_1.0", "1.1", "")).await.expect(201);
    let other = "com/acme/sbt-gizmo_2.12_1.0/1.2/sbt-gizmo-1.2.pom";
    wire.put(other, pom("com.acme", "gizmo", "1.2", "")).await.expect(400).says("POM artifactId is gizmo");
});

on_backends!(a_deploy_goes_on_while_anything_of_it_comes, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    let (path, bytes) = (format!("{AT}.jar"), jar("x"));
    wire.put(&path, bytes.clone()).await.expect(201);
    let db = server.database().await;
    let package = db.package_head(Ecosystem::Maven, "com.acme:widget").await.unwrap().expect("the package").id;
    let ends = async || db.open_version(package, "1.0").await.unwrap().expect("the version").open.open_until.unwrap();
    let release = db.open_version(package, "1.0").await.unwrap().expect("the version").id;
    let soon = async || {
        let mut tx = db.begin().await.unwrap();
        tx.keep_open(release, Timestamp::now() + Duration::from_secs(60)).await.unwrap();
        tx.commit().await.unwrap();
        ends().await
    };
    let before = soon().await;
    wire.put(&format!("{path}.sha1"), hex(&Sha1::digest(&bytes))).await.expect(201);
    assert!(ends().await > before, "a checksum");
    let before = soon().await;
    wire.put(&format!("{AT}.pom"), "no POM").await.expect(400);
    assert!(ends().await > before, "an upload that was refused");
    let before = ends().await;
    wire.put(&path, bytes).await.expect(200);
    assert_eq!(ends().await, before, "not each is a write");
});

on_backends!(a_version_takes_files_until_its_deploy_ends, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    let put = |ending: &'static str, body: Vec<u8>| {
        let wire = &wire;
        async move { wire.put(&format!("{AT}{ending}"), body).await }
    };
    put(".jar", jar("x")).await.expect(201);
    put(".jar", jar("x")).await.expect(200);
    let refused = put(".jar", jar("y")).await.expect(409);
    refused.says("widget-1.0.jar of com.acme:widget:1.0 was uploaded before with other content");
    // Nobody can resolve it yet.
    let document = "com/acme/widget/maven-metadata.xml";
    wire.get(document).await.expect(404);
    put(".pom", pom("com.acme", "widget", "1.0", "").into_bytes()).await.expect(201);
    assert!(wire.get(document).await.expect(200).text().contains("<version>1.0</version>"));
    let module = r#"{"formatVersion":"1.1","component":{"group":"com.acme","module":"widget","version":"1.0"}}"#;
    put(".module", module.into()).await.expect(201);
    put(".jar.asc", b"-----BEGIN PGP SIGNATURE-----".to_vec()).await.expect(201);
    wire.put(document, metadata("com.acme", "widget", "1.0")).await.expect(201);
    for ending in ["sha1", "md5", "sha256", "sha512"] {
        // Of the client's document, which is not kept.
        wire.put(&format!("{document}.{ending}"), "00").await.expect(201);
    }
    let done = "com.acme:widget:1.0 is already published";
    put(".jar", jar("x")).await.expect(409).says(done);
    put(".war", jar("late")).await.expect(409).says(done);
    // Signatures and classified files follow, once.
    put("-javadoc.jar", jar("late")).await.expect(201);
    put("-javadoc.jar", jar("late")).await.expect(409).says(done);
    put(".pom.asc", b"-----BEGIN PGP SIGNATURE-----".to_vec()).await.expect(201);
    let anonymous = Wire::anonymous(&server);
    for ending in [".module", ".jar.asc", "-javadoc.jar", ".pom.asc.sha256"] {
        anonymous.get(&format!("{AT}{ending}")).await.expect(200);
    }
    anonymous.get(&format!("{AT}.war")).await.expect(404);
    // The metadata of another version ends nothing.
    wire.put("com/acme/widget/1.1/widget-1.1.jar", jar("x")).await.expect(201);
    wire.put(document, metadata("com.acme", "widget", "1.0")).await.expect(201);
    wire.put("com/acme/widget/1.1/widget-1.1.pom", pom("com.acme", "widget", "1.1", "")).await.expect(201);
});

on_backends!(only_who_began_a_deploy_ends_it, async |server: Server| {
    let (ada, bob) = (server.new_user("ada").await, server.new_user("bob").await);
    let wire = Wire::new(&server, &ada.token);
    wire.put(&format!("{AT}.jar"), jar("x")).await.expect(201);
    let document = "com/acme/widget/maven-metadata.xml";
    Wire::new(&server, &bob.token).put(document, metadata("com.acme", "widget", "1.0")).await.expect(403);
    wire.put(&format!("{AT}.pom"), pom("com.acme", "widget", "1.0", "")).await.expect(201);
});

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_a_pom_is_listed_once_no_more_files_come() {
    let settings = [("maven.open_seconds", "1"), ("maven.attachment_hours", "0")];
    let server = Server::start_with(Backend::Embedded, &settings).await;
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    wire.put(&format!("{AT}.jar"), jar("x")).await.expect(201);
    wire.get(&format!("{AT}.jar")).await.expect(200);
    server.until(|page| page.contains("<version>1.0</version>"), "/maven/com/acme/widget/maven-metadata.xml").await;
    wire.put(&format!("{AT}.pom"), pom("com.acme", "widget", "1.0", "")).await.expect(409);
    wire.put(&format!("{AT}-sources.jar"), jar("x")).await.expect(409);
    let entries = server.database().await.audit_entries(&AuditFilter::default(), None, 0, 20).await.unwrap();
    assert!(entries.iter().any(|entry| entry.metadata.contains("\"sealed\":true")), "{entries:?}");
}

on_backends!(other_methods_are_told_what_there_is, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    for method in ["DELETE", "MKCOL", "PROPFIND", "POST"] {
        let refused = wire.send(method, "com/acme/widget/1.0/widget-1.0.jar", &[], None).await.expect(405);
        assert_eq!((refused.header("allow"), refused.header("dav")), ("GET, HEAD, PUT", ""));
    }
    wire.put("com/acme/", "").await.expect(405);
});

on_backends!(versions_may_have_files_of_one_name, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    wire.put("com/acme/w/1.0/w-1.0-b.jar", jar("classified")).await.expect(201);
    wire.put("com/acme/w/1.0-b/w-1.0-b.jar", jar("main")).await.expect(201);
    assert_eq!(wire.get("com/acme/w/1.0/w-1.0-b.jar").await.expect(200).body, jar("classified"));
    assert_eq!(wire.get("com/acme/w/1.0-b/w-1.0-b.jar").await.expect(200).body, jar("main"));
});
