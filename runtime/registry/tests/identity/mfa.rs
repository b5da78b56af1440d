use std::time::Duration;

use publaryn_auth::{Secret, recovery::RecoveryCode, totp::TotpSecret};
use publaryn_core::{Clock, Principal, RegistryError, error::CredentialProblem};
use publaryn_registry::identity::{IdentityError, LoginOutcome, PasswordProof};

use crate::world::{self, PASSWORD, World, origin, problem};

/// An account with a second factor switched on.
struct Guarded {
    who: Principal,
    app: TotpSecret,
    recovery: Vec<RecoveryCode>,
}

async fn guarded(world: &World, name: &str) -> Guarded {
    let (_, who) = world.someone(name).await;
    let offer = world.identity.set_up_mfa(&who).await.unwrap();
    let app = TotpSecret::from_base32(offer.secret.expose()).unwrap();
    world.identity.confirm_mfa(&who, &app.code_at(world.clock.now()), &origin()).await.unwrap();
    // The next code is of a later step: each step is good once.
    world.pass(Duration::from_secs(60));
    Guarded { who, app, recovery: offer.recovery_codes }
}

async fn pending(world: &World, name: &str) -> Secret {
    match world.identity.login(name, &Secret::new(PASSWORD), &origin()).await.unwrap() {
        LoginOutcome::SecondFactor(pending) => {
            assert_eq!(pending.expires_in, Duration::from_secs(300));
            pending.token
        }
        LoginOutcome::Granted(_) => panic!("the password alone was enough"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_and_each_code_is_good_once() {
    for world in world::each_default().await {
        let alice = guarded(&world, "alice").await;
        let code = alice.app.code_at(world.clock.now());
        let token = pending(&world, "alice").await;
        assert_eq!(world.audited("user_login").await, 1, "only the login before it was switched on");
        let (grant, left) = world.identity.answer_challenge(&token, &code, &origin()).await.unwrap();
        assert!(left.is_none() && world.who(&grant).await.unwrap().user().unwrap().has_mfa);
        assert_eq!(world.db.count_rows("sessions WHERE has_mfa").await.unwrap(), 2);

        // The challenge is used up, and so is the step of the code.
        let again = world.identity.answer_challenge(&token, &code, &origin()).await;
        assert_eq!(problem(again), CredentialProblem::ChallengeExpired);
        let token = pending(&world, "alice").await;
        let replayed = world.identity.answer_challenge(&token, &code, &origin()).await;
        assert_eq!(problem(replayed), CredentialProblem::WrongCode);
        world.pass(Duration::from_secs(30));
        let next = alice.app.code_at(world.clock.now());
        world.identity.answer_challenge(&token, &next, &origin()).await.unwrap();
        assert_eq!(world.audited("user_login").await, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_works_once_and_is_counted() {
    for world in world::each_default().await {
        let alice = guarded(&world, "alice").await;
        let code = alice.recovery[0].expose().to_uppercase();
        let token = pending(&world, "alice").await;
        let (_, left) = world.identity.answer_challenge(&token, &code, &origin()).await.unwrap();
        assert_eq!(left, Some(7));
        assert_eq!(world.audited("mfa_recovery_code_use").await, 1);
        let token = pending(&world, "alice").await;
        let again = world.identity.answer_challenge(&token, &code, &origin()).await;
        assert_eq!(problem(again), CredentialProblem::WrongCode);

        // New codes void the old ones; only the app may ask for them.
        let by_code = world.identity.renew_recovery_codes(&alice.who, &alice.recovery[1].expose(), &origin()).await;
        assert!(matches!(
            by_code,
            Err(IdentityError::Registry(RegistryError::Invalid { code: "mfa_code_invalid", .. }))
        ));
        let code = alice.app.code_at(world.clock.now());
        let fresh = world.identity.renew_recovery_codes(&alice.who, &code, &origin()).await.unwrap();
        assert_eq!(fresh.len(), 8);
        let old = world.identity.answer_challenge(&token, &alice.recovery[1].expose(), &origin()).await;
        assert_eq!(problem(old), CredentialProblem::WrongCode);
        world.identity.answer_challenge(&token, &fresh[0].expose(), &origin()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_codes_void_a_login_and_waiting_ends() {
    for world in world::each_default().await {
        let alice = guarded(&world, "alice").await;
        let token = pending(&world, "alice").await;
        for _ in 0..5 {
            let wrong = world.identity.answer_challenge(&token, "nonsense", &origin()).await;
            assert_eq!(problem(wrong), CredentialProblem::WrongCode);
        }
        let right = alice.app.code_at(world.clock.now());
        let voided = world.identity.answer_challenge(&token, &right, &origin()).await;
        assert_eq!(problem(voided), CredentialProblem::ChallengeExhausted);
        assert_eq!(world.audited("user_login_failed").await, 5);

        let token = pending(&world, "alice").await;
        world.pass(Duration::from_secs(300));
        let late = world.identity.answer_challenge(&token, &alice.app.code_at(world.clock.now()), &origin()).await;
        assert_eq!(problem(late), CredentialProblem::ChallengeExpired);
        let unknown = world.identity.answer_challenge(&Secret::new("mfa_x"), &right, &origin()).await;
        assert_eq!(problem(unknown), CredentialProblem::ChallengeExpired);
        let mut tx = world.db.begin().await.unwrap();
        assert_eq!(tx.delete_expired_mfa(world.clock.now()).await.unwrap(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_not_guessed_by_logging_in_over_and_over() {
    for world in world::each_default().await {
        guarded(&world, "alice").await;
        for _ in 0..10 {
            pending(&world, "alice").await;
        }
        let locked = world.identity.login("alice", &Secret::new(PASSWORD), &origin()).await.unwrap_err();
        assert!(matches!(locked, IdentityError::Throttled { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_is_confirmed_in_time_with_a_right_code() {
    for world in world::each_default().await {
        let (grant, who) = world.someone("alice").await;
        let other = world.login("alice").await;
        let code = |outcome: Result<(), IdentityError>| match outcome {
            Err(IdentityError::Registry(
                RegistryError::Conflict { code, .. } | RegistryError::Invalid { code, .. },
            )) => code,
            other => panic!("{other:?}"),
        };
        let confirm = |text: String| {
            let (identity, who) = (world.identity.clone(), who.clone());
            async move { identity.confirm_mfa(&who, &text, &origin()).await }
        };
        assert_eq!(code(confirm("123456".into()).await), "mfa_setup_missing");
        let first = world.identity.set_up_mfa(&who).await.unwrap();
        let second = world.identity.set_up_mfa(&who).await.unwrap();
        assert_ne!(first.secret.expose(), second.secret.expose());
        assert!(second.provisioning_uri.expose().starts_with("otpauth://totp/"));
        let (first, second) = (
            TotpSecret::from_base32(first.secret.expose()).unwrap(),
            TotpSecret::from_base32(second.secret.expose()).unwrap(),
        );
        assert_eq!(code(confirm(first.code_at(world.clock.now())).await), "mfa_code_invalid");
        assert!(world.identity.mfa_status(&who).await.unwrap().setup_pending);
        world.pass(Duration::from_secs(900));
        assert_eq!(code(confirm(second.code_at(world.clock.now())).await), "mfa_setup_missing");

        let offer = world.identity.set_up_mfa(&who).await.unwrap();
        let app = TotpSecret::from_base32(offer.secret.expose()).unwrap();
        confirm(app.code_at(world.clock.now())).await.unwrap();
        assert_eq!(problem(world.who(&other).await), CredentialProblem::SessionRevoked);
        let who = world.who(&grant).await.unwrap();
        assert!(who.user().unwrap().has_mfa);
        let status = world.identity.mfa_status(&who).await.unwrap();
        assert_eq!((status.enabled_at, status.recovery_codes_remaining), (Some(world.clock.now()), 8));
        assert_eq!(code(confirm("123456".into()).await), "mfa_already_enabled");
        assert_eq!(code(world.identity.set_up_mfa(&who).await.map(drop)), "mfa_already_enabled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_switched_off_with_a_code_or_by_an_operator() {
    for world in world::each_default().await {
        let alice = guarded(&world, "alice").await;
        world.identity.disable_mfa(&alice.who, "000000", &origin()).await.unwrap_err();
        world.identity.disable_mfa(&alice.who, &alice.recovery[2].expose(), &origin()).await.unwrap();
        assert_eq!(world.db.count_rows("recovery_codes").await.unwrap(), 0);
        world.login("alice").await;
        let off = world.identity.disable_mfa(&alice.who, "000000", &origin()).await.unwrap_err();
        assert!(matches!(off, IdentityError::Registry(RegistryError::Conflict { code: "mfa_not_enabled", .. })));

        guarded(&world, "bob").await;
        world.identity.reset_mfa("bob").await.unwrap();
        world.login("bob").await;
        assert_eq!(world.audited("mfa_disable").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_password_and_code_at_once_are_told_to() {
    for world in world::each_default().await {
        let alice = guarded(&world, "alice").await;
        let password = Secret::new(PASSWORD);
        let alone = world.identity.prove_password("alice", &password, &origin()).await;
        assert_eq!(problem(alone), CredentialProblem::OtpRequired);
        let code = alice.app.code_at(world.clock.now());
        let proof = PasswordProof { password: &password, code: Some(&code) };
        world.identity.prove_password("alice", proof, &origin()).await.unwrap();
        let recovery = alice.recovery[0].expose();
        let proof = PasswordProof { password: &password, code: Some(&recovery) };
        let by_recovery = world.identity.prove_password("alice", proof, &origin()).await;
        assert_eq!(problem(by_recovery), CredentialProblem::OtpRequired, "recovery codes are for people, not clients");
    }
}
