//! `rollout cluster`: restarts a Deployment under load, and watches its pods and endpoints.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::kubectl::Kubectl;
use super::watched::Watched;
use crate::args::Cluster;
use crate::clients::client::Context;
use crate::clients::preflight;
use crate::duration;
use crate::interrupt::Interrupt;
use crate::record::pods::Pods;
use crate::record::recorder::Recorder;
use crate::report::progress::Progress;
use crate::report::publish::publish;
use crate::report::summary::{Report, Setting, Verdict};
use crate::session::under_load;
use crate::unable::Unable;

/// Restarts the Deployment as often as asked, and reports.
pub(crate) async fn run(args: Cluster, mut interrupt: Interrupt) -> Result<Verdict, Unable> {
    let kubectl = Kubectl { context: args.context.clone(), namespace: args.namespace.clone() };
    let mut target = args.load.target();
    let ready = async {
        let deployment = deployment(&kubectl, &args).await?;
        target.aim(&args.url).await?;
        preflight::check(&target, &args.load.clients, args.load.h2_streams).await?;
        Ok(deployment)
    };
    let deployment = interrupt.or(ready).await?;

    let recorder = Arc::new(Recorder::start());
    let pods = Arc::new(Pods::new(recorder.started()));
    let watched = Watched::begin(&kubectl, &deployment, pods.clone())?;
    let context = Context { target: Arc::new(target), recorder: recorder.clone(), connections: None };
    let counted = pods.clone();
    let progress =
        Progress::show(&args.deployment, recorder, move || format!("{} pods", counted.running().len()));
    let rollouts = Cell::new(0);
    let script = async {
        progress.stage("before the rollouts");
        sleep(args.pause).await;
        for n in 1..=args.rollouts {
            progress.stage(format!("rollout {n} of {}", args.rollouts));
            roll(&kubectl, &args, &watched).await?;
            rollouts.set(n);
            sleep(args.pause).await;
        }
        // A connection that was kept to a pod now gone is lost only when its client comes back to it.
        progress.stage("until the idle clients have come back");
        sleep(args.idle.1 + Duration::from_millis(200)).await;
        Ok(())
    };
    let session = under_load(&args.load, args.idle, &context, &mut interrupt, script).await?;
    drop((progress, watched));
    let name = format!("{} in {}", args.deployment, args.namespace);
    let setting = Setting {
        name,
        sequence: None,
        rollouts: rollouts.get(),
        chaos: false,
        scale: 1.0,
        timings: None,
        idle: args.idle,
        load: args.load,
    };
    publish(Report::new(setting, session, pods.histories()))
}

/// Finds the Deployment, and makes sure of the rights that the run needs.
async fn deployment(kubectl: &Kubectl, args: &Cluster) -> Result<Value, Unable> {
    let deployment = kubectl.json(&["get", "deployment", &args.deployment]).await?;
    if args.rollouts > 0 {
        kubectl.may("patch", &format!("deployments.apps/{}", args.deployment)).await?;
    }
    for resource in ["pods", "endpointslices.discovery.k8s.io"] {
        kubectl.may("watch", resource).await?;
    }
    match deployment["status"]["readyReplicas"].as_u64() {
        None | Some(0) => {
            Err(Unable(format!("deployment {} has no ready pod to begin with", args.deployment)))
        }
        Some(_) => Ok(deployment),
    }
}

/// One restart, until its pods are ready and the old ones are gone.
async fn roll(kubectl: &Kubectl, args: &Cluster, watched: &Watched) -> Result<(), Unable> {
    let deployment = format!("deployment/{}", args.deployment);
    let patience = duration::write(args.patience);
    let until = Instant::now() + args.patience;
    let old = watched.pods.running();
    kubectl.run(&["rollout", "restart", &deployment]).await?;
    kubectl.run(&["rollout", "status", &deployment, &format!("--timeout={patience}")]).await?;
    loop {
        watched.check()?;
        let left: Vec<String> =
            watched.pods.running().into_iter().filter(|name| old.contains(name)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Unable(format!("old pods are still there after {patience}: {}", left.join(", "))));
        }
        sleep(Duration::from_millis(200)).await;
    }
}
