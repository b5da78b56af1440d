//! Logs on stderr: text for people, or one JSON object per line.

mod json;

use std::io::IsTerminal;

use publaryn_config::{Config, LogFormat};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::exit::{Exit, Failure};
use json::JsonLines;

/// Sends every span and event to stderr from here on.
///
/// # Errors
/// Exit 78 for a filter the subscriber does not understand.
pub fn start(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(config.log.level.as_str()).map_err(|error| {
        Failure::new(Exit::Configuration, format!("config error: log.level: {error} (set PUBLARYN__LOG__LEVEL)"))
    })?;
    let output = match config.log.format {
        LogFormat::Json => JsonLines::new(std::io::stderr).boxed(),
        LogFormat::Pretty => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(output.with_filter(filter))
        .try_init()
        .map_err(|error| Failure::new(Exit::Internal, "logging was started twice").because(error))
}
