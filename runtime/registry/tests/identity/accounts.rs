use publaryn_auth::{EmailAddress, Secret, Username};
use publaryn_core::{RegistryError, Scope, error::CredentialProblem};
use publaryn_registry::identity::{IdentityError, IdentitySettings, NewAccount, ProfilePatch};

use crate::world::{self, PASSWORD, denial, origin, problem};

#[tokio::test(flavor = "multi_thread")]
async fn names_and_addresses_are_unique_ignoring_case() {
    for world in world::each_default().await {
        world.register("Alice").await;
        let same_name =
            NewAccount { email: EmailAddress::parse("other@example.com").unwrap(), ..world.account("aLICE") };
        let refused = world.identity.register(same_name, &origin()).await.unwrap_err();
        assert!(matches!(refused, IdentityError::AlreadyExists { field: "username" }), "{refused:?}");
        let same_address =
            NewAccount { email: EmailAddress::parse("ALICE@example.COM").unwrap(), ..world.account("bob") };
        let refused = world.identity.register(same_address, &origin()).await.unwrap_err();
        assert!(matches!(refused, IdentityError::AlreadyExists { field: "email" }), "{refused:?}");
        assert_eq!(world.audited("user_register").await, 1);
        assert_eq!(world.identity.user_by_name("ALICE").await.unwrap().username, "Alice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_made_at_once_get_different_numbers() {
    for world in world::each_default().await {
        let world = std::sync::Arc::new(world);
        let all: Vec<_> = (0..12)
            .map(|n| {
                let world = world.clone();
                tokio::spawn(async move { world.register(&format!("user{n}")).await })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        let mut numbers = Vec::new();
        for n in 0..12 {
            numbers.push(world.identity.user_by_name(&format!("user{n}")).await.unwrap().number);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_registration_refuses_the_public_but_not_the_operator() {
    for world in world::each(IdentitySettings { registration_is_open: false, ..world::settings() }).await {
        assert_eq!(denial(world.identity.register(world.account("alice"), &origin()).await), "registration_closed");
        let user = world.identity.create_user(world.account("alice"), true).await.unwrap();
        assert!(user.is_admin);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_is_made_once_and_only_on_an_empty_server() {
    for world in world::each_default().await {
        assert!(!world.identity.has_accounts().await.unwrap());
        let admin = NewAccount { username: Username::parse("admin").unwrap(), ..world.account("root-person") };
        let made = world.identity.bootstrap_admin(admin.clone()).await.unwrap().expect("the first");
        assert!(made.is_admin && world.identity.has_accounts().await.unwrap());
        assert!(world.identity.bootstrap_admin(world.account("second")).await.unwrap().is_none());
        assert!(world.identity.bootstrap_admin(admin).await.unwrap().is_none());
        assert_eq!(world.db.count_rows("users").await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administration_takes_effect_on_credentials_already_handed_out() {
    for world in world::each_default().await {
        let (grant, who) = world.someone("alice").await;
        assert!(!who.allows(Scope::AdminWrite));
        world.identity.set_admin("ALICE", true).await.unwrap();
        assert!(world.who(&grant).await.unwrap().allows(Scope::AdminWrite));
        let last = world.identity.set_admin("alice", false).await.unwrap_err();
        assert!(matches!(last, IdentityError::Registry(RegistryError::Conflict { code: "state_conflict", .. })));
        let last = world.identity.set_active("alice", false).await.unwrap_err();
        assert!(matches!(last, IdentityError::Registry(RegistryError::Conflict { code: "state_conflict", .. })));
        world.identity.create_user(world.account("bob"), true).await.unwrap();
        world.identity.set_admin("alice", false).await.unwrap();
        assert!(!world.who(&grant).await.unwrap().allows(Scope::AdminWrite));
        assert_eq!((world.audited("user_admin_grant").await, world.audited("user_admin_revoke").await), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_is_out_at_once_and_stays_out() {
    for world in world::each_default().await {
        let (grant, _) = world.someone("alice").await;
        world.identity.set_active("alice", false).await.unwrap();
        assert_eq!(problem(world.who(&grant).await), CredentialProblem::AccountDisabled);
        let login = world.identity.login("alice", &Secret::new(PASSWORD), &origin()).await;
        assert_eq!(problem(login), CredentialProblem::AccountDisabled);
        let guess = world.identity.login("alice", &Secret::new("not the password"), &origin()).await;
        assert_eq!(problem(guess), CredentialProblem::WrongPassword, "only a right password learns of it");
        assert!(matches!(world.identity.user_by_name("alice").await, Err(RegistryError::NotFound)));

        world.identity.set_active("alice", true).await.unwrap();
        assert_eq!(problem(world.who(&grant).await), CredentialProblem::SessionRevoked, "old sessions stay ended");
        world.login("alice").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_new_password_ends_every_session() {
    for world in world::each_default().await {
        let (grant, _) = world.someone("alice").await;
        world.identity.set_password("alice", &world.password("a whole new password")).await.unwrap();
        assert_eq!(problem(world.who(&grant).await), CredentialProblem::SessionRevoked);
        let old = world.identity.login("alice", &Secret::new(PASSWORD), &origin()).await;
        assert_eq!(problem(old), CredentialProblem::WrongPassword);
        world.identity.login("alice", &Secret::new("a whole new password"), &origin()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_patch_leaves_clears_and_checks() {
    for world in world::each_default().await {
        let (_, who) = world.someone("alice").await;
        let set = |name: &str| Some(Some(name.to_owned()));
        let patch = ProfilePatch { display_name: set(" Alice A. "), bio: set("x"), ..Default::default() };
        let user = world.identity.update_profile(&who, patch, &origin()).await.unwrap();
        assert_eq!(user.display_name.as_deref(), Some("Alice A."));
        let patch = ProfilePatch { bio: Some(None), ..Default::default() };
        let user = world.identity.update_profile(&who, patch.clone(), &origin()).await.unwrap();
        assert_eq!((user.display_name.as_deref(), user.bio), (Some("Alice A."), None));
        world.identity.update_profile(&who, patch, &origin()).await.unwrap();
        assert_eq!(world.audited("user_update").await, 2, "a patch without effect leaves no trace");

        let bad = ProfilePatch { website: set("javascript:x"), avatar_url: set("nope"), ..Default::default() };
        let IdentityError::Invalid(problems) = world.identity.update_profile(&who, bad, &origin()).await.unwrap_err()
        else {
            panic!("both addresses are wrong");
        };
        assert_eq!(problems.iter().map(|p| p.field).collect::<Vec<_>>(), ["website", "avatar_url"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_never_holds_a_secret() {
    for world in world::each_default().await {
        let (grant, who) = world.someone("alice").await;
        let _ = world.identity.login("alice", &Secret::new("wrong-password-typed"), &origin()).await.unwrap_err();
        let _ = world.identity.login("password-typed-as-name", &Secret::new("x"), &origin()).await.unwrap_err();
        world
            .identity
            .change_password(&who, &Secret::new(PASSWORD), &world.password("a whole new password"), &origin())
            .await
            .unwrap();
        world.identity.logout(&who, true, &origin()).await.unwrap();
        for secret in [PASSWORD, "wrong-password-typed", "password-typed-as-name", "a whole new password"] {
            let leaks = world.db.count_rows(&format!("audit_log WHERE metadata LIKE '%{secret}%'")).await.unwrap();
            assert_eq!(leaks, 0, "{secret}");
        }
        for secret in [&grant.access_token, &grant.refresh_token] {
            let sql = format!("audit_log WHERE metadata LIKE '%{}%'", secret.expose());
            assert_eq!(world.db.count_rows(&sql).await.unwrap(), 0);
        }
        let from = "audit_log WHERE action = 'user_login' AND ip_address = '192.0.2.1' AND user_agent = 'tests/1.0'";
        assert_eq!(world.db.count_rows(from).await.unwrap(), 1);
    }
}
