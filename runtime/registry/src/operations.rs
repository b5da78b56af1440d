//! What operators see and do: the audit log, the queue, upkeep, and the instance in numbers
//! (control-plane.md §11–§12, jobs.md §5).

use std::{sync::Arc, time::Duration};

use publaryn_core::{
    JobId, Operation, OrgId, PackageId, Principal, RegistryError, Timestamp,
    audit::{AuditAction, AuditEntry, ClientOrigin},
    job::{JobKind, JobState},
};
use publaryn_gc::CleanupBlobs;
use publaryn_metadata::{
    audit_log::{AuditFilter, AuditPosition, AuditRow},
    jobs::{Enqueued, JobFilter, JobPage, JobSummary, JobView, NewJob, Page},
    statistics::Statistics,
};
use publaryn_reindex::ReindexSearch;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Registry;

/// How old the numbers of the instance may be (control-plane.md §12).
const NUMBERS_LIVE: Duration = Duration::from_secs(5);

/// The last count, and when it was made.
pub(crate) type LastNumbers = Arc<Mutex<Option<(Instant, Statistics)>>>;

/// A step through the audit log.
#[derive(Debug, Clone)]
pub struct AuditStep {
    pub entries: Vec<AuditRow>,
    /// `None` when there are too many to be counted, and where nothing is counted.
    pub total: Option<i64>,
    /// Where the next step begins, if there is one.
    pub next: Option<AuditPosition>,
}

/// How many entries, and from where.
#[derive(Debug, Clone, Copy)]
pub struct AuditSlice {
    pub limit: u32,
    pub from: AuditStart,
}

/// Where a step through the audit log begins.
#[derive(Debug, Clone, Copy)]
pub enum AuditStart {
    /// With the newest entry; nothing is counted.
    Newest,
    /// After this many newer entries; the total is counted.
    Offset(u64),
    Behind(AuditPosition),
}

/// Proof that the caller may read an audit log: the platform's, or that of one organization.
#[derive(Debug, Clone, Copy)]
pub struct AuditedLog {
    org: Option<OrgId>,
}

/// Which jobs an operator looks for.
#[derive(Debug, Clone, Default)]
pub struct JobQuestion {
    pub state: Option<JobState>,
    pub kind: Option<JobKind>,
    pub is_stale: bool,
    /// A package, release or artifact; also finds the jobs about what lies in it.
    pub target: Option<Uuid>,
}

/// What a retry led to.
#[derive(Debug, Clone)]
pub enum Retry {
    Done(Box<JobView>),
    /// Its state does not allow it.
    Refused(JobState),
}

impl Registry {
    /// The platform's audit log, for whoever may read it.
    pub fn audited_platform(&self, who: &Principal) -> Result<AuditedLog, RegistryError> {
        self.decide_platform(who, Operation::PlatformRead)?;
        Ok(AuditedLog { org: None })
    }

    /// The log of the organization of that name, for whoever may read it: what was done to it, and to packages while
    /// they were its own.
    ///
    /// # Errors
    /// `NotFound`; `Denied` for everybody but its owners, admins and auditors.
    pub async fn audited_organization(&self, who: &Principal, slug: &str) -> Result<AuditedLog, RegistryError> {
        let org = self.organization_for(who, slug, Operation::ReadOrgAudit).await?;
        Ok(AuditedLog { org: Some(org.id) })
    }

    /// A step through an audit log, newest first.
    pub async fn audit_log(
        &self,
        log: AuditedLog,
        filter: &AuditFilter,
        slice: AuditSlice,
    ) -> Result<AuditStep, RegistryError> {
        let filter = &AuditFilter { target_org: log.org.or(filter.target_org), ..filter.clone() };
        let (behind, offset) = match slice.from {
            AuditStart::Newest => (None, 0),
            AuditStart::Offset(offset) => (None, i64::try_from(offset).unwrap_or(i64::MAX)),
            AuditStart::Behind(position) => (Some(position), 0),
        };
        let wanted = slice.limit as usize;
        let mut entries = self.0.db.audit_entries(filter, behind, offset, i64::from(slice.limit) + 1).await?;
        let has_next = entries.len() > wanted;
        entries.truncate(wanted);
        let next = if has_next { entries.last().map(AuditRow::position) } else { None };
        let total = match slice.from {
            AuditStart::Offset(_) => self.0.db.audit_total(filter).await?,
            AuditStart::Newest | AuditStart::Behind(_) => None,
        };
        Ok(AuditStep { entries, total, next })
    }

    /// Notes that somebody takes a copy of what an organization's audit log holds; `view` says which one of it.
    pub async fn note_audit_export(
        &self,
        who: &Principal,
        log: AuditedLog,
        view: &'static str,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        let entry = AuditEntry::by(who, AuditAction::OrgAuditExport).org(log.org).with("log", view).from_client(origin);
        let tx = self.0.db.begin().await?;
        Ok(tx.commit_audited(&entry, Timestamp::now()).await?)
    }

    /// A page of jobs, and the whole queue in numbers.
    pub async fn jobs(
        &self,
        who: &Principal,
        question: JobQuestion,
        page: &Page,
    ) -> Result<(JobPage, JobSummary), RegistryError> {
        self.decide_platform(who, Operation::PlatformRead)?;
        let targets = match question.target {
            Some(target) => self.0.db.job_targets(target).await?,
            None => Vec::new(),
        };
        let filter = JobFilter { state: question.state, kind: question.kind, stale: question.is_stale, targets };
        let timeout = self.0.settings.node_timeout;
        Ok((self.0.db.jobs(&filter, page, timeout).await?, self.0.db.job_summary(timeout).await?))
    }

    /// One job with its attempts.
    pub async fn job(&self, who: &Principal, id: JobId) -> Result<JobView, RegistryError> {
        self.decide_platform(who, Operation::PlatformRead)?;
        self.0.db.job(id, self.0.settings.node_timeout).await?.ok_or(RegistryError::NotFound)
    }

    /// Runs a failed or dead job again now.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn retry_job(&self, who: &Principal, id: JobId, origin: &ClientOrigin) -> Result<Retry, RegistryError> {
        self.decide_platform(who, Operation::PlatformWrite)?;
        let mut tx = self.0.db.begin().await?;
        let Some(before) = tx.retry_job(id).await? else {
            tx.rollback().await?;
            let job = self.0.db.job(id, self.0.settings.node_timeout).await?.ok_or(RegistryError::NotFound)?;
            return Ok(Retry::Refused(job.status));
        };
        let entry = AuditEntry::by(who, AuditAction::AdminJobRetry)
            .with("job_id", id.to_string())
            .with("kind", before.kind.as_str())
            .with("previous_status", before.previous_state.as_str())
            .with("previous_attempts", before.previous_attempts)
            .with("last_error", before.last_error)
            .from_client(origin);
        tx.commit_audited(&entry, Timestamp::now()).await?;
        let mut job = self.0.db.job(id, self.0.settings.node_timeout).await?.ok_or(RegistryError::NotFound)?;
        job.details = None;
        Ok(Retry::Done(Box::new(job)))
    }

    /// Runs failed or dead jobs again now, longest waiting first; returns how many.
    pub async fn retry_jobs(
        &self,
        who: &Principal,
        state: JobState,
        kind: Option<JobKind>,
        limit: i64,
        origin: &ClientOrigin,
    ) -> Result<u64, RegistryError> {
        self.decide_platform(who, Operation::PlatformWrite)?;
        let mut tx = self.0.db.begin().await?;
        let retried = tx.retry_jobs(state, kind, limit).await?;
        let entry = AuditEntry::by(who, AuditAction::AdminJobRetry)
            .with("bulk", true)
            .with("previous_status", state.as_str())
            .with("kind", kind.map(JobKind::as_str))
            .with("retried_count", retried)
            .from_client(origin);
        tx.commit_audited(&entry, Timestamp::now()).await?;
        Ok(retried)
    }

    /// Gives every stale running job back to the queue; returns how many. Live leases are left alone.
    pub async fn recover_stale_jobs(&self, who: &Principal, origin: &ClientOrigin) -> Result<usize, RegistryError> {
        self.decide_platform(who, Operation::PlatformWrite)?;
        let mut tx = self.0.db.begin().await?;
        let recovered = tx.recover_stale_jobs(self.0.settings.node_timeout).await?.len();
        let entry = AuditEntry::by(who, AuditAction::AdminJobsRecoverStale)
            .with("recovered_count", recovered)
            .from_client(origin);
        tx.commit_audited(&entry, Timestamp::now()).await?;
        metrics::counter!("publaryn_jobs_recovered_total", "cause" => "operator").increment(recovered as u64);
        Ok(recovered)
    }

    /// Has the search index written anew, for one package or for all.
    ///
    /// # Errors
    /// `NotFound` for a package that does not exist.
    pub async fn reindex_search(
        &self,
        who: &Principal,
        package: Option<PackageId>,
        origin: &ClientOrigin,
    ) -> Result<JobId, RegistryError> {
        self.decide_platform(who, Operation::PlatformWrite)?;
        if let Some(package) = package
            && !self.0.db.has_package(package).await?
        {
            return Err(RegistryError::NotFound);
        }
        let mut entry = AuditEntry::by(who, AuditAction::AdminSearchReindex);
        entry.target_package = package;
        self.enqueue_asked(who, ReindexSearch::job(package), entry.from_client(origin)).await
    }

    /// Has unreferenced blobs collected, or counted only.
    pub async fn collect_garbage(
        &self,
        who: &Principal,
        dry_run: bool,
        origin: &ClientOrigin,
    ) -> Result<JobId, RegistryError> {
        self.decide_platform(who, Operation::PlatformWrite)?;
        let entry = AuditEntry::by(who, AuditAction::AdminGc).with("dry_run", dry_run).from_client(origin);
        self.enqueue_asked(who, CleanupBlobs::asked_for(dry_run), entry).await
    }

    async fn enqueue_asked(&self, who: &Principal, job: NewJob, entry: AuditEntry) -> Result<JobId, RegistryError> {
        let by = who.user().map(|user| user.username.to_string());
        let mut tx = self.0.db.begin().await?;
        let Enqueued { id, inserted } = tx.enqueue(&job.by(by, None)).await?;
        let entry = entry.with("job_id", id.to_string()).with("inserted", inserted);
        tx.commit_audited(&entry, Timestamp::now()).await?;
        Ok(id)
    }

    /// The instance in numbers, up to five seconds old; counted once however many ask.
    pub async fn statistics(&self) -> Result<Statistics, RegistryError> {
        let mut last = self.0.numbers.lock().await;
        if let Some((at, numbers)) = &*last
            && at.elapsed() < NUMBERS_LIVE
        {
            return Ok(*numbers);
        }
        let numbers = self.0.db.statistics().await?;
        *last = Some((Instant::now(), numbers));
        Ok(numbers)
    }
}
