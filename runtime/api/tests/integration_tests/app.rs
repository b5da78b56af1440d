//! A whole server in this process, on SQLite and, where this run has one, on PostgreSQL; called over HTTP.

use publaryn_api::{App, AppOptions};
use publaryn_config::Config;
use publaryn_core::UserId;
use publaryn_metadata::{Db, testing};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::conformance;

pub const PASSWORD: &str = "correct horse battery";

pub struct Server {
    app: Option<App>,
    base: String,
    http: reqwest::Client,
    _dir: tempfile::TempDir,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null where the body is not JSON.
    pub body: Value,
}

/// Somebody with an account and a session.
#[derive(Debug, Clone)]
pub struct Person {
    pub name: String,
    pub id: UserId,
    /// The session's access token.
    pub token: String,
}

/// Runs `body` on a server per database engine of this run.
pub async fn each(body: impl AsyncFn(&Server)) {
    each_with(&[], body).await;
}

/// The same with further settings.
pub async fn each_with(settings: &[(&'static str, &str)], body: impl AsyncFn(&Server)) {
    let mut urls = vec![None];
    if let Ok(admin) = std::env::var(testing::POSTGRES_URL) {
        urls.push(Some(testing::postgres(&admin).await.url));
    }
    for url in urls {
        let server = Server::start(settings, url.as_deref()).await;
        body(&server).await;
        server.stop().await;
    }
}

impl Server {
    pub async fn start(settings: &[(&'static str, &str)], database: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut all = vec![
            ("rate_limit.enabled", "false"),
            ("metrics.enabled", "false"),
            ("auth.argon2_memory_kib", "1024"),
            ("auth.argon2_iterations", "1"),
            ("packages.personal_repository_visibility", "public"),
        ];
        all.extend(database.map(|url| ("database.url", url)));
        all.extend_from_slice(settings);
        let config = Config::embedded_with(dir.path(), &all).unwrap();
        let app = App::start(config, AppOptions::default()).await.unwrap();
        let base = format!("http://{}", app.address());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { app: Some(app), base, http, _dir: dir }
    }

    pub async fn stop(mut self) {
        if let Some(app) = self.app.take() {
            app.shutdown_unless(async {}).await;
        }
    }

    /// Where it listens, for whoever speaks HTTP by hand.
    pub fn address(&self) -> std::net::SocketAddr {
        self.app.as_ref().expect("running until stopped").address()
    }

    pub fn registry(&self) -> &publaryn_registry::Registry {
        self.app.as_ref().expect("running until stopped").registry()
    }

    pub fn db(&self) -> &Db {
        self.registry().db()
    }

    pub fn call(&self, method: &str, path: impl AsRef<str>) -> Call {
        let method = method.parse().unwrap();
        let url = format!("{}{}", self.base, path.as_ref());
        Call { name: format!("{method} {}", path.as_ref()), request: self.http.request(method, url) }
    }
    pub fn get(&self, path: impl AsRef<str>) -> Call {
        self.call("GET", path)
    }
    pub fn post(&self, path: impl AsRef<str>, body: Value) -> Call {
        self.call("POST", path).json(body)
    }
    pub fn put(&self, path: impl AsRef<str>, body: Value) -> Call {
        self.call("PUT", path).json(body)
    }
    pub fn patch(&self, path: impl AsRef<str>, body: Value) -> Call {
        self.call("PATCH", path).json(body)
    }
    pub fn delete(&self, path: impl AsRef<str>) -> Call {
        self.call("DELETE", path)
    }

    /// Somebody new.
    pub async fn person(&self, name: &str) -> Person {
        let body = json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
        let id = self.post("/v1/auth/register", body).expect(201).await.body["id"].clone();
        let token = self.login(name).await;
        Person { name: name.to_owned(), id: serde_json::from_value(id).unwrap(), token }
    }

    pub async fn login(&self, name: &str) -> String {
        let body = json!({"username_or_email": name, "password": PASSWORD});
        text(&self.post("/v1/auth/login", body).expect(200).await.body["token"])
    }

    /// A platform administrator.
    pub async fn admin(&self, name: &str) -> Person {
        let person = self.person(name).await;
        self.db().execute_raw(&format!("UPDATE users SET is_admin = TRUE WHERE username = '{name}'")).await.unwrap();
        Person { token: self.login(name).await, ..person }
    }

    /// Switches somebody's second factor on, as far as decisions go.
    pub async fn give_mfa(&self, person: &Person) {
        let sql = format!("UPDATE users SET totp_enabled_at = 1 WHERE username = '{}'", person.name);
        self.db().execute_raw(&sql).await.unwrap();
    }

    /// An API token of somebody's with these scopes.
    pub async fn api_token(&self, person: &Person, scopes: &[&str]) -> String {
        let body = json!({"name": "test", "scopes": scopes});
        text(&self.post("/v1/tokens", body).bearer(&person.token).expect(201).await.body["token"])
    }

    /// An organization of `owner`'s.
    pub async fn org(&self, owner: &Person, slug: &str) -> Value {
        let body = json!({"name": slug, "slug": slug});
        self.post("/v1/orgs", body).bearer(&owner.token).expect(201).await.body
    }

    pub async fn join(&self, owner: &Person, org: &str, member: &Person, role: &str) {
        let body = json!({"username": member.name, "role": role});
        let answer = self.post(format!("/v1/orgs/{org}/members"), body).bearer(&owner.token).send().await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }

    /// A repository of an organization's.
    pub async fn repository(&self, owner: &Person, org: &Value, slug: &str, kind: &str, visibility: &str) -> Value {
        let body = json!({
            "name": slug, "slug": slug, "kind": kind, "visibility": visibility, "owner_org_id": org["id"],
        });
        self.post("/v1/repositories", body).bearer(&owner.token).expect(201).await.body
    }

    /// A team with members.
    pub async fn team(&self, owner: &Person, org: &str, slug: &str, members: &[&Person]) {
        let body = json!({"name": slug, "slug": slug});
        self.post(format!("/v1/orgs/{org}/teams"), body).bearer(&owner.token).expect(201).await;
        for member in members {
            let body = json!({"username": member.name});
            let path = format!("/v1/orgs/{org}/teams/{slug}/members");
            self.post(path, body).bearer(&owner.token).expect(201).await;
        }
    }

    /// How often an action stands in the audit log.
    pub async fn audited(&self, action: &str) -> i64 {
        self.db().count_rows(&format!("audit_log WHERE action = '{action}'")).await.unwrap()
    }
}

/// A request being put together.
#[must_use = "nothing is sent before `send` or `expect`"]
pub struct Call {
    name: String,
    request: reqwest::RequestBuilder,
}

impl Call {
    pub fn json(self, body: Value) -> Self {
        Self { request: self.request.json(&body), ..self }
    }
    pub fn bytes(self, body: Vec<u8>) -> Self {
        Self { request: self.request.body(body), ..self }
    }
    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }
    pub fn bearer(self, token: &str) -> Self {
        Self { request: self.request.bearer_auth(token), ..self }
    }
    /// With somebody's session, or anonymously.
    pub fn maybe(self, person: Option<&Person>) -> Self {
        match person {
            Some(person) => self.bearer(&person.token),
            None => self,
        }
    }

    pub async fn send(self) -> Answer {
        let response = self.request.send().await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        if let Some((method, path)) = self.name.split_once(' ')
            && path.starts_with("/v1/")
        {
            conformance::check(method, path, reqwest::StatusCode::from_u16(status).unwrap(), &headers, &body);
        }
        Answer { status, headers, text, body }
    }

    /// An answer that goes on.
    pub async fn open(self) -> reqwest::Response {
        let response = self.request.send().await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        assert_eq!(response.status().as_u16(), 200, "{}", self.name);
        response
    }

    /// The same, if it has that status.
    pub async fn open_if(self, status: u16) -> Option<reqwest::Response> {
        let response = self.request.send().await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        (response.status().as_u16() == status).then_some(response)
    }

    pub async fn expect(self, status: u16) -> Answer {
        let name = self.name.clone();
        let answer = self.send().await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        answer
    }

    /// Expects a problem document.
    pub async fn problem(self, status: u16, code: &str) -> Value {
        let name = self.name.clone();
        let answer = self.send().await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{name}: {}", answer.text);
        answer.body
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected text, got {value}")).to_owned()
}

/// One member of every object of a list.
pub fn column(list: &Value, member: &str) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|item| text(&item[member])).collect()
}

/// The names of an object's members, sorted.
pub fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
