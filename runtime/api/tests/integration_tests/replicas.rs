//! What several replicas tell each other over Redis, with Redis going and coming back: how much of a limit was used
//! (docs/adr/0032-rate-limits.md), and what jobs do (jobs.md §6).
//!
//! Each server has a database of its own here: Redis is all they share.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use publaryn_cluster::testing::Redis;
use serde_json::Value;

use crate::{
    app::Server,
    limits::{from, limited, login, told},
};

/// Long enough for a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let met = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("never {what}"));
}

async fn two_replicas(redis: &Redis, settings: &[(&'static str, &str)]) -> (Server, Server) {
    let url = redis.url();
    let settings = [settings, &[("redis.url", &*url)]].concat();
    (Server::start(&settings, None).await, Server::start(&settings, None).await)
}

/// What the actor says of itself on the operator surface.
async fn upkeep(server: &Server, token: &str) -> Value {
    let path = "/v1/admin/actors?name=root/auth/rate_limits";
    server.get(path).bearer(token).expect(200).await.body["tree"]["state"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_count_logins_together_at_once() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis, &limited(&[("rate_limit.auth_per_minute", "4")])).await;
    for n in 0..4 {
        let replica = if n % 2 == 0 { &one } else { &two };
        let answer = from(login(replica, "eve", "guess"), "192.0.2.1").expect(401).await;
        assert_eq!(told(&answer).map(|told| told.1), Some(3 - n));
    }
    for replica in [&one, &two] {
        from(login(replica, "eve", "guess"), "192.0.2.1").problem(429, "rate_limited").await;
        from(login(replica, "eve", "guess"), "192.0.2.2").expect(401).await;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_hear_what_others_let_through() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis, &limited(&[("rate_limit.protocol_read_per_minute", "60")])).await;
    let ask = |server: &Server| from(server.get("/npm/-/ping"), "192.0.2.1");
    for _ in 0..40 {
        ask(&one).expect(200).await;
    }
    // On its own, the other one would count its own few requests only. The debt of forty requests takes 40 s to go.
    let asked = AtomicU64::new(0);
    eventually("heard of", || async {
        tokio::time::sleep(Duration::from_millis(450)).await;
        let asked = 1 + asked.fetch_add(1, Ordering::Relaxed);
        60 - told(&ask(&two).send().await).unwrap().1 >= asked + 10
    })
    .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_replica_has_its_own_limit_and_never_none() {
    let mut redis = Redis::start();
    let limits = [("rate_limit.auth_per_minute", "3"), ("rate_limit.protocol_read_per_minute", "5")];
    let (one, two) = two_replicas(&redis, &limited(&limits)).await;
    let root = one.admin("boss").await;
    eventually("shared", || async { upkeep(&one, &root.token).await["shared"] == "yes" }).await;

    redis.kill();
    for replica in [&one, &two] {
        for _ in 0..3 {
            from(login(replica, "eve", "guess"), "192.0.2.1").expect(401).await;
        }
        from(login(replica, "eve", "guess"), "192.0.2.1").problem(429, "rate_limited").await;
        for status in [200, 200, 200, 200, 200, 429] {
            from(replica.get("/npm/-/ping"), "192.0.2.1").expect(status).await;
        }
    }
    eventually("missed", || async { upkeep(&one, &root.token).await["shared"] == "away" }).await;

    redis.resume();
    eventually("shared again", || async { upkeep(&one, &root.token).await["shared"] == "yes" }).await;
    let attempts = AtomicU64::new(0);
    eventually("together again", || async {
        // A network that nobody has used yet, for each attempt to find both replicas at it.
        let n = attempts.fetch_add(1, Ordering::Relaxed);
        let (address, name) = (format!("2001:db8:0:{n:x}::1"), format!("eve{n}"));
        for _ in 0..3 {
            from(login(&one, &name, "guess"), &address).expect(401).await;
        }
        from(login(&two, &name, "guess"), &address).send().await.status == 429
    })
    .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_without_redis_and_limits() {
    let mut redis = Redis::start();
    redis.kill();
    let (one, two) = two_replicas(&redis, &limited(&[("rate_limit.auth_per_minute", "1")])).await;
    for replica in [&one, &two] {
        from(login(replica, "eve", "guess"), "192.0.2.1").expect(401).await;
        from(login(replica, "eve", "guess"), "192.0.2.1").expect(429).await;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_count_failed_logins_of_an_account_together() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis, &[]).await;
    let rounds = AtomicU64::new(0);
    eventually("counted together", || async {
        // An account that nobody tried yet: what was said before the other one listened is lost.
        let name = format!("nobody{}", rounds.fetch_add(1, Ordering::Relaxed));
        for _ in 0..9 {
            login(&one, &name, "guess").expect(401).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        login(&two, &name, "guess").expect(401).await;
        let eleventh = login(&two, &name, "guess").send().await;
        eleventh.status == 429 && eleventh.body["code"] == "login_throttled"
    })
    .await;
    one.stop().await;
    two.stop().await;
}

/// An open event stream, and everything it told so far.
struct Watching {
    events: reqwest::Response,
    told: String,
}

impl Watching {
    async fn open(server: &Server, token: &str) -> Self {
        let events = server.get("/v1/admin/jobs/stream?events=snapshot,job").bearer(token).open().await;
        let mut watching = Self { events, told: String::new() };
        watching.until("event: snapshot").await;
        watching
    }

    /// Reads on until this was told; what came before it is forgotten then.
    async fn until(&mut self, wanted: &str) {
        let told = async {
            while !self.told.contains(wanted) {
                let chunk = self.events.chunk().await.unwrap().expect("the stream goes on");
                self.told.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, told).await;
        in_time.unwrap_or_else(|_| panic!("no {wanted} in {}", self.told));
        let end = self.told.find(wanted).expect("just seen") + wanted.len();
        self.told.drain(..end);
    }
}

impl Watching {
    /// What is told of a job that `start` starts on another node. Nobody keeps what is said while nobody listens yet,
    /// so it is started again until something is heard.
    async fn job(&mut self, start: &impl AsyncFn() -> String) -> Value {
        let heard = async {
            loop {
                let job = start().await;
                while let Ok(chunk) = tokio::time::timeout(Duration::from_secs(3), self.events.chunk()).await {
                    self.told.push_str(std::str::from_utf8(&chunk.unwrap().expect("the stream goes on")).unwrap());
                    let line = self.told.lines().find(|line| line.contains(&job) && line.ends_with('}'));
                    if let Some(event) = line.and_then(|line| line.strip_prefix("data: ")) {
                        return serde_json::from_str(event).unwrap();
                    }
                }
            }
        };
        let event = tokio::time::timeout(PATIENCE, heard).await;
        event.unwrap_or_else(|_| panic!("nothing heard of a job"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_what_jobs_do_on_every_node() {
    let mut redis = Redis::start();
    let (one, two) = two_replicas(&redis, &[]).await;
    let (root, other) = (one.admin("boss").await, two.admin("chief").await);
    eventually("connected", || async { two.get("/readiness").send().await.body["redis"] == "ok" }).await;
    let reindex = async || {
        let body = serde_json::json!({});
        let answer = one.post("/v1/admin/search/reindex", body).bearer(&root.token).expect(202).await;
        answer.body["job_id"].as_str().unwrap().to_owned()
    };
    let mut stream = Watching::open(&two, &other.token).await;
    let event = stream.job(&reindex).await;
    assert_eq!(event["kind"], "reindex_search", "{event}");
    assert!(event["status"].is_string() && event["at"].is_string(), "{event}");

    // A gap begins anew with a snapshot.
    redis.kill();
    eventually("noticed", || async { two.get("/readiness").send().await.body["redis"] == "error" }).await;
    redis.resume();
    stream.until("event: snapshot").await;
    stream.job(&reindex).await;
    one.stop().await;
    two.stop().await;
}
