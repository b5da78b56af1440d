//! Where a publication lands: the package it belongs to, made on the spot by a first publish.

use std::time::Duration;

use publaryn_core::{
    Decision, Ecosystem, Operation, PackageName, Principal, RegistryError, ReleaseId, Timestamp, TokenKind, Visibility,
    access::{Denial, Resource},
    audit::{AuditAction, AuditEntry},
    decide,
    error::CredentialProblem,
    principal::Credential,
};
use publaryn_metadata::{Db, Tx, packages::PackageHead, repositories::RepositoryRow};

use crate::{
    commit::PublishSettings,
    landing::{Created, Creation, Wish, create_package},
};

/// How long the name of an unpublished package stays closed even to its owner.
const RECREATE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What a publication asks for.
pub(crate) struct Wanted<'a> {
    pub ecosystem: Ecosystem,
    pub name: &'a PackageName,
    /// May narrow a new package's visibility, never widen it.
    pub access_hint: Option<Visibility>,
    /// The repository that the client named.
    pub repository: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn creation(&self) -> Creation<'a> {
        Creation {
            ecosystem: self.ecosystem,
            name: self.name,
            repository: self.repository,
            visibility: self.access_hint.map_or(Wish::AsRepository, Wish::AtMost),
        }
    }
}

/// Where a release is going to live; its package is locked.
pub(crate) struct Place {
    pub head: PackageHead,
    /// This publication created the package.
    pub is_first: bool,
    pub new_repository: Option<RepositoryRow>,
}

impl Place {
    /// Finds the package, or creates it, for somebody who may publish there.
    ///
    /// # Errors
    /// See [`crate::commit`].
    pub async fn find(
        tx: &mut Tx,
        settings: &PublishSettings,
        who: &Principal,
        wanted: &Wanted<'_>,
        now: Timestamp,
    ) -> Result<Self, RegistryError> {
        let place = match tx.lock_package(wanted.ecosystem, wanted.name.canonical()).await? {
            Some(head) => existing(tx, who, head, now).await?,
            None => create(tx, settings, who, wanted, now).await?,
        };
        if wanted.name.respells(&place.head.name) {
            return Err(RegistryError::NameTaken { existing: Some(place.head.name.to_string()) });
        }
        Ok(place)
    }

    /// Records what was created on the way.
    pub async fn record(
        &self,
        tx: &mut Tx,
        who: &Principal,
        wanted: &Wanted<'_>,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let source = wanted.ecosystem.as_str();
        if let Some(repository) = &self.new_repository {
            let entry = AuditEntry::by(who, AuditAction::RepositoryCreate)
                .org(self.head.owner.org())
                .with("slug", repository.slug.as_str());
            tx.append_audit(&entry.with("source", source), now).await?;
        }
        if self.is_first {
            let entry =
                AuditEntry::by(who, AuditAction::PackageCreate).package(self.head.id).org(self.head.owner.org());
            tx.append_audit(&entry.with("name", wanted.name.display()).with("source", source), now).await?;
            // Reads of the name were misses until now.
            let touched = self.head.touched();
            tx.notice().packages.push(touched);
        }
        Ok(())
    }
}

/// What a `publish` token is used for: it is good for one publication.
pub enum TokenUse {
    /// A release as a whole.
    Release,
    /// A file of that release; others of the same may follow.
    FileOf(ReleaseId),
}

/// Uses the token of the caller, if it is one that can be used up.
///
/// # Errors
/// `BadCredential` when it was used for something else while this request was on its way.
pub async fn use_token(tx: &mut Tx, who: &Principal, used_for: TokenUse, now: Timestamp) -> Result<(), RegistryError> {
    let Credential::Token(token, TokenKind::Publish) = who.credential else { return Ok(()) };
    let is_good = match used_for {
        TokenUse::Release => tx.use_up_token(token, now).await?,
        TokenUse::FileOf(release) => tx.use_token_for(token, release).await?,
    };
    if is_good { Ok(()) } else { Err(RegistryError::BadCredential(CredentialProblem::Revoked)) }
}

async fn existing(tx: &mut Tx, who: &Principal, head: PackageHead, now: Timestamp) -> Result<Place, RegistryError> {
    let relation = tx.relation(&head, who).await?;
    allow(decide(who, Operation::Publish, Resource::Package(&head.access(relation))))?;
    if head.effective == Visibility::Quarantined {
        return Err(RegistryError::conflict("state_conflict", "the package is quarantined"));
    }
    if head.is_archived {
        return Err(RegistryError::conflict("package_archived", "the package is archived"));
    }
    if head.is_deleted {
        let deleted = tx.package_deleted_at(head.id).await?.unwrap_or(now);
        if now.since(deleted) < RECREATE_AFTER {
            return Err(RegistryError::Denied(Denial::Rule {
                code: "package_recently_deleted",
                message: format!("`{}` was unpublished; it may be published again after 24 hours", head.name),
            }));
        }
        tx.set_package_deleted(head.id, None).await?;
    }
    Ok(Place { head, is_first: false, new_repository: None })
}

async fn create(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Place, RegistryError> {
    match create_package(tx, settings, who, &wanted.creation(), now).await? {
        Some(Created { head, new_repository }) => Ok(Place { head, is_first: true, new_repository }),
        None => created_meanwhile(tx, who, wanted, now).await,
    }
}

/// Whether a first publish under a name would be let in, for protocols whose uploads come before it.
/// Changes nothing; the publish itself decides again.
///
/// # Errors
/// Those of [`crate::commit`] for a name without a package.
pub async fn may_create(
    db: &Db,
    settings: &PublishSettings,
    who: &Principal,
    ecosystem: Ecosystem,
    name: &PackageName,
) -> Result<(), RegistryError> {
    let wanted = Wanted { ecosystem, name, access_hint: None, repository: None };
    let mut tx = db.begin().await?;
    let outcome = create_package(&mut tx, settings, who, &wanted.creation(), Timestamp::now()).await;
    tx.rollback().await?;
    outcome.map(drop)
}

/// Another replica created the package since we looked; its row decides.
async fn created_meanwhile(
    tx: &mut Tx,
    who: &Principal,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Place, RegistryError> {
    match tx.lock_package(wanted.ecosystem, wanted.name.canonical()).await? {
        Some(head) => existing(tx, who, head, now).await,
        None => Err(RegistryError::NameTaken { existing: None }),
    }
}

pub(crate) fn allow(decision: Decision) -> Result<(), RegistryError> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Unauthenticated => Err(RegistryError::Unauthenticated),
        Decision::Denied(denial) => Err(RegistryError::Denied(denial)),
        Decision::Hidden => Err(RegistryError::NotFound),
    }
}
