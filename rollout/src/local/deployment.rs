//! What the Deployment controller does: brings the pods that are to the pods that should be,
//! within maxSurge and maxUnavailable.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::balancer::Balancer;
use super::network::Network;
use super::pod::{self, Pod, PodCommand, PodEvent, PodIdentity, Program};
use super::rolling::Rolling;
use super::timings::Timings;
use crate::record::pods::Pods;
use crate::record::shares::Requests;
use crate::unable::{OrUnable, Unable};

const PROGRESS_DEADLINE: Duration = Duration::from_secs(60);

/// What a Deployment can be ordered to do.
#[derive(Debug)]
pub(crate) enum DeploymentCommand {
    /// Replace every pod, as `kubectl rollout restart` does.
    Restart,
    Scale(u32),
    /// End one ready pod, if every one that should be ready is (a disruption budget of one).
    Evict,
    /// Stop one ready process for this long.
    Freeze(Duration),
    /// Tell how many requests have come to each pod so far.
    CountRequests(oneshot::Sender<Result<Requests, Unable>>),
}

/// How far a Deployment has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Counts the restarts so far.
    pub(crate) revision: u32,
    pub(crate) ready: usize,
    pub(crate) terminating: usize,
    /// Every wanted pod is of this revision and ready, and no other process is left.
    pub(crate) complete: bool,
}

/// A Deployment of real processes.
pub(crate) struct Deployment {
    pub(crate) program: Program,
    pub(crate) timings: Arc<Timings>,
    pub(crate) network: Network,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) pods: Arc<Pods>,
}

struct Controller {
    deployment: Deployment,
    replicas: u32,
    revision: u32,
    members: Vec<Member>,
    tasks: JoinSet<()>,
    events: mpsc::UnboundedSender<(u32, PodEvent)>,
    next: u32,
}

struct Member {
    id: u32,
    revision: u32,
    ready_since: Option<Instant>,
    terminating: bool,
    started: Instant,
    admin: SocketAddr,
    commands: mpsc::UnboundedSender<PodCommand>,
}

impl Deployment {
    /// Runs until dropped; an error when a pod cannot be made ready.
    pub(crate) async fn run(
        self,
        mut orders: mpsc::UnboundedReceiver<DeploymentCommand>,
        status: watch::Sender<Status>,
    ) -> Result<(), Unable> {
        let (sender, mut events) = mpsc::unbounded_channel();
        let replicas = self.timings.replicas;
        let mut controller = Controller {
            deployment: self,
            replicas,
            revision: 0,
            members: Vec::new(),
            tasks: JoinSet::new(),
            events: sender,
            next: 0,
        };
        loop {
            let look_again = controller.reconcile()?;
            status.send_replace(controller.status());
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => controller.execute(order),
                    None => {
                        controller.tasks.shutdown().await;
                        return Ok(());
                    }
                },
                Some((id, event)) = events.recv() => controller.handle(id, event)?,
                Some(ended) = controller.tasks.join_next() => ended.or_unable("a pod of this tool failed")?,
                () = sleep_until(look_again) => {}
            }
        }
    }
}

impl Controller {
    /// Starts and ends what it may, and says when to look again if nothing happens.
    fn reconcile(&mut self) -> Result<Instant, Unable> {
        let rolling = Rolling::new(&self.deployment.timings, self.replicas as usize);
        let new = self.staying().filter(|member| member.revision == self.revision).count();
        let old = self.staying().count() - new;
        for _ in 0..rolling.may_start(new, old) {
            self.start_one()?;
        }
        let mut spare = rolling.may_end(self.available());
        let revision = self.revision;
        for member in
            self.members.iter_mut().filter(|member| !member.terminating && member.revision != revision)
        {
            if member.ready_since.is_none() {
                member.terminate();
            } else if spare > 0 {
                spare -= 1;
                member.terminate();
            }
        }
        let surplus = new.saturating_sub(rolling.wanted);
        let current =
            self.members.iter_mut().filter(|member| !member.terminating && member.revision == revision);
        current.take(surplus).for_each(Member::terminate);
        self.overdue()
    }

    fn overdue(&self) -> Result<Instant, Unable> {
        let now = Instant::now();
        for member in self.staying().filter(|member| member.ready_since.is_none()) {
            if now - member.started > PROGRESS_DEADLINE {
                return Err(Unable(format!("pod-{} is not ready after 60 s", member.id)));
            }
        }
        Ok(now + self.deployment.timings.min_ready.max(Duration::from_millis(50)))
    }

    fn start_one(&mut self) -> Result<(), Unable> {
        self.next += 1;
        let (address, [port, admin_port]) = self.deployment.network.next()?;
        let identity =
            PodIdentity { id: self.next, name: format!("pod-{}", self.next), address, port, admin_port };
        let (commands, received) = mpsc::unbounded_channel();
        let pod = Pod {
            endpoint: self.deployment.balancer.register(&identity.name, (address, port).into()),
            identity,
            program: self.deployment.program.clone(),
            timings: self.deployment.timings.clone(),
            pods: self.deployment.pods.clone(),
            commands: received,
            events: self.events.clone(),
        };
        self.tasks.spawn(pod.run());
        self.members.push(Member {
            id: self.next,
            revision: self.revision,
            ready_since: None,
            terminating: false,
            started: Instant::now(),
            admin: (address, admin_port).into(),
            commands,
        });
        Ok(())
    }

    fn execute(&mut self, order: DeploymentCommand) {
        match order {
            DeploymentCommand::Restart => self.revision += 1,
            DeploymentCommand::Scale(replicas) => self.replicas = replicas,
            DeploymentCommand::Evict if self.available() >= self.replicas as usize => {
                if let Some(member) = self.any_ready() {
                    member.terminate();
                }
            }
            DeploymentCommand::Evict => {}
            DeploymentCommand::Freeze(length) => {
                if let Some(member) = self.any_ready() {
                    let _ = member.commands.send(PodCommand::Freeze(length));
                }
            }
            DeploymentCommand::CountRequests(counted) => {
                let pods: Vec<_> =
                    self.staying().map(|member| (format!("pod-{}", member.id), member.admin)).collect();
                tokio::spawn(async move {
                    // A run that was interrupted asks for nothing more.
                    let _ = counted.send(pod::requests(pods).await);
                });
            }
        }
    }

    fn handle(&mut self, id: u32, event: PodEvent) -> Result<(), Unable> {
        let Some(n) = self.members.iter().position(|member| member.id == id) else {
            return Ok(());
        };
        match event {
            PodEvent::Ready => self.members[n].ready_since = Some(Instant::now()),
            PodEvent::Unready => self.members[n].ready_since = None,
            PodEvent::Gone { why } => {
                let member = self.members.swap_remove(n);
                match why {
                    Some(why) if member.ready_since.is_none() && !member.terminating => {
                        return Err(Unable(why));
                    }
                    Some(why) => eprintln!("rollout: {why}"),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn staying(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.terminating)
    }

    fn available(&self) -> usize {
        let min_ready = self.deployment.timings.min_ready;
        let available =
            |member: &&Member| member.ready_since.is_some_and(|since| since.elapsed() >= min_ready);
        self.staying().filter(available).count()
    }

    fn any_ready(&mut self) -> Option<&mut Member> {
        let mut ready: Vec<&mut Member> = self
            .members
            .iter_mut()
            .filter(|member| !member.terminating && member.ready_since.is_some())
            .collect();
        (!ready.is_empty()).then(|| ready.swap_remove(fastrand::usize(..ready.len())))
    }

    fn status(&self) -> Status {
        let terminating = self.members.iter().filter(|member| member.terminating).count();
        let current = |member: &Member| member.revision == self.revision && member.ready_since.is_some();
        let wanted = self.replicas as usize;
        Status {
            revision: self.revision,
            ready: self.staying().filter(|member| member.ready_since.is_some()).count(),
            terminating,
            complete: self.members.len() == wanted
                && self.members.iter().all(current)
                && self.available() == wanted,
        }
    }
}

impl Member {
    fn terminate(&mut self) {
        self.terminating = true;
        // A pod that has already exited needs no command.
        let _ = self.commands.send(PodCommand::Terminate);
    }
}

#[cfg(test)]
mod tests;
