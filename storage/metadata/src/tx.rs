//! Transactions: whatever must be true together.

use publaryn_core::{ArtifactId, Ecosystem, PackageId, ReleaseId, Timestamp, audit::AuditEntry};
use smol_str::SmolStr;
use sqlx::{Postgres, Transaction};

use crate::{Db, DbError, DbResult, Engine, db::Backend, sqlite_writer::SqliteTx};

/// An open transaction. Dropping it undoes everything.
///
/// On SQLite it rides on a shared commit (see `sqlite_writer`), so never await anything slow
/// while holding one.
pub struct Tx {
    db: Db,
    connection: Connection,
    notice: CommitNotice,
}

pub(crate) enum Connection {
    Sqlite(SqliteTx),
    Postgres(Box<Transaction<'static, Postgres>>),
}

/// What a commit changed; handed to the hooks of [`Db::on_commit`].
#[derive(Debug, Clone, Default)]
pub struct CommitNotice {
    pub packages: Vec<PackageTouched>,
    /// Releases whose state changed; publishers may be waiting for them.
    pub releases: Vec<ReleaseId>,
    /// Files with a quarantine of their own that left it.
    pub artifacts: Vec<ArtifactId>,
    /// Kinds of which jobs became runnable.
    pub job_kinds: Vec<SmolStr>,
    /// Tokens, sessions or accounts whose validity changed.
    pub credentials: bool,
}

/// A package whose revision, visibility or existence changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageTouched {
    pub id: PackageId,
    pub ecosystem: Ecosystem,
    pub normalized_name: SmolStr,
}

impl CommitNotice {
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
            && self.releases.is_empty()
            && self.artifacts.is_empty()
            && self.job_kinds.is_empty()
            && !self.credentials
    }
}

impl Db {
    /// Begins a transaction.
    ///
    /// # Errors
    /// `Unavailable` when no connection came free within the acquire timeout.
    pub async fn begin(&self) -> DbResult<Tx> {
        let asked = std::time::Instant::now();
        let connection = match self.backend() {
            Backend::Sqlite { writer, .. } => Connection::Sqlite(writer.begin().await?),
            Backend::Postgres(pool) => Connection::Postgres(Box::new(pool.begin().await?)),
        };
        metrics::histogram!("publaryn_db_acquire_seconds").record(asked.elapsed());
        Ok(Tx { db: self.clone(), connection, notice: CommitNotice::default() })
    }
}

impl Tx {
    pub fn engine(&self) -> Engine {
        self.db.engine()
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// What this transaction will announce once it is committed.
    pub fn notice(&mut self) -> &mut CommitNotice {
        &mut self.notice
    }

    /// Runs a statement for at most `limit` (`$2`) rows older than `before` (`$1`); returns how many it hit.
    pub(crate) async fn up_to(&mut self, limit: i64, before: Timestamp, sql: &'static str) -> DbResult<u64> {
        Ok(on_tx!(self, |c| sqlx::query(sql)
            .bind(before)
            .bind(limit)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?)
    }

    /// Commits, with the audit entry of the change: the only way for a caller's change to last.
    pub async fn commit_audited(mut self, entry: &AuditEntry, now: Timestamp) -> DbResult<()> {
        self.append_audit(entry, now).await?;
        self.commit().await
    }

    /// Commits work that is nobody's change: queue upkeep, counters, sessions' last use.
    ///
    /// Runs to its end even when the caller goes away, so that a commit and its hooks are one.
    pub async fn commit(self) -> DbResult<()> {
        let Self { db, connection, notice } = self;
        match connection {
            Connection::Sqlite(tx) => {
                let hooks = db.clone();
                tx.commit(Box::new(move || hooks.committed(&notice))).await
            }
            Connection::Postgres(tx) => tokio::spawn(async move {
                tx.commit().await?;
                db.committed(&notice);
                Ok(())
            })
            .await
            .map_err(|e| DbError::CommitFailed(e.to_string()))?,
        }
    }

    pub async fn rollback(self) -> DbResult<()> {
        match self.connection {
            Connection::Sqlite(tx) => tx.rollback().await,
            Connection::Postgres(tx) => Ok(tx.rollback().await?),
        }
    }
}
