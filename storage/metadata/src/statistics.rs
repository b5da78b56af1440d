//! The instance in numbers (control-plane.md §12).

use publaryn_core::{PackageId, job::JobState};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{Db, DbResult};

/// `GET /v1/stats`, but for the queue, which has counters of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Of effective visibility `public`.
    pub packages: i64,
    /// Live ones of those.
    pub releases: i64,
    pub organizations: i64,
    pub findings: i64,
    pub unresolved_findings: i64,
    pub artifacts: i64,
    /// Jobs in the state `pending`.
    pub pending_jobs: i64,
}

#[derive(FromRow)]
struct Counted {
    packages: i64,
    releases: i64,
    organizations: i64,
    findings: i64,
    unresolved_findings: i64,
    artifacts: i64,
}

impl Db {
    /// Counts; reads whole tables, so ask seldom.
    pub async fn statistics(&self) -> DbResult<Statistics> {
        const SQL: &str = "WITH open AS (SELECT p.id FROM packages p JOIN repositories r ON r.id = p.repository_id \
             WHERE p.visibility = 'public' AND r.visibility = 'public' AND NOT p.is_quarantined \
             AND p.deleted_at IS NULL) \
             SELECT (SELECT CAST(COUNT(*) AS BIGINT) FROM open) AS packages, \
             (SELECT CAST(COUNT(*) AS BIGINT) FROM releases l JOIN open ON open.id = l.package_id \
              WHERE l.status IN ('published', 'deprecated', 'yanked')) AS releases, \
             (SELECT CAST(COUNT(*) AS BIGINT) FROM organizations) AS organizations, \
             (SELECT CAST(COUNT(*) AS BIGINT) FROM findings) AS findings, \
             (SELECT CAST(COUNT(*) AS BIGINT) FROM findings WHERE resolved_at IS NULL) AS unresolved_findings, \
             (SELECT CAST(COUNT(*) AS BIGINT) FROM artifacts) AS artifacts";
        let counted: Counted = on_db!(self, |c| sqlx::query_as(SQL).fetch_one(c).await)?;
        let jobs = self.job_counts().await?;
        Ok(Statistics {
            packages: counted.packages,
            releases: counted.releases,
            organizations: counted.organizations,
            findings: counted.findings,
            unresolved_findings: counted.unresolved_findings,
            artifacts: counted.artifacts,
            pending_jobs: jobs.in_state(JobState::Pending),
        })
    }

    /// What jobs about a package, release or artifact name in their payload: it, and what lies in it.
    pub async fn job_targets(&self, id: Uuid) -> DbResult<Vec<Uuid>> {
        const SQL: &str = "SELECT id FROM releases WHERE package_id = $1 \
             UNION ALL SELECT a.id FROM artifacts a JOIN releases r ON r.id = a.release_id \
             WHERE r.package_id = $1 OR a.release_id = $1 LIMIT 10000";
        let mut all: Vec<Uuid> = on_db!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_all(c).await)?;
        all.push(id);
        Ok(all)
    }

    /// Whether there is such a package, unpublished ones included.
    pub async fn has_package(&self, id: PackageId) -> DbResult<bool> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM packages WHERE id = $1)";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_one(c).await)?)
    }
}
