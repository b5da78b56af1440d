//! `publaryn openapi`: the description of the management API, for generators and gateways.

use std::io::Write;

use crate::exit::{Exit, Failure};

pub fn run() -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(publaryn_api::openapi().as_bytes()).and_then(|()| out.flush());
    written.map(|()| Exit::Success).map_err(|error| Failure::failed("the document could not be written", error))
}
