//! PostgreSQL stopped and started under a running server (configuration.md §6).

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    Client,
    postgres::Postgres,
    state::{becomes_ready, eventually, settled},
};
use crate::{Backend, Server};

const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// Every reconnect backs off; a debug build on a busy machine gets more than the seconds it needs.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// A claim whose answer was lost with the database is nobody's until its lease of 60 s has run out.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// Callers wait this long for a connection, then get 503.
const SETTINGS: &[(&str, &str)] = &[("database.acquire_timeout_seconds", "2")];

async fn with_own_database(backend: Backend) -> (Postgres, Server) {
    let Backend::External { redis, s3, .. } = backend else { unreachable!("only external ones can lose it") };
    let postgres = Postgres::start().await;
    let database = publaryn_metadata::testing::postgres(&postgres.admin_url()).await;
    database.db.close().await;
    let backend = Backend::External { database: database.url, redis, s3 };
    (postgres, Server::start_with(backend, SETTINGS).await)
}

on_external!(a_restarted_database_is_found_again, async |backend: Backend| {
    let (mut postgres, server) = with_own_database(backend).await;
    let user = server.new_user("ada").await;
    let pid = server.pid();
    for client in Client::ALL {
        let upload = client.upload("before", "1.0.0", 1000, 1);
        assert!(client.publish(&server, &user.token, &upload).await.is_ok());
    }
    for round in 0..2 {
        if round == 0 {
            postgres.stop().await
        } else {
            postgres.crash().await
        }
        let body = becomes_ready(&server, false, NOTICED_WITHIN).await;
        assert_eq!(body["database"], "error", "{body}");
        assert_eq!(server.get("/health", None).await.0, 200);
        for client in Client::ALL {
            let url = format!("{}{}", server.base_url(), client.listing_path("before"));
            let read = server.http.get(url).send().await.unwrap();
            assert_eq!(read.status().as_u16(), 503, "{client:?}");
            assert!(read.headers().contains_key("retry-after"), "{client:?}");
            let upload = client.upload("before", &format!("1.{round}.1"), 1000, 2);
            client.publish(&server, &user.token, &upload).await.is_unavailable(client);
        }
        postgres.resume().await;
        becomes_ready(&server, true, RECOVERED_WITHIN).await;
        for client in Client::ALL {
            assert!(client.check_listed(&server, "before").await.contains_key("1.0.0"), "{client:?}");
            let upload = client.upload("before", &format!("1.{round}.1"), 1000, 3);
            let answer = client.publish(&server, &user.token, &upload).await;
            assert!(answer.is_ok(), "{client:?}: {answer:?}");
        }
        settled(&server, SETTLED_WITHIN).await;
        for client in Client::ALL {
            assert!(client.check_listed(&server, "before").await.contains_key(&format!("1.{round}.1")), "{client:?}");
        }
    }
    assert_eq!(server.pid(), pid, "nobody restarted it");
});

on_external!(publishes_under_way_while_the_database_goes_are_whole_or_absent, async |backend: Backend| {
    const PUBLISHERS: usize = 8;
    let (mut postgres, server) = with_own_database(backend).await;
    let user = server.new_user("ada").await;
    let answered: Arc<Mutex<BTreeSet<(usize, String)>>> = Arc::default();
    let is_over = AtomicBool::new(false);
    let publisher = async |n: usize| {
        let client = Client::ALL[n % 2];
        for round in 0.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let upload = client.upload("busy", &format!("{round}.{n}.0"), 1000, round);
            let answer = client.publish(&server, &user.token, &upload).await;
            if answer.is_ok() {
                answered.lock().unwrap().insert((n % 2, upload.version));
            } else {
                answer.is_unavailable(client);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let outage = async {
        let enough = |n: usize| {
            let answered = answered.clone();
            async move {
                eventually("publishes", Duration::from_secs(60), async || answered.lock().unwrap().len() >= n).await
            }
        };
        enough(PUBLISHERS).await;
        postgres.crash().await;
        becomes_ready(&server, false, NOTICED_WITHIN).await;
        postgres.resume().await;
        becomes_ready(&server, true, RECOVERED_WITHIN).await;
        let before = answered.lock().unwrap().len();
        enough(before + PUBLISHERS).await;
        is_over.store(true, Ordering::SeqCst);
    };
    let publishers = futures::future::join_all((0..PUBLISHERS).map(publisher));
    tokio::join!(publishers, outage);
    settled(&server, SETTLED_WITHIN).await;
    let answered = answered.lock().unwrap().clone();
    for (n, client) in Client::ALL.into_iter().enumerate() {
        let listed = client.check_listed(&server, "busy").await;
        for (_, version) in answered.iter().filter(|(of, _)| *of == n) {
            assert!(listed.contains_key(version), "{client:?} {version} was answered and is gone");
        }
    }
});
