//! Maven, Gradle, Ivy, Leiningen and sbt against a real server: every line of "Done means" in protocols/maven.md.
//!
//! [`Desk`] is a person's machine: a fresh home, settings, and the clients that `benches/services/maven-clients.sh`
//! installed. [`Wire`] says what clients say, and what they never would.

mod concurrent;
mod deploy;
mod desk;
mod gradle;
mod held;
mod ivy;
mod newer;
mod order;
mod plugin;
mod private;
mod refused;
mod wire;

pub use desk::{Desk, Wire, jar, pom};
pub use refused::deaf;
