//! Releases: drafts that get files and are published, and what happens to live ones.

use std::time::Duration;

use publaryn_core::{
    ArtifactState, Decision, Ecosystem, FindingId, JobId, Operation, Principal, RegistryError, ReleaseId, ReleaseState,
    Timestamp, Version,
    access::{PackageAccess, Resource, permits},
    audit::{AuditAction, ClientOrigin},
    decide,
    job::JobState,
};
use publaryn_gc::CleanupBlobs;
use publaryn_metadata::{
    artifacts::FileProgress,
    organizations::Slice,
    release_views::{ArtifactViewRow, PipelineJob, ReleaseDetails, ReleaseFilter, ReleaseSummaryRow, ReleaseTexts},
};
use publaryn_publish::{
    ScanArtifact, Subject, TokenUse, content_job, finalize, note_similar_name, reconsider_files,
    refuse_respelled_number, require_release_room, settle_tags, settle_yanked_tags, use_token,
};
use serde_json::json;

use super::{PackageAccessed, PackageChange};
use crate::{
    Registry,
    change::DELETE_WINDOW_CLOSED,
    governance::SeverityCounts,
    oci::{cleanup_oci, needing_index, take_manifest_out},
};

/// A release to be filled with files; the values passed their rules.
#[derive(Debug, Clone)]
pub struct NewDraft {
    pub version: Version,
    pub is_prerelease: Option<bool>,
    pub texts: ReleaseTexts,
}

/// A release as a caller sees it.
#[derive(Debug, Clone)]
pub struct ReleaseView {
    pub details: ReleaseDetails,
    pub ecosystem: Ecosystem,
    /// As published.
    pub package_name: String,
    pub can_manage: bool,
    /// Scans and what blocks are for those who may see staged releases.
    pub shows_staged: bool,
    /// For them, oldest first.
    pub scans: Vec<PipelineJob>,
    /// For them: the findings of the last verdict that nobody has resolved since.
    pub blocked_by: Vec<FindingId>,
    /// Those that the caller may know of, by name.
    pub files: Vec<ArtifactViewRow>,
    /// Unresolved findings that the caller may know of, by severity.
    pub findings: SeverityCounts,
}

impl ReleaseView {
    pub fn scans_began_at(&self) -> Option<Timestamp> {
        self.scans.iter().filter_map(|job| job.started_at).min()
    }
    /// When the last scan ended, once none is awaited any more.
    pub fn scans_ended_at(&self) -> Option<Timestamp> {
        let is_done = self.details.scans_done >= self.details.scans_total;
        self.scans.iter().filter_map(|job| job.finished_at).max().filter(|_| is_done)
    }
}

/// What to do to a live release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseChange {
    Yank { reason: Option<String> },
    Unyank,
    Deprecate { message: Option<String> },
    Undeprecate,
}

/// What became of a request to publish.
#[derive(Debug, Clone)]
pub struct PublishAnswer {
    pub view: ReleaseView,
    /// Scans this request started.
    pub scans_started: usize,
}

/// Where a stage of the way to live stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageState {
    Waiting,
    Running,
    Done,
    Blocked,
    Failed,
}

impl StageState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }
}

/// A stage of the way to live.
#[derive(Debug, Clone)]
pub struct Stage {
    pub name: &'static str,
    pub state: StageState,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub detail: Option<String>,
    pub jobs: Vec<JobId>,
}

/// How far a release has come.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub version: String,
    pub status: ReleaseState,
    pub stages: Vec<Stage>,
    pub blocked_by: Vec<FindingId>,
    pub next_action: Option<&'static str>,
}

/// What a release says that is deprecated without a reason.
const DEPRECATED: &str = "this version is deprecated";
/// Longest a client may wait for the verdict of a publish.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

impl PackageChange<'_> {
    /// A release that was not deleted, locked.
    pub async fn release(&mut self, version_key: &str) -> Result<ReleaseDetails, RegistryError> {
        let found = self.tx.release_details(self.head.id, version_key).await?;
        found.filter(|release| release.summary.status != ReleaseState::Deleted).ok_or(RegistryError::NotFound)
    }

    /// A release that still takes files and texts.
    ///
    /// # Errors
    /// `state_conflict` once it was published.
    pub async fn draft(&mut self, version_key: &str) -> Result<ReleaseDetails, RegistryError> {
        let release = self.release(version_key).await?;
        if release.summary.status != ReleaseState::Quarantine {
            return Err(wrong_state(release.summary.status, &[ReleaseState::Quarantine]));
        }
        Ok(release)
    }

    /// Sends what is judged together with a staged release to its scans, and decides it when all were made before.
    /// Returns how many are to come.
    ///
    /// # Errors
    /// `release_not_ready`.
    async fn begin_scans(
        &mut self,
        release: &ReleaseDetails,
        files: &[FileProgress],
        tags: Option<&[String]>,
    ) -> Result<usize, RegistryError> {
        let not_ready = |message: &str| Err(RegistryError::conflict("release_not_ready", message));
        if files.is_empty() {
            return not_ready("the release has no files");
        }
        let joint: Vec<&FileProgress> = files.iter().filter(|file| file.state == ArtifactState::Joint).collect();
        if joint.is_empty() {
            return Ok(0);
        }
        if release.metadata == "{}" {
            return not_ready(
                "none of its files says what its clients need to know; publish it with the ecosystem's own client",
            );
        }
        // What an image is made of is scanned for many images at once, and judged anew for each.
        let keeps_scans = self.head.ecosystem != Ecosystem::Oci;
        let (done, open): (Vec<_>, Vec<_>) = joint.into_iter().partition(|file| file.is_scanned && keeps_scans);
        let count = |files: &[&FileProgress]| i64::try_from(files.len()).unwrap_or(i64::MAX);
        let id = release.summary.id;
        self.tx.begin_scanning(id, tags, count(&open) + count(&done), count(&done), self.now).await?;
        for file in &open {
            self.tx.forget_scan(file.id).await?;
            self.tx.enqueue(&ScanArtifact::job(file.id, self.head.owner)).await?;
        }
        for content in self.tx.unscanned_content(id).await? {
            self.tx.enqueue(&content_job(content, self.head.id)).await?;
        }
        if open.is_empty()
            && let Some(current) = self.tx.lock_release(id).await?
        {
            finalize(&mut self.tx, &current, self.now).await?;
        }
        Ok(open.len())
    }
}

/// `state_conflict` with what it is and what it would have to be.
fn wrong_state(state: ReleaseState, allowed: &[ReleaseState]) -> RegistryError {
    RegistryError::conflict_with(
        "state_conflict",
        format!("the release is {state}"),
        [("state", json!(state)), ("allowed", json!(allowed))],
    )
}

const LIVE: [ReleaseState; 3] = [ReleaseState::Published, ReleaseState::Deprecated, ReleaseState::Yanked];

impl Registry {
    /// Releases of a package. Staged and deleted ones only for who may see staged ones.
    pub async fn releases(
        &self,
        who: &Principal,
        package: &PackageAccessed,
        status: Option<ReleaseState>,
        by_version: bool,
        include_deleted: bool,
        slice: Slice,
    ) -> Result<(Vec<ReleaseSummaryRow>, i64), RegistryError> {
        let staged = package.shows_staged(who);
        let filter = ReleaseFilter { status, staged, deleted: staged && include_deleted, by_version };
        Ok(self.0.db.releases(package.id(), filter, slice).await?)
    }

    /// A release the caller may see.
    ///
    /// # Errors
    /// `NotFound` for missing, deleted, and staged ones alike.
    pub async fn release(
        &self,
        who: &Principal,
        package: &PackageAccessed,
        version_key: &str,
    ) -> Result<ReleaseView, RegistryError> {
        let (details, files, shows_staged) = self.seen_release(who, package, version_key).await?;
        let scans = if shows_staged { self.0.db.scan_jobs_of(details.summary.id).await? } else { Vec::new() };
        let blocked_by: Vec<FindingId> = serde_json::from_str(&details.blocked_by).unwrap_or_default();
        let blocked_by = match blocked_by.is_empty() || !shows_staged {
            true => Vec::new(),
            false => self.0.db.unresolved(&blocked_by).await?,
        };
        let findings = self.0.db.open_findings_of_release(details.summary.id, shows_staged).await?;
        Ok(ReleaseView {
            scans,
            blocked_by,
            findings: findings.into_iter().collect(),
            files,
            ecosystem: package.details.ecosystem,
            package_name: package.details.name.clone(),
            can_manage: package.permits(who, Operation::ManageReleases),
            shows_staged,
            details,
        })
    }

    /// A release the caller may see, with the files that it may know of, and whether it may see staged ones.
    ///
    /// # Errors
    /// Those of [`Self::release`].
    pub(super) async fn seen_release(
        &self,
        who: &Principal,
        package: &PackageAccessed,
        version_key: &str,
    ) -> Result<(ReleaseDetails, Vec<ArtifactViewRow>, bool), RegistryError> {
        let shows_staged = package.shows_staged(who);
        let details = self.0.db.release_details(package.id(), version_key, shows_staged).await?;
        let details = details.ok_or(RegistryError::NotFound)?;
        let status = details.summary.status;
        if !(status.is_live() || status.is_staged() && shows_staged) {
            return Err(RegistryError::NotFound);
        }
        let mut files = self.0.db.artifacts_of(details.summary.id).await?;
        files.retain(|file| shows_staged || file.is_cleared());
        Ok((details, files, shows_staged))
    }

    /// Creates a release that waits for its files.
    ///
    /// # Errors
    /// `already_exists`, `version_reserved` for a deleted one, `package_archived`, `validation_failed` in OCI.
    pub async fn create_draft(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        new: NewDraft,
        origin: &ClientOrigin,
    ) -> Result<ReleaseView, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Publish, origin).await?;
        change.require_drafts()?;
        change.require_no_quarantine()?;
        change.require_active()?;
        let (id, package, now) = (ReleaseId::new(), change.head.id, change.now);
        let is_prerelease = new.is_prerelease.unwrap_or_else(|| new.version.is_prerelease());
        let by = who.acting_user();
        refuse_respelled_number(&mut change.tx, package, &new.version).await?;
        let number = change.tx.insert_draft(id, package, &new.version, is_prerelease, &new.texts, by, now).await?;
        let Some(number) = number else {
            let taken = change.tx.release_details(package, new.version.unique_key()).await?;
            if taken.is_some_and(|taken| taken.summary.status == ReleaseState::Deleted) {
                return Err(RegistryError::conflict(
                    "version_reserved",
                    "that version was deleted; its number stays taken",
                ));
            }
            return Err(RegistryError::VersionExists(new.version.to_string()));
        };
        let settings = &self.0.settings.publishing;
        require_release_room(&mut change.tx, settings, package, number).await?;
        note_similar_name(&mut change.tx, settings, &change.head, number, id, now).await?;
        let entry = change.audit(AuditAction::ReleaseCreate).release(id).with("version", new.version.as_str());
        change.commit_quietly(entry).await?;
        self.release_after(who, package, new.version.unique_key()).await
    }

    async fn release_after(
        &self,
        who: &Principal,
        package: publaryn_core::PackageId,
        version_key: &str,
    ) -> Result<ReleaseView, RegistryError> {
        let head = self.0.db.package_head_by_id(package).await?.ok_or(RegistryError::NotFound)?;
        let relation = self.0.db.relation(&head, who).await?;
        let details = self.0.db.package_details(package).await?.ok_or(RegistryError::NotFound)?;
        let accessed = PackageAccessed { details, access: head.access(relation) };
        self.release(who, &accessed, version_key).await
    }

    /// Changes what a staged release says about itself.
    ///
    /// # Errors
    /// `state_conflict` once it is published.
    #[allow(clippy::too_many_arguments, reason = "who, where, what, from where: each is one thing")]
    pub async fn update_draft(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
        change_texts: impl FnOnce(&mut ReleaseTexts),
        precondition: impl Fn(&ReleaseSummaryRow) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<ReleaseView, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Publish, origin).await?;
        let release = change.release(version_key).await?;
        precondition(&release.summary)?;
        let status = release.summary.status;
        if !status.is_staged() {
            return Err(wrong_state(status, &[ReleaseState::Quarantine, ReleaseState::Scanning]));
        }
        let before = ReleaseTexts {
            description: release.description.clone(),
            changelog: release.changelog.clone(),
            source_ref: release.source_ref.clone(),
            provenance: release.provenance.clone(),
        };
        let mut after = before.clone();
        change_texts(&mut after);
        let package = change.head.id;
        if after != before {
            let id = release.summary.id;
            change.tx.set_release_texts(id, &after, change.now).await?;
            let entry =
                change.audit(AuditAction::ReleaseUpdate).release(id).with("version", release.summary.version.as_str());
            change.commit_quietly(entry).await?;
        }
        self.release_after(who, package, version_key).await
    }

    /// Deletes a release. The number of a live one stays taken, that of a staged one is free again.
    ///
    /// # Errors
    /// `delete_window_closed`; `state_conflict` for a manifest that an index needs.
    pub async fn delete_release(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
        precondition: impl Fn(&ReleaseSummaryRow) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let judge = |access: &PackageAccess| {
            let may = |operation| permits(who, operation, Resource::Package(access));
            // Which of the two counts is known once the release is.
            if may(Operation::DeleteLive) || may(Operation::DeleteStaged) {
                return Decision::Allow;
            }
            decide(who, Operation::Read, Resource::Package(access))
        };
        let mut change = self.change_package_if(who, ecosystem, normalized, origin, judge).await?;
        let release = change.release(version_key).await?;
        let (id, status) = (release.summary.id, release.summary.status);
        let operation = if status.is_live() { Operation::DeleteLive } else { Operation::DeleteStaged };
        self.allow(who, decide(who, operation, Resource::Package(&change.access)))?;
        precondition(&release.summary)?;
        let entry = change
            .audit(AuditAction::ReleaseDelete)
            .release(id)
            .with("version", release.summary.version.as_str())
            .with("status", status.as_str());
        let is_manifest = ecosystem == Ecosystem::Oci;
        if is_manifest
            && let Some(index) = needing_index(&mut change.tx, change.head.id, &release.summary.version).await?
        {
            let message = format!("the manifest is part of the index {index}; delete that first");
            return Err(RegistryError::conflict("state_conflict", message));
        }
        if !status.is_live() {
            change.tx.delete_release(id).await?;
            change.tx.enqueue(&if is_manifest { cleanup_oci() } else { CleanupBlobs::job() }).await?;
            return change.commit_quietly(entry).await;
        }
        let details = change.tx.package_details(change.head.id).await?.ok_or(RegistryError::NotFound)?;
        let is_open = details.effective().is_open() && ecosystem != Ecosystem::Oci;
        let published_at = release.summary.published_at;
        if let Some(message) = self.delete_refusal(who, details.repository_kind, is_open, published_at, change.now) {
            return Err(RegistryError::conflict(DELETE_WINDOW_CLOSED, message));
        }
        if is_manifest {
            take_manifest_out(&mut change.tx, &change.head, id, change.now).await?;
        } else {
            change.tx.set_release_state(id, ReleaseState::Deleted, change.now).await?;
            settle_tags(&mut change.tx, &change.head, id, change.now).await?;
            change.tx.enqueue(&CleanupBlobs::job()).await?;
        }
        change.commit(entry).await
    }

    /// Yanks, deprecates, or takes either back. Saying what is so already changes nothing; taking back what
    /// is not so is a conflict.
    #[allow(clippy::too_many_arguments, reason = "who, where, what, from where: each is one thing")]
    pub async fn change_release(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
        what: ReleaseChange,
        precondition: impl Fn(&ReleaseSummaryRow) -> Result<(), RegistryError>,
        origin: &ClientOrigin,
    ) -> Result<ReleaseView, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::ManageReleases, origin).await?;
        let found = change.tx.release_details(change.head.id, version_key).await?.ok_or(RegistryError::NotFound)?;
        precondition(&found.summary)?;
        let (id, status, package) = (found.summary.id, found.summary.status, change.head.id);
        if !status.is_live() {
            return Err(wrong_state(status, &LIVE));
        }
        let (mut is_yanked, mut message) = (found.summary.is_yanked, found.deprecation_message.clone());
        let action = match what {
            // Said again it stands as it is, unless there is something new to say about it.
            ReleaseChange::Yank { reason } if is_yanked && (reason.is_none() || reason == found.yank_reason) => None,
            ReleaseChange::Yank { reason } => {
                is_yanked = true;
                change.tx.set_yanked(id, true, reason.as_deref()).await?;
                Some(change.audit(AuditAction::ReleaseYank).with("reason", reason))
            }
            ReleaseChange::Unyank if !is_yanked => return Err(wrong_state(status, &[ReleaseState::Yanked])),
            ReleaseChange::Unyank => {
                is_yanked = false;
                change.tx.set_yanked(id, false, None).await?;
                Some(change.audit(AuditAction::ReleaseUnyank))
            }
            ReleaseChange::Deprecate { message: text } => {
                let text = text.unwrap_or_else(|| DEPRECATED.to_owned());
                if message.as_ref() == Some(&text) {
                    None
                } else {
                    change.tx.set_deprecation(id, Some(&text)).await?;
                    message = Some(text.clone());
                    Some(change.audit(AuditAction::ReleaseDeprecate).with("message", text))
                }
            }
            ReleaseChange::Undeprecate if message.is_none() => {
                return Err(wrong_state(status, &[ReleaseState::Deprecated]));
            }
            ReleaseChange::Undeprecate => {
                change.tx.set_deprecation(id, None).await?;
                message = None;
                Some(change.audit(AuditAction::ReleaseUndeprecate))
            }
        };
        if let Some(entry) = action {
            let next = match (is_yanked, &message) {
                (true, _) => ReleaseState::Yanked,
                (false, Some(_)) => ReleaseState::Deprecated,
                (false, None) => ReleaseState::Published,
            };
            change.tx.set_release_state(id, next, change.now).await?;
            if is_yanked && !found.summary.is_yanked {
                settle_yanked_tags(&mut change.tx, &change.head, id, change.now).await?;
            }
            change.commit(entry.release(id).with("version", found.summary.version.as_str())).await?;
        } else {
            drop(change);
        }
        self.release_after(who, package, version_key).await
    }

    /// Sends a staged release to its scans, or judges again what was held back, and waits for the verdict up to
    /// `wait`. What was scanned is not scanned again: findings that were resolved meanwhile are what changed. A
    /// release that has nothing to be judged just says where it stands. Without `tags` it gets those that its upload
    /// asked for.
    ///
    /// # Errors
    /// `release_not_ready` without files, `package_archived`.
    #[allow(clippy::too_many_arguments, reason = "who, where, what, from where: each is one thing")]
    pub async fn publish_draft(
        &self,
        who: &Principal,
        ecosystem: Ecosystem,
        normalized: &str,
        version_key: &str,
        tags: Option<&[String]>,
        wait: Duration,
        origin: &ClientOrigin,
    ) -> Result<PublishAnswer, RegistryError> {
        let mut change = self.change_package(who, ecosystem, normalized, Operation::Publish, origin).await?;
        let release = change.release(version_key).await?;
        let (id, package, status) = (release.summary.id, change.head.id, release.summary.status);
        let waiter = self.0.outcomes.expect(Subject::Release(id));
        let files = change.tx.files_of(id).await?;
        let has_held_files = files.iter().any(|file| file.state == ArtifactState::Held);
        let mut scans_started = 0;
        let mut scanning_files = Vec::new();
        if status == ReleaseState::Quarantine || has_held_files {
            change.require_no_quarantine()?;
            change.require_active()?;
            if status == ReleaseState::Quarantine {
                scans_started += change.begin_scans(&release, &files, tags).await?;
            }
            if has_held_files {
                scanning_files = reconsider_files(&mut change.tx, &change.head, id, change.now).await?;
                scans_started += scanning_files.len();
            }
            use_token(&mut change.tx, who, TokenUse::Release, change.now).await?;
            let entry =
                change.audit(AuditAction::ReleasePublish).release(id).with("version", release.summary.version.as_str());
            change.commit_quietly(entry).await?;
        } else {
            drop(change);
        }
        let wait = wait.min(MAX_WAIT);
        let is_awaited = scans_started > 0 || status == ReleaseState::Scanning;
        if !wait.is_zero() && is_awaited && !status.is_live() {
            waiter.outcome(id, wait).await?;
        } else if !wait.is_zero() {
            let deadline = tokio::time::Instant::now() + wait;
            for file in scanning_files {
                let rest = deadline.saturating_duration_since(tokio::time::Instant::now());
                self.0.outcomes.expect(Subject::File(file)).outcome(id, rest).await?;
            }
        }
        let view = self.release_after(who, package, version_key).await?;
        Ok(PublishAnswer { view, scans_started })
    }

    /// How far a release has come; for those who may see staged releases.
    pub async fn pipeline(
        &self,
        who: &Principal,
        package: &PackageAccessed,
        version_key: &str,
    ) -> Result<Pipeline, RegistryError> {
        let view = self.release(who, package, version_key).await?;
        if !view.shows_staged {
            return Err(RegistryError::NotFound);
        }
        let (details, jobs, blocked_by) = (view.details, view.scans, view.blocked_by);
        let is_indexed = package.details.indexed_revision >= package.details.revision;
        Ok(Pipeline {
            version: details.summary.version.clone(),
            status: details.summary.status,
            stages: stages(&details, &jobs, &blocked_by, is_indexed),
            next_action: next_action(&details, &blocked_by),
            blocked_by,
        })
    }
}

fn stages(release: &ReleaseDetails, jobs: &[PipelineJob], blocked_by: &[FindingId], is_indexed: bool) -> Vec<Stage> {
    use StageState::{Blocked, Done, Failed, Running, Waiting};
    let summary = &release.summary;
    let (is_live, is_scanning) = (summary.status.is_live(), summary.status == ReleaseState::Scanning);
    let scanned = release.scans_total > 0 && release.scans_done >= release.scans_total;
    let has_failed = jobs.iter().any(|job| job.state == JobState::Dead);
    let scan = match () {
        () if is_live || scanned => Done,
        () if has_failed => Failed,
        () if is_scanning && release.scans_done > 0 || jobs.iter().any(|job| job.state == JobState::Running) => Running,
        () if is_scanning => Running,
        () => Waiting,
    };
    let policy = match () {
        () if is_live => Done,
        () if !blocked_by.is_empty() => Blocked,
        () => Waiting,
    };
    let bare = |name, state| Stage { name, state, started_at: None, finished_at: None, detail: None, jobs: Vec::new() };
    let artifacts = if summary.artifact_count > 0 { Done } else { Waiting };
    let index = match () {
        () if is_live && is_indexed => Done,
        () if is_live => Running,
        () => Waiting,
    };
    vec![
        Stage {
            started_at: Some(summary.created_at),
            detail: Some(format!("{} files", summary.artifact_count)),
            ..bare("artifacts", artifacts)
        },
        Stage {
            started_at: jobs.iter().filter_map(|job| job.started_at).min(),
            finished_at: if scan == Done { jobs.iter().filter_map(|job| job.finished_at).max() } else { None },
            detail: Some(format!("{} of {} scanned", release.scans_done, release.scans_total)),
            jobs: jobs.iter().map(|job| job.id).collect(),
            ..bare("scan", scan)
        },
        bare("policy", policy),
        Stage { finished_at: summary.published_at, ..bare("publish", if is_live { Done } else { Waiting }) },
        bare("index", index),
    ]
}

/// What somebody has to do for it to go on.
fn next_action(release: &ReleaseDetails, blocked_by: &[FindingId]) -> Option<&'static str> {
    match release.summary.status {
        ReleaseState::Quarantine if !blocked_by.is_empty() => Some("resolve_findings"),
        ReleaseState::Quarantine if release.summary.artifact_count == 0 => Some("upload_artifacts"),
        ReleaseState::Quarantine => Some("publish"),
        _ => None,
    }
}
