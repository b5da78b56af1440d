//! Repositories of the four kinds (access.md §6).

use publaryn_core::{
    Operation, Principal, RegistryError, RepositoryId, RepositoryKind, Timestamp, Visibility,
    access::{Owner, RepositoryAccess, Resource, ResourceKind, permits, refuse_early},
    audit::{AuditAction, AuditEntry, ClientOrigin},
    decide,
};
use publaryn_metadata::{
    Tx,
    organizations::{OrgRow, Slice},
    reach::Reach,
    repositories::{RepositoryDetails, RepositoryFilter, RepositoryRow},
    standing::Standings,
    teams::GrantTarget,
};
use publaryn_publish::index_job;
use serde_json::{Map, Value, json};

use crate::Registry;

/// A repository as a caller sees it.
#[derive(Debug, Clone)]
pub struct RepositoryView {
    pub details: RepositoryDetails,
    /// Of the packages the caller may be told of.
    pub package_count: i64,
    pub can_manage: bool,
    pub can_create_packages: bool,
    pub can_transfer: bool,
}

/// A repository about to be made; the values passed their rules. Without an owner it is the caller's.
#[derive(Debug, Clone)]
pub struct NewRepository {
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub kind: RepositoryKind,
    pub visibility: Option<Visibility>,
    pub owner: Option<Owner>,
}

/// Changes to a repository: absent = leave, `Some(None)` = clear.
#[derive(Debug, Clone, Default)]
pub struct RepositoryPatch {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub visibility: Option<Visibility>,
    /// More people seeing packages is wanted.
    pub confirm_exposure: bool,
}

impl RepositoryView {
    fn of(who: &Principal, details: RepositoryDetails, access: &RepositoryAccess) -> Self {
        let may = |operation| permits(who, operation, Resource::Repository(access));
        // Whoever could list it were it not public sees what is in it.
        let sees = |visibility| {
            let closed = RepositoryAccess { visibility, ..access.clone() };
            permits(who, Operation::Discover, Resource::Repository(&closed))
        };
        Self {
            package_count: if sees(Visibility::Private) {
                details.all_packages
            } else if sees(Visibility::InternalOrg) {
                details.shared_packages
            } else {
                details.public_packages
            },
            can_manage: may(Operation::Administer),
            can_create_packages: may(Operation::CreatePackage),
            can_transfer: may(Operation::Transfer),
            details,
        }
    }
}

impl Registry {
    /// Repositories that the caller may be told of, by slug.
    pub async fn repositories(
        &self,
        who: &Principal,
        filter: &RepositoryFilter,
        slice: Slice,
    ) -> Result<(Vec<RepositoryView>, i64), RegistryError> {
        let standings = self.0.db.standings(who).await?;
        self.repositories_to(who, &standings, filter, slice).await
    }

    /// The same, where it is known what the caller has anywhere.
    pub(super) async fn repositories_to(
        &self,
        who: &Principal,
        standings: &Standings,
        filter: &RepositoryFilter,
        slice: Slice,
    ) -> Result<(Vec<RepositoryView>, i64), RegistryError> {
        let (rows, total) = self.0.db.discoverable_repositories(&Reach::of(who), filter, slice).await?;
        let view = |details: RepositoryDetails| {
            let row = &details.row;
            let access = row.access(standings.to_repository(row.id, row.owner()));
            permits(who, Operation::Discover, Resource::Repository(&access))
                .then(|| RepositoryView::of(who, details, &access))
        };
        let views = rows.into_iter().filter_map(view).collect();
        Ok((views, total))
    }

    /// A repository the caller may read.
    pub async fn repository(&self, who: &Principal, slug: &str) -> Result<RepositoryView, RegistryError> {
        let (row, access) = self.readable_repository(who, slug).await?;
        let details = self.0.db.repository_details(row.id).await?.ok_or(RegistryError::NotFound)?;
        Ok(RepositoryView::of(who, details, &access))
    }

    pub(crate) async fn readable_repository(
        &self,
        who: &Principal,
        slug: &str,
    ) -> Result<(RepositoryRow, RepositoryAccess), RegistryError> {
        let row = self.repository_row(who, slug).await?;
        let relation = self.0.db.repository_relation(row.id, row.owner(), who).await?;
        let access = row.access(relation);
        self.allow(who, decide(who, Operation::Read, Resource::Repository(&access)))?;
        Ok((row, access))
    }

    /// The repository of that slug, whoever may see it.
    async fn repository_row(&self, who: &Principal, slug: &str) -> Result<RepositoryRow, RegistryError> {
        match self.0.db.repository_by_slug(slug).await? {
            Some(row) => Ok(row),
            None => {
                self.0.db.relation_to_nothing(who).await?;
                Err(RegistryError::NotFound)
            }
        }
    }

    /// Whether the caller may do `operation` to a repository, before anything is said about the input.
    pub async fn may_change_repository(
        &self,
        who: &Principal,
        slug: &str,
        operation: Operation,
    ) -> Result<RepositoryRow, RegistryError> {
        if let Some(refusal) = refuse_early(who, operation, ResourceKind::Repository) {
            self.allow(who, refusal)?;
        }
        let row = self.repository_row(who, slug).await?;
        let relation = self.0.db.repository_relation(row.id, row.owner(), who).await?;
        self.allow(who, decide(who, operation, Resource::Repository(&row.access(relation))))?;
        Ok(row)
    }

    /// Whether the caller may create a repository for that owner, before anything is said about the input.
    pub async fn may_create_repository(&self, who: &Principal, owner: Option<Owner>) -> Result<(), RegistryError> {
        self.owner_for(who, Operation::CreateRepository, owner).await.map(drop)
    }

    /// # Errors
    /// `already_exists` when the slug is taken, `visibility_too_broad`, `visibility_needs_organization`.
    pub async fn create_repository(
        &self,
        who: &Principal,
        new: NewRepository,
        origin: &ClientOrigin,
    ) -> Result<RepositoryView, RegistryError> {
        let now = Timestamp::now();
        let owner = self.owner_for(who, Operation::CreateRepository, new.owner).await?;
        let mut tx = self.0.db.begin().await?;
        self.may_create_for(who, Operation::CreateRepository, owner, &mut tx).await?;
        let visibility = new.visibility.unwrap_or_else(|| new.kind.default_visibility());
        check_kind(new.kind, visibility, owner)?;
        let (owner_user_id, owner_org_id) = match owner {
            Owner::User(id) => (Some(id), None),
            Owner::Org(id) => (None, Some(id)),
        };
        let row = RepositoryRow {
            id: RepositoryId::new(),
            slug: new.slug,
            name: new.name,
            description: new.description,
            kind: new.kind,
            visibility,
            owner_user_id,
            owner_org_id,
            created_at: now,
            updated_at: now,
        };
        if !tx.insert_repository(&row).await? {
            return Err(RegistryError::already_exists("slug"));
        }
        let entry = repository_entry(who, AuditAction::RepositoryCreate, &row, origin)
            .with("kind", row.kind.as_str())
            .with("visibility", row.visibility.as_str());
        tx.commit_audited(&entry, now).await?;
        self.repository(who, &row.slug).await
    }

    async fn change_repository(
        &self,
        who: &Principal,
        slug: &str,
        operation: Operation,
    ) -> Result<(Tx, RepositoryRow), RegistryError> {
        if let Some(refusal) = refuse_early(who, operation, ResourceKind::Repository) {
            self.allow(who, refusal)?;
        }
        let mut tx = self.0.db.begin().await?;
        let row = tx.lock_repository(slug).await?.ok_or(RegistryError::NotFound)?;
        let relation = tx.repository_relation(row.id, row.owner(), who).await?;
        self.allow(who, decide(who, operation, Resource::Repository(&row.access(relation))))?;
        Ok((tx, row))
    }

    /// # Errors
    /// `confirmation_required` when more people would see packages and nobody said that this is wanted.
    pub async fn update_repository(
        &self,
        who: &Principal,
        slug: &str,
        patch: RepositoryPatch,
        precondition: impl Fn(&RepositoryRow) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<RepositoryView, RegistryError> {
        let now = Timestamp::now();
        let (mut tx, before) = self.change_repository(who, slug, Operation::Administer).await?;
        precondition(&before)?;
        let mut after = before.clone();
        if let Some(name) = patch.name {
            after.name = name;
        }
        if let Some(description) = patch.description {
            after.description = description;
        }
        if let Some(visibility) = patch.visibility {
            check_kind(before.kind, visibility, before.owner())?;
            after.visibility = visibility;
        }
        let changes = changes(&before, &after);
        if changes.is_empty() {
            drop(tx);
            return self.repository(who, slug).await;
        }
        if after.visibility != before.visibility {
            let affected = tx.count_widened(before.id, after.visibility).await?;
            if affected > 0 && !patch.confirm_exposure {
                return Err(RegistryError::conflict_with(
                    "confirmation_required",
                    format!("{affected} packages would be seen by more people; repeat with `confirm_exposure`"),
                    [("affected_packages", json!(affected))],
                ));
            }
        }
        tx.update_repository(&after, now).await?;
        if after.visibility != before.visibility {
            reindex(&mut tx, before.id, now).await?;
        }
        let entry = repository_entry(who, AuditAction::RepositoryUpdate, &before, origin).with("changes", changes);
        tx.commit_audited(&entry, now).await?;
        self.repository(who, slug).await
    }

    /// Deletes a repository without packages. Names of packages that were unpublished from it are nobody's any more.
    ///
    /// # Errors
    /// `repository_not_empty`.
    pub async fn delete_repository(
        &self,
        who: &Principal,
        slug: &str,
        precondition: impl Fn(&RepositoryRow) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let now = Timestamp::now();
        let (mut tx, row) = self.change_repository(who, slug, Operation::Administer).await?;
        precondition(&row)?;
        let retired = tx.retire_names_in(row.id, now).await?;
        if tx.count_packages_in(row.id).await? > 0 {
            return Err(RegistryError::conflict("repository_not_empty", "the repository still holds packages"));
        }
        tx.delete_repository(row.id).await?;
        let entry = repository_entry(who, AuditAction::RepositoryDelete, &row, origin).with("retired_names", retired);
        Ok(tx.commit_audited(&entry, now).await?)
    }

    /// Hands a repository to an organization the caller governs. Packages keep their owner; every grant on the
    /// repository ends and tokens bound to it stop working.
    ///
    /// # Errors
    /// `already_owner`; those of [`Registry::receiver`].
    pub async fn transfer_repository(
        &self,
        who: &Principal,
        slug: &str,
        target: &str,
        origin: &ClientOrigin,
    ) -> Result<(RepositoryRow, OrgRow), RegistryError> {
        let now = Timestamp::now();
        let (mut tx, row) = self.change_repository(who, slug, Operation::Transfer).await?;
        let receiver = self.receiver(who, target, &mut tx).await?;
        if row.owner() == Owner::Org(receiver.id) {
            return Err(RegistryError::conflict("already_owner", "that organization owns it already"));
        }
        tx.set_repository_owner(row.id, receiver.id, now).await?;
        let revoked = tx.revoke_grants_on(GrantTarget::Repository(row.id)).await?;
        let tokens = tx.revoke_tokens_bound_to_repository(row.id, now).await?;
        reindex(&mut tx, row.id, now).await?;
        let entry = repository_entry(who, AuditAction::RepositoryTransfer, &row, origin)
            .with("previous_owner_user_id", row.owner_user_id.map(|id| id.to_string()))
            .with("previous_owner_org_id", row.owner_org_id.map(|id| id.to_string()))
            .with("new_owner_org_id", receiver.id.to_string())
            .with("new_owner_org_slug", receiver.slug.as_str())
            .with("revoked_team_grants", revoked)
            .with("revoked_tokens", tokens);
        if let Some(previous) = row.owner_org_id {
            tx.append_audit(&entry.clone().org(Some(previous)), now).await?;
        }
        tx.commit_audited(&entry.org(Some(receiver.id)), now).await?;
        Ok((row, receiver))
    }
}

/// # Errors
/// What the kind or the owner does not allow.
fn check_kind(kind: RepositoryKind, visibility: Visibility, owner: Owner) -> Result<(), RegistryError> {
    if !kind.allows(visibility) {
        return Err(RegistryError::VisibilityTooBroad { limit: kind.default_visibility() });
    }
    publaryn_publish::check_visibility(visibility, Visibility::Public, owner)
}

/// What people may see of its packages changed: caches and search documents follow.
async fn reindex(tx: &mut Tx, repository: RepositoryId, now: Timestamp) -> Result<(), RegistryError> {
    for (package, owner) in tx.touch_packages_of(repository, now).await? {
        tx.enqueue(&index_job(package, owner)).await?;
    }
    Ok(())
}

fn changes(before: &RepositoryRow, after: &RepositoryRow) -> Map<String, Value> {
    let fields = |row: &RepositoryRow| {
        [("name", json!(row.name)), ("description", json!(row.description)), ("visibility", json!(row.visibility))]
    };
    let pairs = fields(before).into_iter().zip(fields(after));
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| (name.to_owned(), json!({"before": before, "after": after})))
        .collect()
}

fn repository_entry(who: &Principal, action: AuditAction, row: &RepositoryRow, origin: &ClientOrigin) -> AuditEntry {
    AuditEntry::by(who, action)
        .org(row.owner().org())
        .from_client(origin)
        .with("repository_id", row.id.to_string())
        .with("repository_slug", row.slug.as_str())
        .with("repository_name", row.name.as_str())
}
