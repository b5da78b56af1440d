//! Reaching the metadata database from a command.

use std::time::{Duration, Instant};

use publaryn_config::{Config, DatabaseUrl};
use publaryn_metadata::{Db, DbError, DbOptions};

use crate::exit::{Exit, Failure};

/// Connects, and keeps trying for `startup.wait_seconds` while the server is unreachable.
///
/// # Errors
/// Exit 69 naming `database.url`.
pub async fn connect(config: &Config) -> Result<Db, Failure> {
    let deadline = Instant::now() + config.startup.wait_seconds.duration();
    let mut pause = Duration::from_millis(100);
    loop {
        match try_connect(config).await {
            Ok(db) => return Ok(db),
            Err(error) if is_worth_waiting(config, &error) && Instant::now() + pause < deadline => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the database is not reachable yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            Err(error) => {
                let text = format!("database.url: cannot reach {:?}", config.database.url);
                return Err(Failure::new(Exit::Unreachable, text).because(error));
            }
        }
    }
}

/// One attempt.
pub async fn try_connect(config: &Config) -> Result<Db, DbError> {
    let options = DbOptions {
        max_connections: config.database.max_connections.as_u32(),
        acquire_timeout: config.database.acquire_timeout_seconds.duration(),
    };
    Db::connect(&config.database.url.expose(), &options).await
}

/// [`connect`] for commands that work on what a server made: an SQLite file that is not there is
/// a wrong `--data-dir`, not a database to create.
pub async fn connect_existing(config: &Config) -> Result<Db, Failure> {
    require_file(config)?;
    connect(config).await
}

/// # Errors
/// Exit 1 when the database is a file that does not exist.
pub fn require_file(config: &Config) -> Result<(), Failure> {
    match &config.database.url {
        DatabaseUrl::Sqlite(path) if !path.is_file() => Err(Failure::new(
            Exit::Failed,
            format!("there is no database at {}; check --data-dir, or start the server once", path.display()),
        )),
        _ => Ok(()),
    }
}

/// [`connect_existing`], and the schema is the one this program knows.
///
/// # Errors
/// Exit 78 when migrations are pending or the database is of a newer version.
pub async fn connect_current(config: &Config) -> Result<Db, Failure> {
    let db = connect_existing(config).await?;
    let status = db.migration_status().await.map_err(|error| Failure::failed("cannot read the schema", error))?;
    if status.is_newer {
        return Err(Failure::new(Exit::Configuration, "the database was made by a newer version of publaryn"));
    }
    if !status.pending.is_empty() {
        return Err(Failure::new(Exit::Configuration, "migrations are pending: run `publaryn migrate` first"));
    }
    Ok(db)
}

/// A local file does not come back by waiting.
fn is_worth_waiting(config: &Config, error: &DbError) -> bool {
    error.is_unavailable() && !config.database.url.is_sqlite()
}
