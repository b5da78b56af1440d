//! `/v1/auth`, `/v1/tokens` and `/v1/users` as clients see them, on every database engine of this run.

mod admin;
mod app;
mod auth;
#[path = "../shared/conformance.rs"]
mod conformance;
mod conventions;
mod idempotency;
mod mfa;
mod registry;
mod same_path;
mod tokens;
mod users;
