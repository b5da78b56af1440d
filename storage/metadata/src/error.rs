//! What can go wrong between us and a database.

use publaryn_core::RegistryError;

pub type DbResult<T> = Result<T, DbError>;

/// A failure of the metadata database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The server or file cannot be reached now; trying later may help.
    #[error("database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// The database chose this transaction to end a deadlock; nothing of it was kept, it may run again.
    #[error("transaction lost against another one")]
    Contended(#[source] sqlx::Error),
    /// A unique or foreign key constraint refused the statement.
    #[error("constraint violated")]
    Constraint(#[source] sqlx::Error),
    /// The collector took a staged blob before it was committed; nothing refers to its key any more.
    #[error("the uploaded bytes were collected before they were published")]
    BlobCollected(#[source] sqlx::Error),
    /// The batch that carried this commit failed as a whole; nothing of it was kept.
    #[error("commit failed: {0}")]
    CommitFailed(String),
    #[error("database error")]
    Other(#[source] sqlx::Error),
    /// A stored document is not what this version wrote.
    #[error("stored {what} is unreadable")]
    Corrupt {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// Job payloads hold ids only.
    #[error("a job payload of {0} bytes is too large")]
    PayloadTooLarge(usize),
    #[error("migration failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl DbError {
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
    pub fn is_constraint(&self) -> bool {
        matches!(self, Self::Constraint(_))
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(db) => match db.kind() {
                ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation => Self::Constraint(error),
                // PostgreSQL class 40: transaction rollback (deadlock, serialization).
                _ if db.code().is_some_and(|code| code.len() == 5 && code.starts_with("40")) => Self::Contended(error),
                _ => {
                    // PostgreSQL class 57 (operator intervention), 53 (out of resources), 08 (connection).
                    // SQLite: BUSY 5, LOCKED 6, FULL 13, IOERR 10.
                    let transient = db.code().is_some_and(|code| {
                        ["57", "53", "08"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                            || code.parse::<u32>().is_ok_and(|n| code.len() != 5 && matches!(n & 0xff, 5 | 6 | 10 | 13))
                    });
                    if transient { Self::Unavailable(error) } else { Self::Other(error) }
                }
            },
            _ => Self::Other(error),
        }
    }
}

impl From<DbError> for RegistryError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(_) | DbError::CommitFailed(_) => Self::unavailable("the database", error),
            DbError::Contended(_) => Self::Overloaded { retry_after: std::time::Duration::from_secs(1) },
            DbError::BlobCollected(_) => Self::unavailable("the uploaded content", error),
            other => Self::internal(other),
        }
    }
}
