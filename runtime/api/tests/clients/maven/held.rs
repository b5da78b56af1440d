//! A file that a scan blocks takes its whole version down.

use publaryn_scan::corpus::ZipBuilder;

use super::{Wire, jar, pom};
use crate::{Server, bulk, on_backends};

/// A jar whose own POM is another one than that beside it.
fn suspicious() -> Vec<u8> {
    let other = pom("org.other", "thing", "6.6.6", "");
    ZipBuilder::new().file("META-INF/maven/com.acme/widget/pom.xml", other.as_bytes()).finish()
}

on_backends!(a_blocked_file_blocks_its_version, async |server: Server| {
    let ada = server.new_user("ada").await;
    let (wire, anonymous) = (Wire::new(&server, &ada.token), Wire::anonymous(&server));
    wire.deploy(["com.acme", "widget", "0.9"], "fine").await.expect(201);
    let at = "com/acme/widget/1.0/widget-1.0";
    wire.put(&format!("{at}.pom"), pom("com.acme", "widget", "1.0", "")).await.expect(201);
    anonymous.get(&format!("{at}.pom")).await.expect(200);
    let refused = wire.put(&format!("{at}.jar"), suspicious()).await.expect(403);
    refused.says("widget-1.0.jar was blocked by a scan: the POM inside the archive is another one");
    for ending in [".pom", ".pom.sha1", ".jar", ".jar.sha256"] {
        anonymous.get(&format!("{at}{ending}")).await.expect(404);
        wire.get(&format!("{at}{ending}")).await.expect(404);
    }
    let listed = anonymous.get("com/acme/widget/maven-metadata.xml").await.expect(200).text();
    assert!(listed.contains("<version>0.9</version>") && !listed.contains("1.0<"), "{listed}");
    let blocked = wire.put(&format!("{at}-sources.jar"), jar("x")).await.expect(403);
    blocked.says("com.acme:widget:1.0 was blocked by a scan");
    // The rest is as it was.
    anonymous.get("com/acme/widget/0.9/widget-0.9.jar").await.expect(200);
    wire.deploy(["com.acme", "widget", "1.0.1"], "fine").await.expect(201);
});

on_backends!(nothing_of_a_file_is_served_before_it_was_judged, async |server: Server| {
    let ada = server.new_user("ada").await;
    let wire = Wire::new(&server, &ada.token);
    wire.deploy(["com.acme", "widget", "0.9"], "fine").await.expect(201);
    let at = "com/acme/widget/1.0/widget-1.0";
    wire.put(&format!("{at}.pom"), pom("com.acme", "widget", "1.0", "")).await.expect(201);
    let slow = ZipBuilder::new().stored("bulk", &bulk()).finish();
    let paused = server.pause_scanners();
    let path = format!("{at}.jar");
    let uploading = wire.put(&path, slow.clone());
    let watching = async {
        let anonymous = Wire::anonymous(&server);
        for _ in 0..20 {
            for ending in ["", ".sha1"] {
                anonymous.get(&format!("{path}{ending}")).await.expect(404);
            }
            anonymous.head(&path).await.expect(404);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        drop(paused);
    };
    let (answer, ()) = tokio::join!(uploading, watching);
    answer.expect(201);
    server.until(|page| page.contains("<version>1.0</version>"), "/maven/com/acme/widget/maven-metadata.xml").await;
    assert_eq!(wire.get(&path).await.expect(200).body.len(), slow.len());
});

on_backends!(a_false_alarm_can_be_let_pass, async |server: Server| {
    let ada = server.new_user_with("ada", &["packages:write", "security:write"]).await;
    let wire = Wire::new(&server, &ada.token);
    let at = "com/acme/widget/1.0/widget-1.0";
    wire.put(&format!("{at}.pom"), pom("com.acme", "widget", "1.0", "<name>W</name>")).await.expect(201);
    wire.put(&format!("{at}.jar"), suspicious()).await.expect(403);
    let release = "/v1/packages/maven/com.acme:widget";
    let (status, text) = server.get(&format!("{release}/security-findings"), Some(&ada.token)).await;
    assert_eq!(status, 200, "{text}");
    let findings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let blocking = findings["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|f| f["title"].as_str().is_some_and(|t| t.contains("inside the archive")));
    let id = blocking.unwrap_or_else(|| panic!("{findings}"))["id"].as_str().expect("an id").to_owned();
    let resolved = serde_json::json!({ "is_resolved": true, "note": "known" });
    let response = server
        .http
        .patch(format!("{}{release}/security-findings/{id}", server.base_url()))
        .bearer_auth(&ada.token)
        .json(&resolved)
        .send()
        .await
        .expect("the server answers");
    assert!(response.status().is_success(), "{}", response.text().await.unwrap_or_default());
    server.post(&format!("{release}/releases/1.0/publish"), Some(&ada.token), &serde_json::json!({})).await;
    server.until(|page| page.contains("<version>1.0</version>"), "/maven/com/acme/widget/maven-metadata.xml").await;
    assert_eq!(Wire::anonymous(&server).get(&format!("{at}.jar")).await.expect(200).body, suspicious());
});
