//! Publishers of packages that do not exist yet: set up by somebody who may create the package, and turned into its
//! trusted publisher by the first exchange, which creates it as that somebody (pypi.md §6, ADR 0030).

use publaryn_core::{
    Ecosystem, PackageName, Principal, RegistryError, Scope, ScopeSet, Timestamp, TrustedPublisherId,
    access::Denial,
    audit::{AuditAction, AuditEntry, ClientOrigin},
    principal::{Credential, UserIdentity, Who},
};
use publaryn_metadata::{
    Tx,
    organizations::Slice,
    packages::PackageHead,
    pending_publishers::PendingPublisherRow,
    trusted_publishers::{PublisherOfPackage, TrustedPublisherRow},
    users::UserRow,
};
use publaryn_publish::{Creation, Wish, create_package};

use super::{Exchange, ExchangeError, Exchanged, MAX_PUBLISHERS, stored_subject, workload::Workload};
use crate::{Registry, control::NewTrustedPublisher, identity::require_user};

/// Pending publishers of one account: each is a name somebody means to publish soon.
const MAX_PENDING: i64 = 50;

/// A package to be, and who may publish its first release.
#[derive(Debug, Clone)]
pub struct NewPendingPublisher {
    pub ecosystem: Ecosystem,
    pub name: PackageName,
    /// The repository that the package will be in.
    pub repository_slug: String,
    pub publisher: NewTrustedPublisher,
}

fn creation<'a>(ecosystem: Ecosystem, name: &'a PackageName, slug: &'a str) -> Creation<'a> {
    Creation { ecosystem, name, repository: Some(slug), visibility: Wish::AsRepository }
}

impl Registry {
    /// The caller's pending publishers, oldest first.
    pub async fn pending_publishers(
        &self,
        who: &Principal,
        slice: Slice,
    ) -> Result<(Vec<PendingPublisherRow>, i64), RegistryError> {
        Ok(self.0.db.pending_publishers(require_user(who)?.id, slice).await?)
    }

    /// Lets a workload create a package with its first exchange. The name is not held: whoever has a package of it
    /// first has it.
    ///
    /// # Errors
    /// `issuer_not_allowed`, `already_exists`, `too_many_pending_publishers`, and whatever creating the package now
    /// would be refused for.
    pub async fn add_pending_publisher(
        &self,
        who: &Principal,
        new: NewPendingPublisher,
        origin: &ClientOrigin,
    ) -> Result<PendingPublisherRow, RegistryError> {
        let creator = require_user(who).map_err(|_| RegistryError::Denied(Denial::CredentialNotAccepted))?.id;
        let NewPendingPublisher { ecosystem, name, repository_slug, publisher } = new;
        self.check_issuer(&publisher.issuer)?;
        let now = Timestamp::now();
        self.rehearse_creation(who, ecosystem, &name, &repository_slug, now).await?;
        let mut tx = self.0.db.begin().await?;
        let target = tx.repository_by_slug(&repository_slug).await?.ok_or(RegistryError::NotFound)?;
        let row = PendingPublisherRow {
            id: TrustedPublisherId::new(),
            ecosystem,
            name: name.display().to_owned(),
            normalized_name: name.canonical().to_owned(),
            collision_key: name.collision_key().to_owned(),
            lookalike_key: name.lookalike_key().to_string(),
            target_repository_id: target.id,
            target_repository_slug: repository_slug,
            issuer: publisher.issuer,
            subject: stored_subject(&publisher.subject),
            repository: publisher.repository,
            workflow_ref: publisher.workflow_ref,
            environment: publisher.environment.unwrap_or_default(),
            created_by: creator,
            created_at: now,
        };
        if tx.count_pending_publishers(creator).await? >= MAX_PENDING {
            let message = format!("an account has at most {MAX_PENDING} pending publishers");
            return Err(RegistryError::conflict("too_many_pending_publishers", message));
        }
        if !tx.insert_pending_publisher(&row).await? {
            return Err(RegistryError::already_exists("subject"));
        }
        let entry = AuditEntry::by(who, AuditAction::TrustedPublisherCreate).org(target.owner().org());
        tx.commit_audited(&about(entry.from_client(origin), &row), now).await?;
        Ok(row)
    }

    /// What creating the package would be refused for; nothing stays of it.
    async fn rehearse_creation(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        name: &PackageName,
        slug: &str,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let mut tx = self.0.db.begin().await?;
        let creation = creation(ecosystem, name, slug);
        match create_package(&mut tx, &self.0.settings.publishing, who, &creation, now).await? {
            Some(_) => Ok(()),
            None => Err(RegistryError::already_exists("name")),
        }
    }

    /// # Errors
    /// `NotFound`, also for somebody else's.
    pub async fn remove_pending_publisher(
        &self,
        who: &Principal,
        id: TrustedPublisherId,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let user = require_user(who)?.id;
        let mut tx = self.0.db.begin().await?;
        let row = tx.delete_pending_publisher(user, id).await?.ok_or(RegistryError::NotFound)?;
        let entry = AuditEntry::by(who, AuditAction::TrustedPublisherDelete).from_client(origin);
        Ok(tx.commit_audited(&about(entry, &row), Timestamp::now()).await?)
    }

    /// The one pending publisher that means this workload; `None` where none does.
    pub(super) async fn pending_for(
        &self,
        workload: &Workload,
        asked: &Exchange<'_>,
    ) -> Result<Option<PendingPublisherRow>, ExchangeError> {
        let (issuer, subjects, limit) = (workload.issuer(), workload.subjects(), MAX_PUBLISHERS.into());
        let mut fitting = self.0.db.pending_publishers_of_workload(issuer, subjects, asked.ecosystem, limit).await?;
        let wanted = asked.package.as_ref().map(PackageName::canonical);
        let none_yet = publaryn_core::PackageId::new();
        fitting.retain(|row| {
            wanted.is_none_or(|wanted| wanted == row.normalized_name)
                && workload.check(&row.of_package(none_yet)).is_ok()
        });
        if fitting.iter().any(|row| !row.environment.is_empty()) {
            fitting.retain(|row| !row.environment.is_empty());
        }
        let names_another =
            |first: &PendingPublisherRow| fitting.iter().any(|other| other.normalized_name != first.normalized_name);
        match fitting.first() {
            Some(first) if names_another(first) => Err(ExchangeError::Pending(
                "several pending publishers mean this workload, name one as `package`".into(),
            )),
            first => Ok(first.cloned()),
        }
    }

    /// Creates the package of a pending publisher, as whoever set it up, and exchanges the token for it.
    pub(super) async fn mint_first(
        &self,
        workload: &Workload,
        pending: PendingPublisherRow,
        asked: &Exchange<'_>,
        origin: &ClientOrigin,
        now: Timestamp,
    ) -> Result<Exchanged, ExchangeError> {
        let name = pending.package_name();
        let _turn = self.0.turns.take(pending.ecosystem, name.canonical()).await?;
        let mut tx = self.0.db.begin().await?;
        let creator = tx.user(pending.created_by).await?.filter(|user| user.is_active);
        let creator = as_creator(creator.ok_or_else(|| ExchangeError::Pending(NO_ACCOUNT.into()))?);
        // Another request may have used it, or whoever set it up may have taken it back.
        if tx.delete_pending_publisher(pending.created_by, pending.id).await?.is_none() {
            return Err(ExchangeError::Pending("it is no longer there".into()));
        }
        let creation = creation(pending.ecosystem, &name, &pending.target_repository_slug);
        let settings = &self.0.settings.publishing;
        let created = create_package(&mut tx, settings, &creator, &creation, now).await;
        let created = created.map_err(|error| match error {
            error if !error.is_final() => ExchangeError::Registry(error),
            refused => ExchangeError::Pending(refused.to_string()),
        })?;
        let head =
            created.ok_or_else(|| ExchangeError::Pending("somebody else has a package of that name".into()))?.head;
        let publisher = pending.of_package(head.id);
        tx.insert_trusted_publisher(&publisher).await?;
        tx.enqueue(&publaryn_publish::index_job(head.id, head.owner)).await?;
        note_creation(&mut tx, &creator, &head, &publisher, origin, now).await?;
        let chosen = PublisherOfPackage {
            publisher,
            package_name: head.name.to_string(),
            package_normalized_name: head.normalized_name.to_string(),
        };
        self.mint_within(tx, workload, chosen, &head, asked, origin, now).await
    }
}

pub(super) const NO_ACCOUNT: &str = "whoever set the publisher up has no account any more";

/// Whoever set a publisher up, doing what they agreed to then and may do now.
fn as_creator(user: UserRow) -> Principal {
    let has_mfa = user.has_mfa();
    let identity = UserIdentity { id: user.id, username: user.username.into(), is_admin: user.is_admin, has_mfa };
    Principal {
        who: Who::User(identity),
        scopes: ScopeSet::from_iter([Scope::PackagesPublish]),
        credential: Credential::None,
        binding: None,
        as_of: Timestamp::now(),
    }
}

async fn note_creation(
    tx: &mut Tx,
    creator: &Principal,
    head: &PackageHead,
    publisher: &TrustedPublisherRow,
    origin: &ClientOrigin,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let about = |action| {
        let entry = AuditEntry::by(creator, action).package(head.id).org(head.owner.org());
        entry.from_client(origin).with("source", "trusted_publishing").with("ecosystem", head.ecosystem.as_str())
    };
    tx.append_audit(&about(AuditAction::PackageCreate).with("name", head.name.as_str()), now).await?;
    let entry = about(AuditAction::TrustedPublisherCreate)
        .with("trusted_publisher_id", publisher.id.to_string())
        .with("issuer", publisher.issuer.as_str())
        .with("subject", publisher.subject.as_str())
        .with("environment", publisher.environment.as_str());
    Ok(tx.append_audit(&entry, now).await?)
}

fn about(entry: AuditEntry, row: &PendingPublisherRow) -> AuditEntry {
    entry
        .with("pending", true)
        .with("trusted_publisher_id", row.id.to_string())
        .with("ecosystem", row.ecosystem.as_str())
        .with("name", row.name.as_str())
        .with("repository_slug", row.target_repository_slug.as_str())
        .with("issuer", row.issuer.as_str())
        .with("subject", row.subject.as_str())
        .with("environment", row.environment.as_str())
}
