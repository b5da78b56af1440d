//! Connecting to the metadata database and reading from it.

use std::{
    path::Path,
    str::FromStr,
    sync::{Arc, RwLock},
    time::Duration,
};

use sqlx::{
    PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{CommitNotice, DbError, DbResult, beside::Beside, seen_names::SeenNames, sqlite_writer::GroupWriter};

/// Which engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Pool sizes and time limits.
#[derive(Debug, Clone)]
pub struct DbOptions {
    /// PostgreSQL connections; SQLite always has one writer and up to eight readers.
    pub max_connections: u32,
    /// How long a caller waits for a connection before it gets `Unavailable`.
    pub acquire_timeout: Duration,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self { max_connections: 20, acquire_timeout: Duration::from_secs(5) }
    }
}

/// A handle to the metadata database; cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    backend: Backend,
    hooks: RwLock<Vec<CommitHook>>,
    seen_names: tokio::sync::Mutex<SeenNames>,
    url: String,
}

type CommitHook = Arc<dyn Fn(&CommitNotice) + Send + Sync>;

pub(crate) enum Backend {
    Sqlite { reader: SqlitePool, writer: Arc<GroupWriter>, beside: Beside },
    Postgres(PgPool),
}

/// Readers beyond this only add memory: SQLite reads are CPU-bound (docs/adr/0003-dual-sql.md).
const SQLITE_READERS: u32 = 8;

impl Db {
    /// Connects to `sqlite://PATH` (created when missing) or `postgres://…`. Does not migrate.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached within the acquire timeout.
    pub async fn connect(url: &str, options: &DbOptions) -> DbResult<Self> {
        let backend = if url.starts_with("sqlite:") {
            Self::connect_sqlite(url, options).await?
        } else {
            Backend::Postgres(Self::connect_postgres(url, options).await?)
        };
        let (hooks, seen_names) = Default::default();
        Ok(Self(Arc::new(Inner { backend, hooks, seen_names, url: url.to_owned() })))
    }

    async fn connect_sqlite(url: &str, options: &DbOptions) -> DbResult<Backend> {
        let base = SqliteConnectOptions::from_str(url)
            .map_err(DbError::from)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(options.acquire_timeout)
            .statement_cache_capacity(256);
        let writer = GroupWriter::open(base.clone(), options.acquire_timeout).await?;
        let reader = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .min_connections(1)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .connect_with(base.read_only(true).create_if_missing(false))
            .await?;
        let beside = Beside::start().map_err(sqlx::Error::from)?;
        Ok(Backend::Sqlite { reader, writer: Arc::new(writer), beside })
    }

    async fn connect_postgres(url: &str, options: &DbOptions) -> DbResult<PgPool> {
        let connect = PgConnectOptions::from_str(url).map_err(DbError::from)?.application_name("publaryn");
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            // A ping per acquire costs a third of a point read; only connections that rested are asked.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > Duration::from_secs(30) {
                        sqlx::Connection::ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            // Compiling a statement takes longer than any of ours runs, and PostgreSQL does so by what it fears the
            // statement costs: 35 of the 60 ms of a list of repositories.
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::Executor::execute(connection, "SET jit = off").await.map(drop) })
            })
            .connect_with(connect)
            .await?;
        Ok(pool)
    }

    pub fn engine(&self) -> Engine {
        match self.0.backend {
            Backend::Sqlite { .. } => Engine::Sqlite,
            Backend::Postgres(_) => Engine::Postgres,
        }
    }

    /// The URL it was opened with; may hold a password.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    pub(crate) fn seen_names(&self) -> &tokio::sync::Mutex<SeenNames> {
        &self.0.seen_names
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.0.backend
    }

    /// Calls `hook` after every commit made through this handle, before its caller learns of it.
    ///
    /// Hooks run on the committing task: they invalidate caches and wake actors, and never block.
    pub fn on_commit(&self, hook: impl Fn(&CommitNotice) + Send + Sync + 'static) {
        self.0.hooks.write().expect("no hook panics while registering").push(Arc::new(hook));
    }

    pub(crate) fn committed(&self, notice: &CommitNotice) {
        if notice.is_empty() {
            return;
        }
        for hook in self.0.hooks.read().expect("no hook panics while registering").iter() {
            hook(notice);
        }
    }

    /// Answers a trivial read, and takes and releases the write lock.
    pub async fn probe(&self) -> DbResult<()> {
        on_db!(self, |c| sqlx::query("SELECT 1").execute(c).await.map(drop))?;
        self.begin().await?.rollback().await
    }

    /// Changes of other processes to an SQLite file move this number; constant on PostgreSQL.
    pub async fn data_version(&self) -> DbResult<i64> {
        match self.backend() {
            Backend::Sqlite { writer, .. } => writer.data_version().await,
            Backend::Postgres(_) => Ok(0),
        }
    }

    /// Writes a consistent copy of an SQLite database to `target` while others read and write.
    pub async fn snapshot_to(&self, target: &Path) -> DbResult<()> {
        match self.backend() {
            Backend::Sqlite { reader, .. } => {
                let path = target.to_string_lossy().into_owned();
                sqlx::query("VACUUM INTO $1").bind(path).execute(reader).await?;
                Ok(())
            }
            Backend::Postgres(_) => Err(DbError::CommitFailed("PostgreSQL has its own backup tools".into())),
        }
    }

    /// Connections of the pool: (in use, idle).
    pub fn pool_usage(&self) -> (u32, u32) {
        on_db!(self, |c| {
            let idle = u32::try_from(c.num_idle()).unwrap_or(u32::MAX);
            (c.size().saturating_sub(idle), idle)
        })
    }

    /// Closes every connection after the statements in flight.
    pub async fn close(&self) {
        match self.backend() {
            Backend::Sqlite { reader, writer, .. } => {
                reader.close().await;
                writer.close().await;
            }
            Backend::Postgres(pool) => pool.close().await,
        }
    }
}
