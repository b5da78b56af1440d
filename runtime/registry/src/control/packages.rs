//! Packages themselves.

use std::collections::HashMap;

use publaryn_core::{
    Ecosystem, Operation, PackageId, PackageName, Principal, RegistryError, Visibility,
    access::{Denial, PackageAccess, Resource, permits},
    audit::{AuditAction, AuditEntry, ClientOrigin},
    decide,
    principal::Who,
};
use publaryn_metadata::{
    organizations::Slice,
    package_views::{PackageDetails, PackageTexts, PackagesOf},
    reach::Reach,
    standing::Standings,
    teams::TeamAccessRow,
};
use publaryn_publish::{Creation, Wish, check_visibility, create_package};
use serde_json::{Map, Value, json};

use super::{PackageAccessed, releases::ReleaseView};
use crate::Registry;

/// A package to be created; the values passed their rules.
#[derive(Debug, Clone)]
pub struct NewPackageRequest {
    pub ecosystem: Ecosystem,
    pub name: PackageName,
    pub repository_slug: String,
    pub visibility: Option<Visibility>,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub readme: Option<String>,
    pub homepage: Option<String>,
    pub repository_url: Option<String>,
    pub license: Option<String>,
    pub keywords: Vec<String>,
}

/// Changes to a package: absent = leave, `Some(None)` = clear.
#[derive(Debug, Clone, Default)]
pub struct PackagePatch {
    pub display_name: Option<Option<String>>,
    pub description: Option<Option<String>>,
    pub readme: Option<Option<String>>,
    pub homepage: Option<Option<String>>,
    pub repository_url: Option<Option<String>>,
    pub license: Option<Option<String>>,
    pub keywords: Option<Vec<String>>,
    pub is_deprecated: Option<bool>,
    pub deprecation_message: Option<Option<String>>,
    pub visibility: Option<Visibility>,
    pub is_archived: Option<bool>,
    /// OCI: pushes may name content that is not there.
    pub allow_missing_references: Option<bool>,
}

/// What a package says that is deprecated without a reason.
const DEPRECATED: &str = "this package is deprecated";

impl PackagePatch {
    /// What must be allowed for it.
    pub fn operation(&self) -> Operation {
        if self.visibility.is_some() || self.is_archived.is_some() || self.allow_missing_references.is_some() {
            Operation::Administer
        } else {
            Operation::EditMetadata
        }
    }

    fn describes(&self) -> bool {
        self.display_name.is_some()
            || self.description.is_some()
            || self.readme.is_some()
            || self.homepage.is_some()
            || self.repository_url.is_some()
            || self.license.is_some()
            || self.keywords.is_some()
            || self.is_deprecated.is_some()
            || self.deprecation_message.is_some()
    }
}

/// A package in a list.
#[derive(Debug, Clone)]
pub struct SummaryView {
    pub details: PackageDetails,
    pub can_transfer: bool,
}

/// A package on its own page, with what the caller may do there.
#[derive(Debug, Clone)]
pub struct PackageView {
    pub details: PackageDetails,
    pub can_transfer: bool,
    pub can_manage_metadata: bool,
    pub can_manage_releases: bool,
    pub can_administer: bool,
    pub can_manage_security: bool,
    /// For those who govern the owning organization.
    pub team_access: Vec<TeamAccessRow>,
    /// The release that its latest version names.
    pub latest: Option<ReleaseView>,
}

impl Registry {
    /// Packages that the caller may be told of, most downloaded first.
    pub async fn packages(
        &self,
        who: &Principal,
        of: PackagesOf,
        ecosystem: Option<Ecosystem>,
        slice: Slice,
    ) -> Result<(Vec<SummaryView>, i64), RegistryError> {
        let standings = self.0.db.standings(who).await?;
        self.packages_to(who, &standings, of, ecosystem, slice).await
    }

    /// The same, where it is known what the caller has anywhere.
    pub(crate) async fn packages_to(
        &self,
        who: &Principal,
        standings: &Standings,
        of: PackagesOf,
        ecosystem: Option<Ecosystem>,
        slice: Slice,
    ) -> Result<(Vec<SummaryView>, i64), RegistryError> {
        let (rows, total) = self.0.db.discoverable_packages(&Reach::of(who), of, ecosystem, slice).await?;
        let ids: Vec<PackageId> = rows.iter().map(|row| row.id).collect();
        let standings = self.0.db.package_standings(who, standings, &ids).await?;
        let page: Vec<PackageAccess> = rows
            .iter()
            .map(|row| row.access(standings.to(row.id, row.owner(), row.repository_id, row.repository_owner())))
            .filter(|access| permits(who, Operation::Discover, Resource::Package(access)))
            .collect();
        let ids: Vec<PackageId> = page.iter().map(|access| access.id).collect();
        let places: HashMap<PackageId, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let mut rows = self.0.db.packages_details(&ids).await?;
        rows.sort_by_key(|row| places.get(&row.id));
        let view = |details: PackageDetails| {
            let access = places.get(&details.id).and_then(|at| page.get(*at));
            let can_transfer =
                access.is_some_and(|access| permits(who, Operation::Transfer, Resource::Package(access)));
            SummaryView { details, can_transfer }
        };
        Ok((rows.into_iter().map(view).collect(), total))
    }

    /// Packages of a repository the caller may read.
    pub async fn packages_in_repository(
        &self,
        who: &Principal,
        slug: &str,
        ecosystem: Option<Ecosystem>,
        slice: Slice,
    ) -> Result<(Vec<SummaryView>, i64), RegistryError> {
        let (row, _) = self.readable_repository(who, slug).await?;
        self.packages(who, PackagesOf::Repository(row.id), ecosystem, slice).await
    }

    /// A package's page.
    pub async fn package_page(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
    ) -> Result<PackageView, RegistryError> {
        let package = self.package_for(who, ecosystem, normalized, Operation::Read).await?;
        self.page_of(who, package).await
    }

    pub(super) async fn page_of(
        &self,
        who: &Principal,
        package: PackageAccessed,
    ) -> Result<PackageView, RegistryError> {
        let may = |operation| package.permits(who, operation);
        let governs = match &who.who {
            Who::User(_) => package.access.relation.role.is_some_and(publaryn_core::OrgRole::governs),
            _ => false,
        };
        let sees_grants = match package.access.owner.org().filter(|_| governs) {
            Some(org) => permits(who, Operation::ReadGrants, Resource::Organization(&self.org_access(org, who).await?)),
            None => false,
        };
        let team_access = if sees_grants { self.0.db.teams_with_access(package.id()).await? } else { Vec::new() };
        let latest = match &package.details.latest_version {
            Some(version) => self.latest(who, &package, version).await?,
            None => None,
        };
        Ok(PackageView {
            latest,
            can_transfer: may(Operation::Transfer),
            can_manage_metadata: may(Operation::EditMetadata),
            can_manage_releases: may(Operation::ManageReleases),
            can_administer: may(Operation::Administer),
            can_manage_security: may(Operation::Triage),
            team_access,
            details: package.details,
        })
    }

    async fn latest(
        &self,
        who: &Principal,
        package: &PackageAccessed,
        version: &str,
    ) -> Result<Option<ReleaseView>, RegistryError> {
        let Some(key) = self.0.db.version_key_of(package.id(), version).await? else { return Ok(None) };
        match self.release(who, package, &key).await {
            Ok(view) => Ok(Some(view)),
            // It went away since.
            Err(RegistryError::NotFound) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The page after a change. Whoever lost the right to see it by their own change still gets the answer.
    async fn page_after(&self, who: &Principal, id: PackageId) -> Result<PackageView, RegistryError> {
        let head = self.0.db.package_head_by_id(id).await?.ok_or(RegistryError::NotFound)?;
        let relation = self.0.db.relation(&head, who).await?;
        let details = self.0.db.package_details(id).await?.ok_or(RegistryError::NotFound)?;
        self.page_of(who, PackageAccessed { details, access: head.access(relation) }).await
    }

    /// Creates a package in a repository; its owner is the repository's.
    ///
    /// # Errors
    /// Those of [`create_package`], and `already_exists`.
    pub async fn create_package(
        &self,
        who: &Principal,
        new: NewPackageRequest,
        origin: &ClientOrigin,
    ) -> Result<PackageView, RegistryError> {
        let _turn = self.0.turns.take(new.ecosystem, new.name.canonical()).await?;
        let now = publaryn_core::Timestamp::now();
        let mut tx = self.0.db.begin().await?;
        let creation = Creation {
            ecosystem: new.ecosystem,
            name: &new.name,
            repository: Some(&new.repository_slug),
            visibility: new.visibility.map_or(Wish::AsRepository, Wish::Exactly),
        };
        let created = create_package(&mut tx, &self.0.settings.publishing, who, &creation, now).await?;
        let created = created.ok_or_else(|| RegistryError::already_exists("name"))?;
        let texts = PackageTexts {
            display_name: new.display_name,
            description: new.description,
            readme: new.readme,
            homepage: new.homepage,
            repository_url: new.repository_url,
            license: new.license,
            keywords: new.keywords,
            deprecation_message: None,
            visibility: new.visibility.unwrap_or(created.head.effective),
            is_archived: false,
        };
        tx.set_package_texts(created.head.id, &texts).await?;
        tx.bump_revision(&created.head, now).await?;
        tx.enqueue(&publaryn_publish::index_job(created.head.id, created.head.owner)).await?;
        let entry = AuditEntry::by(who, AuditAction::PackageCreate)
            .package(created.head.id)
            .org(created.head.owner.org())
            .from_client(origin)
            .with("ecosystem", new.ecosystem.as_str())
            .with("name", new.name.display())
            .with("repository_slug", new.repository_slug.as_str());
        tx.commit_audited(&entry, now).await?;
        self.page_after(who, created.head.id).await
    }

    /// Changes a package.
    ///
    /// # Errors
    /// `visibility_too_broad`, `visibility_needs_organization`.
    pub async fn update_package(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        patch: PackagePatch,
        precondition: impl Fn(&PackageDetails) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<PackageView, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, patch.operation(), origin).await?;
        if patch.describes() {
            // Both kinds of change in one request need both permissions.
            self.allow(who, decide(who, Operation::EditMetadata, Resource::Package(&change.access)))?;
        }
        let details = change.tx.package_details(change.head.id).await?.ok_or(RegistryError::NotFound)?;
        precondition(&details)?;
        let before = texts_of(&details);
        let mut after = before.clone();
        let allows_missing = patch.allow_missing_references;
        apply(&mut after, patch);
        if after.visibility != before.visibility {
            check_visibility(after.visibility, details.repository_visibility, details.owner())?;
        }
        let mut changes = changes(&before, &after);
        if let Some(allowed) = allows_missing {
            let known = change.tx.allows_missing_references(change.head.id).await?;
            if known != allowed {
                change.tx.set_allows_missing_references(change.head.id, allowed, change.now).await?;
                changes.insert("allow_missing_references".into(), json!({ "before": known, "after": allowed }));
            }
        }
        if changes.is_empty() {
            drop(change);
            return self.page_after(who, details.id).await;
        }
        change.tx.set_package_texts(change.head.id, &after).await?;
        if after.visibility != before.visibility {
            let entry = change
                .audit(AuditAction::PackageVisibilityChange)
                .with("before", before.visibility.as_str())
                .with("after", after.visibility.as_str());
            change.tx.append_audit(&entry, change.now).await?;
        }
        let fields: Vec<&str> = changes.keys().map(String::as_str).collect();
        let entry =
            change.audit(AuditAction::PackageUpdate).with("changed_fields", json!(fields)).with("changes", changes);
        change.commit(entry).await?;
        self.page_after(who, details.id).await
    }

    /// Archives a package: reads go on, new releases do not.
    pub async fn archive_package(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        precondition: impl Fn(&PackageDetails) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Administer, origin).await?;
        let details = change.tx.package_details(change.head.id).await?.ok_or(RegistryError::NotFound)?;
        precondition(&details)?;
        let mut texts = texts_of(&details);
        texts.is_archived = true;
        change.tx.set_package_texts(change.head.id, &texts).await?;
        let entry = change.audit(AuditAction::PackageDelete).with("mode", "archive").with("name", details.name);
        change.commit(entry).await
    }

    /// Deletes a package of which nothing was ever published.
    ///
    /// # Errors
    /// `package_has_releases`.
    pub async fn delete_package(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        precondition: impl Fn(&PackageDetails) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Administer, origin).await?;
        let details = change.tx.package_details(change.head.id).await?.ok_or(RegistryError::NotFound)?;
        precondition(&details)?;
        if change.tx.was_ever_published(change.head.id).await? {
            return Err(RegistryError::conflict(
                "package_has_releases",
                "releases of it were published; archive it, or delete them one by one",
            ));
        }
        let entry = change.audit(AuditAction::PackageDelete).with("mode", "delete").with("name", details.name);
        change.tx.bump_revision(&change.head, change.now).await?;
        change.tx.enqueue(&publaryn_publish::index_job(change.head.id, change.head.owner)).await?;
        change.tx.delete_package(change.head.id).await?;
        change.commit_quietly(entry).await
    }

    /// Puts a package in quarantine: native clients do not see it any more.
    pub async fn quarantine_package(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        reason: &str,
        precondition: impl Fn(&PackageDetails) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<PackageView, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Quarantine, origin).await?;
        precondition(&change.tx.package_details(change.head.id).await?.ok_or(RegistryError::NotFound)?)?;
        let by_admin = !holds(&change.access, who);
        let id = change.head.id;
        change.tx.quarantine_package(id, reason, by_admin, change.now).await?;
        let entry = change.audit(AuditAction::PackageQuarantine).with("reason", reason).with("by_admin", by_admin);
        change.commit(entry).await?;
        self.page_after(who, id).await
    }

    /// Lifts the quarantine of a package; its visibility is what it was.
    ///
    /// # Errors
    /// `NotFound` when it is in none; `PlatformAdminRequired` when a platform administrator put it there.
    pub async fn lift_quarantine(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        precondition: impl Fn(&PackageDetails) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<PackageView, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Quarantine, origin).await?;
        let id = change.head.id;
        precondition(&change.tx.package_details(id).await?.ok_or(RegistryError::NotFound)?)?;
        let (is_quarantined, by_admin) = change.tx.quarantine_of(id).await?;
        if !is_quarantined {
            return Err(RegistryError::NotFound);
        }
        let is_admin = who.user().is_some_and(|user| user.is_admin) && who.allows(publaryn_core::Scope::AdminWrite);
        if by_admin && !is_admin {
            return Err(RegistryError::Denied(Denial::PlatformAdminRequired));
        }
        change.tx.lift_quarantine(id).await?;
        let entry = change.audit(AuditAction::PackageUnquarantine);
        change.commit(entry).await?;
        self.page_after(who, id).await
    }
}

/// Whether the right to quarantine is the caller's own, not the platform's.
fn holds(access: &PackageAccess, who: &Principal) -> bool {
    let mut plain = who.clone();
    if let Who::User(user) = &mut plain.who {
        user.is_admin = false;
    }
    plain.scopes = plain.scopes.without(publaryn_core::Scope::AdminWrite);
    permits(&plain, Operation::Quarantine, Resource::Package(access))
}

fn texts_of(details: &PackageDetails) -> PackageTexts {
    PackageTexts {
        display_name: details.display_name.clone(),
        description: details.description.clone(),
        readme: details.readme.clone(),
        homepage: details.homepage.clone(),
        repository_url: details.repository_url.clone(),
        license: details.license.clone(),
        keywords: details.keyword_list(),
        deprecation_message: details.deprecation_message.clone(),
        visibility: details.visibility,
        is_archived: details.is_archived,
    }
}

fn apply(texts: &mut PackageTexts, patch: PackagePatch) {
    fn set<T>(field: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *field = value;
        }
    }
    set(&mut texts.display_name, patch.display_name);
    set(&mut texts.description, patch.description);
    set(&mut texts.readme, patch.readme);
    set(&mut texts.homepage, patch.homepage);
    set(&mut texts.repository_url, patch.repository_url);
    set(&mut texts.license, patch.license);
    set(&mut texts.keywords, patch.keywords);
    set(&mut texts.deprecation_message, patch.deprecation_message);
    match patch.is_deprecated {
        Some(true) => {
            texts.deprecation_message.get_or_insert_with(|| DEPRECATED.to_owned());
        }
        Some(false) => texts.deprecation_message = None,
        None => {}
    }
    set(&mut texts.visibility, patch.visibility);
    set(&mut texts.is_archived, patch.is_archived);
}

/// What differs, as the audit log shows it; long texts only by name.
fn changes(before: &PackageTexts, after: &PackageTexts) -> Map<String, Value> {
    let fields = |texts: &PackageTexts| {
        [
            ("display_name", json!(texts.display_name)),
            ("description", json!(texts.description)),
            ("readme", json!(texts.readme)),
            ("homepage", json!(texts.homepage)),
            ("repository_url", json!(texts.repository_url)),
            ("license", json!(texts.license)),
            ("keywords", json!(texts.keywords)),
            ("deprecation_message", json!(texts.deprecation_message)),
            ("visibility", json!(texts.visibility)),
            ("is_archived", json!(texts.is_archived)),
        ]
    };
    let pairs = fields(before).into_iter().zip(fields(after));
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| {
            let change = if name == "readme" { json!({}) } else { json!({"before": before, "after": after}) };
            (name.to_owned(), change)
        })
        .collect()
}
