//! Composer against a real server: the lines of "Done means" in protocols/composer.md.
//!
//! [`Desk`] is a person's machine: a fresh home and the Composer that `benches/services/composer-clients.sh`
//! installed. Packages are zips made by the tests ([`Lib`]); nothing leaves loopback.

mod access;
mod audit;
mod desk;
mod held;
mod install;
mod lib;
mod publish;
mod wire;

pub use desk::Desk;
pub use lib::Lib;
