//! What every client does: waits its turn, connects, and counts what became of each request.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::pacer::Pacer;
use super::target::Target;
use super::tls::{self, Transport};
use crate::record::connections::{Caller, ConnectionOutcome, Connections};
use crate::record::kind::Kind;
use crate::record::outcome::Outcome;
use crate::record::recorder::{Failure, Recorder};

/// What each client is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) target: Arc<Target>,
    pub(crate) recorder: Arc<Recorder>,
    /// What the balancer did with each connection, where there is one.
    pub(crate) connections: Option<Arc<Connections>>,
}

/// One client's view of the run.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) context: Context,
    pub(super) kind: Kind,
    pub(super) stop: watch::Receiver<bool>,
}

/// A request that got no full response, and what its client knows of it.
pub(super) struct Loss {
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
    pub(super) async fn connect(&self) -> Result<(Transport, Caller), Loss> {
        let target = &self.context.target;
        let since = Instant::now();
        let connecting = target.connect(self.kind.is_http2());
        let (outcome, detail) = match timeout(target.connect_timeout, connecting).await {
            Ok(Ok(stream)) => match tls::socket(&stream).local_addr() {
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
        Err(Loss { outcome, answered_before: 0, bytes_received: 0, caller: None, detail })
    }

    /// Counts a request that was answered in full.
    pub(super) fn answered(&self, status: u16, latency: Duration) {
        self.context.recorder.answered(self.kind, status, latency);
    }

    /// Counts a request without a full response; the balancer knows whether it ever had a pod.
    pub(super) fn failed(&self, loss: Loss) {
        let outcome = loss
            .caller
            .zip(self.context.connections.as_ref())
            .and_then(|(caller, connections)| connections.of(caller));
        let (outcome, pod) = match outcome {
            Some(ConnectionOutcome::Refused { pod }) => (Outcome::Refused, pod),
            Some(ConnectionOutcome::Killed { pod }) => (Outcome::Killed, Some(pod)),
            Some(ConnectionOutcome::Proxied { pod }) => (loss.outcome, Some(pod)),
            None => (loss.outcome, None),
        };
        self.context.recorder.failed(Failure {
            at: 0.0,
            kind: self.kind,
            outcome,
            answered_before: loss.answered_before,
            bytes_received: loss.bytes_received,
            pod: pod
                .zip(self.context.connections.as_ref())
                .map(|(pod, connections)| connections.describe(&pod)),
            detail: loss.detail,
        });
    }
}

impl Loss {
    /// A connection that broke before its first response.
    pub(super) fn on_new_connection(caller: Caller, error: impl ToString) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_lost_by_how_far_it_had_come() {
        assert_eq!([lost(0, 0), lost(0, 1), lost(7, 1)], [Outcome::LostFirst, Outcome::Cut, Outcome::Cut]);
        assert_eq!(lost(1, 0), Outcome::LostKept);
    }
}
