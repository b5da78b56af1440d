use std::time::Duration;

use publaryn_auth::{Presented, Token};
use publaryn_core::{
    Ecosystem, PackageId, PackageName, Principal, RegistryError, RepositoryId, RepositoryKind, Scope, ScopeSet,
    Timestamp, TokenKind, Visibility,
    access::Owner,
    error::CredentialProblem,
    principal::{Binding, Who},
};
use publaryn_metadata::{packages::NewPackage, repositories::RepositoryRow};
use publaryn_registry::identity::{
    CurrentCredential, IdentityError, IdentitySettings, IssuedToken, Lifetime, RequestedBinding, Surface, TokenRequest,
    parse_scopes,
};

use crate::world::{self, World, denial, is_not_found, origin, problem};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn scopes(list: &[Scope]) -> ScopeSet {
    list.iter().copied().collect()
}

fn request(kind: TokenKind, list: &[Scope]) -> TokenRequest {
    TokenRequest {
        name: "test".into(),
        kind,
        scopes: scopes(list),
        lifetime: Lifetime::Default,
        binding: RequestedBinding::None,
        organization: None,
    }
}

async fn create(world: &World, who: &Principal, request: TokenRequest) -> Result<IssuedToken, IdentityError> {
    world.identity.create_token(who, request, &origin()).await
}

/// A repository and a package in it, both of this owner and visibility.
async fn package(world: &World, owner: &Principal, name: &str, visibility: Visibility) -> (RepositoryId, PackageId) {
    let user = owner.user().unwrap().id;
    let now = Timestamp::from_micros(1);
    let repository = RepositoryRow {
        id: RepositoryId::new(),
        slug: format!("repo-{name}"),
        name: name.into(),
        description: None,
        kind: RepositoryKind::Public,
        visibility,
        owner_user_id: Some(user),
        owner_org_id: None,
        created_at: now,
        updated_at: now,
    };
    let parsed = PackageName::accepted(name, name, name);
    let new = NewPackage {
        id: PackageId::new(),
        ecosystem: Ecosystem::Npm,
        name: &parsed,
        repository: repository.id,
        owner: Owner::User(user),
        visibility,
    };
    let mut tx = world.db.begin().await.unwrap();
    assert!(tx.insert_repository(&repository).await.unwrap() && tx.insert_package(&new, now).await.unwrap());
    tx.commit().await.unwrap();
    (repository.id, new.id)
}

fn npm(name: &str) -> RequestedBinding {
    RequestedBinding::Package(Ecosystem::Npm, PackageName::accepted(name, name, name))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_token_works_in_every_dialect_until_revoked() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let issued = create(&world, &alice, request(TokenKind::Personal, &[Scope::PackagesPublish])).await.unwrap();
        let text = issued.secret.expose();
        assert!(text.ends_with(&issued.listed.token.last_four));
        assert_eq!(issued.listed.token.expires_at.unwrap().since(issued.listed.token.created_at), 90 * DAY);
        for header in [format!("Bearer {text}"), text.to_owned()] {
            let presented = Presented::from_header(Some(header.as_bytes()));
            let who = world.identity.authenticate(&presented, Surface::Native).await.unwrap();
            assert_eq!(who.user().unwrap().username, "alice");
            assert!(who.allows(Scope::PackagesRead) && !who.allows(Scope::PackagesWrite));
        }
        let raw = Presented::raw(text);
        assert_eq!(problem(world.identity.authenticate(&raw, Surface::Control).await), CredentialProblem::Invalid);

        world.identity.revoke_token(&alice, issued.listed.token.id, &origin()).await.unwrap();
        assert_eq!(problem(world.who_has(&issued.secret).await), CredentialProblem::Revoked);
        assert!(is_not_found(&world.identity.revoke_token(&alice, issued.listed.token.id, &origin()).await));
        assert_eq!((world.audited("token_create").await, world.audited("token_revoke").await), (1, 1));
        assert_eq!(problem(world.who_has(&Token::mint().token).await), CredentialProblem::Invalid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_hash_is_stored() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let issued = create(&world, &alice, request(TokenKind::Personal, &[Scope::PackagesRead])).await.unwrap();
        let secret = issued.secret.expose();
        for place in ["tokens WHERE name || last_four || scopes", "audit_log WHERE metadata"] {
            assert_eq!(world.db.count_rows(&format!("{place} LIKE '%{secret}%'")).await.unwrap(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_expire_and_lists_leave_them_out() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let hour =
            TokenRequest { lifetime: Lifetime::For(HOUR), ..request(TokenKind::Personal, &[Scope::PackagesRead]) };
        let short = create(&world, &alice, hour).await.unwrap();
        world.pass(Duration::from_secs(1));
        let never = TokenRequest { lifetime: Lifetime::Never, ..request(TokenKind::Personal, &[Scope::PackagesRead]) };
        let long = create(&world, &alice, never).await.unwrap();
        assert_eq!(long.listed.token.expires_at, None);
        let (list, total) = world.identity.tokens(&alice, false, 100, 0).await.unwrap();
        assert_eq!(list.iter().map(|t| t.token.id).collect::<Vec<_>>(), [long.listed.token.id, short.listed.token.id]);
        assert_eq!(total, 2);
        world.pass(HOUR);
        assert_eq!(problem(world.who_has(&short.secret).await), CredentialProblem::Expired);
        world.who_has(&long.secret).await.unwrap();
        assert_eq!(world.identity.tokens(&alice, false, 100, 0).await.unwrap().1, 1);
        assert_eq!(world.identity.tokens(&alice, true, 100, 0).await.unwrap().1, 2);
        assert_eq!(world.identity.tokens(&alice, true, 1, 1).await.unwrap().0.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_follow_kind_and_settings() {
    let limited = IdentitySettings { token_max_ttl: Some(30 * DAY), ..world::settings() };
    for world in world::each(limited).await {
        let (_, alice) = world.someone("alice").await;
        let life = |issued: &IssuedToken| issued.listed.token.expires_at.unwrap().since(issued.listed.token.created_at);
        let personal = create(&world, &alice, request(TokenKind::Personal, &[Scope::PackagesRead])).await.unwrap();
        assert_eq!(life(&personal), 30 * DAY, "the default is cut to the maximum");
        for kind in [TokenKind::Ci, TokenKind::Publish] {
            let made = create(&world, &alice, request(kind, &[Scope::PackagesPublish])).await.unwrap();
            assert_eq!(life(&made), HOUR);
        }
        for (kind, lifetime) in [
            (TokenKind::Personal, Lifetime::Never),
            (TokenKind::Personal, Lifetime::For(31 * DAY)),
            (TokenKind::Ci, Lifetime::Never),
            (TokenKind::Ci, Lifetime::For(DAY + Duration::from_secs(1))),
            (TokenKind::Publish, Lifetime::For(2 * DAY)),
            (TokenKind::Personal, Lifetime::For(Duration::ZERO)),
        ] {
            let refused = create(&world, &alice, TokenRequest { lifetime, ..request(kind, &[Scope::PackagesPublish]) });
            assert!(matches!(refused.await, Err(IdentityError::Invalid(_))), "{kind} {lifetime:?}");
        }
        let day = TokenRequest { lifetime: Lifetime::For(DAY), ..request(TokenKind::Ci, &[Scope::PackagesPublish]) };
        assert_eq!(life(&create(&world, &alice, day).await.unwrap()), DAY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_beyond_the_kind_are_not_granted() {
    use Scope::*;
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        package(&world, &alice, "mine", Visibility::Public).await;
        let every_kind = [
            (
                TokenKind::Ci,
                RequestedBinding::None,
                vec![
                    ProfileWrite,
                    NamespacesWrite,
                    RepositoriesWrite,
                    PackagesRead,
                    PackagesPublish,
                    PackagesWrite,
                    SecurityWrite,
                ],
            ),
            (TokenKind::Publish, RequestedBinding::None, vec![PackagesPublish]),
            (TokenKind::Package, npm("mine"), vec![PackagesRead, PackagesPublish, PackagesWrite, SecurityWrite]),
            (
                TokenKind::Repository,
                RequestedBinding::Repository("repo-mine".into()),
                vec![PackagesRead, PackagesPublish, PackagesWrite, SecurityWrite, RepositoriesWrite],
            ),
            (TokenKind::Personal, RequestedBinding::None, ScopeSet::user_session().iter().collect()),
        ];
        for (kind, binding, allowed) in every_kind {
            for scope in Scope::ALL {
                let wish = TokenRequest { binding: binding.clone(), ..request(kind, &[*scope]) };
                let outcome = create(&world, &alice, wish).await;
                if allowed.contains(scope) {
                    assert!(outcome.is_ok(), "{kind} {scope}: {outcome:?}");
                } else {
                    assert_eq!(denial(outcome), "scope_not_grantable", "{kind} {scope}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_scopes_are_theirs_alone_and_end_with_the_flag() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let wish = || request(TokenKind::Personal, &[Scope::AuditRead, Scope::PackagesRead]);
        assert_eq!(denial(create(&world, &alice, wish()).await), "scope_not_grantable");
        let grants = [Lifetime::Default, Lifetime::Never];
        for lifetime in grants {
            let by_cli = world.identity.create_token_for("alice", "cli", scopes(&[Scope::AdminWrite]), lifetime).await;
            assert_eq!(denial(by_cli), "scope_not_grantable");
        }
        world.identity.create_user(world.account("root-person"), true).await.unwrap();
        let admin =
            world.identity.create_token_for("root-person", "cli", scopes(&[Scope::AuditRead]), Lifetime::Default);
        let admin = admin.await.unwrap();
        assert!(world.who_has(&admin.secret).await.unwrap().allows(Scope::AuditRead));
        world.identity.create_user(world.account("root-two"), true).await.unwrap();
        world.identity.set_admin("root-person", false).await.unwrap();
        assert!(!world.who_has(&admin.secret).await.unwrap().allows(Scope::AuditRead));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_makes_no_token_stronger_or_longer_lived_than_itself() {
    use Scope::*;
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let parent = TokenRequest {
            lifetime: Lifetime::For(10 * DAY),
            ..request(TokenKind::Personal, &[TokensWrite, PackagesPublish])
        };
        let parent = create(&world, &alice, parent).await.unwrap();
        let who = world.who_has(&parent.secret).await.unwrap();
        let implied = create(&world, &who, request(TokenKind::Personal, &[PackagesRead, TokensRead])).await.unwrap();
        assert_eq!(implied.listed.token.expires_at, parent.listed.token.expires_at, "a default is cut");
        assert_eq!(
            denial(create(&world, &who, request(TokenKind::Personal, &[PackagesWrite])).await),
            "scope_not_grantable"
        );
        for lifetime in [Lifetime::Never, Lifetime::For(11 * DAY)] {
            let wish = TokenRequest { lifetime, ..request(TokenKind::Personal, &[PackagesRead]) };
            assert_eq!(denial(create(&world, &who, wish).await), "scope_not_grantable", "{lifetime:?}");
        }
        let child = TokenRequest { lifetime: Lifetime::For(DAY), ..request(TokenKind::Personal, &[PackagesRead]) };
        create(&world, &who, child).await.unwrap();
        let reader = world.who_has(&implied.secret).await.unwrap();
        assert_eq!(
            denial(create(&world, &reader, request(TokenKind::Personal, &[PackagesRead])).await),
            "insufficient_scope"
        );
        // Even if a ci token held the scope, its kind may not.
        let ci = Principal {
            credential: publaryn_core::principal::Credential::Token(parent.listed.token.id, TokenKind::Ci),
            ..who
        };
        assert_eq!(
            denial(create(&world, &ci, request(TokenKind::Personal, &[PackagesRead])).await),
            "scope_not_grantable"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_need_the_right_to_read_and_hide_what_is_hidden() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let (_, bob) = world.someone("bob").await;
        let (repository, private) = package(&world, &alice, "secret", Visibility::Private).await;
        package(&world, &alice, "open", Visibility::Public).await;
        let wish = |binding| TokenRequest { binding, ..request(TokenKind::Package, &[Scope::PackagesRead]) };
        let on_repository = || TokenRequest {
            binding: RequestedBinding::Repository("repo-secret".into()),
            ..request(TokenKind::Repository, &[Scope::PackagesRead])
        };
        let own = create(&world, &alice, wish(npm("secret"))).await.unwrap();
        assert_eq!(world.who_has(&own.secret).await.unwrap().binding, Some(Binding::Package(private)));
        assert_eq!(own.listed.package, Some((Ecosystem::Npm, "secret".into())));
        let own = create(&world, &alice, on_repository()).await.unwrap();
        assert_eq!(world.who_has(&own.secret).await.unwrap().binding, Some(Binding::Repository(repository)));
        let (list, _) = world.identity.tokens(&alice, false, 100, 0).await.unwrap();
        assert!(list.iter().any(|t| t.repository_slug.as_deref() == Some("repo-secret")));
        assert!(list.iter().any(|t| t.package == Some((Ecosystem::Npm, "secret".into()))));

        create(&world, &bob, wish(npm("open"))).await.unwrap();
        assert!(is_not_found(&create(&world, &bob, wish(npm("secret"))).await), "hidden");
        assert!(is_not_found(&create(&world, &bob, wish(npm("missing"))).await));
        assert!(is_not_found(&create(&world, &bob, on_repository()).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_takes_exactly_its_binding() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        package(&world, &alice, "mine", Visibility::Public).await;
        let repository = || RequestedBinding::Repository("repo-mine".into());
        for (kind, binding) in [
            (TokenKind::Personal, npm("mine")),
            (TokenKind::Ci, repository()),
            (TokenKind::Package, RequestedBinding::None),
            (TokenKind::Package, repository()),
            (TokenKind::Repository, npm("mine")),
            (TokenKind::OidcDerived, RequestedBinding::None),
        ] {
            let outcome = create(&world, &alice, TokenRequest { binding, ..request(kind, &[Scope::PackagesPublish]) });
            assert!(matches!(outcome.await, Err(IdentityError::Invalid(_))), "{kind}");
        }
        for binding in [RequestedBinding::None, npm("mine"), repository()] {
            let wish = TokenRequest { binding, ..request(TokenKind::Publish, &[Scope::PackagesPublish]) };
            create(&world, &alice, wish).await.unwrap();
        }
        let org = create(&world, &alice, request(TokenKind::OrgAutomation, &[Scope::PackagesPublish])).await;
        assert!(matches!(org, Err(IdentityError::Invalid(_))), "it names no organization");
        for broken in [
            TokenRequest { name: "  ".into(), ..request(TokenKind::Personal, &[Scope::PackagesRead]) },
            TokenRequest { name: "a\nb".into(), ..request(TokenKind::Personal, &[Scope::PackagesRead]) },
            request(TokenKind::Personal, &[]),
        ] {
            assert!(matches!(create(&world, &alice, broken).await, Err(IdentityError::Invalid(_))));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_token_dies_with_its_first_publication_and_only_once() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let once = create(&world, &alice, request(TokenKind::Publish, &[Scope::PackagesPublish])).await.unwrap();
        let often = create(&world, &alice, request(TokenKind::Personal, &[Scope::PackagesPublish])).await.unwrap();
        let now = Timestamp::from_micros(1_800_000_000_000_001);
        let mut tx = world.db.begin().await.unwrap();
        assert!(tx.use_up_token(once.listed.token.id, now).await.unwrap());
        drop(tx);
        world.who_has(&once.secret).await.expect("a publication that was undone uses nothing up");
        for (expected, id) in
            [(true, once.listed.token.id), (false, once.listed.token.id), (true, often.listed.token.id)]
        {
            let mut tx = world.db.begin().await.unwrap();
            assert_eq!(tx.use_up_token(id, now).await.unwrap(), expected);
            tx.commit().await.unwrap();
        }
        assert_eq!(problem(world.who_has(&once.secret).await), CredentialProblem::Revoked);
        world.who_has(&often.secret).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_stop_with_their_account_and_are_nobody_elses() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let (_, bob) = world.someone("bob").await;
        let issued = create(&world, &alice, request(TokenKind::Personal, &[Scope::TokensWrite])).await.unwrap();
        assert!(is_not_found(&world.identity.revoke_token(&bob, issued.listed.token.id, &origin()).await));
        assert_eq!(world.identity.tokens(&bob, true, 100, 0).await.unwrap().1, 0);
        world.identity.set_active("alice", false).await.unwrap();
        assert_eq!(problem(world.who_has(&issued.secret).await), CredentialProblem::AccountDisabled);
        world.identity.set_active("alice", true).await.unwrap();
        world.who_has(&issued.secret).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_credential_describes_and_ends_itself() {
    for world in world::each_default().await {
        let (grant, alice) = world.someone("alice").await;
        let session = world.identity.current_credential(&alice).await.unwrap();
        assert!(matches!(session, CurrentCredential::Session(row) if row.id == grant.session));
        assert_eq!(denial(world.identity.revoke_current_token(&alice, &origin()).await), "credential_not_accepted");
        let issued = create(&world, &alice, request(TokenKind::Ci, &[Scope::PackagesRead])).await.unwrap();
        let who = world.who_has(&issued.secret).await.unwrap();
        let token = world.identity.current_credential(&who).await.unwrap();
        assert!(matches!(token, CurrentCredential::Token(row) if row.token.id == issued.listed.token.id));
        world.identity.revoke_current_token(&who, &origin()).await.unwrap();
        assert_eq!(problem(world.who_has(&issued.secret).await), CredentialProblem::Revoked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn last_use_is_recorded_to_the_minute_for_tokens_and_sessions() {
    for world in world::each_default().await {
        let (grant, alice) = world.someone("alice").await;
        let issued = create(&world, &alice, request(TokenKind::Personal, &[Scope::PackagesRead])).await.unwrap();
        let used = async |world: &World| {
            world.identity.flush_last_use().await.unwrap();
            let (tokens, _) = world.identity.tokens(&alice, true, 1, 0).await.unwrap();
            let (sessions, _) = world.identity.sessions(&alice, 1, 0).await.unwrap();
            (tokens[0].token.last_used_at, sessions[0].last_seen_at)
        };
        let start = issued.listed.token.created_at;
        world.who_has(&issued.secret).await.unwrap();
        assert_eq!(used(&world).await, (Some(start), start));
        world.pass(Duration::from_secs(59));
        world.who_has(&issued.secret).await.unwrap();
        world.who(&grant).await.unwrap();
        assert_eq!(used(&world).await, (Some(start), start), "within the minute nothing is written");
        world.pass(Duration::from_secs(1));
        world.who_has(&issued.secret).await.unwrap();
        world.who(&grant).await.unwrap();
        let later = start + Duration::from_secs(60);
        assert_eq!(used(&world).await, (Some(later), later));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_credential_allows_is_asked_again_when_it_was_asked_long_ago() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let wanted = [Scope::PackagesPublish, Scope::PackagesRead];
        let issued = create(&world, &alice, request(TokenKind::Personal, &wanted)).await.unwrap();
        let who = world.who_has(&issued.secret).await.unwrap();
        let narrowed = Principal { scopes: scopes(&[Scope::PackagesPublish]), ..who.clone() };
        let mut tx = world.db.begin().await.unwrap();
        assert!(tx.revoke_own_token(issued.listed.token.id, Timestamp::now()).await.unwrap());
        tx.commit().await.unwrap();
        let renewed = world.identity.renewed(&narrowed).await.unwrap();
        assert_eq!(renewed.scopes, narrowed.scopes, "it was asked just now");
        world.pass(Duration::from_secs(5));
        let renewed = world.identity.renewed(&narrowed).await;
        assert!(
            matches!(renewed, Err(RegistryError::BadCredential(CredentialProblem::Revoked))),
            "a revoked token ended an upload"
        );
        world.db.execute_raw("UPDATE tokens SET revoked_at = NULL").await.unwrap();
        let renewed = world.identity.renewed(&narrowed).await.unwrap();
        assert_eq!((renewed.scopes, renewed.as_of), (narrowed.scopes, who.as_of + Duration::from_secs(5)));
        let session = world.identity.renewed(&alice).await.unwrap();
        assert_eq!(session.who, alice.who);
        world.db.execute_raw("UPDATE users SET is_active = FALSE").await.unwrap();
        for asked in [&narrowed, &alice] {
            let renewed = world.identity.renewed(asked).await;
            assert!(matches!(renewed, Err(RegistryError::BadCredential(CredentialProblem::AccountDisabled))));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oidc_derived_token_acts_for_its_publisher_and_stays_off_the_control_plane() {
    for world in world::each_default().await {
        let (_, alice) = world.someone("alice").await;
        let (_, id) = package(&world, &alice, "mine", Visibility::Public).await;
        let issued = create(&world, &alice, request(TokenKind::Publish, &[Scope::PackagesPublish])).await.unwrap();
        let bind = match world.db.engine() {
            publaryn_metadata::Engine::Sqlite => format!("unhex('{}')", id.0.simple()),
            publaryn_metadata::Engine::Postgres => format!("'{id}'"),
        };
        let sql = format!("UPDATE tokens SET kind = 'oidc_derived', package_id = {bind}");
        world.db.execute_raw(&sql).await.unwrap();
        let who = world.bearer(issued.secret.expose(), Surface::Native).await.unwrap();
        let creator = alice.user().unwrap().id;
        assert_eq!(who.who, Who::TrustedPublisher { package: id, creator, publisher: None });
        assert_eq!(denial(world.who_has(&issued.secret).await), "credential_not_accepted");
        // A binding that went missing must not widen the token.
        world.db.execute_raw("UPDATE tokens SET kind = 'package', package_id = NULL").await.unwrap();
        let widened = world.bearer(issued.secret.expose(), Surface::Native).await;
        assert!(matches!(widened, Err(RegistryError::Internal(_))), "{widened:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_buys_a_token_as_npm_login_does() {
    use publaryn_auth::Secret;
    for world in world::each_default().await {
        world.register("alice").await;
        let wanted = scopes(&[Scope::PackagesWrite]);
        let login = |password: &str| {
            let (identity, password) = (world.identity.clone(), Secret::new(password));
            async move {
                identity.login_for_token("alice", &password, "npm login", wanted, Lifetime::Default, &origin()).await
            }
        };
        let issued = login(world::PASSWORD).await.unwrap();
        assert_eq!(world.who_has(&issued.secret).await.unwrap().scopes, wanted);
        assert_eq!(problem(login("not the password").await), CredentialProblem::WrongPassword);
    }
}

#[test]
fn unknown_words_in_a_scope_list_are_all_named() {
    assert_eq!(parse_scopes(&["packages:read", "orgs:read"]).unwrap(), scopes(&[Scope::PackagesRead, Scope::OrgsRead]));
    let unknown = parse_scopes(&["packages:read", "packages:eat", "", "admin"]).unwrap_err();
    assert_eq!(unknown.words.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [1, 2, 3]);
}
