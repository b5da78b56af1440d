//! The npm family against a real server: every line of "Done means" in protocols/npm.md.
//!
//! [`Desk`] is a person's machine: a fresh home, empty caches, a configuration file and the clients that
//! `benches/services/npm-clients.sh` installed. Nothing leaves loopback.

mod account;
mod audit;
mod change;
mod desk;
mod install;
mod publish;
mod refused;
mod wire;

pub use desk::{Client, Desk, Ran};
