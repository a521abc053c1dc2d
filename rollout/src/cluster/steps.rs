//! What is done to the Deployment under load: restart, roll back, scale, evict, or whatever a command does.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::kubectl::Kubectl;
use super::watched::Watched;
use crate::args::Cluster;
use crate::drive::replace;
use crate::duration;
use crate::unable::Unable;

const POLL: Duration = Duration::from_millis(200);
/// How soon an eviction that the budget forbade is asked for again.
const EVICT_AGAIN: Duration = Duration::from_secs(1);

/// One thing to do, and to wait for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Restart,
    /// Back to the revision before.
    Undo,
    Scale(u32),
    /// Every pod, one after another.
    Evict,
    Command(Vec<String>),
}

/// What the steps are carried out with.
pub(super) struct Steps<'a> {
    pub(super) kubectl: &'a Kubectl,
    pub(super) args: &'a Cluster,
    pub(super) watched: &'a Watched,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Restart => f.write_str("restart"),
            Step::Undo => f.write_str("roll back"),
            Step::Scale(replicas) => write!(f, "scale to {replicas}"),
            Step::Evict => f.write_str("evict each pod"),
            Step::Command(command) => f.write_str(&command.join(" ")),
        }
    }
}

/// The steps of each rollout: those that are asked for, or a restart.
pub(super) fn asked(args: &Cluster) -> Vec<Step> {
    let mut steps = Vec::new();
    if args.rollback {
        steps.extend([Step::Restart, Step::Undo]);
    }
    if let Some((from, to)) = args.scale {
        steps.extend([Step::Scale(to), Step::Scale(from)]);
    }
    if args.evict {
        steps.push(Step::Evict);
    }
    if !args.command.is_empty() {
        steps.push(Step::Command(args.command.clone()));
    }
    if steps.is_empty() {
        steps.push(Step::Restart);
    }
    steps
}

/// Makes sure of the rights that these steps need.
pub(super) async fn check(kubectl: &Kubectl, args: &Cluster, steps: &[Step]) -> Result<(), Unable> {
    let deployment = format!("deployments.apps/{}", args.deployment);
    for step in steps {
        match step {
            Step::Restart | Step::Undo => kubectl.may(&["patch", &deployment]).await?,
            Step::Scale(_) => kubectl.may(&["patch", &deployment, "--subresource", "scale"]).await?,
            Step::Evict => kubectl.may(&["create", "pods", "--subresource", "eviction"]).await?,
            // It knows what it needs.
            Step::Command(_) => {}
        }
    }
    Ok(())
}

impl Steps<'_> {
    /// Carries out a step, until the pods that it ends are gone and those that it wants are ready.
    pub(super) async fn run(&self, step: &Step) -> Result<(), Unable> {
        let until = Instant::now() + self.args.patience;
        let pods = &self.watched.pods;
        let deployment = format!("deployment/{}", self.args.deployment);
        let old = pods.running();
        let gone = || old.iter().filter(|name| pods.is_running(name)).cloned().collect();
        match step {
            Step::Restart => {
                self.kubectl.run(&["rollout", "restart", &deployment]).await?;
                self.complete().await?;
                self.none(until, "old pods are still there", gone).await
            }
            Step::Undo => {
                self.kubectl.run(&["rollout", "undo", &deployment]).await?;
                self.complete().await?;
                self.none(until, "old pods are still there", gone).await
            }
            Step::Scale(replicas) => {
                self.kubectl.run(&["scale", &deployment, &format!("--replicas={replicas}")]).await?;
                self.complete().await?;
                self.none(until, "it is not scaled", || self.besides(*replicas)).await
            }
            Step::Evict => {
                for pod in &old {
                    self.evict(pod, until).await?;
                }
                Ok(())
            }
            Step::Command(command) => {
                replace(command).await?;
                self.none(until, "pods are still ending", || pods.ending()).await
            }
        }
    }

    /// Evicts one pod, and waits until it is gone and another has taken its place.
    async fn evict(&self, pod: &str, until: Instant) -> Result<(), Unable> {
        while !self.kubectl.evict(pod).await? {
            if Instant::now() > until {
                return Err(Unable(format!("the disruption budget never let {pod} go")));
            }
            sleep(EVICT_AGAIN).await;
        }
        let left = || self.watched.pods.is_running(pod).then(|| pod.to_string()).into_iter().collect();
        self.none(until, "an evicted pod is still there", left).await?;
        self.complete().await
    }

    /// What there is besides this many pods. A Deployment that is to have fewer is complete before any pod is told to end.
    fn besides(&self, replicas: u32) -> Vec<String> {
        let pods = &self.watched.pods;
        let ending = pods.ending();
        let staying = pods.running().len().saturating_sub(ending.len());
        // With labels of one's own there may be others' pods among them.
        match self.args.selector.is_some() || staying == replicas as usize {
            true => ending,
            false => vec![format!("{staying} pods instead of {replicas}")],
        }
    }

    /// Waits until the Deployment has as many ready pods of its template as it wants.
    async fn complete(&self) -> Result<(), Unable> {
        let deployment = format!("deployment/{}", self.args.deployment);
        let patience = format!("--timeout={}", duration::write(self.args.patience));
        self.kubectl.run(&["rollout", "status", &deployment, &patience]).await.map(|_| ())
    }

    /// Waits until none of these pods is left.
    async fn none(&self, until: Instant, what: &str, left: impl Fn() -> Vec<String>) -> Result<(), Unable> {
        loop {
            self.watched.check()?;
            let left = left();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                let patience = duration::write(self.args.patience);
                return Err(Unable(format!("{what} after {patience}: {}", left.join(", "))));
            }
            sleep(POLL).await;
        }
    }
}
