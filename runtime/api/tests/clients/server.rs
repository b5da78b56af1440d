//! A `publaryn` process of a test's own.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use publaryn_core::{
    ReleaseState, Timestamp,
    finding::{Category, Finding, FindingKind, Severity},
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// What a server stands on.
#[derive(Debug, Clone)]
pub enum Backend {
    /// SQLite, local disk, embedded index: the defaults.
    Embedded,
    /// PostgreSQL, Redis and S3, all of this test's own.
    External { database: String, redis: String, s3: S3 },
}

#[derive(Debug, Clone)]
pub struct S3 {
    pub endpoint: String,
    pub access_key: String,
    pub secret_key: String,
}

impl Backend {
    /// The services that `benches/services/with-services.sh` started, with a fresh database.
    pub async fn external() -> Option<Self> {
        let admin = std::env::var("PUBLARYN_TEST_POSTGRES").ok()?;
        let redis = std::env::var("PUBLARYN_TEST_REDIS").ok()?;
        let s3 = std::env::var("PUBLARYN_TEST_S3").ok()?;
        let mut parts = s3.splitn(3, ',').map(str::to_owned);
        let s3 = S3 { endpoint: parts.next()?, access_key: parts.next()?, secret_key: parts.next()? };
        let database = publaryn_metadata::testing::postgres(&admin).await.url;
        Some(Self::External { database, redis, s3 })
    }
}

/// A running server; stopped when dropped.
pub struct Server {
    child: Option<Child>,
    /// Address file, log and scratch directories; the data directory, unless it lies elsewhere.
    data: tempfile::TempDir,
    data_dir: PathBuf,
    settings: Vec<(String, String)>,
    address: String,
    pub http: reqwest::Client,
}

/// An account with an API token.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub email: String,
    pub password: String,
    pub token: String,
}

/// Long enough for a debug build on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(60);

/// The program under test, built next to the test itself.
pub fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("PUBLARYN_BIN") {
        return named.into();
    }
    let test = std::env::current_exe().expect("a running test has a path");
    let program = test.ancestors().nth(2).expect("target/debug/deps/test").join("publaryn");
    assert!(program.exists(), "{} is missing: run `cargo build -p publaryn` first", program.display());
    program
}

/// Bytes that keep an archive from being scanned before its commit (512 KiB): they do not compress.
pub fn bulk() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..600_000).map(|_| next()).collect()
}

impl Server {
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, &[]).await
    }

    /// Starts with further settings: `("publish.wait_seconds", "0")`.
    pub async fn start_with(backend: Backend, settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a scratch directory");
        let data_dir = data.path().join("data");
        Self::start_in(backend, settings, data, data_dir).await
    }

    /// Starts with the data directory on a disk of the test's choice.
    pub async fn start_on(backend: Backend, settings: &[(&str, &str)], data_dir: PathBuf) -> Self {
        Self::start_in(backend, settings, tempfile::tempdir().expect("a scratch directory"), data_dir).await
    }

    /// Another process on the same services as this one.
    pub async fn replica(&self, backend: Backend) -> Self {
        let prefix = self.setting("storage.s3.prefix").expect("only external services can be shared");
        Self::start_with(backend, &[("storage.s3.prefix", prefix)]).await
    }

    async fn start_in(backend: Backend, settings: &[(&str, &str)], data: tempfile::TempDir, data_dir: PathBuf) -> Self {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut set = |key: &str, value: &str| all.push((key.to_owned(), value.to_owned()));
        set("rate_limit.enabled", "false");
        set("auth.argon2_memory_kib", "1024");
        set("auth.argon2_iterations", "1");
        set("packages.personal_repository_visibility", "public");
        if let Backend::External { database, redis, s3 } = &backend {
            set("database.url", database);
            set("redis.url", redis);
            set("storage.backend", "s3");
            set("storage.s3.endpoint", &s3.endpoint);
            set("storage.s3.access_key", &s3.access_key);
            set("storage.s3.secret_key", &s3.secret_key);
            set("storage.s3.bucket", "publaryn-test");
            set("storage.s3.prefix", &uuid::Uuid::now_v7().simple().to_string());
        }
        for (key, value) in settings {
            set(key, value);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client without TLS");
        let mut server = Self { child: None, data, data_dir, settings: all, address: String::new(), http };
        server.launch().await;
        server
    }

    async fn launch(&mut self) {
        let addr_file = self.data.path().join("address");
        // Gone after the first start; absent before it.
        let _ = std::fs::remove_file(&addr_file);
        let listen = if self.address.is_empty() { "127.0.0.1:0" } else { &self.address };
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.data.path().join("log"))
            .expect("the scratch directory is writable");
        let mut command = Command::new(program());
        self.configure(&mut command);
        command
            .args(["serve", "--listen", listen, "--log-format", "json"])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("--addr-file")
            .arg(&addr_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let deadline = tokio::time::Instant::now() + START_WITHIN;
        loop {
            if let Ok(address) = std::fs::read_to_string(&addr_file)
                && !address.trim().is_empty()
            {
                self.address = address.trim().to_owned();
                break;
            }
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                panic!("the server ended at start with {status}:\n{}", self.log());
            }
            assert!(tokio::time::Instant::now() < deadline, "the server did not start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.child = Some(child);
    }

    /// Runs a command of the program beside the server, on the same data; what it printed, as JSON.
    pub async fn run(&self, args: &[&str]) -> Value {
        let mut command = Command::new(program());
        self.configure(&mut command);
        let output = command.args(args).arg("--data-dir").arg(self.data_dir()).output().await;
        let output = output.expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code < 2), "{args:?}: {} {said}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"))
    }

    /// Starts a command of the program beside the server, and kills it after a while unless it has ended.
    pub async fn run_briefly(&self, args: &[&str], limit: Duration) {
        let mut command = Command::new(program());
        self.configure(&mut command);
        command.args(args).arg("--data-dir").arg(self.data_dir()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().expect("the program starts");
        if tokio::time::timeout(limit, child.wait()).await.is_err() {
            child.kill().await.expect("the child can be killed");
        }
    }

    fn configure(&self, command: &mut Command) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (key, value) in &self.settings {
            command.env(format!("PUBLARYN__{}", key.replace('.', "__").to_uppercase()), value);
        }
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
    /// `127.0.0.1:PORT`
    pub fn host(&self) -> &str {
        &self.address
    }
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }
    /// The last value this server was started with.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
    /// A directory for the test's own files, removed with the server.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let dir = self.data.path().join("scratch").join(name);
        std::fs::create_dir_all(&dir).expect("the scratch directory is writable");
        dir
    }
    /// What the server has logged so far.
    pub fn log(&self) -> String {
        read(&self.data.path().join("log"))
    }

    /// Requests that were logged after the first `skip` lines: method, path and status.
    pub fn requests(&self, skip: usize) -> Vec<(String, String, u64)> {
        let log = self.log();
        let lines = log.lines().skip(skip).filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter_map(|line| {
                let text = |key: &str| line[key].as_str().map(str::to_owned);
                Some((text("method")?, text("path")?, line["status"].as_u64()?))
            })
            .collect()
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("the child can be killed");
        }
    }
    /// Waits until the process has ended by itself, without anybody asking it to.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("the server was started");
        match tokio::time::timeout(within, child.wait()).await {
            Ok(status) => status.expect("the child can be waited for"),
            Err(_) => panic!("the server was still there after {within:?}:\n{}", self.log()),
        }
    }
    /// Starts again on the same port and data.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.launch().await;
    }
    /// Starts again with these settings changed or added.
    pub async fn restart_with(&mut self, settings: &[(&str, &str)]) {
        for (key, value) in settings {
            self.settings.retain(|(known, _)| known != key);
            self.settings.push(((*key).to_owned(), (*value).to_owned()));
        }
        self.restart().await;
    }
    /// Whether everything lies in the data directory.
    pub fn is_embedded(&self) -> bool {
        self.settings.iter().all(|(key, _)| key != "database.url")
    }
    pub fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("the server runs")
    }

    /// The server's database, for what only somebody with a database shell can do.
    pub async fn database(&self) -> publaryn_metadata::Db {
        let configured = self.settings.iter().find(|(key, _)| key == "database.url").map(|(_, url)| url.clone());
        let url = configured.unwrap_or_else(|| format!("sqlite://{}", self.data_dir().join("publaryn.db").display()));
        let options = publaryn_metadata::DbOptions::default();
        publaryn_metadata::Db::connect(&url, &options).await.expect("the server's database opens")
    }

    /// Stops the scanner processes where they are, so that releases stay unjudged until the answer is dropped.
    /// Only archives with [`bulk`] in them wait for that: smaller ones get a fresh process.
    pub fn pause_scanners(&self) -> Paused {
        let children = format!("/proc/{0}/task", self.pid());
        let mut pids = Vec::new();
        for task in std::fs::read_dir(children).expect("the server runs").flatten() {
            let children = read(&task.path().join("children"));
            pids.extend(children.split_whitespace().map(str::to_owned));
        }
        pids.retain(|pid| read(Path::new(&format!("/proc/{pid}/cmdline"))).contains("scan-worker"));
        assert!(!pids.is_empty(), "the server has no scanner processes");
        assert!(signal("-STOP", &pids), "no such processes: {pids:?}");
        Paused { pids }
    }

    /// Registers an account and gives it a token for everything a user may do with packages.
    pub async fn new_user(&self, name: &str) -> User {
        self.new_user_with(name, &["packages:write", "repositories:write", "tokens:write", "profile:write"]).await
    }

    pub async fn new_user_with(&self, name: &str, scopes: &[&str]) -> User {
        let (email, password) = (format!("{name}@example.test"), format!("correct horse {name}"));
        let account = json!({ "username": name, "email": email, "password": password });
        self.post("/v1/auth/register", None, &account).await;
        let token = self.token(name, &password, scopes).await;
        User { name: name.to_owned(), email, password, token }
    }

    /// Another token of an account.
    pub async fn token(&self, name: &str, password: &str, scopes: &[&str]) -> String {
        let login = json!({ "username_or_email": name, "password": password });
        let session = self.post("/v1/auth/login", None, &login).await;
        let wanted = json!({ "name": "test", "scopes": scopes });
        let made = self.post("/v1/tokens", session["token"].as_str(), &wanted).await;
        made["token"].as_str().expect("a new token is shown once").to_owned()
    }

    /// An organization with these viewers and a private repository, which holds these packages.
    pub async fn private_packages_of(
        &self,
        slug: &str,
        owner: &User,
        viewers: &[&User],
        ecosystem: &str,
        names: &[&str],
    ) {
        let login = json!({ "username_or_email": owner.name, "password": owner.password });
        let session = self.post("/v1/auth/login", None, &login).await;
        let session = session["token"].as_str();
        let org = self.post("/v1/orgs", session, &json!({ "name": slug, "slug": slug })).await;
        for viewer in viewers {
            let member = json!({ "username": viewer.name, "role": "viewer" });
            self.post(&format!("/v1/orgs/{slug}/members"), session, &member).await;
        }
        let vault = format!("{slug}-vault");
        let repository = json!({ "name": vault, "slug": vault, "kind": "private", "owner_org_id": org["id"] });
        self.post("/v1/repositories", session, &repository).await;
        for name in names {
            let package = json!({ "ecosystem": ecosystem, "name": name, "repository_slug": vault });
            self.post("/v1/packages", session, &package).await;
        }
    }

    /// POSTs JSON to the control plane and expects success.
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Value {
        let mut request = self.http.post(format!("{}{path}", self.base_url())).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.expect("the server answers");
        let (status, text) = (response.status(), response.text().await.expect("a body"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// GETs a path; status and body text.
    pub async fn get(&self, path: &str, token: Option<&str>) -> (u16, String) {
        let mut request = self.http.get(format!("{}{path}", self.base_url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.expect("the server answers");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }
}

/// What has no route yet, done to the database as another process would do it.
impl Server {
    /// Waits until a page looks as it should: an embedded server notices other writers within a second.
    pub async fn until(&self, is_right: impl Fn(&str) -> bool, path: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let (_, page) = self.get(path, None).await;
            if is_right(&page) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} stays: {page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Changes who may see a package, and waits until anonymous callers notice.
    pub async fn set_visibility(&self, ecosystem: &str, name: &str, visibility: &str) {
        let update = format!(
            "UPDATE packages SET visibility = '{visibility}', revision = revision + 1 \
             WHERE ecosystem = '{ecosystem}' AND normalized_name = '{name}'"
        );
        self.database().await.execute_raw(&update).await.expect("the package is there");
        self.noticed().await;
    }

    /// Waits until the server must have noticed that another process wrote. With services of its own it asks for
    /// single packages each time, and for lists within a second.
    async fn noticed(&self) {
        tokio::time::sleep(Duration::from_millis(if self.is_embedded() { 2500 } else { 1500 })).await;
    }

    /// Records a vulnerability of a live release, as a rescan with newer knowledge would.
    pub async fn find(&self, ecosystem: &str, name: &str, version_key: &str, title: &str) {
        let finding = Finding {
            rule_id: "CVE-2026-0001".into(),
            kind: FindingKind::Vulnerability,
            category: Category::Vulnerability,
            severity: Severity::High,
            title: title.into(),
            description: None,
            location: String::new(),
        };
        let db = self.database().await;
        let mut tx = db.begin().await.expect("a transaction");
        let ecosystem = ecosystem.parse().expect("an ecosystem");
        let head = tx.lock_package(ecosystem, name).await.expect("an answer").expect("the package");
        let release = tx.lock_release_by_version(head.id, version_key).await.expect("an answer").expect("the release");
        tx.upsert_finding(release.id, None, &finding, Timestamp::now()).await.expect("done");
        tx.commit().await.expect("committed");
        self.noticed().await;
    }

    /// Yanks a release with a reason, or brings it back.
    pub async fn yank(&self, ecosystem: &str, name: &str, version_key: &str, reason: Option<&str>) {
        let db = self.database().await;
        let now = Timestamp::now();
        let mut tx = db.begin().await.expect("a transaction");
        let ecosystem = ecosystem.parse().expect("an ecosystem");
        let head = tx.lock_package(ecosystem, name).await.expect("an answer").expect("the package");
        let release = tx.lock_release_by_version(head.id, version_key).await.expect("an answer").expect("the release");
        tx.set_yanked(release.id, reason.is_some(), reason).await.expect("done");
        let state = if reason.is_some() { ReleaseState::Yanked } else { ReleaseState::Published };
        tx.set_release_state(release.id, state, now).await.expect("done");
        tx.bump_revision(&head, now).await.expect("done");
        tx.commit().await.expect("committed");
    }

    /// The id of the one artifact of that name.
    pub async fn artifact_id(&self, filename: &str) -> String {
        let ids = self.database().await.artifact_ids(filename).await.expect("an answer");
        let [id] = ids.as_slice() else { panic!("{filename}: {ids:?}") };
        id.to_string()
    }

    /// Ends the life of a token.
    pub async fn revoke(&self, token: &str) {
        let response = self
            .http
            .delete(format!("{}/v1/tokens/current", self.base_url()))
            .bearer_auth(token)
            .send()
            .await
            .expect("the server answers");
        assert!(response.status().is_success(), "{}", response.status());
    }

    /// A token that is good for one publication.
    pub async fn publish_token(&self, user: &User) -> String {
        let login = json!({ "username_or_email": user.name, "password": user.password });
        let session = self.post("/v1/auth/login", None, &login).await;
        let wanted = json!({ "name": "once", "kind": "publish", "scopes": ["packages:publish"] });
        let made = self.post("/v1/tokens", session["token"].as_str(), &wanted).await;
        made["token"].as_str().expect("a new token is shown once").to_owned()
    }
}

/// Scanner processes that stand still; they go on when this is dropped.
pub struct Paused {
    pids: Vec<String>,
}

impl Drop for Paused {
    fn drop(&mut self) {
        // The server may have replaced one of them meanwhile.
        signal("-CONT", &self.pids);
    }
}

fn signal(signal: &str, pids: &[String]) -> bool {
    std::process::Command::new("kill").arg(signal).args(pids).status().is_ok_and(|status| status.success())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
    }
}
