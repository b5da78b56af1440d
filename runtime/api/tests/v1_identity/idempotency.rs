//! `Idempotency-Key` (control-plane.md §1.5), on a route of our own that counts how often it ran.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use publaryn_api::v1::{
    extract::Body,
    problem::Problem,
    route::{Routes, signed_in},
};
use publaryn_core::RegistryError;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::app::{self, Answer, App};

/// A server with `POST /v1/counted`: counts, waits for a permit of `gate` where asked to, and answers.
struct Counted {
    app: App,
    runs: Arc<AtomicU64>,
    gate: Arc<Semaphore>,
}

async fn each() -> Vec<Counted> {
    app::each().await.into_iter().map(counted).collect()
}

fn counted(app: App) -> Counted {
    let (runs, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
    let shared = (runs.clone(), gate.clone());
    let handler = move |body: Body| {
        let (runs, gate) = shared.clone();
        async move {
            let mut fields = body.fields().await?;
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            match fields.text("do").as_deref() {
                Some("wait") => drop(gate.acquire().await),
                Some("fail") => return Err(Problem::from(RegistryError::internal("as asked"))),
                Some("refuse") => fields.report("do", "was refused"),
                _ => {}
            }
            fields.finish()?;
            Ok::<Response, Problem>((http::StatusCode::CREATED, Json(json!({ "run": run }))).into_response())
        }
    };
    let routes = Routes::new("test").post("/counted", handler, signed_in("Counts").body("do s").answer(201, "run i"));
    Counted { app: app.serving(routes), runs, gate }
}

impl Counted {
    async fn ask(&self, bearer: &str, key: &str, what: &str) -> Answer {
        let call = self.app.post("/v1/counted", json!({ "do": what })).bearer(bearer).header("idempotency-key", key);
        call.dispatch().await
    }
    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }
}

fn status_and_run(answer: &Answer) -> (u16, &Value) {
    (answer.status.as_u16(), &answer.body["run"])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_answered_as_the_first_time() {
    for server in each().await {
        let alice = server.app.someone("alice").await;
        let first = server.ask(&alice, "k1", "count").await;
        let again = server.ask(&alice, "k1", "count").await;
        assert_eq!((status_and_run(&first), first.bytes.clone()), ((201, &json!(1)), again.bytes.clone()));
        assert_eq!(again.status, 201);
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert!(first.headers.get("idempotency-replayed").is_none());
        assert_eq!(again.headers["content-type"], "application/json");
        assert_eq!(again.headers["cache-control"], "private, no-store");
        assert_eq!(server.runs(), 1);

        // Another body, another key, another person, another credential of the same person, no key.
        assert_eq!(server.ask(&alice, "k1", "other").await.body["code"], "idempotency_key_reused");
        assert_eq!(status_and_run(&server.ask(&alice, "k2", "count").await), (201, &json!(2)));
        let bob = server.app.someone("bob").await;
        assert_eq!(status_and_run(&server.ask(&bob, "k1", "count").await), (201, &json!(3)));
        let token = server.app.token(&alice, &["packages:read"]).await;
        assert_eq!(status_and_run(&server.ask(&token, "k1", "count").await), (201, &json!(1)));
        for run in [4, 5] {
            let plain = server.app.post("/v1/counted", json!({"do": "count"})).bearer(&alice).dispatch().await;
            assert_eq!(plain.body["run"], run);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_kept_and_faults_are_not() {
    for server in each().await {
        let alice = server.app.someone("alice").await;
        let refused = server.ask(&alice, "k1", "refuse").await;
        let again = server.ask(&alice, "k1", "refuse").await;
        assert_eq!((refused.status.as_u16(), &refused.body), (422, &again.body));
        assert_eq!(again.headers["content-type"], "application/problem+json");
        assert_eq!((server.runs(), &again.headers["idempotency-replayed"]), (1, &"true".parse().unwrap()));
        for run in [2, 3] {
            assert_eq!(server.ask(&alice, "k2", "fail").await.status, 500);
            assert_eq!(server.runs(), run);
        }
        // Freed by the fault, the key may even be used for something else.
        assert_eq!(status_and_run(&server.ask(&alice, "k2", "count").await), (201, &json!(4)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_request_is_neither_run_twice_nor_lost_with_its_client() {
    for server in each().await {
        let alice = server.app.someone("alice").await;
        {
            let waiting = server.ask(&alice, "k1", "wait");
            tokio::pin!(waiting);
            // Until the handler is in it.
            while server.runs() == 0 {
                tokio::select! {
                    _ = &mut waiting => panic!("answered before it was let through"),
                    () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
                }
            }
            let meanwhile = server.ask(&alice, "k1", "wait").await;
            assert_eq!((meanwhile.status.as_u16(), &meanwhile.body["code"]), (409, &json!("idempotency_in_progress")));
            // The client goes away here.
        }
        server.gate.add_permits(1);
        let mut answer = server.ask(&alice, "k1", "wait").await;
        while answer.status == 409 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            answer = server.ask(&alice, "k1", "wait").await;
        }
        assert_eq!((status_and_run(&answer), server.runs()), ((201, &json!(1)), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_visible_ascii_and_bodies_stay_bounded() {
    for server in each().await {
        let alice = server.app.someone("alice").await;
        for bad in ["", "a b", "ä", &"x".repeat(129)] {
            let answer = server.ask(&alice, bad, "count").await;
            assert_eq!((answer.status.as_u16(), &answer.body["code"]), (400, &json!("malformed_request")), "{bad}");
            assert_eq!(answer.body["errors"][0]["parameter"], "Idempotency-Key");
        }
        assert_eq!(server.ask(&alice, "k", &"x".repeat(5000)).await.status, 413);
        assert_eq!(server.runs(), 0);
        assert_eq!(status_and_run(&server.ask(&alice, &"x".repeat(128), "count").await), (201, &json!(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_forgotten_after_a_day() {
    for server in each().await {
        let alice = server.app.someone("alice").await;
        server.ask(&alice, "k1", "count").await;
        let db = server.app.identity.db();
        let forget = async |before: publaryn_core::Timestamp| {
            let mut tx = db.begin().await.unwrap();
            let gone = tx.delete_old_idempotency_keys(before, 100).await.unwrap();
            tx.commit().await.unwrap();
            gone
        };
        let now = publaryn_core::Timestamp::now();
        assert_eq!(forget(now - publaryn_api::v1::idempotency::KEPT_FOR).await, 0);
        assert_eq!(forget(now + std::time::Duration::from_secs(1)).await, 1);
        assert_eq!(status_and_run(&server.ask(&alice, "k1", "count").await), (201, &json!(2)));
    }
}
