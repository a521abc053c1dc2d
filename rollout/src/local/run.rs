//! `rollout local`: real processes behind a lagging balancer, replaced as a Deployment replaces them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::balancer::Balancer;
use super::chaos;
use super::deployment::{Deployment, DeploymentCommand, Status};
use super::network::Network;
use super::overlay;
use super::pod::Program;
use super::proxy::configuration::Checks;
use super::proxy::running::{How, Running};
use super::timings::Timings;
use crate::args::Local;
use crate::clients::client::Context;
use crate::clients::preflight;
use crate::interrupt::Interrupt;
use crate::proxies::Proxy;
use crate::record::pods::Pods;
use crate::record::recorder::Recorder;
use crate::record::shares::{Requests, Shares};
use crate::report::progress::Progress;
use crate::report::publish::publish;
use crate::report::summary::{Report, Setting, Verdict};
use crate::session::under_load;
use crate::unable::{OrUnable, Unable};

/// How often a proxy that checks asks each pod.
const CHECK: Duration = Duration::from_secs(1);

const PROXY_PATIENCE: Duration = Duration::from_secs(20);

/// How many parts of the time after a scale-up are told apart.
const PARTS: u32 = 3;

const BALANCER_PATIENCE: Duration = Duration::from_secs(60);

/// Runs once against the service, and reports.
pub(crate) async fn run(args: Local, interrupt: Interrupt) -> Result<Verdict, Unable> {
    let program = service(&args)?;
    let name = program.path.file_name().unwrap_or_default().display().to_string();
    publish(once(&name, program, None, &args, interrupt).await?)
}

/// The service's executable.
pub(crate) fn service(args: &Local) -> Result<Program, Unable> {
    let named = args.binary.display();
    if !args.binary.is_file() {
        return Err(Unable(format!(
            "there is no service at {named}: build it, or name another executable with --binary PATH"
        )));
    }
    Ok(Program {
        // A name without a slash would be looked for on the PATH.
        path: std::path::absolute(&args.binary).or_unable(named)?,
        arguments: Vec::new(),
        environment: args.environment.clone(),
        logs: args.logs.clone(),
    })
}

/// The timings of the overlay or the defaults, as the arguments change them.
pub(crate) fn timings(args: &Local) -> Result<Timings, Unable> {
    let timings = match &args.overlay {
        Some(path) => overlay::timings(path)?,
        None => Timings::default(),
    };
    let environment = args.environment.iter().cloned().collect();
    let timings = timings.with_replicas(args.replicas).scaled(args.scale);
    timings.with_environment(&environment).or_unable("--env")
}

/// Runs one program through the rollouts under load, the proxy between the clients and the pods.
pub(crate) async fn once(
    name: &str,
    program: Program,
    proxy: Option<Proxy>,
    args: &Local,
    mut interrupt: Interrupt,
) -> Result<Report, Unable> {
    if let Some(logs) = &program.logs {
        std::fs::create_dir_all(logs).or_unable(format!("making {}", logs.display()))?;
    }
    let timings = Arc::new(timings(args)?);
    let clients = args.load.clients(timings.idle_pause())?;
    let recorder = Arc::new(Recorder::start());
    let pods = Arc::new(Pods::new(recorder.started()));
    let mut network = Network::pick()?;
    let (address, [port]) = network.next()?;
    let balancer = Balancer::start((address, port).into(), args.lag.mul_f64(args.scale), pods.clone())
        .await
        .or_unable("starting the balancer")?;
    let balancer = Arc::new(balancer);
    let proxy = match proxy {
        None => None,
        Some(proxy) => {
            let (address, [port]) = network.next()?;
            let log = program.logs.as_ref().map(|logs| logs.join("proxy.log"));
            let addresses = [(address, port).into(), balancer.address];
            // Below the pods' own, as the deploying page asks for.
            let keep_alive = args.proxy_keep_alive.unwrap_or_else(|| timings.idle_timeout.mul_f64(0.8));
            let checks = proxy.checks.then(|| Checks {
                path: timings.readiness.path.clone(),
                port: network.ports()[1],
                period: CHECK.mul_f64(args.scale),
                pool: network.addresses().map(|address| (address, network.ports()[0]).into()).collect(),
            });
            let how = How { keep_alive, checks, scale: args.scale };
            Some(Running::start(proxy, addresses, how, log.as_deref(), balancer.usable()).await?)
        }
    };
    let mut target = args.load.target();
    let front = proxy.as_ref().map_or(balancer.address, |proxy| proxy.address);
    target.aim(&format!("http://{front}")).await?;
    let context = Context {
        target: Arc::new(target),
        recorder: recorder.clone(),
        // A proxy's connections are not its clients'.
        connections: proxy.is_none().then(|| balancer.connections()),
    };

    let deployment = Deployment {
        program,
        timings: timings.clone(),
        network,
        balancer: balancer.clone(),
        pods: pods.clone(),
    };
    let (orders, ordered) = mpsc::unbounded_channel();
    let (status, statuses) = watch::channel(Status::default());
    let mut cluster = Cluster {
        orders,
        statuses: statuses.clone(),
        running: tokio::spawn(deployment.run(ordered, status)),
    };
    let progress = Progress::show(name, recorder.clone(), move || {
        let status = *statuses.borrow();
        format!("{} ready, {} ending", status.ready, status.terminating)
    });

    progress.stage("starting");
    let ready = async {
        cluster.complete(0).await?;
        routed(&balancer, timings.replicas).await?;
        if proxy.is_some() {
            // Until it has checked each address, one that checks takes them all for pods.
            sleep(CHECK.mul_f64(2.0 * args.scale)).await;
            // It takes a moment to hear of them.
            let _ = timeout(PROXY_PATIENCE, async {
                while preflight::check(&context.target, &clients).await.is_err() {
                    sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
        preflight::check(&context.target, &clients).await
    };
    if let Err(unable) = interrupt.or(ready).await {
        cluster.end().await;
        return Err(unable);
    }
    let rollouts = Cell::new(0);
    let shares = RefCell::new(Vec::new());
    let script = async {
        let pause = args.pause.mul_f64(args.scale);
        let chaos =
            args.chaos.then(|| chaos::begin(cluster.orders.clone(), balancer.clone(), timings.clone()));
        progress.stage("before the rollouts");
        cluster.watch_for(pause).await?;
        if let Some(pods) = args.scale_up {
            progress.stage(format!("scaling up to {pods} pods"));
            cluster.order(DeploymentCommand::Scale(pods));
            cluster.until_ready(pods).await?;
            routed(&balancer, pods).await?;
            let (ready, mut before) = (Instant::now(), (0.0, cluster.requests().await?));
            for part in 1..=PARTS {
                progress.stage(format!("with {pods} pods, {part} of {PARTS}"));
                cluster.watch_for(pause).await?;
                let after = (ready.elapsed().as_secs_f64(), cluster.requests().await?);
                shares.borrow_mut().push(Shares::between((before.0, &before.1), (after.0, &after.1)));
                before = after;
            }
            return Ok(());
        }
        while is_wanted(args, rollouts.get(), recorder.totals().0) {
            let n = rollouts.get() + 1;
            progress.stage(format!("rollout {n} of {}", args.rollouts.max(n)));
            cluster.order(DeploymentCommand::Restart);
            cluster.complete(n).await?;
            rollouts.set(n);
            cluster.watch_for(pause).await?;
        }
        if let Some(chaos) = chaos {
            chaos.end().await;
            cluster.complete(rollouts.get()).await?;
        }
        // A connection that was kept to a pod now gone is lost only when its client comes back to it.
        progress.stage("until the idle clients have come back");
        cluster.watch_for(timings.idle_pause().1 + Duration::from_millis(200)).await
    };
    let session = under_load(&clients, &context, &mut interrupt, script).await;
    let histories = pods.histories();
    drop(progress);
    cluster.end().await;
    let setting = Setting {
        name: name.to_string(),
        rollouts: rollouts.get(),
        chaos: args.chaos,
        scale: args.scale,
        timings: Some(json!(*timings)),
        sequence: None,
        steps: vec![args.scale_up.map_or("restart".to_string(), |pods| format!("scale up to {pods}"))],
        clients,
        load: args.load.clone(),
    };
    Ok(Report { shares: shares.into_inner(), ..Report::new(setting, session?, histories) })
}

/// Says whether one more rollout is wanted after so many rollouts and requests.
fn is_wanted(args: &Local, rollouts: u32, requests: u64) -> bool {
    rollouts < args.rollouts || requests < args.requests
}

/// The Deployment at work, and how to talk to it.
struct Cluster {
    orders: mpsc::UnboundedSender<DeploymentCommand>,
    statuses: watch::Receiver<Status>,
    running: JoinHandle<Result<(), Unable>>,
}

impl Cluster {
    fn order(&self, order: DeploymentCommand) {
        // A Deployment that has failed says so to whoever waits next.
        let _ = self.orders.send(order);
    }

    /// Waits until this revision is complete; fails as the Deployment does.
    async fn complete(&mut self, revision: u32) -> Result<(), Unable> {
        let complete = |status: &Status| status.complete && status.revision == revision;
        tokio::select! {
            failed = &mut self.running => Err(failure(failed)),
            // A Deployment that has failed no longer sends its status; the other branch knows why.
            Ok(_) = self.statuses.wait_for(complete) => Ok(()),
        }
    }

    /// Waits until so many pods are ready; fails as the Deployment does.
    async fn until_ready(&mut self, pods: u32) -> Result<(), Unable> {
        let ready = |status: &Status| status.complete && status.ready == pods as usize;
        tokio::select! {
            failed = &mut self.running => Err(failure(failed)),
            Ok(_) = self.statuses.wait_for(ready) => Ok(()),
        }
    }

    /// How many requests have come to each pod.
    async fn requests(&mut self) -> Result<Requests, Unable> {
        let (counted, requests) = oneshot::channel();
        self.order(DeploymentCommand::CountRequests(counted));
        tokio::select! {
            failed = &mut self.running => Err(failure(failed)),
            Ok(requests) = requests => requests,
        }
    }

    /// Lets time pass; fails as the Deployment does.
    async fn watch_for(&mut self, time: Duration) -> Result<(), Unable> {
        tokio::select! {
            failed = &mut self.running => Err(failure(failed)),
            () = sleep(time) => Ok(()),
        }
    }

    /// Ends every process.
    async fn end(self) {
        drop(self.orders);
        if !self.running.is_finished() {
            let _ = self.running.await;
        }
    }
}

fn failure(ended: Result<Result<(), Unable>, tokio::task::JoinError>) -> Unable {
    match ended {
        Ok(Err(unable)) => unable,
        Ok(Ok(())) => Unable("the pods ended before the run did".into()),
        Err(error) => Unable(format!("the deployment of this tool failed: {error}")),
    }
}

/// Waits until the balancer sends connections to every pod.
async fn routed(balancer: &Balancer, replicas: u32) -> Result<(), Unable> {
    let all_ready = async {
        while balancer.ready() < replicas as usize {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let patience = timeout(BALANCER_PATIENCE, all_ready).await;
    patience.or_unable("waiting for the balancer to see every pod ready")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn rollouts_go_on_until_there_are_enough_and_enough_requests() {
        let args = ["rollout", "local", "--binary", "x", "--rollouts", "2", "--requests", "50"];
        let Command::Local(args) = Args::parse_from(args).command else { panic!("it is `local`") };
        let wanted = [(1, 50), (2, 49), (2, 50), (3, 50)].map(|(n, sent)| is_wanted(&args, n, sent));
        assert_eq!(wanted, [true, true, false, false]);
    }

    #[tokio::test]
    async fn a_scale_up_is_waited_for_until_it_is_complete() {
        let (orders, _ordered) = mpsc::unbounded_channel();
        let (status, statuses) = watch::channel(Status::default());
        let mut cluster = Cluster { orders, statuses, running: tokio::spawn(std::future::pending()) };
        for (ready, complete) in [(1, true), (2, false), (3, true), (2, true)] {
            status.send_replace(Status { ready, complete, ..Status::default() });
            let seen = timeout(Duration::ZERO, cluster.until_ready(2)).await;
            assert_eq!(seen.is_ok_and(|ready| ready.is_ok()), (ready, complete) == (2, true), "{ready}");
        }
    }

    #[tokio::test]
    async fn the_end_of_a_run_is_the_end_of_its_pods() {
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (ended, has_ended) = watch::channel(false);
        let running = tokio::spawn(async move {
            while ordered.recv().await.is_some() {}
            tokio::task::yield_now().await;
            ended.send_replace(true);
            Ok(())
        });
        Cluster { orders, statuses: watch::channel(Status::default()).1, running }.end().await;
        assert!(*has_ended.borrow());
    }
}
