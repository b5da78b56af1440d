//! Plugins that are called by their prefix.

use super::{Desk, Wire, jar, pom};
use crate::{Server, on_backends};

const MOJO: &str = "package acme;
@org.apache.maven.plugins.annotations.Mojo(name = \"hello\", requiresProject = false)
public class Hello extends org.apache.maven.plugin.AbstractMojo {
  public void execute() { getLog().info(\"gizmo says hello\"); }
}";

on_backends!(a_deployed_plugin_is_found_by_its_prefix, async |server: Server| {
    let ada = server.new_user("ada").await;
    let desk = Desk::with_token(&server, "ada", &ada.token);
    let more = "<plugins><plugin><artifactId>maven-plugin-plugin</artifactId><configuration><goalPrefix>gizmo</goalPrefix>\
         </configuration></plugin></plugins><!--build-->\
         <packaging>maven-plugin</packaging><name>Gizmo</name><dependencies><dependency>\
         <groupId>org.apache.maven</groupId><artifactId>maven-plugin-api</artifactId><version>3.x</version>\
         <scope>provided</scope></dependency><dependency><groupId>org.codehaus.plexus</groupId>\
         <artifactId>plexus-utils</artifactId><version>2.x</version></dependency><dependency>\
         <groupId>org.apache.maven.plugin-tools</groupId>\
         <artifactId>maven-plugin-annotations</artifactId><version>3.7.1</version><scope>provided</scope>\
         </dependency></dependencies>";
    desk.project("gizmo", ["com.acme", "gizmo-maven-plugin", "1.0"], more);
    desk.write("gizmo/src/main/java/acme/Hello.java", MOJO);
    desk.mvn("gizmo", &["-q", "deploy"]).await.succeeds();
    let group = Wire::anonymous(&server).get("com/acme/maven-metadata.xml").await.expect(200).text();
    assert!(
        group.contains("<prefix>gizmo</prefix>") && group.contains("<artifactId>gizmo-maven-plugin</artifactId>"),
        "{group}"
    );

    let user = Desk::new(&server, "user");
    let profile = format!(
        "<profiles><profile><id>p</id><pluginRepositories><pluginRepository><id>pub</id><url>{}</url></pluginRepository>\
         </pluginRepositories></profile></profiles><activeProfiles><activeProfile>p</activeProfile></activeProfiles>\
         <pluginGroups><pluginGroup>com.acme</pluginGroup></pluginGroups>",
        user.url()
    );
    user.settings("", &profile);
    user.mvn("", &["gizmo:hello"]).await.succeeds().says("gizmo says hello");
});

on_backends!(prefixes_are_named_by_who_may_publish_the_plugin, async |server: Server| {
    let (ada, eve) = (server.new_user("ada").await, server.new_user("eve").await);
    let (mine, theirs) = (Wire::new(&server, &ada.token), Wire::new(&server, &eve.token));
    mine.deploy(["com.acme", "a-maven-plugin", "1.0"], "x").await.expect(201);
    theirs.deploy(["com.acme", "totally-different-tool", "1.0"], "x").await.expect(201);
    let list = |entries: &[(&str, &str)]| {
        let entries: String = entries
            .iter()
            .map(|(prefix, artifact)| {
                format!("<plugin><prefix>{prefix}</prefix><artifactId>{artifact}</artifactId></plugin>")
            })
            .collect();
        format!("<metadata><plugins>{entries}</plugins></metadata>")
    };
    let path = "com/acme/maven-metadata.xml";
    theirs.put(path, list(&[("a", "a-maven-plugin")])).await.expect(403);
    mine.put(path, list(&[("a", "a-maven-plugin"), ("b", "totally-different-tool")])).await.expect(201);
    // The first to have a prefix keeps it.
    theirs.put(path, list(&[("a", "totally-different-tool")])).await.expect(201);
    let text = Wire::anonymous(&server).get(path).await.expect(200).text();
    assert_eq!(text.matches("<prefix>").count(), 1, "{text}");
    assert!(text.contains("<artifactId>a-maven-plugin</artifactId>"), "{text}");
    // One directory, two meanings.
    mine.put("com/acme/1.0/acme-1.0.pom", pom("com", "acme", "1.0", "")).await.expect(201);
    mine.put("com/acme/1.0/acme-1.0.jar", jar("x")).await.expect(201);
    let both = Wire::anonymous(&server).get(path).await.expect(200).text();
    assert!(both.contains("<version>1.0</version>") && both.contains("<prefix>a</prefix>"), "{both}");
    // What nobody may see names nothing.
    server.set_visibility("maven", "com.acme:a-maven-plugin", "private").await;
    let text = Wire::anonymous(&server).get(path).await.expect(200).text();
    assert!(!text.contains("<artifactId>a-maven-plugin</artifactId>"), "{text}");
    assert!(mine.get(path).await.expect(200).text().contains("<artifactId>a-maven-plugin</artifactId>"));
});
