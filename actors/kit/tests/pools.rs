//! Keyed pools and temporary workers.

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use publaryn_actors::{
    CallError, ChildSpec, Context, KeyedPool, PoolOptions, SupervisorSpec, Tree, TreeOptions, install_panic_hook,
};
use serde_json::json;
use support::{find, until};
use tokio::sync::{Semaphore, mpsc};

const LONG: Duration = Duration::from_secs(20);

type Pool = KeyedPool<&'static str, u32, u32>;

struct Rig {
    tree: Tree,
    pool: Pool,
    /// One permit lets one job end.
    gate: Arc<Semaphore>,
    running: Arc<Mutex<HashMap<&'static str, usize>>>,
    order: Arc<Mutex<Vec<(&'static str, u32)>>>,
}

/// Jobs wait at the gate; job 13 panics there.
async fn rig(workers: usize, queue: usize) -> Rig {
    install_panic_hook();
    let gate = Arc::new(Semaphore::new(0));
    let running: Arc<Mutex<HashMap<&'static str, usize>>> = Arc::default();
    let order: Arc<Mutex<Vec<(&'static str, u32)>>> = Arc::default();
    let (g, r, o) = (gate.clone(), running.clone(), order.clone());
    let options = PoolOptions { workers, queue, timeout: LONG };
    let (child, pool) = KeyedPool::new(
        "packages",
        options,
        |key| json!({"package": key}),
        move |key, job: u32| {
            let (gate, running, order) = (g.clone(), r.clone(), o.clone());
            async move {
                *running.lock().unwrap().entry(key).or_default() += 1;
                gate.acquire().await.unwrap().forget();
                let before = running.lock().unwrap().insert(key, 0).unwrap();
                assert_eq!(before, 1, "one job per key at a time");
                assert_ne!(job, 13, "unlucky");
                order.lock().unwrap().push((key, job));
                job * 2
            }
        },
    );
    let tree = Tree::start(SupervisorSpec::root(&[]).child(child), TreeOptions::default()).await;
    until("pool is up", || !pool.is_shut() && find(&tree, "root/packages").children_total == workers).await;
    Rig { tree, pool, gate, running, order }
}

impl Rig {
    fn call(&self, key: &'static str, job: u32) -> tokio::task::JoinHandle<Result<u32, CallError>> {
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.call(key, job).await })
    }

    async fn queued(&self, count: usize) {
        until("queued", || self.pool.depth() == count).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn same_key_in_turn_other_keys_in_parallel() {
    let rig = rig(4, 16).await;
    let mut calls = Vec::new();
    for (n, (key, job)) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 5)].into_iter().enumerate() {
        calls.push((rig.call(key, job), job));
        rig.queued(n + 1).await;
    }
    until("three keys at work", || rig.running.lock().unwrap().values().filter(|n| **n == 1).count() == 3).await;
    until("workers tell their package", || {
        find(&rig.tree, "root/packages").children.iter().filter(|w| w.state["package"] == "a").count() == 1
    })
    .await;
    rig.gate.add_permits(5);
    for (call, job) in calls {
        assert_eq!(call.await.unwrap(), Ok(job * 2));
    }
    let of_a: Vec<u32> = rig.order.lock().unwrap().iter().filter(|(key, _)| *key == "a").map(|(_, job)| *job).collect();
    assert_eq!(of_a, [1, 2, 4]);
    rig.tree.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_pool_refuses_even_one_hot_key() {
    let rig = rig(2, 3).await;
    let mut calls = Vec::new();
    for n in 0..5 {
        calls.push(rig.call("hot", n));
        rig.queued(n as usize + 1).await;
    }
    assert_eq!(rig.pool.call("hot", 9).await, Err(CallError::Refused));
    assert_eq!(rig.pool.call("cold", 9).await, Err(CallError::Refused));
    rig.gate.add_permits(6);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    rig.queued(0).await;
    assert_eq!(rig.pool.call("hot", 9).await, Ok(18), "room again");
    rig.tree.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_fails_one_call_and_keeps_the_queue() {
    let rig = rig(1, 16).await;
    let unlucky = rig.call("a", 13);
    rig.queued(1).await;
    let mut behind = Vec::new();
    for n in 0..5 {
        behind.push(rig.call("a", n));
        rig.queued(n as usize + 2).await;
    }
    rig.gate.add_permits(6);
    assert_eq!(unlucky.await.unwrap(), Err(CallError::Crashed));
    for (n, call) in behind.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), Ok(n as u32 * 2));
    }
    assert_eq!(find(&rig.tree, "root/packages").restarts_total, 1);
    assert!(rig.tree.recent_failures()[0].reason.contains("unlucky"));
    rig.tree.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_and_killed_pool_come_back() {
    let rig = rig(2, 4).await;
    until("idle worker can be killed", || rig.tree.kill("root/packages/worker.0").is_ok()).await;
    until("it is replaced", || find(&rig.tree, "root/packages/worker.0").restarts_total == 1).await;
    let busy = rig.call("a", 1);
    until("at work", || rig.running.lock().unwrap().get("a") == Some(&1)).await;
    let workers = find(&rig.tree, "root/packages").children;
    let at_work = workers.iter().find(|w| w.state["package"] == "a").unwrap().name.clone();
    rig.tree.kill(&at_work).unwrap();
    assert_eq!(busy.await.unwrap(), Err(CallError::Crashed));
    rig.running.lock().unwrap().clear();

    let lost = rig.call("b", 1);
    until("at work", || rig.running.lock().unwrap().get("b") == Some(&1)).await;
    rig.tree.kill("root/packages").unwrap();
    assert_eq!(lost.await.unwrap(), Err(CallError::Crashed));
    rig.running.lock().unwrap().clear();
    rig.gate.add_permits(1);
    loop {
        match rig.pool.call("c", 2).await {
            Ok(answer) => break assert_eq!(answer, 4),
            Err(error) => assert_ne!(error, CallError::Timeout),
        }
        tokio::task::yield_now().await;
    }
    until("nothing leaked", || rig.pool.depth() == 0).await;
    rig.tree.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_finishes_accepted_jobs() {
    let rig = rig(1, 4).await;
    let calls: Vec<_> = (0..3).map(|n| rig.call("a", n)).collect();
    rig.queued(3).await;
    let tree = rig.tree.clone();
    let stopping = tokio::spawn(async move { tree.stop(LONG).await });
    until("stopping", || find(&rig.tree, "root/packages").status == "stopping").await;
    until("door is shut", || rig.pool.is_shut()).await;
    assert_eq!(rig.pool.call("z", 1).await, Err(CallError::Refused));
    rig.gate.add_permits(3);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_workers_are_bounded_and_their_crash_is_a_value() {
    install_panic_hook();
    let (results, mut outcomes) = mpsc::unbounded_channel();
    let (started, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, gone) = (started.clone(), dropped.clone());
    let pool = ChildSpec::pool("queue.scan", move |context: Context| {
        let (results, count, gone) = (results.clone(), count.clone(), gone.clone());
        async move {
            struct Gone(Arc<AtomicBool>);
            impl Drop for Gone {
                fn drop(&mut self) {
                    self.0.store(true, SeqCst);
                }
            }
            let slots = context.slots(2);
            let report = move |outcome: Result<u32, publaryn_actors::Crash>| {
                results.send(outcome.map_err(|crash| crash.0)).unwrap();
            };
            if count.fetch_add(1, SeqCst) == 0 {
                assert!(slots.start(json!({"job": 1}), async { panic!("bad job") }, report.clone()));
                let guard = Gone(gone);
                let forever = async move {
                    let _guard = guard;
                    std::future::pending::<u32>().await
                };
                assert!(slots.start(json!({"job": 2}), forever, report.clone()));
                assert!(!slots.start(json!({}), async { 3 }, report.clone()) || slots.free() == 0);
            }
            context.stopping().await;
            Ok(())
        }
    });
    let tree = Tree::start(SupervisorSpec::root(&[]).child(pool), TreeOptions::default()).await;
    assert!(outcomes.recv().await.unwrap().unwrap_err().contains("bad job"));
    until("the other works on", || {
        find(&tree, "root/queue.scan").children.iter().any(|worker| worker.state["job"] == 2)
    })
    .await;
    let failure = tree.recent_failures().remove(0);
    assert_eq!((failure.name.starts_with("root/queue.scan/worker."), failure.action), (true, "failed"));
    tree.kill("root/queue.scan").unwrap();
    until("workers end with their pool", || dropped.load(SeqCst)).await;
    until("the pool is back", || started.load(SeqCst) == 2).await;
    tree.stop(LONG).await;
}
