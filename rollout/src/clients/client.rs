//! What every client does: waits its turn, connects, and counts what became of each request.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::pacer::Pacer;
use super::target::Target;
use crate::record::fates::{Caller, Fate, Fates};
use crate::record::outcome::{Kind, Outcome};
use crate::record::recorder::{Failure, Recorder};

/// What each client is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) target: Arc<Target>,
    pub(crate) recorder: Arc<Recorder>,
    /// What the balancer did with each connection, where there is one.
    pub(crate) fates: Option<Arc<Fates>>,
}

/// One client's view of the run.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) context: Context,
    pub(super) kind: Kind,
    pub(super) stop: watch::Receiver<bool>,
}

/// A request that got no full answer, and what its client knows of it.
pub(super) struct Broken {
    pub(super) outcome: Outcome,
    pub(super) answered_before: u32,
    pub(super) bytes_received: usize,
    pub(super) caller: Option<Caller>,
    pub(super) detail: String,
}

impl Client {
    /// Waits until the next request is due, and notes how late it is; false when the run ends.
    pub(super) async fn pause(&mut self, pacer: &mut Pacer) -> bool {
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

    /// Connects to the target.
    pub(super) async fn connect(&self) -> Result<(TcpStream, Caller), Broken> {
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

    /// Counts a request that was answered in full.
    pub(super) fn answered(&self, status: u16, latency: Duration) {
        self.context.recorder.answered(self.kind, status, latency);
    }

    /// Counts a request without a full answer; the balancer knows whether it ever had a pod.
    pub(super) fn failed(&self, broken: Broken) {
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
    pub(super) fn at_first(caller: Caller, error: impl ToString) -> Self {
        Self {
            outcome: Outcome::LostFirst,
            answered_before: 0,
            bytes_received: 0,
            caller: Some(caller),
            detail: error.to_string(),
        }
    }
}

/// What a request was lost as, by how far it had come.
pub(super) fn lost(answered_before: u32, bytes_received: usize) -> Outcome {
    match (bytes_received, answered_before) {
        (1.., _) => Outcome::Cut,
        (_, 0) => Outcome::LostFirst,
        _ => Outcome::LostKept,
    }
}
