//! The program `publaryn`: reads arguments and configuration, runs one command, answers with an exit code.

mod archive;
mod cli;
mod commands;
mod configuration;
mod database;
mod exit;
mod logging;
mod password;

use std::process::ExitCode;

use clap::Parser;

use cli::{BenchCommand, Cli, Command};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    // clap prints help, version and usage faults itself; a usage fault exits with 2.
    let cli = Cli::parse();
    if matches!(cli.command, Some(Command::ScanWorker)) {
        return publaryn_scan::child::main(publaryn_api::scanners());
    }
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { common, serve, command } = cli;
    let command = match command {
        None => Command::Serve(serve),
        Some(Command::Serve(own)) => Command::Serve(own.or(serve)),
        Some(other) => match serve.first_given() {
            Some(flag) => return Err(Failure::new(Exit::Usage, format!("error: {flag} belongs to `publaryn serve`"))),
            None => other,
        },
    };
    match command {
        Command::Serve(args) => commands::serve::run(&common, &args),
        Command::Migrate(args) => commands::migrate::run(&common, &args),
        Command::Admin(command) => commands::admin::run(&common, command),
        Command::Doctor(args) => commands::doctor::run(&common, &args),
        Command::Backup(args) => commands::backup::run(&common, &args),
        Command::Restore(args) => commands::restore::run(&common, &args),
        Command::Gc(args) => commands::gc::run(&common, &args),
        Command::Bench(BenchCommand::Jobs(args)) => commands::bench::run(&common, &args),
        Command::Openapi => commands::openapi::run(),
        Command::ScanWorker => unreachable!("a scan worker reads no configuration and ended in `main`"),
    }
}
