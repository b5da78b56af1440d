use std::time::Duration;

use publaryn_core::{
    PackageId, Timestamp, UserId,
    audit::{AuditAction, AuditEntry},
    job::{JobKind, JobState},
};
use publaryn_metadata::jobs::NewJob;
use serde_json::{Value, json};

use crate::app::{self, App, members, text};

/// The session of a platform administrator.
async fn administrator(app: &App) -> String {
    app.register("root-person").await;
    app.identity.set_admin("root-person", true).await.unwrap();
    text(&app.login("root-person").await["token"])
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_routes_are_for_administrators_with_the_scope() {
    for app in app::each().await {
        let (root, alice) = (administrator(&app).await, app.someone("alice").await);
        let reader = app.token(&root, &["audit:read"]).await;
        let writer = app.token(&root, &["admin:write"]).await;
        for path in ["/v1/audit", "/v1/audit/export", "/v1/admin/users", "/v1/admin/jobs"] {
            app.get(path).problem(401, "unauthenticated").await;
            app.get(path).bearer(&alice).problem(403, "insufficient_scope").await;
            app.get(path).bearer(&writer).problem(403, "insufficient_scope").await;
            app.get(path).bearer(&reader).expect(200).await;
        }
        for path in ["/v1/admin/gc", "/v1/admin/search/reindex", "/v1/admin/jobs/recover-stale"] {
            app.call("POST", path).bearer(&alice).problem(403, "insufficient_scope").await;
            app.call("POST", path).bearer(&reader).problem(403, "insufficient_scope").await;
            app.call("POST", path).bearer(&writer).send().await;
        }
        // The flag is read from the account each time, whatever a token carries.
        app.identity.create_user(account(&app, "second"), true).await.unwrap();
        app.identity.set_admin("root-person", false).await.unwrap();
        app.get("/v1/audit").bearer(&reader).problem(403, "insufficient_scope").await;
        app.get("/v1/audit").bearer(&root).problem(403, "insufficient_scope").await;
    }
}

fn account(app: &App, name: &str) -> publaryn_registry::identity::NewAccount {
    let rules = app.identity.rules();
    publaryn_registry::identity::NewAccount {
        username: rules.username(name).unwrap(),
        email: publaryn_auth::EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
        password: rules.password(publaryn_auth::Secret::new(app::PASSWORD)).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_found_disabled_and_enabled() {
    for app in app::each().await {
        let root = administrator(&app).await;
        let alice = app.someone("alice").await;
        app.register("al_x").await;
        let find = async |query: &str| {
            let body = app.get(format!("/v1/admin/users?{query}")).bearer(&root).expect(200).await.body;
            let names: Vec<_> = body["users"].as_array().unwrap().iter().map(|user| text(&user["username"])).collect();
            (names, body)
        };
        let (names, body) = find("").await;
        assert_eq!(names, ["al_x", "alice", "root-person"]);
        assert_eq!((&body["total"], &body["per_page"]), (&json!(3), &json!(50)));
        assert_eq!(find("q=AL_").await.0, ["al_x"], "patterns are text");
        assert_eq!(find("q=alice@EXAMPLE").await.0, ["alice"]);
        assert_eq!(find("is_admin=true").await.0, ["root-person"]);
        assert_eq!(find("is_admin=false&per_page=1&page=2").await.0, ["alice"]);
        assert_eq!(find("is_active=false").await.0, Vec::<String>::new());
        app.get("/v1/admin/users?is_admin=maybe").bearer(&root).problem(400, "malformed_request").await;

        let patch =
            |name: &str, body: Value| app.call("PATCH", format!("/v1/admin/users/{name}")).json(body).bearer(&root);
        let off = patch("ALICE", json!({"is_active": false})).expect(200).await.body;
        assert_eq!((&off["is_active"], &off["email"]), (&json!(false), &json!("alice@example.com")));
        app.get("/v1/users/me").bearer(&alice).problem(401, "account_disabled").await;
        assert_eq!(find("is_active=false").await.0, ["alice"]);
        let both = patch("alice", json!({"is_active": true, "is_admin": true})).expect(200).await.body;
        assert_eq!((&both["is_active"], &both["is_admin"]), (&json!(true), &json!(true)));
        patch("alice", json!({"is_admin": false})).expect(200).await;
        for last in [json!({"is_admin": false}), json!({"is_active": false})] {
            patch("root-person", last).problem(409, "state_conflict").await;
        }
        assert_eq!(app.get("/v1/users/me").bearer(&root).expect(200).await.body["is_admin"], true);
        patch("nobody", json!({"is_admin": 5})).problem(404, "not_found").await;
        patch("alice", json!({"is_admin": 5, "is_active": null})).problem(422, "validation_failed").await;

        let audit = app.get("/v1/audit?per_page=4").bearer(&root).expect(200).await.body;
        let actions: Vec<_> = audit["logs"].as_array().unwrap().iter().map(|log| text(&log["action"])).collect();
        assert_eq!(actions[0], "user_admin_revoke");
        assert_eq!(audit["logs"][0]["actor_username"], "root-person");
        assert_eq!(audit["logs"][0]["target_username"], "alice");
        assert!(actions.contains(&"user_enable".to_owned()) && actions.contains(&"user_disable".to_owned()));
        assert_eq!(audit["logs"][0]["ip_address"], "192.0.2.1");
    }
}

/// Writes `count` entries about one package, a second apart, the first at `start`.
async fn history(app: &App, package: PackageId, actor: Option<UserId>, start: Timestamp, count: u64) {
    let db = app.identity.db();
    for position in 0..count {
        let mut entry = AuditEntry::system(AuditAction::PackageUpdate)
            .package(package)
            .with("note", format!("=cmd, \"{position}\"\nnext"));
        entry.actor_user = actor;
        let tx = db.begin().await.unwrap();
        tx.commit_audited(&entry, start + Duration::from_secs(position)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_filtered_paged_and_walked() {
    for app in app::each().await {
        let root = administrator(&app).await;
        let (one, other) = (PackageId::new(), PackageId::new());
        let start: Timestamp = "2026-02-03T23:59:50Z".parse().unwrap();
        history(&app, one, None, start, 25).await;
        history(&app, other, None, start, 3).await;
        let get = async |query: String| app.get(format!("/v1/audit?{query}")).bearer(&root).expect(200).await;
        let page = get(format!("target_package_id={one}&per_page=10&page=2")).await;
        assert_eq!((&page.body["total"], &page.body["has_next"]), (&json!(25), &json!(true)));
        assert_eq!(page.body["logs"].as_array().unwrap().len(), 10);
        assert!(page.headers["link"].to_str().unwrap().contains("rel=\"next\""));

        // A walk sees every entry once, also when new ones come in between.
        let mut seen = Vec::new();
        let mut query = format!("target_package_id={one}&per_page=10");
        loop {
            let step = get(query.clone()).await.body;
            seen.extend(step["logs"].as_array().unwrap().iter().map(|log| text(&log["id"])));
            let Some(cursor) = step["next_cursor"].as_str() else { break };
            history(&app, one, None, start + Duration::from_secs(3600), 1).await;
            query = format!("target_package_id={one}&per_page=10&cursor={cursor}");
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), count), (25, 25));

        let total = async |query: &str| get(format!("target_package_id={other}&{query}")).await.body["total"].clone();
        assert_eq!(total("action=package_update").await, 3);
        assert_eq!(total("action=package-update").await, 3, "hyphens are underscores");
        assert_eq!(total("action=user_login").await, 0);
        assert_eq!(total("occurred_from=2026-02-03&occurred_until=2026-02-03").await, 3);
        assert_eq!(total("occurred_from=2026-02-04").await, 0);
        assert_eq!(total("occurred_from=2026-02-03T23:59:51Z&occurred_until=2026-02-04T00:59:51%2B01:00").await, 1);
        let me = app.get("/v1/users/me").bearer(&root).expect(200).await.body;
        let own = get(format!("actor_user_id={}&action=user_login", text(&me["id"]))).await.body;
        assert_eq!(own["total"], 1);
        for (query, status, code) in [
            ("action=nonsense", 422, "validation_failed"),
            ("occurred_from=2026-02-04&occurred_until=2026-02-03", 422, "range_inverted"),
            ("occurred_from=yesterday", 400, "malformed_request"),
            ("actor_user_id=5", 400, "malformed_request"),
            ("cursor=x", 400, "malformed_request"),
            ("cursor=1.x", 400, "malformed_request"),
        ] {
            app.get(format!("/v1/audit?{query}")).bearer(&root).problem(status, code).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_exported_whole_and_without_formulas() {
    for app in app::each().await {
        let root = administrator(&app).await;
        let package = PackageId::new();
        history(&app, package, None, "2026-02-03T00:00:00Z".parse().unwrap(), 3).await;
        let file = app.get(format!("/v1/audit/export?target_package_id={package}")).bearer(&root).expect(200).await;
        assert_eq!(file.headers["content-type"], "text/csv; charset=utf-8");
        assert_eq!(file.headers["content-disposition"], "attachment; filename=\"audit.csv\"");
        assert_eq!(file.headers["cache-control"], "private, no-store");
        let text = String::from_utf8(file.bytes.to_vec()).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(
            lines[0],
            "id,occurred_at,action,actor_user_id,actor_username,actor_display_name,actor_token_id,target_user_id,\
             target_username,target_display_name,target_org_id,target_package_id,target_release_id,metadata_json,\
             ip_address,user_agent"
        );
        assert_eq!((lines.len(), lines[4]), (5, ""));
        assert!(lines[1].contains("2026-02-03T00:00:02Z") && lines[3].contains("2026-02-03T00:00:00Z"), "{text}");

        // More than one step of the export, and a name that a spreadsheet would run.
        app.call("PATCH", "/v1/users/me")
            .json(json!({"display_name": "=HYPERLINK(\"x\")"}))
            .bearer(&root)
            .expect(200)
            .await;
        let many = PackageId::new();
        let actor = app.identity.user_by_name("root-person").await.unwrap().id;
        let mut tx = app.identity.db().begin().await.unwrap();
        for second in 0..1_500 {
            let mut entry = AuditEntry::system(AuditAction::PackageUpdate).package(many);
            entry.actor_user = Some(actor);
            tx.append_audit(&entry, Timestamp::from_micros(1_770_000_000_000_000 + second * 500_000)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let file = app.get(format!("/v1/audit/export?target_package_id={many}")).bearer(&root).expect(200).await;
        let text = String::from_utf8(file.bytes.to_vec()).unwrap();
        assert_eq!(text.matches("\r\n").count(), 1_501);
        assert!(text.contains(",root-person,\"'=HYPERLINK(\"\"x\"\")\","), "{}", &text[..600]);
        app.get("/v1/audit/export?occurred_from=2026-02-04&occurred_until=2026-02-03")
            .bearer(&root)
            .problem(422, "range_inverted")
            .await;
    }
}

/// A job in the queue; `state` as if its runs had ended so.
async fn job(app: &App, kind: JobKind, payload: Value, state: JobState) -> String {
    let db = app.identity.db();
    let mut tx = db.begin().await.unwrap();
    let id = tx.enqueue(&NewJob::new(kind, &payload)).await.unwrap().id;
    tx.commit().await.unwrap();
    if state != JobState::Pending {
        let hex = id.0.simple();
        let id =
            if db.engine() == publaryn_metadata::Engine::Sqlite { format!("x'{hex}'") } else { format!("'{}'", id.0) };
        let now = Timestamp::now().as_micros();
        let sql = format!(
            "UPDATE jobs SET state = '{state}', ready = FALSE, attempts = 3, last_error = 'boom', completed_at = {now} \
             WHERE id = {id}"
        );
        db.execute_raw(&sql).await.unwrap();
    }
    id.0.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_listed_and_dead_jobs_run_again() {
    for app in app::each().await {
        let root = administrator(&app).await;
        let package = PackageId::new();
        let waiting = job(&app, JobKind::IndexPackage, json!({"package_id": package}), JobState::Pending).await;
        let dead = job(&app, JobKind::ScanArtifact, json!({}), JobState::Dead).await;
        let list = async |query: &str| app.get(format!("/v1/admin/jobs?{query}")).bearer(&root).expect(200).await.body;
        let all = list("").await;
        assert_eq!((&all["per_page"], &all["filters"]), (&json!(50), &json!({"state": null, "kind": null})));
        assert_eq!(all["jobs"].as_array().unwrap().len(), 2);
        assert_eq!(members(&all["summary"]["by_status"]), ["completed", "dead", "failed", "pending", "running"]);
        let of = list("state=dead").await;
        assert_eq!((&of["jobs"][0]["id"], &of["filters"]["state"]), (&json!(dead), &json!("dead")));
        assert_eq!(of["jobs"][0]["recovery_hint"], format!("POST /v1/admin/jobs/{dead}/retry"));
        assert_eq!(list(&format!("target={package}")).await["jobs"][0]["id"], waiting);
        assert_eq!(list("kind=index-package").await["jobs"].as_array().unwrap().len(), 1);
        assert_eq!(list("stale=true").await["jobs"], json!([]));
        app.get("/v1/admin/jobs?state=lost").bearer(&root).problem(422, "validation_failed").await;
        app.get("/v1/admin/jobs?kind=lost").bearer(&root).problem(422, "validation_failed").await;
        app.get("/v1/admin/jobs?cursor=1.2").bearer(&root).problem(400, "malformed_request").await;

        let one = app.get(format!("/v1/admin/jobs/{dead}")).bearer(&root).expect(200).await.body;
        assert_eq!((&one["attempts_log"], &one["unique_key"]), (&json!([]), &Value::Null));
        app.get(format!("/v1/admin/jobs/{package}")).bearer(&root).problem(404, "not_found").await;
        let retry = |id: &str| app.call("POST", format!("/v1/admin/jobs/{id}/retry")).bearer(&root);
        let again = retry(&dead).expect(200).await.body;
        assert_eq!((&again["job"]["status"], &again["job"]["attempts"]), (&json!("pending"), &json!(0)));
        assert_eq!(again["job"]["last_error"], "boom");
        let refused = retry(&dead).problem(409, "job_not_retryable").await;
        assert_eq!(refused["state"], "pending");
        retry(&package.to_string()).problem(404, "not_found").await;
        retry("5").problem(400, "malformed_request").await;

        job(&app, JobKind::ScanArtifact, json!({}), JobState::Dead).await;
        job(&app, JobKind::IndexPackage, json!({}), JobState::Dead).await;
        let bulk = |body: Value| app.post("/v1/admin/jobs/retry", body).bearer(&root);
        bulk(json!({})).problem(422, "validation_failed").await;
        bulk(json!({"state": null})).problem(422, "validation_failed").await;
        bulk(json!({"state": "pending"})).problem(422, "validation_failed").await;
        bulk(json!({"state": "dead", "limit": 10_001})).problem(422, "validation_failed").await;
        assert_eq!(bulk(json!({"state": "dead", "kind": "index_package"})).expect(200).await.body["retried_count"], 1);
        assert_eq!(bulk(json!({"state": "dead"})).expect(200).await.body["retried_count"], 1);
        let audit = app.get("/v1/audit?action=admin_job_retry").bearer(&root).expect(200).await.body;
        assert_eq!(audit["total"], 3);
        assert_eq!(audit["logs"][2]["metadata"]["previous_status"], "dead");
        assert_eq!(audit["logs"][0]["metadata"]["bulk"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_jobs_are_given_back() {
    for app in app::each().await {
        let root = administrator(&app).await;
        let stale = job(&app, JobKind::ScanArtifact, json!({}), JobState::Running).await;
        let past = Timestamp::now().as_micros() - 120_000_000;
        let lease = if app.identity.db().engine() == publaryn_metadata::Engine::Sqlite {
            "x'00000000000000000000000000000001'"
        } else {
            "'00000000-0000-0000-0000-000000000001'"
        };
        let sql = format!(
            "UPDATE jobs SET lease_id = {lease}, node_id = 'gone', incarnation = 1, locked_until = {past}, attempts = 1, \
             completed_at = NULL, started_at = {past}"
        );
        app.identity.db().execute_raw(&sql).await.unwrap();
        let list = app.get("/v1/admin/jobs?stale=true").bearer(&root).expect(200).await.body;
        assert_eq!((&list["jobs"][0]["id"], &list["jobs"][0]["is_stale"]), (&json!(stale), &json!(true)));
        let recover = || app.call("POST", "/v1/admin/jobs/recover-stale").bearer(&root);
        assert_eq!(recover().expect(200).await.body["recovered_count"], 1);
        assert_eq!(recover().expect(200).await.body["recovered_count"], 0);
        let one = app.get(format!("/v1/admin/jobs/{stale}")).bearer(&root).expect(200).await.body;
        assert_eq!(one["status"], "pending");
        let audit = app.get("/v1/audit?action=admin_jobs_recover_stale").bearer(&root).expect(200).await.body;
        assert_eq!(audit["logs"][1]["metadata"]["recovered_count"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_is_asked_for_once() {
    for app in app::each().await {
        let root = administrator(&app).await;
        let post = |path: &str, body: Value| app.post(path, body).bearer(&root);
        let first = post("/v1/admin/gc", json!({})).expect(202).await.body;
        let again = app.call("POST", "/v1/admin/gc").bearer(&root).expect(202).await.body;
        assert_eq!(first, again, "one collection at a time");
        let dry = post("/v1/admin/gc", json!({"dry_run": true})).expect(202).await.body;
        assert_ne!(dry, first);
        post("/v1/admin/gc", json!({"dry_run": "yes"})).problem(422, "validation_failed").await;
        post("/v1/admin/search/reindex", json!({})).expect(202).await;
        post("/v1/admin/search/reindex", json!({"package_id": "x"})).problem(422, "validation_failed").await;
        post("/v1/admin/search/reindex", json!({"package_id": PackageId::new()})).problem(404, "not_found").await;
        let job = app.get(format!("/v1/admin/jobs/{}", text(&dry["job_id"]))).bearer(&root).expect(200).await.body;
        assert_eq!((&job["kind"], &job["payload"]), (&json!("cleanup_blobs"), &json!({"dry_run": true})));
        assert_eq!(job["enqueued_by"], "root-person");
        let audit = app.get("/v1/audit?action=admin_gc").bearer(&root).expect(200).await.body;
        assert_eq!(audit["logs"][0]["metadata"]["dry_run"], true);

        // Sent again with its key, a request is not made again.
        let keyed = || post("/v1/admin/search/reindex", json!({})).header("idempotency-key", "once");
        let one = keyed().expect(202).await;
        let two = keyed().expect(202).await;
        assert_eq!((one.bytes, &two.headers["idempotency-replayed"]), (two.bytes, &"true".parse().unwrap()));
        let audit = app.get("/v1/audit?action=admin_search_reindex").bearer(&root).expect(200).await.body;
        assert_eq!(audit["total"], 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_public() {
    for app in app::each().await {
        job(&app, JobKind::IndexPackage, json!({}), JobState::Pending).await;
        let numbers = app.get("/v1/stats").expect(200).await;
        assert_eq!(numbers.body["job_queue_pending"], 1);
        assert_eq!((&numbers.body["packages"], &numbers.body["organizations"]), (&json!(0), &json!(0)));
        assert!(numbers.headers.contains_key("etag"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_read_and_export_their_own_log() {
    for app in app::each().await {
        let owner = app.someone("olga").await;
        let (auditor, viewer) = (app.someone("aura").await, app.someone("vera").await);
        for slug in ["acme", "other"] {
            app.post("/v1/orgs", json!({"name": slug, "slug": slug})).bearer(&owner).expect(201).await;
        }
        for (name, role) in [("aura", "auditor"), ("vera", "viewer")] {
            let member = json!({"username": name, "role": role});
            app.post("/v1/orgs/acme/members", member).bearer(&owner).expect(201).await;
        }
        app.get("/v1/orgs/acme/audit").problem(401, "unauthenticated").await;
        app.get("/v1/orgs/nobody/audit").bearer(&owner).problem(404, "not_found").await;
        app.get("/v1/orgs/acme/audit").bearer(&viewer).problem(403, "insufficient_permission").await;
        app.get("/v1/orgs/acme/audit/export").bearer(&viewer).problem(403, "insufficient_permission").await;
        let log = app.get("/v1/orgs/acme/audit?per_page=2").bearer(&auditor).expect(200).await.body;
        assert_eq!((&log["total"], &log["has_next"]), (&json!(3), &json!(true)));
        assert_eq!(log["logs"][0]["action"], "org_member_add");
        assert!(log["logs"][0].get("ip_address").is_none(), "addresses are the platform's");
        let rest = format!("/v1/orgs/acme/audit?per_page=2&cursor={}", text(&log["next_cursor"]));
        let rest = app.get(rest).bearer(&auditor).expect(200).await.body;
        assert_eq!((&rest["logs"][0]["action"], &rest["next_cursor"]), (&json!("org_create"), &Value::Null));
        let other = app.get("/v1/orgs/acme/audit?action=org_create").bearer(&owner).expect(200).await.body;
        assert_eq!(other["total"], 1, "another organization's entries are not here");
        app.get("/v1/orgs/acme/audit?action=x").bearer(&owner).problem(422, "validation_failed").await;

        let file = app.get("/v1/orgs/acme/audit/export?action=org_member_add").bearer(&auditor).expect(200).await;
        assert_eq!(file.headers["content-disposition"], "attachment; filename=\"org-audit-acme.csv\"");
        let csv = String::from_utf8(file.bytes.to_vec()).unwrap();
        assert_eq!(csv.matches("\r\n").count(), 3);
        assert!(csv.starts_with("id,occurred_at,action,") && !csv.contains("192.0.2.1"), "{csv}");
        let exports = app.get("/v1/orgs/acme/audit?action=org_audit_export").bearer(&owner).expect(200).await.body;
        assert_eq!((&exports["total"], &exports["logs"][0]["actor_username"]), (&json!(1), &json!("aura")));
    }
}
