//! Where a publication lands: the package it belongs to, made on the spot by a first publish.

use std::time::Duration;

use publaryn_core::{
    Decision, Ecosystem, Operation, PackageId, PackageName, Principal, RegistryError, ReleaseId, RepositoryId,
    RepositoryKind, Timestamp, TokenKind, UserId, Visibility,
    access::{Denial, Owner, Relation, Resource},
    audit::{AuditAction, AuditEntry},
    decide,
    error::CredentialProblem,
    principal::{Binding, Credential, Who},
};
use publaryn_metadata::{
    Db, Tx,
    packages::{NewPackage, PackageHead},
    repositories::RepositoryRow,
};

use crate::commit::{PublishSettings, fold_name};

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
            let entry = AuditEntry::by(who, AuditAction::RepositoryCreate).with("slug", repository.slug.as_str());
            tx.append_audit(&entry.with("source", source), now).await?;
        }
        if self.is_first {
            let entry = AuditEntry::by(who, AuditAction::PackageCreate).package(self.head.id);
            tx.append_audit(&entry.with("name", wanted.name.display()).with("source", source), now).await?;
            // Reads of the name were misses until now.
            let touched = self.head.touched();
            tx.notice().packages.push(touched);
        }
        Ok(())
    }
}

/// What a `publish` token is used for: it is good for one publication.
pub(crate) enum TokenUse {
    /// A release as a whole.
    Release,
    /// A file of that release; others of the same may follow.
    FileOf(ReleaseId),
}

/// Uses the token of the caller, if it is one that can be used up.
///
/// # Errors
/// `BadCredential` when it was used for something else while this request was on its way.
pub(crate) async fn use_token(
    tx: &mut Tx,
    who: &Principal,
    used_for: TokenUse,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let Credential::Token(token, TokenKind::Publish) = who.credential else { return Ok(()) };
    let is_good = match used_for {
        TokenUse::Release => tx.use_up_token(token, now).await?,
        TokenUse::FileOf(release) => tx.use_token_for(token, release).await?,
    };
    if is_good { Ok(()) } else { Err(RegistryError::BadCredential(CredentialProblem::Revoked)) }
}

async fn existing(tx: &mut Tx, who: &Principal, head: PackageHead, now: Timestamp) -> Result<Place, RegistryError> {
    let relation = match &who.who {
        // The owner has every right there is; being a co-owner beside adds nothing.
        Who::User(user) if head.owner != Owner::User(user.id) => tx.relation(head.id, user.id).await?,
        _ => Relation::default(),
    };
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
    let (ecosystem, name) = (wanted.ecosystem, wanted.name);
    if let Some(holder) = tx.package_with_collision_key(ecosystem, name.collision_key()).await?
        && holder.normalized_name == name.canonical()
    {
        return created_meanwhile(tx, who, wanted, now).await;
    }
    let Creation { repository, is_new, visibility } = creation(tx, settings, who, wanted, now).await?;
    let new = NewPackage {
        id: PackageId::new(),
        ecosystem,
        name,
        repository: repository.id,
        owner: repository.owner(),
        visibility,
    };
    if !tx.insert_package(&new, now).await? {
        return created_meanwhile(tx, who, wanted, now).await;
    }
    let head =
        tx.lock_package_by_id(new.id).await?.ok_or_else(|| RegistryError::internal("a package just inserted"))?;
    Ok(Place { head, is_first: true, new_repository: is_new.then_some(repository) })
}

/// How a package would be made.
struct Creation {
    repository: RepositoryRow,
    /// The repository was made for it.
    is_new: bool,
    visibility: Visibility,
}

/// Where and how a package of that name would be made, after every rule about its name.
async fn creation(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Creation, RegistryError> {
    let (ecosystem, name) = (wanted.ecosystem, wanted.name);
    if let Some(holder) = tx.package_with_collision_key(ecosystem, name.collision_key()).await? {
        let visible = holder.effective.is_open();
        return Err(RegistryError::NameTaken { existing: visible.then(|| holder.name.to_string()) });
    }
    let is_scoped = name.canonical().contains('/');
    if !is_scoped && settings.reserved_names.contains(&fold_name(name.canonical())) {
        return Err(RegistryError::invalid("reserved_name", format!("the name `{name}` is reserved")));
    }
    let (repository, is_new) = landing(tx, settings, who, wanted.repository, now).await?;
    if !is_new {
        let access = repository.access(Relation::default());
        allow(decide(who, Operation::CreatePackage, Resource::Repository(&access)))?;
    }
    // A client's wish may narrow, never widen.
    let visibility = wanted.access_hint.map_or(repository.visibility, |hint| hint.max(repository.visibility));
    if visibility.is_open()
        && let Some(key) = name.lookalike_key()
        && let Some(other) = tx.open_lookalike(ecosystem, key, repository.owner()).await?
    {
        return Err(RegistryError::NameTaken { existing: Some(other.name.to_string()) });
    }
    Ok(Creation { repository, is_new, visibility })
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
    let outcome = creation(&mut tx, settings, who, &wanted, Timestamp::now()).await;
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

/// The repository in which a first publish lands (access.md §6), and whether it was made just now.
async fn landing(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    named: Option<&str>,
    now: Timestamp,
) -> Result<(RepositoryRow, bool), RegistryError> {
    if let Some(slug) = named {
        return tx.repository_by_slug(slug).await?.map(|r| (r, false)).ok_or(RegistryError::NotFound);
    }
    match who.binding {
        Some(Binding::Repository(id)) => {
            return tx.repository(id).await?.map(|r| (r, false)).ok_or(RegistryError::NotFound);
        }
        Some(Binding::Package(_)) => return Err(RegistryError::Denied(Denial::TokenNotBound)),
        None => {}
    }
    let Some(user) = who.user() else {
        return Err(RegistryError::Denied(Denial::CredentialNotAccepted));
    };
    if let Some(oldest) = tx.oldest_repository_of(user.id).await? {
        return Ok((oldest, false));
    }
    if let Some(refusal) = publaryn_core::access::refuse_before_lookup(who, Operation::CreatePackage, true) {
        allow(refusal)?;
    }
    Ok((personal_repository(tx, settings, user.id, &user.username, now).await?, true))
}

/// Makes a personal repository named after the user, or `-2`, `-3`… if the slug is taken.
async fn personal_repository(
    tx: &mut Tx,
    settings: &PublishSettings,
    owner: UserId,
    username: &str,
    now: Timestamp,
) -> Result<RepositoryRow, RegistryError> {
    let base = username.to_lowercase();
    for n in 1..100 {
        let slug = if n == 1 { base.clone() } else { format!("{base}-{n}") };
        let row = RepositoryRow {
            id: RepositoryId::new(),
            name: slug.clone(),
            slug,
            description: None,
            kind: RepositoryKind::Public,
            visibility: settings.personal_repository_visibility,
            owner_user_id: Some(owner),
            owner_org_id: None,
            created_at: now,
            updated_at: now,
        };
        if tx.insert_repository(&row).await? {
            return Ok(row);
        }
    }
    Err(RegistryError::conflict("already_exists", "no free slug for a personal repository"))
}

fn allow(decision: Decision) -> Result<(), RegistryError> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Unauthenticated => Err(RegistryError::Unauthenticated),
        Decision::Denied(denial) => Err(RegistryError::Denied(denial)),
        Decision::Hidden => Err(RegistryError::NotFound),
    }
}
