//! Queues, schedules, nodes, actors: what operators see and steer (jobs.md §5, §7).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{self, Server, column, text};

/// What the tallies say is what counting says.
async fn numbers_are_right(server: &Server, after: &str) {
    let db = server.db();
    let open = "(SELECT p.id FROM packages p JOIN repositories r ON r.id = p.repository_id WHERE p.visibility = 'public' \
         AND r.visibility = 'public' AND NOT p.is_quarantined AND p.deleted_at IS NULL)";
    let live = format!("releases WHERE status IN ('published', 'deprecated', 'yanked') AND package_id IN {open}");
    let numbers = db.statistics().await.unwrap();
    for (told, counted) in [
        (numbers.packages, format!("packages WHERE id IN {open}")),
        (numbers.releases, live),
        (numbers.organizations, "organizations".to_owned()),
        (numbers.artifacts, "artifacts".to_owned()),
        (numbers.findings, "findings".to_owned()),
        (numbers.unresolved_findings, "findings WHERE resolved_at IS NULL".to_owned()),
    ] {
        assert_eq!(told, db.count_rows(&counted).await.unwrap(), "after {after}: {counted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tallies_follow_every_change() {
    app::each_with(&[("policy.name_similarity", "warn")], async |server| {
        let (ada, eve) = (server.person("ada").await, server.person("eve").await);
        let acme = server.org(&ada, "acme").await;
        server.org(&ada, "gone").await;
        server.repository(&ada, &acme, "main", "public", "public").await;
        server.repository(&ada, &acme, "vault", "private", "private").await;
        for (name, repository) in [("tool-one", "main"), ("tool-two", "main"), ("secret-tool", "vault")] {
            let body = json!({"ecosystem": "npm", "name": name, "repository_slug": repository});
            server.post("/v1/packages", body).bearer(&ada.token).expect(201).await;
            for version in ["1.0.0", "1.1.0"] {
                server.npm_published(&ada.token, name, version).await;
            }
        }
        server.npm_published(&eve.token, "tool-ones", "1.0.0").await;
        numbers_are_right(server, "publishing").await;
        assert_eq!(server.db().statistics().await.unwrap().releases, 5);

        let steps: [(&str, &str, Value); 12] = [
            ("PUT", "/v1/packages/npm/tool-one/releases/1.0.0/yank", json!({})),
            ("DELETE", "/v1/packages/npm/tool-one/releases/1.0.0", json!({})),
            ("PUT", "/v1/packages/npm/tool-two/quarantine", json!({"reason": "test"})),
            ("PATCH", "/v1/repositories/main", json!({"visibility": "unlisted"})),
            ("DELETE", "/v1/packages/npm/tool-two/quarantine", json!({})),
            ("PATCH", "/v1/repositories/main", json!({"visibility": "public", "confirm_exposure": true})),
            ("PATCH", "/v1/packages/npm/tool-two", json!({"visibility": "private"})),
            ("PATCH", "/v1/packages/npm/tool-two", json!({"description": "x", "visibility": "public"})),
            ("POST", "/v1/packages/npm/tool-two/releases", json!({"version": "9.0.0"})),
            ("DELETE", "/v1/packages/npm/tool-two/releases/9.0.0", json!({})),
            ("POST", "/v1/packages", json!({"ecosystem": "npm", "name": "empty-one", "repository_slug": "main"})),
            ("DELETE", "/v1/packages/npm/empty-one?mode=delete", json!({})),
        ];
        for (method, path, body) in steps {
            let answer = server.call(method, path).json(body).bearer(&ada.token).send().await;
            assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text);
            numbers_are_right(server, path).await;
        }
        server.delete("/v1/orgs/gone").bearer(&ada.token).expect(200).await;
        let found = server.get("/v1/packages/npm/tool-ones/security-findings").expect(200).await.body;
        let path = format!("/v1/packages/npm/tool-ones/security-findings/{}", text(&found["findings"][0]["id"]));
        for is_resolved in [true, false, true] {
            server.patch(&path, json!({"is_resolved": is_resolved})).bearer(&eve.token).expect(200).await;
            numbers_are_right(server, "triage").await;
        }
        let mut tx = server.db().begin().await.unwrap();
        assert!(tx.fold_tallies(1_000).await.unwrap() > 10);
        tx.commit().await.unwrap();
        numbers_are_right(server, "folding").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_steer_the_queues() {
    app::each(async |server| {
        let (root, ada) = (server.admin("chief").await, server.person("ada").await);
        for path in ["queues", "schedules", "workers", "actors"] {
            let path = format!("/v1/admin/{path}");
            server.get(&path).problem(401, "unauthenticated").await;
            server.get(&path).bearer(&ada.token).problem(403, "insufficient_scope").await;
        }
        let queue = async || {
            let all = server.get("/v1/admin/queues").bearer(&root.token).expect(200).await.body;
            all["queues"].as_array().unwrap().iter().find(|queue| queue["kind"] == "reindex_search").unwrap().clone()
        };
        assert_eq!((&queue().await["paused"], &queue().await["paused_by"]), (&json!(false), &Value::Null));
        let steer = |kind: &str, how: &str| server.call("POST", format!("/v1/admin/queues/{kind}/{how}"));
        steer("nothing", "pause").bearer(&root.token).problem(404, "not_found").await;
        steer("reindex_search", "pause").bearer(&ada.token).problem(403, "insufficient_scope").await;
        for _ in 0..2 {
            let answer = steer("reindex_search", "pause").bearer(&root.token).expect(200).await.body;
            assert_eq!(answer, json!({"kind": "reindex_search", "paused": true}));
        }
        assert_eq!((&queue().await["paused"], &queue().await["paused_by"]), (&json!(true), &json!("chief")));
        assert_eq!(server.audited("admin_queue_pause").await, 1);

        // What waits can be cancelled, and the engine lets it wait as soon as it knows of the pause.
        let since = Instant::now();
        let cancelled = loop {
            let job = server.post("/v1/admin/search/reindex", json!({})).bearer(&root.token).expect(202).await.body;
            let path = format!("/v1/admin/jobs/{}/cancel", text(&job["job_id"]));
            server.call("POST", &path).bearer(&ada.token).problem(403, "insufficient_scope").await;
            let answer = server.call("POST", &path).bearer(&root.token).send().await;
            if answer.status == 200 {
                // What is cancelled is not cancelled again.
                let refused = server.call("POST", &path).bearer(&root.token).problem(409, "state_conflict").await;
                assert_eq!(refused["state"], "dead");
                break answer.body;
            }
            assert!(matches!(answer.status, 202 | 409), "{}", answer.text);
            assert!(since.elapsed() < Duration::from_secs(30), "the pause has no effect");
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let job = &cancelled["job"];
        assert_eq!((&job["status"], &job["dead_reason"]), (&json!("dead"), &json!("cancelled")));
        let absent = format!("/v1/admin/jobs/{}/cancel", text(&json!(ada.id)));
        server.call("POST", absent).bearer(&root.token).problem(404, "not_found").await;
        assert!(server.audited("admin_job_cancel").await > 0);

        steer("reindex_search", "resume").bearer(&root.token).expect(200).await;
        assert_eq!(queue().await["paused"], false);
        assert_eq!(server.audited("admin_queue_resume").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_watch_the_queue() {
    app::each_with(&[("limits.sse_streams", "1")], async |server| {
        let (root, ada) = (server.admin("chief").await, server.person("ada").await);
        let path = "/v1/admin/jobs/stream";
        server.get(path).problem(401, "unauthenticated").await;
        server.get(path).bearer(&ada.token).problem(403, "insufficient_scope").await;
        server.get(format!("{path}?events=x")).bearer(&root.token).problem(422, "validation_failed").await;
        let mut events = server.get(format!("{path}?kind=reindex_search")).bearer(&root.token).open().await;
        assert_eq!(events.headers()["content-type"], "text/event-stream");
        let mut told = String::new();
        let mut read_until = async |wanted: &str| {
            let since = Instant::now();
            while !told.contains(wanted) {
                assert!(since.elapsed() < Duration::from_secs(30), "no {wanted} in {told}");
                let chunk = tokio::time::timeout(Duration::from_secs(30), events.chunk()).await.unwrap().unwrap();
                told.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
            }
            told.clone()
        };
        let snapshot = read_until("event: snapshot").await;
        assert!(snapshot.starts_with("id: ") && snapshot.contains("\"nodes_alive\":"), "{snapshot}");
        // There is one only.
        server.get(path).bearer(&root.token).problem(503, "unavailable").await;
        let job = server.post("/v1/admin/search/reindex", json!({})).bearer(&root.token).expect(202).await.body;
        let events_told = read_until(&format!("\"id\":\"{}\"", text(&job["job_id"]))).await;
        assert!(events_told.contains("event: job"), "{events_told}");
        assert!(!events_told.contains("\"kind\":\"index_package\",\"status\""), "{events_told}");
    })
    .await;
}

/// A stream read until it told `wanted`: what it told, and the identifiers of its events.
async fn told(server: &Server, token: &str, last: Option<&str>, wanted: &str) -> (String, Vec<u64>) {
    let since = Instant::now();
    let mut events = loop {
        let call = server.get("/v1/admin/jobs/stream").bearer(token);
        let call = if let Some(id) = last { call.header("last-event-id", id) } else { call };
        let response = call.open_if(200).await;
        if let Some(response) = response {
            break response;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "the place of the stream before stays taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut all = String::new();
    while !all.contains(wanted) {
        assert!(since.elapsed() < Duration::from_secs(30), "no {wanted} in {all}");
        let chunk = tokio::time::timeout(Duration::from_secs(30), events.chunk()).await.unwrap().unwrap();
        all.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
    }
    let ids = all.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect();
    (all, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_cut_off_goes_on_where_it_was() {
    app::each_with(&[("limits.sse_streams", "1")], async |server| {
        let root = server.admin("chief").await;
        let (_, ids) = told(server, &root.token, None, "event: snapshot").await;
        let last = ids.last().unwrap().to_string();
        let job = server.post("/v1/admin/search/reindex", json!({})).bearer(&root.token).expect(202).await.body;
        let job = format!("\"id\":\"{}\"", text(&job["job_id"]));
        // It was told while nobody listened.
        let since = Instant::now();
        while server
            .get("/v1/admin/jobs?state=completed&kind=reindex_search")
            .bearer(&root.token)
            .expect(200)
            .await
            .body["jobs"]
            == json!([])
        {
            assert!(since.elapsed() < Duration::from_secs(30), "the job does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (all, ids) = told(server, &root.token, Some(&last), "event: summary").await;
        assert!(all.contains(&job) && !all.contains("event: snapshot"), "{all}");
        assert!(all.contains("event: node") && all.contains("\"nodes_alive\":"), "{all}");
        assert!(ids.is_sorted_by(|a, b| a < b) && ids[0] > last.parse().unwrap(), "{ids:?}");
        // Nobody knows that one any more.
        told(server, &root.token, Some("1"), "event: snapshot").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_schedules_nodes_and_the_tree() {
    app::each(async |server| {
        let root = server.admin("chief").await;
        let get = async |path: &str| server.get(format!("/v1/admin/{path}")).bearer(&root.token).expect(200).await.body;
        // The one node leads as soon as it has looked around.
        let since = Instant::now();
        while get("schedules").await["leader"].is_null() {
            assert!(since.elapsed() < Duration::from_secs(30), "nobody leads");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let schedules = get("schedules").await;
        assert!(column(&schedules["schedules"], "name").contains(&"blobs".to_owned()), "{schedules}");
        let run = |name: &str| server.call("POST", format!("/v1/admin/schedules/{name}/run")).bearer(&root.token);
        let job = run("blobs").expect(202).await.body;
        assert_eq!(get(&format!("jobs/{}", text(&job["job_id"]))).await["kind"], "cleanup_blobs");
        run("nothing").problem(404, "not_found").await;
        assert_eq!(server.audited("admin_schedule_run").await, 1);

        let nodes = get("workers").await;
        let node = &nodes["nodes"][0];
        assert_eq!((&node["alive"], &node["leader"], &node["draining"]), (&json!(true), &json!(true), &json!(false)));

        let tree = get("actors").await;
        assert_eq!((&tree["tree"]["name"], &tree["node_id"]), (&json!("root"), &node["node_id"]));
        assert!(column(&tree["tree"]["children"], "name").contains(&"root/http".to_owned()));
        let jobs = get("actors?name=root/jobs&depth=0").await;
        assert_eq!((&jobs["tree"]["name"], &jobs["tree"]["children"]), (&json!("root/jobs"), &json!([])));
        assert!(jobs["tree"]["children_total"].as_u64().unwrap() > 3);
        server.get("/v1/admin/actors?name=root/none").bearer(&root.token).problem(404, "not_found").await;
        server.get("/v1/admin/actors?node=other").bearer(&root.token).problem(404, "not_found").await;
        server.get("/v1/admin/actors?depth=x").bearer(&root.token).problem(400, "malformed_request").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_than_last_time_is_audited() {
    app::each(async |server| {
        let root = server.admin("chief").await;
        let note = async |policy: Value| {
            let policy = policy.as_object().unwrap().clone();
            server.registry().note_policy(policy).await.unwrap();
            let entries = server.get("/v1/audit?action=policy_change").bearer(&root.token).expect(200).await.body;
            entries["logs"].as_array().unwrap().clone()
        };
        // The start of the server was the first time.
        assert!(note(json!({"policy.name_similarity": "enforce", "scan.new_setting": "1"})).await.is_empty());
        let told = note(json!({"policy.name_similarity": "off", "scan.new_setting": "1"})).await;
        assert_eq!(told.len(), 1, "{told:?}");
        let changes = json!({"policy.name_similarity": {"before": "enforce", "after": "off"}});
        assert_eq!((&told[0]["metadata"]["changes"], &told[0]["actor_user_id"]), (&changes, &Value::Null));
        assert_eq!(note(json!({"policy.name_similarity": "off", "scan.new_setting": "1"})).await.len(), 1);
    })
    .await;
}
