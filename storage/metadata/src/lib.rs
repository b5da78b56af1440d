//! The metadata database: every SQL statement of Publaryn, for SQLite and PostgreSQL.
//!
//! Reads are functions on [`Db`], writes on [`Tx`], so the type says whether something is atomic.
//! One `$1` text serves both engines; where they must differ both variants stand side by side in
//! a [`Sql`] value (docs/adr/0003-dual-sql.md). Nothing above this crate knows sqlx.

#[macro_use]
mod dispatch;

pub mod advisories;
pub mod artifacts;
pub mod asked;
mod audit;
pub mod audit_log;
mod beside;
pub mod blobs;
pub mod claims;
mod contention;
mod db;
mod deferred;
mod dependencies;
pub mod documents;
pub mod downloads;
mod error;
pub mod findings;
pub mod idempotency;
mod instance;
pub mod jobs;
pub mod mfa;
mod migrate;
pub mod names;
#[macro_use]
pub mod reach;
#[macro_use]
pub mod packages;
pub mod oci;
pub mod open_releases;
pub mod organizations;
pub mod overview;
pub mod package_views;
pub mod pending_publishers;
pub mod release_views;
pub mod releases;
pub mod repositories;
mod retired_names;
mod rows;
pub mod search_documents;
mod seen_names;
pub mod sessions;
mod sqlite_writer;
pub mod standing;
pub mod statistics;
mod tags;
pub mod teams;
pub mod tokens;
pub mod trusted_publishers;
mod tx;
pub mod users;
pub mod web_logins;

#[cfg(feature = "testing")]
pub mod testing;

pub use contention::until_won;
pub use db::{Db, DbOptions, Engine};
pub use dispatch::Sql;
pub use error::{DbError, DbResult};
pub use migrate::MigrationStatus;
pub use tx::{CommitNotice, PackageTouched, Tx};
