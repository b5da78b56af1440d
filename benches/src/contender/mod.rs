//! The servers that are measured, each on its own port and its own data.

mod nginx;
mod publaryn;
mod services;
mod verdaccio;

pub(crate) use nginx::Nginx;
pub(crate) use publaryn::{Backend, Publaryn};
pub(crate) use services::Services;
pub(crate) use verdaccio::Verdaccio;

use std::time::Duration;

/// A server that takes longer to answer at all does not work.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(60);

/// Something that takes `PUT /<package>` from an npm client.
#[derive(Debug, Clone)]
pub(crate) struct NpmRegistry {
    /// Without trailing slash.
    pub base: String,
    pub token: Option<String>,
}
