//! Ivy publishes, which stands for sbt, too: it looks before it uploads, and finds its credentials by the realm.

use tokio::process::Command;

use super::{Desk, Wire, desk::clients, jar, pom};
use crate::{Server, on_backends, process::Said};

/// With a library for HTTP on its class path, Ivy asks without credentials every time; without, it remembers them.
const CLASSPATH: &str = "/usr/share/java/ivy.jar:/usr/share/java/httpclient.jar:/usr/share/java/httpcore.jar:\
     /usr/share/java/commons-logging.jar:/usr/share/java/commons-codec.jar";

const BARE: &str = "/usr/share/java/ivy.jar";

async fn publish(desk: &Desk, server: &Server, [token, realm]: [&str; 2], version: &str, classpath: &str) -> Said {
    clients();
    let host = server.host().split(':').next().expect("a host");
    let settings = format!(
        "<ivysettings><settings defaultResolver=\"pub\"/>\
         <credentials host=\"{host}\" realm=\"{realm}\" username=\"any\" passwd=\"{token}\"/>\
         <resolvers><ibiblio name=\"pub\" m2compatible=\"true\" checksums=\"sha1,md5\" root=\"{}\"/></resolvers></ivysettings>",
        desk.url()
    );
    desk.write("ivysettings.xml", settings);
    let ivy = format!(
        "<ivy-module version=\"2.0\"><info organisation=\"com.acme\" module=\"widget\" revision=\"{version}\"/>\
         <publications><artifact name=\"widget\" type=\"jar\" ext=\"jar\"/><artifact name=\"widget\" type=\"pom\" ext=\"pom\"/>\
         </publications></ivy-module>"
    );
    desk.write("ivy.xml", ivy);
    desk.write(&format!("out/widget-{version}.jar"), jar(version));
    desk.write(&format!("out/widget-{version}.pom"), pom("com.acme", "widget", version, ""));
    // As who publishes to a Maven repository does: Ivy's own descriptor stays at home.
    let build = format!(
        "<project default=\"publish\" xmlns:ivy=\"antlib:org.apache.ivy.ant\"><target name=\"publish\">\
         <ivy:settings file=\"ivysettings.xml\"/><ivy:resolve file=\"ivy.xml\"/>\
         <ivy:publish resolver=\"pub\" pubrevision=\"{version}\" publishivy=\"false\" forcedeliver=\"true\" \
         artifactspattern=\"out/[artifact]-[revision].[ext]\"/></target></project>"
    );
    desk.write("build.xml", build);
    let mut command = Command::new("ant");
    command.args(["-noinput", "-lib", classpath, "-f", "build.xml"]);
    desk.run(command, desk.home(), &format!("ivy -publish {version}")).await
}

on_backends!(ivy_publishes_with_the_realm_it_knows, async |server: Server| {
    let ada = server.new_user("ada").await;
    let desk = Desk::new(&server, "ivy");
    let known = [ada.token.as_str(), "Publaryn"];
    publish(&desk, &server, known, "1.0", CLASSPATH).await.succeeds();
    publish(&desk, &server, known, "1.1", BARE).await.succeeds();
    let wire = Wire::anonymous(&server);
    assert_eq!(wire.get("com/acme/widget/1.0/widget-1.0.jar").await.expect(200).body, jar("1.0"));
    for ending in ["jar.sha1", "jar.md5", "pom", "pom.sha1"] {
        wire.get(&format!("com/acme/widget/1.0/widget-1.0.{ending}")).await.expect(200);
    }
    assert!(wire.get("com/acme/widget/maven-metadata.xml").await.expect(200).text().contains("<version>1.1</version>"));
    publish(&desk, &server, known, "1.0", BARE).await.fails_with("destination file exists");
    let other = publish(&desk, &server, [&ada.token, "Something Else"], "2.0", BARE).await;
    assert!(!other.ok, "{other:?}");
    wire.get("com/acme/widget/2.0/widget-2.0.jar").await.expect(404);
});

on_backends!(a_checksum_that_was_not_sent_is_not_there_for_who_uploads, async |server: Server| {
    let (ada, eve) = (server.new_user("ada").await, server.new_user("eve").await);
    let (wire, path) = (Wire::new(&server, &ada.token), "com/acme/widget/1.0/widget-1.0.jar");
    wire.put(path, jar("x")).await.expect(201);
    let sha1 = wire.get(&format!("{path}.sha1")).await.expect(200).text();
    wire.head(&format!("{path}.sha1")).await.expect(404);
    Wire::anonymous(&server).head(&format!("{path}.sha1")).await.expect(404);
    Wire::anonymous(&server).get(&format!("{path}.sha1")).await.expect(200);
    // A reader is no uploader.
    Wire::new(&server, &eve.token).head(&format!("{path}.sha1")).await.expect(200);
    wire.put(&format!("{path}.sha1"), sha1).await.expect(201);
    wire.head(&format!("{path}.sha1")).await.expect(200);
    Wire::anonymous(&server).head(&format!("{path}.sha1")).await.expect(200);
    wire.head(&format!("{path}.md5")).await.expect(404);
    wire.head(path).await.expect(200);
});
