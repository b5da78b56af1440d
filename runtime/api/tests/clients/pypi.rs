//! The Python tools against a real server: every line of "Done means" in protocols/pypi.md.
//!
//! [`Desk`] is a person's machine: a fresh home and the clients that `benches/services/pypi-clients.sh` installed.
//! Distributions are made by the tests ([`Dist`]); nothing leaves loopback.

mod access;
mod append;
mod attested;
mod desk;
mod dist;
mod install;
mod publish;
mod ranges;
mod refused;
mod simple;
mod twine;
mod yank;

pub use crate::process::Ran;
pub use desk::{Client, Desk};
pub use dist::{Dist, Upload, noise};
