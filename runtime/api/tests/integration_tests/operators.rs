//! Queues, schedules, nodes, actors: what operators see and steer (jobs.md §5, §7).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{self, column, text};

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_steer_the_queues() {
    app::each(async |server| {
        let (root, ada) = (server.admin("root").await, server.person("ada").await);
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
        assert_eq!((&queue().await["paused"], &queue().await["paused_by"]), (&json!(true), &json!("root")));
        assert_eq!(server.audited("admin_queue_pause").await, 1);

        // What waits can be cancelled; what is cancelled cannot be cancelled again.
        let job = server.post("/v1/admin/search/reindex", json!({})).bearer(&root.token).expect(202).await.body;
        let path = format!("/v1/admin/jobs/{}", text(&job["job_id"]));
        let cancel = || server.call("POST", format!("{path}/cancel"));
        cancel().bearer(&ada.token).problem(403, "insufficient_scope").await;
        let cancelled = cancel().bearer(&root.token).expect(200).await.body;
        assert_eq!(
            (&cancelled["job"]["status"], &cancelled["job"]["dead_reason"]),
            (&json!("dead"), &json!("cancelled"))
        );
        let refused = cancel().bearer(&root.token).problem(409, "state_conflict").await;
        assert_eq!(refused["state"], "dead");
        let absent = format!("/v1/admin/jobs/{}/cancel", text(&json!(ada.id)));
        server.call("POST", absent).bearer(&root.token).problem(404, "not_found").await;
        assert_eq!(server.audited("admin_job_cancel").await, 1);

        steer("reindex_search", "resume").bearer(&root.token).expect(200).await;
        assert_eq!(queue().await["paused"], false);
        assert_eq!(server.audited("admin_queue_resume").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_schedules_nodes_and_the_tree() {
    app::each(async |server| {
        let root = server.admin("root").await;
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
