//! Schema migrations: two folders with the same numbers, embedded in the binary.

use sqlx::migrate::{Migrate, Migrator};

use crate::{Db, DbError, DbResult, Sql, db::Backend};

static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");

/// How far a database is behind this binary.
#[derive(Debug, Clone, Default)]
pub struct MigrationStatus {
    /// Applied version numbers.
    pub applied: Vec<i64>,
    /// Version numbers and names still to apply.
    pub pending: Vec<(i64, String)>,
    /// The database knows migrations that this binary does not: it is of a newer version.
    pub is_newer: bool,
}

impl Db {
    fn migrator(&self) -> &'static Migrator {
        match self.backend() {
            Backend::Sqlite { .. } => &SQLITE,
            Backend::Postgres(_) => &POSTGRES,
        }
    }

    /// Applies pending migrations under a database-wide lock (PostgreSQL advisory lock, SQLite write lock).
    pub async fn migrate(&self) -> DbResult<()> {
        match self.backend() {
            Backend::Sqlite { writer, .. } => writer.migrate(&SQLITE).await,
            Backend::Postgres(pool) => Ok(POSTGRES.run(pool).await?),
        }
    }

    /// What [`Db::migrate`] would do.
    pub async fn migration_status(&self) -> DbResult<MigrationStatus> {
        let migrator = self.migrator();
        let applied: Vec<i64> = match self.backend() {
            Backend::Sqlite { reader, .. } => applied(&mut *reader.acquire().await.map_err(DbError::from)?).await?,
            Backend::Postgres(pool) => applied(&mut *pool.acquire().await.map_err(DbError::from)?).await?,
        };
        let pending = migrator
            .iter()
            .filter(|m| !applied.contains(&m.version))
            .map(|m| (m.version, m.description.to_string()))
            .collect();
        let is_newer = applied.iter().any(|v| migrator.iter().all(|m| m.version != *v));
        Ok(MigrationStatus { applied, pending, is_newer })
    }

    /// Nothing is in it: no tables at all, or only ours and without what any use leaves in them. What a
    /// benchmark demands.
    pub async fn is_unused(&self) -> DbResult<bool> {
        const TABLES: Sql = Sql {
            sqlite: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
                     AND name <> '_sqlx_migrations'",
            postgres: "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
                       WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations'",
        };
        const USED: &str = "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM packages) \
                            OR EXISTS (SELECT 1 FROM jobs) OR EXISTS (SELECT 1 FROM nodes)";
        let sql = self.sql(TABLES);
        let tables: Vec<String> = on_db!(self, |c| sqlx::query_scalar(sql).fetch_all(c).await)?;
        if tables.is_empty() {
            return Ok(true);
        }
        if ["users", "packages", "jobs", "nodes"].iter().any(|ours| !tables.iter().any(|table| table == ours)) {
            return Ok(false);
        }
        let is_used: bool = on_db!(self, |c| sqlx::query_scalar(USED).fetch_one(c).await)?;
        Ok(!is_used)
    }

    /// The newest schema version this binary knows.
    pub fn schema_version() -> i64 {
        SQLITE.iter().map(|m| m.version).max().unwrap_or(0)
    }
}

async fn applied<C: Migrate>(connection: &mut C) -> DbResult<Vec<i64>> {
    match connection.list_applied_migrations("_sqlx_migrations").await {
        Ok(list) => Ok(list.into_iter().map(|m| m.version).collect()),
        // A database that was never migrated has no such table.
        Err(sqlx::migrate::MigrateError::Execute(_) | sqlx::migrate::MigrateError::ExecuteMigration(..)) => Ok(vec![]),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_have_the_same_migrations() {
        let of = |m: &'static Migrator| m.iter().map(|m| (m.version, m.description.to_string())).collect::<Vec<_>>();
        assert_eq!(of(&SQLITE), of(&POSTGRES));
        assert!(!of(&SQLITE).is_empty());
    }
}
