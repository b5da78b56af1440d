//! `publaryn serve`: the server, from the first signal handler to the last flush.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use publaryn_api::{App, AppOptions};
use publaryn_config::Config;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    cli::{CommonArgs, ServeArgs},
    configuration,
    exit::{Exit, Failure},
};

pub fn run(common: &CommonArgs, args: &ServeArgs) -> Result<Exit, Failure> {
    let config = configuration::load(common, args.settings())?;
    configuration::block_on(serve(config, args.addr_file.as_deref()))
}

async fn serve(config: Config, addr_file: Option<&Path>) -> Result<Exit, Failure> {
    // Before anything else: a signal during a long migration must not be lost.
    let mut signals = Signals::listen()?;
    let options = AppOptions { scanner_program: Some(own_program()?) };
    let app = tokio::select! {
        started = App::start(config, options) => started?,
        () = signals.next() => return Ok(Exit::Success),
    };
    announce(&app, addr_file)?;
    let is_exhausted = tokio::select! {
        () = signals.next() => false,
        () = app.exhausted() => true,
    };
    if is_exhausted {
        tracing::error!("a vital part of the server kept failing and was given up");
    } else {
        tracing::info!("stopping; a second signal cuts it short");
    }
    app.shutdown_unless(signals.next()).await;
    Ok(if is_exhausted { Exit::Internal } else { Exit::Success })
}

/// Linux: the running program itself, whatever an upgrade did to the file it came from.
const OWN_IMAGE: &str = "/proc/self/exe";

/// What the scanner processes run: a server and its scanners are of one version.
fn own_program() -> Result<PathBuf, Failure> {
    if Path::new(OWN_IMAGE).exists() {
        return Ok(OWN_IMAGE.into());
    }
    std::env::current_exe().map_err(|error| Failure::new(Exit::Internal, "cannot find this program").because(error))
}

fn announce(app: &App, addr_file: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = addr_file {
        write_whole(path, &format!("{}\n", app.address()))
            .map_err(|error| Failure::failed(format!("cannot write {}", path.display()), error))?;
    }
    let line = format!("publaryn {} listening on {}", env!("CARGO_PKG_VERSION"), app.base_url());
    // A closed stdout is no reason not to serve.
    let _ = writeln!(io::stdout(), "{line}");
    tracing::info!(address = %app.address(), base_url = app.base_url(), "listening");
    Ok(())
}

/// Whoever waits for the file never reads half of it.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = path.with_file_name(name);
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, path)
}

/// SIGTERM and SIGINT, counted together.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let of = |kind| {
            signal(kind).map_err(|error| Failure::new(Exit::Internal, "cannot listen for signals").because(error))
        };
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
