//! rollout: load-tests a rolling update, and fails on the first lost request.
//!
//! - `args` is the command line, `timings` what the manifests say
//! - `local` replaces real processes: `deployment` decides, `pod` carries out, `balancer` lags
//! - `compare` runs `local` once per sequence, the `naive` servers among them; `chaos` disturbs it
//! - `cluster` restarts a Deployment with `kubectl` and drives its URL; `drive` does so around any command
//! - `clients` send, forgiving nothing; `recorder` counts each `outcome`
//! - `report` prints the table and the JSON, `chart` draws, `progress` shows the run as it goes

mod args;
mod balancer;
mod chaos;
mod chart;
mod clients;
mod cluster;
mod compare;
mod deployment;
mod drive;
mod duration;
mod http1;
mod interrupt;
mod kubectl;
mod local;
mod mix;
mod naive;
mod outcome;
mod pod;
mod pods;
mod preflight;
mod process;
mod progress;
mod recorder;
mod report;
mod rolling;
mod session;
mod table;
mod target;
mod timings;
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
async fn run(args: Args) -> Result<report::Verdict, Unable> {
    let interrupt = interrupt::listen()?;
    match args.command {
        Command::Local(local) if local.compare => compare::run(local, interrupt).await,
        Command::Local(local) => local::run(local, interrupt).await,
        Command::Cluster(cluster) => cluster::run(cluster, interrupt).await,
        Command::Drive(drive) => drive::run(drive, interrupt).await,
        Command::Naive { mode } => naive::serve(mode).await,
    }
}
