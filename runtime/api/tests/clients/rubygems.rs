//! gem and Bundler against a real server: "Done means" in protocols/rubygems.md.
//!
//! [`Desk`] is a person's machine: a fresh home and the clients of `benches/services/rubygems-clients.sh`. Gems are
//! built by `gem build`, or packed by hand where they must be wrong ([`Packed`]); nothing leaves loopback.

mod access;
mod bundle;
mod desk;
mod install;
mod packed;
mod push;
mod refused;
mod wire;
mod yank;

pub use desk::{Desk, Gem};
pub use packed::Packed;
