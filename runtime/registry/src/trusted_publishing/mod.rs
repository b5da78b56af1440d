//! Trusted publishing: a CI job proves with its issuer's identity token where it comes from, and gets a token
//! for a quarter of an hour that publishes one package (pypi.md §6, access.md §5).
//!
//! [`issuers`] fetches and keeps the keys of the configured issuers, [`workload`] compares what a verified token
//! says with what a package trusts. The exchange itself is one transaction: the foreign token is taken for
//! good, the publisher is marked used, ours is minted and audited, or nothing of it.

mod addresses;
mod attested;
mod issuers;
mod pending;
mod workload;

use std::time::Duration;

use publaryn_auth::{IdentityToken, IdentityTokenProblem, Token};
use publaryn_core::{
    Ecosystem, PackageName, RegistryError, Scope, ScopeSet, Timestamp, TokenId, TokenKind, Visibility,
    audit::{AuditAction, AuditEntry, ClientOrigin},
};
use publaryn_metadata::{
    Tx,
    packages::PackageHead,
    pending_publishers::PendingPublisherRow,
    tokens::TokenRow,
    trusted_publishers::{PublisherOfPackage, TrustedPublisherRow},
};
use sha2::{Digest as _, Sha256};

pub(crate) use self::workload::stored_subject;
pub use self::{attested::AttestedBy, pending::NewPendingPublisher};
use self::{
    issuers::Issuers,
    pending::NO_ACCOUNT,
    workload::{Mismatch, Workload},
};
use crate::Registry;

/// The `oidc.*` settings.
#[derive(Debug, Clone, Default)]
pub struct OidcSettings {
    /// Matched exactly; empty turns trusted publishing off.
    pub issuers: Vec<OidcIssuer>,
    /// Whom foreign tokens must be made for.
    pub audience: String,
    /// The host of `server.base_url`, without port: npm's audience is made of it.
    pub host: String,
    pub token_ttl: Duration,
}

/// An issuer whose tokens may be exchanged.
#[derive(Debug, Clone)]
pub struct OidcIssuer {
    /// The exact text of the claim `iss`.
    pub issuer: String,
    /// Where its keys are, when discovery is not to be used.
    pub jwks_url: Option<String>,
}

/// Whom a foreign token must have been made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// `oidc.audience`.
    Registry,
    /// `npm:<host>`, which is what npm and pnpm ask their issuer for.
    Npm,
}

/// What a CI job asks for.
#[derive(Debug, Clone)]
pub struct Exchange<'a> {
    pub token: &'a str,
    pub audience: Audience,
    pub ecosystem: Ecosystem,
    /// Names one of several packages that trust the workload.
    pub package: Option<PackageName>,
}

/// A token that publishes one package.
#[derive(Debug, Clone)]
pub struct Exchanged {
    pub token: Token,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Why an exchange was refused; the texts may be shown to whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("trusted publishing is not enabled on this registry")]
    NotEnabled,
    #[error("{0}")]
    Payload(String),
    #[error("{0}")]
    Token(IdentityTokenProblem),
    #[error("the token was already used")]
    Reused,
    #[error("valid token, but no corresponding publisher ({0})")]
    Publisher(String),
    #[error("valid token, but its pending publisher cannot be used: {0}")]
    Pending(String),
    #[error("the keys of the issuer cannot be read at the moment, try again later")]
    IssuerAway,
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl ExchangeError {
    /// The stable code of pypi.md §6.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotEnabled => "not-enabled",
            Self::Payload(_) => "invalid-payload",
            Self::Token(problem) if problem.is_malformed() => "invalid-payload",
            Self::Token(_) => "invalid-token",
            Self::Reused => "invalid-reuse-token",
            Self::Publisher(_) => "invalid-publisher",
            Self::Pending(_) => "invalid-pending-publisher",
            Self::Registry(RegistryError::RateLimited { .. }) => "rate-limited",
            Self::IssuerAway | Self::Registry(_) => "internal-error",
        }
    }
}

impl From<publaryn_metadata::DbError> for ExchangeError {
    fn from(error: publaryn_metadata::DbError) -> Self {
        Self::Registry(error.into())
    }
}

/// What the exchange keeps in memory.
pub(crate) struct TrustedPublishing {
    issuers: Issuers,
}

impl TrustedPublishing {
    pub(crate) fn new(settings: &OidcSettings) -> Self {
        Self { issuers: Issuers::new(&settings.issuers) }
    }
}

/// Packages that may trust one workload; beyond it somebody plays.
const MAX_PUBLISHERS: u32 = 1000;

/// Whom a token means.
enum Chosen {
    Publisher(PublisherOfPackage),
    /// Of a package that does not exist yet.
    Pending(PendingPublisherRow),
}

impl Registry {
    /// Whom foreign tokens must be made for; `None` when trusted publishing is off.
    pub fn oidc_audience(&self, audience: Audience) -> Option<String> {
        let settings = &self.0.settings.oidc;
        let text = match audience {
            Audience::Registry => settings.audience.clone(),
            Audience::Npm => format!("npm:{}", settings.host),
        };
        (!settings.issuers.is_empty()).then_some(text)
    }

    /// Exchanges the identity token of a CI job for one that publishes.
    ///
    /// # Errors
    /// See [`ExchangeError`]; nothing is given out and nothing used up then.
    pub async fn exchange(&self, asked: Exchange<'_>, origin: &ClientOrigin) -> Result<Exchanged, ExchangeError> {
        let now = Timestamp::now();
        let outcome = self.exchange_now(asked, origin, now).await;
        let label = if outcome.is_ok() { "success" } else { "failure" };
        metrics::counter!("publaryn_auth_attempts_total", "method" => "oidc", "outcome" => label).increment(1);
        outcome
    }

    async fn exchange_now(
        &self,
        asked: Exchange<'_>,
        origin: &ClientOrigin,
        now: Timestamp,
    ) -> Result<Exchanged, ExchangeError> {
        let audience = self.oidc_audience(asked.audience).ok_or(ExchangeError::NotEnabled)?;
        let token = IdentityToken::read(asked.token).map_err(ExchangeError::Token)?;
        let issuer = self.0.trusted_publishing.issuers.find(token.issuer());
        let issuer =
            issuer.ok_or_else(|| ExchangeError::Payload("the issuer of the token is not known here".into()))?;
        let keys = self.0.trusted_publishing.issuers.keys(issuer, token.key_id()).await;
        let keys = keys.ok_or(ExchangeError::IssuerAway)?;
        let claims = token.verify(&keys, &audience, now).map_err(ExchangeError::Token)?;
        let workload = Workload::of(claims).map_err(|mismatch| mismatch.into_error())?;
        match self.choose(&workload, &asked).await? {
            Chosen::Publisher(chosen) => self.mint(&workload, chosen, &asked, origin, now).await,
            Chosen::Pending(pending) => self.mint_first(&workload, pending, &asked, origin, now).await,
        }
    }

    /// The one package that this workload may publish.
    async fn choose(&self, workload: &Workload, asked: &Exchange<'_>) -> Result<Chosen, ExchangeError> {
        let known = self
            .0
            .db
            .publishers_of_workload(workload.issuer(), workload.subjects(), asked.ecosystem, MAX_PUBLISHERS.into())
            .await?;
        let wanted = asked.package.as_ref().map(PackageName::canonical);
        let mut mismatch = Mismatch::claim("sub");
        let mut fitting: Vec<PublisherOfPackage> = Vec::new();
        for candidate in known {
            if wanted.is_some_and(|wanted| wanted != candidate.package_normalized_name) {
                mismatch = Mismatch::claim("sub for this package");
                continue;
            }
            match workload.check(&candidate.publisher) {
                Ok(()) => fitting.push(candidate),
                Err(found) => mismatch = found,
            }
        }
        // What names an environment is meant more than what takes any.
        if fitting.iter().any(|candidate| names_environment(&candidate.publisher)) {
            fitting.retain(|candidate| names_environment(&candidate.publisher));
        }
        let Some(first) = fitting.first().cloned() else {
            let pending = self.pending_for(workload, asked).await?;
            return pending.map(Chosen::Pending).ok_or_else(|| mismatch.into_error());
        };
        if fitting.iter().any(|other| other.publisher.package_id != first.publisher.package_id) {
            let text = "several packages trust this workload, name one as `package`";
            return Err(ExchangeError::Publisher(text.into()));
        }
        Ok(Chosen::Publisher(first))
    }

    async fn mint(
        &self,
        workload: &Workload,
        chosen: PublisherOfPackage,
        asked: &Exchange<'_>,
        origin: &ClientOrigin,
        now: Timestamp,
    ) -> Result<Exchanged, ExchangeError> {
        let publisher = &chosen.publisher;
        let mut tx = self.0.db.begin().await?;
        let head = tx.lock_package_by_id(publisher.package_id).await?.filter(|head| !head.is_deleted);
        let head = head.ok_or_else(|| ExchangeError::Publisher("the package is gone".into()))?;
        let refusal = match () {
            () if head.is_archived => Some("the package is archived"),
            () if head.effective == Visibility::Quarantined => Some("the package is quarantined"),
            () => None,
        };
        if let Some(refusal) = refusal {
            return Err(ExchangeError::Publisher(refusal.into()));
        }
        let creator = tx.user(publisher.created_by).await?.filter(|user| user.is_active);
        if creator.is_none() {
            return Err(ExchangeError::Publisher(NO_ACCOUNT.into()));
        }
        self.mint_within(tx, workload, chosen, &head, asked, origin, now).await
    }

    /// Takes the foreign token, notes the use of the publisher and gives out ours, with whatever else the transaction
    /// holds, or nothing of it.
    #[allow(clippy::too_many_arguments, reason = "one step of the exchange, in two places")]
    async fn mint_within(
        &self,
        mut tx: Tx,
        workload: &Workload,
        chosen: PublisherOfPackage,
        head: &PackageHead,
        asked: &Exchange<'_>,
        origin: &ClientOrigin,
        now: Timestamp,
    ) -> Result<Exchanged, ExchangeError> {
        let publisher = chosen.publisher;
        if !tx.take_foreign_token(&workload.token_hash(), workload.token_ends()).await? {
            return Err(ExchangeError::Reused);
        }
        if !tx.use_trusted_publisher(publisher.id, workload.source_owner(), now).await? {
            return Err(Mismatch::claim(workload.source_owner_claim()).into_error());
        }
        let minted = Token::mint();
        let expires_at = now + self.0.settings.oidc.token_ttl;
        let row = TokenRow {
            id: TokenId::new(),
            kind: TokenKind::OidcDerived,
            name: format!("trusted publishing of {}", chosen.package_name).chars().take(200).collect(),
            last_four: minted.last_four,
            scopes: ScopeSet::from_iter([Scope::PackagesPublish]),
            user_id: Some(publisher.created_by),
            org_id: None,
            role: None,
            repository_id: None,
            package_id: Some(publisher.package_id),
            expires_at: Some(expires_at),
            last_used_at: None,
            used_up_at: None,
            revoked_at: None,
            created_at: now,
        };
        tx.insert_token(&row, minted.hash.as_bytes()).await?;
        tx.tie_token_to_publisher(row.id, publisher.id).await?;
        let mut entry = AuditEntry::system(AuditAction::TokenCreate)
            .package(publisher.package_id)
            .org(head.owner.org())
            .user(publisher.created_by)
            .from_client(origin)
            .with("source", "trusted_publishing")
            .with("ecosystem", asked.ecosystem.as_str())
            .with("token_id", row.id.to_string())
            .with("kind", row.kind.as_str())
            .with("scopes", row.scopes.words())
            .with("trusted_publisher_id", publisher.id.to_string());
        entry.actor_user = Some(publisher.created_by);
        entry.actor_token = Some(row.id);
        entry.metadata.insert("workload".into(), workload.facts().into());
        tx.commit_audited(&entry, now).await?;
        Ok(Exchanged { token: minted.token, created_at: now, expires_at })
    }

    /// Ends a token that came from an exchange; holding it is the right to. Other tokens are left alone, and
    /// unknown ones are none.
    pub async fn burn(&self, token: &Token, origin: &ClientOrigin) -> Result<(), RegistryError> {
        let found = self.0.db.token_identity(token.hash().as_bytes()).await?;
        let Some(found) = found.filter(|found| found.token.kind == TokenKind::OidcDerived) else { return Ok(()) };
        let now = Timestamp::now();
        let mut tx = self.0.db.begin().await?;
        if !tx.revoke_own_token(found.token.id, now).await? {
            return Ok(());
        }
        let mut entry = AuditEntry::system(AuditAction::TokenRevoke)
            .from_client(origin)
            .with("source", "trusted_publishing")
            .with("token_id", found.token.id.to_string());
        entry.actor_user = found.token.user_id;
        entry.actor_token = Some(found.token.id);
        entry.target_package = found.token.package_id;
        if let Some(package) = found.token.package_id {
            let head = self.0.db.package_head_by_id(package).await?;
            entry.target_org = head.and_then(|head| head.owner.org());
        }
        Ok(tx.commit_audited(&entry, now).await?)
    }
}

fn names_environment(publisher: &TrustedPublisherRow) -> bool {
    !publisher.environment.is_empty()
}

/// What an exchanged token is remembered by. Issuers number their tokens each on their own.
fn hash_of(issuer: &str, token_id: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((issuer.len() as u64).to_be_bytes());
    hash.update(issuer);
    hash.update(token_id);
    hash.finalize().into()
}
