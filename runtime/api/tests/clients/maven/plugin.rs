//! Plugins that are called by their prefix.

use publaryn_scan::corpus::ZipBuilder;

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

/// A group's document with these prefixes and artifacts.
fn list(entries: &[(&str, &str)]) -> String {
    let entries: String = entries
        .iter()
        .map(|(prefix, artifact)| {
            format!("<plugin><prefix>{prefix}</prefix><artifactId>{artifact}</artifactId></plugin>")
        })
        .collect();
    format!("<metadata><plugins>{entries}</plugins></metadata>")
}

const GROUP: &str = "com/acme/maven-metadata.xml";

on_backends!(a_descriptor_counts_in_what_is_packaged_as_a_plugin, async |server: Server| {
    let ada = server.new_user("ada").await;
    let (wire, anonymous) = (Wire::new(&server, &ada.token), Wire::anonymous(&server));
    let plugin = |prefix: &str| {
        let descriptor = format!("<plugin><name>Gizmo</name><goalPrefix>{prefix}</goalPrefix></plugin>");
        ZipBuilder::new().file("META-INF/maven/plugin.xml", descriptor.as_bytes()).finish()
    };
    let packaged = |artifact: &str, packaging: &str| {
        pom("com.acme", artifact, "1.0", &format!("<packaging>{packaging}</packaging>")).into_bytes()
    };
    let at = |artifact: &str, ending: &str| format!("com/acme/{artifact}/1.0/{artifact}-1.0{ending}");
    // One that swallowed a plugin is none.
    wire.put(&at("fat", ".pom"), packaged("fat", "jar")).await.expect(201);
    wire.put(&at("fat", ".jar"), plugin("fat")).await.expect(201);
    anonymous.get(GROUP).await.expect(404);
    // The jar first, as `deploy-file` has it, or the POM.
    wire.put(&at("early", ".jar"), plugin("early")).await.expect(201);
    anonymous.get(GROUP).await.expect(404);
    wire.put(&at("early", ".pom"), packaged("early", "maven-plugin")).await.expect(201);
    wire.put(&at("later", ".pom"), packaged("later", "maven-plugin")).await.expect(201);
    wire.put(&at("later", ".jar"), plugin("later")).await.expect(201);
    let text = anonymous.get(GROUP).await.expect(200).text();
    assert!(text.contains("<prefix>early</prefix>") && text.contains("<prefix>later</prefix>"), "{text}");
    assert_eq!(text.matches("<prefix>").count(), 2, "{text}");
    // No list tells of what is unlisted.
    server.set_visibility("maven", "com.acme:early", "unlisted").await;
    let text = anonymous.get(GROUP).await.expect(200).text();
    assert!(!text.contains("<prefix>early</prefix>") && text.contains("<prefix>later</prefix>"), "{text}");
    anonymous.get(&at("early", ".jar")).await.expect(200);
});

on_backends!(a_plugin_has_few_prefixes_and_a_document_names_not_too_many, async |server: Server| {
    let ada = server.new_user("ada").await;
    let (wire, anonymous) = (Wire::new(&server, &ada.token), Wire::anonymous(&server));
    wire.deploy(["com.acme", "a-maven-plugin", "1.0"], "x").await.expect(201);
    let prefixes: Vec<String> = (0..1_001).map(|n| format!("p{n}")).collect();
    let of = |count: usize| -> String {
        list(&prefixes.iter().take(count).map(|prefix| (prefix.as_str(), "a-maven-plugin")).collect::<Vec<_>>())
    };
    wire.put(GROUP, of(1_001)).await.expect(400).says("the metadata names more than 1000 plugins");
    anonymous.get(GROUP).await.expect(404);
    for _ in 0..2 {
        wire.put(GROUP, of(1_000)).await.expect(201);
        wire.put(GROUP, list(&[("another", "a-maven-plugin")])).await.expect(201);
        assert_eq!(anonymous.get(GROUP).await.expect(200).text().matches("<prefix>").count(), 5);
    }
});

on_backends!(prefixes_are_named_by_who_may_publish_the_plugin, async |server: Server| {
    let (ada, eve) = (server.new_user("ada").await, server.new_user("eve").await);
    let (mine, theirs) = (Wire::new(&server, &ada.token), Wire::new(&server, &eve.token));
    mine.deploy(["com.acme", "a-maven-plugin", "1.0"], "x").await.expect(201);
    theirs.deploy(["com.acme", "totally-different-tool", "1.0"], "x").await.expect(201);
    let path = GROUP;
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
