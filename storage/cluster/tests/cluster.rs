//! One contract for both kinds of cluster, and Redis coming and going.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use publaryn_cluster::{
    Charge, Charged, Cluster, ClusterError, InProcess, Invalidation, RedisCluster, SharedBuckets, testing::Redis,
};
use publaryn_core::PackageId;
use tokio::task::JoinHandle;

/// Long enough for a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster connection that is being run.
struct Running {
    cluster: Arc<RedisCluster>,
    run: JoinHandle<()>,
}

impl Running {
    fn new(url: &str) -> Self {
        let cluster = Arc::new(RedisCluster::new(url).unwrap());
        Self { run: Self::spawn(&cluster), cluster }
    }
    async fn connected(url: &str) -> Self {
        let running = Self::new(url);
        running.until_connected().await;
        running
    }
    fn spawn(cluster: &Arc<RedisCluster>) -> JoinHandle<()> {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.run().await })
    }
    async fn restart(&mut self) {
        self.run.abort();
        // Ends with the cancellation.
        let _ = (&mut self.run).await;
        self.run = Self::spawn(&self.cluster);
    }
    async fn until_connected(&self) {
        eventually("connected", || async { self.cluster.status().connected && self.cluster.probe().await.is_ok() })
            .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.run.abort();
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let met = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("never {what}"));
}

async fn next(messages: &mut BoxStream<'static, Invalidation>) -> Invalidation {
    tokio::time::timeout(PATIENCE, messages.next()).await.expect("a message in time").expect("no end")
}

/// The next message that is not `Missed`.
async fn next_said(messages: &mut BoxStream<'static, Invalidation>) -> Invalidation {
    loop {
        match next(messages).await {
            Invalidation::Missed => {}
            said => return said,
        }
    }
}

fn package() -> Invalidation {
    Invalidation::Package { id: PackageId::new() }
}

async fn messages_arrive_once_and_in_order(cluster: &dyn Cluster) {
    let (mut one, mut two) = (cluster.subscribe(), cluster.subscribe());
    let said = [
        package(),
        Invalidation::Token,
        Invalidation::Session,
        Invalidation::Jobs { kind: "scan_artifact".into() },
        Invalidation::Settings,
    ];
    for message in &said {
        cluster.broadcast(message.clone());
    }
    for expected in &said {
        assert_eq!(&next(&mut one).await, expected);
        assert_eq!(&next(&mut two).await, expected);
    }
    let mut late = cluster.subscribe();
    let last = package();
    cluster.broadcast(last.clone());
    assert_eq!(next(&mut late).await, last, "only what is said from now on");
    assert_eq!(next(&mut one).await, last, "nothing in between, nothing twice");
    cluster.probe().await.unwrap();
}

async fn a_reader_that_falls_behind_is_told(cluster: &dyn Cluster) {
    let mut slow = cluster.subscribe();
    for _ in 0..5_000 {
        cluster.broadcast(package());
    }
    assert_eq!(next(&mut slow).await, Invalidation::Missed);
    assert_ne!(next(&mut slow).await, Invalidation::Missed);
}

#[tokio::test]
async fn in_process() {
    messages_arrive_once_and_in_order(&InProcess::new()).await;
    a_reader_that_falls_behind_is_told(&InProcess::new()).await;
    assert!(InProcess::new().status().connected);
}

#[tokio::test]
async fn redis_within_one_replica() {
    let redis = Redis::start();
    let running = Running::connected(&redis.url()).await;
    messages_arrive_once_and_in_order(&*running.cluster).await;
    // The echo of its own messages has come and gone once a stranger's message arrives.
    let other = Running::connected(&redis.url()).await;
    let mut messages = running.cluster.subscribe();
    let foreign = package();
    other.cluster.broadcast(foreign.clone());
    assert_eq!(next(&mut messages).await, foreign);
    assert_eq!(running.cluster.status().received_total, 1);
    a_reader_that_falls_behind_is_told(&*running.cluster).await;
}

#[tokio::test]
async fn replicas_hear_each_other_and_other_databases_do_not() {
    let redis = Redis::start();
    let one = Running::connected(&redis.url()).await;
    let two = Running::connected(&redis.url()).await;
    let elsewhere = Running::connected(&redis.url().replace("/3", "/4")).await;
    let (mut to_one, mut to_two) = (one.cluster.subscribe(), two.cluster.subscribe());
    for _ in 0..50 {
        let (from_one, from_two) = (package(), package());
        one.cluster.broadcast(from_one.clone());
        assert_eq!(next(&mut to_one).await, from_one);
        assert_eq!(next(&mut to_two).await, from_one);
        two.cluster.broadcast(from_two.clone());
        assert_eq!(next(&mut to_two).await, from_two);
        assert_eq!(next(&mut to_one).await, from_two);
    }
    assert_eq!(elsewhere.cluster.status().received_total, 0);
}

#[tokio::test]
async fn strangers_on_the_channel_are_ignored() {
    let redis = Redis::start();
    let one = Running::connected(&redis.url()).await;
    let two = Running::connected(&redis.url()).await;
    let mut messages = one.cluster.subscribe();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let id = uuid::Uuid::now_v7();
    for nonsense in [
        "".to_owned(),
        "not json".to_owned(),
        format!(r#"{{"from":"{id}","message":{{"kind":"something_new"}}}}"#),
        format!(r#"{{"from":"{id}","message":{{"kind":"jobs","job":"{}"}}}}"#, "x".repeat(100_000)),
    ] {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg("publaryn:3:invalidations").arg(nonsense);
        let heard: i64 = publish.query_async(&mut connection).await.unwrap();
        assert_eq!(heard, 2);
    }
    let sensible = package();
    two.cluster.broadcast(sensible.clone());
    assert_eq!(next(&mut messages).await, sensible);
}

#[tokio::test]
async fn redis_may_go_and_come_back() {
    let mut redis = Redis::start();
    let one = Running::connected(&redis.url()).await;
    let two = Running::connected(&redis.url()).await;
    let mut to_two = two.cluster.subscribe();

    redis.kill();
    eventually("noticed", || async { !two.cluster.status().connected }).await;
    assert!(one.cluster.probe().await.is_err());
    let mut local = one.cluster.subscribe();
    let during = package();
    one.cluster.broadcast(during.clone());
    assert_eq!(next_said(&mut local).await, during, "this process still hears itself");
    for _ in 0..5_000 {
        one.cluster.broadcast(package());
    }
    let status = one.cluster.status();
    assert!(status.queue_depth <= status.queue_capacity && status.dropped_total > 0, "{status:?}");
    assert!(status.last_error.is_some());

    redis.resume();
    one.until_connected().await;
    two.until_connected().await;
    assert_eq!(next(&mut to_two).await, Invalidation::Missed, "an unheard past is announced");
    eventually("empty", || async { one.cluster.status().queue_depth == 0 }).await;
    let after = Invalidation::Jobs { kind: "after".into() };
    one.cluster.broadcast(after.clone());
    loop {
        match next(&mut to_two).await {
            Invalidation::Package { .. } | Invalidation::Missed => {}
            said => break assert_eq!(said, after),
        }
    }
    assert!(two.cluster.status().disconnects_total >= 1);
}

#[tokio::test]
async fn a_server_without_redis_starts_and_connects_later() {
    let mut redis = Redis::start();
    redis.kill();
    let one = Running::new(&redis.url());
    assert!(one.cluster.probe().await.is_err());
    one.cluster.broadcast(package());
    assert!(!one.cluster.status().connected);
    redis.resume();
    one.until_connected().await;
    let two = Running::connected(&redis.url()).await;
    let mut to_two = two.cluster.subscribe();
    let said = Invalidation::Settings;
    one.cluster.broadcast(said.clone());
    loop {
        if next(&mut to_two).await == said {
            break;
        }
    }
}

#[tokio::test]
async fn a_redis_that_hangs_is_noticed() {
    let redis = Redis::start();
    let one = Running::connected(&redis.url()).await;
    redis.signal("-STOP");
    assert!(matches!(one.cluster.probe().await, Err(ClusterError::Timeout | ClusterError::Unavailable(_))));
    one.cluster.broadcast(package());
    eventually("noticed", || async { !one.cluster.status().connected }).await;
    redis.signal("-CONT");
    one.until_connected().await;
}

#[tokio::test]
async fn a_restarted_listener_announces_what_it_missed() {
    let redis = Redis::start();
    let mut one = Running::connected(&redis.url()).await;
    let mut messages = one.cluster.subscribe();
    one.restart().await;
    one.until_connected().await;
    assert_eq!(next(&mut messages).await, Invalidation::Missed);
    let two = Running::connected(&redis.url()).await;
    two.cluster.broadcast(Invalidation::Token);
    assert_eq!(next(&mut messages).await, Invalidation::Token);
}

#[tokio::test]
async fn impossible_addresses_are_refused_without_their_password() {
    for url in ["", "http://host", "redis://", "rediss://:hunter2@host:1", "redis://:hunter2@host:port"] {
        match RedisCluster::new(url) {
            Ok(_) => panic!("{url} was accepted"),
            Err(error) => assert!(!format!("{error:?} {error}").contains("hunter2"), "{url}"),
        }
    }
}

/// A bucket of 20 tokens of 3 s, as the limit on logins has.
fn login(bucket: &str, needs: u64, cost: u64) -> Charge {
    let seconds = Duration::from_secs;
    let (most, longest) = (seconds(60), seconds(3600));
    Charge { bucket: bucket.into(), needs: seconds(needs), cost: seconds(cost), most, longest }
}

/// About: the clock goes on.
fn owes(charged: &Charged, seconds: u64) -> bool {
    charged.debt <= Duration::from_secs(seconds) && charged.debt > Duration::from_secs(seconds.saturating_sub(60))
}

#[tokio::test]
async fn replicas_take_from_the_same_buckets() {
    let redis = Redis::start();
    let (one, two) = (RedisCluster::new(&redis.url()).unwrap(), RedisCluster::new(&redis.url()).unwrap());
    for n in 1..=20 {
        let replica = if n % 2 == 0 { &one } else { &two };
        let [charged] = replica.charge(&[login("a", 3, 3)]).await.unwrap().try_into().unwrap();
        assert!(charged.is_taken && owes(&charged, 3 * n), "{n}: {charged:?}");
    }
    let [held, other] = one.charge(&[login("a", 3, 3), login("b", 3, 3)]).await.unwrap().try_into().unwrap();
    assert!(!held.is_taken && owes(&held, 60), "{held:?}");
    assert!(other.is_taken && owes(&other, 3), "{other:?}");
    assert_eq!(two.charge(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn looking_takes_nothing_and_what_was_let_through_is_owed() {
    let redis = Redis::start();
    let one = RedisCluster::new(&redis.url()).unwrap();
    let all = [login("a", 3, 0), login("a", 0, 57), login("a", 3, 0), login("a", 0, 6), login("a", 3, 0)];
    let mut is_taken = Vec::new();
    for charge in all {
        is_taken.extend(one.charge(&[charge]).await.unwrap().iter().map(|charged| charged.is_taken));
    }
    assert_eq!(is_taken, [true, true, true, true, false]);
    let [forgiven] = one.charge(&[login("a", 0, 100_000)]).await.unwrap().try_into().unwrap();
    assert!(owes(&forgiven, 3600), "{forgiven:?}");
}

#[tokio::test]
async fn a_bucket_that_is_full_again_is_gone_from_redis() {
    let redis = Redis::start();
    let one = RedisCluster::new(&redis.url()).unwrap();
    let short = Charge { cost: Duration::from_millis(20), ..login("a", 0, 0) };
    one.charge(&[short, login("b", 0, 60)]).await.unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    eventually("forgotten", || {
        let mut connection = connection.clone();
        async move {
            let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
            keys == ["publaryn:rate:b"]
        }
    })
    .await;
}

#[tokio::test]
async fn without_redis_nothing_is_said_of_buckets() {
    let mut redis = Redis::start();
    let one = RedisCluster::new(&redis.url()).unwrap();
    redis.kill();
    one.charge(&[login("a", 3, 3)]).await.unwrap_err();
    redis.resume();
    eventually("back", || async { one.charge(&[login("a", 3, 3)]).await.is_ok() }).await;
    assert!(InProcess::new().buckets().is_none());
}
