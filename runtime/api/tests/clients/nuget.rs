//! NuGet's clients against a real server: "Done means" in protocols/nuget.md.
//!
//! [`Desk`] is a person's machine: a fresh home and the clients of `benches/services/nuget-clients.sh`. Packages are
//! built by the SDK, or packed by hand ([`Pack`]); nothing leaves loopback.

mod access;
mod desk;
mod dotnet;
mod held;
mod mono;
mod pack;
mod push;
mod read;
mod search;
mod symbols;
mod v2;

pub use desk::Desk;
pub use pack::Pack;
