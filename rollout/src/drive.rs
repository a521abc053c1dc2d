//! `rollout drive`: drives a URL while a command replaces whatever serves it.

use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::sleep;

use crate::args::Drive;
use crate::clients::client::Context;
use crate::clients::preflight;
use crate::interrupt::Interrupt;
use crate::record::recorder::Recorder;
use crate::report::progress::Progress;
use crate::report::publish::publish;
use crate::report::summary::{Report, Setting, Verdict};
use crate::session::under_load;
use crate::unable::{OrUnable, Unable};

/// Runs the command under load, and reports.
pub(crate) async fn run(args: Drive, mut interrupt: Interrupt) -> Result<Verdict, Unable> {
    let clients = args.load.clients(args.idle)?;
    let mut target = args.load.target();
    let ready = async {
        target.aim(&args.url).await?;
        preflight::check(&target, &clients).await
    };
    interrupt.or(ready).await?;

    let recorder = Arc::new(Recorder::start());
    let context = Context { target: Arc::new(target), recorder: recorder.clone(), connections: None };
    let name = args.command.join(" ");
    let progress = Progress::show(&args.url, recorder, || "pods unseen".to_string());
    let script = async {
        progress.stage("before the command");
        sleep(args.pause).await;
        progress.stage(&name);
        replace(&args.command).await?;
        progress.stage("after the command");
        sleep(args.pause).await;
        // A connection that was kept to a server now gone is lost only when its client comes back to it.
        progress.stage("until the idle clients have come back");
        sleep(args.idle.1 + Duration::from_millis(200)).await;
        Ok(())
    };
    let session = under_load(&clients, &context, &mut interrupt, script).await?;
    drop(progress);
    let setting = Setting {
        name,
        sequence: None,
        steps: vec![args.command.join(" ")],
        rollouts: 1,
        chaos: false,
        scale: 1.0,
        timings: None,
        clients,
        load: args.load,
    };
    publish(Report::new(setting, session, Vec::new()))
}

/// Runs a command to its end; fails as it does.
pub(crate) async fn replace(command: &[String]) -> Result<(), Unable> {
    let tried = format!("running `{}`", command.join(" "));
    let (program, arguments) = command.split_first().expect("clap asks for one word at least");
    let status = Command::new(program).args(arguments).kill_on_drop(true).status().await.or_unable(&tried)?;
    match status.success() {
        true => Ok(()),
        false => Err(Unable(format!("{tried}: {status}"))),
    }
}
