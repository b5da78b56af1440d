//! Reading: the visibility gate, documents, artifacts.

use std::{collections::HashMap, ops::Range, sync::Arc};

use publaryn_blobs::{BlobBody, BlobError, BlobKey};
use publaryn_core::{
    ArtifactId, BoxError, CompanionRole, Decision, Ecosystem, Operation, PackageId, Principal, RegistryError,
    ReleaseId, Version, Visibility,
    access::{Denial, Relation, Resource},
    decide,
    principal::Who,
    publish::PackageFacts,
};
use publaryn_metadata::{
    DbResult,
    documents::{ArtifactLocation, LiveRelease, PackageDocument, Releases},
    packages::PackageHead,
    standing::Standings,
};
use smol_str::SmolStr;

use crate::{
    PackageView, Registry, Rendered, ServableArtifact,
    meters::{Direction, count_bytes},
    rendered::Key,
};

impl Registry {
    /// The package of that normalised name, if `who` may read it natively.
    ///
    /// # Errors
    /// `NotFound` for hidden and missing alike; `BadCredential` when it is not openly readable and a
    /// broken credential was presented (a stale token must not break public installs).
    pub async fn package(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
    ) -> Result<PackageView, RegistryError> {
        let miss = || self.native_miss(who);
        let head = self.0.heads.get(ecosystem, normalized).await?.filter(|head| !head.is_deleted);
        let Some(head) = head else {
            self.0.db.relation_to_nothing(who).await?;
            return Err(miss());
        };
        let relation = self.relation(who, &head).await?;
        let access = head.access(relation);
        match decide(who, Operation::NativeRead, Resource::Package(&access)) {
            Decision::Allow => Ok(PackageView { head }),
            Decision::Denied(denial) => Err(RegistryError::Denied(denial)),
            Decision::Hidden | Decision::Unauthenticated => Err(miss()),
        }
    }

    /// The refusal of a native read of what is missing or hidden.
    fn native_miss(&self, who: &Principal) -> RegistryError {
        match who.who {
            _ if who.is_invalid() => self.broken_credential(who),
            // What else there is, such a token must not find out from differing refusals.
            Who::TrustedPublisher { .. } => RegistryError::Denied(Denial::CredentialNotAccepted),
            _ => RegistryError::NotFound,
        }
    }

    /// How the caller stands to a package. No query where the answer cannot matter.
    pub(crate) async fn relation(&self, who: &Principal, head: &PackageHead) -> Result<Relation, RegistryError> {
        match &who.who {
            Who::User(_) | Who::Automation { .. } if !head.effective.is_open() => {
                Ok(self.0.db.relation(head, who).await?)
            }
            _ => Ok(Relation::default()),
        }
    }

    /// Everything a metadata document of the package is rendered from.
    pub async fn document(&self, view: &PackageView) -> Result<PackageDocument, RegistryError> {
        self.0.db.package_document(view.id()).await?.ok_or(RegistryError::NotFound)
    }

    /// What a release of the document says of its package; the package itself shows what the latest one says.
    pub fn release_facts(
        &self,
        release: &LiveRelease,
    ) -> impl Future<Output = Result<PackageFacts, RegistryError>> + Send + use<> {
        let (db, id) = (self.0.db.clone(), release.row.id);
        async move { Ok(db.release_facts(id).await?.unwrap_or_default()) }
    }

    /// The same with the newest releases only, as lists of packages tell of it.
    pub async fn notable_document(&self, view: &PackageView) -> Result<PackageDocument, RegistryError> {
        let documents = self.0.db.package_documents(&[view.id()], Releases::Notable).await?;
        documents.into_iter().next().ok_or(RegistryError::NotFound)
    }

    /// One live release: what is said of a version does not need all the others.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn live_release(&self, view: &PackageView, version_key: &str) -> Result<LiveRelease, RegistryError> {
        self.0.db.live_release(view.id(), version_key).await?.ok_or(RegistryError::NotFound)
    }

    /// Live releases by id, each of a package that the caller may read; those that are gone are left out.
    pub async fn live_releases(
        &self,
        wanted: &[(&PackageView, ReleaseId)],
    ) -> Result<HashMap<ReleaseId, LiveRelease>, RegistryError> {
        let packages: HashMap<ReleaseId, PackageId> = wanted.iter().map(|(view, id)| (*id, view.id())).collect();
        let ids: Vec<ReleaseId> = packages.keys().copied().collect();
        let found = self.0.db.live_releases_by_id(&ids).await?;
        let of_its_package =
            |(package, release): &(PackageId, LiveRelease)| packages.get(&release.row.id) == Some(package);
        Ok(found.into_iter().filter(of_its_package).map(|(_, release)| (release.row.id, release)).collect())
    }

    /// The release that has taken a version number, as it spells it, in whatever state it is.
    pub async fn taken_version(&self, view: &PackageView, version: &Version) -> Result<Option<String>, RegistryError> {
        let taken = self.0.db.release_by_version(view.id(), version.unique_key()).await?;
        Ok(taken.map(|release| release.version))
    }

    /// Whether one of these releases exists or existed, in whatever state, and whoever may see it: whose it is must
    /// not be told.
    ///
    /// `releases`: canonical name and version.
    pub async fn is_any_taken(
        &self,
        ecosystem: Ecosystem,
        releases: &[(String, Version)],
    ) -> Result<bool, RegistryError> {
        for (normalized, version) in releases {
            let Some(head) = self.0.heads.get(ecosystem, normalized).await? else { continue };
            if self.0.db.release_by_version(head.id, version.unique_key()).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `who` may do that to a package it may read; the change itself decides again, against the locked row.
    ///
    /// # Errors
    /// As `decide` says.
    pub async fn may(&self, who: &Principal, operation: Operation, view: &PackageView) -> Result<(), RegistryError> {
        let relation = self.full_relation(who, &view.head).await?;
        self.allow(who, decide(who, operation, Resource::Package(&view.head.access(relation))))
    }

    /// The document of one flavour, rendered at most once per revision and base URL.
    ///
    /// `render` turns the package into a body; it runs on a blocking thread. A package without
    /// anything to show is `NotFound`, so `render` returns `None` for it.
    pub async fn rendered(
        &self,
        view: &PackageView,
        flavour: &'static str,
        base: &str,
        content_type: &'static str,
        render: impl FnOnce(&PackageDocument) -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<Arc<Rendered>, RegistryError> {
        self.try_rendered(view, flavour, base, content_type, |document| Ok(render(document))).await
    }

    /// Like [`Self::rendered`], for documents that are served whole or not at all: an error of
    /// `render` is `Unavailable`.
    pub async fn try_rendered(
        &self,
        view: &PackageView,
        flavour: &'static str,
        base: &str,
        content_type: &'static str,
        render: impl FnOnce(&PackageDocument) -> Result<Option<Vec<u8>>, BoxError> + Send + 'static,
    ) -> Result<Arc<Rendered>, RegistryError> {
        let nothing = |_: &PackageDocument| async { Ok(()) };
        let render = move |document: &PackageDocument, ()| render(document);
        self.rendered_from(view, flavour, base, content_type, nothing, render).await
    }

    /// Like [`Self::try_rendered`], for documents that need more than the package's: `gather` fetches it.
    pub async fn rendered_from<T: Send + 'static, F>(
        &self,
        view: &PackageView,
        flavour: &'static str,
        base: &str,
        content_type: &'static str,
        gather: impl FnOnce(&PackageDocument) -> F + Send,
        render: impl FnOnce(&PackageDocument, T) -> Result<Option<Vec<u8>>, BoxError> + Send + 'static,
    ) -> Result<Arc<Rendered>, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>> + Send,
    {
        let key = Key { package: view.id(), revision: view.revision(), flavour, base: SmolStr::new(base) };
        if let Some(kept) = self.0.rendered.get(&key).await {
            return Ok(kept);
        }
        let make = async {
            let document = self.document(view).await?;
            let more = gather(&document).await?;
            // The document may already be newer than the view; it is then kept under its own revision too late
            // to matter, and the next read asks for that revision.
            let (revision, changed) = (document.package.revision, document.package.updated_at);
            tokio::task::spawn_blocking(move || {
                let body =
                    render(&document, more).map_err(|error| RegistryError::unavailable("the document", error))?;
                let body = body.ok_or(RegistryError::NotFound)?;
                Ok(Arc::new(Rendered::new(content_type, body, revision, changed)))
            })
            .await
            .map_err(RegistryError::internal)?
        };
        self.0.rendered.get_or_render(key, make).await
    }

    /// A file of a live release.
    pub async fn artifact(&self, view: &PackageView, filename: &str) -> Result<ServableArtifact, RegistryError> {
        let find = self.0.db.live_artifact(view.id(), filename);
        self.located(&view.head, SmolStr::new(filename), None, find).await?.ok_or(RegistryError::NotFound)
    }

    /// A file of one live version, for ecosystems in which versions may have files of the same name.
    pub async fn artifact_of(
        &self,
        view: &PackageView,
        version_key: &str,
        filename: &str,
    ) -> Result<ServableArtifact, RegistryError> {
        // Neither has a slash, so these keys meet no other.
        let key = smol_str::format_smolstr!("{version_key}/{filename}");
        let find = self.0.db.live_artifact_of(view.id(), version_key, filename);
        self.located(&view.head, key, None, find).await?.ok_or(RegistryError::NotFound)
    }

    /// A file of a live release by its id, with the package it belongs to being readable for `who`.
    ///
    /// # Errors
    /// As [`Self::package`], whether there is no such file or it may not be seen.
    pub async fn artifact_by_id(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        id: ArtifactId,
    ) -> Result<ServableArtifact, RegistryError> {
        let miss = || self.native_miss(who);
        let package = match self.0.packages_of_files.get(&id) {
            Some(known) => known,
            None => {
                let (found_in, name) = self.0.db.package_of_artifact(id).await?.ok_or_else(miss)?;
                let package = (found_in, SmolStr::new(name));
                self.0.packages_of_files.insert(id, package.clone());
                package
            }
        };
        if package.0 != ecosystem {
            return Err(miss());
        }
        let view = self.package(who, ecosystem, &package.1).await?;
        // No file name has a slash, so these keys meet no other.
        let key = smol_str::format_smolstr!("/{id}");
        let find = self.0.db.live_artifact_by_id(view.id(), id);
        self.located(&view.head, key, None, find).await?.ok_or_else(miss)
    }

    /// The newest file that answers to a key ([`publaryn_core::publish::AppendCommand::lookup_keys`]) and that `who`
    /// may read, with its document.
    ///
    /// # Errors
    /// As [`Self::package`].
    pub async fn artifact_by_key(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<(ServableArtifact, String), RegistryError> {
        for (id, metadata) in self.0.db.files_by_key(ecosystem, key).await? {
            match self.artifact_by_id(who, ecosystem, id).await {
                Ok(artifact) => return Ok((artifact, metadata.unwrap_or_default())),
                Err(RegistryError::NotFound | RegistryError::BadCredential(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Err(if who.is_invalid() { self.broken_credential(who) } else { RegistryError::NotFound })
    }

    /// What is kept beside a file in that role.
    ///
    /// # Errors
    /// `NotFound` when there is nothing.
    pub async fn companion(
        &self,
        of: &ServableArtifact,
        role: CompanionRole,
    ) -> Result<ServableArtifact, RegistryError> {
        let id = of.location.id;
        let key = smol_str::format_smolstr!("/{id}/{role}");
        let find = self.0.db.live_companion(of.package.id, id, role);
        self.located(&of.package, key, Some(role), find).await?.ok_or(RegistryError::NotFound)
    }

    /// A file, or what lies beside it, with its place, which is remembered under `key` for as long as the package does
    /// not change.
    async fn located(
        &self,
        package: &Arc<PackageHead>,
        key: SmolStr,
        role: Option<CompanionRole>,
        find: impl Future<Output = DbResult<Option<ArtifactLocation>>>,
    ) -> Result<Option<ServableArtifact>, RegistryError> {
        let whole_key = (package.id, package.revision, key.clone());
        let location = match self.0.artifacts.get(&whole_key) {
            Some(known) => known,
            None => {
                let Some(found) = find.await?.map(Arc::new) else { return Ok(None) };
                self.0.artifacts.insert(whole_key, found.clone());
                found
            }
        };
        let package = package.clone();
        Ok(Some(ServableArtifact { location, package, role, known_as: Some(key), counts: role.is_none() }))
    }

    /// The bytes of an artifact, or a part of them.
    pub async fn open(
        &self,
        artifact: &ServableArtifact,
        range: Option<Range<u64>>,
    ) -> Result<BlobBody, RegistryError> {
        let key: BlobKey = artifact.location.location.parse().map_err(RegistryError::internal)?;
        let body = match self.0.blobs.open(&key, range.clone()).await {
            Err(BlobError::Missing { .. }) => self.open_where_it_lies_now(artifact, &key, range).await?,
            opened => opened.map_err(blob_error)?,
        };
        count_bytes(Direction::Out, artifact.ecosystem(), body.len());
        Ok(body)
    }

    /// Content that was damaged and published again lies under another key than the one remembered.
    async fn open_where_it_lies_now(
        &self,
        artifact: &ServableArtifact,
        missing: &BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<BlobBody, RegistryError> {
        let (package, id) = (&artifact.package, artifact.location.id);
        let location = match artifact.role {
            None => self.0.db.live_artifact_by_id(package.id, id).await?,
            Some(role) => self.0.db.live_companion(package.id, id, role).await?,
        };
        let location = location.ok_or(RegistryError::NotFound)?;
        let key: BlobKey = location.location.parse().map_err(RegistryError::internal)?;
        if key == *missing {
            return Err(blob_error(BlobError::Missing { key }));
        }
        if let Some(known_as) = &artifact.known_as {
            self.0.artifacts.insert((package.id, package.revision, known_as.clone()), Arc::new(location));
        }
        self.0.blobs.open(&key, range).await.map_err(blob_error)
    }

    /// A signed address to download from, where the store has one and the operator wants it.
    pub async fn redirect(&self, artifact: &ServableArtifact) -> Result<Option<String>, RegistryError> {
        let Some(ttl) = self.0.settings.redirect_downloads else { return Ok(None) };
        let key: BlobKey = artifact.location.location.parse().map_err(RegistryError::internal)?;
        let url =
            self.0.blobs.presign(&key, ttl, artifact.filename(), artifact.content_type()).await.map_err(blob_error)?;
        Ok(url.map(|url| url.as_str().to_owned()))
    }

    /// How often each release of these packages was downloaded; those that never were are missing. Lags as the
    /// packages' own counts do.
    pub async fn release_downloads<'v>(
        &self,
        views: impl IntoIterator<Item = &'v PackageView>,
    ) -> Result<HashMap<ReleaseId, i64>, RegistryError> {
        let ids: Vec<PackageId> = views.into_iter().map(PackageView::id).collect();
        if ids.is_empty() { Ok(HashMap::new()) } else { Ok(self.0.db.release_downloads(&ids).await?) }
    }

    /// Counts one complete download; summed in memory and written in batches.
    pub fn count_download(&self, artifact: &ServableArtifact) {
        if artifact.counts {
            self.0.downloads.count(artifact.ecosystem(), artifact.package.id, artifact.location.release_id);
        }
    }

    /// The packages of a user that `who` may see, as heads.
    pub async fn packages_of_user(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        username: &str,
    ) -> Result<Vec<PackageView>, RegistryError> {
        let Some(user) = self.0.db.user_by_name(&username.to_lowercase()).await?.map(|u| u.id) else {
            return Err(RegistryError::NotFound);
        };
        let heads = self.0.db.packages_of_user(ecosystem, user).await?;
        self.visible(who, heads).await
    }

    /// The packages a user starred that `who` may see.
    pub async fn starred_by(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        username: &str,
    ) -> Result<Vec<PackageView>, RegistryError> {
        let Some(user) = self.0.db.user_by_name(&username.to_lowercase()).await?.map(|u| u.id) else {
            return Ok(Vec::new());
        };
        let heads = self.0.db.starred_by(ecosystem, user).await?;
        self.visible(who, heads).await
    }

    /// Those of these packages that native lists show to `who`: what may be read natively and is not unlisted.
    pub(crate) async fn visible(
        &self,
        who: &Principal,
        mut heads: Vec<PackageHead>,
    ) -> Result<Vec<PackageView>, RegistryError> {
        heads.retain(|head| head.effective != Visibility::Unlisted);
        let standings = if heads.iter().all(|head| head.effective.is_open()) {
            Standings::default()
        } else {
            self.0.db.standings(who).await?
        };
        self.visible_to(who, &standings, heads).await
    }

    /// The same, where it is known what the caller has anywhere. The number of questions does not grow with the list.
    pub(crate) async fn visible_to(
        &self,
        who: &Principal,
        standings: &Standings,
        heads: Vec<PackageHead>,
    ) -> Result<Vec<PackageView>, RegistryError> {
        // Without a query where the answer cannot matter.
        let closed: Vec<PackageId> = match &who.who {
            Who::User(_) | Who::Automation { .. } => {
                heads.iter().filter(|head| !head.effective.is_open()).map(|head| head.id).collect()
            }
            Who::Anonymous | Who::TrustedPublisher { .. } => Vec::new(),
        };
        let mut relations: HashMap<PackageId, Relation> = HashMap::new();
        if !closed.is_empty() {
            let standings = self.0.db.package_standings(who, standings, &closed).await?;
            for row in self.0.db.packages_facts(&closed).await? {
                let owners = (row.owner(), row.repository_owner());
                relations.insert(row.id, standings.to(row.id, owners.0, row.repository_id, owners.1));
            }
        }
        let is_visible = |head: &PackageHead| {
            let access = head.access(relations.remove(&head.id).unwrap_or_default());
            decide(who, Operation::NativeRead, Resource::Package(&access)) == Decision::Allow
        };
        Ok(heads.into_iter().filter(is_visible).map(|head| PackageView { head: Arc::new(head) }).collect())
    }

    /// A page of search hits: the index proposes, current rights and rows decide.
    pub(crate) async fn views_by_id(
        &self,
        who: &Principal,
        standings: &Standings,
        ids: &[PackageId],
    ) -> Result<Vec<PackageView>, RegistryError> {
        let mut heads = self.0.db.package_heads_by_id(ids).await?;
        heads.retain(|head| !head.is_deleted);
        let places: HashMap<PackageId, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let mut views = self.visible_to(who, standings, heads).await?;
        views.sort_by_key(|view| places.get(&view.id()));
        Ok(views)
    }
}

pub(crate) fn blob_error(error: BlobError) -> RegistryError {
    match error {
        BlobError::TooLarge { limit_name, limit_bytes } => RegistryError::TooLarge { what: limit_name, limit_bytes },
        other => RegistryError::unavailable("the blob store", other),
    }
}
