//! Accounts, sessions and tokens on every database engine of this run.

mod accounts;
mod mfa;
mod sessions;
mod tokens;
mod world;
