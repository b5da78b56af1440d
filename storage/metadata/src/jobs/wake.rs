//! Waking other nodes: PostgreSQL notifications, outside the transactions that enqueue.

use sqlx::postgres::PgListener;

use crate::{Db, DbResult, db::Backend};

const CHANNEL: &str = "publaryn_jobs";

/// Wake-ups from all nodes, this one included. Survives the loss of its connection.
pub struct JobWakeups(PgListener);

impl JobWakeups {
    /// The kinds that became runnable somewhere; empty when some wake-ups may have been lost.
    pub async fn next(&mut self) -> DbResult<Vec<String>> {
        let Some(notification) = self.0.try_recv().await? else { return Ok(Vec::new()) };
        Ok(notification.payload().split(',').map(str::to_owned).collect())
    }
}

impl Db {
    /// Listens for wake-ups; `None` on SQLite, where there is only one node.
    pub async fn job_wakeups(&self) -> DbResult<Option<JobWakeups>> {
        let Backend::Postgres(_) = self.backend() else { return Ok(None) };
        let mut listener = PgListener::connect(self.url()).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(JobWakeups(listener)))
    }

    /// Tells other nodes that jobs of `kinds` became runnable. Does nothing on SQLite.
    pub async fn announce_jobs(&self, kinds: &[String]) -> DbResult<()> {
        if let Backend::Postgres(pool) = self.backend() {
            sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(kinds.join(",")).execute(pool).await?;
        }
        Ok(())
    }
}
