//! Clients that forgive nothing: no retry, no look at the socket before writing.

mod h2;
mod keep;
mod pacer;
mod stream;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::balancer::{Caller, Fate, Fates};
use crate::mix::{Mix, Pace};
use crate::outcome::{Kind, Outcome};
use crate::recorder::{Failure, Recorder};
use crate::target::Target;
use crate::unable::Unable;

use pacer::Pacer;

/// What each client is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) target: Arc<Target>,
    pub(crate) recorder: Arc<Recorder>,
    /// What the balancer did with each connection, where there is one.
    pub(crate) fates: Option<Arc<Fates>>,
}

/// The clients of a run, at work.
pub(crate) struct Load {
    clients: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// One client's view of the run.
#[derive(Clone)]
struct Client {
    context: Context,
    kind: Kind,
    stop: watch::Receiver<bool>,
}

/// A request that got no full answer, and what its client knows of it.
struct Broken {
    outcome: Outcome,
    answered_before: u32,
    bytes_received: usize,
    caller: Option<Caller>,
    detail: String,
}

impl Load {
    /// Starts every client of the mix; `idle` is the idle clients' own pause.
    pub(crate) fn start(mix: &Mix, idle: (Duration, Duration), h2_streams: u32, context: &Context) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut clients = JoinSet::new();
        for group in &mix.0 {
            let client = Client { context: context.clone(), kind: group.kind, stop: stopped.clone() };
            let senders = match group.kind {
                Kind::H2 => group.count * h2_streams,
                _ => group.count,
            };
            let pace = group.pace.unwrap_or_else(|| own_pace(group.kind, idle));
            for _ in 0..group.count {
                let pacer = Pacer::new(pace, senders);
                let client = client.clone();
                match group.kind {
                    Kind::H2 => clients.spawn(h2::run(client, pacer, h2_streams)),
                    Kind::Stream => clients.spawn(stream::run(client, pacer)),
                    _ => clients.spawn(keep::run(client, pacer)),
                };
            }
        }
        Self { clients, stop }
    }

    /// Lets each client end what it has begun, and waits for that.
    pub(crate) async fn stop(mut self) -> Result<(), Unable> {
        self.stop.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            if let Err(error) = ended {
                return Err(Unable(format!("a client of this tool failed: {error}")));
            }
        }
        Ok(())
    }
}

impl Client {
    /// Waits until the next request is due, and notes how late it is; false when the run ends.
    async fn pause(&mut self, pacer: &mut Pacer) -> bool {
        if *self.stop.borrow() {
            return false;
        }
        tokio::select! {
            late = pacer.wait() => {
                self.context.recorder.late(late);
                true
            }
            _ = self.stop.wait_for(|stop| *stop) => false,
        }
    }

    async fn connect(&self) -> Result<(TcpStream, Caller), Broken> {
        let target = &self.context.target;
        let since = Instant::now();
        let connecting = TcpStream::connect(&target.addresses[..]);
        let (outcome, detail) = match timeout(target.connect_timeout, connecting).await {
            Ok(Ok(stream)) => match stream.local_addr() {
                Ok(address) => return Ok((stream, Caller { address, since })),
                Err(error) => (Outcome::LostFirst, error.to_string()),
            },
            Ok(Err(error)) => {
                // Out of ports or descriptors: this tool's fault, not the server's.
                if matches!(error.kind(), io::ErrorKind::AddrNotAvailable) || error.raw_os_error() == Some(24)
                {
                    self.context.recorder.own_fault(format!("could not connect: {error}"));
                }
                (Outcome::Refused, error.to_string())
            }
            Err(_) => (Outcome::ConnectTimeout, "no connection in time".to_string()),
        };
        Err(Broken { outcome, answered_before: 0, bytes_received: 0, caller: None, detail })
    }

    fn answered(&self, status: u16, latency: Duration) {
        self.context.recorder.answered(self.kind, status, latency);
    }

    /// Counts a request without a full answer; the balancer knows whether it ever had a pod.
    fn failed(&self, broken: Broken) {
        let fate =
            broken.caller.zip(self.context.fates.as_ref()).and_then(|(caller, fates)| fates.of(caller));
        let (outcome, pod) = match fate {
            Some(Fate::Refused { pod }) => (Outcome::Refused, pod),
            Some(Fate::Killed { pod }) => (Outcome::Killed, Some(pod)),
            Some(Fate::Carried { pod }) => (broken.outcome, Some(pod)),
            None => (broken.outcome, None),
        };
        self.context.recorder.failed(Failure {
            at: 0.0,
            kind: self.kind,
            outcome,
            answered_before: broken.answered_before,
            bytes_received: broken.bytes_received,
            pod: pod.zip(self.context.fates.as_ref()).map(|(pod, fates)| fates.describe(&pod)),
            detail: broken.detail,
        });
    }
}

impl Broken {
    /// A connection that broke before anything had been answered.
    fn at_first(caller: Caller, error: impl ToString) -> Self {
        Self {
            outcome: Outcome::LostFirst,
            answered_before: 0,
            bytes_received: 0,
            caller: Some(caller),
            detail: error.to_string(),
        }
    }
}

fn own_pace(kind: Kind, idle: (Duration, Duration)) -> Pace {
    match kind {
        Kind::Idle => Pace::Pause(idle.0, idle.1),
        Kind::Fresh => Pace::Pause(Duration::from_millis(10), Duration::from_millis(40)),
        _ => Pace::Pause(Duration::from_millis(5), Duration::from_millis(20)),
    }
}

/// What a request was lost as, by how far it had come.
fn lost(answered_before: u32, bytes_received: usize) -> Outcome {
    match (bytes_received, answered_before) {
        (1.., _) => Outcome::Cut,
        (_, 0) => Outcome::LostFirst,
        _ => Outcome::LostKept,
    }
}
