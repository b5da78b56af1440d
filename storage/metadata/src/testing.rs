//! Scratch databases for tests: a file per test on SQLite, a database per test on PostgreSQL.

use sqlx::{Connection, Executor, PgConnection};

use crate::{Db, DbOptions};

/// Names the URL of an administrative PostgreSQL database; without it only SQLite is tested.
pub const POSTGRES_URL: &str = "PUBLARYN_TEST_POSTGRES";

/// A migrated database that nothing else uses.
pub struct TestDb {
    pub db: Db,
    pub url: String,
    _dir: Option<tempfile::TempDir>,
}

/// One scratch database per engine that this run tests.
pub async fn each() -> Vec<TestDb> {
    let mut all = vec![sqlite().await];
    if let Ok(admin) = std::env::var(POSTGRES_URL) {
        all.push(postgres(&admin).await);
    }
    all
}

pub async fn sqlite() -> TestDb {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    open(url, Some(dir)).await
}

/// Makes a database next to the one `admin` names.
pub async fn postgres(admin: &str) -> TestDb {
    let name = format!("publaryn_test_{}", uuid::Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(admin).await.expect("the test PostgreSQL answers");
    let create = format!("CREATE DATABASE {name}");
    connection.execute(sqlx::AssertSqlSafe(create)).await.expect("the test role may create databases");
    let (server, _) = admin.rsplit_once('/').expect("a URL with a database name");
    open(format!("{server}/{name}"), None).await
}

async fn open(url: String, dir: Option<tempfile::TempDir>) -> TestDb {
    let db = Db::connect(&url, &DbOptions::default()).await.expect("the scratch database opens");
    db.migrate().await.expect("migrations apply");
    TestDb { db, url, _dir: dir }
}

impl Db {
    pub async fn count_rows(&self, table: &str) -> crate::DbResult<i64> {
        let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
        Ok(on_db!(self, |c| sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(c).await)?)
    }

    /// The ids of all artifacts of that name.
    pub async fn artifact_ids(&self, filename: &str) -> crate::DbResult<Vec<publaryn_core::ArtifactId>> {
        const SQL: &str = "SELECT id FROM artifacts WHERE filename = $1";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(filename).fetch_all(c).await)?)
    }

    /// Runs a statement in its own transaction, as somebody with a database shell would.
    pub async fn execute_raw(&self, statement: &str) -> crate::DbResult<()> {
        let mut tx = self.begin().await?;
        let statement = statement.to_owned();
        on_tx!(&mut tx, |c| sqlx::query(sqlx::AssertSqlSafe(statement)).execute(c).await.map(drop))?;
        tx.commit().await
    }

    /// Every (table, column, is nullable) of the schema, sorted.
    pub async fn schema_columns(&self) -> crate::DbResult<Vec<(String, String, bool)>> {
        let sql = self.sql(crate::Sql {
            sqlite: "SELECT m.name, p.name, p.\"notnull\" = 0 FROM sqlite_schema m, pragma_table_info(m.name) p \
                     WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name <> '_sqlx_migrations'",
            postgres: "SELECT table_name::text, column_name::text, is_nullable = 'YES' FROM information_schema.columns \
                       WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'",
        });
        let mut columns: Vec<(String, String, bool)> = on_db!(self, |c| sqlx::query_as(sql).fetch_all(c).await)?;
        columns.sort();
        Ok(columns)
    }
}
