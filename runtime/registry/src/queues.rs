//! The job engine as operators see and steer it: queues, schedules, nodes (jobs.md §5).

use publaryn_core::{
    JobId, Operation, Principal, RegistryError, Timestamp,
    audit::{AuditAction, AuditEntry, ClientOrigin},
    job::JobKind,
};
use publaryn_jobs::{Jobs, QueueView};
use publaryn_metadata::jobs::{CancelOutcome, Enqueued, JobSummary, JobView, Leader, NodeRow, ScheduleRow};

use crate::Registry;

/// What a cancellation led to.
#[derive(Debug, Clone)]
pub enum Cancelled {
    /// It was waiting and is dead now.
    Done(Box<JobView>),
    /// It runs and was told to stop.
    Stopping(Box<JobView>),
    /// It had ended already.
    Refused(Box<JobView>),
}

impl Registry {
    /// The engine of this process; it starts after the registry.
    pub(crate) fn jobs_engine(&self) -> Result<&Jobs, RegistryError> {
        let scanner = self.0.scan_ahead.get();
        scanner.map(|scanner| &scanner.jobs).ok_or_else(|| RegistryError::unavailable("jobs", "the engine starts"))
    }

    /// Every kind of job over all nodes; the concurrency is this node's.
    pub async fn queues(&self, who: &Principal) -> Result<Vec<QueueView>, RegistryError> {
        self.decide_platform(who, Operation::PlatformRead)?;
        Ok(self.jobs_engine()?.queues().await?)
    }

    /// Stops or resumes the claiming of a kind on every node; what is so already is not recorded.
    pub async fn pause_queue(
        &self,
        who: &Principal,
        kind: JobKind,
        pause: bool,
        origin: &ClientOrigin,
    ) -> Result<(), RegistryError> {
        self.decide_platform(who, Operation::PlatformWrite)?;
        let mut tx = self.0.db.begin().await?;
        let by = who.user().map(|user| user.username.as_str());
        let has_changed = if pause { tx.pause_queue(kind, by).await? } else { tx.resume_queue(kind).await? };
        if !has_changed {
            return Ok(tx.rollback().await?);
        }
        let action = if pause { AuditAction::AdminQueuePause } else { AuditAction::AdminQueueResume };
        let entry = AuditEntry::by(who, action).with("kind", kind.as_str()).from_client(origin);
        Ok(tx.commit_audited(&entry, Timestamp::now()).await?)
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cancel_job(
        &self,
        who: &Principal,
        id: JobId,
        origin: &ClientOrigin,
    ) -> Result<Cancelled, RegistryError> {
        self.decide_platform(who, Operation::PlatformWrite)?;
        let mut tx = self.0.db.begin().await?;
        let outcome = tx.cancel_job(id).await?;
        match outcome {
            CancelOutcome::NotFound => return Err(RegistryError::NotFound),
            CancelOutcome::Finished => tx.rollback().await?,
            CancelOutcome::Cancelled | CancelOutcome::Stopping => {
                let entry =
                    AuditEntry::by(who, AuditAction::AdminJobCancel).with("job_id", id.to_string()).from_client(origin);
                tx.commit_audited(&entry, Timestamp::now()).await?;
            }
        }
        let mut job = self.0.db.job(id, self.0.settings.node_timeout).await?.ok_or(RegistryError::NotFound)?;
        job.details = None;
        let job = Box::new(job);
        Ok(match outcome {
            CancelOutcome::Cancelled => Cancelled::Done(job),
            CancelOutcome::Stopping => Cancelled::Stopping(job),
            _ => Cancelled::Refused(job),
        })
    }

    /// The schedules, and the node that sees to them.
    pub async fn schedules(&self, who: &Principal) -> Result<(Option<Leader>, Vec<ScheduleRow>), RegistryError> {
        self.decide_platform(who, Operation::PlatformRead)?;
        Ok((self.0.db.leader().await?, self.0.db.schedules().await?))
    }

    /// Enqueues the job of a schedule now.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn run_schedule(
        &self,
        who: &Principal,
        name: &str,
        origin: &ClientOrigin,
    ) -> Result<Enqueued, RegistryError> {
        self.decide_platform(who, Operation::PlatformWrite)?;
        let mut tx = self.0.db.begin().await?;
        let enqueued = self.jobs_engine()?.run_schedule(name, &mut tx).await?.ok_or(RegistryError::NotFound)?;
        let entry = AuditEntry::by(who, AuditAction::AdminScheduleRun)
            .with("schedule", name)
            .with("job_id", enqueued.id.to_string())
            .with("inserted", enqueued.inserted)
            .from_client(origin);
        tx.commit_audited(&entry, Timestamp::now()).await?;
        Ok(enqueued)
    }

    /// Every known node.
    pub async fn nodes(&self, who: &Principal) -> Result<Vec<NodeRow>, RegistryError> {
        self.decide_platform(who, Operation::PlatformRead)?;
        Ok(self.0.db.nodes(self.0.settings.node_timeout).await?)
    }

    /// The whole queue in numbers, for event streams; their opening was decided about.
    pub async fn queue_overview(&self) -> Result<(JobSummary, Vec<QueueView>, Vec<NodeRow>), RegistryError> {
        let timeout = self.0.settings.node_timeout;
        let queues = self.jobs_engine()?.queues().await?;
        Ok((self.0.db.job_summary(timeout).await?, queues, self.0.db.nodes(timeout).await?))
    }

    /// Whether this process stops taking work.
    pub fn is_draining(&self) -> bool {
        self.jobs_engine().is_ok_and(Jobs::is_draining)
    }

    /// Name and incarnation of the node that answers.
    pub fn own_node(&self) -> Result<(String, i64), RegistryError> {
        let jobs = self.jobs_engine()?;
        Ok((jobs.node_id().to_owned(), jobs.incarnation()))
    }
}
