//! The domain of Publaryn: names, versions, digests, states, access and errors.
//!
//! No I/O, no async runtime, no HTTP and no SQL live here. Everything is a plain value that
//! the layers above pass around, so a rule has exactly one home and can be tested as a function.

#[macro_use]
mod text_enum;

pub mod access;
pub mod audit;
pub mod clock;
pub mod content_digest;
pub mod crash;
pub mod digest;
pub mod ecosystem;
pub mod error;
pub mod finding;
pub mod ids;
pub mod job;
pub mod manifest;
pub mod name;
pub mod namespace;
pub mod network;
pub mod principal;
pub mod publish;
pub mod scope;
pub mod similar;
pub mod state;
pub mod version;

pub use access::{Decision, Denial, Operation, decide};
pub use clock::{Clock, SystemClock, Timestamp};
pub use content_digest::{ContentDigest, DigestProblem};
pub use digest::{Digest, Digests};
pub use ecosystem::Ecosystem;
pub use error::{RegistryError, StatusClass};
pub use ids::*;
pub use name::PackageName;
pub use namespace::Namespace;
pub use network::network_of;
pub use principal::Principal;
pub use scope::{Scope, ScopeSet};
pub use state::*;
pub use version::Version;

/// A boxed error with its cause, for layers that only pass a failure on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
