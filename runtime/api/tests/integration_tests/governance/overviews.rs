//! An organization at a glance: its log, what its teams were granted, open findings, coverage, workspace.

use publaryn_core::{
    ReleaseId, Timestamp,
    finding::{Category, Finding, FindingKind, Severity},
};
use serde_json::{Value, json};

use crate::app::{self, Person, Server, column, text};

/// A finding on a release, as a scanner would leave it.
async fn find(server: &Server, release: &Value, severity: Severity, rule: &str) {
    let finding = Finding {
        rule_id: rule.into(),
        kind: FindingKind::PolicyViolation,
        category: Category::NameConfusion,
        severity,
        title: "odd".into(),
        description: None,
        location: String::new(),
    };
    let id: ReleaseId = serde_json::from_value(release["id"].clone()).unwrap();
    let mut tx = server.db().begin().await.unwrap();
    tx.upsert_finding(id, None, &finding, Timestamp::now()).await.unwrap();
    tx.commit().await.unwrap();
}

/// Organization `acme` with a public and a private repository and a package in each.
struct Acme {
    ada: Person,
    /// Viewer.
    vic: Person,
    /// Auditor.
    aud: Person,
    eve: Person,
    org: Value,
}

impl Acme {
    async fn set(server: &Server) -> Self {
        let (ada, vic, aud, eve) = (
            server.person("ada").await,
            server.person("vic").await,
            server.person("aud").await,
            server.person("eve").await,
        );
        let org = server.org(&ada, "acme").await;
        server.join(&ada, "acme", &vic, "viewer").await;
        server.join(&ada, "acme", &aud, "auditor").await;
        for (slug, visibility) in [("main", "public"), ("vault", "private")] {
            server.repository(&ada, &org, slug, visibility, visibility).await;
        }
        for (name, repository) in [("open-tool", "main"), ("secret-tool", "vault")] {
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": repository});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
            server.npm_published(&ada.token, name, "1.0.0").await;
        }
        server.team(&ada, "acme", "core", &[&vic]).await;
        Self { ada, vic, aud, eve, org }
    }
}

async fn release(server: &Server, acme: &Acme, name: &str, version: &str) -> Value {
    server.get(format!("/v1/packages/npm/{name}/releases/{version}")).bearer(&acme.ada.token).expect(200).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_an_organization_holds_what_happened_to_its_packages() {
    app::each(async |server| {
        let acme = Acme::set(server).await;
        server.npm_published(&acme.eve.token, "tool-of-eve", "1.0.0").await;
        let log = server.get("/v1/orgs/acme/audit?per_page=100").bearer(&acme.aud.token).expect(200).await.body;
        let actions = column(&log["logs"], "action");
        let count = |action: &str| actions.iter().filter(|known| *known == action).count();
        // Native publishes and what the system did then, but nothing of anybody else's package.
        assert_eq!((count("release_publish"), count("release_scan_pass")), (2, 2), "{actions:?}");
        assert_eq!((count("package_create"), count("repository_create"), count("org_create")), (2, 2, 1));
        let since = text(&log["logs"][0]["occurred_at"]);
        let path = format!("/v1/orgs/acme/audit?occurred_from={since}&occurred_until=2020-01-01");
        server.get(path).bearer(&acme.aud.token).problem(422, "range_inverted").await;
        server.get("/v1/orgs/acme/audit").bearer(&acme.vic.token).problem(403, "insufficient_permission").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_told_as_history() {
    app::each(async |server| {
        let acme = Acme::set(server).await;
        let ada = &acme.ada.token;
        let package = "/v1/orgs/acme/teams/core/package-access/npm/secret-tool";
        server.put(package, json!({"permissions": ["publish"]})).bearer(ada).expect(200).await;
        server.put(package, json!({"permissions": ["publish", "admin"]})).bearer(ada).expect(200).await;
        server.delete(package).bearer(ada).expect(200).await;
        let repository = "/v1/orgs/acme/teams/core/repository-access/vault";
        server.put(repository, json!({"permissions": ["read_private"]})).bearer(ada).expect(200).await;

        let path = "/v1/orgs/acme/access-history";
        let list = async |query: &str| {
            server.get(format!("{path}{query}")).bearer(&acme.aud.token).expect(200).await.body["entries"].clone()
        };
        let all = list("").await;
        assert_eq!(column(&all, "event"), ["granted", "revoked", "changed", "granted"]);
        assert_eq!(column(&all, "target_label"), ["vault", "npm/secret-tool", "npm/secret-tool", "npm/secret-tool"]);
        assert_eq!(all[2]["previous_permissions"], json!(["publish"]));
        assert_eq!(all[2]["permissions"], json!(["admin", "publish"]));
        assert_eq!((&all[0]["team_slug"], &all[0]["actor_username"]), (&json!("core"), &json!("ada")));
        assert!(text(&all[0]["summary"]).starts_with("ada granted core read_private on vault"));
        assert_eq!(list("?scope=repository").await.as_array().unwrap().len(), 1);
        assert_eq!(list("?scope=namespace").await, json!([]));
        assert_eq!(list("?scope=all&target=SECRET").await.as_array().unwrap().len(), 3);
        assert_eq!(list("?team_slug=core&target=vau").await.as_array().unwrap().len(), 1);
        assert_eq!(list("?team_slug=other").await, json!([]));
        assert_eq!(list("?occurred_until=2020-01-01").await, json!([]));
        server.get(format!("{path}?scope=x")).bearer(ada).problem(422, "validation_failed").await;
        server.get(path).bearer(&acme.vic.token).problem(403, "insufficient_permission").await;
        server.get(path).bearer(&acme.eve.token).problem(403, "insufficient_permission").await;
        server.get(path).problem(401, "unauthenticated").await;

        let first = server.get(format!("{path}?per_page=3")).bearer(ada).expect(200).await.body;
        let rest = format!("{path}?per_page=3&cursor={}", text(&first["next_cursor"]));
        let rest = server.get(rest).bearer(ada).expect(200).await.body;
        assert_eq!((rest["entries"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));

        let file = server.get(format!("{path}/export?scope=package")).bearer(&acme.aud.token).expect(200).await;
        assert_eq!(file.headers["content-disposition"], "attachment; filename=\"org-access-history-acme.csv\"");
        let lines: Vec<&str> = file.text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("id,occurred_at,scope,event,team_slug,team_name,target_label,"));
        assert!(lines[2].contains(",package,changed,core,core,npm/secret-tool,publish,admin;publish,"), "{}", lines[2]);
        assert_eq!(server.audited("org_audit_export").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_findings_count_for_those_who_see_their_packages() {
    app::each(async |server| {
        let acme = Acme::set(server).await;
        let ada = &acme.ada.token;
        let (open, secret) =
            (release(server, &acme, "open-tool", "1.0.0").await, release(server, &acme, "secret-tool", "1.0.0").await);
        find(server, &open, Severity::Low, "T-1").await;
        find(server, &open, Severity::Low, "T-2").await;
        find(server, &secret, Severity::High, "T-1").await;
        let draft = json!({"version": "9.0.0"});
        let draft = server.post("/v1/packages/npm/open-tool/releases", draft).bearer(ada).expect(201).await.body;
        find(server, &draft, Severity::Critical, "T-1").await;
        let grant = json!({"permissions": ["security_review"]});
        server.put("/v1/orgs/acme/teams/core/package-access/npm/open-tool", grant).bearer(ada).expect(200).await;

        let path = "/v1/orgs/acme/security-findings";
        let see = async |query: &str, who: Option<&Person>| {
            server.get(format!("{path}{query}")).maybe(who).expect(200).await.body
        };
        let everybody = see("", None).await;
        assert_eq!(column(&everybody["packages"], "name"), ["open-tool"]);
        assert_eq!(everybody["summary"]["open_findings"], 2);
        assert_eq!(everybody["packages"][0]["worst_severity"], "low");
        // Who reviews is the organization's own business.
        assert_eq!(everybody["packages"][0]["reviewer_teams"], json!([]));
        assert_eq!(see("", Some(&acme.eve)).await, everybody);
        let owner = see("", Some(&acme.ada)).await;
        assert_eq!(column(&owner["packages"], "name"), ["open-tool", "secret-tool"]);
        let severities = json!({"critical": 1, "high": 1, "medium": 0, "low": 2, "info": 0});
        assert_eq!((&owner["summary"]["severities"], &owner["summary"]["affected_packages"]), (&severities, &json!(2)));
        assert_eq!(owner["packages"][0]["reviewer_teams"][0]["slug"], "core");
        assert_eq!(owner["packages"][0]["can_manage_security"], true);
        // Auditors see what is live.
        let auditor = see("", Some(&acme.aud)).await;
        assert_eq!(column(&auditor["packages"], "name"), ["secret-tool", "open-tool"]);
        assert_eq!(
            (&auditor["summary"]["open_findings"], &auditor["packages"][0]["can_manage_security"]),
            (&json!(3), &json!(false))
        );
        let names = async |query: &str| column(&see(query, Some(&acme.ada)).await["packages"], "name");
        assert_eq!(names("?severity=high,info").await, ["secret-tool"]);
        assert_eq!(names("?severity=high&severity=low").await, ["secret-tool", "open-tool"]);
        assert_eq!(names("?ecosystem=cargo").await, Vec::<String>::new());
        assert_eq!(names("?package=SECRET").await, ["secret-tool"]);
        server.get(format!("{path}?severity=awful")).problem(422, "validation_failed").await;
        server.get("/v1/orgs/nobody/security-findings").problem(404, "not_found").await;

        let file = server.get(format!("{path}/export")).expect(200).await;
        assert_eq!(file.headers["content-disposition"], "attachment; filename=\"org-security-findings-acme.csv\"");
        assert_eq!(file.text.matches("\r\n").count(), 2);
        assert!(file.text.contains(",npm,open-tool,,public,2,low,"), "{}", file.text);
        assert!(file.text.trim_end().ends_with(",0,0,0,2,0"), "{}", file.text);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_and_workspace_show_what_the_caller_may_see() {
    app::each(async |server| {
        let acme = Acme::set(server).await;
        let ada = &acme.ada.token;
        let claim = json!({"ecosystem": "npm", "namespace": "@acme", "owner_org_id": acme.org["id"]});
        server.post("/v1/namespaces", claim).bearer(ada).expect(201).await;
        let invite = json!({"username_or_email": "eve"});
        server.post("/v1/orgs/acme/invitations", invite).bearer(ada).expect(201).await;
        let grant = json!({"permissions": ["publish"]});
        server.put("/v1/orgs/acme/teams/core/repository-access/vault", grant).bearer(ada).expect(200).await;

        let coverage = async |who: Option<&Person>| {
            let path = "/v1/orgs/acme/repository-package-coverage";
            let body = server.get(path).maybe(who).expect(200).await.body;
            let groups = body["repositories"].as_array().unwrap().iter();
            groups
                .map(|group| (text(&group["repository_slug"]), column(&group["packages"], "name")))
                .collect::<Vec<_>>()
        };
        let group = |slug: &str, names: &[&str]| (slug.to_owned(), names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(coverage(None).await, [group("main", &["open-tool"])]);
        assert_eq!(coverage(Some(&acme.vic)).await, [group("main", &["open-tool"]), group("vault", &["secret-tool"])]);

        let see = async |who: Option<&Person>| server.get("/v1/orgs/acme/workspace").maybe(who).expect(200).await.body;
        let stranger = see(Some(&acme.eve)).await;
        assert_eq!(column(&stranger["repositories"], "slug"), ["main"]);
        assert_eq!(column(&stranger["packages"], "name"), ["open-tool"]);
        assert_eq!(column(&stranger["namespaces"], "namespace"), ["@acme"]);
        assert_eq!((&stranger["teams"], &stranger["invitations"]), (&json!([]), &json!([])));
        assert_eq!((&stranger["team_management"], &stranger["org"]["mfa_required"]), (&Value::Null, &Value::Null));
        let owner = see(Some(&acme.ada)).await;
        assert_eq!(column(&owner["repositories"], "slug"), ["main", "vault"]);
        assert_eq!(column(&owner["packages"], "name").len(), 2);
        assert_eq!(
            (column(&owner["teams"], "slug"), owner["invitations"].as_array().unwrap().len()),
            (vec!["core".into()], 1)
        );
        let teams = &owner["team_management"];
        assert_eq!(column(&teams["members_by_team_slug"]["core"], "username"), ["vic"]);
        assert_eq!(column(&teams["repository_access_by_team_slug"]["core"], "slug"), ["vault"]);
        assert_eq!(teams["package_access_by_team_slug"], json!({}));
        // With a private directory an auditor still reads grants, but not who is where.
        let private = json!({"member_directory_is_private": true});
        server.patch("/v1/orgs/acme", private).bearer(ada).expect(200).await;
        let auditor = see(Some(&acme.aud)).await;
        assert_eq!((&auditor["teams"], &auditor["team_management"]["members_by_team_slug"]), (&json!([]), &json!({})));
        assert_eq!(column(&auditor["team_management"]["repository_access_by_team_slug"]["core"], "slug"), ["vault"]);
    })
    .await;
}

/// The condition of lists says what the decision says: totals are what is shown, whoever asks.
#[tokio::test(flavor = "multi_thread")]
async fn lists_count_what_they_show() {
    app::each(async |server| {
        let acme = Acme::set(server).await;
        let ada = &acme.ada.token;
        let (gil, rea) = (server.person("gil").await, server.person("rea").await);
        server.join(&acme.ada, "acme", &gil, "viewer").await;
        server.join(&acme.ada, "acme", &rea, "viewer").await;
        server.team(&acme.ada, "acme", "by-package", &[&gil]).await;
        server.team(&acme.ada, "acme", "by-repository", &[&rea]).await;
        for (slug, visibility) in [("inner", "internal_org"), ("aside", "unlisted")] {
            let kind = if visibility == "unlisted" { "public" } else { "private" };
            server.repository(&acme.ada, &acme.org, slug, kind, visibility).await;
            let body = json!({"ecosystem": "npm", "name": format!("{slug}-tool"), "repository_slug": slug});
            server.post("/v1/packages", body).bearer(ada).expect(201).await;
        }
        let body = json!({"ecosystem": "npm", "name": "held-tool", "repository_slug": "main"});
        server.post("/v1/packages", body).bearer(ada).expect(201).await;
        let hold = json!({"reason": "test"});
        server.put("/v1/packages/npm/held-tool/quarantine", hold).bearer(ada).expect(200).await;
        let read = json!({"permissions": ["read_private"]});
        let by_package = "/v1/orgs/acme/teams/by-package/package-access/npm/secret-tool";
        server.put(by_package, read.clone()).bearer(ada).expect(200).await;
        let by_repository = "/v1/orgs/acme/teams/by-repository/repository-access/vault";
        server.put(by_repository, read).bearer(ada).expect(200).await;
        let bound = json!({"name": "b", "kind": "repository", "repository_slug": "vault", "scopes": ["packages:read"]});
        let bound = text(&server.post("/v1/tokens", bound).bearer(ada).expect(201).await.body["token"]);
        let blind = server.api_token(&acme.ada, &["orgs:read"]).await;
        let automation = json!({
            "name": "a", "kind": "org_automation", "org_slug": "acme", "role": "viewer", "scopes": ["packages:read"],
        });
        let automation = text(&server.post("/v1/tokens", automation).bearer(ada).expect(201).await.body["token"]);

        let all = ["aside-tool", "held-tool", "inner-tool", "open-tool", "secret-tool"];
        let unrestricted: [(&str, &[&str], &[&str]); 6] = [
            ("", &["open-tool"], &["main"]),
            (&acme.eve.token, &["open-tool"], &["main"]),
            (&acme.vic.token, &all, &["aside", "inner", "main", "vault"]),
            (&bound, &["open-tool", "secret-tool"], &["main", "vault"]),
            (&blind, &["open-tool"], &["main"]),
            (&automation, &all, &["aside", "inner", "main", "vault"]),
        ];
        let restricted: [(&str, &[&str], &[&str]); 6] = [
            (ada, &all, &["aside", "inner", "main", "vault"]),
            (&acme.aud.token, &all, &["aside", "inner", "main", "vault"]),
            (&acme.vic.token, &all[..4], &["aside", "inner", "main"]),
            (&gil.token, &all, &["aside", "inner", "main"]),
            (&rea.token, &all, &["aside", "inner", "main", "vault"]),
            (&automation, &all[..4], &["aside", "inner", "main"]),
        ];
        let check = async |expected: &[(&str, &[&str], &[&str])]| {
            for (token, packages, repositories) in expected {
                let get = async |path: &str| {
                    let call = server.get(path);
                    let call = if token.is_empty() { call } else { call.bearer(token) };
                    call.expect(200).await.body
                };
                let list = get("/v1/orgs/acme/packages").await;
                let mut names = column(&list["packages"], "name");
                names.sort();
                assert_eq!((&names[..], &list["total"]), (&packages.map_owned()[..], &json!(packages.len())));
                let page = get("/v1/orgs/acme/packages?per_page=1&page=2").await;
                assert_eq!(page["packages"].as_array().unwrap().len(), usize::from(packages.len() > 1));
                let list = get("/v1/orgs/acme/repositories").await;
                assert_eq!(column(&list["repositories"], "slug"), *repositories);
                assert_eq!(list["total"], repositories.len());
            }
        };
        check(&unrestricted).await;
        let restrict = json!({"restrict_private_reads": true});
        server.patch("/v1/orgs/acme", restrict).bearer(ada).expect(200).await;
        check(&restricted).await;
    })
    .await;
}

trait Owned {
    fn map_owned(&self) -> Vec<String>;
}

impl Owned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}
