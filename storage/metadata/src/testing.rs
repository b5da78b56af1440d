//! Scratch databases for tests: a file per test on SQLite, a database per test on PostgreSQL.

use publaryn_core::{
    ArtifactId, ArtifactKind, Digest, Digests, Ecosystem, PackageId, PackageName, ReleaseId, ReleaseState,
    RepositoryId, RepositoryKind, Timestamp, UserId, Version, Visibility,
    access::Owner,
    publish::{NewArtifact, PackageFacts},
};
use sha2::{Digest as _, Sha256, Sha512};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    Db, DbOptions, DbResult, Tx, packages::NewPackage, releases::NewRelease, repositories::RepositoryRow,
    users::NewUser,
};

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

/// A public npm package `left-pad` of a user `ada`, and how releases get into it.
#[derive(Debug, Clone)]
pub struct SamplePackage {
    pub user: UserId,
    pub id: PackageId,
}

impl SamplePackage {
    pub async fn create(db: &Db) -> Self {
        let (user, now) = (UserId::new(), Timestamp::now());
        let repository = RepositoryRow {
            id: RepositoryId::new(),
            slug: "ada".into(),
            name: "ada".into(),
            description: None,
            kind: RepositoryKind::Public,
            visibility: Visibility::Public,
            owner_user_id: Some(user),
            owner_org_id: None,
            created_at: now,
            updated_at: now,
        };
        let package = NewPackage {
            id: PackageId::new(),
            ecosystem: Ecosystem::Npm,
            name: &PackageName::accepted("left-pad", "left-pad", "left-pad"),
            repository: repository.id,
            owner: Owner::User(user),
            visibility: Visibility::Public,
        };
        let account = NewUser {
            id: user,
            username: "ada",
            username_key: "ada",
            email: "ada@example.test",
            email_key: "ada@example.test",
            password_hash: "x",
            is_admin: false,
        };
        let mut tx = db.begin().await.expect("the scratch database answers");
        tx.insert_user(&account, now).await.expect("an empty database takes any user");
        assert!(tx.insert_repository(&repository).await.expect("and any repository"));
        assert!(tx.insert_package(&package, now).await.expect("and any package"));
        tx.commit().await.expect("the scratch database commits");
        Self { user, id: package.id }
    }

    /// Adds a release with one file; each gets the next version.
    pub async fn add_release(
        &self,
        db: &Db,
        status: ReleaseState,
        artifact: &NewArtifact,
        location: &str,
    ) -> DbResult<(ReleaseId, ArtifactId)> {
        let mut tx = db.begin().await?;
        let added = self.write_release(&mut tx, status, artifact, location).await?;
        tx.commit().await?;
        Ok(added)
    }

    /// [`Self::add_release`] in the order of a publish, inside a transaction of the caller's.
    pub async fn write_release(
        &self,
        tx: &mut Tx,
        status: ReleaseState,
        artifact: &NewArtifact,
        location: &str,
    ) -> DbResult<(ReleaseId, ArtifactId)> {
        let (id, now) = (ReleaseId::new(), Timestamp::now());
        tx.lock_package_by_id(self.id).await?;
        let sequence = tx.next_sequence(self.id).await?;
        let release = NewRelease {
            id,
            package: self.id,
            version: &Version::semver(&format!("{sequence}.0.0")).expect("three numbers are a version"),
            status,
            metadata: "{}",
            facts: &PackageFacts::default(),
            tags: &[],
            sequence,
            scans_total: 1,
            published_by: Some(self.user),
        };
        assert!(tx.insert_release(&release, now).await?, "every release has a version of its own");
        tx.upsert_blob(artifact.digests.sha256, location, artifact.size_bytes, now).await?;
        Ok((id, tx.insert_artifact(id, artifact, None, now).await?))
    }
}

/// A file of that content, as a staged upload describes it.
pub fn artifact_of(content: &[u8]) -> NewArtifact {
    NewArtifact {
        kind: ArtifactKind::Tarball,
        filename: "x.tgz".into(),
        content_type: "application/octet-stream".into(),
        size_bytes: content.len() as u64,
        digests: Digests {
            sha256: Digest::from_bytes(Sha256::digest(content).into()),
            sha512: hex::encode(Sha512::digest(content)),
            sha1: None,
            md5: None,
        },
    }
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

    /// Tables with a foreign key to `table`. SQLite only; the other engine has the same schema.
    pub async fn tables_referring_to(&self, table: &str) -> crate::DbResult<Vec<String>> {
        const SQL: &str = "SELECT DISTINCT m.name FROM sqlite_schema m, pragma_foreign_key_list(m.name) f \
                           WHERE m.type = 'table' AND f.\"table\" = $1";
        Ok(on_db!(self, |c| sqlx::query_scalar(SQL).bind(table).fetch_all(c).await)?)
    }

    /// How SQLite would go about a statement, a line per step.
    pub async fn plan_of(&self, statement: &str) -> crate::DbResult<Vec<String>> {
        let sql = format!("EXPLAIN QUERY PLAN {statement}");
        let crate::db::Backend::Sqlite { reader, .. } = self.backend() else { return Ok(Vec::new()) };
        let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(reader).await?;
        Ok(steps.into_iter().map(|(.., step)| step).collect())
    }

    /// Every (table, column, is nullable) of the schema, sorted.
    pub async fn schema_columns(&self) -> crate::DbResult<Vec<(String, String, bool)>> {
        let sql = self.sql(crate::Sql {
            sqlite: "SELECT m.name, p.name, p.\"notnull\" = 0 FROM sqlite_schema m, pragma_table_info(m.name) p \
                     WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name <> '_sqlx_migrations'",
            postgres: "SELECT c.table_name::text, c.column_name::text, c.is_nullable = 'YES' \
                       FROM information_schema.columns c JOIN information_schema.tables t \
                       ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE' \
                       WHERE c.table_schema = 'public' AND c.table_name <> '_sqlx_migrations'",
        });
        let mut columns: Vec<(String, String, bool)> = on_db!(self, |c| sqlx::query_as(sql).fetch_all(c).await)?;
        columns.sort();
        Ok(columns)
    }
}
