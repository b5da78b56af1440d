//! Many clients at once on one package.

use std::time::Duration;

use super::{Client, state::settled};
use crate::{Backend, Server, on_backends};

const PUBLISHERS: usize = 64;
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

on_backends!(sixty_four_versions_published_at_once_are_all_there, async |server: Server| {
    let user = server.new_user("ada").await;
    for client in Client::ALL {
        let uploads: Vec<_> =
            (0..PUBLISHERS).map(|n| client.upload("crowd", &format!("1.{n}.0"), 2000, n as u64)).collect();
        let sent = uploads.iter().map(|upload| client.publish(&server, &user.token, upload));
        for (answer, upload) in futures::future::join_all(sent).await.iter().zip(&uploads) {
            assert!(answer.is_ok(), "{client:?} {}: {answer:?}", upload.version);
        }
        settled(&server, SETTLED_WITHIN).await;
        let listing = client.check_listed(&server, "crowd").await;
        assert_eq!(listing.len(), PUBLISHERS, "{client:?}");
        for upload in &uploads {
            assert_eq!(listing[&upload.version], client.digest(&upload.bytes), "{client:?} {}", upload.version);
        }
    }
});

on_backends!(of_two_different_uploads_of_one_version_one_wins, async |server: Server| {
    let user = server.new_user("ada").await;
    for client in Client::ALL {
        duels(client, &server, &server, &user.token).await;
    }
});

// No process orders the writers here; the database alone does.
on_external!(of_two_different_uploads_to_two_replicas_one_wins, async |backend: Backend| {
    let server = Server::start(backend.clone()).await;
    let replica = server.replica(backend).await;
    let user = server.new_user("ada").await;
    for client in Client::ALL {
        duels(client, &server, &replica, &user.token).await;
    }
});

const ROUNDS: u64 = 12;

/// Publishes the same version with different bytes to both servers at once, again and again.
async fn duels(client: Client, left: &Server, right: &Server, token: &str) {
    for round in 0..ROUNDS {
        // Every third round the package itself is contended, too.
        let name = if round % 3 == 0 { format!("duel-{round}") } else { "duel".to_owned() };
        let uploads = [0, 1].map(|side| client.upload(&name, &format!("1.{round}.0"), 30_000, 2 * round + side));
        let [first, second] = &uploads;
        let (a, b) = tokio::join!(client.publish(left, token, first), client.publish(right, token, second));
        assert!(a.is_ok() != b.is_ok(), "{client:?} round {round}: {a:?} {b:?}");
        let (winner, loser) = if a.is_ok() { (first, &b) } else { (second, &a) };
        assert_eq!(loser.status, 409, "{client:?} round {round}: {loser:?}");
        loser.is_in_the_form_of(client);
        settled(left, SETTLED_WITHIN).await;
        for server in [left, right] {
            let listing = client.check_listed(server, &name).await;
            assert_eq!(listing.get(&winner.version), Some(&client.digest(&winner.bytes)), "{client:?} round {round}");
        }
    }
}
