//! The supervised pool of scanner processes: warm, limited, replaced when they misbehave.
//!
//! Owns the child processes; at most `workers` jobs run at once and callers wait in order of arrival (the job queue
//! in the database is what bounds them). A crash, a timeout or a limit costs the job at hand, which fails with
//! [`ScanFailure`] and is the caller's to retry; the process is replaced. Dropping a `scan` future kills its process.

mod failure;
mod process;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use publaryn_core::BoxError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::failure::ScanFailure;
use self::process::Process;
use crate::{
    run::{ScanReport, Scanners, ruleset, run},
    scanner::ScanJob,
    spool::Spool,
};

/// Where scanners run.
pub enum ScanMode {
    /// In child processes started as `<exe> scan-worker`; the program calls [`crate::child::main`] there.
    Child { exe: PathBuf, workers: usize },
    /// In this process, without any isolation. For tests only.
    InProcess { scanners: Scanners },
}

/// What one job may use (scanning.md §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanLimits {
    /// Wall time from the last byte sent to the answer; also the longest pause while bytes are sent.
    pub timeout: Duration,
    /// CPU time, in whole seconds.
    pub cpu_seconds: u64,
    /// Address space of a child.
    pub memory_bytes: u64,
    /// A child is replaced after this many artifacts, so that nothing hostile stays in memory for long.
    pub recycle_after: u32,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), cpu_seconds: 45, memory_bytes: 512 << 20, recycle_after: 500 }
    }
}

/// What the pool reports about itself; counters since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStats {
    pub idle: usize,
    pub busy: usize,
    pub scanned: u64,
    pub failed: u64,
    /// Processes that ended: recycled, crashed, killed or found dead.
    pub replaced: u64,
}

/// A handle to the pool; clones share it. The processes end when the last clone is dropped.
#[derive(Clone)]
pub struct ScannerPool(Arc<Pool>);

struct Pool {
    mode: ScanMode,
    limits: ScanLimits,
    slots: Arc<Semaphore>,
    workers: usize,
    /// Invariant: never more than there are free slots, as a permit holder returns at most what it took.
    idle: Mutex<Vec<Process>>,
    scanned: AtomicU64,
    failed: AtomicU64,
    replaced: AtomicU64,
}

impl ScannerPool {
    /// Makes a pool; processes start with [`warm`](Self::warm) or the first jobs.
    pub fn new(mode: ScanMode, limits: ScanLimits) -> Self {
        let workers = match &mode {
            ScanMode::Child { workers, .. } => (*workers).max(1),
            ScanMode::InProcess { .. } => 2,
        };
        Self(Arc::new(Pool {
            mode,
            limits,
            slots: Arc::new(Semaphore::new(workers)),
            workers,
            idle: Mutex::new(Vec::new()),
            scanned: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
        }))
    }

    /// Starts every process now, so that the first publish does not wait for it.
    ///
    /// # Errors
    /// [`ScanFailure::Unavailable`] if one cannot be started; the pool stays usable.
    pub async fn warm(&self) -> Result<(), ScanFailure> {
        let pool = &self.0;
        let ScanMode::Child { exe, .. } = &pool.mode else { return Ok(()) };
        // All slots at once: no running job may return a process while these are counted.
        let all = pool.slots.acquire_many(pool.workers as u32).await.map_err(|_| ScanFailure::Closed)?;
        while pool.lock_idle().len() < pool.workers {
            let process = Process::start(exe, &pool.limits).await?;
            pool.lock_idle().push(process);
        }
        drop(all);
        Ok(())
    }

    /// The digest of the scanners that would judge an artifact now; see [`crate::run::ruleset`].
    ///
    /// # Errors
    /// [`ScanFailure::Unavailable`] if no process can be started to ask.
    pub async fn ruleset(&self) -> Result<String, ScanFailure> {
        match &self.0.mode {
            ScanMode::InProcess { scanners } => Ok(ruleset(scanners)),
            ScanMode::Child { exe, .. } => {
                let permit = self.0.permit().await?;
                let process = self.0.take(exe).await?;
                let ruleset = process.ruleset().to_owned();
                self.0.lock_idle().push(process);
                drop(permit);
                Ok(ruleset)
            }
        }
    }

    /// Scans one artifact; its bytes are read only once a process is free.
    ///
    /// # Errors
    /// [`ScanFailure`]: nothing is known about the artifact then, and it must not be exposed.
    #[tracing::instrument(skip_all, fields(ecosystem = %job.ecosystem, package.name = %job.package,
        release.version = %job.version, size_bytes = job.artifact.size_bytes))]
    pub async fn scan<S, E>(&self, job: ScanJob, bytes: S) -> Result<ScanReport, ScanFailure>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<BoxError>,
    {
        let pool = &self.0;
        let permit = pool.permit().await?;
        let bytes = std::pin::pin!(bytes.map(|chunk| chunk.map_err(Into::into)));
        let result = match &pool.mode {
            ScanMode::Child { exe, .. } => pool.scan_in_child(exe, &job, bytes, permit).await,
            ScanMode::InProcess { .. } => pool.clone().scan_in_process(job, bytes).await,
        };
        match &result {
            Ok(report) => {
                pool.scanned.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(findings = report.findings.len(), "artifact scanned");
            }
            Err(failure) => {
                pool.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(error = %failure, "artifact could not be scanned");
            }
        }
        result
    }

    /// Refuses new jobs and ends idle processes; running jobs finish first.
    pub async fn close(&self) {
        // Taking every slot is waiting for the running jobs.
        let all = self.0.slots.acquire_many(self.0.workers as u32).await;
        self.0.slots.close();
        drop(all);
        let idle = std::mem::take(&mut *self.0.lock_idle());
        for process in idle {
            process.stop().await;
        }
    }

    pub fn stats(&self) -> PoolStats {
        let pool = &self.0;
        PoolStats {
            idle: pool.lock_idle().len(),
            busy: pool.workers.saturating_sub(pool.slots.available_permits()),
            scanned: pool.scanned.load(Ordering::Relaxed),
            failed: pool.failed.load(Ordering::Relaxed),
            replaced: pool.replaced.load(Ordering::Relaxed),
        }
    }
}

impl Pool {
    async fn permit(&self) -> Result<OwnedSemaphorePermit, ScanFailure> {
        self.slots.clone().acquire_owned().await.map_err(|_| ScanFailure::Closed)
    }

    async fn scan_in_child(
        self: &Arc<Self>,
        exe: &Path,
        job: &ScanJob,
        bytes: impl Stream<Item = Result<Bytes, BoxError>> + Send + Unpin,
        permit: OwnedSemaphorePermit,
    ) -> Result<ScanReport, ScanFailure> {
        let mut process = self.take(exe).await?;
        let result = process.scan(job, bytes).await;
        if process.is_reusable() && process.served() < self.limits.recycle_after {
            self.lock_idle().push(process);
        } else {
            self.replaced.fetch_add(1, Ordering::Relaxed);
            let pool = self.clone();
            // Behind the caller's back, so that neither this publish nor the next one waits for a process start.
            tokio::spawn(async move { pool.replace(process, permit).await });
        }
        result
    }

    /// An idle process that still lives, or a new one.
    async fn take(&self, exe: &Path) -> Result<Process, ScanFailure> {
        loop {
            let idle = self.lock_idle().pop();
            let Some(mut process) = idle else { return Process::start(exe, &self.limits).await };
            if process.is_alive() {
                return Ok(process);
            }
            self.replaced.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("an idle scanner process had ended");
        }
    }

    /// Ends a process and puts a fresh one in its place; the slot stays taken meanwhile.
    async fn replace(&self, old: Process, permit: OwnedSemaphorePermit) {
        old.stop().await;
        if let ScanMode::Child { exe, .. } = &self.mode {
            match Process::start(exe, &self.limits).await {
                Ok(process) => self.lock_idle().push(process),
                Err(failure) => tracing::error!(error = %failure, "a scanner process could not be replaced"),
            }
        }
        drop(permit);
    }

    async fn scan_in_process(
        self: Arc<Self>,
        job: ScanJob,
        mut bytes: impl Stream<Item = Result<Bytes, BoxError>> + Send + Unpin,
    ) -> Result<ScanReport, ScanFailure> {
        let mut spool = Spool::new();
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(ScanFailure::Input)?;
            spool.push(&chunk).map_err(|e| ScanFailure::Spool(e.to_string()))?;
        }
        let input = spool.finish(&job.artifact).ok_or(ScanFailure::WrongBytes)?;
        let timeout = self.limits.timeout;
        let scan = tokio::task::spawn_blocking(move || match &self.mode {
            ScanMode::InProcess { scanners } => run(scanners, &job, &input).map_err(ScanFailure::Scanner),
            ScanMode::Child { .. } => Err(ScanFailure::Protocol("not an in-process pool")),
        });
        match tokio::time::timeout(timeout, scan).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(ScanFailure::Crashed(panic.to_string())),
            Err(_) => Err(ScanFailure::TimedOut),
        }
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        // Only pushes and pops happen under the lock: a poisoned list is still whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
