//! How a command ends: the exit codes of configuration.md §1, and the message that goes with them.

use std::{fmt, process::ExitCode};

use publaryn_api::StartError;
use publaryn_config::{ConfigFaults, DataDirError};
use publaryn_core::BoxError;

/// Exit codes; the high ones are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Success = 0,
    /// The operation failed, or a check found something.
    Failed = 1,
    Usage = 2,
    /// `migrate --check` only.
    PendingMigrations = 3,
    /// A required service cannot be reached.
    Unreachable = 69,
    /// A bug, or a supervision tree that gave up.
    Internal = 70,
    /// The data directory cannot be created or written.
    CannotCreate = 73,
    /// Another server uses the data directory.
    InUse = 75,
    /// The configuration is invalid.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: what the operator reads, and the exit code.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    lines: Vec<String>,
    cause: Option<BoxError>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, lines: vec![message.into()], cause: None }
    }

    /// Adds the error that caused it; its whole chain is printed.
    pub fn because(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// For what the operator asked for and the machine refused.
    pub fn failed(message: impl Into<String>, cause: impl Into<BoxError>) -> Self {
        Self::new(Exit::Failed, message).because(cause)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))?;
        let mut next = self.cause.as_ref().map(|cause| &**cause as &(dyn std::error::Error + 'static));
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl From<ConfigFaults> for Failure {
    fn from(faults: ConfigFaults) -> Self {
        let lines = faults.iter().map(ToString::to_string).collect();
        Self { exit: Exit::Configuration, lines, cause: None }
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        let exit = match &error {
            DataDirError::Unwritable { .. } => Exit::CannotCreate,
            DataDirError::InUse { .. } => Exit::InUse,
            DataDirError::LoosePermissions { .. }
            | DataDirError::DamagedKey { .. }
            | DataDirError::HalfRestored { .. } => Exit::Configuration,
        };
        let prefix = if exit == Exit::Configuration { "config error: data_dir: " } else { "" };
        let mut failure = Self::new(exit, format!("{prefix}{error}"));
        failure.cause = match error {
            DataDirError::Unwritable { source, .. } => Some(source.into()),
            _ => None,
        };
        failure
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::DataDir(error) => error.into(),
            StartError::Unreachable { key, source } => {
                Self::new(Exit::Unreachable, format!("{key}: the service cannot be reached")).because(source)
            }
            StartError::PendingMigrations(count) => Self::new(
                Exit::Configuration,
                format!(
                    "config error: database.auto_migrate: {count} migrations are pending, run `publaryn migrate` \
                     (set PUBLARYN__DATABASE__AUTO_MIGRATE)"
                ),
            ),
            StartError::Listen { address, source } => {
                Self::failed(format!("server.listen: cannot listen on {address}"), source)
            }
            StartError::Internal(source) => Self::new(Exit::Internal, "cannot start").because(source),
        }
    }
}
