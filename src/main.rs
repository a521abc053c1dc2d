//! The service: signals first, then what the command line asks for.

use std::{io, process::ExitCode};

use clap::Parser;
use landfall::{app, command::Cli, routes, shutdown::Signals};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let signals = Signals::register()?;
    Ok(match Cli::parse().command {
        None => app::run(signals, routes::start).await,
        Some(command) => command.run(),
    })
}
