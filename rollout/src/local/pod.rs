//! What a kubelet does for one pod: start, probe, SIGTERM, the grace period, SIGKILL.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::balancer::{EndpointHandle, EndpointState};
use super::process::Process;
use super::timings::{Probe, Timings};
use crate::clients::http1::connection::Connection;
use crate::clients::tls::Transport;
use crate::record::pods::{End, Pods};
use crate::record::shares::Requests;
use crate::unable::{OrUnable, Unable};

/// What to run in each pod.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Each pod's variables, besides its timings and its identity.
    pub(crate) environment: Vec<(String, String)>,
    /// Where each pod's output is written, if anywhere.
    pub(crate) logs: Option<PathBuf>,
}

/// One pod's name and addresses.
#[derive(Clone, Debug)]
pub(crate) struct PodIdentity {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
}

/// What the Deployment orders a pod to do.
#[derive(Debug)]
pub(crate) enum PodCommand {
    Terminate,
    /// Stop the process for this long, as a busy node does.
    Freeze(Duration),
}

/// What the Deployment learns of a pod.
#[derive(Debug)]
pub(crate) enum PodEvent {
    Ready,
    Unready,
    /// The pod has ended; `why` is the reason when it was not terminated.
    Gone {
        why: Option<String>,
    },
}

/// A pod's ties to the rest of the run.
pub(crate) struct Pod {
    pub(crate) identity: PodIdentity,
    pub(crate) program: Program,
    pub(crate) timings: Arc<Timings>,
    pub(crate) pods: Arc<Pods>,
    pub(crate) endpoint: EndpointHandle,
    pub(crate) commands: mpsc::UnboundedReceiver<PodCommand>,
    pub(crate) events: mpsc::UnboundedSender<(u32, PodEvent)>,
}

impl Pod {
    /// Runs the pod from its start to its end.
    pub(crate) async fn run(mut self) {
        self.pods.started(&self.identity.name);
        let process = match self.start() {
            Ok(process) => process,
            Err(error) => {
                let path = self.program.path.display();
                self.end(End::Crashed, Some(format!("starting {path}: {error}")));
                return;
            }
        };
        if let Some(process) = self.run_until_terminated(process).await {
            self.terminate(process).await;
        }
    }

    fn start(&self) -> std::io::Result<Process> {
        let own = [
            ("APP_HOST", self.identity.address.to_string()),
            ("APP_PORT", self.identity.port.to_string()),
            ("APP_ADMIN_PORT", self.identity.admin_port.to_string()),
            ("APP_POD_NAME", self.identity.name.clone()),
        ];
        let mut variables = self.timings.environment();
        variables.extend(self.program.environment.iter().cloned());
        variables.extend(own.map(|(name, value)| (name.to_string(), value)));
        let log = self.program.logs.as_ref().map(|logs| logs.join(format!("{}.log", self.identity.name)));
        Process::start(&self.program.path, &self.program.arguments, &variables, log.as_deref())
    }

    /// Probes until the pod is to terminate; `None` when it exited by itself.
    async fn run_until_terminated(&mut self, mut process: Process) -> Option<Process> {
        let timings = self.timings.clone();
        let (mut probe, mut started, mut ready, mut failures) = (&timings.startup, false, false, 0);
        let mut ticks = ticks(probe);
        loop {
            tokio::select! {
                status = process.ended() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    let why = match process.output_tail().await {
                        output if output.is_empty() => format!("{} exited without SIGTERM ({status}) and without output", self.identity.name),
                        output => format!("{} exited without SIGTERM ({status}); its last output:\n{output}", self.identity.name),
                    };
                    self.end(End::Crashed, Some(why));
                    return None;
                }
                command = self.commands.recv() => match command {
                    Some(PodCommand::Freeze(length)) => {
                        process.signal(Signal::STOP);
                        sleep(length).await;
                        process.signal(Signal::CONT);
                    }
                    // Without a Deployment there is nobody to live for.
                    Some(PodCommand::Terminate) | None => return Some(process),
                },
                _ = ticks.tick() => match (self.passes(probe).await, started) {
                    (true, false) => {
                        started = true;
                        probe = &timings.readiness;
                        ticks = self::ticks(probe);
                    }
                    (true, true) => {
                        failures = 0;
                        if !std::mem::replace(&mut ready, true) {
                            self.pods.ready(&self.identity.name);
                            self.endpoint.set(EndpointState::Ready);
                            self.report(PodEvent::Ready);
                        }
                    }
                    (false, true) => {
                        failures += 1;
                        if failures >= probe.failures && std::mem::replace(&mut ready, false) {
                            self.endpoint.set(EndpointState::NotReady);
                            self.report(PodEvent::Unready);
                        }
                    }
                    (false, false) => {}
                }
            }
        }
    }

    /// The endpoint list and the process hear of it at the same moment, as on a cluster.
    async fn terminate(self, mut process: Process) {
        self.pods.terminating(&self.identity.name);
        self.endpoint.set(EndpointState::Terminating);
        sleep(self.timings.pre_stop).await;
        process.signal(Signal::TERM);
        let left = self.timings.grace.saturating_sub(self.timings.pre_stop);
        let end = match timeout(left, process.ended()).await {
            Ok(status) => End::Exit(status.ok().and_then(|status| status.code()).unwrap_or(-1)),
            Err(_) => {
                process.signal(Signal::KILL);
                let _ = process.ended().await;
                End::Killed
            }
        };
        self.end(end, None);
    }

    async fn passes(&self, probe: &Probe) -> bool {
        let address = SocketAddr::new(self.identity.address, self.identity.admin_port);
        timeout(probe.timeout, get(address, &probe.path)).await.unwrap_or(false)
    }

    fn end(&self, end: End, why: Option<String>) {
        self.endpoint.set(EndpointState::Removed);
        self.pods.gone(&self.identity.name, end);
        self.report(PodEvent::Gone { why });
    }

    fn report(&self, event: PodEvent) {
        // A run that is over handles no events.
        let _ = self.events.send((self.identity.id, event));
    }
}

fn ticks(probe: &Probe) -> tokio::time::Interval {
    let mut ticks = interval(probe.period.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How many requests have come to each of these pods so far, by what their admin ports say.
pub(crate) async fn requests(pods: Vec<(String, SocketAddr)>) -> Result<Requests, Unable> {
    let mut requests = Vec::new();
    for (name, admin) in pods {
        let metrics =
            timeout(Duration::from_secs(5), metrics(admin)).await.or_unable(&name)?.or_unable(&name)?;
        let samples = metrics.lines().filter(|line| line.starts_with("lifecycle_requests_total{"));
        let counts = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        requests.push((name, counts.sum()));
    }
    Ok(requests)
}

async fn metrics(admin: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

async fn get(address: SocketAddr, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let Ok(stream) = TcpStream::connect(address).await else {
        return false;
    };
    let mut connection = Connection::new(Transport::Left(stream));
    let response = connection.exchange(request.as_bytes()).await;
    response.is_ok_and(|response| (200..400).contains(&response.status))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::local::balancer::Balancer;

    /// A server that answers one request with this.
    async fn answering(response: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = client.read(&mut head).await;
            let _ = client.write_all(response.as_bytes()).await;
        });
        address
    }

    #[tokio::test]
    async fn a_probe_passes_from_200_to_399() {
        for (response, passes) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 399 Odd\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(get(answering(response).await, "/readyz").await, passes, "{response}");
        }
    }

    #[tokio::test]
    async fn requests_are_counted_by_what_the_admin_port_says() {
        let metrics = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nlifecycle_requests_total{phase=\"serving\"} 40\n\
            lifecycle_requests_total{phase=\"draining\"} 2\nother_total{} 7\n";
        let admin = answering(metrics).await;
        let counted =
            requests(vec![("pod-1".into(), admin)]).await.unwrap_or_else(|unable| panic!("{}", unable.0));
        assert_eq!(counted, [("pod-1".to_owned(), 42)]);
    }

    /// A pod that runs this in a shell.
    async fn pod(script: &str) -> Pod {
        let pods = Arc::new(Pods::new(std::time::Instant::now()));
        let balancer =
            Balancer::start(([127, 0, 0, 1], 0).into(), Duration::ZERO, pods.clone()).await.unwrap();
        let [address, port] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let name = "pod-1".to_owned();
        pods.started(&name);
        Pod {
            endpoint: balancer.register(&name, address),
            identity: PodIdentity { id: 1, name, address: address.ip(), port: 1, admin_port: port.port() },
            program: Program {
                path: "/bin/sh".into(),
                arguments: vec!["-c".into(), script.into()],
                environment: vec![],
                logs: None,
            },
            timings: Arc::new(Timings::default()),
            pods,
            commands: mpsc::unbounded_channel().1,
            events: mpsc::unbounded_channel().0,
        }
    }

    #[tokio::test]
    async fn what_a_signal_ends_has_no_code_of_its_own() {
        let pod = pod("kill -KILL $$").await;
        let (pods, process) = (pod.pods.clone(), pod.start().unwrap());
        pod.terminate(process).await;
        assert_eq!(pods.histories()[0].end, Some(End::Exit(-1)));
    }

    #[tokio::test]
    async fn nobody_there_passes_no_probe() {
        assert!(!pod("true").await.passes(&Timings::default().readiness).await);
    }
}
