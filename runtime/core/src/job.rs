//! The kinds of background jobs and their defaults as data (jobs.md §2, §3).

use std::time::Duration;

text_enum! {
    /// What a job does.
    pub enum JobKind {
        ScanArtifact = "scan_artifact",
        FinalizeRelease = "finalize_release",
        IndexPackage = "index_package",
        ReindexSearch = "reindex_search",
        CleanupOciBlobs = "cleanup_oci_blobs",
        CleanupBlobs = "cleanup_blobs",
        CleanupExpiredTokens = "cleanup_expired_tokens",
        PruneJobs = "prune_jobs",
        FlushDownloads = "flush_downloads",
        AnalyzeRelease = "analyze_release",
        ReconcileReleases = "reconcile_releases",
        VerifyBlobs = "verify_blobs",
        /// Nothing enqueues it in 1.x; accepted as a filter value.
        DeliverWebhook = "deliver_webhook",
    }
}

/// How many jobs of a kind run at once in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as the process has for all kinds (`jobs.concurrency`).
    Cpu,
    Fixed(u32),
}

/// The defaults of one kind; `jobs.kinds.<kind>.*` overrides some.
#[derive(Debug, Clone, Copy)]
pub struct JobDefaults {
    /// 0 (first) to 9.
    pub priority: i64,
    pub concurrency: Concurrency,
    pub max_attempts: i64,
    /// Limit of one attempt.
    pub timeout: Duration,
    /// A running job still occupies its unique key; else a new one may wait behind it.
    pub keeps_key_while_running: bool,
}

impl JobKind {
    /// The table of jobs.md §2.
    pub const fn defaults(self) -> JobDefaults {
        use Concurrency::{Cpu, Fixed};
        use JobKind::*;
        let (priority, concurrency, max_attempts, seconds, keeps_key_while_running) = match self {
            ScanArtifact => (1, Cpu, 5, 600, true),
            FinalizeRelease => (0, Fixed(8), 10, 60, false),
            IndexPackage => (2, Fixed(8), 10, 60, false),
            ReindexSearch => (5, Fixed(1), 5, 3600, true),
            CleanupOciBlobs => (6, Fixed(1), 5, 3600, true),
            CleanupBlobs => (6, Fixed(1), 5, 3600, true),
            CleanupExpiredTokens => (7, Fixed(1), 5, 300, true),
            PruneJobs => (8, Fixed(1), 5, 300, true),
            FlushDownloads => (4, Fixed(1), 10, 60, true),
            AnalyzeRelease => (6, Fixed(2), 3, 300, false),
            ReconcileReleases => (3, Fixed(1), 5, 60, true),
            VerifyBlobs => (9, Fixed(1), 3, 3600, true),
            DeliverWebhook => (5, Fixed(1), 5, 60, false),
        };
        let timeout = Duration::from_secs(seconds);
        JobDefaults { priority, concurrency, max_attempts, timeout, keeps_key_while_running }
    }
}

text_enum! {
    /// Where a job stands (jobs.md §3).
    pub enum JobState {
        Pending = "pending",
        Running = "running",
        Completed = "completed",
        /// The last attempt failed; it runs again by itself.
        Failed = "failed",
        /// It will not run again by itself.
        Dead = "dead",
    }
}

impl JobState {
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Dead)
    }
    /// An operator may run it again now.
    pub const fn can_retry(self) -> bool {
        matches!(self, Self::Failed | Self::Dead)
    }
}

text_enum! {
    /// Why a job is dead.
    pub enum DeadReason {
        AttemptsExhausted = "attempts_exhausted",
        Permanent = "permanent",
        Cancelled = "cancelled",
        /// It took its worker or node down three times.
        CrashLoop = "crash_loop",
    }
}
