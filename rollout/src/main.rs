//! rollout: load-tests a rolling update, and fails on the first lost request.
//!
//! - `args` is the command line
//! - `local` replaces real processes on this machine, `cluster` a Deployment's pods, `drive` whatever a command replaces;
//!   each is a script that a `session` runs under load
//! - `clients` send, `record` keeps what they saw, `report` says it
//! - `duration`, `interrupt`, `proxies` and `unable` are what all of them need

mod args;
mod clients;
mod cluster;
mod drive;
mod duration;
mod interrupt;
mod local;
mod proxies;
mod record;
mod report;
mod session;
mod unable;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use unable::Unable;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(verdict) => verdict.into(),
        Err(Unable(why)) => {
            eprintln!("rollout: {why}");
            ExitCode::from(2)
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn run(args: Args) -> Result<report::summary::Verdict, Unable> {
    let interrupt = interrupt::listen()?;
    match args.command {
        Command::Local(local) if local.compare || !local.through.is_empty() => {
            local::compare::run(local, interrupt).await
        }
        Command::Local(local) => local::run::run(local, interrupt).await,
        Command::Cluster(cluster) => cluster::run::run(cluster, interrupt).await,
        Command::Drive(drive) => drive::run(drive, interrupt).await,
        Command::Naive { mode, stream, download } => local::naive::serve(mode, &stream, &download).await,
    }
}
