//! Redis lost and given back (configuration.md §6): not ready, but everything goes on.

use std::time::{Duration, Instant};

use super::{
    Client,
    proxy::{Mode, Proxy},
    state::{becomes_ready, eventually, readiness},
};
use crate::{Backend, Server};

const NOTICED_WITHIN: Duration = Duration::from_secs(10);
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// Revoked tokens may live on so long on other replicas while Redis is away (configuration.md §6).
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

on_external!(a_lost_redis_stops_nothing, async |backend: Backend| {
    let Backend::External { database, redis, s3 } = backend else { unreachable!("only external ones have Redis") };
    let proxy = Proxy::to(redis.trim_start_matches("redis://").trim_end_matches('/')).await;
    let redis = format!("redis://{}", proxy.address());
    let backend = Backend::External { database, redis, s3 };
    let server = Server::start(backend.clone()).await;
    let replica = server.replica(backend).await;
    let user = server.new_user("ada").await;
    let (pid, other_pid) = (server.pid(), replica.pid());
    becomes_ready(&server, true, RECOVERED_WITHIN).await;

    for (round, mode) in [Mode::Down, Mode::Silent].into_iter().enumerate() {
        proxy.set(mode);
        let body = becomes_ready(&server, false, NOTICED_WITHIN).await;
        assert_eq!((&body["redis"], &body["database"]), (&"error".into(), &"ok".into()), "{body}");
        // An unreachable Redis must not make the probe itself hang.
        let asked = Instant::now();
        assert_eq!(readiness(&server).await.0, 503);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        for client in Client::ALL {
            let version = format!("1.{round}.0");
            let upload = client.upload("steady", &version, 1000, round as u64);
            let answer = client.publish(&server, &user.token, &upload).await;
            assert!(answer.is_ok(), "{mode:?} {client:?}: {answer:?}");
            // The other replica hears of nothing and still sees it at once.
            assert!(client.check_listed(&replica, "steady").await.contains_key(&version), "{mode:?} {client:?}");
            assert!(client.check_listed(&server, "steady").await.contains_key(&version), "{mode:?} {client:?}");
        }
        let spare = server.token("ada", &user.password, &["packages:write"]).await;
        let whoami = async || replica.get("/npm/-/whoami", Some(&spare)).await.0;
        assert_eq!(whoami().await, 200);
        let revoke = server.http.delete(format!("{}/v1/tokens/current", server.base_url())).bearer_auth(&spare);
        assert!(revoke.send().await.unwrap().status().is_success());
        eventually("the other replica hears of the revocation", REVOKED_WITHIN, async || whoami().await == 401).await;
        proxy.set(Mode::Up);
        becomes_ready(&server, true, RECOVERED_WITHIN).await;
        becomes_ready(&replica, true, RECOVERED_WITHIN).await;
    }
    assert_eq!((server.pid(), replica.pid()), (pid, other_pid), "nobody restarted them");
});
