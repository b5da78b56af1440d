//! `mvn deploy` and what resolves from it.

use super::{Desk, Wire, jar};
use crate::{Server, on_backends};

on_backends!(a_deployed_file_is_there_at_once_and_for_good, async |server: Server| {
    let ada = server.new_user("ada").await;
    let desk = Desk::with_token(&server, "ada", &ada.token);
    let gav = ["com.acme", "widget", "1.0.0"];
    desk.deploy_file(gav, &jar("one"), "pub").await.succeeds();
    let wire = Wire::anonymous(&server);
    let at = "com/acme/widget/1.0.0/widget-1.0.0";
    assert_eq!(wire.get(&format!("{at}.jar")).await.expect(200).body, jar("one"));
    assert!(wire.get(&format!("{at}.pom")).await.expect(200).text().contains("<artifactId>widget</artifactId>"));
    for (ending, length) in [("md5", 32), ("sha1", 40), ("sha256", 64), ("sha512", 128)] {
        assert_eq!(wire.get(&format!("{at}.jar.{ending}")).await.expect(200).body.len(), length, "{ending}");
    }
    let metadata = wire.get("com/acme/widget/maven-metadata.xml").await.expect(200).text();
    assert!(
        metadata.contains("<release>1.0.0</release>") && metadata.contains("<version>1.0.0</version>"),
        "{metadata}"
    );

    desk.deploy_file(gav, &jar("one"), "pub")
        .await
        .fails_with("status: 409 com.acme:widget:1.0.0 is already published");
    desk.deploy_file(gav, &jar("two"), "pub")
        .await
        .fails_with("status: 409 com.acme:widget:1.0.0 is already published");
    assert_eq!(wire.get(&format!("{at}.jar")).await.expect(200).body, jar("one"));

    let snapshot = ["com.acme", "gadget", "1.1.0-SNAPSHOT"];
    let refused = "status: 400 SNAPSHOT versions are not accepted by this registry";
    desk.deploy_file(snapshot, &jar("x"), "pub").await.fails_with(refused);
    wire.get("com/acme/gadget/maven-metadata.xml").await.expect(404);

    let reader = Desk::new(&server, "reader");
    reader.fetch(&reader.url(), "com.acme:widget:1.0.0").await.succeeds();
    assert_eq!(reader.fetched("com/acme/widget/1.0.0/widget-1.0.0.jar"), jar("one"));
    reader
        .fetch(&reader.url(), "com.acme:widget:9.9")
        .await
        .fails_with("Could not find artifact com.acme:widget:jar:9.9");
});

on_backends!(a_project_is_deployed_with_its_sources_and_resolved_by_a_range, async |server: Server| {
    let ada = server.new_user("ada").await;
    let desk = Desk::with_token(&server, "ada", &ada.token);
    let sources = "<plugins><plugin><artifactId>maven-source-plugin</artifactId><executions><execution><goals>\
         <goal>jar-no-fork</goal></goals></execution></executions></plugin></plugins><!--build--><name>Widgets</name>\
         <description>turns</description><licenses><license><name>MIT</name></license></licenses>";
    desk.project("widget", ["com.acme", "widget", "1.4.0"], sources);
    desk.write("widget/src/main/java/acme/Widget.java", "package acme; public class Widget { }");
    desk.mvn("widget", &["-q", "deploy"]).await.succeeds();
    Wire::new(&server, &ada.token).deploy(["com.acme", "widget", "2.0.0"], "newer").await.expect(201);
    let wire = Wire::anonymous(&server);
    for ending in [".jar", ".pom", "-sources.jar"] {
        let at = format!("com/acme/widget/1.4.0/widget-1.4.0{ending}");
        wire.get(&at).await.expect(200);
        wire.get(&format!("{at}.sha1")).await.expect(200);
    }
    let metadata = wire.get("com/acme/widget/maven-metadata.xml").await.expect(200).text();
    let versions: Vec<&str> = metadata.lines().map(str::trim).filter(|line| line.starts_with("<version>")).collect();
    assert_eq!(versions, ["<version>1.4.0</version>", "<version>2.0.0</version>"]);

    let reader = Desk::new(&server, "reader");
    let range = "<dependencies><dependency><groupId>com.acme</groupId><artifactId>widget</artifactId>\
         <version>[1.0,2.0)</version></dependency></dependencies>";
    reader.project("app", ["com.acme", "app", "1"], range);
    let resolved = reader.mvn("app", &["dependency:resolve"]).await.succeeds();
    resolved.says("com.acme:widget:jar:1.4.0");

    // What the portal and the management API show comes from the POM.
    let (status, text) = server.get("/v1/packages/maven/com.acme:widget", None).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("com.acme"), "{text}");
});
