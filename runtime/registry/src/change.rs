//! Changes to packages: tags, yanks, deprecations, owners, visibility. Each decides against the
//! locked row and commits together with its audit entry.

use std::time::Duration;

use publaryn_actors::{ChildSpec, KeyedPool, PoolOptions};
use publaryn_core::{
    Decision, Ecosystem, Operation, Principal, RegistryError, ReleaseState, RepositoryKind, Scope, Timestamp, UserId,
    Visibility,
    access::{Denial, Owner, Relation, Resource, refuse_before_lookup},
    audit::{AuditAction, AuditEntry},
    decide,
    principal::Binding,
};
use publaryn_gc::CleanupBlobs;
use publaryn_metadata::{Engine, Tx, packages::PackageHead, releases::ReleaseProgress};
use publaryn_publish::{check_visibility, settle_tags, settle_yanked_tags};
use serde_json::json;
use smol_str::SmolStr;
use tokio::sync::oneshot;

use crate::{OwnerRow, PackageView, PublishingTeam, Registry};

/// Which co-owners to add and remove, by user name.
#[derive(Debug, Clone, Default)]
pub struct OwnerChange {
    pub add: Vec<String>,
    pub remove: Vec<String>,
}

/// What an unpublish removed.
#[derive(Debug, Clone, Default)]
pub struct Unpublished {
    pub versions: Vec<String>,
}

/// Orders the writers of one package while others run in parallel: `root/packages`, a pool with
/// sticky routing. Ordering only: the row lock and the constraints keep replicas apart.
///
/// A worker of the pool holds a package's turn for as long as its writer needs it; a full queue
/// refuses the newest (503).
#[derive(Clone)]
pub struct Turns(KeyedPool<PackageKey, TurnRequest, ()>);

type PackageKey = (Ecosystem, SmolStr);

/// Asks a worker for a turn: it sends `granted` and waits until the writer drops its end.
pub struct TurnRequest {
    granted: oneshot::Sender<oneshot::Sender<()>>,
}

/// The code of [`Registry::delete_refusal`].
pub(crate) const DELETE_WINDOW_CLOSED: &str = "delete_window_closed";

/// Longest anyone waits for or holds a turn.
const MAX_TURN: Duration = Duration::from_secs(30);

/// The pool for the supervision tree, and the way to it. PostgreSQL writers wait for the network,
/// so more of them pay; SQLite has one writer anyway.
pub fn package_turns(engine: Engine) -> (ChildSpec, Turns) {
    let workers = if engine == Engine::Postgres { 32 } else { 16 };
    let options = PoolOptions { workers, queue: 256, timeout: MAX_TURN };
    let describe = |key: &PackageKey| json!({ "ecosystem": key.0.as_str() });
    let (child, pool) = KeyedPool::new("packages", options, describe, async |_: PackageKey, request: TurnRequest| {
        let (held, released) = oneshot::channel();
        if request.granted.send(held).is_ok() {
            // The writer is done when it drops its end; it never sends.
            let _ = tokio::time::timeout(MAX_TURN, released).await;
        }
    });
    (child, Turns(pool))
}

impl Turns {
    /// Waits for the turn of a package.
    ///
    /// # Errors
    /// `Overloaded` when too many wait already or the pool is down.
    pub(crate) async fn take(&self, ecosystem: Ecosystem, normalized: &str) -> Result<Turn, RegistryError> {
        let (granted, grant) = oneshot::channel();
        let (pool, key) = (self.0.clone(), (ecosystem, SmolStr::new(normalized)));
        let asked = tokio::spawn(async move { pool.call(key, TurnRequest { granted }).await });
        match grant.await {
            Ok(held) => Ok(Turn { _held: held }),
            Err(_) => {
                let refused = asked.await.map_err(RegistryError::internal)?;
                tracing::warn!(?refused, "a writer got no turn");
                Err(RegistryError::Overloaded { retry_after: Duration::from_secs(2) })
            }
        }
    }
}

/// The right to write one package; ends when dropped.
pub(crate) struct Turn {
    _held: oneshot::Sender<()>,
}

/// An allowed change in progress: only [`Change::commit`], with an audit entry, makes it last.
pub(crate) struct Change<'a> {
    pub who: &'a Principal,
    pub tx: Tx,
    pub head: PackageHead,
    pub now: Timestamp,
    _turn: Turn,
}

impl Change<'_> {
    pub(crate) fn audit(&self, action: AuditAction) -> AuditEntry {
        let source = self.head.ecosystem.as_str();
        AuditEntry::by(self.who, action).package(self.head.id).org(self.head.owner.org()).with("source", source)
    }

    pub(crate) async fn release(&mut self, version_key: &str) -> Result<ReleaseProgress, RegistryError> {
        self.tx
            .lock_release_by_version(self.head.id, version_key)
            .await?
            .filter(|release| release.status != ReleaseState::Deleted)
            .ok_or_else(|| RegistryError::VersionNotFound(version_key.to_owned()))
    }

    async fn live_release(&mut self, version_key: &str) -> Result<ReleaseProgress, RegistryError> {
        let release = self.release(version_key).await?;
        if release.status.is_live() { Ok(release) } else { Err(RegistryError::VersionNotFound(version_key.to_owned())) }
    }

    /// Sets or clears the deprecation message of a live release; `None` when it says so already.
    async fn deprecate(
        &mut self,
        release: &ReleaseProgress,
        message: Option<&str>,
    ) -> Result<Option<AuditEntry>, RegistryError> {
        if message == release.deprecation_message.as_deref() {
            return Ok(None);
        }
        self.tx.set_deprecation(release.id, message).await?;
        if !release.is_yanked {
            let next = if message.is_some() { ReleaseState::Deprecated } else { ReleaseState::Published };
            self.tx.set_release_state(release.id, next, self.now).await?;
        }
        let action = if message.is_some() { AuditAction::ReleaseDeprecate } else { AuditAction::ReleaseUndeprecate };
        Ok(Some(self.audit(action).release(release.id).with("version", release.version.as_str())))
    }

    /// Makes several changes visible and lasting at once; none of them is no change.
    async fn commit_all(mut self, mut entries: Vec<AuditEntry>) -> Result<(), RegistryError> {
        let Some(last) = entries.pop() else { return Ok(()) };
        for entry in entries {
            self.tx.append_audit(&entry, self.now).await?;
        }
        self.commit(last).await
    }

    /// Makes the change visible and lasting.
    pub(crate) async fn commit(mut self, entry: AuditEntry) -> Result<(), RegistryError> {
        self.tx.bump_revision(&self.head, self.now).await?;
        self.tx.enqueue(&publaryn_publish::index_job(self.head.id, self.head.owner)).await?;
        Ok(self.tx.commit_audited(&entry, self.now).await?)
    }
}

/// Open packages that others here ask for are not taken from under them.
async fn refuse_with_dependents(change: &mut Change<'_>) -> Result<(), RegistryError> {
    if change.who.is_platform_admin() || !change.head.effective.is_open() {
        return Ok(());
    }
    let head = &change.head;
    let dependent = change.tx.dependent_of(head.ecosystem, head.id, &head.normalized_name).await?;
    if dependent.is_none() {
        return Ok(());
    }
    // Not by name: the caller may not be allowed to see it.
    Err(RegistryError::Denied(Denial::Rule {
        code: "has_dependents",
        message: format!(
            "other packages depend on `{}`, so it can no longer be unpublished; deprecate it instead",
            head.name
        ),
    }))
}

impl Registry {
    pub(crate) fn allow(&self, who: &Principal, decision: Decision) -> Result<(), RegistryError> {
        match decision {
            Decision::Allow => Ok(()),
            Decision::Unauthenticated => Err(self.broken_credential(who)),
            Decision::Denied(denial) => Err(RegistryError::Denied(denial)),
            Decision::Hidden => Err(RegistryError::NotFound),
        }
    }

    /// How the caller stands to a package, for writes.
    pub(crate) async fn full_relation(&self, who: &Principal, head: &PackageHead) -> Result<Relation, RegistryError> {
        Ok(self.0.db.relation(head, who).await?)
    }

    pub(crate) async fn change<'a>(
        &'a self,
        who: &'a Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        operation: Operation,
    ) -> Result<Change<'a>, RegistryError> {
        if let Some(refusal) = refuse_before_lookup(who, operation, false) {
            self.allow(who, refusal)?;
        }
        let turn = self.0.turns.take(ecosystem, normalized).await?;
        let mut tx = self.0.db.begin().await?;
        let head = tx.lock_package(ecosystem, normalized).await?.filter(|h| !h.is_deleted);
        let head = head.ok_or(RegistryError::NotFound)?;
        let relation = tx.relation(&head, who).await?;
        self.allow(who, decide(who, operation, Resource::Package(&head.access(relation))))?;
        if operation == Operation::ManageTags && head.effective == Visibility::Quarantined {
            return Err(RegistryError::conflict("state_conflict", "the package is quarantined"));
        }
        Ok(Change { who, tx, head, now: Timestamp::now(), _turn: turn })
    }

    /// Points a tag at a live release.
    pub async fn set_tag(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        tag: &str,
        version_key: &str,
    ) -> Result<(), RegistryError> {
        let mut change = self.change(who, ecosystem, normalized, Operation::ManageTags).await?;
        let release = change.live_release(version_key).await?;
        let sequence = change.tx.next_sequence(change.head.id).await?;
        change.tx.set_tag(change.head.id, tag, release.id, sequence, change.now).await?;
        let entry =
            change.audit(AuditAction::TagUpdate).release(release.id).with("tag", tag).with("version", version_key);
        change.commit(entry).await
    }

    /// # Errors
    /// `NotFound` when there is no such tag.
    pub async fn delete_tag(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        tag: &str,
    ) -> Result<(), RegistryError> {
        let mut change = self.change(who, ecosystem, normalized, Operation::ManageTags).await?;
        if !change.tx.delete_tag(change.head.id, tag).await? {
            return Err(RegistryError::NotFound);
        }
        let entry = change.audit(AuditAction::TagDelete).with("tag", tag);
        change.commit(entry).await
    }

    /// Yanks (`true`) or brings back a release. Idempotent; a release still scanning takes the mark along.
    pub async fn set_yanked(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
        yanked: bool,
        reason: Option<&str>,
    ) -> Result<(), RegistryError> {
        let mut change = self.change(who, ecosystem, normalized, Operation::ManageReleases).await?;
        let release = change.release(version_key).await?;
        if release.is_yanked == yanked {
            return Ok(());
        }
        change.tx.set_yanked(release.id, yanked, reason).await?;
        if release.status.is_live() {
            let next = match (yanked, &release.deprecation_message) {
                (true, _) => ReleaseState::Yanked,
                (false, Some(_)) => ReleaseState::Deprecated,
                (false, None) => ReleaseState::Published,
            };
            change.tx.set_release_state(release.id, next, change.now).await?;
            if yanked {
                settle_yanked_tags(&mut change.tx, &change.head, release.id, change.now).await?;
            }
        }
        let action = if yanked { AuditAction::ReleaseYank } else { AuditAction::ReleaseUnyank };
        let entry = change.audit(action).release(release.id).with("version", release.version.as_str());
        change.commit(entry).await
    }

    /// Sets or clears (`None`) the deprecation message of live releases; unknown versions are ignored,
    /// and versions the map does not name are left alone.
    pub async fn deprecate(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        messages: &[(String, Option<String>)],
    ) -> Result<usize, RegistryError> {
        let mut change = self.change(who, ecosystem, normalized, Operation::ManageReleases).await?;
        let mut changed = Vec::new();
        for release in change.tx.live_releases(change.head.id).await? {
            let Some((_, message)) = messages.iter().find(|(version, _)| *version == release.version) else { continue };
            changed.extend(change.deprecate(&release, message.as_deref()).await?);
        }
        let count = changed.len();
        change.commit_all(changed).await?;
        Ok(count)
    }

    /// Sets or clears (`None`) the deprecation message of a package: its own, which later releases share, and that of
    /// every live release.
    pub async fn deprecate_package(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        message: Option<&str>,
    ) -> Result<(), RegistryError> {
        let mut change = self.change(who, ecosystem, normalized, Operation::ManageReleases).await?;
        let mut changed = Vec::new();
        if change.tx.set_package_deprecation(change.head.id, message).await? {
            let entry = change.audit(AuditAction::PackageUpdate);
            changed.push(entry.with("changed_fields", json!(["deprecation_message"])));
        }
        for release in change.tx.live_releases(change.head.id).await? {
            changed.extend(change.deprecate(&release, message).await?);
        }
        change.commit_all(changed).await
    }

    /// Unpublishes live releases for good; their numbers stay taken. Unknown versions are ignored.
    ///
    /// # Errors
    /// `Denied` with code `delete_window_closed` for open packages after the window.
    pub async fn unpublish(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        versions: &[String],
    ) -> Result<Unpublished, RegistryError> {
        let mut change = self.change(who, ecosystem, normalized, Operation::DeleteLive).await?;
        let releases = change.tx.live_releases(change.head.id).await?;
        let going: Vec<ReleaseProgress> = releases.into_iter().filter(|r| versions.contains(&r.version)).collect();
        self.remove(change, going, false).await
    }

    /// Unpublishes a whole package; its name stays with its owner.
    pub async fn unpublish_package(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
    ) -> Result<Unpublished, RegistryError> {
        // Platform administrators may delete anybody's releases, but not packages.
        let mut change = self.change(who, ecosystem, normalized, Operation::Administer).await?;
        let going = change.tx.live_releases(change.head.id).await?;
        self.remove(change, going, true).await
    }

    async fn remove(
        &self,
        mut change: Change<'_>,
        going: Vec<ReleaseProgress>,
        whole: bool,
    ) -> Result<Unpublished, RegistryError> {
        let kind = change.tx.policy_facts(change.head.id).await?.repository_kind;
        for release in &going {
            let is_open = change.head.effective.is_open();
            if let Some(message) = self.delete_refusal(change.who, kind, is_open, release.published_at, change.now) {
                let message = format!("version {}: {message}", release.version);
                return Err(RegistryError::Denied(Denial::Rule { code: DELETE_WINDOW_CLOSED, message }));
            }
        }
        if !going.is_empty() {
            refuse_with_dependents(&mut change).await?;
        }
        let mut entries = Vec::new();
        for release in &going {
            change.tx.set_release_state(release.id, ReleaseState::Deleted, change.now).await?;
            settle_tags(&mut change.tx, &change.head, release.id, change.now).await?;
            change.tx.forget_manifest(release.id).await?;
            let entry = change.audit(AuditAction::ReleaseDelete).release(release.id);
            entries.push(entry.with("version", release.version.as_str()));
        }
        if whole {
            change.tx.set_package_deleted(change.head.id, Some(change.now)).await?;
            entries.push(change.audit(AuditAction::PackageDelete).with("mode", "unpublish"));
        }
        if !going.is_empty() {
            change.tx.enqueue(&CleanupBlobs::job()).await?;
        }
        change.commit_all(entries).await?;
        Ok(Unpublished { versions: going.into_iter().map(|r| r.version).collect() })
    }

    /// Why a live release may not be deleted: those of a `release` repository never are, those of open packages for a
    /// while only. Platform administrators may.
    pub(crate) fn delete_refusal(
        &self,
        who: &Principal,
        kind: RepositoryKind,
        is_open: bool,
        published_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<String> {
        if who.is_platform_admin() {
            return None;
        }
        if kind == RepositoryKind::Release {
            return Some("releases in a repository of kind `release` are not deleted; yank or deprecate it".into());
        }
        let window = self.0.settings.delete_window.filter(|_| is_open && kind != RepositoryKind::Staging)?;
        (now.since(published_at.unwrap_or(now)) > window).then(|| {
            let hours = window.as_secs() / 3600;
            format!("it was published more than {hours} hours ago and can no longer be deleted; yank or deprecate it")
        })
    }

    /// Adds and removes co-owners of a user-owned package, all or nothing.
    ///
    /// # Errors
    /// `NotFound` naming nobody when a user is unknown; `Denied` when nobody would be left.
    pub async fn change_owners(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        owners: &OwnerChange,
    ) -> Result<(), RegistryError> {
        let mut change = self.change(who, ecosystem, normalized, Operation::Administer).await?;
        let primary = match change.head.owner {
            Owner::User(primary) => primary,
            Owner::Org(org) => {
                let org = self.0.db.organization(org).await?.ok_or(RegistryError::NotFound)?;
                return Err(RegistryError::Denied(Denial::Rule {
                    code: "owned_by_organization",
                    message: format!("owners of `{}` are managed by organization `{}`", change.head.name, org.slug),
                }));
            }
        };
        let (add, remove) = (self.user_ids(&owners.add).await?, self.user_ids(&owners.remove).await?);
        let mut entries = Vec::new();
        for user in add {
            if user != primary
                && change.tx.add_package_owner(change.head.id, user, who.acting_user(), change.now).await?
            {
                entries.push(change.audit(AuditAction::PackageOwnerAdd).user(user));
            }
        }
        for user in remove {
            if user != primary {
                if change.tx.remove_package_owner(change.head.id, user).await? {
                    entries.push(change.audit(AuditAction::PackageOwnerRemove).user(user));
                }
                continue;
            }
            // The owning user leaves: the longest-serving co-owner takes over.
            let Some(next) = change.tx.co_owners(change.head.id).await?.first().copied() else {
                return Err(RegistryError::Denied(Denial::Rule {
                    code: "owner_protected",
                    message: format!("cannot remove the last owner of `{}`", change.head.name),
                }));
            };
            change.tx.remove_package_owner(change.head.id, next).await?;
            change.tx.set_package_owner(change.head.id, next).await?;
            entries.push(change.audit(AuditAction::PackageOwnerRemove).user(user));
        }
        change.commit_all(entries).await
    }

    async fn user_ids(&self, names: &[String]) -> Result<Vec<UserId>, RegistryError> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let id = self.0.db.user_by_name(&name.to_lowercase()).await?.map(|u| u.id);
            ids.push(id.ok_or_else(|| RegistryError::invalid("unknown_user", format!("no user is named `{name}`")))?);
        }
        Ok(ids)
    }

    /// The teams of its organization that may publish a package the caller may read.
    pub async fn publishing_teams(&self, view: &PackageView) -> Result<Vec<PublishingTeam>, RegistryError> {
        Ok(self.0.db.publishing_teams(view.id()).await?)
    }

    /// The owners of a package the caller may read.
    pub async fn owners(&self, view: &PackageView) -> Result<Vec<OwnerRow>, RegistryError> {
        Ok(self.0.db.package_owners(view.id()).await?)
    }

    /// Changes who may see a package. Never wider than its repository in effect.
    pub async fn set_visibility(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        visibility: Visibility,
    ) -> Result<(), RegistryError> {
        let mut change = self.change(who, ecosystem, normalized, Operation::Administer).await?;
        let facts = change.tx.policy_facts(change.head.id).await?;
        if facts.visibility == visibility {
            return Ok(());
        }
        check_visibility(visibility, facts.repository_visibility, change.head.owner)?;
        change.tx.set_package_visibility(change.head.id, visibility).await?;
        let entry = change
            .audit(AuditAction::PackageVisibilityChange)
            .with("before", facts.visibility.as_str())
            .with("after", visibility.as_str());
        change.commit(entry).await
    }

    /// Stars or unstars a package for the calling user. Anyone who can read it may.
    pub async fn set_star(&self, who: &Principal, view: &PackageView, starred: bool) -> Result<(), RegistryError> {
        let Some(user) = who.user() else { return Err(self.broken_credential(who)) };
        let is_bound_elsewhere = match who.binding {
            Some(Binding::Package(id)) => id != view.id(),
            Some(Binding::Repository(id)) => id != view.head.repository,
            None => false,
        };
        if !who.allows(Scope::PackagesWrite) {
            return Err(RegistryError::Denied(Denial::InsufficientScope(Scope::PackagesWrite)));
        }
        if is_bound_elsewhere {
            return Err(RegistryError::Denied(Denial::TokenNotBound));
        }
        let now = Timestamp::now();
        let mut tx = self.0.db.begin().await?;
        let Some(head) = tx.lock_package_by_id(view.id()).await? else { return Err(RegistryError::NotFound) };
        tx.set_star(head.id, user.id, starred, now).await?;
        tx.bump_revision(&head, now).await?;
        let entry = AuditEntry::by(who, AuditAction::PackageUpdate).package(head.id).with("starred", starred);
        Ok(tx.commit_audited(&entry, now).await?)
    }
}
