//! A machine with Maven on it, and requests without one.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use publaryn_scan::corpus::ZipBuilder;
use sha1::{Digest, Sha1};
use tokio::process::Command;

use crate::{
    Server,
    process::{self, Said},
};

/// No client needs longer, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);
/// Where Debian's plugins are.
const DEBIAN: &str = "file:///usr/share/maven-repo";
const DEPLOY: &str = "org.apache.maven.plugins:maven-deploy-plugin:3.0.0";
const DEPENDENCY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.5.0";

/// What the tests fetched for themselves; installs the clients if need be.
pub fn clients() -> &'static Path {
    static CLIENTS: OnceLock<PathBuf> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/services/maven-clients.sh");
        let out =
            std::process::Command::new(script).stderr(Stdio::inherit()).output().expect("the install script runs");
        assert!(out.status.success(), "the Maven clients cannot be installed");
        PathBuf::from(String::from_utf8(out.stdout).expect("a path").trim())
    })
}

/// A jar with one file in it.
pub fn jar(content: &str) -> Vec<u8> {
    ZipBuilder::new()
        .file("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n")
        .file("content.txt", content.as_bytes())
        .finish()
}

/// A POM, with further elements.
pub fn pom(group: &str, artifact: &str, version: &str, more: &str) -> String {
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>{more}</project>"
    )
}

/// A person's machine; see the module.
pub struct Desk {
    home: PathBuf,
    host: String,
    /// Another mvn than Debian's.
    newer: Option<&'static str>,
}

impl Desk {
    /// A machine that knows no credential for the server.
    pub fn new(server: &Server, name: &str) -> Self {
        let home = server.scratch(&format!("maven-{name}"));
        let desk = Self { home, host: server.host().to_owned(), newer: None };
        desk.settings("", "");
        desk
    }

    /// One whose settings hold a token for the repository `pub`.
    pub fn with_token(server: &Server, name: &str, token: &str) -> Self {
        let desk = Self::new(server, name);
        desk.know(token, "");
        desk
    }

    /// Puts a token into the settings, with what else belongs to the server entry.
    pub fn know(&self, token: &str, configuration: &str) {
        let server = format!(
            "<server><id>pub</id><username>any</username><password>{token}</password>\
             <configuration>{configuration}</configuration></server>"
        );
        self.settings(&server, "");
    }

    /// Writes the settings: servers, and what else there is to say.
    pub fn settings(&self, servers: &str, more: &str) {
        let settings = format!(
            "<settings><mirrors><mirror><id>debian</id><mirrorOf>central</mirrorOf><url>{DEBIAN}</url></mirror></mirrors>\
             <servers>{servers}</servers>{more}</settings>"
        );
        self.write("settings.xml", settings);
    }

    pub fn home(&self) -> &Path {
        &self.home
    }
    pub fn url(&self) -> String {
        format!("http://{}/maven", self.host)
    }
    /// The view that asks everybody who they are.
    pub fn challenge_url(&self) -> String {
        format!("http://{}/maven/~auth", self.host)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the scratch directory is writable");
        std::fs::write(&path, content).expect("the scratch directory is writable");
        path
    }

    /// The same machine with a newer mvn on it than Debian has.
    pub fn with_mvn(self, version: &'static str) -> Self {
        Self { newer: Some(version), ..self }
    }

    /// Runs mvn in a folder of the home.
    pub async fn mvn(&self, folder: &str, args: &[&str]) -> Said {
        let mut command = match self.newer {
            None => Command::new("mvn"),
            Some(version) => Command::new(clients().join(format!("apache-maven-{version}/bin/mvn"))),
        };
        clients();
        command.args(["-B", "-ntp", "-s"]).arg(self.home.join("settings.xml"));
        if self.newer.is_some() {
            // Debian's own repository of plugins has no checksums, which Maven 4 insists on.
            command.arg("-c");
        }
        command.arg(format!("-Dmaven.repo.local={}", self.home.join("m2").display())).args(args);
        self.run(command, &self.home.join(folder), &format!("mvn {}", args.join(" "))).await
    }

    /// Runs any program in a folder.
    pub async fn run(&self, mut command: Command, dir: &Path, shown: &str) -> Said {
        std::fs::create_dir_all(dir).expect("the scratch directory is writable");
        command
            .current_dir(dir)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("GRADLE_USER_HOME", self.home.join("gradle"))
            .env("MAVEN_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m")
            .env("JAVA_OPTS", "-Xmx256m")
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb");
        process::run(command, shown, "", LONGEST).await.said(shown)
    }

    /// `mvn deploy:deploy-file` of a jar to the repository `id`.
    pub async fn deploy_file(&self, gav: [&str; 3], content: &[u8], id: &str) -> Said {
        let [group, artifact, version] = gav;
        let file = self.write(&format!("{artifact}-{version}.jar"), content);
        let args = [
            format!("{DEPLOY}:deploy-file"),
            format!("-DgroupId={group}"),
            format!("-DartifactId={artifact}"),
            format!("-Dversion={version}"),
            "-Dpackaging=jar".to_owned(),
            format!("-Dfile={}", file.display()),
            format!("-DrepositoryId={id}"),
            format!("-Durl={}", self.url()),
        ];
        self.mvn("", &args.each_ref().map(String::as_str)).await
    }

    /// Fetches an artifact into this machine's repository, from the repository `pub` at `url`.
    pub async fn fetch(&self, url: &str, gav: &str) -> Said {
        // What was not found is remembered.
        let _ = std::fs::remove_dir_all(self.home.join("m2/com"));
        let args = [
            format!("{DEPENDENCY}:get"),
            format!("-DremoteRepositories=pub::default::{url}"),
            format!("-Dartifact={gav}"),
            "-Dtransitive=false".to_owned(),
        ];
        self.mvn("", &args.each_ref().map(String::as_str)).await
    }

    /// The content of a file that was fetched.
    pub fn fetched(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.home.join("m2").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A project that deploys itself to the repository `pub`, with Debian's plugins; further elements of its POM.
    pub fn project(&self, folder: &str, gav: [&str; 3], more: &str) {
        let [group, artifact, version] = gav;
        let plugins: String = [
            ("resources", "3.3.0"),
            ("compiler", "3.10.1"),
            ("surefire", "2.22.3"),
            ("jar", "3.3.0"),
            ("source", "3.2.1"),
            ("install", "3.1.0"),
            ("deploy", "3.0.0"),
            ("dependency", "3.5.0"),
            ("plugin", "3.7.1"),
        ]
        .map(|(name, version)| {
            format!("<plugin><artifactId>maven-{name}-plugin</artifactId><version>{version}</version></plugin>")
        })
        .concat();
        let build = format!(
            "<properties><maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target>\
             <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>\
             <distributionManagement><repository><id>pub</id><url>{}</url></repository></distributionManagement>\
             <repositories><repository><id>pub</id><url>{}</url><releases><checksumPolicy>fail</checksumPolicy></releases>\
             </repository></repositories>\
             <build><pluginManagement><plugins>{plugins}</plugins></pluginManagement>{{BUILD}}</build>",
            self.url(),
            self.url()
        );
        let (build_more, more) = more.split_once("<!--build-->").unwrap_or(("", more));
        let text = pom(group, artifact, version, &format!("{more}{}", build.replace("{BUILD}", build_more)));
        self.write(&format!("{folder}/pom.xml"), text);
    }
}

/// Requests to a server's repository, as somebody.
pub struct Wire<'a> {
    server: &'a Server,
    token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
    /// The problem document says so.
    #[track_caller]
    pub fn says(self, detail: &str) -> Self {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem document");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(detail)), "no `{detail}` in {problem}");
        assert_eq!(problem["status"], self.status);
        self
    }
}

impl<'a> Wire<'a> {
    pub fn anonymous(server: &'a Server) -> Self {
        Self { server, token: None }
    }
    pub fn new(server: &'a Server, token: &str) -> Self {
        Self { server, token: Some(token.to_owned()) }
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Answer {
        let method = method.parse().expect("a method");
        let url = format!("{}/maven/{path}", self.server.base_url());
        let mut request = self.server.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.basic_auth("any", Some(token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.expect("a body").to_vec() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }
    pub async fn head(&self, path: &str) -> Answer {
        self.send("HEAD", path, &[], None).await
    }
    pub async fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send("PUT", path, &[], Some(body.into())).await
    }

    /// What mvn sends of a version: POM and jar with checksums, then the metadata.
    pub async fn deploy(&self, gav: [&str; 3], content: &str) -> Answer {
        let [group, artifact, version] = gav;
        let dir = format!("{}/{artifact}", group.replace('.', "/"));
        let (pom, jar) = (pom(group, artifact, version, "").into_bytes(), jar(content));
        for (extension, bytes) in [("pom", pom), ("jar", jar)] {
            let path = format!("{dir}/{version}/{artifact}-{version}.{extension}");
            let sha1 = hex(&Sha1::digest(&bytes));
            let answer = self.put(&path, bytes).await;
            if answer.status >= 300 {
                return answer;
            }
            self.put(&format!("{path}.sha1"), sha1).await.expect(201);
        }
        self.put(&format!("{dir}/maven-metadata.xml"), metadata(group, artifact, version)).await
    }
}

/// The metadata that a client uploads at the end.
pub fn metadata(group: &str, artifact: &str, version: &str) -> String {
    format!(
        "<metadata><groupId>{group}</groupId><artifactId>{artifact}</artifactId><versioning><release>{version}</release>\
         <versions><version>{version}</version></versions></versioning></metadata>"
    )
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
