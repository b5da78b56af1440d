//! Clients that Debian 12 does not have, or not as new: mvn 3.9 and 4, Leiningen, sbt.

use tokio::process::Command;

use super::{Desk, Wire, desk::clients, jar};
use crate::{Server, on_backends, process::Said};

on_backends!(newer_mvns_deploy_and_resolve, async |server: Server| {
    let (ada, eve) = (server.new_user("ada").await, server.new_user("eve").await);
    for version in ["3.9.11", "4.0.0-rc-4"] {
        let at_desk = |name: &str| Desk::new(&server, &format!("{name}-{version}")).with_mvn(version);
        let author = at_desk("author");
        author.know(&ada.token, "");
        // A package that is new: its metadata is not there when it is asked for.
        let widget = format!("widget-of-{}", &version[..1]);
        let deploy = async |desk: &Desk, version: &str| {
            desk.deploy_file(["com.acme", &widget, version], &jar(version), "pub").await
        };
        deploy(&author, "1.0").await.succeeds();
        deploy(&author, "1.1").await.succeeds();
        // Maven 4 says of a refused upload only which status it had.
        let refused = |said: Said, status: &str, text: &str| {
            let said = said.fails_with(status);
            if version.starts_with('3') {
                said.says(text)
            } else {
                said.says(&format!("HTTP Status: {status}"))
            };
        };
        refused(deploy(&author, "1.1").await, "409", &format!("com.acme:{widget}:1.1 is already published"));
        let snapshot = deploy(&author, "9-SNAPSHOT").await;
        refused(snapshot, "400", "SNAPSHOT versions are not accepted by this registry");
        refused(deploy(&at_desk("nobody"), "9").await, "401", "API token missing, unknown or expired");
        let stranger = at_desk("stranger");
        stranger.know(&eve.token, "");
        refused(deploy(&stranger, "9").await, "403", "not allowed to publish to group com.acme");

        let gav = format!("com.acme:{widget}:1.0");
        let user = at_desk("user");
        user.fetch(&user.url(), &gav).await.succeeds();
        assert_eq!(user.fetched(&format!("com/acme/{widget}/1.0/{widget}-1.0.jar")), jar("1.0"));
        user.fetch(&user.url(), &format!("com.acme:{widget}:0")).await.fails_with("Could not find artifact");
        // The view that asks: with an answer and without one.
        user.fetch(&user.challenge_url(), &gav).await.fails_with("401");
        author.fetch(&author.challenge_url(), &gav).await.succeeds();
        let path = format!("com/acme/{widget}/maven-metadata.xml");
        let listed = Wire::anonymous(&server).get(&path).await.expect(200).text();
        assert!(listed.contains("<version>1.0</version>") && listed.contains("<release>1.1</release>"), "{listed}");
    }
});

async fn lein(desk: &Desk, server: &Server, token: &str, version: &str) -> Said {
    clients();
    // A plain address needs a transport that Leiningen does not load by itself.
    desk.write(
        "lein/project.clj",
        format!(
            "(defproject com.acme/lein-widget \"{version}\" :description \"a widget\"\n  :repositories [[\"pub\" {{:url \
             \"http://{}/maven\" :username \"any\" :password \"{token}\" :sign-releases false}}]])\n\
             (require 'cemerick.pomegranate.aether)\n\
             (cemerick.pomegranate.aether/register-wagon-factory! \"http\" \
             #(org.apache.maven.wagon.providers.http.HttpWagon.))\n",
            server.host()
        ),
    );
    desk.write("lein/src/widget.clj", "(ns widget)\n");
    let mut command = Command::new("lein");
    command.args(["-o", "deploy", "pub"]);
    desk.run(command, &desk.home().join("lein"), &format!("lein deploy {version}")).await
}

on_backends!(leiningen_deploys, async |server: Server| {
    let (ada, eve) = (server.new_user("ada").await, server.new_user("eve").await);
    let desk = Desk::new(&server, "lein");
    lein(&desk, &server, &ada.token, "1.0").await.succeeds();
    lein(&desk, &server, &ada.token, "1.0").await.fails_with("com.acme:lein-widget:1.0 is already published");
    lein(&desk, &server, &ada.token, "1.1").await.succeeds();
    lein(&desk, &server, &eve.token, "1.2").await.fails_with("not allowed to publish to group com.acme");
    lein(&desk, &server, "pub_nonsense", "1.2").await.fails_with("API token missing, unknown or expired");
    let wire = Wire::anonymous(&server);
    let listed = wire.get("com/acme/lein-widget/maven-metadata.xml").await.expect(200).text();
    assert!(listed.contains("<release>1.1</release>") && listed.contains("<version>1.0</version>"), "{listed}");
    let user = Desk::new(&server, "user");
    user.fetch(&user.url(), "com.acme:lein-widget:1.1").await.succeeds();
});

async fn sbt(desk: &Desk, folder: &str, settings: &str, task: &str) -> Said {
    let root = clients().join("sbt");
    desk.write(&format!("{folder}/project/build.properties"), "sbt.version=1.10.7\n");
    let all = format!("organization := \"com.acme\"\nautoScalaLibrary := false\ncrossPaths := false\n{settings}");
    desk.write(&format!("{folder}/build.sbt"), all);
    let home = desk.home().display();
    let mut command = Command::new("java");
    command
        .args(["-Xmx600m", "-XX:TieredStopAtLevel=1", "-Dsbt.color=false", "-Dsbt.supershell=false"])
        .args(["-Dsbt.server.autostart=false", "-Dsbt.override.build.repos=true"])
        .arg(format!("-Dsbt.boot.directory={}", root.join("boot").display()))
        .arg(format!("-Dsbt.repository.config={}", root.join("repositories").display()))
        .arg(format!("-Dsbt.coursier.home={home}/coursier"))
        .arg(format!("-Dsbt.global.base={home}/sbt-global"))
        .arg(format!("-Dsbt.ivy.home={home}/sbt-ivy"))
        .arg(format!("-Dcoursier.cache={}", root.join("cache").display()))
        .arg("-jar")
        .arg(root.join("launch.jar"))
        .arg(task);
    desk.run(command, &desk.home().join(folder), &format!("sbt {task}")).await
}

on_backends!(sbt_publishes_and_resolves, async |server: Server| {
    let ada = server.new_user("ada").await;
    let desk = Desk::new(&server, "sbt");
    let host = server.host().split(':').next().expect("a host");
    // Coursier keeps what it fetched, by address; each test server has one of its own.
    let repository = format!("(\"pub\" at \"{}\").withAllowInsecureProtocol(true)", desk.url());
    let author = |version: &str, realm: &str| {
        format!(
            "name := \"sbt-widget\"\nversion := \"{version}\"\npublishTo := Some({repository})\n\
             credentials += Credentials(\"{realm}\", \"{host}\", \"any\", \"{}\")\n",
            ada.token
        )
    };
    sbt(&desk, "author", &author("1.0", "Publaryn"), "publish").await.succeeds();
    sbt(&desk, "author", &author("1.0", "Publaryn"), "publish").await.fails_with("withOverwrite(true)");
    sbt(&desk, "author", &author("1.1", "Elsewhere"), "publish").await.fails_with("401");
    let wire = Wire::anonymous(&server);
    for file in ["sbt-widget-1.0.jar", "sbt-widget-1.0.pom", "sbt-widget-1.0-sources.jar", "sbt-widget-1.0.jar.sha1"] {
        wire.get(&format!("com/acme/sbt-widget/1.0/{file}")).await.expect(200);
    }
    wire.get("com/acme/sbt-widget/1.1/sbt-widget-1.1.pom").await.expect(404);
    // What sbt itself needs is in the cache already.
    let user = format!(
        "name := \"app\"\noverrideBuildResolvers := false\n\
         externalResolvers := Seq({repository}, Resolver.DefaultMavenRepository)\n\
         libraryDependencies += \"com.acme\" % \"sbt-widget\" % \"1.0\"\n"
    );
    let shown = sbt(&desk, "user", &user, "show Compile / dependencyClasspath").await.succeeds();
    shown.says("sbt-widget-1.0.jar");
});
