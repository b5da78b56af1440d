//! Whoever may not see a thing learns nothing from any route: what is hidden and what is missing are answered the
//! same, in status, headers and body (access.md §1). Every declared route with a path parameter is asked.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    app::{self, Answer, Person, Server, text},
    npm,
};

/// What stands for the parameters of a path.
type Names = BTreeMap<&'static str, String>;

/// Status, headers but for what every answer has of its own, and body without the request's number.
pub fn shape(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let mut body = answer.body.clone();
    if !body.is_null() {
        body["request_id"] = Value::Null;
    }
    (answer.status, headers, body)
}

/// A hidden thing and one that is not there, for the routes whose path begins like this.
struct Pair {
    below: &'static str,
    hidden: Names,
    missing: Names,
    asked: usize,
}

impl Pair {
    fn new(below: &'static str, common: &[(&'static str, &str)], hidden: &[(&'static str, &str)]) -> Self {
        let mut names: Names = common.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut missing = names.clone();
        for (name, value) in hidden {
            names.insert(name, (*value).to_owned());
            let is_id = value.parse::<uuid::Uuid>().is_ok();
            missing.insert(name, if is_id { uuid::Uuid::now_v7().to_string() } else { absent(name).to_owned() });
        }
        Self { below, hidden: names, missing, asked: 0 }
    }

    /// The address with every parameter filled in; `None` where one is not ours to name.
    fn address(&self, template: &str, names: &Names) -> Option<String> {
        let parts = template.split('/').map(|part| match part.strip_prefix('{') {
            Some(rest) => names.get(rest.trim_end_matches('}')).cloned(),
            None => Some(part.to_owned()),
        });
        Some(parts.collect::<Option<Vec<String>>>()?.join("/"))
    }

    /// Whether the two differ at all on this route.
    fn tells_apart(&self, template: &str) -> bool {
        self.hidden
            .iter()
            .any(|(name, value)| template.contains(&format!("{{{name}}}")) && self.missing.get(name) != Some(value))
    }
}

fn absent(parameter: &str) -> &'static str {
    match parameter {
        "version" => "8.0.0",
        _ => "not-there-at-all",
    }
}

struct World {
    eve: Person,
    pairs: Vec<Pair>,
}

impl World {
    /// What ada has hidden, and eve who looks for it.
    async fn set(server: &Server) -> Self {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        let (acme, _) = (server.org(&ada, "acme").await, server.org(&eve, "evil").await);
        server.team(&eve, "evil", "theirs", &[]).await;
        server.team(&ada, "acme", "core", &[]).await;
        let bob = server.person("bob").await;
        server.join(&ada, "acme", &bob, "viewer").await;
        for (slug, visibility, name) in [("main", "public", "open-tool"), ("vault", "private", "secret-tool")] {
            server.repository(&ada, &acme, slug, visibility, visibility).await;
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": slug});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
            server.npm_published(&ada.token, name, "1.0.0").await;
            let body = json!({"version": "9.0.0"});
            let path = format!("/v1/packages/npm/{name}");
            server.post(format!("{path}/releases"), body).bearer(&ada.token).expect(201).await;
            let file = format!("{path}/releases/9.0.0/artifacts/{name}-9.0.0.tgz?kind=tarball");
            let bytes = npm::tarball(name, "9.0.0");
            server.call("PUT", file).bytes(bytes).bearer(&ada.token).expect(201).await;
        }
        let trusted = json!({"issuer": "https://gitlab.com", "subject": "s"});
        let path = "/v1/packages/npm/secret-tool/trusted-publishers";
        let trusted = server.post(path, trusted).bearer(&ada.token).expect(201).await.body;
        let pending = json!({
            "ecosystem": "npm", "name": "new-tool", "repository_slug": "vault",
            "issuer": "https://gitlab.com", "subject": "s",
        });
        let pending = server.post("/v1/trusted-publishers/pending", pending);
        let pending = pending.bearer(&ada.token).expect(201).await.body;
        let token = json!({"name": "t", "scopes": ["packages:read"]});
        let token = server.post("/v1/tokens", token).bearer(&ada.token).expect(201).await.body;
        let sessions = server.get("/v1/auth/sessions").bearer(&ada.token).expect(200).await.body;
        let invite = json!({"username_or_email": "eve"});
        let invite = server.post("/v1/orgs/acme/invitations", invite).bearer(&ada.token).expect(201).await.body;
        let foreign = server.person("foreign").await;
        let own_invite = json!({"username_or_email": foreign.name});
        let own = server.post("/v1/orgs/acme/invitations", own_invite).bearer(&ada.token).expect(201).await.body;
        let vault = server.get("/v1/repositories/vault").bearer(&ada.token).expect(200).await.body;
        let id = |object: &Value| text(&object["id"]);
        let (file, some_id) = ("secret-tool-1.0.0.tgz", id(&vault));
        let package = [("ecosystem", "npm"), ("tag", "latest"), ("finding_id", some_id.as_str())];
        let of_release = [("ecosystem", "npm"), ("name", "open-tool")];
        let pairs = vec![
            Pair::new(
                "/v1/packages/{ecosystem}/{name}",
                &[&package[..], &[("version", "1.0.0"), ("filename", file), ("id", &id(&trusted))]].concat(),
                &[("name", "secret-tool")],
            ),
            Pair::new(
                "/v1/packages/{ecosystem}/{name}/releases/{version}",
                &[&of_release[..], &[("filename", "open-tool-9.0.0.tgz")]].concat(),
                &[("version", "9.0.0")],
            ),
            Pair::new("/v1/repositories/{slug}", &[], &[("slug", "vault")]),
            Pair::new(
                "/v1/orgs/{slug}/teams/{team}",
                &[
                    ("slug", "acme"),
                    ("ecosystem", "npm"),
                    ("name", "open-tool"),
                    ("repository", "main"),
                    ("claim_id", &some_id),
                    ("username", "bob"),
                ],
                &[("team", "core")],
            ),
            Pair::new("/v1/orgs/{slug}/members/{username}", &[("slug", "acme")], &[("username", "bob")]),
            Pair::new("/v1/orgs/{slug}/invitations/{id}", &[("slug", "acme")], &[("id", &id(&invite))]),
            // Whoever governs an organization of their own gets no hold of what is another's.
            Pair::new(
                "/v1/orgs/{slug}/teams/{team}/package-access/{ecosystem}/{name}",
                &[("slug", "evil"), ("team", "theirs"), ("ecosystem", "npm")],
                &[("name", "secret-tool")],
            ),
            Pair::new(
                "/v1/orgs/{slug}/teams/{team}/repository-access/{repository}",
                &[("slug", "evil"), ("team", "theirs")],
                &[("repository", "vault")],
            ),
            Pair::new("/v1/trusted-publishers/pending/{id}", &[], &[("id", &id(&pending))]),
            Pair::new("/v1/tokens/{id}", &[], &[("id", &id(&token))]),
            Pair::new("/v1/auth/sessions/{id}", &[], &[("id", &id(&sessions["sessions"][0]))]),
            Pair::new("/v1/org-invitations/{id}", &[], &[("id", &id(&own))]),
            Pair::new("/v1/admin/users/{username}", &[], &[("username", "ada")]),
            Pair::new("/v1/admin/jobs/{job_id}", &[], &[("job_id", &some_id)]),
            Pair::new("/v1/admin/queues/{kind}", &[], &[("kind", "scan_artifact")]),
            Pair::new("/v1/admin/schedules/{name}", &[], &[("name", "blobs")]),
        ];
        Self { eve, pairs }
    }
}

/// Paths whose parameter names something public: whether it exists is no secret.
const PUBLIC: [&str; 3] = ["/v1/users/{username}", "/v1/orgs/{slug}", "/v1/namespaces/{claim_id}"];

fn is_public(template: &str) -> bool {
    PUBLIC.iter().any(|public| template.strip_prefix(public).is_some_and(|rest| !rest.contains('{')))
}

async fn ask(server: &Server, method: &str, address: &str, has_body: bool, who: Option<&Person>) -> Answer {
    let query = if method == "PUT" && address.contains("/artifacts/") { "?kind=tarball" } else { "" };
    let call = server.call(method, format!("{address}{query}")).maybe(who);
    match has_body {
        true if !query.is_empty() => call.bytes(b"bytes".to_vec()),
        true => call.json(json!({})),
        false => call,
    }
    .send()
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_is_answered_as_missing_on_every_route() {
    let document: Value = serde_json::from_str(publaryn_api::openapi()).unwrap();
    app::each(async |server| {
        let mut world = World::set(server).await;
        let mut faults = Vec::new();
        for (template, item) in document["paths"].as_object().unwrap() {
            if !template.starts_with("/v1/") || !template.contains('{') {
                continue;
            }
            let mut is_asked = is_public(template);
            for pair in
                world.pairs.iter_mut().filter(|pair| template.starts_with(pair.below) && pair.tells_apart(template))
            {
                let (Some(hidden), Some(missing)) =
                    (pair.address(template, &pair.hidden), pair.address(template, &pair.missing))
                else {
                    continue;
                };
                is_asked = true;
                for (method, operation) in item.as_object().unwrap() {
                    let method = method.to_ascii_uppercase();
                    let has_body = operation.get("requestBody").is_some();
                    for who in [None, Some(&world.eve)] {
                        let one = ask(server, &method, &hidden, has_body, who).await;
                        let other = ask(server, &method, &missing, has_body, who).await;
                        pair.asked += 1;
                        if one.status < 400 || shape(&one) != shape(&other) {
                            faults.push(format!(
                                "{method} {hidden}: {:?}\n  {missing}: {:?}",
                                shape(&one),
                                shape(&other)
                            ));
                        }
                    }
                }
            }
            assert!(is_asked, "nothing stands for the parameters of {template}");
        }
        assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
        for pair in &world.pairs {
            assert!(pair.asked > 0, "no route below {}", pair.below);
        }
    })
    .await;
}

/// `access.anonymous_miss = challenge`: whoever shows nothing is asked, in every ecosystem.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_operator_wants_it_every_anonymous_miss_is_asked_for_a_credential() {
    app::each_with(&[("access.anonymous_miss", "challenge")], async |server| {
        let ada = server.person("ada").await;
        server.npm_published(&ada.token, "open-tool", "1.0.0").await;
        assert_eq!(server.npm_read(None, "open-tool").await, 200);
        for path in [
            "/npm/missing-tool",
            "/cargo/index/mi/ss/missing-tool",
            "/pypi/simple/missing-tool/",
            "/nuget/v3-flatcontainer/missing.tool/index.json",
            "/rubygems/info/missing-tool",
            "/composer/p2/acme/missing-tool.json",
            "/v2/acme/missing-tool/tags/list",
        ] {
            assert_eq!(server.get(path).send().await.status, 401, "{path}");
            if !path.starts_with("/v2/") {
                let signed_in = server.get(path).bearer(&ada.token).send().await;
                assert_eq!(signed_in.status, 404, "{path}");
            }
        }
        let config = server.get("/cargo/index/config.json").expect(200).await.body;
        assert_eq!(config["auth-required"], true);
    })
    .await;
}
