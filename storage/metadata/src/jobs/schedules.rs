//! Schedules: which tick was last, so that each happens once however many leaders there are.

use publaryn_core::{JobId, Timestamp, job::JobKind};
use sqlx::FromRow;

use super::{Enqueued, NewJob};
use crate::{Db, DbResult, Sql, Tx};

/// A schedule as stored.
#[derive(Debug, Clone, FromRow)]
pub struct ScheduleRow {
    pub name: String,
    pub cron: String,
    pub kind: String,
    pub is_enabled: bool,
    pub last_tick: Timestamp,
    pub next_run_at: Timestamp,
    pub last_run_at: Option<Timestamp>,
    pub last_job_id: Option<JobId>,
}

impl Tx {
    /// Enters or updates a schedule; a new one counts from `tick` on.
    pub async fn put_schedule(
        &mut self,
        name: &str,
        cron: &str,
        kind: JobKind,
        tick: Timestamp,
        next: Timestamp,
    ) -> DbResult<()> {
        const SQL: &str = "INSERT INTO schedules (name, cron, kind, last_tick, next_run_at) VALUES ($1, $2, $3, $4, $5) \
            ON CONFLICT (name) DO UPDATE SET cron = EXCLUDED.cron, kind = EXCLUDED.kind, next_run_at = EXCLUDED.next_run_at \
            WHERE schedules.cron <> EXCLUDED.cron OR schedules.kind <> EXCLUDED.kind";
        Ok(on_tx!(self, |c| sqlx::query(SQL)
            .bind(name)
            .bind(cron)
            .bind(kind)
            .bind(tick)
            .bind(next)
            .execute(c)
            .await
            .map(drop))?)
    }

    /// Enqueues the run of `tick` unless that tick or a later one has been taken.
    pub async fn take_tick(
        &mut self,
        name: &str,
        job: &NewJob,
        tick: Timestamp,
        next: Timestamp,
    ) -> DbResult<Option<Enqueued>> {
        const TAKE: &str = "UPDATE schedules SET last_tick = $2, next_run_at = $3 \
                            WHERE name = $1 AND is_enabled AND last_tick < $2";
        let taken = on_tx!(self, |c| sqlx::query(TAKE)
            .bind(name)
            .bind(tick)
            .bind(next)
            .execute(c)
            .await
            .map(|r| r.rows_affected()))?;
        if taken == 0 {
            return Ok(None);
        }
        Ok(Some(self.run_schedule(name, job).await?))
    }

    /// Enqueues a run now, outside the order of ticks.
    pub async fn run_schedule(&mut self, name: &str, job: &NewJob) -> DbResult<Enqueued> {
        const RAN: Sql = dual!("UPDATE schedules SET last_run_at = " NOW ", last_job_id = $2 WHERE name = $1");
        let enqueued = self.enqueue(job).await?;
        let sql = RAN.on(self.engine());
        on_tx!(self, |c| sqlx::query(sql).bind(name).bind(enqueued.id).execute(c).await.map(drop))?;
        Ok(enqueued)
    }
}

impl Db {
    pub async fn schedules(&self) -> DbResult<Vec<ScheduleRow>> {
        const SQL: &str = "SELECT name, cron, kind, is_enabled, last_tick, next_run_at, last_run_at, last_job_id \
                           FROM schedules ORDER BY name";
        Ok(on_db!(self, |c| sqlx::query_as(SQL).fetch_all(c).await)?)
    }
}
