//! The service: signals first, then what the command line asks for.

mod routes;
mod variables;

use std::{io, process::ExitCode};

use landfall::{Program, Signals};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let signals = Signals::register()?;
    Ok(Program::new(landfall::build!()).run(signals, routes::start).await)
}
