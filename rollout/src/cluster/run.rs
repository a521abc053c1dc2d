//! `rollout cluster`: replaces a Deployment's pods under load, and watches them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::kubectl::Kubectl;
use super::steps::{self, Step, Steps};
use super::watched::{self, Watched};
use crate::args::Cluster;
use crate::clients::client::Context;
use crate::clients::preflight;
use crate::interrupt::Interrupt;
use crate::record::pods::Pods;
use crate::record::recorder::Recorder;
use crate::report::progress::Progress;
use crate::report::publish::publish;
use crate::report::summary::{Report, Setting, Verdict};
use crate::session::under_load;
use crate::unable::Unable;

/// Takes the steps as often as asked, and reports.
pub(crate) async fn run(args: Cluster, mut interrupt: Interrupt) -> Result<Verdict, Unable> {
    let kubectl = Kubectl { context: args.context.clone(), namespace: args.namespace.clone() };
    let clients = args.load.clients(args.idle)?;
    let asked = steps::asked(&args);
    let mut target = args.load.target();
    let ready = async {
        let selector = selector(&kubectl, &args, &asked).await?;
        target.aim(&args.url).await?;
        preflight::check(&target, &clients).await?;
        Ok(selector)
    };
    let selector = interrupt.or(ready).await?;

    let recorder = Arc::new(Recorder::start());
    let pods = Arc::new(Pods::new(recorder.started()));
    let watched = Watched::begin(&kubectl, &selector, pods.clone())?;
    let context = Context { target: Arc::new(target), recorder: recorder.clone(), connections: None };
    let counted = pods.clone();
    let progress =
        Progress::show(&args.deployment, recorder, move || format!("{} pods", counted.running().len()));
    let rollouts = Cell::new(0);
    let steps = Steps { kubectl: &kubectl, args: &args, watched: &watched };
    let script = async {
        progress.stage("before the rollouts");
        sleep(args.pause).await;
        for n in 1..=args.rollouts {
            for step in &asked {
                progress.stage(format!("rollout {n} of {}: {step}", args.rollouts));
                steps.run(step).await?;
                sleep(args.pause).await;
            }
            rollouts.set(n);
        }
        // A connection that was kept to a pod now gone is lost only when its client comes back to it.
        progress.stage("until the idle clients have come back");
        sleep(args.idle.1 + Duration::from_millis(200)).await;
        Ok(())
    };
    let session = under_load(&clients, &context, &mut interrupt, script).await?;
    drop((progress, watched));
    let name = format!("{} in {}", args.deployment, args.namespace);
    let setting = Setting {
        name,
        sequence: None,
        steps: asked.iter().map(Step::to_string).collect(),
        rollouts: rollouts.get(),
        chaos: false,
        scale: 1.0,
        timings: None,
        clients,
        load: args.load,
    };
    publish(Report::new(setting, session, pods.histories()))
}

/// Finds the Deployment, and makes sure of the rights that the run needs; returns its pods' labels.
async fn selector(kubectl: &Kubectl, args: &Cluster, steps: &[Step]) -> Result<String, Unable> {
    let deployment = kubectl.json(&["get", "deployment", &args.deployment]).await?;
    if args.rollouts > 0 {
        steps::check(kubectl, args, steps).await?;
    }
    kubectl.may(&["watch", "pods"]).await?;
    match deployment["status"]["readyReplicas"].as_u64() {
        None | Some(0) => {
            Err(Unable(format!("deployment {} has no ready pod to begin with", args.deployment)))
        }
        Some(_) => args.selector.clone().map_or_else(|| watched::selector(&deployment), Ok),
    }
}
