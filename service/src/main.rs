//! The service: signals first, then what the command line asks for.

mod routes;
mod variables;

use std::{io, process::ExitCode};

use landfall::{Program, Signals};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let signals = Signals::register()?;
    let build = landfall::build!();
    let program = Program::new(build);
    #[cfg(feature = "otlp")]
    return landfall_otlp::run(program, build, signals, routes::start).await;
    #[cfg(not(feature = "otlp"))]
    Ok(program.run(signals, routes::start).await)
}
