use std::time::Duration;

use publaryn_auth::{HashCost, Presented, Secret};
use publaryn_core::{Principal, SessionId, error::CredentialProblem};
use publaryn_registry::identity::{IdentityError, IdentitySettings, SessionGrant, Surface};

use crate::world::{self, PASSWORD, World, denial, is_not_found, origin, problem};

async fn refresh(world: &World, grant: &SessionGrant) -> Result<SessionGrant, IdentityError> {
    world.identity.refresh(&grant.refresh_token, &origin()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_name_or_address_gives_a_session() {
    for world in world::each_default().await {
        world.register("Alice").await;
        for login in ["alice", " ALICE ", "alice@EXAMPLE.com"] {
            let grant = world.try_login(login).await.unwrap();
            let who = world.who(&grant).await.unwrap();
            assert_eq!(who.user().unwrap().username, "Alice");
            assert_eq!(grant.expires_in, Duration::from_secs(3600));
            assert_eq!(grant.refresh_expires_in, Duration::from_secs(86_400));
            assert!(!grant.scopes.is_empty() && grant.scopes == who.scopes);
        }
        assert_eq!(world.audited("user_login").await, 3);
        assert!(world.identity.user_by_name("alice").await.unwrap().last_login_at.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_accounts_and_wrong_passwords_are_alike() {
    for world in world::each_default().await {
        world.register("alice").await;
        let wrong = world.identity.login("alice", &Secret::new("not the password"), &origin()).await;
        let unknown = world.identity.login("nobody", &Secret::new("not the password"), &origin()).await;
        assert_eq!(problem(wrong), CredentialProblem::WrongPassword);
        assert_eq!(problem(unknown), CredentialProblem::WrongPassword);
        assert_eq!(world.audited("user_login_failed").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_failures_lock_the_address_out_even_with_the_right_password() {
    for world in world::each_default().await {
        world.register("alice").await;
        for n in 0..10 {
            // The name and the address of one account share their failures.
            let login = if n % 2 == 0 { "alice" } else { "alice@example.com" };
            let wrong = world.identity.login(login, &Secret::new("not the password"), &origin()).await;
            assert_eq!(problem(wrong), CredentialProblem::WrongPassword);
        }
        let locked = world.identity.login("alice", &Secret::new(PASSWORD), &origin()).await.unwrap_err();
        assert!(matches!(locked, IdentityError::Throttled { retry_after } if retry_after == Duration::from_secs(900)));
        let elsewhere = publaryn_core::audit::ClientOrigin::new(Some("198.51.100.7".parse().unwrap()), None);
        world.identity.login("alice", &Secret::new(PASSWORD), &elsewhere).await.unwrap();
        world.pass(Duration::from_secs(900));
        world.login("alice").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshing_rotates_and_repeating_within_the_grace_gives_the_same_answer() {
    for world in world::each_default().await {
        let (first, _) = world.someone("alice").await;
        world.pass(Duration::from_secs(60));
        let second = refresh(&world, &first).await.unwrap();
        assert_ne!(second.refresh_token.expose(), first.refresh_token.expose());
        assert_eq!(second.session, first.session);
        world.pass(Duration::from_secs(9));
        let again = refresh(&world, &first).await.unwrap();
        assert_eq!(again.refresh_token.expose(), second.refresh_token.expose());
        assert_eq!(again.access_token.expose(), second.access_token.expose());
        assert_eq!((again.expires_in, again.refresh_expires_in), (second.expires_in, second.refresh_expires_in));
        refresh(&world, &second).await.unwrap();
        world.who(&first).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_refreshes_at_once_get_one_answer() {
    for world in world::each_default().await {
        let (first, _) = world.someone("alice").await;
        let (a, b) = tokio::join!(refresh(&world, &first), refresh(&world, &first));
        assert_eq!(a.unwrap().refresh_token.expose(), b.unwrap().refresh_token.expose());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reusing_a_rotated_token_ends_the_session_however_old_it_is() {
    for world in world::each_default().await {
        for generations in [1, 2, 3] {
            let (first, _) = world.someone(&format!("user{generations}")).await;
            let mut newest = first.clone();
            for _ in 0..generations {
                world.pass(Duration::from_secs(60));
                newest = refresh(&world, &newest).await.unwrap();
            }
            world.pass(Duration::from_secs(10));
            assert_eq!(problem(refresh(&world, &first).await), CredentialProblem::RefreshReused);
            assert_eq!(problem(refresh(&world, &newest).await), CredentialProblem::RefreshInvalid);
            assert_eq!(problem(world.who(&newest).await), CredentialProblem::SessionRevoked);
        }
        assert_eq!(world.audited("session_revoke").await, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_slide_but_not_for_ever() {
    let short = IdentitySettings {
        session_ttl: Duration::from_secs(86_400),
        session_max_ttl: Duration::from_secs(3 * 86_400),
        ..world::settings()
    };
    for world in world::each(short).await {
        let (mut grant, _) = world.someone("alice").await;
        for _ in 0..3 {
            world.pass(Duration::from_secs(80_000));
            grant = refresh(&world, &grant).await.unwrap();
        }
        // 240,000 of 259,200 seconds are over.
        assert_eq!(grant.refresh_expires_in, Duration::from_secs(19_200));
        world.pass(Duration::from_secs(19_200));
        assert_eq!(problem(refresh(&world, &grant).await), CredentialProblem::RefreshInvalid);

        let idle = world.login("alice").await;
        world.pass(Duration::from_secs(86_400));
        assert_eq!(problem(refresh(&world, &idle).await), CredentialProblem::RefreshInvalid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_expires_before_its_session() {
    for world in world::each_default().await {
        let (grant, _) = world.someone("alice").await;
        world.pass(Duration::from_secs(3606));
        assert_eq!(problem(world.who(&grant).await), CredentialProblem::Expired);
        world.who(&refresh(&world, &grant).await.unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_ends_this_session_or_all() {
    for world in world::each_default().await {
        let (one, who) = world.someone("alice").await;
        let two = world.login("alice").await;
        let three = world.login("alice").await;
        world.identity.logout(&who, false, &origin()).await.unwrap();
        assert_eq!(problem(world.who(&one).await), CredentialProblem::SessionRevoked);
        assert_eq!(problem(refresh(&world, &one).await), CredentialProblem::RefreshInvalid);
        let who = world.who(&two).await.unwrap();
        world.identity.logout(&who, true, &origin()).await.unwrap();
        assert_eq!(problem(world.who(&three).await), CredentialProblem::SessionRevoked);
        world.identity.logout(&Principal::anonymous(), true, &origin()).await.unwrap();
        assert_eq!(world.audited("user_logout").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_change_ends_the_other_sessions() {
    for world in world::each_default().await {
        let (here, who) = world.someone("alice").await;
        let there = world.login("alice").await;
        let new = world.password("a whole new password");
        let wrong = world.identity.change_password(&who, &Secret::new("not the password"), &new, &origin()).await;
        assert_eq!(problem(wrong), CredentialProblem::WrongPassword);
        world.identity.change_password(&who, &Secret::new(PASSWORD), &new, &origin()).await.unwrap();
        world.who(&here).await.unwrap();
        assert_eq!(problem(world.who(&there).await), CredentialProblem::SessionRevoked);
        assert_eq!(world.audited("user_password_change").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_and_end_their_own_sessions_only() {
    for world in world::each_default().await {
        let (one, alice) = world.someone("alice").await;
        world.pass(Duration::from_secs(1));
        let two = world.login("alice").await;
        let (bobs, bob) = world.someone("bob").await;
        let (list, total) = world.identity.sessions(&alice, 100, 0).await.unwrap();
        assert_eq!(list.iter().map(|s| s.id).collect::<Vec<_>>(), [two.session, one.session]);
        assert_eq!(total, 2);
        assert_eq!(list[0].ip_address.as_deref(), Some("192.0.2.1"));
        assert_eq!(list[0].user_agent.as_deref(), Some("tests/1.0"));

        assert!(is_not_found(&world.identity.revoke_session(&bob, two.session, &origin()).await));
        assert!(is_not_found(&world.identity.revoke_session(&bob, SessionId::new(), &origin()).await));
        world.identity.revoke_session(&alice, two.session, &origin()).await.unwrap();
        assert!(is_not_found(&world.identity.revoke_session(&alice, two.session, &origin()).await));
        assert_eq!(problem(world.who(&two).await), CredentialProblem::SessionRevoked);
        world.who(&bobs).await.unwrap();
        assert_eq!(world.audited("session_revoke").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_of_old_cost_is_renewed_at_login() {
    for world in world::each_default().await {
        world.register("alice").await;
        let dearer = HashCost { memory_kib: 128, iterations: 1, parallelism: 1 };
        let later = world::beside(&world, IdentitySettings { hash_cost: dearer, ..world::settings() });
        let renewed = "users WHERE password_hash LIKE '%m=128,%'";
        assert_eq!(world.db.count_rows(renewed).await.unwrap(), 0);
        later.login("alice", &Secret::new(PASSWORD), &origin()).await.unwrap();
        assert_eq!(world.db.count_rows(renewed).await.unwrap(), 1);
        later.login("alice", &Secret::new(PASSWORD), &origin()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn surfaces_treat_broken_credentials_as_agreed() {
    for world in world::each_default().await {
        let (grant, who) = world.someone("alice").await;
        world.identity.logout(&who, false, &origin()).await.unwrap();
        let jwt = grant.access_token.expose();
        assert_eq!(problem(world.bearer(jwt, Surface::Control).await), CredentialProblem::SessionRevoked);
        assert_eq!(problem(world.bearer(jwt, Surface::Oci).await), CredentialProblem::SessionRevoked);
        let native = world.bearer(jwt, Surface::Native).await.unwrap();
        assert!(native.is_anonymous() && native.is_invalid());
        for header in ["Bearer pub_short", "Basic !!!", "Digest x", "Bearer hunter2"] {
            let presented = Presented::from_header(Some(header.as_bytes()));
            let strict = world.identity.authenticate(&presented, Surface::Control).await;
            assert_eq!(problem(strict), CredentialProblem::Invalid, "{header}");
        }
        let nobody = world.identity.authenticate(&Presented::None, Surface::Control).await.unwrap();
        assert!(nobody.is_anonymous() && !nobody.is_invalid());
        assert_eq!(
            denial(publaryn_registry::identity::require_session(&token_principal(&who)).map(drop)),
            "session_required"
        );
    }
}

fn token_principal(who: &Principal) -> Principal {
    let credential =
        publaryn_core::principal::Credential::Token(publaryn_core::TokenId::new(), publaryn_core::TokenKind::Personal);
    Principal { credential, ..who.clone() }
}
