//! Reading the configuration of a command, and the runtime it runs on.

use publaryn_config::{Config, FlagValue, Machine, Sources};

use crate::{
    cli::CommonArgs,
    exit::{Exit, Failure},
    logging,
};

/// Reads and checks the configuration, then starts logging as it says.
///
/// # Errors
/// Exit 78 with every fault.
pub fn load(common: &CommonArgs, flags: Vec<FlagValue>) -> Result<Config, Failure> {
    let config = read(common, flags)?;
    logging::start(&config)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// [`load`] without logging.
pub fn read(common: &CommonArgs, flags: Vec<FlagValue>) -> Result<Config, Failure> {
    let sources = Sources {
        file: Sources::find_file(common.config.clone().filter(|path| !path.as_os_str().is_empty())),
        flags: common.settings().into_iter().chain(flags).collect(),
        machine: Machine::this(),
        ..Sources::default()
    };
    Ok(Config::load(&sources.with_env(std::env::vars_os()))?)
}

/// Runs a command that is a future, on a runtime of the usual kind.
pub fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("publaryn").build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, "cannot start the runtime").because(error))?;
    let result = runtime.block_on(command);
    // A blocking call in flight (DNS, a file) must not delay the end of the process.
    runtime.shutdown_background();
    result
}
