//! Creating a package: where it lands, under which claim, and whether its name may be had (access.md §6–§8).

use publaryn_core::{
    Decision, Ecosystem, Operation, PackageId, PackageName, Principal, RegistryError, ReleaseId, RepositoryId,
    RepositoryKind, Timestamp, Visibility,
    access::{Denial, Owner, Resource, refuse_before_lookup},
    decide,
    finding::{Category, Finding, FindingKind, Severity},
    principal::{Binding, UserIdentity, Who},
};
use publaryn_metadata::{
    Tx,
    claims::ClaimRow,
    packages::{NewPackage, PackageHead},
    repositories::RepositoryRow,
};

use crate::{
    commit::{NameSimilarity, PublishSettings, fold_name},
    place::allow,
};

/// A package to be created.
#[derive(Debug, Clone, Copy)]
pub struct Creation<'a> {
    pub ecosystem: Ecosystem,
    pub name: &'a PackageName,
    /// Slug of the repository that the caller named; without one the rules of access.md §6 find it.
    pub repository: Option<&'a str>,
    pub visibility: Wish,
}

/// What the caller says about who may see the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// As its repository.
    AsRepository,
    /// A hint that may narrow what the repository says, never widen it, and never fails.
    AtMost(Visibility),
    /// This, or nothing is created.
    Exactly(Visibility),
}

/// A package that was just created.
#[derive(Debug, Clone)]
pub struct Created {
    pub head: PackageHead,
    /// Made on the spot for this package.
    pub new_repository: Option<RepositoryRow>,
}

/// Creates a package; `None` when somebody else did since the caller looked.
///
/// # Errors
/// `Denied`/`NotFound` by `decide` on the repository and by the claim over the name; `Invalid` and
/// `NameTaken` for names that cannot be had. Nothing is kept unless the caller commits.
pub async fn create_package(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    creation: &Creation<'_>,
    now: Timestamp,
) -> Result<Option<Created>, RegistryError> {
    let Creation { ecosystem, name, .. } = *creation;
    let claim = tx.governing_claim(ecosystem, name.canonical()).await?;
    let Landing { repository, is_new } = land(tx, settings, who, creation.repository, claim.as_ref(), now).await?;
    let owner = repository.owner();
    if !is_new {
        let relation = tx.repository_relation(repository.id, owner, who).await?;
        let access = repository.access(relation);
        match (decide(who, Operation::CreatePackage, Resource::Repository(&access)), &claim) {
            // The claim is public, the repository behind it is not.
            (Decision::Hidden, Some(claim)) if creation.repository.is_none() && claim.owner() == owner => {
                return Err(claimed(claim));
            }
            (decision, _) => allow(decision)?,
        }
    }
    match &claim {
        Some(claim) if claim.owner() != owner => return Err(claimed(claim)),
        None if settings.require_claim.contains(&ecosystem) => {
            return Err(RegistryError::Denied(Denial::Rule {
                code: "namespace_claim_required",
                message: format!("claim a namespace that covers `{name}` before publishing it here"),
            }));
        }
        _ => {}
    }
    let is_scoped = name.canonical().contains(['/', ':']);
    if !is_scoped && settings.reserved_names.contains(&fold_name(name.canonical())) {
        return Err(RegistryError::invalid("reserved_name", format!("the name `{name}` is reserved")));
    }
    if let Some(holder) = tx.package_with_collision_key(ecosystem, name.collision_key()).await? {
        if holder.normalized_name == name.canonical() {
            return Ok(None);
        }
        let is_told = holder.effective.is_open();
        return Err(RegistryError::NameTaken { existing: is_told.then(|| holder.name.to_string()) });
    }
    if tx.is_retired_name(ecosystem, name.collision_key()).await? {
        let message = format!("`{name}` was unpublished and its owner is gone; nobody may have the name again");
        return Err(RegistryError::invalid("reserved_name", message));
    }
    if claim.is_none()
        && let Some(vendor) = vendor_of(ecosystem, name.canonical())
    {
        vendor_allows(tx, ecosystem, vendor, who).await?;
    }
    let visibility = visibility_in(&repository, creation.visibility)?;
    if visibility.is_open()
        && claim.is_none()
        && settings.name_similarity == NameSimilarity::Enforce
        && let Some(other) =
            tx.mistakable_open_package(ecosystem, name.canonical(), &name.lookalike_key(), owner).await?
    {
        return Err(RegistryError::NameTaken { existing: other.is_public.then_some(other.name) });
    }
    let new = NewPackage { id: PackageId::new(), ecosystem, name, repository: repository.id, owner, visibility };
    if !tx.insert_package(&new, now).await? {
        return Ok(None);
    }
    let head = tx.lock_package_by_id(new.id).await?;
    Ok(Some(Created {
        head: head.ok_or_else(|| RegistryError::internal("a package just inserted"))?,
        new_repository: is_new.then_some(repository),
    }))
}

/// Says with the first release of a package (`sequence` 1) that its name resembles another one: names that are not
/// refused when a package is created, as too much alike, may still be similar (access.md §8). However the package
/// came to be, its first release is where people look.
pub async fn note_similar_name(
    tx: &mut Tx,
    settings: &PublishSettings,
    head: &PackageHead,
    sequence: i64,
    release: ReleaseId,
    now: Timestamp,
) -> Result<(), RegistryError> {
    if sequence != 1 || settings.name_similarity == NameSimilarity::Off || !head.effective.is_open() {
        return Ok(());
    }
    let claim = tx.governing_claim(head.ecosystem, &head.normalized_name).await?;
    if claim.is_some_and(|claim| claim.owner() == head.owner) {
        return Ok(());
    }
    let key = tx.lookalike_key_of(head.id).await?;
    let (ecosystem, name, owner) = (head.ecosystem, &*head.normalized_name, head.owner);
    let other = match tx.mistakable_open_package(ecosystem, name, &key, owner).await? {
        Some(other) => Some(other),
        None => tx.similar_open_package(ecosystem, name, owner).await?,
    };
    if let Some(other) = other.filter(|other| other.is_public) {
        tx.upsert_finding(release, None, &similar_name(&other.name), now).await?;
    }
    Ok(())
}

/// The part of a name that belongs to one owner without being claimed: Composer's vendor, with its slash.
fn vendor_of(ecosystem: Ecosystem, canonical: &str) -> Option<&str> {
    let end = (ecosystem == Ecosystem::Composer).then(|| canonical.find('/')).flatten()?;
    canonical.get(..=end)
}

/// A vendor belongs to those who may publish to a package of it; the first one takes it.
async fn vendor_allows(tx: &mut Tx, ecosystem: Ecosystem, vendor: &str, who: &Principal) -> Result<(), RegistryError> {
    let known = tx.lock_packages_below(ecosystem, vendor).await?;
    for head in &known {
        let relation = tx.relation(head, who).await?;
        if decide(who, Operation::Publish, Resource::Package(&head.access(relation))) == Decision::Allow {
            return Ok(());
        }
    }
    if known.is_empty() {
        return Ok(());
    }
    Err(RegistryError::Denied(Denial::Rule {
        code: "namespace_claimed",
        message: format!("vendor {} belongs to another owner", vendor.trim_end_matches('/')),
    }))
}

/// The visibility of a package in a repository (access.md §6).
///
/// # Errors
/// `Invalid` for an exact wish that the repository cannot hold.
pub fn visibility_in(repository: &RepositoryRow, wish: Wish) -> Result<Visibility, RegistryError> {
    match wish {
        Wish::AsRepository => Ok(repository.visibility),
        Wish::AtMost(hint) => Ok(hint.max(repository.visibility)),
        Wish::Exactly(wanted) => {
            check_visibility(wanted, repository.visibility, repository.owner())?;
            Ok(wanted)
        }
    }
}

/// Whether a package of that owner may be `wanted` inside a repository that is `limit`.
///
/// # Errors
/// `visibility_too_broad`, `visibility_needs_organization`.
pub fn check_visibility(wanted: Visibility, limit: Visibility, owner: Owner) -> Result<(), RegistryError> {
    if wanted == Visibility::InternalOrg && !matches!(owner, Owner::Org(_)) {
        return Err(RegistryError::invalid(
            "visibility_needs_organization",
            "only packages and repositories of an organization can be internal to it",
        ));
    }
    let is_too_broad = match limit {
        Visibility::Quarantined => wanted != Visibility::Quarantined,
        // These three count as equally narrow.
        Visibility::InternalOrg | Visibility::Private => wanted.is_open(),
        Visibility::Public | Visibility::Unlisted => wanted < limit,
    };
    if is_too_broad {
        return Err(RegistryError::VisibilityTooBroad { limit });
    }
    Ok(())
}

struct Landing {
    repository: RepositoryRow,
    is_new: bool,
}

impl From<RepositoryRow> for Landing {
    fn from(repository: RepositoryRow) -> Self {
        Self { repository, is_new: false }
    }
}

/// The repository in which a first publish lands.
async fn land(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    named: Option<&str>,
    claim: Option<&ClaimRow>,
    now: Timestamp,
) -> Result<Landing, RegistryError> {
    if let Some(slug) = named {
        return Ok(tx.repository_by_slug(slug).await?.ok_or(RegistryError::NotFound)?.into());
    }
    match who.binding {
        Some(Binding::Repository(id)) => return Ok(tx.repository(id).await?.ok_or(RegistryError::NotFound)?.into()),
        Some(Binding::Package(_)) => return Err(RegistryError::Denied(Denial::TokenNotBound)),
        None => {}
    }
    let user = match &who.who {
        Who::Automation { org, .. } => return of_organization(tx, *org).await,
        Who::User(user) => user,
        Who::Anonymous | Who::TrustedPublisher { .. } => {
            return Err(RegistryError::Denied(Denial::CredentialNotAccepted));
        }
    };
    match claim.map(|claim| (claim, claim.owner())) {
        Some((_, Owner::Org(org))) => of_organization(tx, org).await,
        Some((claim, Owner::User(owner))) if owner != user.id => Err(claimed(claim)),
        Some(_) | None => of_user(tx, settings, who, user, now).await,
    }
}

async fn of_organization(tx: &mut Tx, org: publaryn_core::OrgId) -> Result<Landing, RegistryError> {
    let repository = tx.landing_repository_of_org(org).await?.ok_or_else(|| {
        RegistryError::Denied(Denial::Rule {
            code: "insufficient_permission",
            message: "the organization has no repository that takes new packages".into(),
        })
    })?;
    Ok(repository.into())
}

async fn of_user(
    tx: &mut Tx,
    settings: &PublishSettings,
    who: &Principal,
    user: &UserIdentity,
    now: Timestamp,
) -> Result<Landing, RegistryError> {
    if let Some(oldest) = tx.oldest_repository_of(user.id).await? {
        return Ok(oldest.into());
    }
    if let Some(refusal) = refuse_before_lookup(who, Operation::CreatePackage, true) {
        allow(refusal)?;
    }
    let repository = personal_repository(tx, settings, user, now).await?;
    Ok(Landing { repository, is_new: true })
}

/// Makes a personal repository named after the user, or `-2`, `-3`… if the slug is taken.
async fn personal_repository(
    tx: &mut Tx,
    settings: &PublishSettings,
    owner: &UserIdentity,
    now: Timestamp,
) -> Result<RepositoryRow, RegistryError> {
    let base = owner.username.to_lowercase();
    for n in 1..100 {
        let slug = if n == 1 { base.clone() } else { format!("{base}-{n}") };
        let row = RepositoryRow {
            id: RepositoryId::new(),
            name: slug.clone(),
            slug,
            description: None,
            kind: RepositoryKind::Public,
            visibility: settings.personal_repository_visibility,
            owner_user_id: Some(owner.id),
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

fn claimed(claim: &ClaimRow) -> RegistryError {
    RegistryError::Denied(Denial::NamespaceClaimed(claim.namespace.as_str().into()))
}

/// What a first release shows when its package's name resembles another one.
fn similar_name(other: &str) -> Finding {
    Finding {
        rule_id: "similar_name".into(),
        kind: FindingKind::PolicyViolation,
        category: Category::NameConfusion,
        severity: Severity::Low,
        title: format!("the name is easily mistaken for `{other}`"),
        description: None,
        location: String::new(),
    }
}
