//! Accounts, sessions and tokens on every database engine of this run.

mod accounts;
mod sessions;
mod tokens;
mod world;
