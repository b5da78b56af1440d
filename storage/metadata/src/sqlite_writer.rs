//! SQLite's single writer, with group commit.
//!
//! `synchronous=FULL` makes every commit wait for the disk, so writers that queue up share one:
//! each [`SqliteTx`] is a savepoint inside an open outer transaction (a *train*), and whoever finds
//! nobody waiting behind commits the train for all its riders. A rider learns of its commit only
//! after the shared sync; if that fails, all riders fail and nothing is kept.
//!
//! Every statement is a trip to SQLite's thread and back, so those that the train does without are left
//! out: its first rider needs no savepoint (undoing it undoes the train), its last one no release (the
//! commit releases).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use crate::{
    DbError, DbResult,
    deferred::{Deferred, Parameter, Rider},
};

/// Riders per train: bounds what one failed commit can take down.
const MAX_RIDERS: usize = 64;
/// Longest a train waits for riders; an upper bound on the latency a rider adds for others.
const MAX_TRAIN_AGE: Duration = Duration::from_millis(5);

type AfterCommit = Box<dyn FnOnce() + Send>;

pub(crate) struct GroupWriter {
    state: Arc<Mutex<State>>,
    waiting: Arc<AtomicUsize>,
    acquire_timeout: Duration,
}

struct State {
    /// `None` once closed.
    connection: Option<SqliteConnection>,
    train: Option<Train>,
    /// A rider was dropped half-way; its savepoint is still to be undone.
    abandoned: bool,
}

struct Train {
    riders: Vec<(AfterCommit, oneshot::Sender<Result<(), String>>)>,
    departed: Instant,
    has_watchdog: bool,
}

/// One logical transaction: a savepoint on the train.
pub(crate) struct SqliteTx {
    guard: Option<OwnedMutexGuard<State>>,
    state: Arc<Mutex<State>>,
    waiting: Arc<AtomicUsize>,
    deferred: Deferred,
}

/// Counts a caller as waiting for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn on(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl GroupWriter {
    pub(crate) async fn open(options: SqliteConnectOptions, acquire_timeout: Duration) -> DbResult<Self> {
        let connection = options.connect().await?;
        let state = State { connection: Some(connection), train: None, abandoned: false };
        Ok(Self { state: Arc::new(Mutex::new(state)), waiting: Arc::default(), acquire_timeout })
    }

    pub(crate) async fn begin(&self) -> DbResult<SqliteTx> {
        let waiting = Waiting::on(&self.waiting);
        let mut guard = tokio::time::timeout(self.acquire_timeout, self.state.clone().lock_owned())
            .await
            .map_err(|_| DbError::Unavailable(sqlx::Error::PoolTimedOut))?;
        drop(waiting);
        // Spawned, because statements that a cancelled caller leaves half-way (an open transaction
        // nobody knows of) would make every later `BEGIN` fail. Unwanted, the result undoes itself.
        let (state, waiting) = (self.state.clone(), self.waiting.clone());
        tokio::spawn(async move {
            guard.undo_abandoned().await;
            if guard.train.is_some() {
                // An open train has riders aboard: `undo_abandoned` ends one that has none.
                sqlx::query("SAVEPOINT rider").execute(guard.connection()?).await?;
            } else {
                sqlx::query("BEGIN IMMEDIATE").execute(guard.connection()?).await?;
                guard.train = Some(Train { riders: Vec::new(), departed: Instant::now(), has_watchdog: false });
            }
            Ok(SqliteTx { guard: Some(guard), state, waiting, deferred: Deferred::default() })
        })
        .await
        .map_err(|e| DbError::CommitFailed(e.to_string()))?
    }

    pub(crate) async fn data_version(&self) -> DbResult<i64> {
        let mut guard = self.state.lock().await;
        Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(guard.connection()?).await?)
    }

    pub(crate) async fn migrate(&self, migrator: &sqlx::migrate::Migrator) -> DbResult<()> {
        let mut guard = self.state.lock().await;
        guard.undo_abandoned().await;
        guard.depart().await;
        migrator.run_direct(None, guard.connection()?, false).await?;
        Ok(())
    }

    pub(crate) async fn close(&self) {
        let mut guard = self.state.lock().await;
        guard.undo_abandoned().await;
        guard.depart().await;
        if let Some(connection) = guard.connection.take() {
            // Closing checkpoints the log; a failure leaves it for the next start.
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "closing the database left its write-ahead log behind");
            }
        }
    }
}

impl State {
    fn connection(&mut self) -> DbResult<&mut SqliteConnection> {
        self.connection.as_mut().ok_or(DbError::Unavailable(sqlx::Error::PoolClosed))
    }

    /// Undoes what a dropped rider did; other riders stay aboard.
    async fn undo_abandoned(&mut self) {
        if !std::mem::take(&mut self.abandoned) {
            return;
        }
        if self.train.as_ref().is_none_or(|train| train.riders.is_empty()) {
            self.train = None;
            self.rollback_outer().await;
            return;
        }
        let Some(connection) = self.connection.as_mut() else { return };
        let undone = async {
            sqlx::query("ROLLBACK TO rider").execute(&mut *connection).await?;
            sqlx::query("RELEASE rider").execute(&mut *connection).await
        }
        .await;
        if let Err(error) = undone {
            // SQLite already rolled the whole train back (disk full, I/O error).
            self.fail(&error).await;
        }
    }

    /// Commits the train and tells its riders.
    async fn depart(&mut self) {
        let Some(train) = self.train.take() else { return };
        let Some(connection) = self.connection.as_mut() else { return };
        match sqlx::query("COMMIT").execute(connection).await {
            Ok(_) => {
                for (after, rider) in train.riders {
                    after();
                    // A rider that stopped waiting has committed all the same.
                    let _ = rider.send(Ok(()));
                }
            }
            Err(error) => {
                self.train = Some(train);
                self.fail(&error).await;
            }
        }
    }

    async fn fail(&mut self, error: &sqlx::Error) {
        tracing::error!(%error, "a shared commit failed; none of its changes were kept");
        for (_, rider) in self.train.take().into_iter().flat_map(|train| train.riders) {
            // Nobody listening means nobody was told of success.
            let _ = rider.send(Err(error.to_string()));
        }
        self.rollback_outer().await;
    }

    async fn rollback_outer(&mut self) {
        if let Some(connection) = self.connection.as_mut() {
            // "no transaction is active" is what we want to reach.
            let _ = sqlx::query("ROLLBACK").execute(connection).await;
        }
    }
}

impl SqliteTx {
    /// Where the next statement runs, with the writes that waited for it.
    pub(crate) fn connection(&mut self) -> Rider<'_> {
        let before = self.deferred.take();
        let state = self.guard.as_mut().expect("the guard is only taken by commit and rollback");
        let connection = state.connection.as_mut();
        let connection = connection.expect("begin refused a closed database, and closing needs the guard");
        Rider { connection, before }
    }

    /// Lets a write ride with the next statement.
    pub(crate) async fn later(
        &mut self,
        sql: &'static str,
        values: Vec<Box<dyn Parameter>>,
    ) -> Result<(), sqlx::Error> {
        self.deferred.push(sql, values);
        if self.deferred.is_full() { self.catch_up("").await } else { Ok(()) }
    }

    /// Runs what still waits, and then `last`.
    async fn catch_up(&mut self, last: &'static str) -> Result<(), sqlx::Error> {
        if self.deferred.is_empty() && last.is_empty() {
            return Ok(());
        }
        sqlx::query(last).execute(self.connection()).await.map(drop)
    }

    /// Boards the train and waits for its commit. Spawned, so that a caller that goes away cannot
    /// leave its transaction half committed.
    pub(crate) async fn commit(self, after: AfterCommit) -> DbResult<()> {
        let (told, outcome) = oneshot::channel();
        tokio::spawn(self.board(after, told));
        match outcome.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(message)) => Err(DbError::CommitFailed(message)),
            Err(_) => Err(DbError::CommitFailed("the writer stopped".into())),
        }
    }

    async fn board(mut self, after: AfterCommit, told: oneshot::Sender<Result<(), String>>) {
        let (is_first, is_full) = {
            let state = self.guard.as_ref().expect("present until here");
            let train = state.train.as_ref().expect("begin opened it");
            (train.riders.is_empty(), train.riders.len() + 1 >= MAX_RIDERS || train.departed.elapsed() >= MAX_TRAIN_AGE)
        };
        let departs = is_full || self.waiting.load(Ordering::SeqCst) == 0;
        // On their own, not with the train's commit: what fails here is this rider's and must not take others down.
        let last = if departs || is_first { "" } else { "RELEASE rider" };
        if let Err(error) = self.catch_up(last).await {
            // Dropping `self` undoes the savepoint; the caller may be gone already.
            let _ = told.send(Err(error.to_string()));
            return;
        }
        let mut guard = self.guard.take().expect("present until here");
        let train = guard.train.as_mut().expect("begin opened it");
        train.riders.push((after, told));
        if departs {
            guard.depart().await;
        } else if !std::mem::replace(&mut train.has_watchdog, true) {
            drop(guard);
            // Whoever waits may give up; then nobody else would commit this train.
            tokio::time::sleep(MAX_TRAIN_AGE).await;
            let mut guard = self.state.lock().await;
            guard.undo_abandoned().await;
            if guard.train.as_ref().is_some_and(|train| !train.riders.is_empty()) {
                guard.depart().await;
            }
        }
    }

    pub(crate) async fn rollback(mut self) -> DbResult<()> {
        let mut guard = self.guard.take().expect("present until here");
        guard.abandoned = true;
        guard.undo_abandoned().await;
        if self.waiting.load(Ordering::SeqCst) == 0 {
            guard.depart().await;
        }
        Ok(())
    }
}

impl Drop for SqliteTx {
    fn drop(&mut self) {
        let Some(mut guard) = self.guard.take() else { return };
        guard.abandoned = true;
        // The next writer cleans up; if nobody comes, this task does.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                guard.undo_abandoned().await;
                if guard.train.is_some() {
                    guard.depart().await;
                }
            });
        }
    }
}
