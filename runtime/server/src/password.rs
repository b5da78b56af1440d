//! Reading a password without ever taking it from the command line.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use publaryn_config::Secret;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::{
    cli::PasswordArgs,
    exit::{Exit, Failure},
};

/// Longer input is not a password.
const MOST_BYTES: u64 = 64 * 1024;

/// Reads from where the flags say, else asks on the terminal, twice and without echo.
///
/// # Errors
/// Exit 2 when there is neither a flag nor a terminal; exit 1 when reading fails or the two differ.
pub fn read(args: &PasswordArgs) -> Result<Secret, Failure> {
    let text = if args.password_stdin {
        bounded(io::stdin().lock()).map_err(|error| Failure::failed("cannot read the password", error))?
    } else if let Some(path) = &args.password_file {
        let file = std::fs::File::open(path).and_then(bounded);
        file.map_err(|error| Failure::failed(format!("cannot read {}", path.display()), error))?
    } else if io::stdin().is_terminal() {
        let first = ask("Password: ")?;
        if ask("Repeat the password: ")? != first {
            return Err(Failure::new(Exit::Failed, "the two passwords differ"));
        }
        first
    } else {
        let message = "error: no terminal to ask for the password: give --password-stdin or --password-file PATH";
        return Err(Failure::new(Exit::Usage, message));
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Failure::new(Exit::Failed, "the password is empty"));
    }
    Ok(Secret::new(text))
}

fn bounded(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too long for a password"));
    }
    Ok(text)
}

fn ask(prompt: &str) -> Result<String, Failure> {
    let read = || -> io::Result<String> {
        let mut stderr = io::stderr().lock();
        stderr.write_all(prompt.as_bytes())?;
        stderr.flush()?;
        let echo = EchoOff::start()?;
        let mut line = String::new();
        io::stdin().lock().take(MOST_BYTES).read_line(&mut line)?;
        drop(echo);
        stderr.write_all(b"\n")?;
        Ok(line)
    };
    read().map_err(|error| Failure::failed("cannot read the password from the terminal", error))
}

/// Keeps the terminal from showing what is typed, until dropped.
struct EchoOff {
    before: Termios,
}

impl EchoOff {
    fn start() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
