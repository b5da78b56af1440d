//! A registry's identity service over a scratch database, with a clock that stands still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use publaryn_auth::{EmailAddress, HashCost, NewPassword, Presented, Secret, SigningSecret, Token};
use publaryn_core::{Clock, Principal, RegistryError, Timestamp, audit::ClientOrigin, error::CredentialProblem};
use publaryn_metadata::{
    Db,
    testing::{self, TestDb},
};
use publaryn_registry::identity::{
    Identity, IdentityError, IdentityKeys, IdentitySettings, LoginOutcome, NewAccount, SessionGrant, Surface,
};

pub const PASSWORD: &str = "correct horse battery";

pub struct World {
    pub identity: Identity,
    pub db: Db,
    pub clock: Arc<StoppedClock>,
    _scratch: TestDb,
}

/// The session of a login that asked for nothing more.
pub fn granted(outcome: LoginOutcome) -> SessionGrant {
    match outcome {
        LoginOutcome::Granted(grant) => *grant,
        LoginOutcome::SecondFactor(_) => panic!("a second factor is asked for"),
    }
}

pub struct StoppedClock(AtomicI64);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// One world per engine.
pub async fn each(settings: IdentitySettings) -> Vec<World> {
    testing::each().await.into_iter().map(|scratch| World::over(scratch, settings.clone())).collect()
}

pub async fn each_default() -> Vec<World> {
    each(settings()).await
}

/// The defaults, with a hash that costs next to nothing.
pub fn settings() -> IdentitySettings {
    let hash_cost = HashCost { memory_kib: 64, iterations: 1, parallelism: 1 };
    IdentitySettings { hash_cost, ..IdentitySettings::default() }
}

impl World {
    fn over(scratch: TestDb, settings: IdentitySettings) -> Self {
        let clock = Arc::new(StoppedClock(AtomicI64::new(1_800_000_000_000_000)));
        let identity = Identity::new(scratch.db.clone(), clock.clone(), settings, &keys()).unwrap();
        Self { identity, db: scratch.db.clone(), clock, _scratch: scratch }
    }

    pub fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    }

    pub fn password(&self, text: &str) -> NewPassword {
        self.identity.rules().password(Secret::new(text)).unwrap()
    }

    pub fn account(&self, name: &str) -> NewAccount {
        NewAccount {
            username: self.identity.rules().username(name).unwrap(),
            email: EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
            password: self.password(PASSWORD),
        }
    }

    pub async fn register(&self, name: &str) {
        self.identity.register(self.account(name), &origin()).await.unwrap();
    }

    pub async fn login(&self, name: &str) -> SessionGrant {
        self.try_login(name).await.unwrap()
    }

    /// A login that no second factor is asked for.
    pub async fn try_login(&self, name: &str) -> Result<SessionGrant, IdentityError> {
        Ok(granted(self.identity.login(name, &Secret::new(PASSWORD), &origin()).await?))
    }

    /// A registered person with a session.
    pub async fn someone(&self, name: &str) -> (SessionGrant, Principal) {
        self.register(name).await;
        let grant = self.login(name).await;
        let who = self.who(&grant).await.unwrap();
        (grant, who)
    }

    pub async fn who(&self, grant: &SessionGrant) -> Result<Principal, RegistryError> {
        self.bearer(grant.access_token.expose(), Surface::Control).await
    }

    pub async fn who_has(&self, token: &Token) -> Result<Principal, RegistryError> {
        self.bearer(token.expose(), Surface::Control).await
    }

    pub async fn bearer(&self, secret: &str, surface: Surface) -> Result<Principal, RegistryError> {
        let presented = Presented::from_header(Some(format!("Bearer {secret}").as_bytes()));
        self.identity.authenticate(&presented, surface).await
    }

    /// How many audit entries of this action there are.
    pub async fn audited(&self, action: &str) -> i64 {
        self.db.count_rows(&format!("audit_log WHERE action = '{action}'")).await.unwrap()
    }
}

fn keys() -> IdentityKeys {
    IdentityKeys {
        issuer: "http://localhost:3000".into(),
        current: SigningSecret::from_bytes(b"0123456789abcdef0123456789abcdef").unwrap(),
        previous: None,
    }
}

/// Another process over the same database, with other settings.
pub fn beside(world: &World, settings: IdentitySettings) -> Identity {
    Identity::new(world.db.clone(), world.clock.clone(), settings, &keys()).unwrap()
}

pub fn origin() -> ClientOrigin {
    ClientOrigin::new(Some("192.0.2.1".parse().unwrap()), Some("tests/1.0"))
}

/// The credential problem inside a refusal.
pub fn problem<T: std::fmt::Debug>(outcome: Result<T, impl Into<IdentityError>>) -> CredentialProblem {
    match outcome.map_err(Into::into) {
        Err(IdentityError::Registry(RegistryError::BadCredential(problem))) => problem,
        other => panic!("expected a credential problem, got {other:?}"),
    }
}

/// The stable code of a 403.
pub fn denial<T: std::fmt::Debug>(outcome: Result<T, impl Into<IdentityError>>) -> &'static str {
    match outcome.map_err(Into::into) {
        Err(IdentityError::Registry(RegistryError::Denied(denial))) => denial.code(),
        Err(IdentityError::NotGrantable { .. }) => "scope_not_grantable",
        other => panic!("expected a denial, got {other:?}"),
    }
}

pub fn is_not_found<T>(outcome: &Result<T, IdentityError>) -> bool {
    matches!(outcome, Err(IdentityError::Registry(RegistryError::NotFound)))
}
