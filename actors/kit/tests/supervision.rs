//! Restarts, strategies, escalation and stopping.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use publaryn_actors::{
    ActorEventKind, ChildSpec, Context, Restart, Strategy, SupervisorSpec, Tree, TreeOptions, install_panic_hook,
};
use support::{find, quick, until};

fn idle(name: &str) -> ChildSpec {
    ChildSpec::service(name, |context: Context| async move {
        context.stopping().await;
        Ok(())
    })
}

async fn tree(root: SupervisorSpec) -> Tree {
    Tree::start(root, TreeOptions::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn service_restarts_after_a_panic_and_the_failure_is_remembered() {
    install_panic_hook();
    let starts = Arc::new(AtomicUsize::new(0));
    let count = starts.clone();
    let service = ChildSpec::service("flaky", move |context| {
        let attempt = count.fetch_add(1, SeqCst);
        async move {
            assert!(attempt > 0, "first attempt breaks");
            context.stopping().await;
            Ok(())
        }
    });
    let tree = tree(SupervisorSpec::root(&[]).child(service)).await;
    until("second start", || starts.load(SeqCst) == 2 && find(&tree, "root/flaky").status == "running").await;
    let failure = tree.recent_failures().remove(0);
    assert_eq!((failure.name.as_str(), failure.action, failure.delay_ms), ("root/flaky", "restarted", 0));
    assert!(failure.reason.contains("first attempt breaks"), "{}", failure.reason);
    assert!(failure.reason.contains("supervision.rs"), "the place is part of the reason: {}", failure.reason);
    assert_eq!(find(&tree, "root/flaky").restarts_total, 1);
    assert_eq!(find(&tree, "root").restarts_total, 1);
    assert!(find(&tree, "root/flaky").last_failure.is_some());
    tree.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_decide_about_a_normal_end() {
    let counts: [Arc<AtomicUsize>; 3] = Default::default();
    let ends_first = |name: &str, count: &Arc<AtomicUsize>| {
        let count = count.clone();
        ChildSpec::service(name, move |context| {
            let attempt = count.fetch_add(1, SeqCst);
            async move {
                if attempt == 0 {
                    return Ok(());
                }
                context.stopping().await;
                Ok(())
            }
        })
    };
    let root = SupervisorSpec::root(&[])
        .child(ends_first("permanent", &counts[0]))
        .child(ends_first("transient", &counts[1]).restart(Restart::Transient))
        .child(ends_first("temporary", &counts[2]).restart(Restart::Temporary));
    let tree = tree(root).await;
    until("the permanent one is back", || counts[0].load(SeqCst) == 2).await;
    until("the others are stopped", || {
        ["root/transient", "root/temporary"].iter().all(|name| find(&tree, name).status == "stopped")
    })
    .await;
    assert_eq!(counts[1].load(SeqCst), 1);
    assert_eq!(counts[2].load(SeqCst), 1);
    tree.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_subtree_escalates_degrades_and_recovers() {
    install_panic_hook();
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let service = ChildSpec::service("index", move |context| {
        let broken = is_broken.load(SeqCst);
        async move {
            if broken {
                return Err("disk is gone".into());
            }
            context.stopping().await;
            Ok(())
        }
    });
    let search = SupervisorSpec::new("search", Strategy::RestForOne).limits(quick()).child(service);
    let root = SupervisorSpec::root(&["http"])
        .limits(publaryn_actors::Limits { max_restarts: 2, ..quick() })
        .child(search)
        .child(SupervisorSpec::new("http", Strategy::OneForOne).child(idle("listener")));
    let tree = tree(root).await;
    let mut events = tree.events();
    until("search is degraded", || tree.degraded() == ["root/search"]).await;
    assert_eq!(find(&tree, "root/search").status, "degraded");
    assert_eq!(find(&tree, "root/http/listener").status, "running");
    assert!(tree.is_up());
    let failures = tree.recent_failures();
    assert!(failures.iter().any(|f| f.action == "escalated" && f.name == "root/search/index"));
    assert!(failures.iter().any(|f| f.action == "degraded" && f.reason.contains("disk is gone")));

    broken.store(false, SeqCst);
    until("search recovered", || tree.degraded().is_empty()).await;
    assert_eq!(find(&tree, "root/search/index").status, "running");
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push((event.name, event.event));
    }
    assert!(seen.contains(&("root/search".to_owned(), ActorEventKind::Recovered)), "{seen:?}");
    tree.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_vital_subtree_calls_for_an_exit() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = told.clone();
    let options =
        TreeOptions { on_exhausted: Some(Box::new(move |name| listener.lock().unwrap().push(name.to_owned()))) };
    let broken = ChildSpec::service("listener", |_| async { Err("address in use".into()) });
    let http = SupervisorSpec::new("http", Strategy::OneForOne).limits(quick()).child(broken);
    let root = SupervisorSpec::root(&["http", "auth"])
        .limits(publaryn_actors::Limits { max_restarts: 1, ..quick() })
        .child(http)
        .child(idle("other"));
    let tree = Tree::start(root, options).await;
    until("exhausted", || !tree.is_up()).await;
    assert_eq!(*told.lock().unwrap(), ["root/http"]);
    assert_eq!(find(&tree, "root/other").status, "running", "the others still run for an orderly exit");
    tree.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_for_one_restarts_later_siblings_in_order() {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = |name: &'static str| {
        let log = log.clone();
        ChildSpec::service(name, move |context: Context| {
            let log = log.clone();
            async move {
                log.lock().unwrap().push(format!("{name} up"));
                context.stopping().await;
                log.lock().unwrap().push(format!("{name} down"));
                Ok(())
            }
        })
    };
    let sup = SupervisorSpec::new("maintenance", Strategy::RestForOne)
        .child(noted("leader"))
        .child(noted("scheduler"))
        .child(noted("sweeper"));
    let tree = tree(SupervisorSpec::root(&[]).child(sup)).await;
    until("all up", || log.lock().unwrap().len() == 3).await;
    log.lock().unwrap().clear();
    tree.kill("root/maintenance/scheduler").unwrap();
    until("restarted", || log.lock().unwrap().iter().filter(|line| line.ends_with("up")).count() == 2).await;
    let mut seen = log.lock().unwrap().clone();
    assert_eq!(seen.remove(0), "sweeper down");
    seen.sort();
    assert_eq!(seen, ["scheduler up", "sweeper up"], "the leader was left alone");
    tree.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_supervisor_comes_back_with_its_children() {
    install_panic_hook();
    let running = Arc::new(AtomicUsize::new(0));
    let highest = Arc::new(AtomicUsize::new(0));
    let (now, most) = (running.clone(), highest.clone());
    let service = ChildSpec::service("only", move |context: Context| {
        let (now, most) = (now.clone(), most.clone());
        async move {
            struct Leave(Arc<AtomicUsize>);
            impl Drop for Leave {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, SeqCst);
                }
            }
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            let _leave = Leave(now);
            context.stopping().await;
            Ok(())
        }
    });
    let tree =
        tree(SupervisorSpec::root(&[]).child(SupervisorSpec::new("jobs", Strategy::OneForOne).child(service))).await;
    until("up", || running.load(SeqCst) == 1).await;
    for (name, restarts) in [("root/jobs", 1), ("root/jobs", 2)] {
        tree.kill(name).unwrap();
        until("counted", || find(&tree, "root").restarts_total == restarts).await;
        until("up again", || running.load(SeqCst) == 1 && find(&tree, "root/jobs/only").status == "running").await;
    }
    tree.kill("root").unwrap();
    until("root is back", || tree.recent_failures().iter().any(|f| f.name == "root")).await;
    until("up after root", || running.load(SeqCst) == 1 && tree.kill("root/jobs/only").is_ok()).await;
    assert_eq!(highest.load(SeqCst), 1, "two incarnations never ran at once");
    assert!(tree.kill("root/none").is_err());
    tree.stop(Duration::from_secs(5)).await;
    assert_eq!(running.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_runs_backwards_and_kills_what_does_not_listen() {
    let log: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let noted = |name: &'static str| {
        let log = log.clone();
        ChildSpec::service(name, move |context: Context| {
            let log = log.clone();
            async move {
                context.stopping().await;
                log.lock().unwrap().push(name);
                Ok(())
            }
        })
    };
    let deaf = ChildSpec::service("deaf", |_| async {
        std::future::pending::<()>().await;
        Ok(())
    })
    .shutdown_within(Duration::from_millis(20));
    let root = SupervisorSpec::root(&[])
        .child(noted("first"))
        .child(SupervisorSpec::new("middle", Strategy::OneForOne).child(noted("a")).child(deaf).child(noted("b")))
        .child(noted("last"));
    let tree = tree(root).await;
    until("up", || find(&tree, "root/last").status == "running" && find(&tree, "root/middle/deaf").status == "running")
        .await;
    tree.stop(Duration::from_secs(10)).await;
    assert_eq!(*log.lock().unwrap(), ["last", "b", "a", "first"]);
    for name in ["root", "root/middle", "root/middle/deaf", "root/first"] {
        assert_eq!(find(&tree, name).status, "stopped", "{name}");
    }
    assert_eq!(find(&tree, "root").restarts_total, 0, "stopping restarts nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_subtree_can_be_stopped_first() {
    let root = SupervisorSpec::root(&[])
        .child(SupervisorSpec::new("http", Strategy::OneForOne).child(idle("listener")))
        .child(SupervisorSpec::new("jobs", Strategy::OneForOne).child(idle("node")));
    let tree = tree(root).await;
    tree.stop_subtree("http", Duration::from_secs(5)).await;
    assert_eq!(find(&tree, "root/http/listener").status, "stopped");
    until("jobs untouched", || find(&tree, "root/jobs/node").status == "running").await;
    tree.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_in_one_process_do_not_meet() {
    install_panic_hook();
    let root = || SupervisorSpec::root(&[]).child(SupervisorSpec::new("jobs", Strategy::OneForOne).child(idle("node")));
    let (one, two) = (tree(root()).await, tree(root()).await);
    until("both up", || {
        [&one, &two].iter().all(|tree| find(tree, "root/jobs/node").status == "running" && tree.kill("x").is_err())
    })
    .await;
    until("kill reaches one", || one.kill("root/jobs/node").is_ok()).await;
    until("one restarted", || find(&one, "root/jobs/node").restarts_total == 1).await;
    assert_eq!(find(&two, "root/jobs/node").restarts_total, 0);
    one.stop(Duration::from_secs(5)).await;
    assert_eq!(find(&two, "root/jobs/node").status, "running");
    two.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_has_the_shape_of_the_contract() {
    let tree = tree(SupervisorSpec::root(&[]).child(idle("auth"))).await;
    let json = serde_json::to_value(tree.snapshot(None, 3).unwrap()).unwrap();
    assert_eq!(json["actors_total"], 2);
    let root = &json["tree"];
    for (key, value) in [("name", "root"), ("type", "supervisor"), ("strategy", "one_for_one")] {
        assert_eq!(root[key], value);
    }
    assert_eq!((root["max_restarts"].as_u64(), root["window_seconds"].as_u64()), (Some(10), Some(60)));
    for key in ["restarts_in_window", "uptime_seconds", "mailbox_depth", "mailbox_high_water", "mailbox_capacity"] {
        assert!(root[key].is_u64(), "{key}");
    }
    assert!(root["busy_ratio_1m"].is_f64() && root["state"].is_object() && root["last_failure"].is_null());
    assert_eq!(root["children"][0]["name"], "root/auth");
    assert_eq!(root["children"][0]["type"], "worker");
    assert!(tree.snapshot(None, 0).unwrap().tree.children.is_empty());
    assert!(tree.snapshot(Some("root/none"), 1).is_err());
    tree.stop(Duration::from_secs(5)).await;
}
