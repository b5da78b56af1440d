//! Reaching the metadata database from a command.

use publaryn_config::{Config, DatabaseUrl};
use publaryn_metadata::Db;

use crate::exit::{Exit, Failure};

/// Connects; an unreachable server is tried again for `startup.wait_seconds`.
///
/// # Errors
/// Exit 69 naming `database.url`.
pub async fn connect(config: &Config) -> Result<Db, Failure> {
    Ok(publaryn_api::backends::database(config).await?)
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
